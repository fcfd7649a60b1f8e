"""Lists of runs and of steps across runs, newest first, over all shards.

The tables of lists are ordered by time, so a page is read from their end. What they say of a run or step may be out of date:
a row is only a hint, and what it names is read by its identity and asked again before it is listed. So neither a row that was
not yet merged away nor a filter that ran before it can list what does not hold any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from xray_core.model import STATUS_RANK
from xray_server.backends.clickhouse import parts
from xray_server.backends.clickhouse.cluster import Cluster, Shard
from xray_server.backends.clickhouse.parts import StepName, Stored
from xray_server.backends.clickhouse.places import make_place, newest_first, parse_place
from xray_server.backends.clickhouse.sql import SCAN, bind, literal
from xray_server.backends.relational.ids import begun_uuid, id_key, id_prefix_ranges
from xray_server.backends.relational.rows import tag_text
from xray_server.store import Page, RunFilter, StepFilter, StoredRun, StoredStep

L = TypeVar("L", StoredRun, StoredStep)
_NOTHING: Final = 255  # a status that nothing has
_IS_UUID: Final = "ifNull(toString(toUUIDOrNull(run_id)) = run_id, 0)"  # a regular expression takes 9 ms to begin with
_TRIES: Final = 20  # rounds for one page: more than that many in a row were out of date


class _List(NamedTuple):
    """One of the two lists.

    Attributes:
        key: the columns by which it is sorted.
        tests: what must hold of a row, bound.
        find: what of these names, which lie on one shard, is there now.
        holds: whether what was found is what is asked for.
    """

    table: str
    key: str
    types: str
    tests: list[str]
    find: Callable[[Shard, Sequence[Any]], dict[Any, Any]]
    holds: Callable[[Any], bool]


def list_runs(
    cluster: Cluster, project: str, where: RunFilter, *, limit: int, cursor: str | None, max_bytes: int
) -> Page[StoredRun]:
    """Runs, newest first; at most so many bytes of their documents."""

    def find(shard: Shard, rows: Sequence[Any]) -> dict[Any, StoredRun]:
        names = [(project, run_id) for _, run_id in rows]
        return {name[1:]: run for name, run in parts.runs_with_counts(shard, names).items()}

    tests = _run_tests(project, where)
    listed = _List("run_list", "at_us, run_id", "is", tests, find, lambda run: run_holds(run, where))
    return _page(cluster, listed, limit, cursor, max_bytes)


def list_steps(
    cluster: Cluster,
    project: str,
    where: StepFilter,
    *,
    limit: int,
    cursor: str | None,
    max_bytes: int,
    beside: Callable[[Shard, Sequence[StepName]], object] | None = None,
) -> Page[StoredStep]:
    """Step attempts across runs, newest first; at most so many bytes of their documents.

    Args:
        beside: what else to ask a shard about steps that may be on the page, while it is asked for them.
    """

    def find(shard: Shard, rows: Sequence[Any]) -> dict[Any, StoredStep]:
        names: list[StepName] = [(project, *name) for _, *name in rows]
        more = [] if beside is None else [partial(beside, shard, names)]
        stored, *_ = shard.together(partial(parts.stored_steps, shard, names), *more)
        return {name[1:]: parts.step_of(name, of) for name, of in stored.items()}

    tests = _step_tests(project, where)
    listed = _List(
        "step_list", "at_us, run_id, step_id, attempt", "issi", tests, find, lambda step: step_holds(step, where)
    )
    return _page(cluster, listed, limit, cursor, max_bytes)


def _page(cluster: Cluster, listed: _List, limit: int, cursor: str | None, max_bytes: int) -> Page[Any]:
    after = None if cursor is None else parse_place(cursor, listed.types)
    items: list[Any] = []
    used = 0
    for _ in range(_TRIES):
        wanted = limit - len(items) + 1
        hints = _hints(cluster, listed, after, wanted)
        fitting = _fitting([row[-1] for row in hints], max_bytes - used, at_least=0 if items else 1)
        found = _found(cluster, listed, hints[:fitting])
        for *name, size in hints[:fitting]:
            key = tuple(name)
            if len(items) == limit:
                return Page(items, make_place(*after or ()))
            after = list(key)
            item = found.get(key[1:])
            if item is not None and item.at_us == key[0] and listed.holds(item):
                items.append(item)
                used += size
                del found[key[1:]]  # once, however many rows name it
        if fitting < len(hints):
            return Page(items, make_place(*after or ()))
        if len(hints) < wanted:
            return Page(items)
    return Page(items, make_place(*after or ()))


def _hints(cluster: Cluster, listed: _List, after: Sequence[Any] | None, limit: int) -> list[tuple[Any, ...]]:
    """The next rows of a list: the key and the size of what it names."""
    tests = list(listed.tests)
    if after is not None:
        # the time by itself too: that is what the index is asked
        tests += [bind("at_us <= ?", after[0]), bind(f"({listed.key}) < ?", tuple(after))]
    order = ", ".join(f"{column} DESC" for column in listed.key.split(", "))
    statement = (
        f"SELECT {listed.key}, bytes FROM {listed.table} WHERE gone = 0 AND {' AND '.join(tests)} "  # noqa: S608
        f"ORDER BY project DESC, {order} LIMIT {limit} {SCAN}"
    )
    rows = [row for of_shard in cluster.each(lambda shard: shard.rows(statement)) for row in of_shard]
    return newest_first(rows, limit)


def _found(cluster: Cluster, listed: _List, hints: Sequence[tuple[Any, ...]]) -> dict[Any, Any]:
    by_shard: dict[int, list[tuple[Any, ...]]] = {}
    for *name, _ in hints:
        by_shard.setdefault(cluster.number_of(name[1]), []).append(tuple(name))
    found: dict[Any, Any] = {}
    for of_shard in cluster.each(
        lambda shard: listed.find(shard, by_shard[shard.number]) if shard.number in by_shard else {}
    ):
        found.update(of_shard)
    return found


def _fitting(sizes: Sequence[int], max_bytes: int, *, at_least: int) -> int:
    """How many of the first weigh at most so much together."""
    total = n = 0
    for size in sizes:
        total += size
        if total > max_bytes and n >= at_least:
            break
        n += 1
    return n


def _run_tests(project: str, where: RunFilter) -> list[str]:
    tests = [bind("project = ?", project), *_window(where.since_us, where.until_us)]
    if where.pipeline is not None:
        tests.append(bind("pipeline = ?", where.pipeline))
    if where.status is not None:
        tests.append(bind("status = ?", STATUS_RANK.get(where.status, _NOTHING)))
    if where.tag is not None:
        key, has_value, value = where.tag.partition(":")
        tests.append(bind("mapContains(tags, ?)", key))
        if has_value:
            tests.append(bind("tags[?] = ?", key, value))
    if where.q:
        # of a pipeline as it stands: each name is looked into once, not once a run
        rest = bind(
            "ifNull(positionCaseInsensitiveUTF8(pipeline, ?), 0) > 0 OR arrayExists(v -> startsWith(v, ?), mapValues(tags))",
            where.q,
            where.q,
        )
        tests.append(f"({id_begins(where.q)} OR {rest})")
    return tests


def run_holds(run: StoredRun, where: RunFilter) -> bool:
    """Whether a run is one of those asked for."""
    state = run.state
    tags = {key: tag_text(value) for key, value in (state["tags"] or {}).items()}
    key, has_value, value = (where.tag or "").partition(":")
    return (
        (where.pipeline is None or state["pipeline"] == where.pipeline)
        and (where.status is None or state["status"] == where.status)
        and (where.since_us is None or run.at_us >= where.since_us)
        and (where.until_us is None or run.at_us < where.until_us)
        and (where.tag is None or (key in tags and (not has_value or tags[key] == value)))
        and (not where.q or _has_text(run, tags.values(), where.q))
    )


def _has_text(run: StoredRun, tags: Any, text: str) -> bool:
    key: Any = id_key(run.run_id)
    return (
        any(type(low) is type(key) and low <= key < high for low, high in id_prefix_ranges(text))
        or text.lower() in (run.state["pipeline"] or "").lower()
        or any(tag.startswith(text) for tag in tags)
    )


def id_begins(text: str) -> str:
    """The test that the id of a run begins with a text; of a UUID also without its dashes."""
    begins, uuid = bind("startsWith(run_id, ?)", text), begun_uuid(text)
    if uuid is None:
        return f"({begins} AND NOT {_IS_UUID})"
    return (
        begins
        if uuid == text
        else f"({begins} AND NOT {_IS_UUID} OR {bind('startsWith(run_id, ?)', uuid)} AND {_IS_UUID})"
    )


def _step_tests(project: str, where: StepFilter) -> list[str]:
    tests = [bind("project = ?", project), *_window(where.since_us, where.until_us)]
    for column, word in (("step_type", where.step_type), ("name", where.name), ("pipeline", where.pipeline)):
        if word is not None:
            tests.append(bind(f"{column} = ?", word))
    if where.status is not None:
        tests.append(bind("status = ?", STATUS_RANK.get(where.status, _NOTHING)))
    if where.reason is not None:
        tests.append(bind("mapContains(reasons, ?)", where.reason))
    if where.rejection_rate_gt is not None:
        tests.append(bind("rate > ?", float(where.rejection_rate_gt)))
    if where.rejection_rate_lt is not None:
        tests.append(bind("rate < ?", float(where.rejection_rate_lt)))
    if where.duration_us_gt is not None:
        tests.append(bind("duration_us > ?", where.duration_us_gt))
    return tests


def step_holds(step: StoredStep, where: StepFilter) -> bool:
    """Whether a step attempt is one of those asked for."""
    state, rate, duration_us = step.state, step.rejection_rate, step.state["duration_us"]
    words = (
        ("step_type", where.step_type),
        ("name", where.name),
        ("pipeline", where.pipeline),
        ("status", where.status),
    )
    return (
        all(wanted is None or state[name] == wanted for name, wanted in words)
        and (
            where.reason is None
            or any(
                n for reasons in (state["reasons"] or {}).values() for why, n in reasons.items() if why == where.reason
            )
        )
        and (where.rejection_rate_gt is None or (rate is not None and rate > where.rejection_rate_gt))
        and (where.rejection_rate_lt is None or (rate is not None and rate < where.rejection_rate_lt))
        and (where.duration_us_gt is None or (duration_us is not None and duration_us > where.duration_us_gt))
        and (where.since_us is None or step.at_us >= where.since_us)
        and (where.until_us is None or step.at_us < where.until_us)
    )


def _window(since_us: int | None, until_us: int | None) -> list[str]:
    tests = [] if since_us is None else [bind("at_us >= ?", since_us)]
    return tests if until_us is None else [*tests, bind("at_us < ?", until_us)]


def list_run_steps(
    shard: Shard,
    project: str,
    run_id: str,
    *,
    limit: int,
    cursor: str | None,
    name: str | None,
    max_bytes: int | None,
) -> Page[StoredStep]:
    """The step attempts of one run, or those of one name in it, in the order in which they started."""
    if cursor is None and name is None and max_bytes is None:
        few = parts.few_steps_of_run(shard, project, run_id)
        if few is not None:
            return _ordered(few, limit)
    after = [-1, 0, "", 0] if cursor is None else parse_place(cursor, "iisi")
    order = "at_us, coalesce(position, 0), step_id, attempt"
    by_name = "" if name is None else bind(" AND name = ?", name)
    rows = shard.rows(
        f"SELECT {order}, bytes FROM (SELECT step_id, attempt, at_us, position, name, "  # noqa: S608  # bound
        "sumIf(length(doc), known = 1) OVER (PARTITION BY step_id, attempt) AS bytes, known, ver FROM step "
        f"WHERE {bind('project = ? AND run_id = ?', project, run_id)} "
        f"ORDER BY known DESC, ver DESC LIMIT 1 BY step_id, attempt) WHERE ({order}) > {literal(tuple(after))}{by_name} "
        f"ORDER BY {order} LIMIT {limit + 1}"
    )
    fitting = limit if max_bytes is None else _fitting([row[-1] for row in rows[:limit]], max_bytes, at_least=1)
    some = rows[: min(limit, fitting)]
    found = parts.stored_steps(shard, [(project, run_id, step_id, attempt) for _, _, step_id, attempt, _ in some])
    steps = [
        parts.step_of((project, run_id, step_id, attempt), found[project, run_id, step_id, attempt])
        for _, _, step_id, attempt, _ in some
        if (project, run_id, step_id, attempt) in found
    ]
    return Page(steps, make_place(*some[-1][:4]) if len(some) < len(rows) else None)


def _ordered(stored: Mapping[StepName, Stored], limit: int) -> Page[StoredStep]:
    """All steps of a run as a page of `list_run_steps`."""

    def place(step: StoredStep) -> tuple[int, int, str, int]:
        return step.at_us, step.state["index"] or 0, step.step_id, step.attempt

    steps = sorted((parts.step_of(name, each) for name, each in stored.items()), key=place)
    return Page(steps[:limit], make_place(*place(steps[limit - 1])) if len(steps) > limit else None)
