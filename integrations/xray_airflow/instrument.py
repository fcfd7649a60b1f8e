"""What `xray doctor` says of this adapter, in this process. Imports no Airflow unless it is asked to look (`--check`).

Airflow loads the plugin by itself, so there is nothing to wrap: what `enable()` does elsewhere is here a look at whether it would.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from xray_core.plugins.hookspecs import hookimpl
from xray_core.plugins.instrument import Instrument
from xray_core.safety import guard


class _Plugin(Instrument):
    """An adapter whose enabling is its framework's: enabled is what Airflow has loaded and not switched off."""

    def report(self) -> dict[str, Any]:
        plugin = sys.modules.get("xray_airflow.plugin")
        return {**super().report(), "enabled": plugin is not None and bool(plugin.XRayPlugin.listeners)}


def _look(module: ModuleType) -> None:
    """Load the plugin as Airflow does, and see which hooks of ours this Airflow knows."""
    from xray_airflow import config, listener, plugin

    with guard("airflow: reading [xray] in airflow.cfg"):
        config.export_settings()  # so that what doctor says of the server is about the one that tasks send to
    known = {name for made in plugin.XRayPlugin.listeners for name in vars(made)}
    if not plugin.XRayPlugin.listeners:
        return
    for hook in listener.wanted_hooks():
        if hook in known:
            instrument.found(hook)
        else:
            instrument.missing(hook, "a hook that this Airflow does not have")


def _how() -> str:
    plugin = sys.modules.get("xray_airflow.plugin")
    if os.environ.get("XRAY_ENABLED") or (plugin is not None and not plugin.XRayPlugin.listeners):
        from xray_airflow import config

        if not config.enabled():
            return "switched off: XRAY_ENABLED, or enabled in the section [xray] of airflow.cfg"
    if plugin is None:
        return "Airflow loads the plugin itself when a component or a task starts; `xray doctor --check` tries whether it would here"
    from xray_airflow import config, task

    running = task.current()
    chosen = config.dag_filter()
    dags = f"dags: {', '.join(chosen.allow) or 'all'}" + (f", but {', '.join(chosen.deny)}" if chosen.deny else "")
    inside = f"; this process runs {running.key[2]} of {running.key[0]}" if running is not None else ""
    return f"captured here, {dags}{inside}"


instrument = _Plugin(
    "airflow",
    distribution="apache-airflow",
    since="2.11",
    before="4",
    seams={"airflow.plugins_manager": _look},
    how=_how,
)


@hookimpl
def xray_instruments() -> dict[str, Callable[[], None]]:
    """For `xray doctor`; under `xray run` it changes nothing, since Airflow loads the plugin itself."""
    return {"airflow": instrument}
