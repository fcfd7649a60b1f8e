"""Many items of a step at once: lists, columns and frames as verdicts.

Raises what goes wrong before anything is recorded; the step swallows it and says what to do. Where the ids cannot be read
but their number is known, the items count all the same. How verdicts are kept is `bulk.py`'s and `verdict_log.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from xray_core.capture import bulk, columns
from xray_core.capture.bucket import Bucket
from xray_core.capture.columns import Ids, NotIdsError
from xray_core.capture.frames import Filtered
from xray_core.capture.verdict_log import VerdictLog
from xray_core.plurals import plural
from xray_core.safety import swallow

Verdict = tuple[str, Any]  # outcome and reason


class Source(NamedTuple):
    """Where the ids of `size` rows come from; None for `columns` where they cannot be read."""

    size: int
    columns: Sequence[Any] | None

    def ids(self, start: int, stop: int) -> Ids:
        """The ids of the rows from `start` to `stop` (exclusive)."""
        if self.columns is None:
            return Ids([], [], 0, stop - start)
        return columns.ids_in([columns.part_of(column, start, stop) for column in self.columns])


class Rows(NamedTuple):
    """What is said of each row beside its id and its verdict: readers and columns, None where nothing is; `limit` of the values."""

    details_of: bulk.DetailsOf | None
    scores: Any
    values: Any
    limit: Any
    dimensions_of: bulk.DetailsOf | None = None  # else `details_of`


def source_of(items: Any, key: Any = None) -> Source:
    """Where the ids of `items` come from. An iterator is read to its end.

    Raises:
        NotIdsError: `items` is no list of ids.
    """
    if isinstance(items, Iterator):
        items = list(items)
    found = columns.id_columns(items, key)
    if not hasattr(found[0], "__getitem__") or isinstance(found[0], dict):
        found = [list(found[0])]
    sizes = {len(column) for column in found}
    return Source(sizes.pop(), found)


def one_verdict(
    log: VerdictLog, verdict: Verdict, items: Any, details: Any, score: Any, declared: tuple[Any, Any] = (None, None)
) -> None:
    """The same verdict for each of `items`; `declared`: their values, and the limit of these."""
    source = source_of(items)
    rows = Rows(
        _details(log, details, source.size),
        _scores(log, score, source.size),
        _scores(log, declared[0], source.size, "values"),
        declared[1],
    )
    _record(log, [verdict], None, source, rows)


def judged(
    log: VerdictLog, items: Any, reasons: Any, details: Any, score: Any, declared: tuple[Any, Any] = (None, None)
) -> None:
    """A verdict for each of `items`: accepted where its reason is none, else rejected for it.

    Raises:
        NotIdsError: `items` is no list of ids, or there is not one reason for each.
    """
    source = source_of(items)
    values = list(reasons) if isinstance(reasons, Iterator) else reasons
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
        raise NotIdsError("pass one reason for each id, None where it is accepted")
    values = columns.values_of(values)
    if len(values) != source.size:
        raise NotIdsError(
            f"{plural(source.size, 'id')} and {plural(len(values), 'reason')}: pass one for each, None where accepted"
        )
    verdicts = _Verdicts()
    try:
        codes: Sequence[int] = list(map(verdicts.__getitem__, values))
    except TypeError:  # an unhashable reason: as `reject` would have it
        codes = [verdicts[reason if _hashable(reason) else f"<{type(reason).__name__}>"] for reason in values]
    if len(verdicts.verdict_of) <= 256:
        codes = bytes(codes)  # what `bulk.py` is fastest with
    rows = Rows(
        _details(log, details, source.size),
        _scores(log, score, source.size),
        _scores(log, declared[0], source.size, "values"),
        declared[1],
    )
    _record(log, verdicts.verdict_of, codes, source, rows)


def told_of_filter(
    log: VerdictLog,
    frame: Any,
    what: Filtered,
    reasons: Sequence[Any],
    key: Any,
    details: Sequence[str],
    score: Any,
    declared: tuple[Any, Any] = (None, None),
) -> None:
    """The verdicts of `Step.filter`: its rows by `key`, else by the frame's index."""
    size = len(what.codes)
    try:
        index = getattr(frame, "index", None)
        if key is None and index is None:
            raise NotIdsError(f"a {type(frame).__name__} has no index: pass key=, the column that holds the ids")
        source = source_of(index) if key is None else source_of(frame, key)
    except Exception as error:  # noqa: BLE001  # the items count all the same
        swallow("step.filter: the ids", error)
        source = Source(size, None)
    verdicts = [("accepted", None), *(("rejected", reason) for reason in reasons)]
    log.dropped(mask_nulls=what.nulls)
    read_details = _details(log, (frame, [details] if isinstance(details, str) else details), size) if details else None
    score, value = (
        _column(log, frame, each, what) if isinstance(each, str) else each
        for each, what in ((score, "scores"), (declared[0], "values"))
    )
    counted = None
    if log.dimensions is not None:  # columns of the frame, whether or not they are kept as details
        there = set(map(str, columns.names_of(frame)))
        counted = _details(log, (frame, [name for name in log.dimensions.names if name in there]), size)
    rows = Rows(read_details, _scores(log, score, size), _scores(log, value, size, "values"), declared[1], counted)
    _record(log, verdicts, what.codes, source, rows)


def _record(
    log: VerdictLog,
    verdicts: Sequence[Verdict],
    codes: Sequence[int] | None,
    source: Source,
    rows: Rows,
) -> None:
    """Hand the rows to the log, block by block."""
    if not source.size:
        return
    details_of = rows.details_of
    counted_by = rows.dimensions_of if rows.dimensions_of is not None else details_of
    occurring = list(dict.fromkeys(codes)) if codes is not None else [0]  # in the order of their first rows
    buckets = {code: log.bucket(*verdicts[code]) for code in occurring}
    by_code = [buckets.get(code, buckets[occurring[0]]) for code in range(len(verdicts))]
    limits = _limits(rows.limit, by_code) if rows.values is not None else {}
    for start in range(0, source.size, bulk.BLOCK_ROWS):
        stop = min(source.size, start + bulk.BLOCK_ROWS)
        bulk.extend(
            log,
            by_code,
            source.ids(start, stop) if log.keeps_verdicts else Ids([], [], 0, stop - start),
            codes[start:stop] if codes is not None else None,
            details_of=partial(_shifted, details_of, start) if details_of is not None else None,
            scores=_part(rows.scores, start, stop),
            values=_part(rows.values, start, stop),
            limits=limits,
            dimensions_of=partial(_shifted, counted_by, start) if counted_by is not None else None,
        )


def _part(column: Any, start: int, stop: int) -> Any:
    return None if column is None else columns.values_of(columns.part_of(column, start, stop))


def _limits(limit: Any, buckets: Sequence[Bucket]) -> dict[Bucket, Any]:
    """What the values of each bucket were held against: one limit for all; or by reason, and then none for what is accepted."""
    by_reason = isinstance(limit, Mapping)
    return {bucket: limit.get(bucket.reason) if by_reason else limit for bucket in buckets}


def _shifted(details_of: bulk.DetailsOf, start: int, rows: Sequence[int]) -> Sequence[Any]:
    return details_of([start + row for row in rows])


class _Verdicts(dict[Any, int]):
    """Reason -> its number; `verdict_of` holds the verdict of each number."""

    def __init__(self) -> None:
        self.verdict_of: list[Verdict] = [("accepted", None)]

    def __missing__(self, reason: Any) -> int:
        if columns.is_null(reason) or reason == "":
            return 0
        code = self[reason] = len(self.verdict_of)
        self.verdict_of.append(("rejected", reason))
        return code


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _details(log: VerdictLog, details: Any, size: int) -> bulk.DetailsOf | None:
    """A reader of the details of rows; None where there are none, or none that fit, which is said."""
    try:
        if details is None:
            return None
        if isinstance(details, Mapping):
            return lambda rows: [details] * len(rows)
        if isinstance(details, tuple) and len(details) == 2 and columns.kind_of(details[0]) == "frame":
            frame, names = details
            return _of_columns({str(name): columns.column_of(frame, name) for name in names}, size)
        if columns.kind_of(details) == "frame":
            return _of_columns({str(name): details[name] for name in columns.names_of(details)}, size)
        if not isinstance(details, (list, tuple)):
            raise TypeError(
                f"details are a mapping, or a frame or list with one for each id, not {type(details).__qualname__}"
            )
        _must_fit("details", len(details), size)
        return lambda rows: [details[row] for row in rows]
    except Exception as error:  # noqa: BLE001  # a verdict without its details is still a verdict
        log.dropped(details=size)
        swallow("step: details of items", error)
        return None


def _of_columns(named: Mapping[str, Any], size: int) -> Callable[[Sequence[int]], Sequence[Any]]:
    for name, column in named.items():
        _must_fit(f"details {name!r}", len(column), size)

    def read(rows: Sequence[int]) -> Sequence[Any]:
        values = [columns.rows_of(column, rows) for column in named.values()]
        return [dict(zip(named, row)) for row in zip(*values)]

    return read


def _scores(log: VerdictLog, scores: Any, size: int, what: str = "scores") -> Any:
    """The scores (or values) of the rows as a column or list; None where there are none, or none that fit, which is said."""
    try:
        if scores is None:
            return None
        if isinstance(scores, Iterator):
            scores = list(scores)
        if columns.kind_of(scores) != "column" and not isinstance(scores, (list, tuple)):
            raise TypeError(f"{what} are a column or list with one for each id, not {type(scores).__qualname__}")
        _must_fit(what, len(scores), size)
        return scores
    except Exception as error:  # noqa: BLE001  # a verdict without its score is still a verdict
        log.dropped(**{what: size})
        swallow(f"step: {what} of items", error)
        return None


def _column(log: VerdictLog, frame: Any, name: str, what: str) -> Any:
    try:
        return columns.column_of(frame, name)
    except Exception as error:  # noqa: BLE001  # as above
        swallow(f"step: {what} of items", error)
        log.dropped(**{what: len(frame)})
        return None


def _must_fit(what: str, given: int, size: int) -> None:
    if given != size:
        raise ValueError(f"{plural(size, 'item')} and {given:,} {what}: pass one for each")
