"""Rows 28, 29 and 31 of the fault matrix, and what an accepted write is worth.

Tests http/bodies.py, ingest/committer.py and backends/relational/salvage.py.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.errors import QueueFullError
from xray_server.ingest.committer import Committer
from xray_server.records.schema import RunRecord
from xray_server.store import Batch, Store, StoreUnavailableError

from tests.live import health_of
from tests.server.conftest import LoopbackServer, ServerProcess

GZIP = {"Content-Encoding": "gzip"}


def line(**values: Any) -> str:
    return json.dumps({"v": 1, "kind": "run", "part": "a", "rev": 1, "pipeline": "p", **values})


def memory_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(row.split()[1] for row in status.splitlines() if row.startswith("VmRSS"))) * 1024


def bomb(size_bytes: int) -> bytes:
    """Zeros, a thousandth of their size when compressed."""
    packer, block = zlib.compressobj(9, wbits=31), bytes(1 << 20)
    return b"".join([packer.compress(block) for _ in range(size_bytes >> 20)]) + packer.flush()


def test_what_was_answered_2xx_is_there_after_sigkill(start_server: Callable[..., ServerProcess]) -> None:
    """Row 29: killed while four clients write, twice; every acknowledged run is there, none twice."""
    acknowledged: list[str] = []
    for round_ in range(2):
        server = start_server()
        stop = threading.Event()

        def write(worker: int, url: str = server.url, round_: int = round_, stop: threading.Event = stop) -> None:
            with httpx.Client(base_url=url, timeout=5) as client:
                for i in range(100_000):
                    run_id = f"{round_}-{worker}-{i}"
                    try:
                        answer = client.post("/ingest", content=line(run_id=run_id))
                    except httpx.HTTPError:
                        return
                    if answer.status_code == 200:
                        acknowledged.append(run_id)
                    if stop.is_set():
                        return

        before = len(acknowledged)
        threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 30
        while len(acknowledged) < before + 30 and time.monotonic() < deadline:
            time.sleep(0.005)
        server.kill()
        stop.set()
        for thread in threads:
            thread.join()
        assert len(acknowledged) >= before + 30
    server = start_server()
    with httpx.Client(base_url=server.url, timeout=20) as client:
        found: list[str] = []
        cursor = ""
        while cursor is not None:
            answer = client.get(f"/runs?limit=1000{cursor and '&cursor=' + cursor}").json()
            found += [run["run_id"] for run in answer["runs"]]
            cursor = answer["next_cursor"]
    assert len(found) == len(set(found))
    assert set(acknowledged) <= set(found)
    assert server.terminate() == 0


def test_sigterm_ends_in_order_and_nothing_accepted_is_lost(
    start_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    server = start_server()
    with httpx.Client(base_url=server.url) as client:
        assert (
            client.post("/ingest", content="\n".join(line(run_id=f"r{i}") for i in range(500))).json()["accepted"]
            == 500
        )
    assert server.terminate() == 0
    connection = sqlite3.connect(tmp_path / "xray.db")
    assert connection.execute("SELECT count(*) FROM run").fetchone() == (500,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_the_same_batch_ten_times_and_halves_in_any_order_are_one_state(http: httpx.Client) -> None:
    step = {"v": 1, "kind": "step", "run_id": "r", "step_id": "s", "part": "a", "rev": 1, "pipeline": "p", "name": "f",
            "started_us": 1_760_000_000_000_000, "counts": {"rejected": 5}, "reasons": {"rejected": {"no": 5}}}  # fmt: skip
    lines = [json.dumps(step), line(run_id="r", status="completed", started_us=1_760_000_000_000_000)]
    states = set()
    for body in ["\n".join(lines)] * 10 + [lines[1], lines[0], lines[0]]:
        assert http.post("/ingest", content=body).json()["refused"] == []
        states.add(http.get("/runs/r").text)
    assert len(states) == 1
    assert len(http.get("/steps?reason=no").json()["steps"]) == 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (bomb(200 << 20), GZIP, 413),
        (b"not gzip at all", GZIP, 400),
        (gzip.compress(b"{}" * 1000)[:-20], GZIP, 400),
        (b"{}", {"Content-Encoding": "br"}, 415),
        (b"[" * 200_000, {}, 422),
        (b'{"run_id":"r","pipeline":"p","input":' + b"[" * 500 + b"]" * 500 + b"}", {}, 422),
        (b'{"run_id":"r","pipeline":"p","input":"\xff\xfe"}', {}, 422),
        (b'{"run_id":"r","pipeline":"p","input":"\\ud800"}', {}, 422),
        (b'{"run_id":"r","pipeline":"p","input":1e999}', {}, 422),
        (b"", {}, 422),
    ],
    ids=["bomb", "no gzip", "cut off", "brotli", "deep", "deep value", "no utf-8", "surrogate", "infinite", "empty"],
)
def test_a_hostile_body_is_a_4xx_that_says_why(
    http: httpx.Client, body: bytes, headers: dict[str, str], status: int
) -> None:
    """Row 28. The same bodies to `/ingest` are refused line by line, or as a whole."""
    answer = http.post("/runs", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]
    assert http.post("/ingest", content=body, headers=headers).status_code == (200 if status == 422 else status)


def test_a_streamed_body_of_100_mb_and_a_bomb_leave_memory_flat_and_others_served(
    start_server: Callable[..., ServerProcess],
) -> None:
    """Row 28: refused early; the server's memory stays within what one body may take."""
    server = start_server()

    def stream() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(1 << 20)

    with httpx.Client(base_url=server.url, timeout=20) as client:
        client.get("/health")
        before = memory_bytes(server.process.pid)
        for content, headers in ((stream(), {}), (bomb(300 << 20), GZIP), (bomb(300 << 20), GZIP)):
            try:
                assert client.post("/ingest", content=content, headers=headers).status_code == 413
            except httpx.TransportError:
                pass  # refused while it was still being sent: that is a reset to this client
            assert client.get("/health").status_code == 200
        assert memory_bytes(server.process.pid) - before < 150 << 20


def test_a_client_that_sends_its_body_slowly_is_cut_off_and_others_are_served_meanwhile(store: Store) -> None:
    server = LoopbackServer(store, body_timeout_s=0.5)
    try:
        slow = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        slow.sendall(b"POST /ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        with httpx.Client(base_url=server.url) as client:
            assert client.get("/health").status_code == 200
        assert b" 408 " in slow.recv(4096).split(b"\r\n")[0]
        slow.close()
    finally:
        server.stop()


def test_bodies_of_many_at_once_count_as_they_are_unpacked_until_they_are_decoded(store: Store) -> None:
    """Row 28: a thousandth of their size arrives, and only two are decoded at a time."""
    server = LoopbackServer(store)
    body = gzip.compress(b'{"v":1,"kind":"run","run_id":"r","input":"' + bytes(30 << 20).replace(b"\0", b"x") + b'"}')
    before = memory_bytes(os.getpid())
    most = [before]

    def watch(stop: threading.Event) -> None:
        while not stop.wait(0.005):
            most[0] = max(most[0], memory_bytes(os.getpid()))

    stop = threading.Event()
    watching = threading.Thread(target=watch, args=(stop,))
    watching.start()
    try:
        with httpx.Client(base_url=server.url, timeout=60) as client, ThreadPoolExecutor(40) as threads:
            answers = list(threads.map(lambda _: client.post("/ingest", content=body, headers=GZIP), range(40)))
    finally:
        stop.set()
        watching.join()
        server.stop()
    assert {answer.status_code for answer in answers} <= {200, 429}
    assert most[0] - before < 600 << 20  # 40 of them are 1,200 MiB


def test_a_body_of_too_many_lines_is_to_be_sent_in_pieces(http: httpx.Client) -> None:
    for line_ in (b"x\n", b"\n"):
        answer = http.post("/ingest", content=gzip.compress(line_ * 2_000_000), headers=GZIP)
        assert (answer.status_code, "100000 lines" in answer.json()["error"]) == (413, True)
    assert len(http.post("/ingest", content=b"x\n" * 2_000).json()["refused"]) == 2_000


@pytest.mark.parametrize(
    ("n", "says"), [(900, "0: "), (10_000, "a request has at most 1,000 parameters")], ids=["many", "very many"]
)
def test_many_parameters_are_refused_and_not_each_by_name(http: httpx.Client, n: int, says: str) -> None:
    answer = http.get("/health?" + "&".join(f"{i:x}" for i in range(n)))
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(says)
    assert len(answer.json()["detail"]) <= 100


def test_an_origin_that_is_no_address_is_another_page(http: httpx.Client) -> None:
    assert http.post("/runs", json={"run_id": "r", "pipeline": "p"}, headers={"Origin": "http://["}).status_code == 403


def test_what_a_mark_or_a_decision_may_hold_is_answered_and_never_a_mistake_of_the_server(http: httpx.Client) -> None:
    decision = '{"selected": "a", "score": 1' + "0" * 400 + "}"
    document = f'{{"run_id": "r", "pipeline": "p", "steps": [{{"name": "s", "decisions": [{decision}]}}]}}'
    assert http.post("/runs", content=document).status_code == 200
    answer = http.post("/runs/r/mark", content=b'{"mark": "good", "note": "\xff"}')
    assert (answer.status_code, answer.json()["detail"][0]["field"]) == (422, "body")


def test_a_page_of_another_site_cannot_write(http: httpx.Client) -> None:
    body = {"run_id": "r", "pipeline": "p"}
    assert http.post("/runs", json=body, headers={"Origin": "https://evil.example"}).status_code == 403
    assert http.post("/runs", json=body, headers={"Origin": str(http.base_url).rstrip("/")}).status_code == 200


HOSTILE = [
    "'; DROP TABLE run; --", "%' OR '1'='1", "\x00", "a\x00b", "<img src=x onerror=alert(1)>", "../../etc/passwd",
    "💥" * 50, "\u202eevil", "a/b?c#d", "{{7*7}}", "x" * 256, "%00", "%2F", "null", "\ud83d".encode("utf-8", "replace").decode(),
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_kept_found_and_shown_as_the_text_it_is(http: httpx.Client, text: str) -> None:
    """Row 31: in ids, names, reasons, details and filters."""
    posted = http.post("/runs", json={"run_id": text, "pipeline": text, "metadata": {text: text}, "steps": [
        {"name": text, "step_type": text, "rejection_counts": {text: 1},
         "sampled_rejections": [{"item_id": text, "reason": text, "details": {text: text}}]}]})  # fmt: skip
    assert posted.status_code == 200, posted.text
    (run,) = http.get("/runs", params={"pipeline": text, "q": text[:20]}).json()["runs"]
    assert (run["run_id"], run["metadata"]) == (text, {text: text})
    for name in ("name", "step_type", "pipeline", "reason"):
        assert len(http.get("/steps", params={name: text}).json()["steps"]) == 1, name
    path = "".join(f"%{byte:02X}" for byte in text.encode())
    if text not in ("../../etc/passwd",):
        assert http.get(f"/runs/{path}").json()["steps"][0]["sampled_rejections"][0]["details"] == {text: text}
    page = http.get("/ui").text
    assert "<img" not in page
    assert http.get("/runs", params={"pipeline": "other" + text}).json()["runs"] == []


class StalledStore(SQLiteStore):
    """A disk that does not answer until it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.go = threading.Event()
        self.entered = threading.Event()
        self.groups: list[int] = []

    def write(self, batches: Any) -> list[dict[int, str]]:
        self.entered.set()
        assert self.go.wait(20)
        self.groups.append(len(batches))
        return super().write(batches)


def batch(run_id: str) -> Batch:
    return Batch([RunRecord(v=1, run_id=run_id, part="a", pipeline="p")])


def test_when_the_disk_is_behind_requests_are_turned_away_and_those_taken_are_committed_together(
    tmp_path: Path,
) -> None:
    store = StalledStore(tmp_path / "xray.db")
    committer = Committer(store, max_waiting_batches=5)
    futures: list[Future[dict[int, str]]] = [committer.submit(batch("first"), 10)]
    deadline = time.monotonic() + 10
    while committer.counters().waiting_batches and time.monotonic() < deadline:
        time.sleep(0.001)
    futures += [committer.submit(batch(f"r{i}"), 10) for i in range(5)]
    with pytest.raises(QueueFullError):
        committer.submit(batch("too many"), 10)
    store.go.set()
    assert [future.result(10) for future in futures] == [{}] * 6
    assert store.groups == [1, 5]
    assert committer.counters().turned_away == 1
    assert committer.close()
    with pytest.raises(QueueFullError):
        committer.submit(batch("late"), 1)
    store.close()


def test_a_request_that_was_called_off_takes_no_other_with_it(tmp_path: Path) -> None:
    """As when an end that takes too long cancels what still waits: what was taken is written, and the writer goes on."""
    store = StalledStore(tmp_path / "xray.db")
    committer = Committer(store)
    running = committer.submit(batch("running"), 10)
    assert store.entered.wait(10)
    waiting = committer.submit(batch("called off"), 10)
    other = committer.submit(batch("other"), 10)
    assert not running.cancel()
    assert waiting.cancel()
    store.go.set()
    assert (running.result(10), other.result(10)) == ({}, {})
    assert committer.close()
    assert store.run("default", "called off") is not None
    store.close()


def test_a_store_that_writes_in_groups_waits_for_those_whose_request_was_answered_just_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Grouping(StalledStore):
        gather_s = 30.0

    monkeypatch.setattr("xray_server.ingest.committer.GATHER_SHARE", 1e9)
    store = Grouping(tmp_path / "xray.db")
    committer = Committer(store)
    first = committer.submit(batch("a"), 10)
    assert store.entered.wait(10)
    others = [committer.submit(batch(name), 10) for name in "bc"]
    store.go.set()
    assert first.result(10) == {}
    others.append(committer.submit(batch("d"), 10))
    assert [future.result(10) for future in others] == [{}] * 3
    assert store.groups == [1, 3]
    began = time.monotonic()
    assert committer.close(), "the end is not waited with"
    assert time.monotonic() - began < 20
    store.close()


def test_a_full_queue_is_a_429_with_retry_after(tmp_path: Path) -> None:
    store = StalledStore(tmp_path / "xray.db")
    server = LoopbackServer(store, max_waiting_batches=1)
    try:
        with httpx.Client(base_url=server.url, timeout=20) as client:
            statuses: list[int] = []
            threads = [
                threading.Thread(target=lambda i=i: statuses.append(httpx.post(f"{server.url}/ingest", content=line(run_id=f"r{i}"), timeout=20).status_code))  # type: ignore[misc]
                for i in range(2)
            ]  # fmt: skip
            threads[0].start()
            assert store.entered.wait(10)  # the first is being committed, so the second waits
            threads[1].start()
            deadline = time.monotonic() + 10
            while health_of(client)["ingest"]["waiting_batches"] < 1 and time.monotonic() < deadline:
                time.sleep(0.005)
            answer = client.post("/ingest", content=line(run_id="r9"))
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) >= 1
            store.go.set()
            for thread in threads:
                thread.join()
            assert statuses == [200, 200]
    finally:
        store.go.set()
        server.stop()
        store.close()


def test_a_database_that_another_process_holds_is_a_503_and_nothing_is_lost(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "xray.db", busy_timeout_s=0.05)
    other = sqlite3.connect(tmp_path / "xray.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError):
        store.write([batch("r")])
    other.execute("ROLLBACK")
    other.close()
    assert store.write([batch("r")]) == [{}]
    assert store.run("default", "r") is not None
    store.close()
