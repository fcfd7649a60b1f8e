"""Hourly sums. They are made of what the steps say, never by adding: a step that comes again or changes cannot count twice.

Each process that writes steps of an hour says when it last did (`hour_touched`). Sums hold while these times, added up, are
what they were when the sums were made: each write makes the total greater, whatever the clocks of the processes say. The
background makes sums of hours that are quiet, and of the others they are made as they are asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import uuid4

from xray_core.model import STATUS_RANK
from xray_core.safety import swallow
from xray_server.backends.clickhouse.cluster import Cluster, Group, Shard
from xray_server.backends.clickhouse.rows import HOUR
from xray_server.backends.clickhouse.sql import SCAN, bind
from xray_server.backends.relational.rows import HOUR_US
from xray_server.records.schema import MAX_DURATION_US
from xray_server.store import StoreUnavailableError, TrendPoint

QUIET_US: Final = 60_000_000  # an hour that nobody wrote to for so long is worth adding up for good
_FIGURES: Final = 10  # columns of figures
_COLUMNS: Final = (
    "steps, failed, input, accepted, rejected, not_selected, errored, selected, unaccounted, duration_us, reasons"
)
# The rows as they are now: FINAL is right here, since the key holds all that is tested and the partition follows from it.
_SUMS: Final = f"""
    SELECT toUInt32(intDiv(at_us, {HOUR_US})) AS hour, coalesce(pipeline, '') AS pipeline_name, coalesce(name, '') AS step_name,
        count() AS steps, countIf(status = {STATUS_RANK["failed"]}) AS failed, sum(counted_input) AS input,
        sum(step.accepted) AS accepted, sum(step.rejected) AS rejected, sum(step.not_selected) AS not_selected,
        sum(step.errored) AS errored, sum(step.selected) AS selected, sum(step.unaccounted) AS unaccounted,
        sum(least(coalesce(step.duration_us, 0), {MAX_DURATION_US})) AS duration_us, sumMap(step.reasons) AS reasons
    FROM listed AS step FINAL WHERE TEST AND kind = 1 AND gone = 0 AND known = 1 GROUP BY hour, pipeline_name, step_name
"""  # noqa: S608  # constants


_FINAL_SCAN: Final = f"{SCAN}, do_not_merge_across_partitions_select_final = 1"


def trend(
    cluster: Cluster, project: str, *, pipeline: str | None, name: str | None, since_us: int, until_us: int
) -> list[TrendPoint]:
    """Hourly sums per pipeline and step name, oldest first."""
    first, last = max(0, since_us // HOUR_US), min(-(-until_us // HOUR_US), 1 << 31)
    sums: dict[tuple[int, str, str], list[Any]] = {}
    for rows in cluster.each(
        lambda shard: shard.ask_one(lambda one: _of_shard(one, project, pipeline, name, first, last))
    ):
        for hour, pipeline_name, step_name, *figures, reasons in rows:
            known = sums.setdefault((hour, pipeline_name, step_name), [*[0] * _FIGURES, {}])
            known[:_FIGURES] = [a + b for a, b in zip(known, figures)]
            for reason, n in reasons.items():
                if n:
                    known[-1][reason] = known[-1].get(reason, 0) + n
    return [
        TrendPoint._make((hour * HOUR_US, pipeline_name, step_name, *figures))
        for (hour, pipeline_name, step_name), figures in sorted(sums.items())
    ]


def _of_shard(
    shard: Shard, project: str, pipeline: str | None, name: str | None, first: int, last: int
) -> Sequence[Sequence[Any]]:
    between = bind("project = ? AND hour >= ? AND hour < ?", project, first, last)
    touched: dict[int, int] = {hour: n for _, hour, n, _ in shard.rows(_touched(_hours_test(project, first, last)))}
    words = [(column, word) for column, word in (("pipeline", pipeline), ("name", name)) if word is not None]
    of_words = "".join(bind(f" AND {column} = ?", word) for column, word in words)
    found: list[Sequence[Any]] = []
    found += shard.rows(f"SELECT hour, pipeline, name, {_COLUMNS} FROM hourly_deleted FINAL WHERE {between}{of_words}")  # noqa: S608
    if not touched:
        return found
    made: dict[int, int] = dict(shard.rows(f"SELECT hour, max(touched) FROM hourly WHERE {between} GROUP BY hour"))  # noqa: S608
    good = [(hour, n) for hour, n in touched.items() if made.get(hour) == n]
    if good:
        test = bind("project = ? AND (hour, touched) IN ? AND steps > 0", project, good) + of_words
        found += shard.rows(
            f"SELECT hour, pipeline, name, {_COLUMNS} FROM hourly WHERE {test} LIMIT 1 BY hour, pipeline, name"  # noqa: S608
        )
    others = sorted(touched.keys() - {hour for hour, _ in good})
    for start, end in _stretches(others):
        test = _hours_test(project, start, end)
        test += "".join(bind(f" AND coalesce({column}, '') = ?", word) for column, word in words)
        found += shard.rows(f"{_SUMS.replace('TEST', test)} {_FINAL_SCAN}")
    return found


def _touched(test: str) -> str:
    """The statement for (project, hour, sum of the times of all processes, the last of them) of hours that were written to."""
    return (
        f"SELECT project, toUInt32(intDiv(at_us, {HOUR_US})) AS hour, sum(of_process) AS n, max(of_process) AS last_us FROM ("  # noqa: S608
        f"SELECT project, at_us, max(last_us) AS of_process FROM hour_touched WHERE {test} GROUP BY project, at_us, process"
        ") GROUP BY project, hour"
    )


def touch(command: Callable[[str], None], test: str) -> None:
    """Say that the steps of a test change where nobody writes them: sums of their hours are to be made again."""
    command(
        "INSERT INTO listed (kind, project, at_us, run_id, ver) SELECT DISTINCT "  # noqa: S608  # bound
        f"{HOUR}, project, intDiv(at_us, {HOUR_US}) * {HOUR_US}, '{uuid4()}', toUnixTimestamp64Micro(now64(6)) "
        f"FROM step_list WHERE {test}"
    )


def _hours_test(project: str, start: int, end: int) -> str:
    return bind("project = ? AND at_us >= ? AND at_us < ?", project, start * HOUR_US, end * HOUR_US)


def _stretches(hours: Sequence[int]) -> list[tuple[int, int]]:
    """Hours that follow one another, each from (inclusive) and to (exclusive)."""
    found: list[tuple[int, int]] = []
    for hour in hours:
        if found and found[-1][1] == hour:
            found[-1] = found[-1][0], hour + 1
        else:
            found.append((hour, hour + 1))
    return found


def keep_sums(group: Group, project: str, run_id: str, digest: str, at_us: int) -> None:
    """Keep what a run that is about to be deleted has added to the sums of its hours."""
    columns = f"project, hour, digest, pipeline, name, at_us, {_COLUMNS}"
    values = bind("?, hour, ?, pipeline_name, step_name, ?, ", project, digest, at_us)
    sums = _SUMS.replace("TEST", bind("project = ? AND run_id = ?", project, run_id))
    group.command(f"INSERT INTO hourly_deleted ({columns}) SELECT {values}{_COLUMNS} FROM ({sums})")  # noqa: S608


def add_up(shard: Shard, *, quiet_before_us: int, stop: Callable[[], bool] = lambda: False) -> int:
    """Make the sums of the hours that were not written to since, on one node; how many hours."""
    waiting = shard.rows(
        bind(
            f"SELECT project, hour, t.n FROM ({_touched('1')} HAVING last_us < ?) AS t LEFT ANTI JOIN ("  # noqa: S608
            "SELECT DISTINCT project, hour, touched AS n FROM hourly) AS h "
            "USING (project, hour, n) ORDER BY hour DESC",
            quiet_before_us,
        )
    )
    for done, (project, hour, n) in enumerate(waiting):
        if stop():
            return done
        insert = f"INSERT INTO hourly (project, hour, pipeline, name, touched, {_COLUMNS})"
        select = bind(" SELECT ?, hour, pipeline_name, step_name, ?, ", project, n)
        sums = _SUMS.replace("TEST", _hours_test(project, hour, hour + 1))
        shard.nodes[0].command(f"{insert}{select}{_COLUMNS} FROM ({sums}) {_FINAL_SCAN}")
        if not shard.rows(
            bind("SELECT 1 FROM hourly WHERE project = ? AND hour = ? AND touched = ? LIMIT 1", project, hour, n)
        ):
            # nothing is left of the hour: a row of no steps says that, or it would be added up for ever
            shard.nodes[0].command(bind("INSERT INTO hourly (project, hour, touched) VALUES ?", (project, hour, n)))
    return len(waiting)


class HourKeeper:
    """Adds up hours that are quiet, in the background, now and then. What it does not come to costs time, no answer."""

    def __init__(self, cluster: Cluster, *, every_s: float = 15.0) -> None:
        self._cluster, self._every_s = cluster, every_s
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, where it has not begun."""
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="xray-hours", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(self._every_s):
            for one in [node for shard in self._cluster.shards for node in shard.each_node()]:
                try:
                    add_up(one, quiet_before_us=time.time_ns() // 1000 - QUIET_US, stop=self._closed.is_set)
                except StoreUnavailableError:
                    pass  # away: the next round tries again
                except Exception as error:  # noqa: BLE001  # a mistake here must not end the thread
                    swallow("adding up hours", error)

    def close(self) -> None:
        """Finish what is under way and stop."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(30)
