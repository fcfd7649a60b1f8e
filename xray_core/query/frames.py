"""Answers as rows for pandas and polars: one level of what is nested becomes columns (`ledger.rejected`, `details.price`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Final

from xray_core.errors import ConfigurationError

_SPREAD: Final = frozenset({"ledger", "details", "metadata", "tags", "rejection_counts", "reasons"})
_LEFT_OUT: Final = frozenset({"raw", "steps", "input", "output"})
_TIMES: Final = frozenset({"started_at", "ended_at", "timestamp", "at"})


def rows_of(answers: Iterable[Any]) -> list[dict[str, Any]]:
    """One row an answer; of the runs of an item, one a step that saw it."""
    rows: list[dict[str, Any]] = []
    for answer in answers:
        row: dict[str, Any] = {}
        for each in fields(answer):
            value = getattr(answer, each.name)
            if each.name in _LEFT_OUT:
                continue
            if each.name in _SPREAD and (isinstance(value, Mapping) or value is None):
                row.update({f"{each.name}.{name}": _cell(inner) for name, inner in (value or {}).items()})
            else:
                row[each.name] = _cell(value)
        sightings = getattr(answer, "steps", None)
        if sightings and isinstance(sightings[0], Mapping):
            kept = {name: row[name] for name in ("run_id", "pipeline", "started_at")}
            rows += [{**kept, **{name: _cell(value) for name, value in each.items()}} for each in sightings]
        else:
            rows.append(row)
    return rows


def to_pandas(answers: Iterable[Any]) -> Any:
    """A pandas DataFrame; times are datetimes in UTC.

    Raises:
        ConfigurationError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise ConfigurationError("this needs pandas: pip install pandas") from None
    frame = pandas.DataFrame(_aligned(rows_of(answers)))
    for name in _TIMES & set(frame.columns):
        frame[name] = pandas.to_datetime(frame[name], utc=True, format="ISO8601")
    return frame


def to_polars(answers: Iterable[Any]) -> Any:
    """A polars DataFrame; times are datetimes in UTC. A column of several types becomes text.

    Raises:
        ConfigurationError: polars is not installed.
    """
    try:
        import polars
    except ImportError:
        raise ConfigurationError("this needs polars: pip install polars") from None
    rows = _aligned(rows_of(answers))
    columns = {name: _one_type([row[name] for row in rows]) for name in (rows[0] if rows else ())}
    frame = polars.DataFrame(columns, strict=False)
    times = [name for name in columns if name in _TIMES and frame[name].dtype == polars.String]
    return frame.with_columns(
        [polars.col(name).str.to_datetime(time_unit="us", time_zone="UTC", format="%+") for name in times]
    )


def _aligned(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with the same columns each, in the order in which they first appear."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in names} for row in rows]


def _one_type(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or len(kinds) <= 1:
        return values
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]


def _cell(value: Any) -> Any:
    return json.dumps(value, default=str) if isinstance(value, (Mapping, list, tuple)) else value
