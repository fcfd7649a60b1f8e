"""The context of a flow, wrapped: a flow run begins where it is entered, and is over where it is left."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from xray_core.plugins.instrument import Instrument
from xray_prefect import fields
from xray_prefect.adapter import adapter
from xray_prefect.deployments import asked_for
from xray_prefect.runners import submitted, wrap_submit
from xray_prefect.wrapping import find_class, replace, safely


def wrap_flow_context(module: ModuleType, instrument: Instrument) -> None:
    """The context class and not the flow engine: `python -m prefect.flow_engine` runs a copy of that as `__main__`."""
    flow_context = find_class(module, "FlowRunContext", instrument)
    task_context = find_class(module, "TaskRunContext", instrument)
    if flow_context is None or task_context is None:
        return
    open_flows: dict[int, Any] = {}

    def entering(self: Any) -> None:
        safely(wrap_submit, type(self.task_runner))
        open_flows[id(self)] = _tokens_of(self, flow_context, task_context)

    def leaving(self: Any, error: BaseException | None) -> None:
        if id(self) in open_flows:
            tokens = open_flows.pop(id(self))
            run_id = fields.xray_id(self.flow_run.id)
            asked_for.asker_over(self.flow_run.id)
            adapter.flow_ends(self, tokens, error, submitted.pop_handed_over(run_id))
            submitted.report_not_begun(run_id)

    def make_enter(original: Callable[..., Any]) -> Callable[..., Any]:
        def __enter__(self: Any) -> Any:
            # detached: rebuilt in a task runner's worker, where the flow does not run
            if not self.detached and self.flow_run is not None:
                safely(entering, self)
            return original(self)

        return __enter__

    def make_exit(original: Callable[..., Any]) -> Callable[..., Any]:
        def __exit__(self: Any, *exc_info: Any) -> Any:
            safely(leaving, self, exc_info[1] if len(exc_info) > 1 else None)
            return original(self, *exc_info)

        return __exit__

    # FlowRunContext inherits both from its base, which other contexts share: they are defined on it alone
    for name, make in (("__enter__", make_enter), ("__exit__", make_exit)):
        if name not in flow_context.__dict__:
            inherited = getattr(flow_context, name, None)
            if inherited is not None:
                setattr(flow_context, name, inherited)
        replace(flow_context, name, make, instrument)


def _tokens_of(flow_context: Any, flow_class: Any, task_class: Any) -> Any:
    return adapter.flow_begins(flow_context, flow_class.get(), task_class.get())
