"""Planted faults in flows without an X-Ray line: the guilty task is named, in controls nothing is blamed."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd
from prefect import flow, task

from tests.diagnosis.score import Record, record_control, record_fault
from tests.integrations.prefect.captured import Seen
from xray_core.compare import Diff
from xray_core.testing import capture

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


@task(name="load")
def load_frame() -> pd.DataFrame:
    return pd.DataFrame({"id": [f"r{i}" for i in range(10)], "price": [10.0 * i for i in range(10)]})


@task(name="clean")
def clean_frame(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(price=frame.price.fillna(0))


@task(name="clean")
def clean_frame_of_doubles(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame[:3]], ignore_index=True)


@task(name="keep")
def keep_of_frame(frame: pd.DataFrame, limit: int) -> pd.DataFrame:
    return frame[frame.price <= limit]


def diff_of(good: tuple[Any, ...], bad: tuple[Any, ...]) -> Diff:
    """The flow run twice; a side is (load, clean, limit), and how it keeps."""

    @flow(name="offers")
    def offers(side: int) -> Any:
        loading, cleaning, limit, *keeping = (good, bad)[side]
        rows = cleaning(loading()) if cleaning is not None else loading()
        return (keeping[0] if keeping else keep)(rows, limit)

    with capture() as result:
        offers(0)
        offers(1)
        a, b = result.run_ids[:2]
    return result.diff(a, b, ignore=["input.side", "input.parameters.side", "input.arguments.side"])


def judged(diff: Diff, step: str, kind: str, record: Record) -> None:
    parted = diff.parted_at
    named = parted is not None and parted.step == step
    cause = named and parted is not None and parted.kind == kind
    certain = parted is not None and parted.certain
    record_fault(record, named=parted is not None, step=named, cause=cause, certain=certain)
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


def test_a_task_that_doubles_rows_of_a_frame_is_named(seen: Seen, record_property: Record) -> None:
    good = (load_frame, clean_frame, 60, keep_of_frame)
    bad = (load_frame, clean_frame_of_doubles, 60, keep_of_frame)
    judged(diff_of(good, bad), "clean", "code_changed", record_property)


def test_a_task_that_was_left_out_is_named(seen: Seen, record_property: Record) -> None:
    judged(diff_of((load, clean_in_miles, 60), (load, None, 60)), "clean", "missing_step", record_property)


def test_the_same_frames_again_are_blamed_for_nothing(seen: Seen, record_property: Record) -> None:
    side = (load_frame, clean_frame, 60, keep_of_frame)
    diff = diff_of(side, side)
    record_control(record_property, clean=diff.parted_at is None)
    assert diff.parted_at is None, diff.sentence


def test_the_same_flow_again_is_blamed_for_nothing(seen: Seen, record_property: Record) -> None:
    diff = diff_of((load, clean, 60), (load, clean, 60))
    record_control(record_property, clean=diff.parted_at is None)
    assert diff.parted_at is None, diff.sentence


def test_of_a_subflow_that_differs_nothing_is_said_of_code_that_its_own_run_has(seen: Seen) -> None:
    @flow(name="region")
    def region(limit: int, cleaning: Any) -> Any:
        return keep(cleaning(load()), limit)

    @flow(name="regions")
    def regions(side: int) -> Any:
        return [region(limit, (clean, clean_in_miles)[side]) for limit in (0, 60)]

    with capture() as result:
        regions(0)
        regions(1)
        runs = {record["run_id"]: record["pipeline"] for record in result.records if record["kind"] == "run"}
    outer, inner = ([each for each in result.run_ids if runs[each] == name] for name in ("regions", "region"))
    diff = result.diff(*outer, ignore=["input.side", "input.parameters.side", "input.arguments.side"])
    assert diff.parted_at is not None
    assert diff.parted_at.step == "region"
    assert "what ran inside it is in runs of its own" in diff.sentence
    assert inner[1] in diff.sentence
    assert inner[3] in diff.sentence
    judged(result.diff(inner[1], inner[3]), "clean", "code_changed", lambda *_: None)
