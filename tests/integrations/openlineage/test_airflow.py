"""The provider's own ids are given only inside Airflow, beside its OpenLineage provider; anything else gets X-Ray's."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from xray_openlineage.airflow import provider_ids

TASK = {"framework": "airflow", "ids": {"dag_id": "d", "run_id": "r", "task_id": "t", "logical_date": "2026-01-01"}}


@pytest.mark.parametrize(
    "origin", [None, {}, {"framework": "dagster", "ids": {"task_id": "t"}}, {"framework": "airflow"}]
)
def test_what_is_no_task_of_airflows_has_none(origin: dict[str, Any] | None) -> None:
    assert provider_ids(origin) is None


def test_a_task_has_none_where_airflow_or_its_provider_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "airflow", raising=False)
    assert provider_ids(TASK) is None
    monkeypatch.setitem(sys.modules, "airflow", ModuleType("airflow"))  # no package: nothing can be imported from it
    assert provider_ids(TASK) is None
