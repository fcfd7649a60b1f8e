"""OpenLineage out: events of runs and steps with row counts and the decisions behind them.

    plugin      the plugin: off unless `XRAY_OPENLINEAGE=1`, or `XRay(plugins=[xray_openlineage.events()])`
    run_events  runs and steps as events of the project's own client
    airflow     the job and run ids of Airflow's provider, where it runs beside us
    queue       events leave on a thread of their own, and never hold up the pipeline

Where events go is the client's configuration (`OPENLINEAGE_URL`, `OPENLINEAGE__TRANSPORT__...`, `openlineage.yml`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xray_openlineage.run_events import Events

__all__ = ["events"]


def events(client: Any = None) -> Events:
    """The plugin, for `XRay(plugins=[...])`; `client` is an `OpenLineageClient`, else one is made as its configuration says."""
    from xray_openlineage.run_events import Events

    return Events(client)
