"""Waiting for an import."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import pytest

from xray_core.plugins.post_import import PostImportFinder


@pytest.fixture
def module_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module nobody has imported yet, and its name as the stem."""
    file = tmp_path / f"framework_{uuid4().hex[:8]}.py"
    file.write_text("value = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield file
    sys.modules.pop(file.stem, None)


@pytest.fixture
def finder() -> Iterator[PostImportFinder]:
    finder = PostImportFinder()
    yield finder
    if finder in sys.meta_path:
        sys.meta_path.remove(finder)


def test_a_callback_runs_once_after_the_module_was_executed(module_file: Path, finder: PostImportFinder) -> None:
    seen: list[int] = []

    def look(module: ModuleType) -> None:
        seen.append(module.value)

    finder.when_imported(module_file.stem, look)
    finder.when_imported(module_file.stem, look)
    assert seen == []
    importlib.import_module(module_file.stem)
    assert seen == [1]


def test_an_imported_module_is_called_back_at_once(module_file: Path, finder: PostImportFinder) -> None:
    module = importlib.import_module(module_file.stem)
    seen: list[ModuleType] = []
    finder.when_imported(module_file.stem, seen.append)
    assert seen == [module]


@pytest.mark.swallows
def test_a_raising_callback_lets_the_import_and_the_other_callbacks_go_on(
    module_file: Path, finder: PostImportFinder, no_swallowed_errors: list[tuple[str, Exception]]
) -> None:
    seen: list[ModuleType] = []

    def broken(module: ModuleType) -> None:
        raise RuntimeError("adapter")

    finder.when_imported(module_file.stem, broken)
    finder.when_imported(module_file.stem, seen.append)
    module = importlib.import_module(module_file.stem)
    assert seen == [module]
    assert len(no_swallowed_errors) == 1


def test_a_module_whose_import_fails_fails_as_before_and_can_be_imported_later(
    module_file: Path, finder: PostImportFinder
) -> None:
    module_file.write_text("raise ValueError('the framework')\n")
    seen: list[ModuleType] = []
    finder.when_imported(module_file.stem, seen.append)
    with pytest.raises(ValueError, match="the framework"):
        importlib.import_module(module_file.stem)
    module_file.write_text("value = 2  # now it works\n")
    importlib.invalidate_caches()
    assert importlib.import_module(module_file.stem).value == 2
    assert len(seen) == 1


def test_a_missing_module_is_still_missing(finder: PostImportFinder) -> None:
    finder.when_imported("no_such_framework_anywhere", lambda module: None)
    with pytest.raises(ModuleNotFoundError, match="no_such_framework_anywhere"):
        importlib.import_module("no_such_framework_anywhere")


def test_the_loader_and_the_source_are_those_of_the_module(module_file: Path, finder: PostImportFinder) -> None:
    ordinary = importlib.util.find_spec(module_file.stem)  # not always Python's own: beartype puts one in its place
    finder.when_imported(module_file.stem, lambda module: None)
    module = importlib.import_module(module_file.stem)
    assert ordinary is not None
    assert type(module.__loader__) is type(ordinary.loader)
    assert module.__loader__.get_source(module_file.stem) == "value = 1\n"  # type: ignore[union-attr]


def test_a_module_that_another_thread_is_importing_is_waited_for(module_file: Path, finder: PostImportFinder) -> None:
    module_file.write_text(
        "import builtins\nbuiltins.xray_test_half.set()\nbuiltins.xray_test_go.wait(20)\nvalue = 3\n"
    )
    import builtins

    half, go = threading.Event(), threading.Event()
    builtins.xray_test_half, builtins.xray_test_go = half, go  # type: ignore[attr-defined]
    seen: list[int] = []
    importing = threading.Thread(target=importlib.import_module, args=(module_file.stem,))
    importing.start()
    assert half.wait(20)
    waiting = threading.Thread(
        target=finder.when_imported, args=(module_file.stem, lambda module: seen.append(module.value))
    )
    waiting.start()
    go.set()
    importing.join(20)
    waiting.join(20)
    del builtins.xray_test_half, builtins.xray_test_go  # type: ignore[attr-defined]
    assert seen == [3]
