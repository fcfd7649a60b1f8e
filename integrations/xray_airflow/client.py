"""The X-Ray client of this Airflow process, configured by airflow.cfg too. Made when it is first needed."""

from __future__ import annotations

import functools

from xray_airflow import config, secrets
from xray_core.xray import XRay, default_client


@functools.lru_cache(maxsize=1)
def client() -> XRay:
    """The client of this process. Forked children go on with their parent's.

    Raises:
        ConfigurationError: a setting in airflow.cfg or the environment is wrong.
    """
    config.export_settings()
    secrets.ask_airflow()
    return default_client()


def is_made() -> bool:
    """Whether this process has needed a client."""
    return client.cache_info().currsize > 0
