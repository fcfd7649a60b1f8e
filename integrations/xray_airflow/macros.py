"""For templates: `{{ macros.xray.run_id(ti) }}` and its like hand a task's step to what runs elsewhere, in a pod or on another host.

Must stay cheap: every Airflow process imports it. Where nothing is captured the texts are empty, and so mean nothing there.
"""

from __future__ import annotations

from typing import Any

from xray_core.safety import guarded


@guarded("airflow: macros.xray.run_id", default="")
def run_id(ti: Any) -> str:
    """For the variable XRAY_RUN_ID: the run of a task instance's dag run."""
    from xray_airflow import config, fields

    return fields.run_id_of(ti.dag_id, ti.run_id) if config.enabled() and config.wants(ti.dag_id) else ""


@guarded("airflow: macros.xray.step_id", default="")
def step_id(ti: Any) -> str:
    """For the variable XRAY_STEP_ID: the step of a task instance."""
    from xray_airflow import config, fields

    if not config.enabled() or not config.wants(ti.dag_id):
        return ""
    map_index = fields.loaded(ti, "map_index")
    return fields.step_id_of(ti.dag_id, ti.run_id, ti.task_id, -1 if map_index is None else int(map_index))


@guarded("airflow: macros.xray.attempt", default="1")
def attempt(ti: Any) -> str:
    """For the variable XRAY_STEP_ATTEMPT: which try this is, from 1."""
    return str(max(1, int(ti.try_number or 1)))
