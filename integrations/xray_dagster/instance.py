"""Enabling by `dagster.yaml`, which every process of a Dagster instance reads: webserver, daemon, run workers and their steps.

    instance_class: {module: xray_dagster.instance, class: XRayInstance}

Imported by Dagster alone, when it reads that line; X-Ray is enabled by the import.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster import DagsterInstance

from xray_dagster.instrument import enable


class XRayInstance(DagsterInstance):  # type: ignore[misc]  # Dagster is not read by mypy
    """Dagster's own instance, in nothing different: a class that `dagster.yaml` can name."""

    @classmethod
    def config_schema(cls) -> Mapping[str, Any]:
        """No settings besides Dagster's own."""
        return {}

    @classmethod
    def config_defaults(cls, base_dir: str) -> Mapping[str, Any]:
        """Dagster's own. `base_dir` is the folder of `dagster.yaml`."""
        from dagster._core.instance.ref import InstanceRef

        defaults: Mapping[str, Any] = InstanceRef.config_defaults(base_dir)
        return defaults


enable()
