"""Rows 7 to 11 of the fault matrix: what the server answers, or fails to.

Tests delivery/sender.py and transport/http.py.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest

from tests.e2e.faults.conftest import eventually, step_payload, stored_steps
from tests.e2e.faults.stand_in import StandIn
from tests.server.conftest import LoopbackServer
from xray_core.delivery import Delivery

MakeDelivery = Callable[..., Delivery]


def test_row_07_commit_then_a_broken_connection_makes_no_duplicate_row(server: StandIn, delivery: MakeDelivery) -> None:
    server.plan = deque(["commit_then_break"] * 3)
    one = delivery()
    for n in range(20):
        one.put("counts", step_payload(f"a{n}"))
    assert one.flush(timeout_s=30)
    assert len(server.committed) > 20, "the fault did not happen"
    assert len(server.rows()) == 20


def test_row_07_a_resent_batch_makes_no_duplicate_row_in_the_real_store(
    server: StandIn, real_server: LoopbackServer, delivery: MakeDelivery
) -> None:
    server.plan = deque(["commit_then_break"] * 3)
    one = delivery()
    for n in range(20):
        one.put("counts", step_payload(f"a{n}"))
    assert one.flush(timeout_s=30)
    assert len(server.committed) > 20, "the fault did not happen"
    assert sorted(stored_steps(real_server)) == sorted(f"a{n}" for n in range(20))
    assert one.counters.get("quarantined", 0) == 0


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_row_08_retry_after_is_a_floor(server: StandIn, delivery: MakeDelivery, status: int, form: str) -> None:
    asked_s = 1.0
    value = "1" if form == "seconds" else formatdate(time.time() + 2.0, usegmt=True)  # dates have whole seconds
    server.plan = deque([(status, {"Retry-After": value})])
    one = delivery()
    one.put("counts", step_payload("a"))
    assert one.flush(timeout_s=30)
    assert server.seen[1].at_s - server.seen[0].at_s > asked_s
    assert server.names() == ["a"]


def test_row_09_a_body_too_large_is_split_until_it_fits(server: StandIn, delivery: MakeDelivery) -> None:
    server.max_body_bytes = 700
    one = delivery()
    for n in range(200):
        one.put("counts", step_payload(f"a{n}", metadata={"noise": f"{n * 7919:x}"}))
    assert one.flush(timeout_s=60)
    assert len(server.rows()) == 200
    assert len(server.committed) == 200, "halving sent something twice"


def test_row_09_resets_on_a_large_body_split_it_too(server: StandIn, delivery: MakeDelivery) -> None:
    server.max_body_bytes = 700
    server.too_large = "reset"
    one = delivery()
    for n in range(200):
        one.put("counts", step_payload(f"a{n}", metadata={"noise": f"{n * 7919:x}"}))
    assert one.flush(timeout_s=60)
    assert len(server.rows()) == 200


def test_row_09_one_record_too_large_for_the_server_does_not_stop_the_others(
    server: StandIn, delivery: MakeDelivery
) -> None:
    server.max_body_bytes = 2000
    one = delivery()
    one.put("counts", step_payload("before"))
    one.put("counts", step_payload("huge", metadata={"noise": [hash(n * 0.1) for n in range(5000)]}))
    one.put("counts", step_payload("after"))
    assert one.flush(timeout_s=60)
    assert sorted(server.names()) == ["after", "before"]
    assert one.counters["quarantined"] == 1


def test_row_10_refused_records_are_put_aside_and_the_others_flow(
    server: StandIn, delivery: MakeDelivery, spool_dir: Path
) -> None:
    server.refuse = lambda record: "no such kind" if record.get("name", "").startswith("bad") else None
    one = delivery()
    for n in range(10):
        one.put("counts", step_payload(f"good{n}"))
        one.put("counts", step_payload(f"bad{n}"))
    assert one.flush(timeout_s=30)
    assert sorted(server.names()) == sorted(f"good{n}" for n in range(10))
    assert one.counters["quarantined"] == 10
    kept = [path.read_bytes().split(b"\n")[:2] for path in spool_dir.glob("*/quarantine/*.rec")]
    assert len(kept) == 10
    assert {json.loads(why)["error"] for why, _ in kept} == {"no such kind"}
    assert {json.loads(record)["name"] for _, record in kept} == {f"bad{n}" for n in range(10)}


def test_row_10_the_quarantine_is_bounded(server: StandIn, delivery: MakeDelivery, spool_dir: Path) -> None:
    server.refuse = lambda record: "no"
    one = delivery()
    for n in range(250):
        one.put("counts", step_payload(f"bad{n}"))
    assert one.flush(timeout_s=60)
    assert one.counters["quarantined"] == 250
    assert len(list(spool_dir.glob("*/quarantine/*.rec"))) == 200


@pytest.mark.parametrize("status", [401, 403])
def test_row_11_a_wrong_key_pauses_and_loses_nothing(server: StandIn, delivery: MakeDelivery, status: int) -> None:
    server.otherwise = (status, {})
    one = delivery(api_key="secret-key")
    for n in range(20):
        one.put("counts", step_payload(f"a{n}"))
    eventually(lambda: server.seen)
    assert not one.flush(timeout_s=0.3)
    assert server.seen[0].headers["Authorization"] == "Bearer secret-key"
    server.otherwise = "ok"  # the key was fixed
    assert one.flush(timeout_s=30)
    assert len(server.rows()) == 20
    assert one.counters.get("quarantined", 0) == 0


def test_a_wrong_key_is_not_asked_about_over_and_over(server: StandIn, delivery: MakeDelivery) -> None:
    server.otherwise = (401, {})
    one = delivery()
    one.put("counts", step_payload("a"))
    eventually(lambda: server.seen)
    time.sleep(1.0)  # nothing to wait for: it is the absence of requests that is looked at
    assert len(server.seen) == 1


def test_an_answer_that_is_not_ours_confirms_nothing(server: StandIn, delivery: MakeDelivery) -> None:
    server.otherwise = (200, {"X-Portal": "please log in"})
    one = delivery()
    one.put("counts", step_payload("a"))
    eventually(lambda: server.seen)
    assert not one.confirmed()
    server.otherwise = "ok"
    assert one.flush(timeout_s=30)
    assert server.names() == ["a"]


def test_drop_mode_keeps_nothing_for_a_dead_server_and_counts_it(
    server: StandIn, delivery: MakeDelivery, spool_dir: Path
) -> None:
    server.stop()
    one = delivery(offline_mode="drop")
    for n in range(50):
        one.put("counts", step_payload(f"a{n}"))
    one.flush(timeout_s=0.1)
    eventually(lambda: one.counters.get("dropped_counts") == 50)
    assert not spool_dir.exists()


def test_drop_mode_delivers_while_the_server_is_up(server: StandIn, delivery: MakeDelivery, spool_dir: Path) -> None:
    one = delivery(offline_mode="drop")
    for n in range(50):
        one.put("counts", step_payload(f"a{n}"))
    assert one.flush(timeout_s=30)
    assert len(server.rows()) == 50
    assert not spool_dir.exists()


def test_the_key_is_in_no_file_and_no_log(
    server: StandIn, delivery: MakeDelivery, spool_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    server.plan = deque(["reset", (401, {}), (500, {})])
    one = delivery(api_key="very-secret-key")
    one.put("counts", step_payload("a"))
    assert one.flush(timeout_s=30)
    one.put("counts", step_payload("b"))
    assert "very-secret-key" not in caplog.text
    for path in spool_dir.rglob("*"):
        assert not path.is_file() or b"very-secret-key" not in path.read_bytes()
