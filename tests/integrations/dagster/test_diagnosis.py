"""Planted faults in asset graphs without an X-Ray line: the guilty step is named, controls are blamed for nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from dagster import asset, materialize

from tests.diagnosis.score import PROPERTY
from tests.integrations.dagster.capturing import Captured
from xray_core.compare import Diff
from xray_core.testing import capture

Record = Callable[[str, Any], None]


def rows_of(n: int = 10) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", "price": 10 * i} for i in range(n)]


@asset
def rows() -> list[dict[str, Any]]:
    return rows_of()


@asset(name="kept")
def kept(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["price"] > 30]


@asset(name="kept")
def kept_fewer(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["price"] > 60]


@asset(name="rows")
def rows_by_chance() -> list[dict[str, Any]]:
    return [{**row, "price": row["price"] + random.random()} for row in rows_of()]


@asset
def a_new_report() -> int:
    return 1


def diff_of(good: Sequence[Any], bad: Sequence[Any]) -> Diff:
    with capture() as result:
        for assets in (good, bad):
            assert materialize(assets).success
        a, b = result.run_ids
    return result.diff(a, b)


def judged(diff: Diff, step: str, kind: str, record: Record) -> None:
    parted = diff.parted_at
    named = parted is not None and parted.step == step
    cause = named and parted is not None and parted.kind == kind
    falsely = parted is not None and parted.certain and not named
    record(PROPERTY, {"control": False, "step": named, "cause": cause, "falsely_certain": falsely})
    assert cause, diff.sentence


def test_changed_code_is_named_and_an_added_step_takes_no_blame(xray: Captured, record_property: Record) -> None:
    diff = diff_of([rows, kept], [rows, kept_fewer, a_new_report])
    judged(diff, "kept", "code_changed", record_property)
    assert diff.inputs_equal is True, "the steps of a plan are no input of its run"
    assert [each["path"] for each in diff.also] == ["a_new_report"]


def test_an_asset_that_differs_by_chance_is_named(xray: Captured, record_property: Record) -> None:
    diff = diff_of([rows_by_chance, kept], [rows_by_chance, kept])
    judged(diff, "rows", "non_deterministic", record_property)


def test_the_same_assets_again_are_blamed_for_nothing(xray: Captured, record_property: Record) -> None:
    diff = diff_of([rows, kept], [rows, kept])
    record_property(PROPERTY, {"control": True, "clean": diff.parted_at is None})
    assert diff.parted_at is None, diff.sentence
