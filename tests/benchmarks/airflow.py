"""Airflow: what X-Ray's hooks cost a task, and what importing its plugin costs every Airflow process.

The same task with the listener and without it, in turns within one process: two processes that do the same differ by more
than the hooks cost. Its values are those of a small real task (20 records in, 10 out), in which the items are found, and 100
numbers. The spool is real and the X-Ray server is away.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile

from tests.benchmarks.machine import slowness, verdict

TARGET_MS = 1.0

_TASKS = """
import gc, json, os, sys, time, uuid, warnings
warnings.simplefilter("ignore")
import logging; logging.disable(logging.CRITICAL)
from datetime import datetime, timezone
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.listener import get_listener_manager
from xray_airflow.listener import Listener

ExecutorSafeguard.test_mode = True  # execute() outside of a task runner
PAIRS = int(sys.argv[1])
ROWS = [{"id": f"o{n}", "price": 10.0 * n, "country": "DE"} for n in range(20)]
VALUES = {"20 records": (ROWS, lambda rows: [row for row in rows if row["price"] < 100]), "100 numbers": (list(range(100)), lambda rows: rows)}

with DAG("bench", schedule=None) as dag:
    tasks = {}
    for name in range(18):
        PythonOperator(task_id=f"t{name}", python_callable=print)
    for name, (given, function) in VALUES.items():
        task_id = name.replace(" ", "_")
        tasks[name] = PythonOperator(task_id=task_id, python_callable=function, op_args=[given], show_return_value_in_logs=False)

manager = get_listener_manager().pm
hook = get_listener_manager().hook
(ours,) = [each for each in manager.get_plugins() if type(each) is Listener]
counted = iter(range(1_000_000))

NOW = datetime.now(timezone.utc)
RUN = DagRun(dag_id="bench", run_id="r", logical_date=NOW, data_interval_start=None, data_interval_end=None, run_after=NOW,
    start_date=NOW, end_date=None, run_type="manual", state="running", conf={"limit": 3}, consumed_asset_events=[], partition_key=None)

def one(operator):
    task = operator.prepare_for_execution()
    run_id = f"r{next(counted)}"
    served = TIRunContext(dag_run=RUN.model_copy(update={"run_id": run_id}), max_tries=0)
    ti = RuntimeTaskInstance.model_construct(
        id=uuid.uuid4(), task_id=operator.task_id, dag_id="bench", run_id=run_id, try_number=1, map_index=-1, task=task,
        dag_version_id=uuid.uuid4(), max_tries=0, start_date=NOW, state=None, _ti_context_from_server=served)
    began = time.perf_counter(), time.thread_time()
    hook.on_task_instance_running(previous_state=None, task_instance=ti)
    task.execute(context={})
    hook.on_task_instance_success(previous_state=None, task_instance=ti)
    ended = time.perf_counter(), time.thread_time()
    return [(ended[k] - began[k]) * 1000 for k in (0, 1)]

def without(operator):
    manager.unregister(ours)
    try:
        return one(operator)
    finally:
        manager.register(ours)

operator = tasks["20 records"]
bare = without(operator)
first = one(operator)
time.sleep(1)  # what a process does once (imports of the sender's, the first connection) is no task's cost
pairs = {}
for name, operator in tasks.items():
    found = pairs[name] = []
    gc.collect()
    gc.disable()
    for n in range(-20, PAIRS):
        before = without(operator) if n % 2 else None
        own = one(operator)
        pair = own, before if before is not None else without(operator)
        if n >= 0:
            found.append(pair)
    gc.enable()
print(json.dumps({"first": [first, bare], "pairs": pairs}))
os._exit(0)
"""

_IMPORT = """
import sys, time
import airflow.plugins_manager, pluggy
began = time.process_time()
import xray_airflow.plugin
xray_airflow.plugin.XRayPlugin.on_load()
print((time.process_time() - began) * 1000)
"""


def main() -> None:
    """Print the figures. Targets: hooks below 1 ms a task, import below 50 ms of CPU in a fresh interpreter."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ, "AIRFLOW_HOME": home, "XRAY_SPOOL_DIR": f"{home}/spool", "XRAY_API_URL": "http://127.0.0.1:9",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }  # fmt: skip
        imports = sorted(float(_run(_IMPORT, environment)) for _ in range(5))
        print(
            f"import of the plugin, fresh interpreter   {statistics.median(imports):6.1f} ms CPU   (worst {imports[-1]:.1f})"
        )
        found = json.loads(_run(_TASKS, environment, "300"))
    slow = slowness()
    for values, pairs in found["pairs"].items():
        for which, clock in ((1, "CPU of the task's thread"), (0, "by the clock")):
            with_ms, without_ms = (statistics.median(pair[way][which] for pair in pairs) for way in (0, 1))
            low, added, high = statistics.quantiles([pair[0][which] - pair[1][which] for pair in pairs], n=4)
            print(
                f"a task of {values}: {without_ms:.3f} ms, with X-Ray {with_ms:.3f} ms   +{added:.3f} ms "
                f"(half of {len(pairs)} pairs from {low:.3f} to {high:.3f})   {clock}"
            )
        print("  by the clock: " + verdict(added, TARGET_MS, slow))
    own, bare = found["first"]
    print(
        f"a process's first task, by the clock: {own[0] - bare[0]:.0f} ms more (imports the client, unless a parent did)"
    )


def _run(code: str, environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"the benchmark's process failed:\n{done.stderr[-3000:]}")
    return done.stdout.splitlines()[-1]


if __name__ == "__main__":
    main()
