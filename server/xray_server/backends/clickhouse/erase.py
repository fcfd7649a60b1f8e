"""Deleting one item from the runs of a shard: their rows are written anew without it, and the older ones removed.

The item is entered among the deleted first. A writer looks there before it writes and after, so what it wrote meanwhile is
written anew by the one or the other.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from xray_core import verdicts
from xray_core.item_ids import item_id_text
from xray_server.backends.clickhouse import parts
from xray_server.backends.clickhouse.cluster import Cluster, Group, Shard
from xray_server.backends.clickhouse.delete import deleted_among
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
        erased += _from_runs(group, suspects, lambda _: erasure)
        group.close(suspects)
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


def _suspects(shard: Shard, project: str, fingerprint: int) -> list[RunName]:
    """The runs that may hold an item."""
    rows = shard.rows(
        bind("SELECT DISTINCT run_id FROM item WHERE project = ? AND fp IN ?", project, [fingerprint, LARGE])
    )
    return [(project, run_id) for (run_id,) in rows]


def _from_runs(shard: Group, names: Iterable[RunName], erasure_of: Any) -> int:
    erased = []
    for name in names:
        erasure = erasure_of(name)
        if erasure and _from_run(shard, name, erasure):
            erased.append(name)
    if erased:
        shard.tell(lambda node: remove_older(node, erased))
    return len(erased)


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


def _from_run(shard: Group, name: RunName, erasure: Erasure) -> bool:
    """Write anew what a run holds of deleted items; False where it holds none."""
    verdict_rows, changed = _chunks(shard, name, erasure)
    sample_rows = _samples(shard, name, erasure)
    if not verdict_rows and not sample_rows:
        return False
    shard.insert("evidence", verdict_rows + sample_rows)
    steps = {}
    for key, stored in parts.steps_of_run(shard, *name).items():
        made = {part: erasure.step(values, changed.get((*key[2:], part))) for part, values in stored.parts.items()}
        steps[key] = _written(stored, made)
    run = _written(parts.stored_runs(shard, [name])[name], {}, erasure)
    of_steps = [row for key, step in steps.items() for row in step_rows(key, step)]
    shard.insert("state", of_steps + list(run_rows(name, run)))
    shard.insert("listed", list(run_list_rows(name, run)))
    # which runs hold what, from what is left
    items = {
        (name[0], row.week, fp, name[1]): row.received_us
        for row in verdict_rows
        for fp in fingerprints_of(row.head, row.data)
    }
    shard.command(
        bind(
            "ALTER TABLE item DELETE WHERE project = ? AND run_id = ? AND fp != ? SETTINGS mutations_sync = 2",
            *name,
            LARGE,
        )
    )
    shard.insert("item", [(*key, received_us) for key, received_us in (items | _kept_items(shard, name)).items()])
    return True


def _kept_items(shard: Shard, name: RunName) -> dict[tuple[str, int, int, str], int]:
    return {
        (name[0], week, fp, name[1]): received_us
        for week, received_us, head, data in shard.rows(
            bind(
                "SELECT week, received_us, head, data FROM verdict WHERE project = ? AND run_id = ? "
                "ORDER BY ver DESC LIMIT 1 BY project, run_id, step_id, attempt, part, chunk",
                *name,
            )
        )
        for fp in fingerprints_of(head, data)
    }


def _chunks(
    shard: Shard, name: RunName, erasure: Erasure
) -> tuple[list[EvidenceRow], dict[tuple[str, int, str], Changed]]:
    """The rows of chunks that change, and what changed in which part of a step attempt."""
    rows: list[EvidenceRow] = []
    changed: dict[tuple[str, int, str], Changed] = {}
    for week, step_id, attempt, part, chunk, ver, received_us, place, head, data in shard.rows(
        bind(
            "SELECT week, step_id, attempt, part, chunk, ver, received_us, place, head, data FROM verdict "
            "WHERE project = ? AND run_id = ? ORDER BY ver DESC LIMIT 1 BY step_id, attempt, part, chunk",
            *name,
        )
    ):
        new_head, new_data, times = erased_chunk(erasure, unpack(head), data, fp40=FP40)
        if times:
            ver = max(ver + 1, _REWRITTEN)
            key = (VERDICT, name[0], week, name[1], step_id, attempt, part, chunk)
            rows.append(EvidenceRow(*key, ver, received_us, place, pack(new_head), new_data))
            named = Counter({(SET_NAMES[code], reason): n for (code, reason), n in times.items()})  # type: ignore[index]
            changed.setdefault((step_id, attempt, part), Counter()).update(named)
    return rows, changed


def _samples(shard: Shard, name: RunName, erasure: Erasure) -> list[EvidenceRow]:
    """The rows of samples that change."""
    rows = []
    for week, step_id, attempt, part, chunk, rev, ver, text in shard.rows(
        bind(
            "SELECT week, step_id, attempt, part, chunk, rev, ver, text FROM sample WHERE project = ? AND run_id = ? "
            "ORDER BY ver DESC LIMIT 1 BY step_id, attempt, part, chunk",
            *name,
        )
    ):
        without = erasure.samples(text)
        if without is not None:
            # of one revision the one that was written anew is the greater
            ver = rev << 64 | max((ver & (1 << 64) - 1) + 1, 1 << 63)
            key = (SAMPLE, name[0], week, name[1], step_id, attempt, part, chunk)
            rows.append(EvidenceRow(*key, ver, text=without))
    return rows


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
