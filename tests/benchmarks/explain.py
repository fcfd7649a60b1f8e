"""Verdicts and answers: a million items through one step; an item across 10,000 runs; two runs of 200 steps compared.

Item sets are made with numpy, since here what is measured is the store and the answers. Figures are medians of repeated
questions on a warm file; the first one is told apart.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.read import why as explain
from xray_server.read.diff import diff
from xray_server.read.item_history import HistoryFilter, history
from xray_server.records.schema import Record, RunRecord, StepRecord, VerdictSet, VerdictsRecord
from xray_server.store import Batch

from tests.live import Live
from xray_core import verdicts

ITEMS = 1_000_000
RUNS, ITEMS_PER_RUN = 10_000, 3_000
STEPS, ITEMS_PER_STEP = 200, 100_000


def main() -> None:
    one_step()
    across_runs()
    two_runs()


def one_step() -> None:
    """A million items through one filter step, in a process of its own: its memory is the client's alone."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        (path / "server").mkdir()
        live = Live(path / "server")
        sent = _wire_bytes(live)
        code = _CHILD.format(url=live.url, spool=str(path / "spool"), items=ITEMS)
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        seconds, flush_s, memory_kib, run_id = float(told[0]), float(told[1]), int(told[2]), told[3]
        wire = sum(sent)
        store = (path / "server" / "xray.db").stat().st_size + (path / "server" / "xray.db-wal").stat().st_size
        live.store._writing.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        kept = (path / "server" / "xray.db").stat().st_size
        print(f"one step, {ITEMS:,} items: {seconds / ITEMS * 1e6:.2f} us an item in the caller's thread")
        print(
            f"  on the wire {wire / ITEMS:.2f} B an item; in the store {kept / ITEMS:.2f} (with its log {store / ITEMS:.2f})"
        )
        print(
            f"  client memory: {memory_kib / 1024:.0f} MiB more than before the step; delivered {flush_s:.1f} s after"
        )
        _timed("  why, one item of it", lambda: explain.why(live.store, "default", run_id, "item-777777"))
        live.stop()


_CHILD = """
import resource, time
from xray_core import XRay
xray = XRay("bench", api_url={url!r}, spool_dir={spool!r})
with xray.run() as warm, warm.step("warm") as step:
    step.reject("a", "b")
xray.flush(30)
ids = ["item-%d" % n for n in range({items})]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.perf_counter()
with xray.run() as run:
    with run.step("filter") as step:
        for n, item in enumerate(ids):
            if n % 10:
                step.reject(item, "price_too_high")
            else:
                step.accept(item)
took = time.perf_counter() - began
began = time.perf_counter()
assert xray.flush(120)
print(took, time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, run.run_id)
xray.close()
"""


def _wire_bytes(live: Live) -> list[int]:
    """Content lengths of what arrives at /ingest, counted by a middleware of the running application."""
    sent: list[int] = []
    app = live.app.middleware_stack or live.app.build_middleware_stack()

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/ingest":
            sent.append(int(dict(scope["headers"]).get(b"content-length", 0)))
        await app(scope, receive, send)

    live.app.middleware_stack = counting
    return sent


def across_runs() -> None:
    """One item in each of 10,000 runs' reach: 30 million verdicts."""
    random_ = np.random.default_rng(1)
    wanted = verdicts.hash64("the-item")
    with tempfile.TemporaryDirectory() as directory:
        store = SQLiteStore(Path(directory) / "x.db")
        began = time.perf_counter()
        for start in range(0, RUNS, 250):
            records: list[Record] = []
            for run in range(start, start + 250):
                hashes = random_.integers(0, 1 << 63, ITEMS_PER_RUN, dtype=np.uint64)
                if run % 400 == 0:
                    hashes[0] = wanted
                records += _run_records(f"run-{run}", run)
                records.append(_step_record(f"run-{run}", "s", "filter", {"rejected": hashes}))
                records.append(_verdicts(f"run-{run}", "s", {"rejected": hashes}))
            store.write([Batch(records)])
        wrote_s = time.perf_counter() - began
        db = store._connect(readonly=True)
        began = time.perf_counter()
        while db.execute("SELECT count(*) FROM item_tail").fetchone()[0] >= 64:
            time.sleep(0.5)
        time.sleep(2)
        store._compactor.close()
        segments, index = db.execute("SELECT count(*), sum(length(data) + length(chunks)) FROM item_segment").fetchone()
        n = RUNS * ITEMS_PER_RUN
        print(
            f"\nacross {RUNS:,} runs, {n / 1e6:.0f} million verdicts: written in {wrote_s:.0f} s, indexed {time.perf_counter() - began:.0f} s after"
        )
        print(f"  {segments} segments, {index / n:.2f} B an item beside {verdicts_bytes(db) / n:.2f} B of verdicts")
        for name, item in (("in 25 runs", "the-item"), ("in none", "nobody")):
            _timed(f"  item {name}", lambda item=item: history(  # type: ignore[misc]
                store, "default", item, HistoryFilter(), limit=20, cursor=None))  # fmt: skip
        store.close()


def two_runs() -> None:
    """200 steps of 100,000 items: equal runs, one step that differs, every step from the 100th on, alike or each otherwise."""
    random_ = np.random.default_rng(2)
    base = random_.integers(0, 1 << 63, ITEMS_PER_STEP, dtype=np.uint64)
    with tempfile.TemporaryDirectory() as directory:
        store = SQLiteStore(Path(directory) / "x.db")
        for name, lost in (("a", lambda n: 0), ("equal", lambda n: 0), ("one", lambda n: 500 * (n == 100)), ("all after", lambda n: 500 * (n >= 100)), ("each otherwise", lambda n: (400 + n) * (n >= 100))):  # fmt: skip
            for record in _run_records(name, 1):
                store.write([Batch([record])])
            for step in range(STEPS):
                cut = 60_000 - lost(step)
                sets = {"accepted": base[:cut], "rejected": base[cut:]}
                records: list[Record] = [_step_record(name, f"{name}-{step}", f"step-{step:03}", sets, step)]
                for outcome, hashes in sets.items():
                    for at in range(0, len(hashes), 1 << 16):
                        records.append(
                            _verdicts(name, f"{name}-{step}", {outcome: hashes[at : at + (1 << 16)]}, f"{outcome}{at}")
                        )
                store.write([Batch(records)])
        store._compactor.close()
        print(f"\ntwo runs of {STEPS} steps of {ITEMS_PER_STEP:,} items each")
        for name in ("equal", "one", "all after", "each otherwise"):
            found = diff(store, "default", "a", name)
            parted = found.parted_at.step if found.parted_at else "nowhere"
            error = "" if found.flipped_exact else f" +- {found.flipped_error:.0f}"
            _timed(
                f"  {name:10} parted at {parted}, {found.flipped_count:,}{error} flipped",
                lambda name=name: diff(store, "default", "a", name),
                5,
            )  # type: ignore[misc]
        store.close()


def verdicts_bytes(db: Any) -> int:
    total: int = db.execute("SELECT sum(length(data) + length(head)) FROM verdict_chunk").fetchone()[0]
    return total


def _timed(what: str, question: Callable[[], object], times: int = 15) -> None:
    took, spent = [], []
    for _ in range(times):
        began, began_cpu = time.perf_counter(), time.thread_time()
        question()
        took.append((time.perf_counter() - began) * 1000)
        spent.append((time.thread_time() - began_cpu) * 1000)
    print(
        f"{what}: {statistics.median(took):.1f} ms (first {took[0]:.1f}, worst {max(took):.1f}; CPU {statistics.median(spent):.1f})",
        flush=True,
    )


def _run_records(run_id: str, at: int) -> list[Record]:
    started = 1_760_000_000_000_000 + at * 1_000_000
    return [RunRecord(1, run_id, "p", 1, "bench", "completed", started, started + 500_000, 500_000)]


def _step_record(run_id: str, step_id: str, name: str, sets: dict[str, Any], index: int = 0) -> StepRecord:
    sums = {outcome: {"": f"{int(hashes.sum(dtype=np.uint64)):016x}"} for outcome, hashes in sets.items()}
    counts = {outcome: len(hashes) for outcome, hashes in sets.items()}
    return StepRecord(
        v=1, run_id=run_id, step_id=step_id, attempt=1, part="p", rev=1, pipeline="bench", name=name, status="completed",
        started_us=1_760_000_000_000_000 + index, duration_us=10, index=index, capture="sample",
        counts=counts, reasons={outcome: {"": n} for outcome, n in counts.items()}, sums=sums,  # type: ignore[arg-type]
    )  # fmt: skip


def _verdicts(run_id: str, step_id: str, sets: dict[str, Any], chunk: str = "1") -> VerdictsRecord:
    return VerdictsRecord(
        v=1, run_id=run_id, step_id=step_id, attempt=1, part="p", chunk=chunk,
        sets=[VerdictSet(outcome=outcome, n=len(hashes), fp40=_fp40(hashes)) for outcome, hashes in sets.items()],  # type: ignore[arg-type]
    )  # fmt: skip


def _fp40(hashes: Any) -> bytes:
    """As `verdicts.encode`, by numpy."""
    values = np.sort(hashes & np.uint64(verdicts.MASK))
    if len(values) < 4096:
        return b"\x01" + values.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 3:].tobytes()
    offsets = np.searchsorted(values, np.arange(257, dtype=np.uint64) << np.uint64(32)).astype("<u4")
    return b"\x02" + offsets.tobytes() + (values & np.uint64(0xFFFF_FFFF)).astype("<u4").tobytes()


if __name__ == "__main__":
    main()
