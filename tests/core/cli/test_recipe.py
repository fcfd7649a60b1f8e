"""The recipe for CI in docs/why.md, followed to the letter: a run against the marked baseline, as an exit code and as Markdown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.live import Live
from xray_core import Client

WHY = (Path(__file__).parents[3] / "docs" / "why.md").read_text(encoding="utf-8")
PIPELINE = """
import os

from xray_core import XRay

limit = int(os.environ.get("LIMIT", "100"))
xray = XRay("nightly")
with xray.run(input={"day": "2026-01-31"}) as run, run.step("filter", metadata={"limit": limit}) as step:
    step.set_input_items(range(20))
    for n in range(20):
        step.accept(n) if 10 * n <= limit else step.reject(n, "too_high", {"limit": limit})
"""


def test_the_recipe_fails_where_the_pull_request_changed_an_answer_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = WHY.partition("### In CI")[2].partition("```sh\n")[2].partition("```")[0]
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    live = Live(tmp_path)
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XRAY_API_URL": live.url,
        "LIMIT": "50",
    }

    try:
        monkeypatch.setenv("XRAY_API_URL", live.url)
        names: dict[str, Any] = {}
        exec(PIPELINE, names)  # the run that is marked, in this process: another one would take a second
        names["xray"].close(30)
        with Client(live.url) as client:
            client.mark(names["run"].run_id, "good")
        ran = subprocess.run(
            ["sh", "-c", recipe], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120
        )
        assert ran.returncode == 3, ran.stderr
        assert "first differ at filter" in ran.stdout
        comment = (tmp_path / "xray.md").read_text()
        assert "| `steps.filter.metadata.limit` | 100 | 50 |" in comment
        assert "| `filter` | same items | **differs** (items) | 11 | 6 |" in comment
    finally:
        live.stop()
