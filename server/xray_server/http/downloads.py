"""Rows of an answer as a file to be saved: CSV or NDJSON. Knows nothing of what the rows are."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from fastapi.responses import Response

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def table(rows: Sequence[Mapping[str, Any]], kind: Literal["csv", "ndjson"], name: str) -> Response:
    """A file of these rows: NDJSON as they are; CSV with a line of names first, and JSON in place of what is no plain value."""
    file = f"{_UNSAFE.sub('_', name)[:100]}.{kind}"
    headers = {"Content-Disposition": f'attachment; filename="{file}"'}
    if kind == "ndjson":
        body = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
        return Response(body, media_type="application/x-ndjson", headers=headers)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(rows[0]) if rows else []
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row[each]) for each in names])
    return Response(text.getvalue().encode(), media_type="text/csv; charset=utf-8", headers=headers)


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, (str, int, float)) else msgspec.json.encode(value).decode()
