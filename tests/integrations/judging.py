"""What the workers of Dask, Ray and Spark judge in tests, with and without X-Ray, and how one of them dies in the middle.

Imported by programs in environments of their own: nothing of pytest or of the server here.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from xray_core import XRay, current_step
from xray_core.xray import living_clients

ITEMS = int(os.environ.get("JUDGED_ITEMS", "1000000"))
CHUNKS = int(os.environ.get("JUDGED_CHUNKS", "40"))
DIES_IN = 7  # a worker dies in the middle of this chunk, the first time
PAIRS = int(os.environ.get("JUDGED_PAIRS", "0"))  # jobs with X-Ray and without, in turn, for what it costs


def of_chunk(chunk: int) -> range:
    size = ITEMS // CHUNKS
    return range(chunk * size, (chunk + 1) * size)


def price_of(item: int) -> int:
    """As dear as a cheap model: about a microsecond."""
    return int.from_bytes(hashlib.blake2b(b"%d" % item, digest_size=4).digest(), "big") % 1_000


def bare(chunk: int) -> int:
    return sum(price_of(item) <= 700 for item in of_chunk(chunk))


def judged(items: Iterable[int]) -> Iterator[int]:
    """Those that are kept; each is accepted or rejected in the current step."""
    step = current_step()
    for item in items:
        price = price_of(item)
        if price > 700:
            step.reject(f"item-{item}", "too_expensive", {"price": price})
        else:
            step.accept(f"item-{item}")
            yield item


def judge(chunk: int) -> int:
    return sum(1 for _ in judged(of_chunk(chunk)))


def judge_and_die_once(chunk: int) -> int:
    """As `judge`; the worker that first judges a certain chunk is killed when half of it has reached the server."""
    items = of_chunk(chunk)
    if chunk != DIES_IN or not first_time("died"):
        return sum(1 for _ in judged(items))
    for _ in judged(items[: len(items) // 2]):
        pass
    die_half_delivered()
    return 0


def first_time(what: str) -> bool:
    """Whether no process has asked this before."""
    try:
        os.close(os.open(Path(os.environ["JUDGED_DIR"]) / what, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def deliver() -> None:
    """Return when the server has what this process said so far."""
    for client in living_clients():
        assert client.flush(30)


def die_half_delivered() -> None:
    """End this process by SIGKILL when the server has what it said so far."""
    deliver()
    os.kill(os.getpid(), signal.SIGKILL)


def leave_word(what: str) -> None:
    """Tell the other processes that this has happened."""
    (Path(os.environ["JUDGED_DIR"]) / what).touch()


def wait_for_word(what: str, timeout_s: float = 60.0) -> None:
    """Return when another process has told that this has happened."""
    deadline = time.monotonic() + timeout_s
    while not (Path(os.environ["JUDGED_DIR"]) / what).exists():
        assert time.monotonic() < deadline, f"nobody said {what}"
        time.sleep(0.02)  # between two looks, up to the deadline


def run_job(xray: XRay, job: Callable[[], Any]) -> dict[str, Any]:
    """One run whose step the job judges in: its ids, and what the job gave."""
    with xray.run() as run, run.step("judge", "filter") as step:
        step.set_input_count(ITEMS)
        kept = job()
    return {"run_id": run.run_id, "step_id": step.step_id, "kept": kept}


def costs(xray: XRay, plain: Callable[[], Any], captured: Callable[[], Any]) -> dict[str, Any]:
    """Medians of jobs without X-Ray and with it, in turn: seconds, and CPU seconds of this process and all below it."""
    import psutil

    def cpu_s() -> float:
        me = psutil.Process()
        total = 0.0
        for process in [me, *me.children(recursive=True)]:
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system
        return total

    def measured(job: Callable[[], Any]) -> tuple[float, float]:
        cpu, began = cpu_s(), time.perf_counter()
        job()
        return time.perf_counter() - began, cpu_s() - cpu

    pairs = [(measured(plain), measured(lambda: run_job(xray, captured))) for _ in range(PAIRS)]
    return {
        "bare_s": statistics.median(each[0][0] for each in pairs),
        "captured_s": statistics.median(each[1][0] for each in pairs),
        "bare_cpu_s": statistics.median(each[0][1] for each in pairs),
        "captured_cpu_s": statistics.median(each[1][1] for each in pairs),
    }


def tell(**found: Any) -> None:
    """The program's last line."""
    print(json.dumps(found), flush=True)
