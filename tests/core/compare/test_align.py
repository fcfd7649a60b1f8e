"""Which steps of two runs correspond, and in which order they are shown."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from xray_core.compare.align import Pair, align, children_first, in_order
from xray_core.testing import capture


def step(step_id: str, name: str, **more: Any) -> dict[str, Any]:
    fields = {
        "step_id": step_id, "name": name, "attempt": 1, "started_us": 0, "index": 0, "parent_id": None, "map_index": None,
        "upstream": [], "input_fp": None, "items": None, "status": "completed",
    }  # fmt: skip
    return {**fields, **more}


def pairs(roots: list[Pair]) -> list[tuple[Any, Any]]:
    return [
        (pair.a and pair.a["step_id"], pair.b and pair.b["step_id"]) for pair in in_order(roots)
    ]  # fmt: skip


def in_a_row(*steps: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**each, "index": index} for index, each in enumerate(steps)]


def test_steps_correspond_by_name_and_what_one_run_lacks_stands_where_the_other_has_it() -> None:
    a = in_a_row(step("a1", "load"), step("a2", "filter"), step("a3", "rank"))
    b = in_a_row(step("b1", "load"), step("b2", "dedupe"), step("b3", "filter"), step("b4", "rank"))
    assert pairs(align(a, b)) == [("a1", "b1"), (None, "b2"), ("a2", "b3"), ("a3", "b4")]


def test_of_siblings_with_one_name_those_with_equal_inputs_correspond() -> None:
    prints = [{"exact": name, "partial": False} for name in ("x", "y")]
    a = in_a_row(step("a1", "score", input_fp=prints[0]), step("a2", "score", input_fp=prints[1]))
    b = in_a_row(step("b1", "score", input_fp=prints[1]), step("b2", "score", input_fp=prints[0]))
    assert set(pairs(align(a, b))) == {("a1", "b2"), ("a2", "b1")}


def test_mapped_steps_correspond_by_map_index_and_of_a_retried_step_the_last_attempt() -> None:
    a = in_a_row(*(step(f"a{n}", "each", map_index=n) for n in range(3)))
    b = in_a_row(*(step(f"b{n}", "each", map_index=n) for n in (2, 0)), step("b0", "each", map_index=0, attempt=2))
    aligned = align(a, b)
    assert set(pairs(aligned)) == {("a0", "b0"), ("a1", None), ("a2", "b2")}
    assert next(pair.b for pair in aligned if pair.map_index == 0)["attempt"] == 2  # type: ignore[index]


def test_inner_steps_correspond_inside_the_same_parent() -> None:
    a = in_a_row(step("a1", "one"), step("a2", "filter", parent_id="a1"), step("a3", "two"))
    b = in_a_row(step("b1", "one"), step("b2", "two"), step("b3", "filter", parent_id="b2"))
    assert set(pairs(align(a, b))) == {("a1", "b1"), ("a3", "b2"), ("a2", None), (None, "b3")}


def test_steps_whose_parents_form_a_cycle_are_roots() -> None:
    a = in_a_row(step("a1", "one", parent_id="a2"), step("a2", "two", parent_id="a1"))
    aligned = align(a, a)
    assert [pair.name for pair in aligned] == ["one", "two"]


_trees = st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 8)), max_size=8)


def tree(prefix: str, shape: list[tuple[str, int]]) -> list[dict[str, Any]]:
    return in_a_row(*(
        step(f"{prefix}{n}", name, parent_id=f"{prefix}{up}" if up < n else None) for n, (name, up) in enumerate(shape)
    ))  # fmt: skip


@given(a=_trees, b=_trees)
def test_every_step_is_in_exactly_one_pair(a: list[tuple[str, int]], b: list[tuple[str, int]]) -> None:
    sides = tree("a", a), tree("b", b)
    roots = align(*sides)
    for side, steps in enumerate(sides):
        found = [pair[side] for pair in pairs(roots) if pair[side] is not None]
        assert sorted(found) == sorted(each["step_id"] for each in steps)
    forward, backward = list(in_order(roots)), list(children_first(roots))
    assert {id(pair) for pair in forward} == {id(pair) for pair in backward}
    assert all(pair.parent is None or forward.index(pair.parent) < forward.index(pair) for pair in forward)


def told_in_code(*, pages: int, failed: dict[int, int], left_out: bool = False) -> list[tuple[str | None, str | None]]:
    """Pages that a loop fetches, of which some fail so many times: the inputs of the pairs of steps."""
    with capture() as result:
        for name, fails in (("the-good", {}), ("the-bad", failed)):
            with result.xray.run(run_id=name) as run:
                for page in range(pages):
                    for attempt in range(4):
                        with suppress(TimeoutError), run.step("fetch") as step:
                            step.set_input(page)
                            if attempt < fails.get(page, 0):
                                raise TimeoutError
                            break
                        if left_out:
                            break
        sides = [result._run(name).side.steps for name in ("the-good", "the-bad")]
    found = [(pair.a, pair.b) for pair in in_order(align(*sides))]
    return [tuple(None if each is None else f"{each['input']} {each['status']}" for each in pair) for pair in found]  # type: ignore[misc]


def test_a_step_that_a_loop_tried_again_corresponds_by_its_last_try() -> None:
    both = [(f"{page} completed", f"{page} completed") for page in range(3)]
    assert told_in_code(pages=3, failed={1: 2}) == both
    assert told_in_code(pages=3, failed={0: 1, 2: 3}) == both


def test_a_step_that_failed_and_was_not_tried_again_corresponds_to_the_one_that_did_not() -> None:
    assert told_in_code(pages=2, failed={1: 1}, left_out=True) == [
        ("0 completed", "0 completed"),
        ("1 completed", "1 failed"),
    ]
