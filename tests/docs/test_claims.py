"""What the documentation says is what happens: its examples run as they are printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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


def test_every_document_that_the_readme_links_to_exists() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"
