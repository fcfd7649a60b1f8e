"""Where no thread can be started (a subinterpreter, a limit of the system's), `flush` and `close` send in the caller's.

Tests delivery.py.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from xray_core import native
from xray_core import settings as settings_module
from xray_core.delivery import Delivery
from xray_core.transport import Reply, TransportError
from xray_core.transport.memory import MemoryTransport


def refuse(*_: object) -> int:
    raise RuntimeError("can't start new thread")


@pytest.mark.swallows
@pytest.mark.parametrize("by", ["flush", "close"])
def test_what_was_put_is_sent_by_flush_and_by_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    monkeypatch.setattr(native, "start_thread", refuse)
    transport = MemoryTransport()
    delivery = Delivery(settings_module.load({"spool_dir": tmp_path}, environ={}), transport)
    delivery.put("counts", b'{"v":1,"kind":"step","name":"filter"}')
    delivery.put("counts", b'{"v":1,"kind":"step","name":"rank"}')
    assert transport.records == []
    if by == "flush":
        assert delivery.flush(timeout_s=10)
    delivery.close(timeout_s=10)
    assert [record["name"] for record in transport.records if record["kind"] == "step"] == ["filter", "rank"]
    assert delivery.confirmed()


class Away(MemoryTransport):
    def send(self, body: bytes, *, timeout_s: float) -> Reply:
        raise TransportError("nobody listens")


@pytest.mark.swallows
def test_flush_ends_in_time_though_the_server_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "start_thread", refuse)
    delivery = Delivery(settings_module.load({"spool_dir": tmp_path}, environ={}), Away())
    delivery.put("counts", b'{"v":1,"kind":"step","name":"filter"}')
    assert not delivery.flush(timeout_s=0.2)
    delivery.close(timeout_s=0.2)


IN_A_SUBINTERPRETER = """
import sys
sys.path[:0] = {path!r}
try:
    from xray_core import XRay
    from xray_core.transport.memory import MemoryTransport
except ImportError as error:
    print("refused:", error)
else:
    transport = MemoryTransport()
    xray = XRay("orders", transport=transport, spool_dir={spool!r})
    with xray.run() as run, run.step("filter") as step:
        step.reject("o-1", "late")
    xray.close(10)
    print("delivered:", len(transport.of_kind("verdicts")))
"""


def test_a_subinterpreter_delivers_or_refuses_the_import_in_one_line(tmp_path: Path) -> None:
    """From Python 3.12 on an isolated one does not load msgspec."""
    code = IN_A_SUBINTERPRETER.format(path=[path for path in sys.path if path], spool=str(tmp_path))
    program = textwrap.dedent(
        f"""
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        interpreters.run_string(interpreters.create(), {code!r})
        """
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    expected = "delivered: 1" if sys.version_info < (3, 12) else "refused:"
    assert expected in ran.stdout, ran.stderr


@pytest.mark.swallows
def test_where_one_of_two_threads_can_be_started_it_is_started_once_and_delivers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    start_thread = native.start_thread

    def sender_alone(function: Any, arguments: tuple[()]) -> int:
        if function.__name__ == "_run_ticker":
            raise RuntimeError("can't start new thread")
        started.append(function)
        return start_thread(function, arguments)

    monkeypatch.setattr(native, "start_thread", sender_alone)
    transport = MemoryTransport()
    delivery = Delivery(settings_module.load({"spool_dir": tmp_path}, environ={}), transport)
    for _ in range(3):
        delivery._start_again_at = 0.0  # as five seconds later
        delivery.put("counts", b'{"v":1,"kind":"step","name":"filter"}')
    assert delivery.flush(timeout_s=10)
    delivery.close(timeout_s=10)
    assert len(started) == 1
    assert len(transport.records) == 3
