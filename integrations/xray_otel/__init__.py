"""OpenTelemetry out: runs and steps as spans, metrics and log fields of the application's own providers.

    plugin      the plugin: off unless `XRAY_OTEL=1`, or `XRay(plugins=[xray_otel.spans()])`
    exporter    runs and steps as spans and metrics
    logs        a filter for `logging` and a processor for structlog: `xray_run_id`, `xray_step_id`

Sets up no provider, no exporter and no sampling: these are the application's. docs/otel.md has every attribute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xray_otel.logs import XRayFilter, add_xray_ids

if TYPE_CHECKING:
    from xray_otel.exporter import Spans

__all__ = ["XRayFilter", "add_xray_ids", "spans"]


def spans(**providers: Any) -> Spans:
    """The plugin, for `XRay(plugins=[...])`; takes `tracer_provider` and `meter_provider`, else the global ones are used."""
    from xray_otel.exporter import Spans

    return Spans(**providers)
