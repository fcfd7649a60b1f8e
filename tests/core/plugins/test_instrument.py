"""An adapter in this process: enabled once, its seams wrapped when their module is there, and what is missing said once."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from xray_core.plugins.instrument import Instrument


@pytest.fixture
def module() -> Iterator[ModuleType]:
    made = sys.modules["xray_test_framework"] = ModuleType("xray_test_framework")
    yield made
    del sys.modules["xray_test_framework"]


def instrument(wrapped: list[str], *, distribution: str = "pluggy", since: str = "1", before: str = "99") -> Instrument:
    return Instrument(
        "xray_test_framework",
        distribution=distribution,
        since=since,
        before=before,
        seams={"xray_test_framework": lambda module: wrapped.append(module.__name__)},
        how=lambda: "call enable()",
    )


def test_enabling_twice_wraps_once(module: ModuleType) -> None:
    wrapped: list[str] = []
    made = instrument(wrapped)
    made()
    made.enable()
    assert wrapped == [module.__name__]
    assert made.modules == (module.__name__,)


def test_a_version_that_is_not_supported_is_tried_with_a_warning(
    module: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    wrapped: list[str] = []
    made = instrument(wrapped, since="0.1", before="0.2")
    with caplog.at_level(logging.WARNING, "xray"):
        made.enable()
    assert wrapped
    assert "not among the supported versions (>=0.1,<0.2)" in caplog.text
    assert made.report()["supported"] is False


@pytest.mark.parametrize(
    ("since", "before", "supported"), [("1", "2", True), ("1.2", "1.10", True), ("2", "3", False), ("1", "1.0", False)]
)
def test_versions_are_compared_as_numbers(
    since: str, before: str, supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = instrument([], since=since, before=before)
    monkeypatch.setattr(made, "version", lambda: "1.9.0rc1")
    assert made.supported() is supported


def test_without_the_framework_the_report_says_how_to_install_it() -> None:
    report = instrument([], distribution="xray-no-such-distribution").report()
    assert (report["installed"], report["supported"]) == (None, None)
    assert "pip install" in report["how"]


def test_each_missing_seam_is_reported_and_the_first_one_logged(caplog: pytest.LogCaptureFixture) -> None:
    made = instrument([])
    with caplog.at_level(logging.WARNING, "xray"):
        made.missing("engine.start")
        made.missing("engine.stop", "it is no generator any more")
    made.found("engine.run")
    report = made.report()
    assert report["missing"] == {"engine.start": "not in this version", "engine.stop": "it is no generator any more"}
    assert report["seams"] == ["engine.run"]
    assert caplog.text.count("has no") == 1


@pytest.mark.swallows
def test_a_seam_that_cannot_be_wrapped_disturbs_nobody(module: ModuleType) -> None:
    def broken(module: ModuleType) -> None:
        raise RuntimeError("changed")

    made = Instrument(
        "xray_test_framework", distribution="pluggy", since="1", before="99",
        seams={"xray_test_framework": broken}, how=str,
    )  # fmt: skip
    made.enable()
    assert made.enabled
