"""X-Ray: why did the pipeline make this decision?

    from xray_core import XRay

    xray = XRay("flight_rebooking")
    with xray.run(input={"to": "LAX"}) as run:
        with run.step("filter", step_type="filter") as step:
            step.reject("UA-1545", "too_late", {"departs": "19:40", "latest": "11:30"})

Importing this loads neither pydantic nor requests nor any framework: what needs them is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xray_core.capture.context import carry, current_run, current_step, inherited_ids
from xray_core.errors import ApiError, ConfigurationError, DeliveryError, NotFoundError, XRayError
from xray_core.model import Ledger, Origin

if TYPE_CHECKING:
    from xray_core.attaching import attach
    from xray_core.capture.run import Run
    from xray_core.capture.step import Step
    from xray_core.plugins.hookspecs import hookimpl
    from xray_core.query.client import Client
    from xray_core.settings import Settings
    from xray_core.tasks import TaskAttempt
    from xray_core.xray import XRay

__all__ = [
    "ApiError",
    "Client",
    "ConfigurationError",
    "DeliveryError",
    "Ledger",
    "NotFoundError",
    "Origin",
    "Run",
    "Settings",
    "Step",
    "TaskAttempt",
    "XRay",
    "XRayError",
    "attach",
    "carry",
    "current_run",
    "current_step",
    "hookimpl",
]

_LAZY = {
    "Client": "xray_core.query.client",
    "Run": "xray_core.capture.run",
    "Settings": "xray_core.settings",
    "Step": "xray_core.capture.step",
    "TaskAttempt": "xray_core.tasks",
    "XRay": "xray_core.xray",
    "attach": "xray_core.attaching",
    "hookimpl": "xray_core.plugins.hookspecs",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'xray_core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


if inherited_ids() is not None:
    # a parent process handed a step down through the environment: current_step() must find it
    import_module("xray_core.xray")
