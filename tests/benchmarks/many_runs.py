"""Questions about many runs, on both stores: 1,000 runs of 20 steps, two groups compared; items of a step; an item over time.

`make bench ONLY=many_runs`. Bars: groups within 1 s, a page of items and of an item's history within 50 ms. With other runs
stored around them: `python -m tests.benchmarks.many_runs --stored 10000000`; with `--db`, a database that is kept, loaded
where it is empty.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

from rich.console import Console
from rich.progress import Progress
from xray_server.backends import open_store
from xray_server.process.serve import spare_the_collector
from xray_server.read import groups, item_history, item_list
from xray_server.records.schema import (
    Record,
    RunRecord,
    Sample,
    SamplesRecord,
    StepRecord,
    VerdictSet,
    VerdictsRecord,
    sample_text,
)
from xray_server.store import Batch, RunFilter, Store

from tests.benchmarks import store as background
from tests.benchmarks.store import COLUMNS
from tests.server import postgresql
from xray_core import verdicts

RUNS, STEPS, ITEMS = 1_000, 20, 40
T0, HOUR_US = 1_760_000_000_000_000, 3_600_000_000


def records(seed: int) -> Iterator[list[Record]]:
    """A run at a time; from the middle on one step rejects twice as much in one country."""
    chance = random.Random(seed)
    for run in range(RUNS):
        run_id, at = f"run-{run:05}", T0 + run * HOUR_US
        made: list[Record] = [
            RunRecord(
                v=1, run_id=run_id, part="a", rev=1, pipeline="p", status="completed", started_us=at, tags={"k": run}
            )
        ]
        for step in range(STEPS):
            samples: list[Sample] = []
            ids: dict[str, list[str]] = {"accepted": [], "rejected": []}
            for item in range(ITEMS):
                country = chance.choice(["DE", "FR", "GB"])
                no = chance.random() < (0.5 if step == 7 and run >= RUNS // 2 and country == "DE" else 0.25)
                outcome = "rejected" if no else "accepted"
                ids[outcome].append(f"i{item}")
                samples.append(Sample(f"i{item}", outcome, "no_slot" if no else None, {"country": country}, weight=1.0))
            counts = {outcome: len(some) for outcome, some in ids.items()}
            made += [
                StepRecord(v=1, run_id=run_id, step_id=f"s{step}", attempt=1, part="a", rev=1, pipeline="p", name=f"step {step}",
                           status="completed", started_us=at + step, ended_us=at + step + 1000, duration_us=900 + chance.randrange(200), counts=counts,
                           reasons={"rejected": {"no_slot": counts["rejected"]}}, code_version="v1",
                           metadata={"model": "v3" if run >= RUNS // 2 else "v2", "limit": 100}),
                VerdictsRecord(1, run_id, f"s{step}", [
                    VerdictSet(outcome, len(some), "no_slot" if outcome == "rejected" else None, some) for outcome, some in ids.items()
                ], 1, "a", "0"),
                SamplesRecord(1, run_id, f"s{step}", sample_text(samples[:20]), 1, "a", "live", 1),
            ]  # fmt: skip
        yield made


def large_step() -> list[Record]:
    """A step of a million items, ten thousand of them by name."""
    named = [f"item-{n}" for n in range(10_000)]
    chunks = [
        VerdictsRecord(1, "large", "s", [VerdictSet("rejected", len(some), "dear", fp40=verdicts.encode(map(verdicts.hash64, some)))],
                       1, "a", str(start))
        for start in range(10_000, 1_000_000, 8_192)
        if (some := [f"item-{n}" for n in range(start, min(start + 8_192, 1_000_000))])
    ]  # fmt: skip
    return [
        RunRecord(v=1, run_id="large", part="a", rev=1, pipeline="large", started_us=T0),
        StepRecord(v=1, run_id="large", step_id="s", attempt=1, part="a", rev=1, name="s", counts={"rejected": 1_000_000},
                   reasons={"rejected": {"dear": 1_000_000}}),
        VerdictsRecord(1, "large", "s", [VerdictSet("rejected", len(named), "dear", named)], 1, "a", "names"),
        *chunks,
    ]  # fmt: skip


def timed(name: str, bar_ms: float, ask: Callable[[], Any]) -> None:
    """The median of some answers and of their CPU time in this process, and whether it is within the bar."""
    ask()
    took, busy = [], []
    for _ in range(5):
        began, cpu = time.perf_counter(), time.process_time()
        ask()
        took.append((time.perf_counter() - began) * 1_000)
        busy.append((time.process_time() - cpu) * 1_000)
    median = statistics.median(took)
    over = "" if median <= bar_ms else f"OVER {bar_ms:g} ms"
    print(f"  {name:52} {median:8.1f} ms  {statistics.median(busy):8.1f} ms of CPU  {over}", flush=True)


def load(store: Store, stored: int) -> None:
    """So many steps of other pipelines, then the runs that are asked about."""
    with Progress(*COLUMNS, console=Console(stderr=True)) as bar:
        background.load(store, background.Data(0, (T0 + RUNS * HOUR_US)), stored, 2, bar)
    batch: list[Record] = []
    for some in records(1):
        batch += some
        if len(batch) > 5_000:
            store.write([Batch(batch, "default", T0 + RUNS * HOUR_US)])
            batch = []
    store.write([Batch(batch, "default", T0 + RUNS * HOUR_US)])
    store.write([Batch(large_step(), "default", T0)])


def ask_all(name: str, store: Store, stored: int) -> None:
    """Load one store where it is empty, and time every question."""
    if not store.run_figures("default", RunFilter(pipeline="large"), limit=1, cursor=None).items:
        load(store, stored)
    middle = T0 + RUNS // 2 * HOUR_US
    a, b = RunFilter(pipeline="p", until_us=middle), RunFilter(pipeline="p", since_us=middle)
    around = f" among {stored:,} other steps" if stored else ""
    print(f"\n{name}, {RUNS:,} runs of {STEPS} steps{around}")
    timed("two groups", 1_000, lambda: groups.compare_groups(store, "default", a, b, ("a", "b")))
    timed(
        "two groups, by country",
        1_000,
        lambda: groups.compare_groups(store, "default", a, b, ("a", "b"), by=["country"]),
    )
    where = item_list.ItemFilter(step="step 7", reason="no_slot")
    timed("a page of a step's items", 50, lambda: item_list.page(store, "default", "run-00500", where, limit=50))
    whole = item_list.ItemFilter(step="s")
    timed(
        "the same, of a step of a million items", 50, lambda: item_list.page(store, "default", "large", whole, limit=50)
    )
    history = item_history.HistoryFilter(outcome="rejected", step="step 7")
    timed(
        "an item over time, 20 runs",
        50,
        lambda: item_history.history(store, "default", "i7", history, limit=20, cursor=None),
    )
    print(groups.compare_groups(store, "default", a, b, ("a", "b"), by=["country"])["sentence"])


def main(argv: Sequence[str] = ()) -> None:
    """Both stores, one after the other, or those that are given."""
    parser = argparse.ArgumentParser(prog="many_runs", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stored", type=int, default=0, metavar="STEPS", help="of other pipelines, stored around")
    parser.add_argument("--db", action="append", help="a database that is kept, loaded where it is empty")
    arguments = parser.parse_args(argv)
    spare_the_collector()  # as `xray serve` does
    with tempfile.TemporaryDirectory() as directory, ExitStack() as opened:
        for url in arguments.db or (f"sqlite:///{directory}/x.db", None):
            if url is None:
                url = opened.enter_context(postgresql.schema(opened.enter_context(postgresql.running())))
            with closing(open_store(url)) as store:
                ask_all(url.partition(":")[0], store, arguments.stored)


if __name__ == "__main__":
    main(sys.argv[1:])
