"""The spool on a real directory: what is written is found again, by its owner or by whoever comes after it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from xray_core.spool import Spool, directory_for


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return directory_for(tmp_path / "spool", "http://127.0.0.1:8000")


def drain(spool: Spool) -> list[bytes]:
    """Take and acknowledge everything, as a sender does."""
    payloads: list[bytes] = []
    while True:
        taken = spool.take(max_bytes=1 << 20, max_records=1000)
        if not taken:
            return payloads
        for entry in taken:
            found = [payload for _, payload in entry.items if payload is not None]
            payloads += found
            spool.acknowledge(entry.segment, entry.items[-1][0], records=len(found))
        spool.give_back(taken)


def test_what_is_appended_is_on_disk_when_append_returns(directory: Path) -> None:
    spool = Spool(directory)
    spool.put("counts", b'{"n":1}')
    [segment] = directory.glob("counts-*.seg")
    assert b'{"n":1}' in segment.read_bytes()
    spool.close()


def test_a_sender_finds_every_record_once_and_in_order(directory: Path) -> None:
    spool = Spool(directory)
    payloads = [b'{"n":%d}' % n for n in range(2500)]
    for payload in payloads:
        spool.put("counts", payload)
    assert drain(spool) == payloads
    assert spool.confirmed()
    spool.close()


def test_finished_segments_leave_no_file_behind(directory: Path) -> None:
    spool = Spool(directory)
    spool.put("counts", b"{}")
    drain(spool)
    spool.close()
    assert list(directory.glob("*.seg")) == []


def test_what_a_closed_spool_leaves_is_adopted_by_the_next(directory: Path) -> None:
    first = Spool(directory)
    for stream in ("counts", "verdicts", "details"):
        first.put(stream, stream.encode())
    first.close()
    second = Spool(directory)
    assert second.adopt() == 3
    assert sorted(drain(second)) == [b"counts", b"details", b"verdicts"]
    assert list(directory.glob("*.seg")) == []


def test_acknowledged_records_are_not_adopted_again(directory: Path) -> None:
    first = Spool(directory)
    for n in range(10):
        first.put("counts", b"%d" % n)
    taken = first.take(max_bytes=1 << 20, max_records=4)
    first.acknowledge(taken[0].segment, taken[0].items[-1][0], records=4)
    first.give_back(taken)
    first.close()
    second = Spool(directory)
    second.adopt()
    assert drain(second) == [b"%d" % n for n in range(4, 10)]


def test_a_living_owner_is_not_robbed(directory: Path) -> None:
    owner, other = Spool(directory), Spool(directory)
    owner.put("counts", b"{}")
    assert other.adopt() == 0
    assert drain(other) == []
    owner.close()


def test_the_spool_is_private(directory: Path) -> None:
    spool = Spool(directory)
    spool.put("details", b"{}")
    modes = {path: stat.S_IMODE(os.stat(path).st_mode) for path in [directory, directory.parent, *directory.iterdir()]}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    spool.close()


def test_servers_do_not_share_a_directory(tmp_path: Path) -> None:
    one = directory_for(tmp_path, "http://xray.example:8000")
    assert one != directory_for(tmp_path, "http://xray.example:8001")
    assert one == directory_for(tmp_path, "http://somebody:secret@xray.example:8000")
    assert "secret" not in str(one)


def test_neither_old_nor_fresh_records_starve_the_other(directory: Path) -> None:
    left = Spool(directory)
    for _ in range(500):
        left.put("counts", b"old" * 100)
    left.close()
    spool = Spool(directory)
    spool.adopt()
    for _ in range(500):
        spool.put("counts", b"new" * 100)
    for first in ("fresh", "old"):
        taken = spool.take(max_bytes=10_000, max_records=30, first=first)
        kinds = {payload[:3] for entry in taken for _, payload in entry.items if payload}
        assert kinds == {b"old", b"new"}
        spool.give_back(taken)
    spool.close()


def test_a_backlog_of_one_stream_lets_the_others_through(directory: Path) -> None:
    spool = Spool(directory)
    for _ in range(2000):
        spool.put("counts", b"c" * 1000)
    spool.put("verdicts", b"v")
    spool.put("details", b"d")
    taken = spool.take(max_bytes=100_000, max_records=1000)
    assert {entry.segment.stream for entry in taken} == {"counts", "verdicts", "details"}
    spool.give_back(taken)
    spool.close()
