"""What is read from Prefect's objects: ids, names, states, the graph, the link to Prefect's page. Reads only, no I/O.

Every function takes Prefect's own objects and may raise when a version shaped them differently: the caller guards.
Knows nothing of when things happen (adapter.py) or of how Prefect is wrapped (tasks.py, flows.py, runners.py, deployments.py).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from copy import copy
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

from xray_core.capture.code_version import code_version_of
from xray_core.model import STEP_TYPES, Origin, Status, derived_id

# What a step or run is at its end, by the type of Prefect's state. Cancelled and crashed work did not do its job.
_STATUS: Mapping[str, Status] = {
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CRASHED": "failed",
    "CANCELLED": "failed",
    "CANCELLING": "failed",
    "PAUSED": "running",
    "RUNNING": "running",
    "SCHEDULED": "running",
    "PENDING": "running",
}
_MAX_MEMBERS = 100
_INDEX = "__xray_map_index__"
_OUTSIDE = "__xray_outside__"
_BESIDE = "__xray_beside__"
PARENTS = "__parents__"  # Prefect's key for enclosing tasks among a task's inputs


@lru_cache(maxsize=256)  # each is asked for some six times a task
def xray_id(prefect_id: object) -> str:
    """Prefect's ids are UUIDs, and stay as they are: the same in both UIs."""
    return derived_id("prefect", prefect_id)


def state_name(state: Any) -> str:
    """As "Cached", "TimedOut", "AwaitingRetry": Prefect's most precise word."""
    return str(state.name or state.type.value)


def status(state: Any) -> Status:
    """X-Ray's status for a state of Prefect's; "running" for one that is not known."""
    return _STATUS.get(state.type.value, "running")


def is_final(state: Any) -> bool:
    """Whether a run in this state is over."""
    return state.type.value in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def page(kind: str, prefect_id: object) -> str | None:
    """The page in Prefect's UI, from `PREFECT_UI_URL` or what Prefect infers from its API's address; None without."""
    settings = sys.modules.get("prefect.settings")
    if settings is None:
        return None
    current = settings.get_current_settings()
    global _ui
    if _ui[0] is not current:
        # the first of Prefect 3 kept its settings under the names of their variables
        base = current.ui_url if hasattr(current, "ui_url") else settings.PREFECT_UI_URL.value()
        _ui = (current, str(base).rstrip("/") if base else _address_of_server(current))
    return f"{_ui[1]}/runs/{kind}/{prefect_id}" if _ui[1] is not None else None


def _address_of_server(settings: Any) -> str | None:
    """Without an API's address Prefect starts a server for this process alone, without pages; what it wrote is shown by
    `prefect server start`, which has the same database, at this address.
    """
    api = getattr(getattr(settings, "server", None), "api", None)
    host, port = getattr(api, "host", None), getattr(api, "port", None)
    return f"http://{host}:{port}" if host and port else None


# Prefect's settings object, and the address of its UI that followed from it: reading that takes as long as opening a step.
_ui: tuple[Any, str | None] = (None, None)


def flow_origin(flow_run: Any, *, state: str | None = None) -> Origin:
    """The flow run in Prefect; `state` is Prefect's name of its state."""
    ids = {
        "flow_run_id": str(flow_run.id),
        "flow_run_name": flow_run.name,
        "run_count": flow_run.run_count,
        "deployment_id": str(flow_run.deployment_id) if flow_run.deployment_id else None,
        "deployment_version": getattr(flow_run, "deployment_version", None),
        "work_pool": getattr(flow_run, "work_pool_name", None),
    }
    known = {name: value for name, value in ids.items() if value is not None}
    return Origin("prefect", "flow_run", known, page("flow-run", flow_run.id), state)


def started_at(flow_run: Any) -> datetime | None:
    """When it first began: a retry does not start it anew. Prefect's own kind of time is not read as a datetime."""
    start = flow_run.start_time
    return datetime.fromtimestamp(start.timestamp(), timezone.utc) if start is not None else None


def flow_metadata(flow: Any, flow_run: Any) -> dict[str, Any]:
    """What of the flow explains a changed answer. The version is the hash of its file, where the user gave none."""
    version = flow_run.flow_version or getattr(flow, "version", None)
    return {"flow_version": str(version)} if version else {}


def task_origin(task_run: Any, *, state: str | None = None) -> Origin:
    """The task run in Prefect; `state` is Prefect's name of its state."""
    ids = {
        "task_run_id": xray_id(task_run.id),
        "task_run_name": task_run.name,
        "task_key": task_run.task_key,
        "dynamic_key": task_run.dynamic_key,
        "flow_run_count": task_run.flow_run_run_count or None,
        "tags": sorted(task_run.tags) or None,
    }
    known = {name: value for name, value in ids.items() if value is not None}
    return Origin("prefect", "task_run", known, page("task-run", xray_id(task_run.id)), state)


def step_type(task: Any) -> str | None:
    """X-Ray's word for what the task does, where one of its tags, or its name, is such a word."""
    return next((word for word in STEP_TYPES if word in task.tags or word == task.name), None)


def task_metadata(task: Any) -> dict[str, Any]:
    """What of the task explains a changed answer: the version that the user gave it."""
    return {"task_version": str(task.version)} if getattr(task, "version", None) else {}


def task_code(task: Any) -> str | None:
    """A fingerprint of the task's function."""
    return code_version_of(task.fn)


def numbered(task: Any, index: int, beside: set[str]) -> Any:
    """A copy of the task that knows its place among mapped ones: in every try, thread and process to which it is handed.

    Args:
        beside: the runs of the others, as far as they have begun.
    """
    copied = copy(task)
    setattr(copied, _INDEX, index)
    setattr(copied, _BESIDE, beside)
    return copied


def beside(task: Any) -> set[str]:
    """The runs of the tasks that were mapped together with this one. Prefect takes a short text that the result of one and an
    argument of another have in common for a result passed on.
    """
    found: set[str] | None = getattr(task, _BESIDE, None)
    return set() if found is None else found


def index_of(task: Any) -> int | None:
    """The place that `numbered` gave to a task."""
    return getattr(task, _INDEX, None)


def outside(task: Any, task_run_id: str) -> Any:
    """A copy of the task that knows that it is not called in this one, whose context Prefect left behind: wherever it is handed."""
    copied = copy(task)
    setattr(copied, _OUTSIDE, task_run_id)
    return copied


def is_outside(task: Any, task_run_id: str) -> bool:
    """Whether `outside` said so."""
    return getattr(task, _OUTSIDE, None) == task_run_id


def parent_task_run_id(task_run: Any) -> str | None:
    """The task that this one was called in."""
    return next(iter(_input_ids(task_run, only_parents=True)), None)


def upstream(task_run: Any) -> list[str]:
    """The task runs whose results, or completion (`wait_for`), this one was given. Sorted."""
    return sorted(set(_input_ids(task_run, only_parents=False)))


def upstream_of_values(values: Mapping[str, Any]) -> list[str]:
    """The runs whose results these values are, as Prefect knows them in the flow that is current. Sorted.

    Looks at each value, and at the members of short lists: not into all that they hold, as Prefect does.
    """
    look_up = getattr(sys.modules.get("prefect.utilities.engine"), "get_state_for_result", None)
    found = set()
    if look_up is None:
        return []
    for value in values.values():
        members = value if type(value) in (list, tuple) and len(value) <= _MAX_MEMBERS else ()
        for each in (value, *members):
            run_id = _run_of_result(look_up(each))
            if run_id is not None:
                found.add(xray_id(run_id))
    return sorted(found)


def _run_of_result(known: Any) -> Any:
    if known is None:
        return None
    if not isinstance(known, tuple):  # before Prefect 3.4 results were those of tasks alone
        return known.state_details.task_run_id
    state, run_type = known
    return getattr(state.state_details.to_run_result(run_type), "id", None)


def _input_ids(task_run: Any, *, only_parents: bool) -> list[str]:
    found = []
    for name, inputs in (task_run.task_inputs or {}).items():
        if (name == PARENTS) is not only_parents:
            continue
        # besides task runs there are parameters and constants, which have no id
        found += [xray_id(each.id) for each in inputs if getattr(each, "id", None) is not None]
    return found


def given_to(engine: Any) -> dict[str, Any]:
    """What the task is called with. Results of mapped tasks come in a list of Prefect's own, which is a list to the task."""
    return {
        name: list(value) if type(value).__name__ == "PrefectFutureList" else value
        for name, value in (engine.parameters or {}).items()
    }


NOTHING = object()  # no output: unlike None, which is one


def task_output(engine: Any) -> Any:
    """What the task returned, where that can be seen without reading it from storage; else NOTHING."""
    return _in_memory(getattr(engine, "_return_value", NOTHING))


def flow_output(flow_run: Any) -> Any:
    """What the flow returned, as far as it is in memory; else NOTHING."""
    return _in_memory(getattr(flow_run.state, "data", NOTHING))


def _in_memory(value: Any, depth: int = 1) -> Any:
    name = type(value).__name__
    if name == "ResultRecord":
        return value.result
    if name == "State" and type(value).__module__.startswith("prefect."):
        return (
            _in_memory(value.data, depth - 1) if depth else NOTHING
        )  # a task may return a state that holds its result
    if name == "ResultRecordMetadata" or (isinstance(value, type) and value.__name__ == "NotSet"):
        return NOTHING
    return NOTHING if type(value).__module__.startswith("prefect.") else value


def failure(state: Any) -> dict[str, str]:
    """A state as an error, where there is no exception: a `Failed(...)` that was returned, a dependency that failed."""
    return {"type": state_name(state), "message": str(state.message or "")}
