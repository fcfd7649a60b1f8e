"""What X-Ray's core asks of this adapter, without importing Prefect: how to enable it, and what it found.

Loaded as an `xray.plugins` entry point by every client, so it must stay light. The wrapping itself is in tasks.py, flows.py, runners.py,
deployments.py and blocks.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from xray_core.plugins.hookspecs import hookimpl
from xray_core.plugins.instrument import Instrument

if TYPE_CHECKING:
    from xray_core.model import Origin


def _seam(module_name: str, function: str, *more: object) -> Callable[[ModuleType], None]:
    def wrap(module: ModuleType) -> None:
        wrapping = import_module(f"xray_prefect.{module_name}")
        getattr(wrapping, function)(module, instrument, *more)

    return wrap


_SETTING = (
    "PREFECT_PLUGINS_ENABLED=1 (or enabled = true under [plugins] in prefect.toml, Prefect 3.7; see docs/prefect.md)"
)


def _how() -> str:
    if os.environ.get("XRAY_ENABLED", "1").strip().lower() in ("0", "false", "no", "off"):
        return "switched off: XRAY_ENABLED"
    by_itself = "xray_prefect.plugin" in sys.modules
    if instrument.enabled and "prefect" in sys.modules:
        way = "Prefect loads the plugin by itself" if by_itself else f"other processes need `xray run` or {_SETTING}"
        return f"captured here; {way}{_running()}"
    setting = os.environ.get("PREFECT_PLUGINS_ENABLED") or os.environ.get("PREFECT_EXPERIMENTS_PLUGINS_ENABLED") or ""
    if setting.lower() in ("1", "true", "yes", "on"):
        return (
            "PREFECT_PLUGINS_ENABLED is set: enabled wherever Prefect (3.4.24 or newer) is imported outside a running "
            "event loop; in a notebook, call xray_prefect.enable()"
        )
    return (
        f"{_SETTING}, or `xray run -- CMD`, or xray_prefect.enable(); `xray doctor --check` asks Prefect's own settings"
    )


def _running() -> str:
    """What of Prefect's the calling code is in."""
    from xray_prefect.adapter import adapter

    names = adapter.running()
    return f"; this process runs {' of '.join(names)}" if names else ""


def start_worker(initializer: Callable[..., object] | None, initargs: tuple[object, ...]) -> None:
    """The first that a worker of Prefect's process pool does: enable X-Ray there, then what the pool asks of it."""
    enable()
    if initializer is not None:
        initializer(*initargs)


instrument = Instrument(
    "prefect",
    distribution="prefect",
    since="3.0",
    before="4",
    seams={
        "prefect.context": _seam("flows", "wrap_flow_context"),
        "prefect.task_engine": _seam("tasks", "wrap_task_engine"),
        "prefect.task_runners": _seam("runners", "wrap_task_runners", start_worker),
        "prefect.tasks": _seam("runners", "wrap_delayed_tasks"),
        "prefect.client.orchestration": _seam("deployments", "wrap_clients"),
        "prefect.blocks.system": _seam("blocks", "wrap_secret_blocks"),
    },
    how=_how,
)


def enable() -> None:
    """Capture every Prefect flow and task of this process, and of its process pools, from here on. Never raises; idempotent.

    Prefect need not be imported yet, and is not imported by this.
    """
    instrument.enable()


@hookimpl
def xray_instruments() -> dict[str, Callable[[], None]]:
    """Under `xray run`, and for `xray doctor`."""
    return {"prefect": instrument}


@hookimpl
def xray_run_origin() -> tuple[Origin, str | None, str | None] | None:
    """A run started by hand inside a flow or task becomes a child of it."""
    if not instrument.enabled or "prefect.context" not in sys.modules:
        return None
    from xray_prefect.adapter import adapter

    return adapter.origin()
