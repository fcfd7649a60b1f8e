"""The ids under which Airflow's OpenLineage provider tells a task, so that both speak of one job and one run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any


def provider_ids(origin: Mapping[str, Any] | None) -> tuple[str, str, str] | None:
    """(namespace, job name, run id) of a task instance; None for anything else, and where the provider is not at work.

    Args:
        origin: of a step, as the Airflow adapter tells it.
    """
    ids: Mapping[str, Any] = (origin or {}).get("ids") or {}
    if (origin or {}).get("framework") != "airflow" or "task_id" not in ids or "airflow" not in sys.modules:
        return None
    try:
        from airflow.providers.openlineage import conf
        from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
    except ImportError:
        return None
    if conf.is_disabled() or not ids.get("logical_date"):
        return None
    run_id = OpenLineageAdapter.build_task_instance_run_id(
        dag_id=ids["dag_id"],
        task_id=ids["task_id"],
        try_number=int(ids.get("try_number") or 1),
        logical_date=datetime.fromisoformat(str(ids["logical_date"])),
        map_index=int(ids.get("map_index", -1)),
    )
    return conf.namespace(), f"{ids['dag_id']}.{ids['task_id']}", str(run_id)
