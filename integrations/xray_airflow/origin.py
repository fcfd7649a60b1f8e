"""The `xray.plugins` entry point of this adapter: where a run that starts by hand inside a task belongs, and what `xray doctor` says."""

from __future__ import annotations

import sys

from xray_airflow.instrument import xray_instruments
from xray_core.model import Origin
from xray_core.plugins.hookspecs import hookimpl

__all__ = ["xray_instruments", "xray_run_origin"]


@hookimpl
def xray_run_origin() -> tuple[Origin, str | None, str | None] | None:
    """The task instance around the calling code, if an Airflow task is running in this process."""
    task = sys.modules.get("xray_airflow.task")  # not imported here: most processes with a client run no task
    running_task = task.current() if task is not None else None
    return None if running_task is None else (running_task.origin, running_task.step.run_id, running_task.step.step_id)
