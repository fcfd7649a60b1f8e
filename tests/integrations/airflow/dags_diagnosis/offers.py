"""One DAG in several versions, without a line of X-Ray: `OFFERS_VERSION` says which this file holds."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import Any

from airflow.sdk import DAG, dag, task

Row = dict[str, Any]
calls = itertools.count(int.from_bytes(os.urandom(2), "big"))


def load() -> list[Row]:
    return [{"id": f"r{i}", "price": 10.0 * i} for i in range(10)]


def load_by_chance() -> list[Row]:
    return [{"id": f"r{i}", "price": 10.0 * i + 0.5 * next(calls)} for i in range(10)]


def clean(rows: list[Row]) -> list[Row]:
    return [{**row, "price": row["price"] * 1.0} for row in rows]


def clean_in_miles(rows: list[Row]) -> list[Row]:
    return [{**row, "price": row["price"] * 1.61} for row in rows]


def keep(rows: list[Row], limit: float) -> list[Row]:
    return [row for row in rows if row["price"] <= limit]


def report(rows: list[Row]) -> int:
    return len(rows)


VERSIONS: dict[str, dict[str, Any]] = {
    "same": {},
    "unit": {"cleaning": clean_in_miles},
    "chance": {"loading": load_by_chance},
    "limit": {"limit": 30},
    "left_out": {"reports": False},
}


def offers(
    loading: Callable[..., Any] = load, cleaning: Callable[..., Any] = clean, limit: float = 60, *, reports: bool = True
) -> DAG:
    """Load, clean, keep and, if it `reports`, report."""

    @dag("offers", schedule=None)
    def made() -> None:
        loaded = task(task_id="load")(loading)()
        kept = task(task_id="keep")(keep)(task(task_id="clean")(cleaning)(loaded), limit)
        if reports:
            task(task_id="report")(report)(kept)

    return made()


OFFERS = offers(**VERSIONS[os.environ.get("OFFERS_VERSION", "same")])
