"""The steps of a run in order: parents, last attempts, dependencies; broken parents and cycles do no harm."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from xray_core.journey.flow import Flow, started


def step(step_id: str, parent_id: str | None = None, **more: Any) -> dict[str, Any]:
    fields = {
        "step_id": step_id,
        "name": step_id,
        "attempt": 1,
        "parent_id": parent_id,
        "map_index": None,
        "upstream": [],
    }
    return {**fields, "started_us": 0, "index": None, **more}


def test_a_path_names_the_steps_around_and_the_map_index() -> None:
    flow = Flow([step("outer"), step("each", "outer", map_index=3)])
    assert flow.path(flow.states[1]) == "outer > each[3]"


def test_the_last_attempt_counts_whatever_the_order() -> None:
    flow = Flow([step("a", attempt=3), step("a", attempt=1), step("b")])
    assert flow.last_attempt == {"a": 3, "b": 1}


def test_a_step_comes_after_all_that_is_inside_it() -> None:
    flow = Flow([step("outer"), step("inner", "outer"), step("innermost", "inner"), step("next")])
    ordered = flow.children_first(flow.states, lambda state: state["step_id"])
    assert [each["step_id"] for each in ordered] == ["innermost", "inner", "outer", "next"]


def test_dependencies_make_steps_unrelated_only_where_they_were_recorded() -> None:
    flow = Flow([step("a"), step("b"), step("c", upstream=["a"]), step("d", upstream=["c"])])
    assert not flow.unrelated("a", "d")
    assert flow.unrelated("b", "d")
    assert not flow.unrelated("a", "b")  # nothing recorded: nothing known


def test_steps_begin_in_the_order_of_time_then_of_their_index() -> None:
    states = [
        step("late", started_us=9),
        step("second", index=1),
        step("first", index=0),
        step("unknown", started_us=None),
    ]
    assert [each["step_id"] for each in sorted(states, key=started)] == ["first", "unknown", "second", "late"]


@given(parents=st.lists(st.integers(0, 7), min_size=1, max_size=8))
def test_whatever_the_parents_say_every_step_is_there_once_and_its_ancestors_end(parents: list[int]) -> None:
    states = [step(str(n), str(up)) for n, up in enumerate(parents)]  # cycles, itself, and parents that are not there
    flow = Flow(states)
    ordered = flow.children_first(states, lambda state: state["step_id"])
    assert sorted(each["step_id"] for each in ordered) == sorted(each["step_id"] for each in states)
    for each in states:
        above = flow.ancestors(each["step_id"])
        assert len(set(above)) == len(above)
        assert each["step_id"] not in above
