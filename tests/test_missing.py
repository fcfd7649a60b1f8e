"""What a machine lacks is skipped by name, and refused by CI: in a test, in a fixture and in a whole module."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_TESTS = """
import pytest
from tests.missing import missing, need_modules

@pytest.fixture
def engine():
    missing("an engine: install one")

def test_fixture(engine): pass
def test_itself(): need_modules("no_such_module")
@pytest.mark.skipif(True, reason="came with Python 4")
def test_version(): pass
"""
_MODULE = """
from tests.missing import need_modules
need_modules("no_such_framework", whole_module=True)
def test_nothing(): pass
"""


@pytest.mark.parametrize("ci", [True, False])
def test_what_is_missing_is_skipped_by_name_and_fails_in_ci(ci: bool, tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(_TESTS)
    (tmp_path / "test_module.py").write_text(_MODULE)
    environment = {name: value for name, value in os.environ.items() if name != "CI" and "PYTEST" not in name}
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "tests.conftest", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), "-c", os.devnull, "--continue-on-collection-errors"],
        env={**environment, "PYTHONPATH": str(ROOT), **({"CI": "true"} if ci else {})},
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    for what in ("an engine: install one", "no_such_module: make .venv/.dev", "no_such_framework: make .venv/.dev"):
        assert f"missing: {what}" in done.stdout, done.stdout
    assert "came with Python 4" in done.stdout
    last = done.stdout.splitlines()[-1]
    if ci:
        assert done.returncode == 1
        assert re.search(r"1 skipped", last), last
        assert "passed" not in last
    else:
        assert done.returncode == 0
        assert "4 skipped" in last


def test_every_skip_for_want_of_a_component_says_so_in_the_one_way() -> None:
    own = {Path(__file__), ROOT / "tests" / "missing.py"}
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        if path not in own
        for line in path.read_text().splitlines()
        if "importorskip" in line or re.search(r"pytest\.(mark\.)?skip\w*\(.*install", line)
        if "MISSING" not in line
    ]
    assert found == []
