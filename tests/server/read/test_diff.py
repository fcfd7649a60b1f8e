"""`GET /runs/{a}/diff/{b}`: what is said of two runs, beyond which step is guilty (tests/diagnosis has that).

Tests read/diff.py, and of the core compare/runs.py, flips.py and types.py.
"""

from __future__ import annotations

from collections import OrderedDict

import pytest

from tests.live import Live
from xray_core import XRay


def one(xray: XRay, *, limit: int, value: object = None, status: str = "ok", metadata: object = None) -> str:
    with xray.run(input={"to": "LAX"}, metadata={"model": metadata}) as run, run.step("filter") as step:
        if value is None:
            step.set_input_items([f"i{n}" for n in range(10)])
        else:
            step.set_input(value)
        for n in range(10):
            if n >= limit:
                step.reject(f"i{n}", "too_big", {"n": n})
            else:
                step.accept(f"i{n}")
    return run.run_id


def test_the_deltas_are_those_of_b_against_a(live: Live) -> None:
    with live.xray("deltas") as xray:
        a, b = one(xray, limit=5), one(xray, limit=3)
    diff = live.get(f"/runs/{a}/diff/{b}")
    (step,) = diff["steps"]
    assert (step["name"], step["inputs_equal"], step["outputs_equal"], step["role"]) == (
        "filter",
        None,
        False,
        "origin",
    )
    assert (step["inputs"]["state"], step["outputs"]["what"]) == ("same_items", ["items"])
    assert (step["ledger"]["a"]["accepted"], step["ledger"]["b"]["accepted"]) == (5, 3)
    assert step["ledger_delta"] == {
        "input": 0, "accepted": -2, "rejected": 2, "not_selected": 0, "errored": 0, "unaccounted": 0, "selected": 0,
    }  # fmt: skip
    assert step["reason_delta"] == {"accepted": {"": -2}, "rejected": {"too_big": 2}}
    assert diff["flipped_count"] == 2
    assert diff["flipped_exact"] is True
    assert {flip["item_id"]: (flip["a"], flip["b"]) for flip in diff["flipped"]} == {
        name: ({"outcome": "accepted", "reason": None}, {"outcome": "rejected", "reason": "too_big"})
        for name in ("i3", "i4")
    }
    assert diff["sentence"] == (
        "the runs first differ at filter: the same items, whose values were not captured, gave a different output, "
        "and neither its code version nor its parameters changed (rejected.too_big: 5 -> 7); 2 items came out differently; "
        "not certain: the values that went into it were not captured"
    )


def test_key_order_float_spelling_and_set_order_are_no_difference(live: Live) -> None:
    with live.xray("canonical") as xray:
        a = one(xray, limit=5, value={"a": 1.0, "b": {"x", "y"}})
        b = one(xray, limit=5, value=OrderedDict([("b", {"y", "x"}), ("a", 1)]))
    diff = live.get(f"/runs/{a}/diff/{b}")
    assert diff["parted_at"] is None
    assert diff["steps"][0]["inputs_equal"] is True
    assert diff["sentence"] == "the two runs came out the same wherever that can be told"


def test_a_value_that_cannot_be_read_whole_proves_nothing(live: Live) -> None:
    with live.xray("partial") as xray:
        ids = []
        for _ in range(2):
            with xray.run() as run, run.step("embed") as step:
                step.set_output(object())
            ids.append(run.run_id)
    diff = live.get(f"/runs/{ids[0]}/diff/{ids[1]}")
    (step,) = diff["steps"]
    assert step["outputs_equal"] is None
    assert "prove nothing" in step["note"]
    assert diff["parted_at"] is None
    assert "of 1 step too little was captured" in diff["sentence"]


def test_changed_metadata_is_shown_by_its_path(live: Live) -> None:
    with live.xray("changes") as xray:
        a = one(xray, limit=5, metadata={"name": "m", "version": 1})
        b = one(xray, limit=5, metadata={"name": "m", "version": 2})
    diff = live.get(f"/runs/{a}/diff/{b}")
    assert diff["changes"] == [{"path": "metadata.model.version", "a": 1, "b": 2}]


def test_what_came_of_a_step_is_no_parameter_of_it(live: Live) -> None:
    runs = []
    with live.xray("results") as xray:
        for rows in (5, 3):
            with xray.run(input={"to": "LAX"}) as run, run.step("load") as step:
                step.set_input("s3://bucket")
                step.set_output(list(range(rows)))
                step.set_metadata("result.materialized", {"offers": {"rows": rows}})
            runs.append(run.run_id)
    diff = live.get(f"/runs/{runs[0]}/diff/{runs[1]}")
    assert diff["parted_at"]["kind"] == "non_deterministic"
    paths = [change["path"] for change in diff["changes"]]
    assert paths == ["steps.load.metadata.result.materialized.offers.rows", "steps.load.output"]


def test_the_baseline_is_the_last_good_run_of_the_pipeline(live: Live) -> None:
    with live.xray("with-baseline") as xray:
        good = one(xray, limit=5)
        with xray.run() as flagged, flagged.step("filter") as step:
            step.set_input_count(3)  # and nothing says what became of them
        with pytest.raises(ValueError, match="boom"), xray.run():
            raise ValueError("boom")
        bad = one(xray, limit=4)
    diff = live.get(f"/runs/{bad}/diff/baseline")
    assert (diff["a"], diff["b"]) == (good, bad)
    assert diff["parted_at"]["step"] == "filter"
    missing = live.http.get(f"/runs/{good}/diff/baseline")
    assert missing.status_code == 404
    assert "no run of 'with-baseline'" in missing.json()["error"]


def test_a_run_that_is_not_there_is_named(live: Live) -> None:
    with live.xray("missing") as xray:
        a = one(xray, limit=5)
    answer = live.http.get(f"/runs/{a}/diff/nowhere")
    assert (answer.status_code, answer.json()["detail"][0]["field"]) == (404, "b")


def test_repeated_steps_answer_to_those_with_the_same_input(live: Live) -> None:
    """A loop over documents that come in another order: each step is compared with its own."""
    with live.xray("loop") as xray:
        ids = []
        for order in (["x", "y", "z"], ["z", "x", "y"]):
            with xray.run() as run:
                for document in order:
                    with run.step("read") as step:
                        step.set_input(document)
                        step.set_output(document.upper())
            ids.append(run.run_id)
    diff = live.get(f"/runs/{ids[0]}/diff/{ids[1]}")
    assert [(step["inputs_equal"], step["outputs_equal"]) for step in diff["steps"]] == [(True, True)] * 3


def test_posted_runs_compare_by_their_values(live: Live) -> None:
    for run_id, output in (("posted-a", {"kept": [1, 2]}), ("posted-b", {"kept": [2, 1]})):
        step = {"name": "filter", "input": {"k": 1}, "output": output, "input_count": 3, "output_count": 2}
        posted = live.http.post("/runs", json={"run_id": run_id, "pipeline": "posted", "steps": [step]})
        assert posted.status_code == 200
    diff = live.get("/runs/posted-a/diff/posted-b")
    assert (diff["parted_at"]["step"], diff["parted_at"]["reordered"]) == ("filter", True)
