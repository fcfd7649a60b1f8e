"""Airflow: what X-Ray's hooks cost a task, and what importing its plugin costs every Airflow process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile

from tests.benchmarks.machine import slowness, verdict

_TASKS = """
import json, os, sys, time, uuid, warnings
warnings.simplefilter("ignore")
import logging; logging.disable(logging.CRITICAL)
from datetime import datetime, timezone
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.listener import get_listener_manager

ExecutorSafeguard.test_mode = True  # execute() outside of a task runner

def nothing(rows):
    return rows

with DAG("bench", schedule=None) as dag:
    for name in range(20):
        last = PythonOperator(task_id=f"t{name}", python_callable=nothing, op_args=[list(range(100))])

hook = get_listener_manager().hook

def one(n):
    task = last.prepare_for_execution()
    ti = RuntimeTaskInstance.model_construct(
        id=uuid.uuid4(), task_id=last.task_id, dag_id="bench", run_id=f"r{n}", try_number=1, map_index=-1, task=task,
        dag_version_id=uuid.uuid4(), max_tries=0, start_date=datetime.now(timezone.utc), state=None)
    began = time.perf_counter(), time.process_time()
    hook.on_task_instance_running(previous_state=None, task_instance=ti)
    task.execute(context={})
    hook.on_task_instance_success(previous_state=None, task_instance=ti)
    ended = time.perf_counter(), time.process_time()
    return [ended[k] - began[k] for k in (0, 1)]

first = one(0)
rest = [one(n) for n in range(1, 301)]
print(json.dumps({"first": first, "rest": rest}))
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
        with_hooks = json.loads(_run(_TASKS, environment))
        without = json.loads(_run(_TASKS, {**environment, "XRAY_ENABLED": "0"}))
    slow = slowness()
    for label, which in (("wall", 0), ("CPU", 1)):
        costs = sorted(each[which] * 1000 for each in with_hooks["rest"])
        bare = statistics.median(each[which] * 1000 for each in without["rest"])
        print(
            f"hooks + execute of an empty task, {label:4}   {statistics.median(costs):6.2f} ms with X-Ray, {bare:.2f} without: "
            f"{statistics.median(costs) - bare:.2f} ms a task   (p95 {costs[int(len(costs) * 0.95)]:.2f})"
        )
        if label == "CPU":
            print("  " + verdict(statistics.median(costs) - bare, 1.0, slow))
        cold = (with_hooks["first"][which] - without["first"][which]) * 1000
        print(
            f"a process's first task, {label:4}             {cold:6.0f} ms more (imports the client, unless a parent did)"
        )


def _run(code: str, environment: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"the benchmark's process failed:\n{done.stderr[-3000:]}")
    return done.stdout.splitlines()[-1]


if __name__ == "__main__":
    main()
