"""What `xray doctor` reads of a spool: records by server, whose they are, what is in quarantine; destination.py's paths.

Tests spool/destination.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xray_core.settings import Settings, load
from xray_core.spool import Quarantine, Spool, directory_for, spool_report
from xray_core.spool.destination import address_of, prepare

HERE, THERE = "http://127.0.0.1:1", "http://user:secret@elsewhere:2/xray"


@pytest.fixture
def spool_dir(tmp_path: Path) -> Path:
    made = tmp_path / "spool"
    made.mkdir()
    return made


def settings_of(spool_dir: Path) -> Settings:
    return load({"spool_dir": spool_dir, "api_url": HERE}, {})


def test_records_for_different_servers_are_reported_apart(spool_dir: Path) -> None:
    here = Spool(directory_for(spool_dir, HERE), api_url=HERE)
    there = Spool(directory_for(spool_dir, THERE), api_url=THERE)
    here.put("counts", b'{"kind":"step"}')
    there.put("counts", b'{"kind":"step"}')
    there.put("details", b'{"kind":"samples"}')
    there.close()
    report = spool_report(settings_of(spool_dir))
    assert report.records == 3
    ours = next(each for each in report.waiting if each.current)
    theirs = next(each for each in report.waiting if not each.current)
    assert (ours.records, ours.in_use, ours.left_behind) == ({"counts": 1}, 1, 0)
    assert (theirs.records, theirs.in_use, theirs.left_behind) == ({"counts": 1, "details": 1}, 0, 2)
    assert theirs.api_url == "http://elsewhere:2/xray"  # without the password
    assert report.problem is None
    here.close()


def test_looking_leaves_everything_where_it_is(spool_dir: Path) -> None:
    spool = Spool(directory_for(spool_dir, HERE), api_url=HERE)
    spool.put("counts", b"{}")
    spool.close()
    before = sorted(path.name for path in spool_dir.rglob("*"))
    for _ in range(2):
        assert spool_report(settings_of(spool_dir)).records == 1
    assert sorted(path.name for path in spool_dir.rglob("*")) == before


def test_what_was_dropped_and_refused_is_named(spool_dir: Path) -> None:
    spool = Spool(directory_for(spool_dir, HERE), api_url=HERE)
    for rev, dropped in ((1, 2), (2, 5)):
        spool.put("counts", b'{"kind":"client","part":"p","rev":%d,"counters":{"dropped_details":%d}}' % (rev, dropped))
    Quarantine(directory_for(spool_dir, HERE) / "quarantine").keep(b"{}", error="no run")
    (waiting,) = spool_report(settings_of(spool_dir)).waiting
    assert waiting.dropped == {"dropped_details": 5}
    assert waiting.quarantined == {"no run": 1}
    spool.close()


def test_a_spool_that_is_not_there_yet_is_no_problem_and_one_that_is_a_file_is(spool_dir: Path) -> None:
    assert spool_report(settings_of(spool_dir / "none")).problem is None
    (spool_dir / "file").write_text("x")
    problem = spool_report(settings_of(spool_dir / "file")).problem
    assert problem is not None
    assert "XRAY_SPOOL_DIR" in problem


def test_a_directory_is_made_for_its_owner_alone_and_says_its_server(spool_dir: Path) -> None:
    directory = directory_for(spool_dir / "a" / "b", THERE)
    prepare(directory, THERE)
    prepare(directory, THERE)  # again changes nothing
    assert {path.stat().st_mode & 0o077 for path in (directory, directory.parent)} == {0}
    assert address_of(directory) == "http://elsewhere:2/xray"
    assert directory_for(spool_dir, THERE).name == directory_for(spool_dir, "http://elsewhere:2/xray").name
    assert address_of(spool_dir / "none") is None
    assert os.stat(directory / "server").st_mode & 0o077 == 0
