"""The programs of docs/distributed.md run as they are printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.integrations.engines import ROOT, environment, printed
from tests.live import Live


@pytest.fixture(scope="module")
def programs() -> dict[str, str]:
    text = (ROOT / "docs/distributed.md").read_text()
    return dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", text, re.DOTALL))


def judged(name: str, python: Path, programs: dict[str, str], tmp_path: Path) -> None:
    """Run a program in an empty home; the ledger that it leaves is exact."""
    for each, text in programs.items():
        (tmp_path / each).write_text(text)
    live = Live(tmp_path)
    try:
        printed(python, tmp_path / name, live=live, directory=tmp_path)
        (run,) = live.get("/runs", pipeline="prices")["runs"]
        (step,) = live.get(f"/runs/{run['run_id']}")["steps"]
        ledger = step["ledger"]
        assert ledger["input"] == ledger["accepted"] + ledger["rejected"] > 0
        assert (ledger["unaccounted"], ledger["flags"]) == (0, [])
    finally:
        live.stop()


def test_a_token_takes_a_step_into_another_process(programs: dict[str, str], tmp_path: Path) -> None:
    judged("driver.py", Path(sys.executable), programs, tmp_path)


@pytest.mark.stack
@pytest.mark.timeout(600)
def test_dask(programs: dict[str, str], tmp_path: Path) -> None:
    judged("judge_on_dask.py", Path(sys.executable), programs, tmp_path)


@pytest.mark.stack
@pytest.mark.timeout(1_200)
def test_ray(programs: dict[str, str], tmp_path: Path) -> None:
    judged("judge_on_ray.py", environment("ray[data]"), programs, tmp_path)


@pytest.mark.stack
@pytest.mark.timeout(1_200)
def test_spark(programs: dict[str, str], tmp_path: Path) -> None:
    judged("judge_on_spark.py", environment("pyspark[sql]"), programs, tmp_path)
