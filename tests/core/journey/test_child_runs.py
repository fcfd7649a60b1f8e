"""`why` on a run follows the runs that began inside it, as subflows do: into the step that lost the item, at any depth."""

from __future__ import annotations

from xray_core.capture.run import Run
from xray_core.journey import ChildRun, child_runs
from xray_core.testing import Captured, capture


def state(began: int, parent: str | None, step: str | None = None) -> dict[str, object]:
    return {"started_us": began, "parent": {"run_id": parent, "step_id": step} if parent else None}


def test_runs_inside_at_any_depth_are_found_in_the_order_in_which_they_began() -> None:
    runs = [
        ("b", state(3, "root", "s2")),
        ("other", state(1, "elsewhere")),
        ("a", state(2, "root", "s1")),
        ("deep", state(4, "a", "in a")),
        ("loop", state(5, "loop")),
        ("root", state(1, "deep")),
    ]
    assert child_runs("root", runs) == [ChildRun("a", "s1"), ChildRun("b", "s2"), ChildRun("deep", "s1")]


def subflow(result: Captured, parent: Run, name: str, inner: str, ids: list[str], out: list[str] | None) -> Run:
    """A run inside a step of the parent that was given ids; what came out was seen by nobody where `out` is None."""
    step = parent.open_step(name, step_type="subflow")
    step.set_input_items(ids)
    run = result.xray.open_run(inner, run_id=f"run of {inner}", parent=(parent.run_id, step.step_id))
    if out is not None:
        step.set_output_items(out)
    step.close()
    return run


def rejecting(run: Run, item: str, reason: str, rest: list[str]) -> None:
    with run.step("check") as step:
        step.set_input_items([item, *rest])
        step.reject(item, reason)
        step.accept_many(rest)
    run.close()


def test_an_item_that_a_subflow_did_not_give_back_is_answered_by_what_the_subflow_said() -> None:
    with capture() as result:
        with result.xray.run(pipeline="outer") as outer:
            inner = subflow(result, outer, "child", "inner", ["a", "b"], ["b"])
            rejecting(inner, "a", "too_dear", ["b"])
    why = result.why("a", outer.run_id)
    assert (why.outcome, why.step, why.reason, why.certainty) == ("rejected", "check", "too_dear", "exact")
    assert why.sentence == f"a was rejected at check: too_dear (in its child run {inner.run_id})"
    assert (why.run_id, [each["run_id"] for each in why.child_runs]) == (outer.run_id, [inner.run_id])
    assert result.why("b", outer.run_id).outcome == "accepted"


def test_it_is_followed_into_a_subflow_of_a_subflow() -> None:
    with capture() as result:
        with result.xray.run(pipeline="outer") as outer:
            middle = subflow(result, outer, "child", "middle", ["a", "b"], ["b"])
            inner = subflow(result, middle, "grandchild", "inner", ["a", "b"], ["b"])
            rejecting(inner, "a", "too_dear", ["b"])
            middle.close()
    why = result.why("a", outer.run_id)
    assert (why.outcome, why.reason) == ("rejected", "too_dear")
    assert why.sentence.endswith(f": too_dear (in its child run {inner.run_id})")


def test_a_subflow_whose_result_was_not_seen_is_followed_too() -> None:
    with capture() as result:
        with result.xray.run(pipeline="outer") as outer:
            inner = subflow(result, outer, "child", "inner", ["a", "b"], None)
            rejecting(inner, "a", "too_dear", ["b"])
    assert result.why("a", outer.run_id).reason == "too_dear"
    accepted = result.why("b", outer.run_id)
    assert (accepted.outcome, accepted.step) == ("accepted", "check")


def test_a_subflow_that_was_given_no_items_is_followed_where_the_item_was_lost_past_it() -> None:
    with capture() as result:
        with result.xray.run(pipeline="outer") as outer:
            with outer.step("load") as step:
                step.set_output_items(["a", "b"])
            with outer.step("child") as step:
                inner = result.xray.open_run("inner", run_id="run of inner", parent=(outer.run_id, step.step_id))
            rejecting(inner, "a", "too_dear", ["b"])
            with outer.step("send") as step:
                step.set_input_items(["b"])
                step.set_output_items(["b"])
    why = result.why("a", outer.run_id)
    assert (why.outcome, why.reason) == ("rejected", "too_dear")


def test_what_a_subflow_said_of_an_item_that_was_lost_elsewhere_is_told_beside_it() -> None:
    with capture() as result:
        with result.xray.run(pipeline="outer") as outer:
            with outer.step("one of several checks") as step:
                inner = result.xray.open_run("inner", run_id="run of inner", parent=(outer.run_id, step.step_id))
                step.set_input_items(["a", "b"])
                step.set_output_items(["a", "b"])
            rejecting(inner, "a", "odd", ["b"])
            with outer.step("join") as step:
                step.set_input_items(["a", "b"])
                step.set_output_items(["b"])
    why = result.why("a", outer.run_id)
    assert (why.outcome, why.step) == ("dropped", "join")
    assert f"; in its child run {inner.run_id}: a was rejected at check: odd" in why.sentence


def test_what_the_run_itself_said_stands() -> None:
    with capture() as result:
        with result.xray.run(pipeline="outer") as outer:
            with outer.step("child") as step:
                inner = result.xray.open_run("inner", run_id="run of inner", parent=(outer.run_id, step.step_id))
                step.reject("a", "banned")
            rejecting(inner, "a", "too_dear", ["b"])
    assert result.why("a", outer.run_id).reason == "banned"
