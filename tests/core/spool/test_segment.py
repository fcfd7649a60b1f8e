"""One segment: records in a file that only its owner, or the adopter of a dead one, may read; or in memory.

Tests spool/frames.py.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xray_core.spool import frames
from xray_core.spool.segment import Disk, DiskSegment, MemorySegment, stream_in

DISK = Disk()


class FullDisk(Disk):
    """Takes half of what it is given."""

    pwrite = staticmethod(lambda fd, data, offset: os.pwrite(fd, data[: len(data) // 2], offset))


def test_a_segment_is_adopted_only_after_its_owner_let_go(tmp_path: Path) -> None:
    owner = DiskSegment.create(tmp_path, "counts", disk=DISK)
    owner.append(b"one")
    owner.append(b"two")
    assert DiskSegment.adopt(owner.path, disk=DISK) is None
    owner.acknowledge(owner.read(max_bytes=1000, max_records=1)[0][0], records=1)
    owner.close()
    adopted = DiskSegment.adopt(owner.path, disk=DISK)
    assert adopted is not None
    assert [payload for _, payload in adopted.read(max_bytes=1000, max_records=10)] == [b"two"]
    assert adopted.waiting() == 1
    adopted.discard()
    assert adopted.lost
    assert list(tmp_path.glob("*.seg*")) == []


def test_a_record_that_does_not_fit_leaves_those_before_it_readable(tmp_path: Path) -> None:
    segment = DiskSegment.create(tmp_path, "counts", disk=DISK)
    segment.append(b"kept")
    segment._pwrite = FullDisk.pwrite
    with pytest.raises(OSError, match="short write") as raised:
        segment.append(b"x" * 100)
    assert raised.value.errno == errno.ENOSPC
    assert segment.path.stat().st_size == segment.size
    assert [payload for _, payload in segment.read(max_bytes=1000, max_records=10)] == [b"kept"]
    segment.discard()


def test_a_file_cut_behind_our_back_is_read_as_damaged_and_ends(tmp_path: Path) -> None:
    segment = DiskSegment.create(tmp_path, "counts", disk=DISK)
    segment.append(b"x" * 100)
    os.truncate(segment.path, frames.HEADER_BYTES)
    assert segment.read(max_bytes=1000, max_records=10) == [(segment.size, None)]
    segment.discard()


def test_a_payload_larger_than_the_window_is_read_all_the_same(tmp_path: Path) -> None:
    segment = DiskSegment.create(tmp_path, "counts", disk=DISK)
    segment.append(b"x" * 5000)
    segment.append(b"next")
    assert [payload for _, payload in segment.read(max_bytes=10, max_records=10)] == [b"x" * 5000]
    segment.discard()


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("counts-1.seg", "counts"),
        ("details-1.seg.new", "details"),
        ("server", None),
        ("other-1.seg", None),
        ("counts", None),
    ],
)
def test_a_file_name_says_its_stream(name: str, stream: str | None) -> None:
    assert stream_in(name) == stream


@given(payloads=st.lists(st.binary(min_size=1, max_size=50), max_size=20), cut=st.integers(0, 20))
def test_memory_keeps_what_is_not_acknowledged_in_its_order(payloads: list[bytes], cut: int) -> None:
    segment = MemorySegment("counts")
    for payload in payloads:
        segment.append(payload)
    done = min(cut, len(payloads))
    segment.acknowledge(done, records=done)
    assert segment.remaining() == payloads[done:]
    assert segment.waiting() == len(payloads) - done
    assert segment.size == sum(len(p) + frames.FRAME_BYTES for p in payloads[done:])
    assert segment.done is (done == len(payloads))
    read = segment.read(max_bytes=10**9, max_records=3)
    assert [payload for _, payload in read] == payloads[done : done + 3]
