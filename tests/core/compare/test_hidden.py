"""Differences that show in a later step alone, and what a step gave the ones inside it: the one that made them is named.

Tests compare/hidden.py, and in compare/blame.py which step gave another something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pandas as pd
import pytest

from tests.core.compare.test_without_code import blamed, told
from xray_core import XRay
from xray_core.capture.run import Run

STEPS = XRay("hidden")
Row = dict[str, Any]
Pipeline = Callable[[Run, bool], Any]


def rows(n: int = 6) -> list[Row]:
    return [{"id": f"i{k}", "price": 10.0 * k} for k in range(n)]


@STEPS.step
def cheap(given: list[Row], limit: float = 35) -> list[Row]:
    return [row for row in given if row["price"] < limit]


@STEPS.step
def log(given: Any) -> None:
    """Changes nothing."""


# Written otherwise ---------------------------------------------------------------------------------------------------

LEVELS = ["low", "high", "urgent"]
OTHERWISE: dict[str, tuple[Callable[[bool], Any], Callable[[Any], Any]]] = {
    "the order of categories": (
        lambda bad: pd.DataFrame(
            {"id": LEVELS, "p": pd.Categorical(LEVELS, categories=sorted(LEVELS) if bad else LEVELS, ordered=True)}
        ),
        lambda frame: frame.sort_values("p").id.tolist(),
    ),
    "the order of columns": (
        lambda bad: pd.DataFrame({"id": ["a", "b"], "x": [1.0, 2.0], "y": [3.0, 4.0]})[["id", *("yx" if bad else "xy")]],
        lambda frame: [{"id": row[0], "v": row[1] * 10 + row[2]} for row in frame.itertuples(index=False)],
    ),
    "an index": (
        lambda bad: pd.DataFrame({"id": ["a", "b"], "x": [1.0, 2.0]}, index=[1, 0] if bad else [0, 1]),
        lambda frame: {"first of them": frame.loc[0, "id"]},
    ),
    "None for NaN": (
        lambda bad: [{"id": "a", "x": None if bad else float("nan")}, {"id": "b", "x": 1.5}],
        lambda given: [row["id"] for row in given if row["x"] is not None],
    ),
    "whole floats": (
        lambda bad: [{"id": f"a{n}", "x": float(n) if bad else n} for n in range(4)],
        lambda given: [{"id": row["id"], "text": str(row["x"])} for row in given],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERWISE)
def test_the_step_that_wrote_equal_values_otherwise_is_named_and_not_the_one_that_was_given_them(name: str) -> None:
    made, used = OTHERWISE[name]

    def pipeline(_: Run, bad: bool) -> Any:
        parse = STEPS.step("parse")(lambda raw: made(bad))
        return STEPS.step("use")(used)(STEPS.step("keep")(lambda held: held)(parse("a text of several words")))

    diff = told(pipeline)
    assert diff.parted_at is not None
    assert (diff.parted_at.path, diff.parted_at.certain) == ("parse", False), diff.sentence
    assert (
        "what it put out is equal, though not of the same types or not in the same order, and use differs"
        in diff.sentence
    )
    assert [each["path"] for each in diff.also] == ["use"]


def test_equal_values_of_other_types_explain_what_the_code_after_them_gave_the_next_step() -> None:
    def pipeline(_: Run, bad: bool) -> Any:
        given = STEPS.step("parse")(lambda raw: [{"id": f"a{n}", "x": float(n) if bad else n} for n in range(4)])(
            "some text"
        )
        return STEPS.step("label")(lambda texts: {"labels": texts})([f"{row['x']} pieces" for row in given])

    assert blamed(pipeline) == ("parse", False)


def test_a_step_whose_parameters_changed_is_named_before_one_that_wrote_its_input_otherwise() -> None:
    def pipeline(run: Run, bad: bool) -> Any:
        given = [{"id": f"a{n}", "x": float(n) if bad else n} for n in range(4)]
        with run.step("parse") as step:
            step.set_output_items(given, key="id")
        with run.step("use", metadata={"limit": 2 if bad else 3}) as step:
            step.set_input_items(given, key="id")
            step.set_output([row["x"] for row in given if row["x"] < (2 if bad else 3)])
        return 2 if bad else 3

    assert blamed(pipeline) == ("use", False)


def test_a_step_that_was_told_a_whole_value_is_not_certain_after_one_whose_output_is_equal_but_written_otherwise() -> (
    None
):
    def pipeline(run: Run, bad: bool) -> Any:
        with run.step("load") as step:
            step.set_output({"score": 0.1 + 0.2 if bad else 0.3, "text": "of several words"})
        with run.step("check") as step:
            step.set_input({"question": "is it above the limit?", "limit": 0.31, "mode": "strict"})
            step.set_output("yes" if bad else "no")
        return bad

    assert blamed(pipeline) == ("check", False)


# Made in place -------------------------------------------------------------------------------------------------------


def in_place(_: Run, bad: bool) -> Any:
    def reprice(given: list[Row]) -> None:
        for row in given:
            row["price"] *= 2 if bad else 1

    given = rows()
    STEPS.step("guilty")(reprice)(given)
    return len(cheap(given))


def in_place_before_a_log(_: Run, bad: bool) -> Any:
    def fill(frame: pd.DataFrame) -> None:
        frame["price"] = frame["price"] * (2 if bad else 1)

    frame = pd.DataFrame(rows())
    STEPS.step("guilty")(fill)(frame)
    log(frame)
    return STEPS.step("pick")(lambda held: held[held.price > 30].id.tolist())(frame)


def in_place_said_in_code(run: Run, bad: bool) -> Any:
    given = rows()
    with run.step("guilty") as step:
        step.set_input_items(given, key="id")
        for row in given:
            row["price"] *= 2 if bad else 1
    with run.step("filter", step_type="filter") as step:
        step.set_input_items(given, key="id")
        for row in given:
            step.accept(row["id"]) if row["price"] < 35 else step.reject(row["id"], "too_dear")
    return sum(row["price"] < 35 for row in given)


def a_dict_that_steps_share(_: Run, bad: bool) -> Any:
    shared = {"limit": 35}
    STEPS.step("guilty")(lambda held: held.update(limit=15 if bad else 25))(shared)
    return len(
        STEPS.step("pick")(lambda given, held: [row for row in given if row["price"] < held["limit"]])(rows(), shared)
    )


class Scaler:
    def __init__(self) -> None:
        self.mean = 0.0

    @STEPS.step("guilty")
    def fit(self, given: list[Row], trim: int) -> None:
        prices = [row["price"] for row in given][: len(given) - trim]
        self.mean = sum(prices) / len(prices)

    @STEPS.step
    def above(self, given: list[Row]) -> list[Row]:
        return [row for row in given if row["price"] > self.mean]


def an_object_with_a_state(_: Run, bad: bool) -> Any:
    scaler = Scaler()
    scaler.fit(rows(), 4 if bad else 0)
    return len(scaler.above(rows()))


@pytest.mark.parametrize(
    "pipeline",
    [in_place, in_place_before_a_log, in_place_said_in_code, a_dict_that_steps_share, an_object_with_a_state],
)
def test_what_a_step_that_puts_out_nothing_changed_in_place_is_its_doing_and_never_certain(pipeline: Pipeline) -> None:
    assert blamed(pipeline) == ("guilty", False), told(pipeline).sentence


def another_argument(_: Run, bad: bool) -> Any:
    given = rows()
    log(given)
    return len(cheap(given, 15 if bad else 35))


def lost_between(_: Run, bad: bool) -> Any:
    given = rows()
    log(given)
    return len(cheap(given[:2] if bad else given))


def replaced_by_the_next(_: Run, bad: bool) -> Any:
    given = rows()
    log(given)
    scaled = STEPS.step("scale")(lambda held: [{**row, "price": row["price"] * 2} for row in held])(given)
    return len(cheap([{**row, "price": row["price"] + (20 if bad else 0)} for row in scaled]))


@pytest.mark.parametrize("pipeline", [another_argument, lost_between, replaced_by_the_next])
def test_a_step_that_puts_out_nothing_is_not_blamed_for_what_the_code_after_it_gave_another(pipeline: Pipeline) -> None:
    assert blamed(pipeline)[0] == "cheap", told(pipeline).sentence


# What a step gave the ones inside it ---------------------------------------------------------------------------------


def test_what_an_inner_step_was_given_the_one_around_it_gave() -> None:
    def pipeline(_: Run, bad: bool) -> Any:
        convert = STEPS.step("convert")(lambda amount, rate: round(amount * rate, 2))
        invoice = STEPS.step("invoice")(
            lambda given: [{"id": f"l{x}", "v": convert(x, 1.2 if bad else 1.1)} for x in given]
        )
        return sum(row["v"] for row in invoice([10.5, 20.25]))

    assert blamed(pipeline) == ("invoice", True)


def test_a_step_without_arguments_gave_the_ones_inside_it_something_else_by_itself() -> None:
    def pipeline(_: Run, bad: bool) -> Any:
        total = STEPS.step("total")(sum)
        return STEPS.step("load")(lambda: {"v": total([1.5, 2.5 if bad else 3.5])})()["v"]

    assert blamed(pipeline) == ("load", True)


def test_of_arguments_that_are_swapped_the_step_that_swapped_them_is_named() -> None:
    def pipeline(_: Run, bad: bool) -> Any:
        leg = STEPS.step("leg")(lambda start, end: len(start) * 10 + len(end))
        plan = STEPS.step("plan")(lambda stops: [leg(stop, "depot") if bad else leg("depot", stop) for stop in stops])
        return plan(["a", "bb"])

    assert blamed(pipeline) == ("plan", True)


@pytest.mark.parametrize("around_tells", [True, False])
def test_what_an_earlier_inner_step_explains_or_may_explain_is_not_blamed_on_the_one_around(around_tells: bool) -> None:
    def pipeline(run: Run, bad: bool) -> Any:
        with run.step("around") as around:
            if around_tells:
                around.set_input("a text of several words")
            with run.step("first") as step:
                if around_tells:
                    step.set_output("this one" if bad else "that one")
            with run.step("second") as step:
                step.set_input({"text": "this one" if bad else "that one"})
                step.set_output(int(bad))
            around.set_output(int(bad))
        return bad

    assert blamed(pipeline)[0] == ("around > first" if around_tells else "around > second")


# Streams -------------------------------------------------------------------------------------------------------------


def stream(n: int) -> Iterator[Row]:
    yield from rows(n)


def test_of_streams_inside_each_other_the_one_that_yields_fewer_is_named() -> None:
    def pipeline(_: Run, bad: bool) -> Any:
        def batches(given: Iterator[Row]) -> Iterator[list[Row]]:
            while batch := list(islice(given, 4)):
                if len(batch) == 4 or not bad:
                    yield batch

        made = STEPS.step("batches")(batches)(STEPS.step("read")(stream)(10))
        return STEPS.step("total")(lambda given: sum(row["price"] for part in given for row in part))(made)

    assert blamed(pipeline) == ("total > batches", False)


def test_a_stream_that_its_reader_left_early_is_not_blamed_for_having_yielded_fewer() -> None:
    def pipeline(_: Run, bad: bool) -> Any:
        read = STEPS.step("read")(stream)
        return len(STEPS.step("take")(lambda given: list(islice(given, 2 if bad else 5)))(read(20)))

    assert blamed(pipeline)[0] == "take"


# What is not read beside the items -----------------------------------------------------------------------------------


def test_a_step_that_was_given_a_function_beside_its_items_is_not_certain() -> None:
    def pipeline(_: Run, bad: bool) -> Any:
        limit = 15 if bad else 35
        keep = STEPS.step("keep")(lambda given, predicate: [row for row in given if predicate(row)])
        return len(keep(rows(), lambda row: row["price"] < limit))

    assert blamed(pipeline) == ("keep", False)
    assert "the same input" not in told(pipeline).sentence


def test_the_error_by_which_a_step_failed_is_named() -> None:
    def pipeline(run: Run, bad: bool) -> Any:
        try:
            with run.step("fetch") as step:
                if bad:
                    raise TimeoutError("no answer")
                step.set_output(rows())
        except TimeoutError:
            return 0
        return 1

    assert '(status: "completed" -> "failed: TimeoutError: no answer")' in told(pipeline).sentence
