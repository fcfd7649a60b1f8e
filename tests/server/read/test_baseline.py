"""The baseline of a run: which one it is, why, and what is unusual beside the last runs of the pipeline.

Tests pages/marks.py.
"""

from __future__ import annotations

import pytest

from tests.live import Live
from xray_core import XRay


def one(xray: XRay, limit: int, *, request: str = "r", flagged: bool = False, ignore: list[str] | None = None) -> str:
    metadata = {} if ignore is None else {"xray.compare": {"ignore": ignore}}
    with xray.run(input={"to": "LAX", "ticket": request}, metadata=metadata) as run:
        with run.step("filter", "filter") as step:
            step.set_input_items([f"i{n}" for n in range(20)])
            for n in range(20):
                step.accept(f"i{n}") if n < limit else step.reject(f"i{n}", "too_big", {"limit": limit})
        if flagged:
            with run.step("join") as step:
                step.set_input_count(3)  # and nothing says what became of them
    return run.run_id


def mark(live: Live, run_id: str, word: str, note: str | None = None) -> None:
    answer = live.http.post(f"/runs/{run_id}/mark", json={"mark": word, "note": note})
    assert answer.status_code == 200, answer.text


def test_the_baseline_is_named_and_why_it_was_chosen(live: Live) -> None:
    with live.xray("named") as xray:
        good, bad = one(xray, 10), one(xray, 5)
    diff = live.get(f"/runs/{bad}/diff/baseline")
    assert diff["baseline"]["run_id"] == good
    assert diff["baseline"]["how"] == "the last run that completed without a flagged step"
    assert diff["sentence"].endswith(f"; compared with {good}, the last run that completed without a flagged step")


def test_a_run_that_was_marked_good_is_the_baseline_until_it_is_marked_otherwise(live: Live) -> None:
    with live.xray("marked") as xray:
        first, second, asked = (one(xray, limit) for limit in (10, 9, 5))
    mark(live, first, "good", "as ordered")
    diff = live.get(f"/runs/{asked}/diff/baseline")
    assert (diff["baseline"]["run_id"], diff["baseline"]["note"]) == (first, "as ordered")
    assert 'the last run marked good, "as ordered"' in diff["sentence"]
    run = live.get(f"/runs/{first}")
    assert (run["mark"], run["mark_note"]) == ("good", "as ordered")
    assert not [change for change in diff["changes"] if "mark" in change["path"]], (
        "a mark is nothing that a run is given"
    )
    mark(live, first, "bad")
    assert live.get(f"/runs/{asked}/diff/baseline")["a"] == second
    mark(live, first, "none")
    assert live.get(f"/runs/{first}")["mark"] is None
    missing = live.http.get(f"/runs/{asked}/diff/baseline", params={"baseline": "good"})
    assert (missing.status_code, missing.json()["detail"][0]["field"]) == (404, "b")


def test_a_run_with_an_unusual_loss_is_no_baseline_and_is_said(live: Live) -> None:
    """The fault has been there for two runs, and no flag shows it."""
    with live.xray("persisting") as xray:
        usual = [one(xray, 10) for _ in range(6)]
        faulty = [one(xray, 3) for _ in range(3)]
    diff = live.get(f"/runs/{faulty[-1]}/diff/baseline")
    assert diff["a"] == usual[-1]
    assert diff["baseline"]["how"] == "the last run whose figures are usual among the last 8"
    told = "filter rejected 85% of its items, where 50% to 85% is usual in the last 8 runs"
    assert told in [each["sentence"] for each in diff["unusual"]]


def test_a_habitual_flag_does_not_keep_a_run_from_being_the_baseline(live: Live) -> None:
    with live.xray("habit") as xray:
        runs = [one(xray, 10, flagged=True) for _ in range(6)]
    assert live.get(f"/runs/{runs[-1]}/diff/baseline")["a"] == runs[-2]


def test_a_baseline_can_be_chosen(live: Live) -> None:
    with live.xray("chosen") as xray:
        runs = [one(xray, limit) for limit in (12, 4, 10, 18, 10, 5)]
    nearest = live.get(f"/runs/{runs[-1]}/diff/baseline", baseline="median:5")
    assert nearest["a"] in (runs[2], runs[4])
    assert nearest["baseline"]["how"] == "of the last 5 runs the nearest to their medians"
    assert live.get(f"/runs/{runs[-1]}/diff/baseline", baseline=runs[1])["a"] == runs[1]
    wrong = live.http.get(f"/runs/{runs[-1]}/diff/baseline", params={"baseline": "best"})
    assert wrong.status_code == 404
    assert "good or median:20" in wrong.json()["error"]


def test_tolerance_and_ignored_paths_are_asked_for_or_set_by_the_pipeline(live: Live) -> None:
    with live.xray("ignored") as xray:
        a, b = one(xray, 10, request="x"), one(xray, 10, request="y")
        c = one(xray, 10, request="z", ignore=["input.ticket"])
    assert live.get(f"/runs/{a}/diff/{b}")["inputs_equal"] is False
    asked = live.get(f"/runs/{a}/diff/{b}", ignore="input.ticket", tolerance=1e-6)
    assert asked["inputs_equal"] is True
    assert asked["options"] == {"tolerance": 1e-6, "ignore": ["input.ticket"]}
    assert live.get(f"/runs/{a}/diff/{c}")["inputs_equal"] is True
    for wrong in ({"ignore": "colour"}, {"tolerance": 2}):
        assert live.http.get(f"/runs/{a}/diff/{b}", params=wrong).status_code == 422


def test_what_had_another_value_in_each_of_the_last_runs_is_proposed(live: Live) -> None:
    with live.xray("proposed") as xray:
        runs = [one(xray, 10, request=f"t{n}") for n in range(6)]
    assert live.get(f"/runs/{runs[0]}/diff/{runs[1]}")["ignore_proposed"] == ["input.ticket"]


@pytest.mark.parametrize("body", [{"mark": "fine"}, {"note": "x"}, {"mark": "good", "colour": "red"}])
def test_a_mark_that_is_none_is_named(live: Live, body: dict[str, str]) -> None:
    with live.xray("wrong-mark") as xray:
        run = one(xray, 10)
    answer = live.http.post(f"/runs/{run}/mark", json=body)
    assert (answer.status_code, answer.json()["detail"][0]["field"]) == (422, "mark")
    assert live.http.post("/runs/none/mark", json={"mark": "good"}).status_code == 404


def test_the_page_of_a_run_marks_it(live: Live) -> None:
    with live.xray("page-mark") as xray:
        run = one(xray, 10)
    answer = live.http.post(f"/ui/runs/{run}/mark", data={"mark": "good", "note": "checked"}, follow_redirects=True)
    assert answer.status_code == 200, answer.text
    assert "marked good" in answer.text
    assert "checked" in answer.text
