"""The behaviour tests of this directory on both ends of what is supported, each in an environment of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.missing import missing

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
HERE = Path(__file__).parent
ROOT = HERE.parents[2]
UV = Path(sys.executable).parent / "uv"
# six: dagster 1.8 imports it and does not say so
VERSIONS = {"oldest": ["dagster==1.8.0", "six"], "1.8, newest": ["dagster==1.8.13", "six"], "newest": ["dagster>=1.13"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_behaviour_holds_on(version: str, tmp_path: Path) -> None:
    if not UV.exists():
        missing("uv: make .venv/.dev installs it")
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "VIRTUAL_ENV": ""}
    python = tmp_path / "venv" / "bin" / "python"
    wanted = [*VERSIONS[version], "pytest", "pytest-timeout", "hypothesis", "httpx", "pandas", "-e", f"{ROOT}[server]"]
    for command in (
        [str(UV), "venv", "--quiet", "--python", sys.executable, str(tmp_path / "venv")],
        [str(UV), "pip", "install", "--quiet", "--python", str(python), *wanted],
        [
            str(python),
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-m",
            "not stack",
            "--ignore",
            str(HERE / "test_processes.py"),
            str(HERE),
        ],
    ):
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, (done.stdout + done.stderr)[-6_000:]
