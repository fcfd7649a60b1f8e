"""What readers come for, clicked through in a browser: from the list of runs to the reason, without typing an address."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from tests.e2e.browser.reader import TRAVELLER, Flights, Visitor
from tests.live import Live


def test_the_traveller_was_sent_to_buffalo(visit: Callable[..., Visitor], flights: Flights) -> None:
    """From the list of runs to why, in clicks: the newest run, what was selected, and the step that let it in."""
    reader = visit()
    page = reader.page
    reader.goto("/")
    page.locator(f"table a[href='/ui/runs/{flights.buffalo}']").click()
    expect(page.locator("#why")).to_contain_text(f"{TRAVELLER} was selected")
    expect(page.locator("#why")).to_contain_text("BUF")
    verdict = page.get_by_label("Verdict")
    expect(verdict).to_contain_text("first differs from its baseline at expand_destinations")
    expect(verdict.locator("ins")).to_have_text("BUF")
    page.get_by_role("link", name="Full path").click()
    expect(page.locator("h1")).to_contain_text(TRAVELLER)
    expect(page.locator(".journey")).to_contain_text("shortest_air_time")
    page.locator(".journey").get_by_role("link", name="filter", exact=True).click()
    expect(page.locator("main")).to_contain_text("LAX, BUF, LGB, SNA")
    assert reader.violations() == []


def test_a_run_is_compared_with_the_last_good_one_in_one_click_and_from_either_side(
    visit: Callable[..., Visitor], flights: Flights
) -> None:
    reader = visit()
    page = reader.page
    reader.goto(f"/ui/runs/{flights.buffalo}")
    page.get_by_role("link", name="Compare the two runs").click()
    expect(page.get_by_label("Verdict")).to_contain_text("First differs at expand_destinations")
    expect(page.get_by_label("Verdict")).to_contain_text("6 items came out differently")
    flip = page.get_by_role("row", name=TRAVELLER)
    expect(flip).to_contain_text("rejected wrong_destination")
    flip.get_by_role("link", name=TRAVELLER).click()
    expect(page.locator("h1")).to_contain_text("selected")
    page.go_back()
    page.get_by_role("link", name="swap").click()
    expect(page.get_by_label("Verdict").locator("ins")).to_have_text("BUR")
    reader.goto("/ui")
    page.get_by_role("navigation").get_by_role("link", name="Compare").click()
    page.locator("select[name=a]").select_option(flights.good)
    page.locator("select[name=b]").select_option(flights.good)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_label("Verdict")).to_contain_text("came out the same")
    assert reader.violations() == []


def test_the_funnel_shows_where_the_items_went_and_a_reason_leads_to_its_examples(
    visit: Callable[..., Visitor], flights: Flights
) -> None:
    reader = visit()
    page = reader.page
    reader.goto(f"/ui/runs/{flights.buffalo}")
    row = page.locator(".frow", has=page.get_by_role("link", name="filter", exact=True))
    expect(row).to_contain_text("−336,755")
    row.get_by_role("link", name="departs_too_late").click()
    expect(page.locator("#samples tbody tr")).to_have_count(20)
    for reason in page.locator("#samples tbody tr td:nth-child(3)").all_text_contents():
        assert reason == "departs_too_late"
    expect(page.locator(".hist .limit")).to_have_count(1)
    page.locator("#samples").get_by_role("link", name="departs", exact=True).click()
    times = page.locator("#samples tbody tr td:nth-child(4)").all_text_contents()
    assert times == sorted(times)
    page.locator("#samples tbody a.id").first.click()
    expect(page.locator(".verdict")).to_contain_text("was rejected at filter")
    assert reader.violations() == []


def test_the_timeline_and_the_graph_are_one_click_away_and_a_link_like_every_view(
    visit: Callable[..., Visitor], flights: Flights
) -> None:
    reader = visit()
    page = reader.page
    reader.goto(f"/ui/runs/{flights.buffalo}")
    page.get_by_role("link", name="Timeline").click()
    expect(page.locator(".timeline .span")).to_have_count(6)
    address = page.url
    page.get_by_role("link", name="Graph").click()
    expect(page.locator("main")).to_contain_text("No dependencies between steps were recorded")
    page.goto(address)
    expect(page.locator(".timeline")).to_be_visible()


def test_slash_focuses_the_search_which_finds_items_runs_steps_and_reasons(
    visit: Callable[..., Visitor], flights: Flights
) -> None:
    reader = visit()
    page = reader.page
    reader.goto("/ui")
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_focused()
    page.keyboard.type(TRAVELLER)
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("selected")
    page.locator(f"a[href='/ui/runs/{flights.good}/items/{TRAVELLER}']").click()
    expect(page.locator(".verdict")).to_contain_text("was rejected at filter: wrong_destination")
    for words, found in [
        ("filt", "Steps"),
        ("wrong_d", "Reasons"),
        ("flight_", "Runs"),
    ]:
        page.locator("#find").fill(words)
        page.locator("#find").press("Enter")
        expect(page.get_by_role("heading", name=found, exact=found != "Runs")).to_be_visible()
    page.locator("#find").fill(flights.good)
    page.locator("#find").press("Enter")
    page.wait_for_url(f"**/ui/runs/{flights.good}")
    page.locator("#find").fill("no such thing")
    page.locator("#find").press("Enter")
    expect(page.locator("main")).to_contain_text("Nothing that begins with this was found")
    assert reader.violations() == []


def test_steps_are_filtered_across_runs_under_their_trend(visit: Callable[..., Visitor], flights: Flights) -> None:
    reader = visit()
    page = reader.page
    reader.goto("/ui")
    page.get_by_role("navigation").get_by_role("link", name="Steps").click()
    page.get_by_role("combobox", name="Rejection rate").select_option("0.9")
    page.get_by_role("combobox", name="Pipeline").select_option("flight_rebooking")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("tbody tr").first).to_contain_text("wrong_destination")
    expect(page.locator(".trend rect.r1")).not_to_have_count(0)
    assert "rejection_rate_gt=0.9" in page.url


def test_a_running_run_moves_as_steps_arrive_and_stops_asking_when_it_ends(
    visit: Callable[..., Visitor], live: Live
) -> None:
    reader = visit()
    page = reader.page
    asked: list[str] = []
    with live.xray("live_run") as xray, xray.run() as run:
        with run.step("first", step_type="filter") as step:
            step.reject("a", "too_old")
        assert xray.flush(20)
        page.on("request", lambda request: asked.append(request.url))
        reader.goto(f"/ui/runs/{run.run_id}")
        expect(page.locator("h1")).to_contain_text("running")
        expect(page.get_by_role("link", name="second")).to_have_count(0)
        with run.step("second", step_type="filter") as step:
            step.accept("b")
        assert xray.flush(20)
        expect(page.get_by_role("link", name="second")).to_be_visible()
    expect(page.locator("h1")).to_contain_text("completed")
    expect(page.locator("[data-live]")).to_have_count(0)
    ended = len(asked)
    # a request of our own, later than the next poll would have been
    page.evaluate("new Promise(done => setTimeout(() => fetch('/health').then(a => a.text()).then(done), 4000))")
    assert [url for url in asked[ended:] if "/health" not in url] == []
    assert reader.violations() == []


def test_without_a_script_every_page_still_reads_and_answers(visit: Callable[..., Visitor], flights: Flights) -> None:
    reader = visit(java_script_enabled=False)
    page = reader.page
    page.goto(f"{reader.url}/ui/runs/{flights.good}")
    expect(page.locator(".funnel")).to_contain_text("wrong_destination")
    page.locator("#item").fill(TRAVELLER)
    page.get_by_role("button", name="Answer").click()
    expect(page.locator("#why")).to_contain_text("was rejected at filter")
    expect(page.locator("button.copy").first).to_be_hidden()


def test_an_empty_server_teaches_how_to_send_a_first_run(visit: Callable[..., Visitor], tmp_path: Path) -> None:
    empty = Live(tmp_path)
    try:
        reader = visit(permissions=["clipboard-read", "clipboard-write"])
        reader.page.goto(f"{empty.url}/ui")
        expect(reader.page.locator("main")).to_contain_text("Send a first one in a minute")
        reader.page.get_by_role("button", name="Copy the example").click()
        expect(reader.page.get_by_role("button", name="Copy the example")).to_have_text("copied")
        copied = reader.page.evaluate("navigator.clipboard.readText()")
        assert f'api_url="{empty.url}"' in copied
        compile(copied, "first.py", "exec")
        reader.page.goto(f"{empty.url}/ui/steps")
        expect(reader.page.locator("main")).to_contain_text("No step matches yet")
    finally:
        empty.stop()


def test_times_are_relative_and_say_the_absolute_one_on_hover(visit: Callable[..., Visitor], flights: Flights) -> None:
    reader = visit()
    reader.goto(f"/ui/runs/{flights.good}")
    time = reader.page.locator(".sub time")
    assert "ago" in time.inner_text() or time.inner_text() == "just now"
    title = time.get_attribute("title")
    assert title is not None
    assert title.endswith("UTC")


def test_the_api_is_tried_on_its_own_page(visit: Callable[..., Visitor], flights: Flights) -> None:
    reader = visit()
    page = reader.page
    reader.goto("/docs")
    card = page.locator("#get_run")
    card.get_by_role("textbox", name="run_id").fill(flights.good)
    card.get_by_role("textbox", name="samples").fill("0")
    card.get_by_role("button", name="Try it").click()
    expect(card.locator("output")).to_contain_text(f'"run_id": "{flights.good}"')
    expect(card.locator("output")).to_contain_text("200")
    assert reader.violations() == []


def test_the_keyboard_leads_anywhere(visit: Callable[..., Visitor], flights: Flights) -> None:
    reader = visit()
    page = reader.page
    reader.goto("/ui/health")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/ui")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    focused = page.evaluate("document.activeElement.closest('tr')?.rowIndex")
    assert focused == 1
    page.keyboard.press("Enter")
    page.wait_for_url("**/ui/runs/*")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    reader.goto(f"/ui/runs/{flights.good}")
    page.keyboard.press("]")
    page.wait_for_url(f"**/ui/runs/{flights.buffalo}")
    page.keyboard.press("[")
    page.wait_for_url(f"**/ui/runs/{flights.good}")
    assert reader.violations() == []


def test_times_are_told_as_ages_local_or_utc_and_stay_so(visit: Callable[..., Visitor], flights: Flights) -> None:
    reader = visit(timezone_id="Asia/Tokyo")
    page = reader.page
    reader.goto("/ui")
    time = page.locator("tbody time").first
    at = str(time.get_attribute("datetime"))
    expect(time).to_contain_text("ago")
    page.get_by_role("button", name="times: ago").click()
    local = time.text_content()
    page.get_by_role("button", name="times: local").click()
    expect(time).to_have_text(f"{at[:10]} {at[11:19]} UTC")
    assert local
    assert local != f"{at[:10]} {at[11:19]}", "nine hours later"
    reader.goto("/ui/steps")
    expect(page.locator("tbody time").first).to_contain_text("UTC")
    assert reader.violations() == []


def test_dragging_over_the_trend_narrows_the_time(visit: Callable[..., Visitor], flights: Flights) -> None:
    reader = visit()
    page = reader.page
    reader.goto("/ui/steps?pipeline=flight_rebooking")
    box = page.locator("svg.trend").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.99, box["y"] + 40, steps=4)
    page.mouse.up()
    page.wait_for_url("**since=*until=*")
    assert "pipeline=flight_rebooking" in page.url
    expect(page.locator("table.runs tbody tr").first).to_be_visible()
    assert reader.violations() == []


def test_a_list_is_copied_as_a_command_that_works(visit: Callable[..., Visitor], flights: Flights) -> None:
    reader = visit(permissions=["clipboard-read", "clipboard-write"])
    page = reader.page
    reader.goto("/ui?pipeline=flight_rebooking&status=completed")
    page.get_by_role("button", name="copy as curl").click()
    expect(page.get_by_role("button", name="copied")).to_be_visible()
    command = page.evaluate("navigator.clipboard.readText()")
    assert command == (
        'curl -s -H "Authorization: Bearer $XRAY_API_KEY" '
        f"'{reader.url}/runs?pipeline=flight_rebooking&status=completed'"
    )
    assert reader.violations() == []
