"""Log lines that say which run and step they belong to. Needs neither OpenTelemetry nor structlog."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from xray_core import current_run, current_step


class XRayFilter(logging.Filter):
    """Adds `xray_run_id` and `xray_step_id` to every record ("" outside a run): `handler.addFilter(XRayFilter())`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record pass."""
        record.xray_run_id, record.xray_step_id = ids()
        return True


def add_xray_ids(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: adds `xray_run_id` and `xray_step_id` inside a run."""
    run_id, step_id = ids()
    if run_id:
        event["xray_run_id"] = run_id
    if step_id:
        event["xray_step_id"] = step_id
    return event


def ids() -> tuple[str, str]:
    """The ids of the run and of the step that this code runs in; "" for none."""
    return getattr(current_run(), "run_id", "") or "", getattr(current_step(), "step_id", "") or ""
