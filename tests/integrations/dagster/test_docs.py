"""docs/dagster.md from its first line to the answer: in an empty home, from a built wheel, with nothing of the checkout.

Tests what a newcomer does, with a file of assets and with a project of `dg`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integrations.dagster.webserver import free_port, graphql, launch
from tests.integrations.newcomer import ROOT, Newcomer, blocks, lines_of, newcomer
from xray_core.model import NOT_REACHED

pytestmark = [pytest.mark.stack, pytest.mark.timeout(1_800)]
PAGE = "dagster.md"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Newcomer]:
    with newcomer(tmp_path / "newcomer") as reader:
        yield reader


def runs_of(reader: Newcomer) -> list[dict[str, Any]]:
    """The server's, newest first."""
    found: list[dict[str, Any]] = httpx.get(f"{reader.url}/runs").json()["runs"]
    return found


def test_a_newcomer_gets_an_answer_from_a_file_and_from_a_project_of_dg(reader: Newcomer) -> None:
    install, write, ask = blocks(PAGE, "From nothing to an answer")
    reader.install(install)
    reader.run(write)
    serve, *rest = ask.splitlines()
    reader.serve(serve)
    said = lines_of(reader.run("\n".join(rest)))
    assert any(line.startswith("affordable ") and " 5 3 " in f"{line} " for line in said), said
    assert any(line.startswith("o5 ") and "affordable" in line for line in said), said
    (run,) = runs_of(reader)
    assert (run["pipeline"], run["status"]) == ("assets", "completed")

    (project,) = blocks(PAGE, "A project of `dg`")
    said = lines_of(reader.run(reader.with_pip(project)))
    assert any("corner_shop/assets" in line for line in said), said
    assert runs_of(reader)[0]["pipeline"] == "corner_shop/assets"

    # `dg dev` without `xray run`: by the line in dagster.yaml.
    line = next(each.strip() for each in (ROOT / "docs" / PAGE).read_text().splitlines() if "instance_class:" in each)
    port = free_port()
    reader.run(
        "export DAGSTER_HOME=$HOME/dagster_home; mkdir $DAGSTER_HOME\n"
        f"echo '{line}' > $DAGSTER_HOME/dagster.yaml\n"
        f"set -m; dg dev -p {port} > dev.txt 2>&1 &\nDEV=$!; set +m"  # else it would ignore that it is interrupted
    )
    try:
        ask = graphql(port)
        run_id = until(lambda: launch(ask, "__ASSET_JOB", ["offers", "affordable"]))
        run = until(
            lambda: next((each for each in runs_of(reader) if each["run_id"] == run_id and each["ended_at"]), None)
        )
    finally:
        told = reader.run("kill -INT $DEV; wait $DEV; kill -KILL -- -$DEV 2>/dev/null; cat dev.txt")
    assert (run["pipeline"], run["status"]) == ("corner_shop/assets", "completed"), told[-3_000:]
    assert run["origin"]["url"] == f"http://127.0.0.1:{port}/runs/{run_id}"
    steps = httpx.get(f"{reader.url}/runs/{run_id}").json()["steps"]
    assert {step["name"]: step["metadata"].get(NOT_REACHED) for step in steps} == {"offers": None, "affordable": None}
    assert "dagster.yaml: captured in every process that uses this instance" in reader.run("xray doctor || true")


def until(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 120
    while not (result := found()):
        assert time.monotonic() < deadline, "not within 120 s"
        time.sleep(0.5)  # between two looks, up to the deadline
    return result
