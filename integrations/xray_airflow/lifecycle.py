"""The hooks that concern the task's own process and the scheduler's alike: a task instance ended, a component stops.

Asks task.py whether the task is this process's, and hands over to task.py or dagruns.py.
"""

from __future__ import annotations

from typing import Any

from xray_airflow import dagruns, sweep, task
from xray_airflow.client import client, is_made


def task_ended(ti: Any, state: str, error: Any) -> None:
    """Airflow says that a task instance ended: the one that runs here, or one that was ended from outside its process.

    Args:
        state: Airflow's: "success", "failed" or "skipped".
        error: what Airflow gives as the reason; an exception, a text or None.
    """
    if task.is_ours(ti):
        task.on_ended(ti, state, error)
    else:
        dagruns.on_task_ended_outside(ti, state, error)


def stopping(component: Any) -> None:
    """A component stops: what it runs is ended, what it captured is delivered. Waits for seconds at most."""
    task.before_stopping()
    if task.is_task_process():
        client().close(task.patience_s())  # given up at the first failure
    elif not task.runs_tasks(component) and is_made():
        sweep.finish()
        client().flush(client().settings.shutdown_timeout_s)
