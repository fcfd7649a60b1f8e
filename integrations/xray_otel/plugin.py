"""What the entry point loads: the exporter where `XRAY_OTEL=1` asks for it, else a plugin that does nothing and imports nothing."""

from __future__ import annotations

import os
from typing import Any

from xray_core import hookimpl
from xray_core.errors import ConfigurationError

_ON = frozenset({"1", "true", "yes", "on"})


class Off:
    """Nobody asked for spans. Has no hook that a step would pay for."""

    @hookimpl
    def xray_configure(self, settings: Any) -> None:
        """Nothing to set up."""


def make() -> Any:
    """The plugin that the environment asks for.

    Raises:
        ConfigurationError: it asks for spans, and OpenTelemetry is not installed.
    """
    if os.environ.get("XRAY_OTEL", "").strip().lower() not in _ON:
        return Off()
    try:
        from xray_otel.exporter import Spans
    except ImportError:
        raise ConfigurationError("XRAY_OTEL=1 needs the extra: pip install 'xray-pipelines[otel]'") from None
    return Spans()


plugin = make()
