"""Writing into one shard of ClickHouse: parts are inserted, then what the lists say of them, from all that is there by then.

There is no transaction over tables or processes. What keeps answers right without one:

- every row has a key and a version, so a group that failed half way is written again and comes to the same;
- the lists are made after the parts, from the parts: a writer looks whether another wrote a part of the same run or step
  meanwhile, and whoever looks last sees all;
- a row of a list is a hint (`lists.py`), and a sum of an hour holds for the count of writes that it was made at (`hours.py`).

Owned by the writer thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from uuid import uuid4

import xxhash

from xray_server.backends.clickhouse import parts
from xray_server.backends.clickhouse.cluster import Shard
from xray_server.backends.clickhouse.delete import forget_runs
from xray_server.backends.clickhouse.erase import erase_from_runs, removed
from xray_server.backends.clickhouse.parts import PART, SUM, RunName, StepName, Stored
from xray_server.backends.clickhouse.rows import (
    KNOWN,
    SAMPLE,
    VER,
    VERDICT,
    EvidenceRow,
    Written,
    fingerprints_of,
    hour_rows,
    run_list_rows,
    run_rows,
    step_list_rows,
    step_rows,
)
from xray_server.backends.clickhouse.sql import bind
from xray_server.backends.relational.deleted import without
from xray_server.backends.relational.erase import erase_from_batch
from xray_server.backends.relational.rows import (
    HOUR_US,
    REV,
    RUN_STARTED_US,
    Folded,
    Parts,
    client_document,
    fold,
    merged,
    place_us,
    run_state,
    verdict_documents,
)
from xray_server.records import states
from xray_server.records.documents import STEP_FIELDS
from xray_server.store import Batch

N = TypeVar("N", RunName, StepName)
WEEK_US: Final = 604_800_000_000
_GENERATION_BITS: Final = 8
_LAST: Final = (1 << 63) - 1
_STEP_STARTED_US: Final = STEP_FIELDS.index("started_us")


class ShardWriter:
    """Turns batches into rows of one shard."""

    def __init__(self, shard: Shard) -> None:
        self._of = shard
        self._shard = shard.group()  # of the write that is under way
        self._projects: dict[str, int] = {}
        self._process, self._last_us = str(uuid4()), 0
        self.rows_an_insert = 0  # of the last one into `state`

    def write(self, batches: Sequence[Batch]) -> None:
        """Write all batches, but for what is of deleted runs. Written again, they come to the same.

        Raises:
            StoreUnavailableError: some of it may be written.
        """
        self._projects.clear()
        self._shard = self._of.group()
        folded = fold(batches, self._number)
        shard, runs, steps = self._shard, *self._names(folded)
        projects = list(self._projects)
        stored_runs, (gone, erased) = shard.together(
            lambda: parts.stored_runs(shard, runs), lambda: removed(shard, runs, projects)
        )
        # a step is written with its run or after it: of runs that are new there is none
        stored_steps = parts.stored_steps(shard, [name for name in steps if name[:2] in stored_runs])
        if gone:
            keys = {(self._projects[project], run_id) for project, run_id in gone}
            folded = fold(without(batches, keys, self._number), self._number)
        held: list[RunName] = []
        if erased:
            given = self._sets_of(folded)
            of = {self._projects[project]: items for project, items in erased.items()}
            erase_from_batch(folded, of, self._place_of)
            held = [(projects[key[0]], key[1]) for key, sets in self._sets_of(folded).items() if given[key] != sets]
        self._write(folded, stored_runs, stored_steps)
        # what was deleted while this was written
        deleted, since = removed(shard, runs, projects)
        if deleted:
            forget_runs(shard, deleted)
        if since != erased:
            erase_from_runs(shard, runs, since)
        elif held:  # what is sent again may have been written before it was deleted, by who then died
            erase_from_runs(shard, held, since)
        shard.close(runs)

    def _names(self, folded: Folded) -> tuple[list[RunName], list[StepName]]:
        names = list(self._projects)
        return (
            [(names[project], run_id) for project, run_id in folded.runs],
            [(names[project], run_id, step_id, attempt) for project, run_id, step_id, attempt in folded.steps],
        )

    def _write(
        self, folded: Folded, stored_runs: Mapping[RunName, Stored], stored_steps: Mapping[StepName, Stored]
    ) -> None:
        run_names, step_names = self._names(folded)
        runs = self._merge(dict(zip(run_names, folded.runs.values())), folded, stored_runs, states.run_part)
        steps = self._merge(dict(zip(step_names, folded.steps.values())), folded, stored_steps, states.step_part)
        for run in runs.values():
            if run.before is None:
                run.now.week = place_us(run.run_state(), run.now.received_us) // WEEK_US
        for key, step in steps.items():
            step.now.week = runs[key[:2]].now.week
        rows = [row for name, run in runs.items() for row in run_rows(name, run)]
        rows += [row for name, step in steps.items() for row in step_rows(name, step)]
        self.rows_an_insert = len(rows)
        self._shard.insert_all({"state": rows, **self._set_rows(folded, runs), "client": self._client_rows(folded)})
        self._meet_others(runs, steps, rows)
        self._insert_lists(runs, steps)

    def _place_of(self, key: tuple[int, str]) -> int | None:
        """When a stored run started, or was first heard of."""
        name = list(self._projects)[key[0]], key[1]
        stored = parts.stored_runs(self._shard, [name]).get(name)
        return None if stored is None else place_us(run_state(stored.parts), stored.received_us)

    @staticmethod
    def _sets_of(folded: Folded) -> dict[tuple[int, str], list[Any]]:
        """What says which items a run holds."""
        sets: dict[tuple[int, str], list[Any]] = {}
        for step, verdicts in folded.verdicts:
            sets.setdefault(step[:2], []).append(verdicts.sets)
        for step, samples in folded.samples:
            sets.setdefault(step[:2], []).append(bytes(samples.samples))
        return sets

    def _number(self, project: str) -> int:
        return self._projects.setdefault(project, len(self._projects))

    def _merge(
        self,
        incoming: Mapping[N, Parts],
        folded: Folded,
        known: Mapping[N, Stored],
        as_part: Any,
    ) -> dict[N, Written]:
        """What is stored of these, and the same with this group's records."""
        written: dict[N, Written] = {}
        for name, given in incoming.items():
            before = known.get(name)
            received_us = folded.received[self._projects[name[0]], name[1]]
            now = (
                Stored(received_us, 0) if before is None else Stored(min(before.received_us, received_us), before.week)
            )
            old = {} if before is None else before.parts
            now.parts, changed = merged(old, given, as_part)
            now.vers = {} if before is None else dict(before.vers)
            for part in changed:
                ver = int(now.parts[part][REV]) << _GENERATION_BITS if part in now.parts else 0
                now.vers[part] = max(ver, now.vers.get(part, -1) + 1)
            # who was not answered sends it again, and of the replicas that X-Ray keeps alike one alone may have it
            again = self._shard.by_itself
            if again:
                changed |= given.keys() & now.parts.keys()
            written[name] = Written(before, now, changed, bool(given), again)
        return written

    def _set_rows(self, folded: Folded, runs: Mapping[RunName, Written]) -> dict[str, list[Any]]:
        """The rows of verdicts, of their items and of samples, by table."""
        names = list(self._projects)
        rows: list[EvidenceRow] = []
        items: dict[tuple[Any, ...], int] = {}
        for place, ((project, run_id, step_id, attempt), each) in enumerate(folded.verdicts):
            name, week = names[project], runs[names[project], run_id].now.week
            received_us = folded.received[project, run_id]
            head, data = verdict_documents(each)
            key = (VERDICT, name, week, run_id, step_id, attempt, each.part, each.chunk)
            rows.append(EvidenceRow(*key, _LAST - received_us, received_us, place, head, data))
            for fingerprint in fingerprints_of(head, data):
                items[name, week, fingerprint, run_id] = received_us
        for (project, run_id, step_id, attempt), record in folded.samples:
            text = bytes(record.samples)
            ver = record.rev << 64 | xxhash.xxh3_64_intdigest(text)
            week = runs[names[project], run_id].now.week
            key = (SAMPLE, names[project], week, run_id, step_id, attempt, record.part, record.chunk)
            rows.append(EvidenceRow(*key, ver, text=text))
        return {"evidence": rows, "item": [(*item, received_us) for item, received_us in items.items()]}

    def _client_rows(self, folded: Folded) -> list[tuple[Any, ...]]:
        names = list(self._projects)
        rows = []
        for project, record, received_us in folded.clients:
            document = client_document(record)
            ver = record.rev << 64 | xxhash.xxh3_64_intdigest(document)
            rows.append((names[project], record.part, ver, received_us, document))
        return rows

    def _meet_others(
        self, runs: dict[RunName, Written], steps: dict[StepName, Written], inserted: Sequence[tuple[Any, ...]]
    ) -> None:
        """Take in the parts that other processes wrote of the same runs and steps since these were read.

        Args:
            inserted: the rows of `state`.
        """
        alone = self._alone([name for name, run in runs.items() if run.before is None], inserted)
        some_runs = {name: run for name, run in runs.items() if name not in alone}
        some_steps = {name: step for name, step in steps.items() if name[:2] not in alone}
        _, met = self._shard.together(
            lambda: self._take_in("run", "project, run_id", some_runs, parts.stored_runs, RUN_STARTED_US),
            lambda: self._take_in(
                "step", "project, run_id, step_id, attempt", some_steps, parts.stored_steps, _STEP_STARTED_US
            ),
        )
        rows = [row for name in met for row in step_rows(name, steps[name]) if row[KNOWN] == SUM]
        self._shard.insert("state", rows)

    def _alone(self, new: Sequence[RunName], rows: Sequence[tuple[Any, ...]]) -> set[RunName]:
        """Those of the runs that were new of which there is nothing but what was inserted: nobody else has begun them."""
        if not new:
            return set()
        inserted: dict[RunName, tuple[int, int]] = {}
        for row in rows:
            n, vers = inserted.get(row[1:4:2], (0, 0))  # project and run id
            inserted[row[1:4:2]] = n + 1, vers + row[VER]
        found = self._shard.rows(
            bind(
                "SELECT project, run_id, count(), sum(ver) FROM state "
                "WHERE kind <= 1 AND (project, run_id) IN ? GROUP BY project, run_id",
                list(new),
            )
        )
        return {(project, run_id) for project, run_id, *of in found if inserted.get((project, run_id)) == tuple(of)}

    def _take_in(
        self,
        table: str,
        columns: str,
        written: dict[N, Written],
        stored: Callable[[Shard, Sequence[N]], dict[N, Stored]],
        started: int,
    ) -> list[N]:
        """The names of those of which others wrote parts; `started` is the place of a part's start among its values."""
        said = [name for name, each in written.items() if each.said]
        if not said:
            return []
        found: dict[Any, dict[str, int]] = {}
        for *name, part, ver in self._shard.rows(
            bind(
                f"SELECT {columns}, part, max(ver) FROM {table} "  # noqa: S608  # constants
                f"WHERE known = {PART} AND ({columns}) IN ? GROUP BY {columns}, part",
                said,
            )
        ):
            found.setdefault(tuple(name), {})[part] = ver
        others = [name for name in said if found.get(name) != written[name].now.vers]
        met = stored(self._shard, others)
        for each, now in met.items():
            ours = written[each].now.vers
            starts = {values[started] for part, values in now.parts.items() if now.vers[part] != ours.get(part)}
            written[each].elsewhere_us = now.heard_us | starts - {None}
            written[each].now = now
        return list(met)

    def _insert_lists(self, runs: Mapping[RunName, Written], steps: Mapping[StepName, Written]) -> None:
        listed = [row for name, run in runs.items() if run.said or run.new for row in run_list_rows(name, run)]
        of_steps = [row for name, step in steps.items() if step.said or step.new for row in step_list_rows(name, step)]
        hours = {(row[1], row[2] // HOUR_US) for row in of_steps}
        self._last_us = max(time.time_ns() // 1000, self._last_us + 1)  # a clock that is put back does not take it back
        self._shard.insert("listed", listed + of_steps + hour_rows(hours, self._process, self._last_us))
