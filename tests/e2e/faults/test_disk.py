"""Rows 17 to 20, 22 and 23 of the fault matrix: disks that are full, missing, slow, damaged, or lose power."""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.faults.conftest import eventually, finish, step_payload
from tests.e2e.faults.stand_in import StandIn
from tests.missing import missing
from xray_core.delivery import Delivery
from xray_core.spool import Disk, Spool, spool_report
from xray_core.wire import STREAMS, Stream

Start = Callable[..., subprocess.Popen[str]]
MakeDelivery = Callable[..., Delivery]


def drain(spool: Spool) -> list[bytes]:
    """Take and acknowledge everything, as a sender does."""
    payloads: list[bytes] = []
    while taken := spool.take(max_bytes=1 << 20, max_records=1000):
        for entry in taken:
            found = [payload for _, payload in entry.items if payload is not None]
            payloads += found
            spool.acknowledge(entry.segment, entry.items[-1][0], records=len(found))
        spool.give_back(taken)
    return payloads


FILL = """
    for n in range(600):
        delivery.put("counts", step(f"a{n}", metadata={"noise": "x" * 1000}))
    delivery.close(timeout_s=0)
    print(delivery.counters.get("dropped_counts", 0), delivery.counters.get("degraded", 0))
"""


def test_row_17_a_file_size_limit_keeps_what_was_written_and_counts_the_rest(
    server: StandIn, program: Start, delivery: MakeDelivery
) -> None:
    server.stop()
    out = finish(
        program(
            """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    delivery = make()
"""
            + FILL
        )
    )
    dropped, degraded = map(int, out.split())
    assert degraded >= 1
    server.start()
    synced = delivery().sync()["synced"]
    assert synced >= 150, "what was written before the limit stays readable"
    assert synced + dropped == 600


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 kB, where mounting one is allowed."""
    mount_point = tmp_path / "disk"
    mount_point.mkdir()
    mounted = os.geteuid() == 0 and (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(mount_point)], capture_output=True)
    )
    if not mounted or mounted.returncode:
        if os.environ.get("XRAY_TEST_NO_MOUNT") == "1":
            pytest.skip("XRAY_TEST_NO_MOUNT is set: whoever runs the tests said that no disk may be mounted here")
        missing("the right to mount a small disk: run as root with CAP_SYS_ADMIN, or set XRAY_TEST_NO_MOUNT=1")
    yield mount_point
    subprocess.run(["umount", "-l", str(mount_point)], check=True)


def test_row_17_a_full_disk_keeps_what_was_written_and_counts_the_rest(
    server: StandIn, program: Start, delivery: MakeDelivery, small_disk: Path
) -> None:
    server.stop()
    out = finish(program("    delivery = make()\n" + FILL, XRAY_SPOOL_DIR=str(small_disk / "spool")))
    dropped, degraded = map(int, out.split())
    assert degraded >= 1
    server.start()
    synced = delivery(spool_dir=small_disk / "spool").sync()["synced"]
    assert synced >= 150
    assert synced + dropped == 600


def test_row_17_a_disk_that_was_full_is_used_again_when_there_is_room(
    server: StandIn, delivery: MakeDelivery, small_disk: Path
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 250_000)
    server.stop()
    one = delivery(spool_dir=small_disk / "spool", snapshot_interval_s=0.05)
    for n in range(100):
        one.put("counts", step_payload(f"a{n}", metadata={"noise": "x" * 1000}))
    assert one.counters["degraded"] == 1
    filler.unlink()

    def on_disk() -> int:
        return spool_report(one._settings).records

    eventually(lambda: on_disk() == 100, within_s=30)
    server.start()
    assert one.flush(timeout_s=30)
    assert len(server.rows()) == 100


@pytest.mark.parametrize("place", ["a file in the way", "a read-only file system"])
def test_row_18_no_directory_means_memory_and_one_warning(
    server: StandIn, program: Start, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("")
    spool = tmp_path / "file" / "spool" if place == "a file in the way" else Path("/proc/xray-spool")
    process = program(
        """
        import logging
        logging.basicConfig(format="%(levelname)s %(message)s")
        delivery = make()
        for n in range(100):
            delivery.put("counts", step(f"a{n}"))
        time.sleep(0.3)
        for n in range(100, 200):
            delivery.put("counts", step(f"a{n}"))
        assert delivery.flush(20)
        delivery.close()
        print(delivery.counters["degraded"])
    """,
        XRAY_SPOOL_DIR=str(spool),
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert len(server.rows()) == 200
    assert int(out) == 1
    assert err.count("WARNING X-Ray") == 1, err
    assert str(spool) in err


def test_row_18_memory_is_bounded_and_what_it_drops_is_counted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spool = Spool(tmp_path / "file" / "spool", memory_bytes=100_000)
    for _ in range(500):
        for stream in STREAMS:
            spool.put(stream, b"x" * 984)  # 996 with its frame
    kept = dict.fromkeys(STREAMS, 0)
    total_bytes = 0
    while taken := spool.take(max_bytes=1 << 20, max_records=10_000):
        for entry in taken:
            kept[entry.segment.stream] += len(entry.items)
            total_bytes += sum(len(payload or b"") for _, payload in entry.items)
            spool.acknowledge(entry.segment, entry.items[-1][0], records=len(entry.items))
        spool.give_back(taken)
    assert total_bytes <= 100_000
    assert {stream: spool.counters.get(f"dropped_{stream}", 0) + kept[stream] for stream in STREAMS} == dict.fromkeys(
        STREAMS, 500
    )
    assert kept["counts"] == 100
    assert kept["details"] == kept["verdicts"] == 0, "counts are the last to go"


class SlowDisk(Disk):
    """Every write takes a tenth of a second while `slow`."""

    def __init__(self) -> None:
        self.slow = True

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:  # type: ignore[override]
        if self.slow:
            time.sleep(0.1)
        return os.pwrite(fd, data, offset)


def test_row_19_a_slow_disk_trips_and_the_caller_stays_fast(tmp_path: Path) -> None:
    disk = SlowDisk()
    spool = Spool(tmp_path / "spool", disk=disk)
    payloads = [b'{"n":%d}' % n for n in range(300)]
    took_s = []
    for payload in payloads[:200]:
        started = time.perf_counter()
        spool.put("counts", payload)
        took_s.append(time.perf_counter() - started)
    # A busy machine may stop us for longer than that now and then; a write to this disk takes 0.1 s every time.
    assert sum(s >= 0.05 for s in took_s) < 20
    assert sorted(took_s)[150] < 0.05
    assert spool.counters["degraded"] >= 1
    assert "slow" in " ".join(spool.notices())
    spool.maintain()  # the background thread writes down what waits in memory
    on_disk = b"".join(path.read_bytes() for path in (tmp_path / "spool").glob("*.seg"))
    assert all(payload in on_disk for payload in payloads[:200])
    disk.slow = False
    spool.maintain()
    for payload in payloads[200:]:
        spool.put("counts", payload)
    on_disk = b"".join(path.read_bytes() for path in (tmp_path / "spool").glob("*.seg"))
    assert all(payload in on_disk for payload in payloads), "fast again, and write-through again"
    assert sorted(drain(spool)) == sorted(payloads)
    spool.close()


class HangingDisk(Disk):
    """The second write hangs until it is told not to."""

    def __init__(self) -> None:
        import threading

        self.writes = 0
        self.hangs = threading.Event()
        self.let_go = threading.Event()

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:  # type: ignore[override]
        self.writes += 1
        if self.writes == 3:
            self.hangs.set()
            self.let_go.wait(30)
        return os.pwrite(fd, data, offset)


def test_row_19_a_writer_that_hangs_in_the_disk_does_not_hang_the_others(tmp_path: Path) -> None:
    import threading

    disk = HangingDisk()
    spool = Spool(tmp_path / "spool", disk=disk)
    spool.put("counts", b"first")
    hanging = threading.Thread(target=spool.put, args=("counts", b"hanging"))
    hanging.start()
    assert disk.hangs.wait(30)
    spool.put("counts", b"waits once, then goes around")
    started = time.perf_counter()
    for n in range(100):
        spool.put("counts", b"%d" % n)
    assert time.perf_counter() - started < 100 * 0.05
    disk.let_go.set()
    hanging.join()
    assert len(drain(spool)) == 103
    spool.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), flips=st.integers(0, 12), cut=st.booleans())
def test_row_20_damage_costs_the_damaged_records_and_no_others(seed: int, flips: int, cut: bool) -> None:
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        spool = Spool(Path(place) / "spool")
        payloads = [b'{"n":%d,"x":"%s"}' % (n, b"y" * dice.randrange(200)) for n in range(50)]
        for payload in payloads:
            spool.put("counts", payload)
        spool.close()
        [path] = (Path(place) / "spool").glob("*.seg")
        original = path.read_bytes()
        damaged = bytearray(original)
        for _ in range(flips):
            damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
        if cut:
            del damaged[dice.randrange(16, len(damaged)) :]
        path.write_bytes(damaged)
        intact, at = [], 16
        for payload in payloads:
            end = at + 12 + len(payload)
            if bytes(damaged[at:end]) == original[at:end]:
                intact.append(payload)
            at = end
        adopter = Spool(Path(place) / "spool")
        adopter.adopt()
        assert drain(adopter) == intact
        adopter.close()


def test_row_20_garbage_is_no_reason_to_raise(tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    directory.mkdir()
    (directory / "counts-00000000000000000000000000000000.seg").write_bytes(b"")
    (directory / "counts-00000000000000000000000000000001.seg").write_bytes(os.urandom(5000))
    (directory / "verdicts-0000.seg.new").write_bytes(b"XRAY")
    (directory / "something else").write_bytes(b"not ours")
    spool = Spool(directory)
    spool.adopt()
    assert drain(spool) == []
    spool.close()
    assert {path.name for path in directory.iterdir()} <= {"something else", "server"}


def test_row_20_damaged_bytes_are_counted_and_the_rest_delivered(
    server: StandIn, delivery: MakeDelivery, spool_dir: Path
) -> None:
    left = delivery()
    left.close()
    for n in range(20):
        left.put("counts", step_payload(f"a{n}"))
    left.close()
    [path] = spool_dir.glob("*/*.seg")
    path.write_bytes(path.read_bytes().replace(b'"a7"', b'"a!"'))
    one = delivery()
    assert one.sync()["synced"] == 19
    assert one.counters["damaged"] == 1
    assert {row["name"] for row in server.rows().values()} == {f"a{n}" for n in range(20)} - {"a7"}


def appended_and_kept(spool: Spool, plan: list[tuple[Stream, int]]) -> tuple[dict[Stream, int], dict[Stream, int]]:
    appended: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
    for stream, size in plan:
        spool.put(stream, b"x" * size)
        appended[stream] += 1
    kept: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
    while taken := spool.take(max_bytes=1 << 20, max_records=10_000):
        for entry in taken:
            kept[entry.segment.stream] += len(entry.items)
            spool.acknowledge(entry.segment, entry.items[-1][0], records=len(entry.items))
        spool.give_back(taken)
    return appended, kept


def test_row_22_at_the_cap_details_go_first_then_verdicts_and_every_drop_is_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", max_bytes=1 << 20)
    plan: list[tuple[Stream, int]] = [("details", 2000)] * 600 + [("verdicts", 4000)] * 200 + [("counts", 1000)] * 400
    appended, kept = appended_and_kept(spool, plan)
    dropped = {stream: spool.counters.get(f"dropped_{stream}", 0) for stream in STREAMS}
    assert {stream: kept[stream] + dropped[stream] for stream in STREAMS} == appended
    assert dropped["counts"] == 0
    assert dropped["details"] > 0
    assert kept["verdicts"] > kept["details"]
    spool.close()


def test_row_22_counts_are_the_last_to_go_and_the_files_stay_below_the_cap(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", max_bytes=1 << 20)
    for stream in ("details", "verdicts"):
        for _ in range(300):
            spool.put(stream, b"x" * 4000)
    for n in range(2000):
        spool.put("counts", b"x" * 1000)
        if n % 100 == 0:
            assert sum(path.stat().st_size for path in (tmp_path / "spool").glob("*.seg")) <= (1 << 20) + 4096
    assert spool.counters["dropped_details"] == 300
    assert spool.counters["dropped_verdicts"] == 300
    assert spool.counters["dropped_counts"] == 2000 - spool.waiting()
    assert spool.waiting() > 950, "nearly the whole cap is the counts' now"
    spool.close()


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(STREAMS), st.integers(10, 60_000)),
        min_size=20,
        max_size=120,
    )
)
def test_row_22_kept_plus_dropped_is_what_was_appended(plan: list[tuple[Stream, int]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        spool = Spool(Path(place) / "spool", max_bytes=1 << 20)
        appended, kept = appended_and_kept(spool, plan)
        dropped = {stream: spool.counters.get(f"dropped_{stream}", 0) for stream in STREAMS}
        assert {stream: kept[stream] + dropped[stream] for stream in STREAMS} == appended
        spool.close()


def test_row_22_drops_reach_the_server_and_the_hook(server: StandIn, delivery: MakeDelivery) -> None:
    server.otherwise = (503, {})
    reported: dict[str, int] = {}
    one = delivery(
        hooks={
            "client_record": lambda: {"v": 1, "kind": "client", "part": "p"},
            "on_dropped": lambda n, reason: reported.__setitem__(reason, reported.get(reason, 0) + n),
        },
        spool_max_bytes=1 << 20,
        snapshot_interval_s=0.05,
    )
    for _ in range(60):
        one.put("details", step_payload("d", metadata={"noise": "x" * 50_000}))
    dropped = one.counters["dropped_details"]
    assert dropped > 30
    eventually(lambda: reported.get("dropped_details") == dropped)
    shown = eventually(lambda: [each.dropped for each in spool_report(one._settings).waiting if each.dropped])
    assert 0 < shown[0]["dropped_details"] <= dropped, "xray doctor knows, while the server does not"
    server.otherwise = "ok"
    assert one.flush(timeout_s=30)
    newest = max(server.of_kind("client"), key=lambda record: record["rev"])
    assert newest["counters"]["dropped_details"] == dropped


def test_row_22_memory_stays_flat_while_a_dead_server_and_a_full_spool_go_on(
    server: StandIn, delivery: MakeDelivery
) -> None:
    import tracemalloc

    server.stop()
    one = delivery(spool_max_bytes=1 << 20, snapshot_interval_s=0.05)
    payload = step_payload("a", metadata={"noise": "x" * 500})

    def capture(records: int) -> None:
        for _ in range(records):
            for stream in STREAMS:
                one.put(stream, payload)

    tracemalloc.start()
    try:
        capture(3_000)  # past the cap
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        capture(12_000)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(n for name, n in one.counters.items() if name.startswith("dropped_")) > 30_000
    assert after - before < 1 << 20
    assert peak - before < 8 << 20


class PowerCut(Disk):
    """Remembers what would be left if the power went now: names and bytes that were synced."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names: set[str] = set()
        self.bytes: dict[int, bytes] = {}

    def sync(self, fd: int) -> None:  # type: ignore[override]
        os.fdatasync(fd)
        self.bytes[os.fstat(fd).st_ino] = os.pread(fd, os.fstat(fd).st_size, 0)

    def sync_directory(self, directory: Path) -> None:
        super().sync_directory(directory)
        self.names = set(os.listdir(directory))

    def after(self, place: Path) -> Path:
        """A directory as the machine finds it when the power is back."""
        left = place / "after"
        left.mkdir()
        for name in self.names:
            path = self.directory / name
            (left / name).write_bytes(self.bytes.get(path.stat().st_ino, b""))
        return left


def test_row_23_a_power_cut_costs_at_most_what_was_appended_since_the_last_second(tmp_path: Path) -> None:
    disk = PowerCut(tmp_path / "spool")
    spool = Spool(tmp_path / "spool", disk=disk)
    for n in range(100):
        spool.put("counts", b"old %d" % n)
    spool.maintain()  # once a second, from the ticker
    for n in range(10):
        spool.put("counts", b"new %d" % n)
    survivor = Spool(disk.after(tmp_path))
    survivor.adopt()
    assert drain(survivor) == [b"old %d" % n for n in range(100)]
    spool.close()
    survivor.close()


def test_row_23_with_fsync_a_power_cut_costs_nothing(tmp_path: Path) -> None:
    disk = PowerCut(tmp_path / "spool")
    spool = Spool(tmp_path / "spool", disk=disk, fsync=True)
    for n in range(100):
        spool.put("counts", b"%d" % n)
    survivor = Spool(disk.after(tmp_path))
    survivor.adopt()
    assert drain(survivor) == [b"%d" % n for n in range(100)]
    spool.close()
    survivor.close()


def test_row_23_the_ticker_syncs_about_once_a_second(server: StandIn, delivery: MakeDelivery) -> None:
    one = delivery(snapshot_interval_s=0.05)
    server.otherwise = "hang"
    one.put("counts", step_payload("a"))
    eventually(lambda: not any(segment.unsynced for segment in one._spool._segments.on_the_disk()))
    server.let_go.set()
