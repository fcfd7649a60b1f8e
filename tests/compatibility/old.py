"""0.1 as it was released, out of this repository's history: its code in a folder, and processes that run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.missing import missing

ROOT: Final = Path(__file__).parents[2]
PIPELINE: Final = Path(__file__).with_name("pipeline.py")
COMMIT: Final = "2ab5b86"  # the last commit of 0.1.0
NOWHERE: Final = "http://127.0.0.1:9"  # the discard port: nothing listens there


def code_of_0_1(directory: Path) -> Path:
    """0.1's code in `directory`; skips the test where the history is not there (a shallow clone, an sdist)."""
    archive = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True)
    if archive.returncode:
        missing(f"the history of the repository: git fetch --unshallow ({COMMIT} is not here)")
    subprocess.run(["tar", "--extract", "--directory", directory], input=archive.stdout, check=True)
    return directory


def environment(code: Path | None, **variables: str) -> dict[str, str]:
    """The environment of a process that runs 0.1's code, or with None today's."""
    path = {} if code is None else {"PYTHONPATH": os.pathsep.join(map(str, (code, code / "server")))}
    own = {name: value for name, value in os.environ.items() if not name.startswith("XRAY_")}
    # the plugins that are installed are today's
    return {**own, **path, "XRAY_DISABLE_PLUGINS": "*", **variables}


@contextmanager
def serving(code: Path | None, database: Path) -> Iterator[str]:
    """A server of 0.1, or with None of today, in a process; its address."""
    command = [sys.executable, "-m", "xray_server", "serve", "--port", "0", "--db", f"sqlite:///{database}"]
    # `-m` looks for modules in the working directory first
    with subprocess.Popen(
        command, cwd=database.parent, env=environment(code), stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            first = server.stdout.readline()
            assert "X-Ray on http://" in first, first
            yield first.split()[2].rstrip(";")
        finally:
            server.terminate()


def capture(code: Path | None, run_id: str, kind: str, variables: Mapping[str, str]) -> None:
    """Run the pipeline with 0.1's SDK, or with None today's, out of the folder of its spool: tracebacks name files."""
    script = Path(variables["XRAY_SPOOL_DIR"]).parent / PIPELINE.name
    script.write_bytes(PIPELINE.read_bytes())
    done = subprocess.run(
        [sys.executable, script, run_id, kind], env=environment(code, **variables), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
