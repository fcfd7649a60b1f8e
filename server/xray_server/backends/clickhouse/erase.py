"""Deleting one item from the runs of a shard: their rows are written anew without it, and the older ones removed.

The item is entered among the deleted first. A writer looks there before it writes and after, so what it wrote meanwhile is
written anew by the one or the other. That a run holds the item goes from `item` last: who asks again for what was cut off
finds by it what there is to be done. Each replica is looked into: one may have been written anew without the other.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from xray_core import verdicts
from xray_core.item_ids import item_id_text
from xray_server.backends.clickhouse import parts
from xray_server.backends.clickhouse.cluster import Cluster, Group, Shard
from xray_server.backends.clickhouse.delete import deleted_among, forget_runs
from xray_server.backends.clickhouse.node import Node
from xray_server.backends.clickhouse.parts import RunName, Stored
from xray_server.backends.clickhouse.rows import (
    LARGE,
    SAMPLE,
    VERDICT,
    EvidenceRow,
    Written,
    fingerprints_of,
    run_list_rows,
    run_rows,
    step_rows,
)
from xray_server.backends.clickhouse.sql import bind
from xray_server.backends.relational.erase import erased_item, hash_key
from xray_server.backends.relational.rows import FP40, SET_NAMES, place_us, run_state
from xray_server.records.documents import pack, unpack
from xray_server.records.erasure import Changed, ErasedItem, Erasure, erased_chunk

_NOT_DELETED: Final = -1
_REWRITTEN: Final = 1 << 63  # versions of chunks that were written anew are beyond those of all others
_NEWEST: Final = "ORDER BY ver DESC LIMIT 1 BY step_id, attempt, part, chunk"
_ROWS_AT_ONCE: Final = 2_000  # of a mutation, whose text a Keeper takes up to 1 MB of
# The tables whose rows are written anew, and the key of each.
_KEYS: Final = {
    "evidence": "project, kind, run_id, step_id, attempt, part, chunk",
    "state": "project, kind, run_id, step_id, attempt, known, part",
    "listed": "project, kind, at_us, run_id, step_id, attempt",
}


def delete_item(cluster: Cluster, project: str, item_id: str, at_us: int) -> int:
    """Delete an item from all runs that hold it; how many did. Nothing is remembered of an item that none held."""
    text = item_id_text(item_id)
    key = hash_key(text)
    before = item_deleted_us(cluster, project, text)
    for shard in cluster.shards:
        _remember(shard, project, key, at_us)
    erasure = Erasure([erased_item(key, at_us)], text)
    erased = 0
    for shard in cluster.shards:
        group = shard.group()
        suspects = _suspects(group, project, verdicts.fingerprint(text))
        begun = {name for name, named in suspects.items() if named} if before is not None else set()
        erased += _from_runs(group, suspects, lambda _: erasure, begun)
        group.close(list(suspects))
    if not erased:
        for shard in cluster.shards:
            _remember(shard, project, key, _NOT_DELETED if before is None else before)
    return erased


def item_deleted_us(cluster: Cluster, project: str, item_id: str) -> int | None:
    """When an item was deleted."""
    key = hash_key(item_id).hex()
    statement = bind("SELECT at_us FROM deleted_item FINAL WHERE project = ? AND hash = ?", project, key)
    found = [at_us for rows in cluster.each(lambda shard: shard.rows(statement)) for (at_us,) in rows]
    return max((at_us for at_us in found if at_us != _NOT_DELETED), default=None)


def erased_items(shard: Shard, projects: Sequence[str]) -> dict[str, list[ErasedItem]]:
    """The deleted items of these projects."""
    found: dict[str, list[ErasedItem]] = {}
    if projects:
        for project, key, at_us in shard.rows(
            bind(
                "SELECT project, hash, at_us FROM deleted_item FINAL WHERE project IN ? ORDER BY project, hash",
                list(projects),
            )
        ):
            if at_us != _NOT_DELETED:
                found.setdefault(project, []).append(erased_item(bytes.fromhex(key), at_us))
    return found


def removed(
    shard: Shard, runs: Sequence[RunName], projects: Sequence[str]
) -> tuple[set[RunName], dict[str, list[ErasedItem]]]:
    """Those of these runs that were deleted, and the deleted items of these projects: what each write asks before and after."""
    if not projects:
        return set(), {}
    ((deleted_runs, deleted_items),) = shard.rows(
        "SELECT (SELECT count() FROM deleted_run), (SELECT count() FROM deleted_item)"
    )
    return (
        deleted_among(shard, runs) if deleted_runs else set(),
        erased_items(shard, projects) if deleted_items else {},
    )


def erase_from_runs(shard: Group, names: Sequence[RunName], items: Mapping[str, Sequence[ErasedItem]]) -> None:
    """Take deleted items out of these runs, as far as they are from before."""
    stored = parts.stored_runs(shard, names)

    def erasure(name: RunName) -> Erasure:
        at_us = place_us(run_state(stored[name].parts), stored[name].received_us)
        return Erasure([item for item in items.get(name[0], ()) if at_us < item.at_us])

    _from_runs(shard, [name for name in names if name in stored], erasure)


def _remember(shard: Shard, project: str, key: bytes, at_us: int) -> None:
    group = shard.group()
    group.insert("deleted_item", [(project, key.hex(), at_us, time.time_ns())])
    group.close([])


def _suspects(group: Group, project: str, fingerprint: int) -> dict[RunName, bool]:
    """The runs that may hold an item, and whether one has a row of it."""
    found: dict[RunName, bool] = {}
    select = bind("SELECT run_id, max(fp) FROM item WHERE project = ? AND fp IN ?", project, [fingerprint, LARGE])
    for rows in group.ask_each(lambda one: one.rows(f"{select} GROUP BY run_id")):
        for run_id, fp in rows:
            found[project, run_id] = found.get((project, run_id), False) or fp != LARGE
    return found


def _from_runs(
    shard: Group, names: Iterable[RunName], erasure_of: Callable[[RunName], Erasure], begun: Collection[RunName] = ()
) -> int:
    """Take items out of runs; how many held any. Of those in `begun` it was cut off before, so what follows is done again."""
    gone: dict[RunName, set[int]] = {}
    for name in names:
        erasure = erasure_of(name)
        if erasure and _from_run(shard, name, erasure, name in begun):
            gone[name] = erasure.fingerprints - _fingerprints(shard, name)
    if gone:
        shard.tell(lambda node: remove_older(node, list(gone)))
        # last: these rows are how a deletion that was cut off is found again
        rows = [(*name, fp) for name, fps in gone.items() for fp in fps]
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            test = bind("(project, run_id, fp) IN ?", rows[start : start + _ROWS_AT_ONCE])
            shard.command(f"ALTER TABLE item DELETE WHERE {test} SETTINGS mutations_sync = 2")
        if deleted := deleted_among(shard, list(gone)):  # while they were written anew
            forget_runs(shard, deleted)
    return len(gone)


def remove_older(node: Node, names: Sequence[RunName]) -> None:
    """Remove the rows of these runs that a newer one replaced, and wait until none of them is on the disk as a row.

    They are named one by one: a replicated table takes no mutation that asks for itself which.
    """
    these = bind("(project, run_id) IN ?", list(names))
    for table, key in _KEYS.items():
        row = f"{key}, toString(ver)"
        older = node.rows(
            f"SELECT DISTINCT {row} FROM {table} WHERE {these} AND ({key}, ver) NOT IN "  # noqa: S608  # bound
            f"(SELECT {key}, max(ver) FROM {table} WHERE {these} GROUP BY {key})"
        )
        for start in range(0, len(older), _ROWS_AT_ONCE):
            test = bind(f"({row}) IN ?", older[start : start + _ROWS_AT_ONCE])
            node.command(f"ALTER TABLE {table} DELETE WHERE {these} AND {test} SETTINGS mutations_sync = 2")


def _from_run(shard: Group, name: RunName, erasure: Erasure, begun: bool) -> bool:
    """Write anew what a run holds of deleted items; False where it holds none, and it was not begun before."""
    verdict_rows, changed = _chunks(shard, name, erasure)
    sample_rows = _samples(shard, name, erasure)
    if not verdict_rows and not sample_rows and not begun:
        return False
    # which runs hold what: the names that stand for the items, and of a large set that it holds one, until all is done
    shard.insert(
        "item",
        [
            (*key, received_us)
            for key, received_us in {
                (name[0], row.week, fp, name[1]): row.received_us
                for row in verdict_rows
                for fp in fingerprints_of(row.head, row.data) | erasure.fingerprints
            }.items()
        ],
    )
    shard.insert("evidence", verdict_rows + sample_rows)
    stored = shard.ask_each(lambda one: (parts.steps_of_run(one, *name), parts.stored_runs(one, [name])))
    state: list[tuple[Any, ...]] = []
    listed: list[tuple[Any, ...]] = []
    # what one replica alone still says of it is written to all: an older revision stays older
    for steps, runs in (each for n, each in enumerate(stored) if each not in stored[:n]):
        for key, step in steps.items():
            made = {part: erasure.step(values, changed.get((*key[2:], part))) for part, values in step.parts.items()}
            state += step_rows(key, _written(step, made))
        for run in runs.values():
            written = _written(run, {}, erasure)
            state += run_rows(name, written)
            listed += run_list_rows(name, written)
    shard.insert("state", state)
    shard.insert("listed", listed)
    return True


def _fingerprints(shard: Group, name: RunName) -> set[int]:
    """Those of all items that a run holds."""
    select = bind("SELECT head, data FROM verdict WHERE project = ? AND run_id = ? ", *name) + _NEWEST
    return {
        fp
        for rows in shard.ask_each(lambda one: one.rows(select))
        for head, data in rows
        for fp in fingerprints_of(head, data)
    }


def _chunks(
    shard: Group, name: RunName, erasure: Erasure
) -> tuple[list[EvidenceRow], dict[tuple[str, int, str], Changed]]:
    """The rows of chunks that change, and what changed in which part of a step attempt."""
    rows: dict[tuple[Any, ...], EvidenceRow] = {}
    changed: dict[tuple[str, int, str], Changed] = {}
    select = bind(
        "SELECT week, step_id, attempt, part, chunk, ver, received_us, place, head, data FROM verdict "
        "WHERE project = ? AND run_id = ? ",
        *name,
    )
    select += _NEWEST
    found = [row for rows in shard.ask_each(lambda one: one.rows(select)) for row in rows]
    newest = _newest(found)
    for week, step_id, attempt, part, chunk, _, received_us, place, head, data in found:
        key = (step_id, attempt, part, chunk)
        if key in rows:  # on one replica as on the other
            continue
        new_head, new_data, times = erased_chunk(erasure, unpack(head), data, fp40=FP40)
        if times:
            ver = max(newest[key] + 1, _REWRITTEN)
            rows[key] = EvidenceRow(
                VERDICT, name[0], week, name[1], *key, ver, received_us, place, pack(new_head), new_data
            )
            named = Counter({(SET_NAMES[code], reason): n for (code, reason), n in times.items()})  # type: ignore[index]
            changed.setdefault((step_id, attempt, part), Counter()).update(named)
    return list(rows.values()), changed


def _samples(shard: Group, name: RunName, erasure: Erasure) -> list[EvidenceRow]:
    """The rows of samples that change."""
    rows: dict[tuple[Any, ...], EvidenceRow] = {}
    select = bind(
        "SELECT week, step_id, attempt, part, chunk, ver, rev, text FROM sample WHERE project = ? AND run_id = ? ",
        *name,
    )
    select += _NEWEST
    found = [row for rows in shard.ask_each(lambda one: one.rows(select)) for row in rows]
    newest = _newest(found)
    for week, step_id, attempt, part, chunk, ver, rev, text in found:
        key = (step_id, attempt, part, chunk)
        without = None if key in rows or rev < newest[key] >> 64 else erasure.samples(text)
        if without is not None:
            # of one revision the one that was written anew is the greater
            ver = rev << 64 | max((newest[key] & (1 << 64) - 1) + 1, 1 << 63)
            rows[key] = EvidenceRow(SAMPLE, name[0], week, name[1], *key, ver, text=without)
    return list(rows.values())


def _newest(rows: Sequence[Sequence[Any]]) -> dict[tuple[Any, ...], int]:
    """The greatest version of each chunk, whichever replica has it."""
    newest: dict[tuple[Any, ...], int] = {}
    for _, *key, ver in [row[:6] for row in rows]:
        newest[tuple(key)] = max(ver, newest.get(tuple(key), 0))
    return newest


def _written(stored: Stored, made: Mapping[str, Any], erasure: Erasure | None = None) -> Written:
    """What is written of a run or a step: of each part that changed a version more."""
    now = Stored(stored.received_us, stored.week, dict(stored.parts), dict(stored.vers))
    changed = set()
    for part, values in stored.parts.items():
        new = made[part] if erasure is None else erasure.run(values)
        if new != values:
            now.parts[part] = new
            now.vers[part] += 1
            changed.add(part)
    return Written(stored, now, changed, True)
