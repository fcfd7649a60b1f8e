"""Dagster on real processes, delivering to a real server: the multiprocess executor, deaths, and `dagster dev`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetKey, DagsterInstance

from tests.integrations.dagster.webserver import end_session, free_port, graphql, launch
from tests.live import Live
from xray_core.model import NOT_REACHED

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]
ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    server = Live(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def environment(live: Live, tmp_path: Path, dagster_home: Path) -> dict[str, str]:
    """As a user's shell: no X-Ray but the server's address, a Dagster of its own."""
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "XRAY_API_URL": live.url,
        "XRAY_SPOOL_DIR": str(tmp_path / "spool"),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }


def until(what: str, found: Callable[[], Any], *, within_s: float = 60) -> Any:
    deadline = time.monotonic() + within_s
    while not (result := found()):
        assert time.monotonic() < deadline, f"no {what} within {within_s} s"
        time.sleep(0.2)
    return result


def execute(job: str, environment: dict[str, str]) -> str:
    """The id of a run of this job."""
    return execute_loudly(job, environment)[0]


def execute_loudly(job: str, environment: dict[str, str], module: str = "processes") -> tuple[str, list[str]]:
    """The id of a run of this job, and what X-Ray said meanwhile."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.integrations.dagster.execute", job, module],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    told = [line for line in done.stdout.splitlines() if line.startswith("RUN ")]
    assert told, done.stderr[-4_000:]
    return told[0].split()[1], [line for line in done.stderr.splitlines() if "X-Ray" in line]


def sync(environment: dict[str, str]) -> None:
    subprocess.run([str(BIN / "xray"), "sync"], env=environment, check=True, capture_output=True, timeout=60)


def steps_of(live: Live, run_id: str) -> dict[tuple[str, int], dict[str, Any]]:
    steps = live.get(f"/runs/{run_id}")["steps"]
    found = {(step["origin"]["ids"]["step_key"], step["attempt"]): step for step in steps}
    assert len(found) == len(steps)
    return found


def test_steps_in_processes_of_their_own_are_one_run(live: Live, environment: dict[str, str]) -> None:
    run_id, said = execute_loudly("several", environment)
    assert said == []
    sync(environment)
    run, steps = live.get(f"/runs/{run_id}"), steps_of(live, run_id)
    assert (run["status"], run["pipeline"]) == ("completed", "several")
    assert set(steps) == {("fan_out", 1), ("double[1]", 1), ("double[2]", 1), ("add_up", 1)}
    assert {step["status"] for step in steps.values()} == {"completed"}
    assert not [key for key, step in steps.items() if NOT_REACHED in step["metadata"]]
    assert not list(Path(environment["XRAY_SPOOL_DIR"]).glob(".dagster-*")), "a file of the run is left behind"
    assert steps["double[1]", 1]["rejection_counts"] == {"odd": 1}
    assert set(steps["fan_out", 1]["output"]) == {"result[1]", "result[2]"}
    assert live.why(run_id, "item-1")["outcome"] == "rejected"


def test_steps_in_processes_that_x_ray_did_not_reach_are_made_of_events_and_one_warning_names_the_cure(
    live: Live, environment: dict[str, str]
) -> None:
    environment["XRAY_TEST_MAIN_ONLY"] = "1"
    run_id, said = execute_loudly("several", environment)
    sync(environment)
    run, steps = live.get(f"/runs/{run_id}"), steps_of(live, run_id)
    assert set(steps) == {("fan_out", 1), ("double[1]", 1), ("double[2]", 1), ("add_up", 1)}
    assert {step["status"] for step in steps.values()} == {"completed"}
    assert all(NOT_REACHED in step["metadata"] for step in [*steps.values(), run])
    assert [steps[f"double[{n}]", 1]["map_index"] for n in (1, 2)] == [0, 1]
    assert steps["add_up", 1]["upstream"] == sorted(steps[f"double[{n}]", 1]["step_id"] for n in (1, 2))
    assert len(said) == 1
    assert "xray run -- CMD" in said[0]


@pytest.mark.parametrize("containers", ["with X-Ray", "without"])
def test_steps_in_containers_are_captured_there_or_made_of_events_and_no_warning_guesses_which(
    live: Live, environment: dict[str, str], containers: str
) -> None:
    environment.update(XRAY_TEST_CONTAINERS=containers, XRAY_TEST_BY_CONFIG="1")
    run_id, said = execute_loudly("delegated", environment, "delegated")
    assert said == []
    spool = environment["XRAY_SPOOL_DIR"]
    for each in (spool, *(f"{spool}-{key}" for key in ("fan_out", "double[1]", "double[2]", "add_up"))):
        sync({**environment, "XRAY_SPOOL_DIR": each})
    run, steps = live.get(f"/runs/{run_id}"), steps_of(live, run_id)
    assert run["status"] == "completed"
    assert set(steps) == {("fan_out", 1), ("double[1]", 1), ("double[2]", 1), ("add_up", 1)}
    assert {step["status"] for step in steps.values()} == {"completed"}
    assert [steps[f"double[{n}]", 1]["map_index"] for n in (1, 2)] == [0, 1]
    missed = {key for (key, _), step in steps.items() if NOT_REACHED in step["metadata"]}
    if containers == "with X-Ray":
        assert missed == set(), "what was captured there wins"
        assert live.why(run_id, "item-1")["outcome"] == "rejected"
        assert steps["add_up", 1]["output"] is not None
    else:
        assert missed == {"fan_out", "double[1]", "double[2]", "add_up"}
    assert NOT_REACHED not in run["metadata"], "the process that drives the run cannot know it"


def test_a_line_in_dagster_yaml_reaches_every_process_that_executes_a_step(
    live: Live, environment: dict[str, str]
) -> None:
    environment["XRAY_TEST_BY_CONFIG"] = "1"
    config = Path(environment["DAGSTER_HOME"]) / "dagster.yaml"
    config.write_text(config.read_text() + "instance_class: {module: xray_dagster.instance, class: XRayInstance}\n")
    run_id, said = execute_loudly("several", environment)
    sync(environment)
    assert said == []
    steps = steps_of(live, run_id)
    assert set(steps) == {("fan_out", 1), ("double[1]", 1), ("double[2]", 1), ("add_up", 1)}
    assert not [key for key, step in steps.items() if NOT_REACHED in step["metadata"]]
    assert live.why(run_id, "item-1")["outcome"] == "rejected"
    told = subprocess.run(
        [str(BIN / "xray"), "doctor", "--json"], env=environment, capture_output=True, text=True, timeout=60
    )
    (dagster,) = (each for each in json.loads(told.stdout)["integrations"] if each["framework"] == "dagster")
    assert dagster["how"].startswith(f"by {config}: captured in every process")


def test_a_graph_asset_tells_what_the_steps_before_its_last_one_rejected_in_other_processes(
    live: Live, environment: dict[str, str]
) -> None:
    environment["XRAY_DAGSTER_LEDGER"] = "1"
    run_id = execute("in_a_graph", environment)
    with DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        event = instance.get_latest_materialization_event(AssetKey("graph_of_mapped"))
    assert event is not None
    assert event.run_id == run_id
    assert event.asset_materialization is not None
    shown = event.asset_materialization.metadata
    assert shown["xray/rejected_before"].value == 30, "of all instances of a mapped step together"
    assert "30 rejected before it, at graph_of_mapped.keep_some" in str(shown["xray"].value)


def test_a_killed_step_is_closed_by_the_run_and_keeps_what_it_said(live: Live, environment: dict[str, str]) -> None:
    run_id = execute("dying", environment)
    sync(environment)
    steps = steps_of(live, run_id)
    for attempt, state in ((1, "STEP_UP_FOR_RETRY"), (2, "STEP_FAILURE")):
        step = steps["killed", attempt]
        assert (step["status"], step["origin"]["state"]) == ("failed", state)
        assert "SIGKILL" in step["error"]["message"] if isinstance(step["error"], dict) else "SIGKILL" in step["error"]
        assert step["rejection_counts"] == {"seen": 1}, "what it said before it died is kept"
    assert steps["not_reached", 1]["status"] == "skipped"
    assert live.get(f"/runs/{run_id}")["status"] == "failed"


def test_a_failing_step_tells_the_users_error_once(live: Live, environment: dict[str, str]) -> None:
    run_id = execute("failing", environment)
    sync(environment)
    steps = steps_of(live, run_id)
    assert "price is missing" in json.dumps(steps["fails", 1]["error"])
    assert "Dagster" not in json.dumps(steps["fails", 1]["error"]).replace("dagster", "")
    assert steps["not_reached", 1]["metadata"]["result.not_run"] == "upstream failed: fails"


def test_xray_run_dagster_dev_captures_a_launched_run_and_its_cancelling(
    live: Live, environment: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    started = tmp_path / "started"
    environment["XRAY_TEST_STARTED"] = str(started)
    command = [str(BIN / "xray"), "run", "--", str(BIN / "dagster"), "dev", "-p", str(port)]
    command += ["-m", "tests.integrations.dagster.processes"]
    log = (tmp_path / "dagster.log").open("w")
    dagster = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        ask = graphql(port)
        until("Dagster", lambda: ask("{ version }") or None, within_s=120)
        run_id = until("launched run", lambda: launch(ask, "best_offer"), within_s=60)
        run = until("run", lambda: _run(live, run_id, "completed"), within_s=120)
        assert run["origin"]["url"] == f"http://127.0.0.1:{port}/runs/{run_id}"
        steps = steps_of(live, run_id)
        assert set(steps) == {("offers", 1), ("best", 1)}
        assert steps["offers", 1]["rejection_counts"] == {"too_dear": 1}
        assert live.why(run_id, "2")["outcome"] == "not_selected"

        cancelled = until("launched run", lambda: launch(ask, "waiting"), within_s=60)
        until("waiting step", started.exists, within_s=120)
        ask(f'mutation {{ terminateRun(runId: "{cancelled}") {{ __typename }} }}')
        run = until("cancelled run", lambda: _run(live, cancelled, "failed"), within_s=120)
        assert run["origin"]["state"] == "CANCELED"
        assert steps_of(live, cancelled)["waits", 1]["status"] == "failed"
        assert steps_of(live, cancelled)["waits", 1]["rejection_counts"] == {"seen": 1}
    except BaseException:
        print((tmp_path / "dagster.log").read_text()[-6_000:])
        raise
    finally:
        dagster.send_signal(signal.SIGINT)
        try:
            dagster.wait(60)
        finally:
            end_session(dagster.pid)
            log.close()


def _run(live: Live, run_id: str, status: str) -> Any:
    answer = live.http.get(f"/runs/{run_id}")
    run = answer.json() if answer.status_code == 200 else None
    return run if run and run["status"] == status else None
