"""A slice of a framework's own tests, run without X-Ray and with it: what its test_own_suite.py of each framework shares.

Holds no tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

from tests.missing import missing

Ends = dict[str, str]  # {a test's node id: "passed", "skipped", "failure" or "error"}
Start = Callable[[Path, bool], subprocess.Popen[bytes]]  # (home, with X-Ray) -> their test runner, at work


def sdist(distribution: str, version: str) -> Path:
    """The unpacked source distribution of this version, from the package index; kept for the next time."""
    place = Path(tempfile.gettempdir()) / "xray-own-suite" / f"{distribution}-{version}"
    if not (place / "done").exists():
        shutil.rmtree(place, ignore_errors=True)
        wanted = ["--quiet", "--no-deps", "--no-binary", ":all:", f"{distribution}=={version}", "--dest", str(place)]
        command = [sys.executable, "-m", "pip", "download", *wanted]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            missing(f"{distribution} {version} from the package index: {done.stderr[-300:]}")
        (packed,) = place.glob("*.tar.gz")
        with tarfile.open(packed) as tar:
            tar.extractall(place, filter="data")
        (place / "done").touch()
    (archive,) = place.glob("*.tar.gz")
    return place / archive.name.removesuffix(".tar.gz")


def start(command: Sequence[str], home: Path, cwd: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """pytest, as `command` starts it, in `cwd`; results.xml in `home` says how each test ended, out.txt what it printed."""
    with (home / "out.txt").open("w") as out:
        return subprocess.Popen(
            [*command, "-p", "no:cacheprovider", "--junitxml", str(home / "results.xml")],
            cwd=cwd, env=dict(environment), stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip


def both(start_tests: Start, place: Path, cwd: Path, *, timeout_s: float, at_once: bool = True) -> tuple[Ends, Ends]:
    """How each test ended without X-Ray, and with it. Their homes are `place`/without and `place`/with.

    Args:
        cwd: where the tests' own files are.
        at_once: side by side; else one after the other, for tests that would meet (on a port, say).
    """
    homes = [(place / "without", False), (place / "with", True)]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for home, with_xray in homes:
            home.mkdir(parents=True)
            running.append(start_tests(home, with_xray))
            if not at_once:
                running[-1].wait(timeout_s)
        for process in running:
            process.wait(timeout_s)
    finally:
        for process in running:  # and what it started: Prefect's own tests leave a server behind
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    without, with_ = (_ends(home, cwd) for home, _ in homes)
    return without, with_


def unlike(without: Ends, with_: Ends) -> dict[str, tuple[str | None, str | None]]:
    """The tests that end otherwise with X-Ray: {node id: (without, with)}."""
    ends = {name: (without.get(name), with_.get(name)) for name in sorted({*without, *with_})}
    return {name: both for name, both in ends.items() if both[0] != both[1]}


def passed(ends: Ends) -> int:
    """How many tests passed."""
    return sum(how == "passed" for how in ends.values())


def printed(place: Path) -> str:
    """What the run with X-Ray printed."""
    return (place / "with" / "out.txt").read_text()


def _ends(home: Path, cwd: Path) -> Ends:
    results = home / "results.xml"
    assert results.exists(), (home / "out.txt").read_text()[-3_000:]
    return {
        _node_id(case, cwd): next((each.tag for each in case if each.tag in ("failure", "error", "skipped")), "passed")
        for case in ElementTree.parse(results).iter("testcase")
    }


def _node_id(case: ElementTree.Element, cwd: Path) -> str:
    """pytest's report has the module and the class as one dotted name."""
    parts = str(case.get("classname")).split(".")
    for n in range(len(parts), 0, -1):
        file = Path(f"{'/'.join(parts[:n])}.py")
        if (cwd / file).is_file():
            return "::".join([file.as_posix(), *parts[n:], str(case.get("name"))])
    return f"{case.get('classname')}::{case.get('name')}"
