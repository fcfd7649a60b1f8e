"""Runs the example DAGs that come with Airflow's packages in this process, each by `dag.test()`, and writes down what came of
them: started twice by test_examples.py, with X-Ray and without.

    python -m tests.integrations.airflow.run_examples OUT.json [PATTERN ...]
"""

from __future__ import annotations

import fnmatch
import json
import logging
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

# What waits for a person, for hours, for the network, for another DAG's schedule, or for a package of its own.
LEFT_OUT = (
    "*hitl*", "*external_task*", "*sensor*", "example_trigger_controller_dag", "*virtualenv*", "*kubernetes*", "*local_kubernetes*",
    "*event*", "*watcher*", "*deadline*", "*time_delta*", "*asset_store*", "*state_store*", "*partition*", "example_dag_decorator",
    "example_python_operator", "example_python_decorator", "example_branch_operator", "example_branch_dop_operator_v3",
    "example_branch_python_operator_decorator", "example_retry_policy", "*objectstorage*",
)  # fmt: skip
MOST_S = 40


class TooLong(BaseException):
    """A DAG took longer than `MOST_S`; no operator catches this."""


def main(out: str, patterns: list[str]) -> None:
    """Run the DAGs that any of `patterns` fits (all without), and write {dag: {task: ...}} to `out`."""
    from airflow import example_dags, settings
    from airflow.dag_processing import dagbag
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.models.dagbag import DBDagBag  # noqa: F401  # loaded before the clock runs
    from airflow.providers.standard import example_dags as standard_examples

    settings.configure_orm()
    DagBundlesManager().sync_bundles_to_db()
    dags: dict[str, Any] = {}
    for package in (example_dags, standard_examples):
        folder = str(Path(package.__file__ or "").parent)
        bag = dagbag.BundleDagBag(dag_folder=folder, bundle_path=Path(folder), bundle_name="example_dags")
        dagbag.sync_bag_to_db(bag, "example_dags", None)
        dags.update(bag.dags)
    # dag.test() would read every file again for each of them
    dagbag.BundleDagBag = lambda **options: None  # type: ignore[assignment,misc]
    dagbag.sync_bag_to_db = lambda *arguments: None  # type: ignore[assignment]

    found: dict[str, Any] = {}
    for dag_id, dag in sorted(dags.items()):
        chosen = any(fnmatch.fnmatch(dag_id, each) for each in patterns) if patterns else True
        if not chosen or (not patterns and any(fnmatch.fnmatch(dag_id, each) for each in LEFT_OUT)):
            continue
        started = time.monotonic()
        random.seed(dag_id)  # some examples branch by chance
        found[dag_id] = _run(dag)
        print(f"{time.monotonic() - started:6.1f} s  {dag_id}  {found[dag_id]['state']}", file=sys.stderr, flush=True)
    Path(out).write_text(json.dumps(found, indent=1, sort_keys=True, default=str))


def _run(dag: Any) -> dict[str, Any]:
    signal.signal(signal.SIGALRM, _too_long)  # each time: Airflow leaves a handler of its own
    signal.alarm(MOST_S)
    try:
        dag_run = dag.test()
    except TooLong:
        return {"state": "too long", "tasks": {}}
    except Exception as error:  # an example that does not run here: it must not run with X-Ray either
        return {"state": type(error).__name__, "tasks": {}}
    finally:
        signal.alarm(0)
    return {"state": str(dag_run.state), "run_id": dag_run.run_id, "tasks": _tasks(dag_run)}


def _tasks(dag_run: Any) -> dict[str, Any]:
    from airflow import settings
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from sqlalchemy import func, select

    session = settings.Session()
    mine = {"dag_id": dag_run.dag_id, "run_id": dag_run.run_id}
    told = select(XComModel.task_id, XComModel.map_index, func.count()).filter_by(**mine).group_by(
        XComModel.task_id, XComModel.map_index
    )  # fmt: skip
    xcoms = {(task_id, map_index): n for task_id, map_index, n in session.execute(told)}
    rows = session.execute(
        select(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.state, TaskInstance.try_number).filter_by(
            **mine
        )
    )
    return {
        f"{task_id}[{map_index}]": {"state": state, "tries": tries, "xcoms": xcoms.get((task_id, map_index), 0)}
        for task_id, map_index, state, tries in rows
    }


def _too_long(*_: object) -> None:
    raise TooLong


if __name__ == "__main__":
    logging.disable(logging.INFO)
    main(sys.argv[1], sys.argv[2:])
