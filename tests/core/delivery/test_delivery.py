"""Delivery without a network: what the transport is given, and what flush, close and the counters say.

Tests delivery.py and agent.py.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xray_core import settings as settings_module
from xray_core import wire
from xray_core.delivery import Delivery
from xray_core.delivery.agent import watch
from xray_core.transport import Reply, TransportError
from xray_core.transport.memory import MemoryTransport


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., tuple[Delivery, MemoryTransport]]]:
    made: list[Delivery] = []

    def start(*, hooks: dict[str, Any] | None = None, **arguments: Any) -> tuple[Delivery, MemoryTransport]:
        transport = MemoryTransport()
        settings = settings_module.load({"spool_dir": tmp_path / "spool", **arguments}, environ={})
        made.append(Delivery(settings, transport, **(hooks or {})))
        return made[-1], transport

    yield start
    for delivery in made:
        delivery.close(timeout_s=1.0)


def step(name: str) -> bytes:
    return wire.to_payload({"v": 1, "kind": "step", "name": name})


def test_what_is_appended_arrives(make: Callable[..., tuple[Delivery, MemoryTransport]]) -> None:
    delivery, transport = make()
    delivery.put("counts", step("filter"))
    assert delivery.flush(timeout_s=30)
    assert [record["name"] for record in transport.records] == ["filter"]
    assert delivery.confirmed()
    assert delivery.counters["sent"] == 1


def test_verdicts_arrive_packed(make: Callable[..., tuple[Delivery, MemoryTransport]]) -> None:
    from array import array

    delivery, transport = make()
    header = {"v": 1, "kind": "verdicts", "chunk": "0"}
    delivery.put("verdicts", wire.verdicts_payload(header, [wire.RawSet("rejected", "dup", array("Q", [3, 1, 2]))]))
    assert delivery.flush(timeout_s=30)
    [record] = transport.records
    assert record["sets"][0]["n"] == 3
    assert "fp40" in record["sets"][0]


def test_close_sends_what_is_left(make: Callable[..., tuple[Delivery, MemoryTransport]]) -> None:
    delivery, transport = make()
    for n in range(100):
        delivery.put("counts", step(str(n)))
    delivery.close(timeout_s=30)
    assert len(transport.records) == 100
    assert transport.closed


def test_what_is_appended_after_close_waits_for_the_next_process(
    make: Callable[..., tuple[Delivery, MemoryTransport]],
) -> None:
    delivery, _ = make()
    delivery.close()
    delivery.put("counts", step("late"))
    delivery.close()
    other, transport = make()
    assert other.sync() == {"synced": 1, "failed": 0}
    assert [record["name"] for record in transport.records] == ["late"]


def test_sync_tells_its_progress(make: Callable[..., tuple[Delivery, MemoryTransport]]) -> None:
    delivery, _ = make()
    delivery.close()
    for n in range(3):
        delivery.put("counts", step(str(n)))
    delivery.close()
    told: list[tuple[int, int]] = []
    make()[0].sync(lambda done, total: told.append((done, total)))
    assert told[-1] == (3, 3)


def test_the_client_record_carries_the_counters(make: Callable[..., tuple[Delivery, MemoryTransport]]) -> None:
    delivery, transport = make(hooks={"client_record": lambda: {"v": 1, "kind": "client", "part": "p"}})
    delivery.put("counts", b"not a record")
    delivery.put("counts", step("a"))
    assert delivery.flush(timeout_s=30)
    delivery.put("counts", step("b"))
    assert delivery.flush(timeout_s=30)
    told = transport.of_kind("client")
    assert told[-1]["counters"]["quarantined"] == 1
    assert [record["rev"] for record in told] == sorted({record["rev"] for record in told})


def test_open_steps_are_written_down_on_every_tick(make: Callable[..., tuple[Delivery, MemoryTransport]]) -> None:
    import threading

    ticked = threading.Semaphore(0)
    delivery, _ = make(hooks={"on_tick": ticked.release}, snapshot_interval_s=0.05)
    delivery.put("counts", step("a"))
    assert ticked.acquire(timeout=30)
    assert ticked.acquire(timeout=30)


@pytest.mark.swallows
def test_a_failing_tick_does_not_stop_the_next(make: Callable[..., tuple[Delivery, MemoryTransport]]) -> None:
    import threading

    ticked = threading.Semaphore(0)

    def tick() -> None:
        ticked.release()
        raise RuntimeError("broken hook")

    delivery, _ = make(hooks={"on_tick": tick}, snapshot_interval_s=0.05)
    delivery.put("counts", step("a"))
    assert ticked.acquire(timeout=30)
    assert ticked.acquire(timeout=30)


def test_no_thread_and_no_file_before_the_first_record(tmp_path: Path) -> None:
    program = """
import json, os, sys, threading
from xray_core import settings
from xray_core.delivery import Delivery
from xray_core.delivery.agent import watch
from xray_core.transport import Reply, TransportError
from xray_core.transport.http import HttpTransport
chosen = settings.load({"spool_dir": sys.argv[1]}, environ={})
delivery = Delivery(chosen, HttpTransport(chosen.api_url))
print(json.dumps([len(os.listdir("/proc/self/task")), "requests" in sys.modules, os.path.exists(sys.argv[1])]))
"""
    out = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "spool")], capture_output=True, text=True, check=True
    )
    assert json.loads(out.stdout) == [1, False, False]


def test_an_agent_delivers_what_comes_and_stops_when_told(
    make: Callable[..., tuple[Delivery, MemoryTransport]], tmp_path: Path
) -> None:
    left, _ = make()
    left.close()
    transport = MemoryTransport()
    rounds: list[dict[str, int]] = []
    pauses: list[float] = []

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        left.put("counts", step(str(len(pauses))))  # a task that came and went while the agent slept
        left.close()

    settings = settings_module.load({"spool_dir": tmp_path / "spool"}, environ={})
    total = watch(settings, transport=transport, on_round=rounds.append, stop=lambda: len(pauses) == 3, wait=wait)
    assert total == {"synced": 2, "failed": 0}
    assert rounds == [{"synced": 1, "failed": 0}] * 2
    assert [record["name"] for record in transport.records] == ["1", "2"]
    assert pauses == [2.0] * 3


def test_an_agent_slows_down_while_the_server_is_away_and_leaves_records_to_others(
    make: Callable[..., tuple[Delivery, MemoryTransport]], tmp_path: Path
) -> None:
    class Away:
        def send(self, body: bytes, *, timeout_s: float) -> Reply:
            raise TransportError("refused")

        def close(self) -> None:
            pass

    left, _ = make()
    left.close()
    left.put("counts", step("a"))
    left.close()
    pauses: list[float] = []
    other, transport = make()

    def wait(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            assert other.sync() == {"synced": 1, "failed": 0}

    settings = settings_module.load({"spool_dir": tmp_path / "spool"}, environ={})
    watch(settings, transport=Away(), stop=lambda: len(pauses) == 3, wait=wait)
    assert pauses == [4.0, 8.0, 2.0]
    assert [record["name"] for record in transport.records] == ["a"]


def test_what_is_put_after_close_is_sent_by_flush(make: Callable[..., tuple[Delivery, MemoryTransport]]) -> None:
    delivery, transport = make()
    delivery.close()
    delivery.put("counts", step("filter"))
    assert delivery.flush(timeout_s=10)
    assert [record["name"] for record in transport.records] == ["filter"]


@pytest.mark.swallows
def test_a_transport_that_raises_what_it_should_not_or_gives_no_reply_is_as_one_that_is_away(tmp_path: Path) -> None:
    answers: list[Any] = [ValueError("no"), None, "200"]
    asked: list[bytes] = []

    class Odd(MemoryTransport):
        def send(self, body: bytes, *, timeout_s: float) -> Reply:
            asked.append(body)
            answer = answers.pop(0) if answers else Reply(200)
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[no-any-return]  # no reply at all

    delivery = Delivery(settings_module.load({"spool_dir": tmp_path}, environ={}), Odd())
    delivery.put("counts", step("filter"))
    assert delivery.flush(timeout_s=30)
    assert answers == []
    assert len(asked) < 20, "and it is not asked without a pause"
    delivery.close(timeout_s=1)
    assert delivery.confirmed()


@pytest.mark.swallows
def test_a_log_handler_that_raises_does_not_end_the_thread_that_writes_down_what_is_open(tmp_path: Path) -> None:
    ticks: list[float] = []

    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no disk for logs")

    handler = Raising()
    settings = settings_module.load({"spool_dir": tmp_path, "snapshot_interval_s": 0.05}, environ={})
    delivery = Delivery(settings, MemoryTransport(), on_tick=lambda: ticks.append(time.monotonic()))
    logger = logging.getLogger("xray")
    logger.addHandler(handler)
    try:
        delivery.put("counts", step("filter"))
        delivery._spool._losses.notice("something to be said")
        deadline = time.monotonic() + 30
        while len(ticks) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)  # the ticker is another thread: asked again until it ticked, within the deadline
    finally:
        logger.removeHandler(handler)
        delivery.close(timeout_s=1)
    assert len(ticks) >= 5
