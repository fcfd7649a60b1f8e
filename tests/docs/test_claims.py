"""What the documentation says is what happens: its examples run as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from xray_core.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["pick.py", "pick_one_by_one.py"])
def test_the_quickstarts_scripts_run_as_printed(name: str, tmp_path: Path) -> None:
    script = re.search(rf"```python\n(# {name}\n.*?)```", (ROOT / "docs/quickstart.md").read_text(), re.DOTALL)
    assert script
    (tmp_path / name).write_text(script[1])
    environment = {**os.environ, "XRAY_API_URL": "http://127.0.0.1:9", "XRAY_SHUTDOWN_TIMEOUT_S": "0"}
    ran = subprocess.run(
        [sys.executable, name], cwd=tmp_path, env=environment, check=True, timeout=60, capture_output=True
    )
    assert b"failed" not in ran.stderr, ran.stderr


def test_every_setting_in_the_quickstart_exists_with_the_default_it_names() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| `(XRAY_\w+)` \| (.+?) \|", (ROOT / "docs/quickstart.md").read_text(), re.MULTILINE
    )
    assert len(rows) >= 8
    for name, variable, default in rows:
        field = Settings.model_fields[name]
        assert variable == f"XRAY_{name.upper()}"
        if default.startswith("`") and name not in ("spool_dir", "enabled"):
            assert str(field.default) == default.strip("`")


def test_the_changelog_begins_with_this_version_its_date_and_its_kinds_and_says_nothing_twice() -> None:
    newest = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1]
    assert re.fullmatch(rf"{re.escape(version('xray-pipelines'))} \(\d{{4}}-\d\d-\d\d\)", newest.splitlines()[0])
    assert re.findall(r"^### (.+)$", newest, re.MULTILINE) == ["Changed", "Added", "Fixed", "Faster"]
    lines = re.findall(r"^- .+$", newest, re.MULTILINE)
    assert sorted(lines) == sorted(set(lines))


def test_the_image_that_the_documentation_names_is_of_this_version() -> None:
    named = [re.findall(r"xray-pipelines:(\d[\d.]*\d)", page.read_text()) for page in (ROOT / "docs").glob("*.md")]
    assert {each for page in named for each in page} == {version("xray-pipelines")}  # deploy/: tests/test_deploy.py


def test_every_document_that_the_readme_links_to_exists() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"
