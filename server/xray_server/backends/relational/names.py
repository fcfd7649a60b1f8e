"""Names that begin with a text, each counted along an index: of runs, pipelines, tags, steps and reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from xray_server.backends.relational.database import Database, project_id
from xray_server.backends.relational.lists import MAX_CHARACTER
from xray_server.store import MAX_COUNTED, NameCount, RunFilter, StepFilter

_MAX_WORDS: Final = 200  # that are tried as names of each kind
_MAX_TAGGED: Final = 1_000  # rows of tags that are read


def names(db: Database, project: str, prefix: str, *, limit: int) -> list[NameCount]:
    """As `Store.names`."""
    number = project_id(db, project)
    runs = sum(
        _count(db, "run WHERE project = ? AND id >= ? AND id < ?", [number, low, high])
        for low, high in db.id_ranges(prefix)
    )
    found = [NameCount("runs", prefix, min(runs, MAX_COUNTED))] if runs else []
    return [*found, *_tags(db, number, prefix, limit), *_words(db, number, prefix, limit)]


def _words(db: Database, project: int, prefix: str, limit: int) -> Iterator[NameCount]:
    kinds = {
        "pipeline": f"{db.runs_source(RunFilter(pipeline=prefix))} WHERE project = ? AND pipeline = ?",
        "step": f"{db.steps_source(StepFilter(name=prefix))} WHERE project = ? AND name = ?",
        "reason": "step_reason WHERE project = ? AND reason = ?",
    }
    escaped = db.escape(prefix)
    words = db.rows(
        "SELECT id, text FROM word WHERE text >= ? AND text < ? ORDER BY text LIMIT ?",
        [escaped, escaped + MAX_CHARACTER, _MAX_WORDS],
    )
    given: Counter[str] = Counter()
    for word, text in words:
        for kind, source in kinds.items():
            if given[kind] == limit:
                continue
            # a step that gives a reason under two outcomes has two rows of it
            n = _count(db, source, [project, word], column="step" if kind == "reason" else "1")
            if n:
                given[kind] += 1
                yield NameCount(kind, db.unescape(text), n)


def _tags(db: Database, project: int, prefix: str, limit: int) -> Iterator[NameCount]:
    """Tags whose value begins with the text, or that begin with it as `key:value`."""
    key, colon, value = prefix.partition(":")
    tests: list[tuple[str, str, list[int]]] = [("value >= ? AND value < ?", prefix, [])]
    if colon:
        tests.append(("key = ? AND value >= ? AND value < ?", value, [db.number("word", key)]))
    found: Counter[tuple[int, str]] = Counter()
    for test, text, values in tests:
        escaped = db.escape(text)
        rows = db.rows(
            f"SELECT key, value FROM run_tag WHERE project = ? AND {test} LIMIT ?",  # noqa: S608  # literals
            [project, *values, escaped, escaped + MAX_CHARACTER, _MAX_TAGGED],
        )
        found.update((tag, text) for tag, text in rows)
    for (tag, text), _ in found.most_common(limit):
        n = _count(db, "run_tag WHERE project = ? AND key = ? AND value = ?", [project, tag, text])
        yield NameCount("tag", f"{db.word(tag)}:{db.unescape(text)}", n)


def _count(db: Database, source: str, values: list[Any], column: str = "1") -> int:
    """How many rows there are, at most `MAX_COUNTED`; with a column, how many different values of it."""
    counted = "*" if column == "1" else f"DISTINCT {column}"
    rows = db.rows(
        f"SELECT count({counted}) FROM (SELECT {column} FROM {source} LIMIT ?) AS found",  # noqa: S608  # literals
        [*values, MAX_COUNTED],
    )
    return int(rows[0][0])
