"""What the entry point loads: events where `XRAY_OPENLINEAGE=1` asks for them, else a plugin that does nothing and imports nothing."""

from __future__ import annotations

import os
from typing import Any

from xray_core import hookimpl
from xray_core.errors import ConfigurationError

_ON = frozenset({"1", "true", "yes", "on"})


class Off:
    """Nobody asked for events. Has no hook that a step would pay for."""

    @hookimpl
    def xray_configure(self, settings: Any) -> None:
        """Nothing to set up."""


def make() -> Any:
    """The plugin that the environment asks for.

    Raises:
        ConfigurationError: it asks for events, and openlineage-python is not installed.
    """
    if os.environ.get("XRAY_OPENLINEAGE", "").strip().lower() not in _ON:
        return Off()
    try:
        from xray_openlineage.run_events import Events
    except ImportError:
        raise ConfigurationError(
            "XRAY_OPENLINEAGE=1 needs the extra: pip install 'xray-pipelines[openlineage]'"
        ) from None
    return Events()


plugin = make()
