"""In the scheduler and the API server: runs as dag runs begin and end, and task states that were set from outside.

These hooks run in the scheduler's loop, inside its transaction: they read only what is loaded, write to the spool, and
leave everything slow to the sweep's thread.
"""

from __future__ import annotations

from typing import Any

from xray_airflow import config, fields, sweep
from xray_airflow.client import client
from xray_core.capture.run import Run
from xray_core.model import Status


def on_running(dag_run: Any) -> None:
    """A dag run starts; also when it does so again, after it was cleared."""
    if (run := _run(dag_run, "running")) is not None:
        run.open()
        run.detach()


def on_ended(dag_run: Any, status: Status, message: Any) -> None:
    """A dag run ended."""
    state = "success" if status == "completed" else "failed"
    if (run := _run(dag_run, state)) is None:
        return
    error = {"type": "DagRunFailed", "message": str(message)} if status == "failed" else None
    run.close(status, error=error, ended_at=fields.loaded(dag_run, "end_date"))
    sweep.schedule_sweep(
        sweep.Finished(
            dag_id=run.pipeline,
            dag_run_id=fields.loaded(dag_run, "run_id"),
            state=state,
            dag=getattr(dag_run, "dag", None),
        )
    )


def on_task_ended_outside(ti: Any, state: str, error: Any) -> None:
    """A task instance was ended from outside its process: marked in the UI, or found dead by the scheduler."""
    dag_id, dag_run_id, task_id, try_number, map_index = (
        fields.loaded(ti, name) for name in ("dag_id", "run_id", "task_id", "try_number", "map_index")
    )
    if dag_id is None or dag_run_id is None or task_id is None or not config.wants(dag_id):
        return  # a row that is no longer loaded: the sweep will see it
    map_index = -1 if map_index is None else map_index
    ids = {"dag_id": dag_id, "run_id": dag_run_id, "task_id": task_id}
    run = client().attach_run(fields.run_id_of(dag_id, dag_run_id), dag_id)
    step = run.open_step_unwritten(
        task_id,
        step_id=fields.step_id_of(dag_id, dag_run_id, task_id, map_index),
        attempt=max(1, int(try_number or 1)),
        part="outside",
        index=sweep.NO_INDEX,
        map_index=map_index if map_index >= 0 else None,
        origin=fields.task_origin(ids, state=state, map_index=map_index, try_number=try_number),
        metadata={"result.set_from_outside": state},
    )
    status: Status = {"success": "completed", "skipped": "skipped"}.get(state, "failed")  # type: ignore[assignment]
    message = str(error) if error else f"set to {state} from outside the task's process"
    step.close(status, error=None if status == "completed" else {"type": "SetFromOutside", "message": message})


def _run(dag_run: Any, state: str) -> Run | None:
    ids = fields.dag_run_ids(dag_run)
    dag_id, dag_run_id = ids["dag_id"], ids["run_id"]
    if dag_id is None or dag_run_id is None or not config.wants(dag_id):
        return None
    tags = {str(tag): True for tag in sorted(getattr(getattr(dag_run, "dag", None), "tags", None) or ())}
    if ids.get("run_type") is not None:
        tags["run_type"] = ids["run_type"]
    return client().open_run_unwritten(
        dag_id,
        run_id=fields.run_id_of(dag_id, dag_run_id),
        part="scheduler",  # one part, whichever process writes: the newest revision counts, also after a dag run is cleared
        input=fields.loaded(dag_run, "conf") or None,
        tags=tags,
        origin=fields.run_origin(ids, state=state),
        started_at=fields.started_at_of(dag_run),
    )
