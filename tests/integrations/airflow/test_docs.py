"""docs/airflow.md from its first line to the answer: in an empty home, from a built wheel, with nothing of the checkout.

Tests what a newcomer does, `airflow dags test` before all.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import pytest

from tests.integrations.newcomer import ROOT, Newcomer, blocks, lines_of, newcomer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_200)]
PAGE = "airflow.md"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Newcomer]:
    with newcomer(tmp_path / "newcomer") as reader:
        yield reader


def test_a_newcomer_gets_an_answer_from_dags_test(reader: Newcomer) -> None:
    install, dag, ask = blocks(PAGE, "From nothing to an answer")
    assert "--constraint $CONSTRAINTS" in install
    # ours, so that the answer is of this commit
    reader.install(install.replace("$CONSTRAINTS", str(ROOT / "constraints.txt")))
    reader.run(dag)
    migrate, serve, *rest = ask.splitlines()
    reader.run(f"{migrate} > migrate.txt 2>&1")
    reader.serve(serve)
    before = datetime.now(timezone.utc)
    said = lines_of(reader.run("\n".join(rest)))
    assert any(line.startswith("affordable ") and " 5 2 " in f"{line} " for line in said), said
    assert any(line.startswith("dear ×2") for line in said), said
    assert "affordable" in next(line for line in said if line.startswith("o5 ")), said

    (told,) = httpx.get(f"{reader.url}/runs").json()["runs"]
    assert told["status"] == "completed"
    assert told["origin"]["ids"]["logical_date"].startswith("2024-05-06")
    started = datetime.fromisoformat(told["started_at"].replace("Z", "+00:00"))
    assert before - timedelta(seconds=5) < started < datetime.now(timezone.utc)
    assert told["duration_ms"] < 600_000
    _say_why_with_the_address_in_airflow_cfg(reader)


def _say_why_with_the_address_in_airflow_cfg(reader: Newcomer) -> None:
    """The page goes on: a task that says what it decides, `[xray]` in airflow.cfg, and what doctor says."""
    (said,) = blocks(PAGE, "Say what you decide", "python")
    imports, task = said.split("\n\n\n")
    dag = reader.home / "airflow" / "dags" / "offers.py"
    quiet = re.search(r"^    @task\n    def affordable.*?\n\n", dag.read_text(), re.DOTALL | re.MULTILINE)
    assert quiet
    dag.write_text(f"{imports}\n" + dag.read_text().replace(quiet[0], textwrap.indent(task, "    ") + "\n"))
    section = blocks(PAGE, "From nothing to an answer", "ini")[0].replace("https://xray.example.com", reader.url)
    with (reader.home / "airflow" / "airflow.cfg").open("a") as file:
        file.write(f"\n{section}")
    doctor = reader.run("env -u XRAY_API_URL xray doctor --check")
    assert f"server {reader.url}" in doctor
    assert "captured here, dags: all" in doctor
    reader.run("env -u XRAY_API_URL airflow dags test offers 2024-06-07")
    assert "o3 was rejected at affordable: price_too_high (price 120)" in reader.run("xray why o3")
