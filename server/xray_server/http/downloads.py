"""Rows of an answer as a file to be saved: CSV or NDJSON. Knows nothing of what the rows are."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, Literal

import msgspec
from fastapi.responses import Response, StreamingResponse

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
Rows = Sequence[Mapping[str, Any]]


def table(parts: Iterable[Rows], kind: Literal["csv", "ndjson"], name: str) -> Response:
    """A file of the rows of these parts: NDJSON as they are; CSV with a line of names first, and JSON in place of what is no
    plain value. Of several parts one is in memory at a time.
    """
    file = f"{_UNSAFE.sub('_', name)[:100]}.{kind}"
    headers = {"Content-Disposition": f'attachment; filename="{file}"'}
    waiting = iter(parts)
    first = next(waiting, [])  # what is asked wrongly is said before an answer begins
    names = list(first[0]) if first else []
    encode: Callable[[Rows], bytes] = _ndjson if kind == "ndjson" else partial(_csv, names)
    media_type = "application/x-ndjson" if kind == "ndjson" else "text/csv; charset=utf-8"
    head = b"" if kind == "ndjson" else _csv(names, [dict(zip(names, names))])
    begun = head + encode(first)
    second = next(waiting, None)
    if second is None:
        return Response(begun, media_type=media_type, headers=headers)
    rest = map(encode, chain([second], waiting))
    return StreamingResponse(chain([begun], rest), media_type=media_type, headers=headers)


def _ndjson(rows: Rows) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def _csv(names: Sequence[str], rows: Rows) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(row[each]) for each in names] for row in rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, (str, int, float)) else msgspec.json.encode(value).decode()
