"""`GET /runs/{run}/items/{item}`: what became of an item, through the real SDK and a real server.

Tests read/why.py, and of the core journey/explain.py, neighbours.py, sentences.py and types.py; read/conservation.py.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.live import Live


def steps_of(answer: Any) -> dict[str, Any]:
    return {entry["path"]: entry for entry in answer["journey"]}


def test_a_rejected_item_is_told_with_reason_and_details(live: Live) -> None:
    with live.xray("flights") as xray, xray.run() as run, run.step("filter", step_type="filter") as step:
        step.set_input_items(["UA-1", "UA-2"])
        step.reject("UA-1", "wrong_destination", {"dest": "IAH", "wanted": ["LAX", "BUR"]})
        step.accept("UA-2")
    answer = live.why(run.run_id, "UA-1")
    assert answer["sentence"] == "UA-1 was rejected at filter: wrong_destination (dest IAH; wanted LAX, BUR)"
    assert (answer["run_id"], answer["item_id"], answer["outcome"]) == (run.run_id, "UA-1", "rejected")
    assert answer["certainty"] == "exact"
    (entry,) = answer["journey"]
    assert (entry["step"], entry["outcome"], entry["reason"]) == ("filter", "rejected", "wrong_destination")
    assert entry["details"] == {"dest": "IAH", "wanted": ["LAX", "BUR"]}
    assert (entry["attempt"], entry["certainty"], entry["p_false"]) == (1, "exact", 0.0)


def test_an_item_that_was_passed_over_is_told_the_cut_off(live: Live) -> None:
    with live.xray("select") as xray, xray.run() as run, run.step("select") as step:
        step.decide(
            "best", selected="a", score=0.9, alternatives=[{"id": "b", "score": 0.7}, {"id": "c", "score": 0.2}]
        )
    answer = live.why(run.run_id, "c")
    assert answer["sentence"] == "c was not selected at select (score 0.2; rank 3); the last selected was a with 0.9"
    assert answer["journey"][0]["cutoff"] == {"item_id": "a", "score": 0.9}


def test_an_item_that_is_not_in_the_input_set_never_entered(live: Live) -> None:
    with live.xray("p") as xray, xray.run() as run, run.step("filter") as step:
        step.set_input_items(["a", "b"])
        step.reject("a", "bad")
        step.accept("b")
    answer = live.why(run.run_id, "z")
    assert (answer["outcome"], answer["certainty"]) == ("never_entered", "exact")
    assert answer["sentence"] == "z never entered: it is not among the items of filter"


def test_an_item_lost_between_two_item_sets_was_dropped(live: Live) -> None:
    with live.xray("p") as xray, xray.run() as run:
        with run.step("dedupe") as step:
            step.set_input_items(["a", "b", "c"])
            step.reject("a", "duplicate")
            step.set_output_items(["b"])
    answer = live.why(run.run_id, "c")
    assert (answer["outcome"], answer["certainty"]) == ("dropped", "exact")
    assert answer["sentence"] == "c was dropped at dedupe without a reason"
    assert live.why(run.run_id, "b")["outcome"] == "accepted"


def test_an_item_accepted_upstream_that_never_reaches_the_next_step_was_dropped(live: Live) -> None:
    with live.xray("p") as xray, xray.run() as run:
        with run.step("filter") as step:
            step.accept_many(["a", "b"])
        with run.step("score") as step:
            step.set_input_items(["a"])
            step.accept("a")
    answer = live.why(run.run_id, "b")
    assert answer["outcome"] == "dropped"
    assert answer["sentence"] == "b was dropped without a reason: accepted at filter, it never reached score"


def test_minimal_capture_is_never_called_certain(live: Live) -> None:
    with live.xray("p") as xray, xray.run() as run, run.step("filter", capture="minimal") as step:
        step.reject("a", "bad")
    answer = live.why(run.run_id, "a")
    assert answer["outcome"] == "not_captured"
    assert answer["journey"][0]["certainty"] == "not_captured"
    assert 'capture="sample"' in answer["sentence"]


def test_an_item_without_any_trace_is_told_which_steps_cannot_tell(live: Live) -> None:
    with live.xray("p") as xray, xray.run() as run, run.step("filter") as step:
        step.reject("a", "bad")
    answer = live.why(run.run_id, "b")
    assert (answer["outcome"], answer["unsure"]) == ("not_captured", ["filter"])
    assert "step.set_input_items() would tell" in answer["sentence"]


def test_beyond_a_thousand_items_the_answer_says_how_sure_it_is(live: Live) -> None:
    with live.xray("p") as xray, xray.run() as run, run.step("filter") as step:
        step.set_input_items([f"i{n}" for n in range(5000)])
        for n in range(5000):
            step.reject(f"i{n}", "bad")
    answer = live.why(run.run_id, "i4999")
    assert (answer["outcome"], answer["certainty"]) == ("rejected", "fingerprint")
    assert answer["p_false"] == pytest.approx(9000 / 2**40)
    assert "wrong with probability 8e-09" in answer["sentence"]
    assert live.why(run.run_id, "nobody")["outcome"] == "never_entered"


def test_of_a_retried_step_the_last_attempt_counts_and_the_others_are_shown(live: Live) -> None:
    with live.xray("p") as xray, xray.run() as run:
        for attempt, reason in ((1, "first"), (2, "second")):
            step = run.open_step("score", step_id="s", attempt=attempt)
            step.reject("a", reason)
            step.close("failed" if attempt == 1 else "completed")
    answer = live.why(run.run_id, "a")
    assert answer["reason"] == "second"
    assert [(e["attempt"], e["reason"], e["superseded"]) for e in answer["journey"]] == [
        (1, "first", True),
        (2, "second", False),
    ]


def test_of_nested_steps_the_inner_one_is_named(live: Live) -> None:
    with live.xray("p") as xray, xray.run() as run, run.step("filter") as outer:
        with run.step("price") as inner:
            inner.reject("a", "too_high")
        outer.reject("a", "filtered")
    answer = live.why(run.run_id, "a")
    assert answer["sentence"] == "a was rejected at filter > price: too_high"


def test_of_mapped_steps_only_those_that_saw_the_item_are_shown(live: Live) -> None:
    with live.xray("p") as xray, xray.run() as run:
        for index in range(5):
            step = run.open_step("shard", map_index=index)
            step.set_input_items([f"a{index}"])
            step.reject(f"a{index}", "bad")
            step.close()
    answer = live.why(run.run_id, "a3")
    assert [entry["path"] for entry in answer["journey"]] == ["shard[3]"]
    assert answer["sentence"] == "a3 was rejected at shard[3]: bad"
    nowhere = live.why(run.run_id, "zz")
    assert [entry["instances"] for entry in nowhere["journey"]] == [5]
    assert nowhere["outcome"] == "never_entered"


def test_an_unknown_run_is_404_and_an_unknown_parameter_is_named(live: Live) -> None:
    missing = live.http.get("/runs/none/items/a")
    assert missing.status_code == 404
    assert "there is no run 'none'" in missing.json()["error"]
    with live.xray("p") as xray, xray.run() as run:
        pass
    wrong = live.http.get(f"/runs/{run.run_id}/items/a", params={"colour": "red"})
    assert wrong.status_code == 422
    assert wrong.json()["detail"][0]["field"] == "colour"


def test_what_a_silent_step_may_have_lost_is_said_before_it_as_after_it(live: Live) -> None:
    with live.xray("silent") as xray, xray.run() as run:
        with run.step("load"):
            pass
        with run.step("clean") as step:
            step.set_input_items(["a", "b"])
        with run.step("notify"):
            pass
        with run.step("send") as step:
            step.set_input_items(["b"])
            step.accept("b")
    lost = live.why(run.run_id, "a")
    assert (lost["outcome"], lost["step"], lost["certainty"]) == ("dropped", "clean", "not_captured")
    assert lost["sentence"] == (
        "a was dropped without a reason: it entered clean and never reached send; "
        "it was lost in clean or in notify, which tells nothing about items"
    )
    stranger = live.why(run.run_id, "z")
    assert (stranger["outcome"], stranger["certainty"], stranger["unasked"]) == (
        "never_entered", "not_captured", ["load"],
    )  # fmt: skip
    assert stranger["sentence"] == (
        "z never entered: it is not among the items of clean; before that, load tells nothing about items"
    )


def test_a_later_exact_absence_counts_more_than_an_earlier_step_that_cannot_tell(live: Live) -> None:
    with live.xray("later") as xray, xray.run() as run:
        with run.step("load") as step:
            step.set_output_items(["a", "b"])
        with run.step("filter", capture="minimal") as step:
            step.reject("a", "bad")
            step.accept("b")
        with run.step("send") as step:
            step.set_input_items(["b"])
    answer = live.why(run.run_id, "a")
    assert (answer["outcome"], answer["step"], answer["certainty"]) == ("dropped", "filter", "not_captured")
    assert answer["sentence"].startswith(
        "a never reached send; it was accepted at load, and what became of it after that"
    )


def test_what_one_attempt_said_stands_where_the_next_went_on_with_the_rest(live: Live) -> None:
    with live.xray("resumed") as xray, xray.run() as run:
        for attempt, items in ((1, ["a", "b"]), (2, ["c", "d"])):
            step = run.open_step("check", step_id="check", attempt=attempt)
            step.set_input_items(items)
            step.reject(items[0], "bad")
            step.accept(items[1])
            step.close("failed" if attempt == 1 else "completed")
    answer = live.why(run.run_id, "a")
    assert (answer["outcome"], answer["certainty"]) == ("rejected", "exact")
    assert [(e["attempt"], e["outcome"], e["superseded"]) for e in answer["journey"]] == [
        (1, "rejected", False),
        (2, "never_entered", True),
    ]


def test_an_item_of_one_mapped_instance_is_not_lost_before_the_others(live: Live) -> None:
    with live.xray("mapped") as xray, xray.run() as run:
        for index in range(3):
            step = run.open_step("shard", map_index=index)
            step.set_input_items([f"a{index}"])
            step.accept(f"a{index}")
            step.close()
    assert live.why(run.run_id, "a0")["outcome"] == "accepted"


def test_runs_that_began_inside_the_run_are_asked_too(live: Live) -> None:
    with live.xray("parent") as xray, xray.run() as run, run.step("call"):
        with xray.run(pipeline="child") as inner, inner.step("filter") as step:
            step.reject("a", "bad")
            step.accept("b")
    answer = live.why(run.run_id, "a")
    assert (answer["outcome"], answer["step"], answer["reason"]) == ("rejected", "filter", "bad")
    assert answer["sentence"] == f"a was rejected at filter: bad (in its child run {inner.run_id})"
    assert [each["run_id"] for each in answer["child_runs"]] == [inner.run_id]


def test_of_many_runs_that_began_inside_the_run_those_that_hold_the_item_are_asked(live: Live) -> None:
    with live.xray("many children") as xray, xray.run() as run, run.step("call") as call:
        items = [f"m{n}" for n in range(25)]
        call.set_input_items(items)
        call.set_output_items([])
        for item in items:
            with xray.run(pipeline="child of many") as inner, inner.step("filter") as step:
                step.reject(item, f"bad {item}")
    for item in ("m0", "m12", "m24"):
        answer = live.why(run.run_id, item)
        assert (answer["outcome"], answer["reason"], len(answer["child_runs"])) == ("rejected", f"bad {item}", 1)


def test_the_newest_run_that_knows_the_item_is_offered_where_the_asked_one_does_not(live: Live) -> None:
    with live.xray("several") as xray:
        runs = []
        for items in (["a"], ["a"], ["b"]):
            with xray.run() as run, run.step("filter") as step:
                step.set_input_items(items)
                step.accept_many(items)
            runs.append(run.run_id)
    answer = live.why(runs[2], "a")
    assert answer["outcome"] == "never_entered"
    assert answer["known_run"]["run_id"] == runs[1]
    assert f"; run {runs[1]} of " in answer["sentence"]


def test_what_is_lost_between_steps_is_told_with_the_run(live: Live) -> None:
    with live.xray("between") as xray, xray.run() as run:
        with run.step("fetch") as step:
            step.set_output_items(["a", "b", "c"])
        with run.step("norm") as step:
            step.set_input_items(["a", "b"])
            step.set_output_items(["a", "b"])
    answer = live.get(f"/runs/{run.run_id}")
    told = "1 of 3 items that came out of fetch did not go into norm or a step after it: c"
    assert answer["flags"] == ["lost_between"]
    assert [gap["sentence"] for gap in answer["conservation"]] == [told]
    assert told in live.http.get(f"/ui/runs/{run.run_id}").text


def test_an_item_that_was_deleted_is_said_to_be_and_others_are_told_as_before(live: Live) -> None:
    word = uuid4().hex
    gone, kept = f"gone-{word}", f"kept-{word}"
    with live.xray("deleting") as xray, xray.run() as run, run.step("filter", step_type="filter") as step:
        step.set_input_items([gone, kept])
        step.reject(gone, "late", {"price": 4711})
        step.reject(kept, "late", {"price": 80})
    before = live.why(run.run_id, kept)
    assert live.http.delete(f"/items/{gone}").json() == {"item_id": gone, "deleted": True, "runs": 1}
    answer = live.http.get(f"/runs/{run.run_id}/items/{gone}")
    assert answer.status_code == 404
    assert "this item was deleted at" in answer.json()["error"]
    assert live.why(run.run_id, kept) == before
    assert live.get(f"/runs/{run.run_id}/items/never-{word}")["certainty"] == "exact"
    assert live.get(f"/items/{gone}")["runs"] == []
    page = live.http.get(f"/ui/runs/{run.run_id}/items/{gone}", headers={"Accept": "text/html"})
    assert (page.status_code, "was deleted at" in page.text) == (404, True)
    again = live.http.delete(f"/items/{gone}")
    assert (again.status_code, again.json()["detail"][0]["field"]) == (404, "item_id")
    assert (live.why(run.run_id, kept)["outcome"], gone in live.http.get(f"/runs/{run.run_id}").text) == (
        "rejected",
        False,
    )


def test_the_form_that_deletes_an_item_asks_whether_one_is_sure(live: Live) -> None:
    item = f"form-{uuid4().hex}"
    with live.xray("deleting") as xray, xray.run() as run, run.step("filter", step_type="filter") as step:
        step.reject(item, "late")
    path, page = f"/ui/runs/{run.run_id}/items/{item}", {"Origin": live.url}
    assert f'action="{path}/delete"' in live.http.get(path).text
    assert live.http.post(f"{path}/delete", headers=page).status_code == 422
    assert live.why(run.run_id, item)["outcome"] == "rejected"
    assert live.http.post(f"{path}/delete", data={"sure": "yes"}, headers=page).status_code == 303
    assert live.http.get(f"/runs/{run.run_id}/items/{item}").status_code == 404
