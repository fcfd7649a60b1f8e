"""What Airflow loads: the `airflow.plugins` entry point. Must stay cheap, every Airflow process imports it."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from xray_airflow import config, macros
from xray_airflow.listener import make_listener, patch_has_listeners
from xray_core.safety import guarded


@guarded("making the Airflow listener", default=None)
def _listener() -> object | None:
    return make_listener() if config.enabled() else None


_made = _listener()


class XRayPlugin(AirflowPlugin):  # type: ignore[misc]  # Airflow is not typed for us
    """Registers X-Ray's listener, unless `XRAY_ENABLED=0` or `[xray] enabled = False`."""

    name = "xray"
    listeners = [_made] if _made is not None else []  # Airflow reads class attributes
    # Also where X-Ray is off: templates that name them must render.
    macros: ClassVar[list[Any]] = [macros.run_id, macros.step_id, macros.attempt]

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Called by Airflow whenever one of its plugin managers has loaded this."""
        if cls.listeners:
            patch_has_listeners()
