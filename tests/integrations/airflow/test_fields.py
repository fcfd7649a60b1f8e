"""What is read of operators and dag runs that are not as one would wish: each field costs itself at most.

Tests fields.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from xray_airflow import fields

from tests.integrations.airflow.conftest import Captured, Outcome

Runs = Callable[..., Outcome]
Reads = Callable[[], Captured]

LONG_AGO = datetime(2024, 5, 6, tzinfo=timezone.utc)


def test_a_template_field_that_cannot_be_read_costs_that_field(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("unready").states == ["success"]
    seen = captured()
    step = seen.step("unready")
    assert list(step["input"]) == ["query"]
    assert (step["status"], step["reasons"]["rejected"], step["output"]["size"]) == ("completed", {"unready": 1}, 1)


@pytest.mark.swallows
@pytest.mark.parametrize(
    ("attribute", "lost"),
    [
        ("python_callable", "inputs"), ("op_kwargs", "inputs"), ("template_fields", "inputs"), ("inlets", "parameters"),
        ("operator_name", "parameters"), ("task_group", "parameters"), ("trigger_rule", "parameters"),
        ("upstream_task_ids", "upstream"), ("dag", "order"), ("params", "item key"), ("outlets", "parameters"),
    ],
)  # fmt: skip
def test_an_attribute_that_raises_costs_what_is_read_of_it_alone(attribute: str, lost: str) -> None:
    def raises(self: object) -> Any:
        raise RuntimeError("not now")

    def read(task: Any) -> dict[str, Any]:
        return {
            "inputs": fields.inputs_of(task),
            "parameters": fields.parameters_of(task),
            "upstream": fields.upstream_of(task, "d", "r", -1),
            "order": fields.order_of(task),
            "item key": fields.item_key_of(task),
            "code": fields.code_version_of_task(task),
            "type": fields.type_of(task),
        }

    given = {
        "task_id": "t", "operator_name": "@task", "inlets": [SimpleNamespace(uri="s3://a")], "params": {"xray/id": "sku"},
        "outlets": [SimpleNamespace(uri="s3://b")], "task_group": SimpleNamespace(group_id="g"), "trigger_rule": "all_done",
        "upstream_task_ids": {"u"}, "dag": SimpleNamespace(task_dict={"t": None}, tags=()),
    }  # fmt: skip
    execute = {"execute": lambda self: None}
    for extra in ({"op_kwargs": {"n": 1}, "python_callable": lambda n: n}, {"template_fields": ("sql",), "sql": "q"}):
        sound = type("Operator", (SimpleNamespace,), execute)(**given, **extra)
        without = {name: value for name, value in {**given, **extra}.items() if name != attribute}
        broken = type("Operator", (SimpleNamespace,), {**execute, attribute: property(raises)})(**without)
        expected, found = read(sound), read(broken)
        if attribute in ("upstream_task_ids", "dag", "params", "python_callable", "op_kwargs", "template_fields"):
            missing = {lost, "code"} | ({"upstream", "item key"} if attribute == "dag" else set())
            kept = {name: value for name, value in expected.items() if name not in missing}
            assert {name: found[name] for name in kept} == kept
        else:
            assert {**found, "parameters": None} == {**expected, "parameters": None}
            rest = {
                name: value for name, value in expected["parameters"].items() if name not in (attribute, "operator")
            }
            assert {name: value for name, value in found["parameters"].items() if name in rest} == rest


def _decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def around(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return around


@pytest.mark.parametrize(
    ("function", "positional", "named", "expected"),
    [
        (lambda rows, limit=3: None, (1,), {}, {"rows": 1}),
        (lambda rows, limit=3: None, (), {"limit": 2, "rows": 1}, {"rows": 1, "limit": 2}),
        (lambda rows, *, limit: None, (1,), {"limit": 2}, {"rows": 1, "limit": 2}),
        (lambda *rows, **more: None, (1, 2), {"a": 3}, {"rows": (1, 2), "more": {"a": 3}}),
        (lambda rows, **context: None, (1,), {"ti": 2}, {"rows": 1, "context": {"ti": 2}}),
        (_decorated(lambda rows: None), (1,), {}, {"rows": 1}),
        (functools.partial(lambda rows, limit: None, 1), (2,), {}, {"limit": 2}),
        (lambda rows: None, (1, 2), {}, {"arg0": 1, "arg1": 2}),
        (lambda rows, /, limit=1: None, (1,), {"limit": 2}, {"rows": 1, "limit": 2}),
        (print, (1,), {"sep": ""}, {"args": (1,), "sep": ""}),
    ],
)
def test_arguments_are_named_as_the_function_names_them(
    function: Callable[..., Any], positional: tuple[Any, ...], named: dict[str, Any], expected: dict[str, Any]
) -> None:
    task = SimpleNamespace(python_callable=function, op_args=positional, op_kwargs=named)
    found = fields.inputs_of(task)
    assert (found, list(found)) == (expected, list(expected))


def test_task_ids_of_a_text_enum_are_their_values_in_every_edge(runs_task: Runs, captured: Reads) -> None:
    assert runs_task("by_enum").states == ["success"]
    assert runs_task("after_enum").states == ["success"]
    seen = captured()
    assert seen.step("after_enum")["upstream"] == [seen.step("by_enum")["step_id"]]


def test_a_run_started_by_dags_test_starts_now_whatever_date_it_is_for() -> None:
    now = datetime.now(timezone.utc)
    tested = SimpleNamespace(dag_id="d", run_id="r", start_date=LONG_AGO, logical_date=LONG_AGO, run_after=now)
    assert fields.started_at_of(tested) == now
    old = SimpleNamespace(dag_id="d", run_id="airflow2", start_date=LONG_AGO, logical_date=LONG_AGO)
    first = fields.started_at_of(old)
    assert first is not None
    assert first >= now
    assert fields.started_at_of(old) == first  # the same for each of its tasks
    chosen = SimpleNamespace(dag_id="d", run_id="chosen", start_date=LONG_AGO, logical_date=None, run_after=LONG_AGO)
    assert (fields.started_at_of(chosen) or LONG_AGO) >= first


def test_a_scheduled_run_started_when_airflow_says() -> None:
    started = LONG_AGO + timedelta(hours=1, microseconds=5)
    scheduled = SimpleNamespace(dag_id="d", run_id="s", start_date=started, logical_date=LONG_AGO, run_after=LONG_AGO)
    assert fields.started_at_of(scheduled) == started
    assert fields.started_at_of(SimpleNamespace(start_date=None, logical_date=None)) is None


@pytest.mark.parametrize(
    ("task_type", "flag", "expected"),
    [
        ("LatestOnlyOperator", "_can_skip_downstream", "branch"),
        ("WaitsForFile", "_is_sensor", "sensor"),
        ("Marker", "_is_empty", "empty"),
        ("_ShortCircuitDecoratedOperator", "_can_skip_downstream", "filter"),
        ("KubernetesPodOperator", None, None),
    ],
)
def test_a_task_that_never_ran_has_the_type_that_it_has_when_it_runs(
    task_type: str, flag: str | None, expected: str | None
) -> None:
    kind = type("Serialized", (SimpleNamespace,), {"__module__": "airflow.serialization.definitions"})
    assert fields.type_of(kind(task_type=task_type, **({flag: True} if flag else {}))) == expected


def test_a_serialized_task_whose_class_is_loaded_here_is_typed_by_its_bases(airflow: None) -> None:
    from airflow.providers.standard.operators.latest_only import LatestOnlyOperator

    kind = type("Serialized", (SimpleNamespace,), {"__module__": "airflow.serialization.definitions"})
    serialized = kind(task_type="LatestOnlyOperator", _task_module=LatestOnlyOperator.__module__)
    assert fields.type_of(serialized) == fields.type_of(LatestOnlyOperator(task_id="t")) == "branch"
