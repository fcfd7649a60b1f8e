"""Refused records on disk: readable by a human, bounded in number and bytes, the oldest deleted first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xray_core.spool import quarantine
from xray_core.spool.quarantine import Quarantine


def test_a_refused_record_is_kept_with_its_reason_and_read_by_nobody_else(tmp_path: Path) -> None:
    kept = Quarantine(tmp_path / "q")
    kept.keep(b'{"kind":"step"}', error="no run")
    (path,) = kept.records()
    head, record = path.read_bytes().split(b"\n", 1)
    assert json.loads(head)["error"] == "no run"
    assert record == b'{"kind":"step"}'
    assert path.stat().st_mode & 0o077 == 0
    assert kept.reasons() == {"no run": 1}


def test_records_beyond_the_bounds_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "MAX_RECORDS", 3)
    kept = Quarantine(tmp_path / "q")
    for n in range(5):
        kept.keep(b"x", error=f"error {n}")
    assert len(kept.records()) == 3
    monkeypatch.setattr(quarantine, "MAX_BYTES", 200)
    kept.keep(b"x" * 10, error="one more")
    assert sum(path.stat().st_size for path in kept.records()) <= 200


def test_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "MAX_RECORDS", 2)
    for name in ("00000000-old", "00000001-newer"):
        (tmp_path / f"{name}.rec").write_bytes(b'{"error": "%s"}\n' % name.encode())
    kept = Quarantine(tmp_path)
    kept.keep(b"x", error="now")
    assert kept.reasons() == {"00000001-newer": 1, "now": 1}


def test_an_unreadable_file_is_counted_as_such(tmp_path: Path) -> None:
    kept = Quarantine(tmp_path)
    (tmp_path / "a.rec").write_bytes(b"not json\n")
    (tmp_path / "b.txt").write_bytes(b"not ours")
    assert kept.reasons() == {"unreadable": 1}


def test_without_a_directory_nothing_is_kept() -> None:
    kept = Quarantine(None)
    kept.keep(b"x", error="e")
    assert kept.records() == []
