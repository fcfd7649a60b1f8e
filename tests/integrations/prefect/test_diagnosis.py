"""Planted faults in flows without an X-Ray line: the guilty task is named, controls are blamed for nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from prefect import flow, task

from tests.diagnosis.score import PROPERTY
from tests.integrations.prefect.captured import Seen
from xray_core.compare import Diff
from xray_core.testing import capture

Record = Callable[[str, Any], None]
Row = dict[str, Any]
calls = itertools.count()


@task(name="load")
def load() -> list[Row]:
    return [{"id": f"r{i}", "price": 10 * i} for i in range(10)]


@task(name="load")
def load_by_chance() -> list[Row]:
    return [{"id": f"r{i}", "price": 10 * i + 0.5 * next(calls)} for i in range(10)]


@task(name="clean")
def clean(rows: list[Row]) -> list[Row]:
    return [{**row, "price": row["price"] * 1.0} for row in rows]


@task(name="clean")
def clean_in_miles(rows: list[Row]) -> list[Row]:
    return [{**row, "price": row["price"] * 1.61} for row in rows]


@task(name="keep")
def keep(rows: list[Row], limit: int) -> list[Row]:
    return [row for row in rows if row["price"] <= limit]


def diff_of(good: tuple[Any, ...], bad: tuple[Any, ...]) -> Diff:
    """The flow run twice; a side is (load, clean, limit)."""

    @flow(name="offers")
    def offers(side: int) -> list[Row]:
        loading, cleaning, limit = (good, bad)[side]
        return keep(cleaning(loading()), limit)

    with capture() as result:
        offers(0)
        offers(1)
        a, b = result.run_ids[:2]
    return result.diff(a, b, ignore=["input.side", "input.parameters.side", "input.arguments.side"])


def judged(diff: Diff, step: str, kind: str, record: Record) -> None:
    parted = diff.parted_at
    named = parted is not None and parted.step == step
    cause = named and parted is not None and parted.kind == kind
    falsely = parted is not None and parted.certain and not named
    record(PROPERTY, {"control": False, "step": named, "cause": cause, "falsely_certain": falsely})
    assert cause, diff.sentence


def test_a_task_whose_code_changed_the_values_is_named(seen: Seen, record_property: Record) -> None:
    """The ids are the same in both runs; only the values differ."""
    judged(diff_of((load, clean, 60), (load, clean_in_miles, 60)), "clean", "code_changed", record_property)


def test_a_task_that_was_given_another_limit_is_named(seen: Seen, record_property: Record) -> None:
    judged(diff_of((load, clean, 60), (load, clean, 40)), "keep", "input_changed", record_property)


def test_a_task_that_differs_by_chance_is_named(seen: Seen, record_property: Record) -> None:
    judged(
        diff_of((load_by_chance, clean, 60), (load_by_chance, clean, 60)), "load", "non_deterministic", record_property
    )


def test_the_same_flow_again_is_blamed_for_nothing(seen: Seen, record_property: Record) -> None:
    diff = diff_of((load, clean, 60), (load, clean, 60))
    record_property(PROPERTY, {"control": True, "clean": diff.parted_at is None})
    assert diff.parted_at is None, diff.sentence
