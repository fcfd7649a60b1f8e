"""Flow runs that `run_deployment` makes for some worker: each a child of the step that stands for it where it was asked for.

Prefect tells the worker which task run stands for the flow run in the caller's graph, and not in which run that is: only the
caller's process knows. It says so as soon as there is a flow run, for a worker may begin at once, and the caller may wait for long.
Prefect's clients are wrapped, and not `run_deployment`, which a program may have imported before X-Ray is enabled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import ModuleType
from typing import Any, Final

from xray_core import xray as client
from xray_core.capture.step import Step
from xray_core.plugins.instrument import Instrument
from xray_prefect import fields
from xray_prefect.adapter import adapter
from xray_prefect.wrapping import find_class, replace, safely

_TASK_KEY: Final = (
    "prefect.deployments.flow_runs.run_deployment."  # of the tasks that stand for flow runs of deployments
)
_MAX_NAMES: Final = 100  # of deployments for which no flow run is made yet


class AskedFor:
    """Flow runs that this process has asked for, until they are over or what asked for them is."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # task run that stands for a flow run -> the deployment's name
        self._open: dict[
            str, tuple[str, Step]
        ] = {}  # flow run -> the task or flow run that asked for it, its step here

    def will_make(self, task: Any, task_run: Any) -> None:
        """Prefect has made a task run; of interest is one that will stand for the flow run of a deployment."""
        if str(task.task_key).startswith(_TASK_KEY):
            if len(self._names) >= _MAX_NAMES:
                self._names.pop(next(iter(self._names)))
            self._names[fields.xray_id(task_run.id)] = str(task.name)

    def made(self, flow_run: Any, given: Mapping[str, Any]) -> None:
        """Prefect has made a flow run of a deployment, by a call that was given this."""
        tracking_id = given.get("parent_task_run_id")
        name = self._names.pop(fields.xray_id(tracking_id), None) if tracking_id is not None else None
        outer_run, task_run = adapter.around()
        place = adapter.place_of(outer_run, task_run)
        if name is None or place is None:
            return
        attempt = max(1, (task_run if outer_run is None else outer_run).run_count)
        step = adapter.open_subflow_step(
            place, name, flow_run, tracking_id, given.get("parameters") or {}, attempt=attempt
        )
        run_id, (flow_name, is_known, _) = fields.xray_id(flow_run.id), name.partition("/")
        child = client.default_client().attach_run(
            run_id, flow_name if is_known else "", part="caller", parent=(place[0], step.step_id)
        )
        child.set_origin(fields.flow_origin(flow_run, state=fields.state_name(flow_run.state)))
        child.detach()
        step.set_origin_state(fields.state_name(flow_run.state))
        self._open[run_id] = place[1] or place[0], step

    def read(self, flow_run: Any) -> None:
        """Prefect has read a flow run: the step of one that is over ends as it did."""
        if not self._open or not fields.is_final(flow_run.state):
            return
        _, step = self._open.pop(fields.xray_id(flow_run.id), (None, None))
        if step is not None:
            status = fields.status(flow_run.state)
            step.set_origin_state(fields.state_name(flow_run.state))
            step.close(status, error=fields.failure(flow_run.state) if status != "completed" else None)

    def asker_over(self, prefect_id: object) -> None:
        """A try of a task, or a flow, is over: what it asked for and did not wait for has been asked for, no more is known."""
        if not self._open:
            return
        asker = fields.xray_id(prefect_id)
        for run_id in [each for each, (by, _) in self._open.items() if by == asker]:
            self._open.pop(run_id)[1].close("completed")


asked_for: Final = AskedFor()


def wrap_clients(module: ModuleType, instrument: Instrument) -> None:
    """What Prefect's two clients do for `run_deployment`."""
    for name in ("PrefectClient", "SyncPrefectClient"):
        found = find_class(module, name, instrument)
        if found is None:
            continue
        is_sync = name.startswith("Sync")
        for method, handle in _HANDLERS.items():
            owner = next((each for each in found.__mro__ if method in each.__dict__), None)
            if owner is None and is_sync:
                continue  # the first of Prefect 3 run deployments through the other client alone
            replace(owner or found, method, partial(_around_sync if is_sync else _around_async, handle), instrument)


def _task_run_made(task_run: Any, task: Any = None, *_: Any, **given: Any) -> None:
    asked_for.will_make(task if task is not None else given["task"], task_run)


def _flow_run_made(flow_run: Any, *_: Any, **given: Any) -> None:
    asked_for.made(flow_run, given)


def _flow_run_read(flow_run: Any, *_: Any, **__: Any) -> None:
    asked_for.read(flow_run)


_HANDLERS: Final[dict[str, Callable[..., None]]] = {
    "create_task_run": _task_run_made,
    "create_flow_run_from_deployment": _flow_run_made,
    "read_flow_run": _flow_run_read,
}


def _around_sync(handle: Callable[..., None], original: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = original(self, *args, **kwargs)
        safely(handle, answer, *args, **kwargs)
        return answer

    return method


def _around_async(handle: Callable[..., None], original: Callable[..., Any]) -> Callable[..., Any]:
    async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = await original(self, *args, **kwargs)
        safely(handle, answer, *args, **kwargs)
        return answer

    return method
