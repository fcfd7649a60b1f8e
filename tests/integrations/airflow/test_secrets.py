"""Which names Airflow adds to what X-Ray takes for secret, and what it costs to look for them.

Tests secrets.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from xray_airflow import secrets

from xray_core.objects import redaction
from xray_core.objects.redaction import REDACTED, Redactor

STEP: dict[str, Any] = {
    "kind": "step", "name": "load", "metadata": {"operator": "@task"}, "input": {"rows": {"$type": "list", "size": 100}},
    "origin": {"ids": {"dag_id": "shop"}, "url": "http://localhost:8080/dags/shop/runs/r/tasks/load?try_number=1"},
}  # fmt: skip


@pytest.fixture
def asked(airflow: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Redactor]:
    """The rules of a client in an Airflow whose user hides `badge_no`."""
    monkeypatch.setenv("AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES", "badge_no, Pass-Key")
    redaction.forget()
    secrets.is_secret_name.cache_clear()
    secrets.ask_airflow()
    yield Redactor()
    redaction.forget()
    secrets.is_secret_name.cache_clear()


def test_a_usual_step_is_not_looked_through_text_by_text(asked: Redactor) -> None:
    assert not asked.may_hold_secret(json.dumps(STEP).encode())


@pytest.mark.parametrize("name", ["proxies", "keyfile_dict", "http_proxy", "service account"])
def test_a_text_with_a_name_that_airflow_hides_is(name: str, asked: Redactor) -> None:
    said = {**STEP, "metadata": {"note": f"connecting, {name}=Kestrel9"}}
    assert asked.may_hold_secret(json.dumps(said).encode())


def test_a_name_that_the_user_hides_is_hinted_at_too(asked: Redactor) -> None:
    assert {"badge"} <= secrets._hints()
    assert asked.may_hold_secret(json.dumps({"note": "badge_no: 81"}).encode())


def test_values_under_a_name_that_airflow_hides_are_masked(asked: Redactor) -> None:
    assert asked.secrecy("http_proxy") > 0
    assert REDACTED in asked.text("http_proxy=corp8443x")
