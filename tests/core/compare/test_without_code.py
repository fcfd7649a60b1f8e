"""Pipelines captured by a decorator alone: which step is blamed, and what keeps that from being certain.

Tests compare/blame.py and certainty.py: inner steps beside each other, streams, parameters, tokens, last digits, types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from xray_core import XRay, current_step
from xray_core.capture.run import Run
from xray_core.compare import Diff
from xray_core.testing import capture

STEPS = XRay("without-code")
ROWS = [{"k": k} for k in range(10)]


def told(pipeline: Callable[[Run, bool], Any]) -> Diff:
    """What is said of a run of it, and of one with its fault."""
    with capture() as captured:
        for name, bad in (("good", False), ("bad", True)):
            with captured.xray.run(input=1, run_id=name) as run:
                run.set_output(pipeline(run, bad))
        return captured.diff("good", "bad")


def blamed(pipeline: Callable[[Run, bool], Any]) -> tuple[str | None, bool]:
    parted = told(pipeline).parted_at
    return (None, False) if parted is None else (parted.path, parted.certain)


@pytest.mark.parametrize("guilty", ["a", "b"])
def test_of_inner_steps_beside_each_other_the_guilty_one_is_named_and_not_the_one_around(guilty: str) -> None:
    def pipeline(_: Run, bad: bool) -> Any:
        a = STEPS.step("a")(lambda n: {"v": n + (bad and guilty == "a")})
        b = STEPS.step("b")(lambda n: {"v": n + (bad and guilty == "b")})
        return STEPS.step("outer")(lambda n: {"v": a(n)["v"] * 10 + b(n)["v"]})(1)

    assert blamed(pipeline)[0] == f"outer > {guilty}"


def test_a_loop_inside_a_step_that_changed_leaves_the_step_blamed() -> None:
    def pipeline(_: Run, bad: bool) -> Any:
        noisy = STEPS.step("noisy")(lambda n: {"v": [n, bad and n == 0]})

        def around(n: int) -> dict[str, int]:
            current_step().set_metadata("factor", 3 if bad else 2)
            for k in range(2):
                noisy(k)
            return {"v": n * (3 if bad else 2)}

        return STEPS.step("outer")(around)(1)

    assert blamed(pipeline)[0] == "outer"


@pytest.mark.parametrize("lazy", [True, False])
def test_a_stream_whose_step_changed_is_named_and_never_certain(lazy: bool) -> None:
    def pipeline(_: Run, bad: bool) -> Any:
        def late(stream: Any) -> Iterator[dict[str, int]]:
            current_step().set_metadata("mark", 3 if bad else 8)
            yield from (each for each in stream if each["k"] < (3 if bad else 8))

        events, held = STEPS.step("events")(lambda: iter(ROWS)), STEPS.step("late")(late)
        count = STEPS.step("count")(lambda stream: {"n": sum(1 for _ in stream)})
        return count(held(events()) if lazy else list(held(list(events()))))

    diff = told(pipeline)
    assert diff.parted_at is not None
    assert diff.parted_at.step == "late"
    assert not diff.parted_at.certain
    assert "its parameters changed (mark: 8 -> 3; output.size: 8 -> 3)" in diff.sentence


@pytest.mark.parametrize(("good", "bad"), [("mean", "sum"), (2, 3), (True, False), (1, True), (None, "")])
def test_an_argument_that_is_another_one_is_named_though_its_value_is_not_kept(good: Any, bad: Any) -> None:
    diff = told(lambda _, is_bad: STEPS.step("f")(lambda x, mode: {"v": repr(mode)})(5, mode=bad if is_bad else good))
    assert diff.parted_at is not None
    assert diff.parted_at.kind == "input_changed"
    assert "(input.mode: another value)" in diff.sentence
    assert repr(good) not in diff.sentence


def test_a_token_that_is_new_in_each_run_is_blamed_for_nothing() -> None:
    def pipeline(run: Run, bad: bool) -> Any:
        token = {"access_token": "q7Zt-aaaa-58213" if bad else "q7Zt-bbbb-10442"}
        with run.step("login") as step:
            step.set_input({"client": "shop"})
            step.set_output(token)
        with run.step("prices") as step:
            step.set_input(token)
            step.set_output({"prices": [1, 2, 9 if bad else 3]})
        return 12 if bad else 6

    assert blamed(pipeline) == ("prices", False)


@pytest.mark.parametrize("kind", ["rows", "frame"])
def test_the_last_digit_of_a_column_is_no_difference_however_it_was_captured(kind: str) -> None:
    def pipeline(_: Run, bad: bool) -> Any:
        rows = [{"id": "a", "n": 0.1 + (1e-12 if bad else 0)}, {"id": "b", "n": 0.2}]
        stock = STEPS.step("stock")(lambda: pd.DataFrame(rows) if kind == "frame" else rows)
        return STEPS.step("total")(lambda held: {"n": len(held)})(stock())

    assert blamed(pipeline) == (None, False)


@pytest.mark.parametrize(
    ("good", "bad"), [([5, 6], [5.0, 6.0]), ([True, False], [1, 0]), ([(1, 2), 3], [[1, 2], 3]), ([None, 1.0], [float("nan"), 1.0])]
)  # fmt: skip
@pytest.mark.parametrize("kind", ["rows", "frame"])
def test_what_is_equal_but_of_other_types_proves_nothing(good: list[Any], bad: list[Any], kind: str) -> None:
    def pipeline(_: Run, is_bad: bool) -> Any:
        rows = [{"id": name, "n": n} for name, n in zip("ab", bad if is_bad else good)]
        stock = STEPS.step("stock")(lambda: pd.DataFrame(rows) if kind == "frame" else rows)
        return STEPS.step("labels")(lambda held: {"text": repr(held)})(stock())

    assert not blamed(pipeline)[1]


@pytest.mark.parametrize(("value", "certain"), [(np.arange(5.0), True), (pd.DataFrame({"n": [1, 2]}), True),
                                                ([{"n": n} for n in range(20)], True), ("orders.csv", False), (5, False)])  # fmt: skip
def test_a_whole_array_clears_the_step_that_put_it_out_and_a_path_does_not(value: Any, certain: bool) -> None:
    def pipeline(_: Run, bad: bool) -> Any:
        read = STEPS.step("read", step_type="retrieve")(lambda: value)
        return STEPS.step("parse")(lambda held: {"v": 7 if bad else 6})(read())

    diff = told(pipeline)
    assert diff.parted_at is not None
    assert (diff.parted_at.path, diff.parted_at.certain) == ("parse", certain), diff.sentence
    assert certain or "what read put out is equal and may stand for more" in diff.sentence


def test_of_a_join_that_was_given_other_customers_the_customers_are_blamed() -> None:
    orders = [{"order_id": n, "customer_id": n % 5} for n in range(20)]

    def pipeline(_: Run, bad: bool) -> Any:
        placed = STEPS.step("orders")(lambda: orders)()
        people = STEPS.step("customers")(lambda: [{"customer_id": n, "rate": 2 if bad else 1} for n in range(5)])()

        def priced(rows: list[dict[str, int]], rates: list[dict[str, int]]) -> list[dict[str, int]]:
            return [{**row, "price": rates[row["customer_id"]]["rate"]} for row in rows]

        return STEPS.step("price")(priced)(placed, people)

    diff = told(pipeline)
    assert blamed(pipeline)[0] == "customers"
    (price,) = [step for step in diff.steps if step.name == "price"]
    assert "values" in price.inputs["what"]


def test_frames_that_are_equal_prove_that_a_step_was_given_the_same() -> None:
    frame = pd.DataFrame([{"id": f"r{n}", "v": n, "tag": "x"} for n in range(20)])

    def pipeline(_: Run, bad: bool) -> Any:
        rows = STEPS.step("rows")(lambda: frame)()
        return STEPS.step("clip")(lambda rows: rows[rows.v < (5 if bad else 15)])(rows)

    assert blamed(pipeline) == ("clip", True)


def test_a_branch_that_chose_another_way_is_blamed_and_not_what_came_together_after_it() -> None:
    def pipeline(run: Run, bad: bool) -> Any:
        ids: dict[str, str] = {}
        for name, upstream in (("fetch", []), ("choose", ["fetch"]), ("full", ["choose"]), ("reduced", ["choose"])):
            step = run.open_step(name, upstream=[ids[each] for each in upstream], code_version=name)
            ids[name] = step.step_id
            if name == "fetch":
                step.observe_output(ROWS)
            if name == "choose":
                step.observe_inputs({"rows": ROWS})
                step.set_metadata("result.skips", ["full"] if bad else ["reduced"])
            step.close("skipped" if name == ("full" if bad else "reduced") else "completed")
        return {"rows": 3 if bad else 9}

    assert blamed(pipeline)[0] == "choose"
    assert "result.skips" in told(pipeline).sentence


def test_a_step_that_was_skipped_in_one_run_differs() -> None:
    def pipeline(run: Run, bad: bool) -> Any:
        run.open_step("store").close("skipped" if bad else "completed")
        return {}

    assert blamed(pipeline)[0] == "store"


def test_a_generator_that_yielded_fewer_is_blamed_for_what_those_after_it_lack() -> None:
    def pipeline(run: Run, bad: bool) -> Any:
        pages = run.open_step("pages")
        pages.observe_inputs({"size": 2})
        pages.observe_output_size(2 if bad else 3)
        pages.close()
        for n in range(2 if bad else 3):
            page = run.open_step("page", upstream=[pages.step_id])
            page.observe_inputs({"n": n})
            page.observe_output({"v": n})
            page.close()
        return {"v": 2 if bad else 3}

    assert blamed(pipeline)[0] == "pages"


def test_beside_items_that_are_equal_an_argument_that_cannot_be_read_leaves_a_doubt() -> None:
    def pipeline(_: Run, bad: bool) -> Any:
        rows = STEPS.step("load")(lambda: [{"id": n, "v": n} for n in range(10)])()

        def score(rows: list[dict[str, int]], model: Iterator[int]) -> list[dict[str, int]]:
            weight = next(model)
            return [{**row, "score": weight} for row in rows]

        return STEPS.step("score")(score)(rows, iter([3 if bad else 2]))

    assert blamed(pipeline) == ("score", False)
