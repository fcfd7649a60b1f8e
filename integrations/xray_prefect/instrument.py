"""What X-Ray's core asks of this adapter, without importing Prefect: how to enable it, and what it found.

Loaded as an `xray.plugins` entry point by every client, so it must stay light. The wrapping itself is in adapter.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from xray_core.hookspecs import hookimpl
from xray_core.instrument import Instrument


def _how() -> str:
    setting = os.environ.get("PREFECT_PLUGINS_ENABLED") or os.environ.get("PREFECT_EXPERIMENTS_PLUGINS_ENABLED") or ""
    if setting.lower() in ("1", "true", "yes", "on"):
        return (
            "PREFECT_PLUGINS_ENABLED is set: enabled wherever Prefect (3.4.24 or newer) is imported outside a running "
            "event loop; in a notebook, call xray_prefect.enable()"
        )
    return "set PREFECT_PLUGINS_ENABLED=1 (Prefect 3.7; see docs/prefect.md), or `xray run -- CMD`, or xray_prefect.enable()"


instrument = Instrument(
    "prefect",
    distribution="prefect",
    since="3.0",
    before="4",
    seams={},
    how=_how,
)


def enable() -> None:
    """Capture every Prefect flow and task of this process from here on. Never raises; calling it again changes nothing.

    Prefect need not be imported yet, and is not imported by this.
    """
    instrument.enable()


@hookimpl
def xray_instruments() -> dict[str, Callable[[], None]]:
    """Under `xray run`, and for `xray doctor`."""
    return {"prefect": instrument}
