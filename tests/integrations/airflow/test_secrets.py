"""Which names Airflow adds to what X-Ray takes for secret, and what it costs to look for them.

Tests secrets.py.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from types import ModuleType
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


class _Old:
    """A masker as it is in Airflow 2.11 and 3.0: what is a method today is a function of its module."""

    replacer = re.compile("Kestrel9")


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = ModuleType("airflow.utils.log.secrets_masker")
    made = _Old()
    vars(module).update(
        _secrets_masker=lambda: made,
        should_hide_value_for_key=lambda name: "badge" in name,
        get_sensitive_variables_fields=lambda: frozenset({"badge_no", "password"}),
    )
    for name in secrets._MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for each in (secrets._sources, secrets.is_secret_name):
        each.cache_clear()
    redaction.forget()
    yield
    for each in (secrets._sources, secrets.is_secret_name):
        each.cache_clear()
    redaction.forget()


def test_the_masker_of_an_older_airflow_is_asked_too(airflow: None, old: None) -> None:
    """The one place where a version without a name that is new took the whole capture with it."""
    secrets.ask_airflow()
    redactor = Redactor()
    assert "badge" in secrets._hints()
    assert (redactor.secrecy("badge_no") > 0, redactor.secrecy("colour")) == (True, 0)
    assert redactor.text("as Kestrel9 said") == f"as {REDACTED} said"


@pytest.mark.swallows
def test_names_that_cannot_be_read_cost_the_hints_and_not_the_capture(
    airflow: None, old: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(vars(sys.modules["airflow.utils.log.secrets_masker"]), "get_sensitive_variables_fields")
    secrets.ask_airflow()
    redactor = Redactor()
    assert redactor.secrecy("badge_no") > 0
    assert redactor.may_hold_secret(b"any text = is looked through")
