"""docs/prefect.md from its first line to the answer: in an empty home, from a built wheel, with nothing of the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_blocks import followed
from tests.live import Live

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_200)]

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def python() -> Iterator[Path]:
    """The Python of an environment into which the page's first command installed a wheel just built."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert uv, "uv is missing: pip install uv"
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        subprocess.run([uv, "build", "--wheel", "-q", "--out-dir", name, str(ROOT)], check=True, timeout=300)
        (wheel,) = place.glob("*.whl")
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(place / "venv")], check=True, timeout=100)
        python = place / "venv" / "bin" / "python"
        wanted = [
            f"{wheel}[prefect,server]",
            "-c",
            str(ROOT / "constraints.txt"),
        ]  # ours, so that the answer is of this commit
        subprocess.run([uv, "pip", "install", "-q", "--python", str(python), *wanted], check=True, timeout=600)
        yield python


def test_a_newcomer_gets_the_answers_that_the_page_prints(
    python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XRAY_TEST_PYTHON", str(python))
    monkeypatch.setenv("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "200")
    reader = tmp_path / "reader"
    reader.mkdir()
    done = followed(ROOT / "docs" / "prefect.md", reader, timeout_s=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"run": 5, "not_run": {}}


def test_each_way_that_the_page_names_captures_a_run_whose_link_leads_to_where_prefect_will_show_it(
    python: Path, tmp_path: Path
) -> None:
    home = tmp_path / "reader"
    home.mkdir()
    (home / "two.py").write_text("from prefect import flow, task\n@flow\ndef two():\n    task(lambda: 1)()\ntwo()\n")
    (home / "line.py").write_text("import xray_prefect; xray_prefect.enable()\n" + (home / "two.py").read_text())
    live = Live(tmp_path)
    environment = {
        "HOME": str(home), "PATH": f"{python.parent}:/usr/bin:/bin", "XRAY_API_URL": live.url, "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "200", "XRAY_SHUTDOWN_TIMEOUT_S": "20",
    }  # fmt: skip
    try:
        for command in (
            "xray run -- python two.py",
            "PREFECT_PLUGINS_ENABLED=1 python two.py",
            "python line.py",
            "printf '[plugins]\\nenabled = true\\n' > prefect.toml && python two.py",
            "python two.py",  # the line in prefect.toml holds
        ):
            done = subprocess.run(
                ["bash", "-c", command], cwd=home, env=environment, capture_output=True, text=True, timeout=400
            )
            assert done.returncode == 0, f"{command}: {done.stderr[-2_000:]}"
        runs = live.get("/runs")["runs"]
        assert [(run["pipeline"], run["status"], run["step_count"]) for run in runs] == [("two", "completed", 1)] * 5
        # Prefect ran with a server for the time of the flow: `prefect server start` shows the run here
        assert {run["origin"]["url"].rsplit("/", 1)[0] for run in runs} == {"http://127.0.0.1:4200/runs/flow-run"}
    finally:
        live.stop()
