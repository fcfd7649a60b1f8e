"""What holds on every page: accessible, inside the screen, and inert whatever a pipeline calls its things."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.browser.reader import TRAVELLER, Flights, Visitor
from tests.live import Live
from tests.server.make_keys import create_keys

PWN = "window.pwned=1"
HOSTILE = {
    "markup": f'"\'></title></style></svg></textarea><script>{PWN}</script><img src=x onerror="{PWN}">'
    "{{ 7*7 }}{% raw %}; background: url(javascript:alert(1)); x: ",
    "scheme": f"javascript:{PWN}//",
    "direction": "\u202egnp.txt\u2066 \u0000 مرحبا بالعالم " + "🛫" * 60,
    "length": "x" * 240,
}


def addresses(run_id: str, step_id: str, item_id: str) -> list[str]:
    run = f"/ui/runs/{quote(run_id, safe='')}"
    return [
        run,
        f"{run}?view=timeline",
        f"{run}?view=graph",
        f"{run}?scale=linear&item={quote(item_id, safe='')}",
        f"{run}/steps/{quote(step_id, safe='')}",
        f"{run}/items/{quote(item_id, safe='')}",
        f"{run}/items?step={quote(step_id, safe='')}&outcome=rejected",
        f"{run}/whatif?step={quote(step_id, safe='')}",
        f"/ui/items/{quote(item_id, safe='')}",
        f"{run}/above?a={quote(item_id, safe='')}&b=other",
        f"/ui/separates?run={quote(run_id, safe='')}&step={quote(step_id, safe='')}",
    ]


def everywhere(flights: Flights, live: Live) -> list[str]:
    steps = live.get(f"/runs/{flights.buffalo}")["steps"]
    filtering = next(step["step_id"] for step in steps if step["name"] == "filter")
    rule = live.http.post(
        "/alerts/rules", json={"name": "most are rejected", "metric": "rejection_rate", "above": 0.9}
    ).json()
    return [
        "/ui", "/ui/steps", f"/ui/search?q={TRAVELLER}", "/ui/health", "/docs", "/ui/runs/none", "/ui?status=failed",
        *addresses(flights.buffalo, filtering, TRAVELLER),
        f"/ui/runs/{flights.buffalo}/steps?name=filter",
        "/ui/groups", "/ui/groups?a=until=2000-01-01&b=since=2000-01-01&by=dest", "/ui/runs-side-by-side",
        f"/ui/runs-side-by-side?runs={flights.good},{flights.buffalo}", "/ui/stability", "/ui/stability?pipeline=flight_rebooking",
        "/ui/separates", "/ui/separates?step=filter", f"/ui/runs/{flights.buffalo}/above", "/ui/trends", "/ui/trends?figure=duration",
        "/ui/trends?figure=score", "/ui/trends?figure=score&step=score", "/ui/steps?since=1d",
        "/ui/compare", f"/ui/compare?a={flights.good}&b={flights.buffalo}", "/ui/alerts", f"/ui/alerts/{rule['rule_id']}?since=30d",
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible(
    visit: Callable[..., Visitor], flights: Flights, live: Live, axe_source: str, scheme: str
) -> None:
    """axe-core finds nothing to mend: contrast, names, roles, landmarks, order of headings."""
    reader = visit(color_scheme=scheme)
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if scheme == "dark":
        options["runOnly"] = ["color-contrast"]  # the only rule that the colours matter to
    found = {}
    for path in everywhere(flights, live):
        reader.goto(path)
        reader.page.evaluate(axe_source)
        result = reader.page.evaluate(f"axe.run(document, {json.dumps(options)})")
        if result["violations"]:
            found[path] = [
                (each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in result["violations"]
            ]
    assert not found, json.dumps(found, indent=1)


@pytest.mark.parametrize("width_px", [360, 1920])
def test_no_page_is_wider_than_the_screen(
    visit: Callable[..., Visitor], flights: Flights, live: Live, width_px: int
) -> None:
    reader = visit(viewport={"width": width_px, "height": 800})
    for path in everywhere(flights, live):
        reader.goto(path)
        assert reader.overflow_px() <= 0, path


def test_the_sign_in_page_fits_a_phone_and_is_accessible(
    visit: Callable[..., Visitor], axe_source: str, tmp_path: Path
) -> None:
    closed = Live(tmp_path)
    create_keys(closed.store)
    reader = visit(viewport={"width": 360, "height": 800})
    reader.page.goto(f"{closed.url}/ui/steps")
    assert reader.page.get_by_role("button", name="Sign in").is_visible()
    assert reader.overflow_px() <= 0
    reader.page.evaluate(axe_source)
    assert reader.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"] == []
    assert reader.violations() == []
    closed.stop()


def hostile_records(text: str, run_id: str, step_id: str) -> list[dict[str, Any]]:
    long = text + "y" * 10_000
    key = {"v": 1, "run_id": run_id, "part": "a", "rev": 1, "pipeline": text}
    error = {"type": text, "message": long, "traceback": long}
    origin = {"framework": text, "kind": text, "ids": {text: long}, "url": "javascript:window.pwned=1", "state": text}
    step = {**key, "kind": "step", "step_id": step_id, "attempt": 1, "name": text, "step_type": text}
    return [
        {**key, "kind": "run", "status": "failed", "started_us": 1_760_000_000_000_000, "input": {text: long},
         "output": text, "error": error, "tags": {text: text}, "metadata": {text: long}, "origin": origin,
         "code_version": text, "client": {"host": text, "pid": 1, "sdk": text}},
        {**step, "status": "failed", "index": 0, "upstream": ["other"], "started_us": 1_760_000_000_000_000,
         "ended_us": 1_760_000_001_000_000, "duration_us": 1_000_000, "counts": {"rejected": 2, "selected": 1},
         "reasons": {"rejected": {text: 2}, "selected": {text: 1}}, "input_count": 9, "input": long,
         "output": [text] * 40, "error": error, "origin": origin, "metadata": {text: long}, "dropped": {text: 4},
         "decisions": [{"decision": text, "selected": text, "reason": text, "score": 1, "details": {text: text},
                        "alternatives": [text, {"item_id": text, "score": 0.5}], "at_us": 1}]},
        {**step, "step_id": "other", "name": text + "2", "status": "completed", "index": 1,
         "started_us": 1_760_000_002_000_000, "counts": {"accepted": 1}},
        {"v": 1, "kind": "verdicts", "run_id": run_id, "step_id": step_id, "attempt": 1, "part": "a", "chunk": "1",
         "sets": [{"outcome": "rejected", "reason": text, "n": 1, "ids": [text[:250]]}]},
        {"v": 1, "kind": "samples", "run_id": run_id, "step_id": step_id, "attempt": 1, "part": "a", "chunk": "1",
         "samples": [{"item_id": text[:250], "outcome": "rejected", "reason": text, "weight": 2.0, "score": 0.5, "at_us": n,
                      "details": {text: long, "price": n, "threshold": 3}} for n in range(6)]},
        {"v": 1, "kind": "client", "part": text, "rev": 1, "host": text, "pid": 1, "sdk": text, "pipeline": text,
         "counters": {text: 3}},
    ]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_reasons_and_details_stay_text(visit: Callable[..., Visitor], live: Live, text: str) -> None:
    """Nothing that a pipeline writes runs, leads anywhere, breaks the layout or troubles the content security policy."""
    run_id, step_id = f"run {text}"[:250], f"step {text}"[:250]
    lines = "\n".join(json.dumps(record) for record in hostile_records(text, run_id, step_id))
    answer = live.http.post("/ingest", content=lines.encode())
    assert answer.json()["refused"] == []
    live.http.post(
        "/runs", json={"run_id": "plain", "pipeline": "plain", "steps": [{"name": text, "output": [text[:100]]}]}
    )
    reader = visit(viewport={"width": 390, "height": 800})
    for path in [
        "/ui", "/ui/steps", "/ui/health", "/ui/trends?figure=duration", "/ui/stability", f"/ui/search?q={quote(text, safe='')}",
        f"/ui/steps?reason={quote(text, safe='')}", *addresses(run_id, step_id, text[:250]),
        f"/ui/runs/{quote(run_id, safe='')}/steps?name={quote(text, safe='')}",
        f"/ui/compare?a=plain&b={quote(run_id, safe='')}",
    ]:  # fmt: skip
        reader.goto(path)
        for summary in reader.page.locator("summary").all():
            summary.click()
        assert reader.violations() == [], path
        assert reader.page.evaluate("window.pwned") is None, path
        assert (
            reader.page.evaluate("document.querySelectorAll('main script, main style, main img, main iframe').length")
            == 0
        )
        links = reader.page.evaluate("[...document.querySelectorAll('[href]')].map(a => a.getAttribute('href'))")
        assert [link for link in links if not link.startswith(("/", "?", "#"))] == [], path
        assert reader.overflow_px() <= 0, path
