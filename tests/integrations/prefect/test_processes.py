"""Prefect in processes of its own: workers, pools, and programs that must not notice X-Ray (`make test-stack`).

Tests instrument.py and plugin.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integrations.prefect.captured import Captured, read_spool

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
XRAY_RUN = [str(BIN / "xray"), "run", "--"]
pytestmark = [pytest.mark.stack]


@pytest.fixture
def environment(prefect_server: str, tmp_path: Path) -> dict[str, str]:
    """Of a process that has Prefect and its API, and an X-Ray server that is away."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("XRAY_")}
    return {
        **clean,
        "PREFECT_API_URL": prefect_server,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "XRAY_SPOOL_DIR": str(tmp_path / "spool"),
        "XRAY_API_URL": "http://127.0.0.1:9",
        "XRAY_SHUTDOWN_TIMEOUT_S": "0.2",
    }


def run(command: list[str], environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=200, check=False)


POOL = """
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner
from xray_core import current_step

@task
def work(n):
    import os
    current_step().reject(f"item{n}", f"in {os.getpid()}")
    return n

@flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
def pooled():
    return sum(work.map(range(4)).result())

if __name__ == "__main__":
    assert pooled() == 6
"""


@pytest.mark.parametrize("way", ["plugin", "xray run", "one line", "one line that no worker imports"])
def test_tasks_in_a_process_pool_are_steps_of_the_flow_they_belong_to(
    way: str, environment: dict[str, str], tmp_path: Path
) -> None:
    line = "import xray_prefect; xray_prefect.enable()\n"
    flow = line + POOL if way == "one line" else POOL
    if way == "one line that no worker imports":
        flow = POOL.replace("    assert pooled() == 6", f"    {line}    assert pooled() == 6")
    (tmp_path / "flow.py").write_text(flow)
    command = [sys.executable, "flow.py"]
    if way == "plugin":
        environment["PREFECT_PLUGINS_ENABLED"] = "1"
    done = run([*XRAY_RUN, *command] if way == "xray run" else command, environment, tmp_path)
    assert done.returncode == 0, done.stderr
    captured = read_spool(tmp_path)
    steps = captured.steps("work")
    assert sorted(captured.rejected(step) for step in steps) == [["item0"], ["item1"], ["item2"], ["item3"]]
    assert {step["run_id"] for step in steps} == {captured.run("pooled")["run_id"]}
    assert {step["status"] for step in steps} == {"completed"}
    assert sorted(step["map_index"] for step in steps) == [0, 1, 2, 3]
    assert len({next(iter(step["reasons"]["rejected"])) for step in steps}) >= 1
    assert captured.run("pooled")["status"] == "completed"


DEPLOYED = """
from prefect import flow, task
from xray_core import current_step

@task
def step_of_deployment(x):
    current_step().reject("d", "r")
    return [x]

@flow(version="v9")
def deployed(x: int = 1):
    return step_of_deployment(x)
"""


def deploy(name: str, place: Path) -> list[str]:
    """Deploy DEPLOYED under this name, to a work pool of its own; the command of a worker that executes what there is to run."""
    from prefect import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.flows import Flow

    (place / "deployed_flow.py").write_text(DEPLOYED)
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=f"xray-{name}", type="process"))
    source = Flow.from_source(str(place), entrypoint="deployed_flow.py:deployed")
    source.deploy(name=name, work_pool_name=f"xray-{name}", print_next_steps=False)  # type: ignore[union-attr]
    command = ["worker", "start", "--pool", f"xray-{name}", "--run-once", "--install-policy", "never"]
    return [str(BIN / "prefect"), *command]


WAITS = """
from prefect import flow
from prefect.deployments import run_deployment

@flow
def waits():
    return run_deployment("deployed/waited-for", parameters={"x": 7}, poll_interval=0.5).state.name

if __name__ == "__main__":
    assert waits() == "Completed"
"""


def test_what_a_worker_runs_for_a_flow_that_waits_for_it_is_a_child_of_that_flow(
    environment: dict[str, str], tmp_path: Path
) -> None:
    from prefect import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName

    worker = deploy("waited-for", tmp_path)
    (tmp_path / "waits.py").write_text(WAITS)
    command = [*XRAY_RUN, sys.executable, "waits.py"]
    caller = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        asked_for = DeploymentFilter(name=DeploymentFilterName(any_=["waited-for"]))
        deadline = time.monotonic() + 120
        with get_client(sync_client=True) as client:
            while not client.read_flow_runs(deployment_filter=asked_for):
                assert time.monotonic() < deadline, "the flow asks for no run"
                time.sleep(0.2)  # between two looks, up to the deadline
        done = run([*XRAY_RUN, *worker], environment, tmp_path)
        _, said = caller.communicate(timeout=120)
    finally:
        caller.kill()
        caller.wait()
    assert (done.returncode, caller.returncode) == (0, 0), done.stderr + said
    captured = read_spool(tmp_path)
    step, child = captured.step("deployed/waited-for"), captured.run("deployed")
    assert step["run_id"] == captured.run("waits")["run_id"]
    assert child["parent"] == {"run_id": step["run_id"], "step_id": step["step_id"]}
    assert (step["status"], step["origin"]["state"], child["status"]) == ("completed", "Completed", "completed")
    assert child["input"] == {"x": 7}


def test_a_deployment_run_by_a_worker_is_captured(environment: dict[str, str], tmp_path: Path) -> None:
    from prefect.deployments import run_deployment

    worker = deploy("nightly", tmp_path)
    flow_run = run_deployment("deployed/nightly", timeout=0, parameters={"x": 5})
    done = run([*XRAY_RUN, *worker], environment, tmp_path)
    assert done.returncode == 0, done.stderr
    captured = read_spool(tmp_path)
    found = captured.run("deployed")
    assert (found["run_id"], found["status"]) == (str(flow_run.id), "completed"), done.stderr  # type: ignore[union-attr]
    assert found["origin"]["ids"]["deployment_id"] == str(flow_run.deployment_id)  # type: ignore[union-attr]
    assert found["input"] == {"x": 5}
    assert captured.rejected(captured.step("step_of_deployment")) == ["d"]


DELAYED = """
import sys
from prefect import task
from prefect.task_worker import serve
from xray_core import current_step

@task
def later(x):
    current_step().reject(f"late{x}", "r")
    print("done", flush=True)
    return x

if __name__ == "__main__":
    serve(later) if sys.argv[1] == "serve" else later.delay(3)
"""


def test_a_delayed_task_is_a_run_of_its_own_in_the_worker(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "delayed.py").write_text(DELAYED)
    worker = subprocess.Popen(
        [*XRAY_RUN, sys.executable, "delayed.py", "serve"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert run([sys.executable, "delayed.py", "delay"], environment, tmp_path).returncode == 0
        assert worker.stdout is not None
        assert worker.stdout.readline() == "done\n"
        captured = _eventually(lambda: read_spool(tmp_path), worker)
    finally:
        if worker.poll() is None:
            worker.kill()
        worker.communicate()
    found = captured.run("later")
    assert (found["status"], found["output"]) == ("completed", 3)
    assert captured.rejected(captured.step("later")) == ["late3"]


def _eventually(read: Callable[[], Captured], worker: subprocess.Popen[str]) -> Captured:
    """The task has spoken; its end is written within a moment. Then the worker is asked to go, as a supervisor would."""
    time.sleep(1)
    worker.send_signal(signal.SIGINT)
    try:
        worker.wait(30)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
    return read()


OUTCOMES = """
import asyncio, json
from prefect import flow, task
from prefect.states import Failed
{enable}

tries = []

@task(retries=1)
def flaky(x):
    tries.append(x)
    if len(tries) == 1:
        raise ValueError("first try")
    return x

@task
def broken():
    raise KeyError("missing")

@task
def says_no():
    return Failed(message="no")

@task
def numbers():
    yield from range(3)

@task(timeout_seconds=0.2)
def slow():
    import time
    while True:
        time.sleep(0.01)

@task
async def awaits(n):
    await asyncio.sleep(0)
    return n

@flow
def child(x):
    return flaky(x)

@flow
def everything():
    failed = broken.submit()
    states = [failed.state.name if failed.wait() else failed.state.name]
    states += [flaky.submit(failed, return_state=True).name, says_no(return_state=True).name, slow(return_state=True).name]
    return states, child(7), list(numbers()), flaky.map([1, 2, 3]).result()

@flow
async def gathers():
    return await asyncio.gather(*(awaits(n) for n in range(3)))

@flow
def fails():
    broken()

@flow
def leaves():
    raise SystemExit(5)

outcome = [everything(), asyncio.run(gathers())]
for bad in (fails, leaves):
    try:
        bad()
    except BaseException as error:
        outcome.append([type(error).__name__, str(error.args)])
print(json.dumps(outcome))
raise SystemExit(6)
"""
HOSTILE = """
import xray_prefect; xray_prefect.enable()
from xray_core.xray import set_default_client
class Hostile:
    def __getattr__(self, name):
        raise RuntimeError("hostile")
set_default_client(Hostile())
"""
ENABLED = "import xray_prefect; xray_prefect.enable()"


def _logs(stderr: str) -> list[str]:
    """What a person would read: without times, ids, generated names, our own lines, and frames of files."""
    lines = []
    for line in stderr.splitlines():
        if "X-Ray" in line or line.startswith((" ", "Traceback", "During")):
            continue
        line = re.sub(r"^[\d:.]+ \| ", "", line)
        line = re.sub(r"(Flow|Task) run '[^']*'|subflow run '[^']*'|flow run '[^']*'", "run", line)
        line = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|0x[0-9a-f]+|http://\S+", "ID", line)
        lines.append(line)
    return sorted(lines)


def test_a_program_whose_x_ray_is_broken_behaves_as_without_it(environment: dict[str, str], tmp_path: Path) -> None:
    environment["PREFECT_LOGGING_LEVEL"] = "INFO"
    readonly = tmp_path / "a file where the spool should be"
    readonly.write_text("")
    variants = {
        "without": ("", {}),
        "server away": (ENABLED, {}),
        "spool is no directory": (ENABLED, {"XRAY_SPOOL_DIR": str(readonly)}),
        "spool full": (ENABLED, {"XRAY_SPOOL_DIR": "/dev/full"}),
        "wrong setting": (ENABLED, {"XRAY_SAMPLE_RATE": "many"}),
        "adapter raises everywhere": (HOSTILE, {}),
    }
    told: dict[str, tuple[int, object, list[str]]] = {}
    for name, (enable, more) in variants.items():
        script = tmp_path / "outcomes.py"
        script.write_text(OUTCOMES.replace("{enable}", enable))
        done = run([sys.executable, str(script)], {**environment, **more}, tmp_path)
        assert done.stdout, f"{name}: {done.stderr}"
        told[name] = done.returncode, json.loads(done.stdout.splitlines()[-1]), _logs(done.stderr)
        warnings = [line for line in done.stderr.splitlines() if "X-Ray" in line]
        # the server that is away, the spool that takes nothing, what is lost by both: each once, not once a task
        at_most = 3 if name.startswith("spool") else 1
        if name == "adapter raises everywhere":  # each site once, and none hides another (test_runners.py)
            at_most = len({line.partition("X-Ray: ")[2].partition(" failed (")[0] for line in warnings})
        assert len(warnings) <= at_most, f"{name}: {warnings}"
    for name, outcome in told.items():
        assert outcome == told["without"], name
    assert told["without"][0] == 6


def test_prefect_imported_inside_an_event_loop_is_captured_by_xray_run(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Prefect leaves its plugins out then, as in notebooks."""
    (tmp_path / "inside.py").write_text(
        "import asyncio\n"
        "async def main():\n"
        "    from prefect import flow\n"
        "    @flow\n"
        "    async def inside():\n"
        "        return 1\n"
        "    assert await inside() == 1\n"
        "asyncio.run(main())\n"
    )
    done = run([*XRAY_RUN, sys.executable, "inside.py"], environment, tmp_path)
    assert done.returncode == 0, done.stderr
    assert read_spool(tmp_path).run("inside")["status"] == "completed"
