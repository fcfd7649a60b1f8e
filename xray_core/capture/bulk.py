"""Verdicts of many items at once: what a loop of `VerdictLog.add` would leave, in a tenth of the time.

Counts, named items, fingerprints, sampled items and their weights are those of the loop (tests compare the two): an item's
fate follows from its hash, and the few that the sampler may keep are offered to it in the order of the rows. Details are
read for these alone. Works in blocks, so that a column of ten million ids is never held as a list.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from xray_core.capture.columns import Ids, hash_all, is_null
from xray_core.capture.declared import Named, finite
from xray_core.capture.dimensions import Dimensions
from xray_core.capture.sampling import SPACE
from xray_core.capture.scores import score_of
from xray_core.safety import reraise_interrupt

if TYPE_CHECKING:
    from xray_core.capture.bucket import Bucket
    from xray_core.capture.verdict_log import VerdictLog

BLOCK_ROWS: Final = 1 << 16
_FIRST_CHUNK: Final = 64
_WORTH_NUMPY: Final = 1_024  # of fewer rows a list is as fast
_MANY_CODES: Final = 32  # of more a pass for each takes longer than one for all

# What is asked for the details of the rows that may be kept: row numbers in, one mapping (or None) for each out.
DetailsOf = Callable[[Sequence[int]], Sequence[Any]]


def extend(
    log: VerdictLog,
    buckets: Sequence[Bucket],
    ids: Ids,
    codes: Sequence[int] | None = None,
    *,
    details_of: DetailsOf | None = None,
    scores: Sequence[Any] | None = None,
    values: Sequence[Any] | None = None,
    limits: Mapping[Bucket, Any] | None = None,
    dimensions_of: DetailsOf | None = None,
) -> None:
    """Add a block of items to `log`.

    Args:
        buckets: of the outcomes and reasons that occur; one bucket may stand for several codes.
        ids: of the rows.
        codes: for each row the index of its bucket; None: all rows belong to the first.
        details_of: the details of rows, by their numbers in the block.
        scores: one for each row, or None for a row without one.
        values: as `scores`, the declared ones; `limits`: what those of each bucket were held against.
        dimensions_of: as `details_of`, for what the dimensions are counted by; asked for every row.
    """
    if codes is None:
        codes = bytes(ids.size)
    if log.dimensions is not None:
        _count_dimensions(log, log.dimensions, buckets, codes, dimensions_of)
    if not log.keeps_verdicts:
        for code, n in _counted(codes).items():
            buckets[code].ticks.extend(bytes(n))
        return
    if ids.rows is not None:
        _count_unnamed(log, buckets, ids, codes)
    rows = range(len(ids.texts)) if ids.rows is None else ids.rows
    if ids.rows is not None:
        codes = [codes[row] for row in rows]
    if scores is not None:
        scores = _scores(log, [scores[row] for row in rows] if ids.rows is not None else scores)
    hashed = hash_all(ids.texts)
    if scores is not None:
        _ranges(log, buckets, ids.texts, codes, scores, hashed)
    groups = _rows_by_bucket(buckets, codes)
    if values is not None:
        groups = _declare(log, groups, ids, [values[row] for row in rows], hashed, limits or {})
    _add(log, groups, ids.texts, hashed)
    _offer(log, buckets, ids.texts, codes, rows, details_of, scores)


def _count_dimensions(
    log: VerdictLog,
    dimensions: Dimensions,
    buckets: Sequence[Bucket],
    codes: Sequence[int],
    details_of: DetailsOf | None,
) -> None:
    rows = range(len(codes))
    details = log.details(details_of, rows) if details_of is not None else None
    by_outcome: dict[str, list[Any]] = {}
    for row, code in enumerate(codes):
        by_outcome.setdefault(buckets[code].outcome, []).append(details[row] if details is not None else None)
    for outcome, some in by_outcome.items():
        dimensions.count(outcome, some)


def _counted(codes: Sequence[int]) -> dict[int, int]:
    if type(codes) is bytes:
        return {code: codes.count(code) for code in set(codes)}
    counted: dict[int, int] = {}
    for code in codes:
        counted[code] = counted.get(code, 0) + 1
    return counted


def _count_unnamed(log: VerdictLog, buckets: Sequence[Bucket], ids: Ids, codes: Sequence[int]) -> None:
    """Rows without a readable id count for their reason; the step says how many verdicts are missing."""
    named = set(ids.rows or ())
    for code, n in _counted([code for row, code in enumerate(codes) if row not in named]).items():
        log.add_unnamed(buckets[code], n)
    log.dropped(null_ids=ids.nulls, verdicts_without_id=ids.odd)


def _declare(
    log: VerdictLog,
    groups: dict[Bucket, Sequence[int]],
    ids: Ids,
    values: list[Any],
    hashed: array[int],
    limits: Mapping[Bucket, Any],
) -> dict[Bucket, Sequence[int]]:
    """As `_add`, for the rows that have a value; the rows that have none."""
    numbers = [finite(value) for value in values]
    log.dropped(values=sum(1 for given, number in zip(values, numbers) if number is None and not is_null(given)))
    with_values = {b: kept for b, rows in groups.items() if (kept := [row for row in rows if numbers[row] is not None])}
    for bucket, n_named in _names(log, with_values).items():
        rows = with_values[bucket]
        bucket.note_caller()
        declared, limit = log.declared(bucket, limits.get(bucket))
        declared.named.extend([Named(ids.texts[row].decode(), numbers[row] or 0.0, limit) for row in rows[:n_named]])
        if len(rows) > n_named:
            bucket.slow = False
            left = rows[n_named:]
            declared.extend(
                array("Q", [hashed[row] for row in left]), array("d", [numbers[row] or 0.0 for row in left]), limit
            )
    return {bucket: kept for bucket, rows in groups.items() if (kept := [row for row in rows if numbers[row] is None])}


def _add(log: VerdictLog, groups: dict[Bucket, Sequence[int]], texts: Sequence[bytes], hashed: array[int]) -> None:
    """Names for the first items of each reason, fingerprints for the others."""
    for bucket, n_named in _names(log, groups).items():
        rows = groups[bucket]
        bucket.note_caller()
        bucket.ids.extend([texts[row].decode() for row in rows[:n_named]])
        if len(rows) > n_named:
            bucket.slow = False
            bucket.hashes.extend(hashed[n_named:] if len(rows) == len(texts) else _picked(hashed, rows[n_named:]))


def _rows_by_bucket(buckets: Sequence[Bucket], codes: Sequence[int]) -> dict[Bucket, Sequence[int]]:
    """The rows of each bucket; numpy, where the pipeline has loaded it, finds them in a tenth of the time."""
    occurring = set(codes)
    if len(occurring) == 1:
        return {buckets[occurring.pop()]: range(len(codes))}
    groups: dict[Bucket, Any] = {}
    array_of_codes = _numpy_array(codes) if len(occurring) < _MANY_CODES else None
    if array_of_codes is not None and len({buckets[code] for code in occurring}) == len(occurring):
        for code in occurring:
            groups[buckets[code]] = (array_of_codes == code).nonzero()[0]
        return groups
    groups = {buckets[code]: [] for code in occurring}
    append = {code: groups[buckets[code]].append for code in occurring}
    for row, code in enumerate(codes):
        append[code](row)
    return groups


def _numpy_array(codes: Sequence[int]) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None or type(codes) is not bytes:
        return None
    try:
        return numpy.frombuffer(codes, numpy.uint8)
    except Exception as error:  # noqa: BLE001  # half imported by another thread, or something else of that name
        reraise_interrupt(error)
        return None


def _names(log: VerdictLog, groups: Mapping[Bucket, Sequence[int]]) -> dict[Bucket, int]:
    """For each bucket how many of its items are kept by name: those that come first in the step, while there is room."""
    wanted = {bucket: min(len(rows), bucket.names_left) if bucket.slow else 0 for bucket, rows in groups.items()}
    if sum(wanted.values()) > log.names_left:
        first = sorted(
            (row, number) for number, bucket in enumerate(groups) for row in groups[bucket][: wanted[bucket]]
        )
        numbers = [number for _, number in first[: log.names_left]]
        wanted = {bucket: numbers.count(number) for number, bucket in enumerate(groups)}
    for bucket, n in wanted.items():
        log.names_left -= n
        bucket.names_left -= n
        bucket.slow = bucket.slow and bucket.names_left > 0
    return wanted


def _picked(hashed: array[int], rows: Sequence[int]) -> array[int]:
    if isinstance(rows, list):
        return array("Q", itemgetter(*rows)(hashed) if len(rows) > 1 else [hashed[rows[0]]])
    numpy = sys.modules["numpy"]  # whose rows these are
    return array("Q", numpy.frombuffer(hashed, numpy.uint64)[rows].tobytes())


def _offer(
    log: VerdictLog,
    buckets: Sequence[Bucket],
    texts: Sequence[bytes],
    codes: Sequence[int],
    rows: Sequence[int],
    details_of: DetailsOf | None,
    scores: Sequence[Any] | None,
) -> None:
    """Hand the sampler the items that it may keep. Its limits sink as it is filled: so in chunks that grow."""
    drawn = hash_all(texts, log.seed)
    array_of_codes = _numpy_array(codes)
    start, length = 0, _FIRST_CHUNK
    while start < len(texts):
        stop = min(len(texts), start + length)
        limits = [bucket.sampler.limit for bucket in buckets]
        near = _below(drawn, codes, array_of_codes, limits, start, stop)
        details = log.details(details_of, [rows[at] for at in near]) if details_of is not None and near else None
        for place, at in enumerate(near):
            bucket = buckets[codes[at]]
            if drawn[at] < bucket.sampler.limit:
                score = scores[at] if scores is not None else None
                log.offer(bucket, drawn[at], texts[at].decode(), details[place] if details else None, score, None)
        start, length = stop, 2 * length


def _below(
    drawn: array[int], codes: Sequence[int], array_of_codes: Any, limits: list[int], start: int, stop: int
) -> list[int]:
    """The places of a chunk whose hash is below the limit of their bucket."""
    if array_of_codes is None or stop - start < _WORTH_NUMPY:
        pairs = zip(drawn[start:stop], codes[start:stop])
        return [at for at, (hashed, code) in enumerate(pairs, start) if hashed < limits[code]]
    numpy = sys.modules["numpy"]  # which made `array_of_codes`
    tops = numpy.array([min(limit, SPACE) - 1 if limit else 0 for limit in limits], numpy.uint64)
    below = numpy.frombuffer(drawn, numpy.uint64)[start:stop] <= tops[array_of_codes[start:stop]]
    places: list[int] = (below.nonzero()[0] + start).tolist()
    return places


def _scores(log: VerdictLog, scores: Sequence[Any]) -> list[float | None]:
    read = [number if (number := score_of(score)) is not None and isfinite(number) else None for score in scores]
    log.dropped(scores=sum(1 for given, number in zip(scores, read) if number is None and given is not None))
    return read


def _ranges(
    log: VerdictLog,
    buckets: Sequence[Bucket],
    texts: Sequence[bytes],
    codes: Sequence[int],
    scores: Sequence[Any],
    hashed: array[int],
) -> None:
    """The sums of each outcome's scores, and their ends, named by the first item that has them."""
    outcomes = [bucket.outcome for bucket in buckets]
    scored: dict[str, list[int]] = {}
    for at, (score, code) in enumerate(zip(scores, codes)):
        if score is not None:
            scored.setdefault(outcomes[code], []).append(at)
    for outcome, ats in scored.items():
        least, most = min(ats, key=scores.__getitem__), max(ats, key=scores.__getitem__)
        ends = [scores[least], texts[least].decode(), scores[most], texts[most].decode()]
        log.scored(outcome, array("Q", [hashed[at] for at in ats]), array("d", [scores[at] for at in ats]), ends)
