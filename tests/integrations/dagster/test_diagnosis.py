"""Planted faults in asset graphs without an X-Ray line: the guilty step is named, in controls nothing is blamed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pandas as pd
from dagster import asset, materialize

from tests.diagnosis.score import Record, record_control, record_fault
from tests.integrations.dagster.capturing import Captured
from xray_core.compare import Diff
from xray_core.testing import capture


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


@asset(name="cleaned")
def cleaned(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows)


@asset(name="cleaned")
def cleaned_in_miles(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows).assign(price=[row["price"] * 1.61 for row in rows])


@asset(name="cheap")
def cheap(cleaned: pd.DataFrame) -> pd.DataFrame:
    return cleaned[cleaned.price <= 60]


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
    certain = parted is not None and parted.certain
    record_fault(record, named=parted is not None, step=named, cause=cause, certain=certain)
    assert cause, diff.sentence


def test_changed_code_is_named_and_an_added_step_takes_no_blame(xray: Captured, record_property: Record) -> None:
    diff = diff_of([rows, kept], [rows, kept_fewer, a_new_report])
    judged(diff, "kept", "code_changed", record_property)
    assert diff.inputs_equal is True, "the steps of a plan are no input of its run"
    assert [each["path"] for each in diff.also] == ["a_new_report"]


def test_an_asset_that_differs_by_chance_is_named(xray: Captured, record_property: Record) -> None:
    diff = diff_of([rows_by_chance, kept], [rows_by_chance, kept])
    judged(diff, "rows", "non_deterministic", record_property)


def test_an_asset_whose_code_changed_the_values_of_a_frame_is_named(xray: Captured, record_property: Record) -> None:
    diff = diff_of([rows, cleaned, cheap], [rows, cleaned_in_miles, cheap])
    judged(diff, "cleaned", "code_changed", record_property)
    assert any(change.path == "steps.cleaned.columns.price.mean" for change in diff.changes)


def test_the_same_frames_again_are_blamed_for_nothing(xray: Captured, record_property: Record) -> None:
    diff = diff_of([rows, cleaned, cheap], [rows, cleaned, cheap])
    record_control(record_property, clean=diff.parted_at is None)
    assert diff.parted_at is None, diff.sentence


def test_the_same_assets_again_are_blamed_for_nothing(xray: Captured, record_property: Record) -> None:
    diff = diff_of([rows, kept], [rows, kept])
    record_control(record_property, clean=diff.parted_at is None)
    assert diff.parted_at is None, diff.sentence


def test_a_row_that_one_asset_of_several_took_is_not_lost_in_the_others(xray: Captured) -> None:
    def way(name: str, lowest: int, highest: int) -> Any:
        @asset(name=name)
        def built(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [row for row in rows if lowest <= row["price"] < highest]

        return built

    @asset
    def count_of_all(cheap_ones: list[dict[str, Any]], fair_ones: list[dict[str, Any]]) -> int:
        return len(cheap_ones) + len(fair_ones)

    with capture() as result:
        materialize([rows, way("cheap_ones", 0, 30), way("fair_ones", 30, 80), count_of_all])
    for item in ("r1", "r5"):
        why = result.why(item)
        assert (why.step, why.certainty) == ("count_of_all", "not_captured"), why.sentence
    why = result.why("r9")
    assert (why.outcome, why.certainty) == ("dropped", "exact")
    assert "cheap_ones" in why.sentence
    assert "fair_ones" in why.sentence
