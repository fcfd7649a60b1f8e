"""Which segments a process holds: details go before verdicts, verdicts before counts, and nothing beyond the cap.

Tests spool/segments.py and taking.py (which of them is read next), over the same segments.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from xray_core.spool.segment import Disk, DiskSegment, MemorySegment
from xray_core.spool.segments import SegmentSet
from xray_core.spool.taking import next_segments, read_shares
from xray_core.wire import Stream

CAP = 1024 * 1024
DISK = Disk()


@pytest.fixture
def dropped() -> list[tuple[Stream, int]]:
    return []


@pytest.fixture
def segments(dropped: list[tuple[Stream, int]]) -> Iterator[SegmentSet]:
    made = SegmentSet(max_bytes=CAP, memory_bytes=CAP, on_disk=True, on_drop=lambda s, n: dropped.append((s, n)))
    yield made
    for segment in made.on_the_disk():
        segment.close()


def add(segments: SegmentSet, directory: Path, stream: Stream, *payloads: bytes, sealed: bool = True) -> DiskSegment:
    segment = DiskSegment.create(directory, stream, disk=DISK)
    segments.begin(segment)
    segment.append_many(list(payloads))
    if sealed:
        segments.seal(stream)
    return segment


def test_counts_evict_details_first_then_verdicts_and_say_how_many_records_went(
    segments: SegmentSet, dropped: list[tuple[Stream, int]], tmp_path: Path
) -> None:
    add(segments, tmp_path, "details", *[b"d" * 1000] * 300)
    add(segments, tmp_path, "verdicts", *[b"v" * 1000] * 300)
    assert segments.make_room("counts", 500_000, now=0.0)
    assert dropped == [("details", 300)]
    assert segments.make_room("counts", CAP - 10_000, now=10.0)
    assert dropped == [("details", 300), ("verdicts", 300)]
    assert list(tmp_path.glob("*.seg*")) == []


def test_details_evict_nothing_and_stop_at_their_share(
    segments: SegmentSet, dropped: list[tuple[Stream, int]], tmp_path: Path
) -> None:
    add(segments, tmp_path, "counts", *[b"c" * 1000] * 700)
    assert segments.fits("counts", 200_000)
    assert not segments.make_room("details", 200_000, now=0.0)
    assert dropped == []


def test_a_segment_that_is_being_sent_is_not_evicted(
    segments: SegmentSet, dropped: list[tuple[Stream, int]], tmp_path: Path
) -> None:
    add(segments, tmp_path, "details", *[b"d" * 1000] * 700).busy = True
    assert not segments.make_room("counts", 900_000, now=0.0)
    assert dropped == []


def test_a_grant_never_goes_beyond_the_cap(segments: SegmentSet, tmp_path: Path) -> None:
    live = add(segments, tmp_path, "details", b"x", sealed=False)
    segments.others_bytes = int(CAP * 0.8) - live.size - 100
    segments.grant(live)
    assert live.room <= 100


def test_what_is_measured_is_what_others_hold(segments: SegmentSet, tmp_path: Path) -> None:
    add(segments, tmp_path, "counts", b"ours")
    other = DiskSegment.create(tmp_path, "counts", disk=DISK)
    other.append(b"theirs")
    (tmp_path / "server").write_text("no segment")
    assert segments.measure(tmp_path) == other.size
    other.close()


def test_a_finished_segment_is_deleted_when_it_is_sealed(segments: SegmentSet, tmp_path: Path) -> None:
    live = add(segments, tmp_path, "counts", b"x", sealed=False)
    live.acknowledge(live.size, records=1)
    segments.seal("counts")
    assert segments.own() == []
    assert list(tmp_path.glob("*.seg*")) == []


def test_fresh_first_and_old_first_take_the_same_segments_in_another_order(
    segments: SegmentSet, tmp_path: Path
) -> None:
    old = add(segments, tmp_path, "counts", b"old")
    add(segments, tmp_path, "counts", b"younger")
    fresh = add(segments, tmp_path, "counts", b"fresh", sealed=False)
    details = add(segments, tmp_path, "details", b"details", sealed=False)
    assert next_segments(segments, "fresh") == [fresh, details, old]
    assert next_segments(segments, "old") == [old, fresh, details]


def test_no_stream_shuts_out_another(tmp_path: Path, segments: SegmentSet) -> None:
    counts = add(segments, tmp_path, "counts", *[b"c" * 100] * 100)
    details = add(segments, tmp_path, "details", *[b"d" * 100] * 100)
    ordered = next_segments(segments, "old")
    assert ordered == [counts, details]
    taken = read_shares(ordered, max_bytes=100_000, max_records=20)
    assert [(each.segment, len(each.items)) for each in taken] == [(counts, 10), (details, 10)]


def test_a_segment_for_which_there_is_no_room_is_busy_no_more(tmp_path: Path, segments: SegmentSet) -> None:
    first = add(segments, tmp_path, "counts", b"c" * 500)
    second = add(segments, tmp_path, "details", b"d")
    for segment in (first, second):
        segment.busy = True
    taken = read_shares([first, second], max_bytes=10, max_records=10)
    assert [each.segment for each in taken] == [first]
    assert not second.busy


def test_memory_segments_count_against_the_memory_cap_until_they_are_taken_off() -> None:
    segments = SegmentSet(max_bytes=CAP, memory_bytes=10_000, on_disk=False, on_drop=lambda s, n: None)
    segment = MemorySegment("counts")
    segments.begin(segment)
    segment.append(b"x" * 6_000)
    segments.took_memory(segment.size)
    assert not segments.fits("counts", 6_000)
    segments.drop(segment)
    assert segments.fits("counts", 6_000)
