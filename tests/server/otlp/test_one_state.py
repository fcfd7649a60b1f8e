"""Spans in any order, resent, late, split over requests, encodings and restarts of the server: one state.

Tests otlp/echo.py and nested.py.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from xray_server.backends import open_store
from xray_server.otlp import receive
from xray_server.store import Batch

from tests.server import postgresql
from tests.server.conftest import LoopbackServer
from tests.server.otlp import spans
from tests.server.otlp.applications import APPLICATIONS

FUSION = spans.request(
    spans.retriever(1, "words", "abx", scores=[0.9, 0.8, 0.1], parent=3, at_ms=2),
    spans.retriever(2, "vectors", "bcd", scores=[0.7, 0.6, 0.5], parent=3, at_ms=3),
    spans.retriever(3, "fusion", "bd", scores=[0.7, 0.5], parent=4, at_ms=1),
    spans.retriever(4, "outermost", "d", scores=[0.5]),
    spans.span(
        5, "late and failed", parent=4, at_ms=7, more={"status": {"code": 2, "message": "no"}}, session__id="s1"
    ),
)
BODIES = {each.name: spans.recorded(each.name) for each in APPLICATIONS} | {"fusion": FUSION}
NOT_OF_THE_RUN = ("first_seen_at",)


def state_of(http: httpx.Client, run_id: str) -> Any:
    """All that can be asked of a run."""
    run = http.get(f"/runs/{run_id}", params={"samples": 1000}).raise_for_status().json()
    items = sorted({each["item_id"] for step in run["steps"] for each in step["acceptances"]} | set("abcdxz"))
    for name in NOT_OF_THE_RUN:
        run.pop(name, None)
    run["steps"].sort(key=lambda step: step["step_id"])
    whys = {item: http.get(f"/runs/{run_id}/items/{item}").raise_for_status().json() for item in items}
    across = {item: http.get(f"/items/{item}").raise_for_status().json()["runs"] for item in items}
    return run, whys, [[each["steps"] for each in runs] for runs in across.values()]


def sent(directory: Path, requests: list[Any], run_id: str, *, restart_after: int | None = None) -> Any:
    """The state after these (body, encoding) were sent, one after the other."""
    directory.mkdir()
    address = f"sqlite:///{directory}/xray.db"
    state: Any = None
    batches = [requests] if restart_after is None else [requests[:restart_after], requests[restart_after:]]
    for place, batch in enumerate(batches):
        store = open_store(address)
        server = LoopbackServer(store)
        try:
            with httpx.Client(base_url=server.url, timeout=20) as http:
                for body, encoding in batch:
                    spans.send(http, body, encoding=encoding, zipped=encoding == "protobuf")
                state = state_of(http, run_id) if place == len(batches) - 1 else None
        finally:
            server.stop()
            store.close()
    return state


@pytest.mark.parametrize("name", BODIES)
def test_a_trace_comes_to_the_same_state_however_its_spans_arrive(name: str, tmp_path: Path) -> None:
    body = BODIES[name]
    run_id = spans.trace_id_of(body)
    whole = sent(tmp_path / "whole", [(body, "json")], run_id)
    single = spans.pieces(body)
    for seed in range(2):
        chance = random.Random(seed)
        requests: list[Any] = [
            (each, chance.choice(["json", "protobuf"])) for each in single + chance.sample(single, 2)
        ]
        chance.shuffle(requests)
        requests.append((chance.choice([*single, body]), "json"))
        split = sent(tmp_path / f"split-{seed}", requests, run_id, restart_after=chance.randrange(1, len(requests)))
        assert split == whole


def test_two_processes_that_each_get_one_span_of_a_pair_come_to_the_same_state(tmp_path: Path) -> None:
    """Each has its own store object and its own committer on one file, as `--workers` has."""
    whole = sent(tmp_path / "whole", [(FUSION, "json")], f"{1:032x}")
    address = f"sqlite:///{tmp_path}/shared.db"
    stores = [open_store(address) for _ in range(2)]
    servers = [LoopbackServer(store) for store in stores]
    clients = [httpx.Client(base_url=server.url, timeout=20) for server in servers]
    try:
        for place, each in enumerate(spans.pieces(FUSION)):
            spans.send(clients[place % 2], each)
        assert state_of(clients[0], f"{1:032x}") == whole
    finally:
        for client, server, store in zip(clients, servers, stores):
            client.close()
            server.stop()
            store.close()


def test_a_server_that_dies_before_it_derived_is_put_right_by_the_senders_repeat(tmp_path: Path) -> None:
    """The spans are committed, the sender has no answer: what a kill between the two commits leaves."""
    run_id = f"{1:032x}"
    whole = sent(tmp_path / "whole", [(FUSION, "json")], run_id)
    store = open_store(f"sqlite:///{tmp_path}/xray.db")
    decoded = receive.decode(json.dumps(FUSION).encode(), receive.JSON)
    store.write([Batch(decoded.records, "default", time.time_ns() // 1000)])
    server = LoopbackServer(store)
    try:
        with httpx.Client(base_url=server.url, timeout=20) as http:
            assert state_of(http, run_id) != whole
            spans.send(http, FUSION)
            assert state_of(http, run_id) == whole
    finally:
        server.stop()
        store.close()


def test_a_trace_in_postgresql_comes_to_the_state_that_it_has_in_sqlite(postgres_url: str, tmp_path: Path) -> None:
    run_id = f"{1:032x}"
    whole = sent(tmp_path / "whole", [(FUSION, "json")], run_id)
    with postgresql.schema(postgres_url) as url:
        store = open_store(url)
        server = LoopbackServer(store)
        try:
            with httpx.Client(base_url=server.url, timeout=20) as http:
                for each in reversed(spans.pieces(FUSION)):
                    spans.send(http, each)
                assert state_of(http, run_id) == whole
        finally:
            server.stop()
            store.close()
