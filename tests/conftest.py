"""What every test stands on: a home of its own, and no error of X-Ray's own passing unseen."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final, TypeVar

import pytest
from hypothesis import settings

from tests.diagnosis.score import keep, score_of
from tests.missing import MISSING
from xray_core import safety

# A shell's background job is born ignoring Ctrl-C, and so would be every process of the tests that send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# CI must say the same of the same commit twice; a developer's machine goes on looking for new counterexamples.
settings.register_profile("ci", derandomize=True, database=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# How many times its examples each property test looks at: `make test-stack` looks longer than `make test` can.
TIMES_EXAMPLES: Final = int(os.environ.get("XRAY_TEST_EXAMPLES", "1"))


@pytest.hookimpl(trylast=True)  # the marker is put on by then
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Property tests with more examples, whatever each says of its own number; those of the stack say it themselves."""
    if TIMES_EXAMPLES == 1:
        return
    changed = set()  # a parametrized test is one function
    for item in items:
        if item.get_closest_marker("hypothesis") is None or item.get_closest_marker("stack") is not None:
            continue
        item.add_marker(pytest.mark.timeout(3_600))
        test = getattr(item, "function")  # noqa: B009  # pytest.Item does not declare it
        if test not in changed:
            changed.add(test)
            own = test._hypothesis_internal_use_settings  # hypothesis has no public way to set it after `@settings`
            test._hypothesis_internal_use_settings = settings(
                own, max_examples=own.max_examples * TIMES_EXAMPLES, deadline=None
            )


def _refused(report: Report) -> Report:
    """A skip for want of a component is a failure in CI, whoever skipped: a test, a fixture or a whole module."""
    if report.skipped and isinstance(report.longrepr, tuple) and os.environ.get("CI"):
        path, line, reason = report.longrepr
        if reason.startswith(f"Skipped: {MISSING}") and not hasattr(report, "wasxfail"):
            report.outcome = "failed"
            report.longrepr = f"{path}:{line}: {reason.removeprefix('Skipped: ')} (CI runs every test)"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """See `_refused`."""
    return _refused((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """See `_refused`."""
    return _refused((yield))


@pytest.fixture(autouse=True)
def isolated_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's ~/.xray, or is steered by their XRAY_* variables."""
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("XRAY_") and not name.startswith("XRAY_TEST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XRAY_SPOOL_DIR", str(home / "spool"))
    return home


@pytest.fixture(autouse=True)
def no_swallowed_errors(request: pytest.FixtureRequest) -> Iterator[list[tuple[str, Exception]]]:
    """Errors that X-Ray swallowed in this process fail the test, unless it is marked `swallows`."""
    seen: list[tuple[str, Exception]] = []
    before = dict(safety.swallowed)
    safety.swallowed.clear()
    safety.on_swallow = lambda site, error: seen.append((site, error))
    yield seen
    safety.on_swallow = None
    safety.swallowed.clear()
    safety.swallowed.update(before)
    if seen and request.node.get_closest_marker("swallows") is None:
        pytest.fail(f"X-Ray swallowed errors of its own: {seen}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The score of the diagnosis suite, where it ran."""
    kept = [each for several in terminalreporter.stats.values() for each in several]
    ran = [each for each in kept if isinstance(each, pytest.TestReport) and each.when == "call"]
    score = score_of(each for report in ran for each in report.user_properties)
    if score.faults or score.controls:
        terminalreporter.write_line(f"diagnosis: {score}")
        if os.environ.get("XRAY_TEST_SCORE") and "PYTEST_XDIST_WORKER" not in os.environ:
            keep(score, os.environ["XRAY_TEST_SCORE"])
