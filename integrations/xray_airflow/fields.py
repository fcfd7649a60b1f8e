"""What is captured of an Airflow task and dag run, and under which ids. Reads objects; no hook, no step, no database.

Works on the task SDK's objects, on the core's database rows and on serialized operators alike, in Airflow 2.11 and 3.
"""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from xray_airflow import config
from xray_core.capture.code_version import code_version_of
from xray_core.item_keys import TAG, key_of_tags
from xray_core.model import Origin, derived_id
from xray_core.safety import guarded, swallow

MAX_UPSTREAM: Final = 1_000
_MAX_NAMES: Final = 50
_MAX_TESTS: Final = 1_000
_RECENT: Final = timedelta(days=1)

# The first that is part of the name of the operator's class, or of one it inherits from, decides.
_STEP_TYPES: Final = (
    ("ShortCircuit", "filter"),
    ("Branch", "branch"),
    ("Sensor", "sensor"),
    ("SkipMixin", "branch"),
    ("SQL", "query"),
    ("TriggerDagRun", "trigger"),
    ("EmptyOperator", "empty"),
    ("Bash", "command"),
    ("Python", "transform"),
)


def run_id_of(dag_id: str, dag_run_id: str) -> str:
    """The X-Ray run of a dag run: the same in every process."""
    return derived_id("airflow", text(dag_id), text(dag_run_id))


def step_id_of(dag_id: str, dag_run_id: str, task_id: str, map_index: int) -> str:
    """The X-Ray step of a task instance; its tries are attempts of it."""
    return derived_id("airflow", text(dag_id), text(dag_run_id), text(task_id), map_index)


def text(name: Any) -> str:
    """An id of Airflow's as Airflow's database has it: of an enum of texts its value, not its name."""
    return str.__str__(name) if isinstance(name, str) else str(name)


def step_type_of(class_names: Iterable[str]) -> str | None:
    """The kind of step that operators of these class names (the operator's own and its bases') are."""
    names = "\n".join(class_names)
    return next((kind for part, kind in _STEP_TYPES if part in names), None)


def class_names(task: Any) -> list[str]:
    """The names of an operator's class and its bases; of a serialized operator, what it kept of them.

    A class that this process has loaded is asked itself, so that a task has one type whether it ran or never did.
    """
    if not type(task).__module__.startswith("airflow.serialization"):
        mapped = getattr(task, "operator_class", None) if getattr(task, "is_mapped", False) else None
        return [base.__name__ for base in (mapped if isinstance(mapped, type) else type(task)).__mro__]
    name = str(task.task_type)
    loaded_class = getattr(sys.modules.get(getattr(task, "_task_module", None) or ""), name, None)
    if isinstance(loaded_class, type):
        return [base.__name__ for base in loaded_class.__mro__]
    kept = (("_is_sensor", "Sensor"), ("_is_empty", "EmptyOperator"), ("_can_skip_downstream", "SkipMixin"))
    return [name, *(base for flag, base in kept if getattr(task, flag, False) is True)]


@guarded("airflow: reading the kind of operator", default=None)
def type_of(task: Any) -> str | None:
    """The step type of a task; None for an operator of no kind that X-Ray knows."""
    return step_type_of(class_names(task))


def operator_name(task: Any) -> str:
    """The operator as Airflow's UI names it: "@task", "BashOperator"."""
    return str(getattr(task, "operator_name", None) or getattr(task, "task_type", None) or type(task).__name__)


def parameters_of(task: Any) -> dict[str, Any]:
    """What the task was configured with: what explains a changed answer when it changes."""
    found: dict[str, Any] = {}
    for name, read in _PARAMETERS.items():
        try:
            value = read(task)
        except Exception as error:  # noqa: BLE001  # a property of the user's
            swallow(f"airflow: reading {name}", error)
            continue
        if value:
            found[name] = value
    return found


def _trigger_rule(task: Any) -> str | None:
    rule = getattr(task, "trigger_rule", None)
    rule = str(getattr(rule, "value", rule) or "all_success")
    return None if rule == "all_success" else rule


def _assets(side: str) -> Callable[[Any], list[str]]:
    def read(task: Any) -> list[str]:
        return [name for name in map(_asset_name, list(getattr(task, side, None) or ())[:_MAX_NAMES]) if name]

    return read


_PARAMETERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "operator": operator_name,
    "trigger_rule": _trigger_rule,
    "task_group": lambda task: getattr(getattr(task, "task_group", None), "group_id", None),
    "inlets": _assets("inlets"),
    "outlets": _assets("outlets"),
}


@guarded("airflow: reading the version of the code", default=None)
def code_version_of_task(task: Any) -> str | None:
    """A fingerprint of the user's function, or of the operator's execute()."""
    function = getattr(task, "python_callable", None)
    return code_version_of(function if function is not None else type(task).execute)


@guarded("airflow: reading the inputs", default={})
def inputs_of(task: Any) -> dict[str, Any]:
    """What the task works on, after rendering: a Python callable's arguments, another operator's template fields.

    A field that cannot be read is left out: operators have properties that connect, or are not ready before execute().
    """
    function = getattr(task, "python_callable", None)
    if function is not None:
        positional = tuple(getattr(task, "op_args", None) or ())
        named = dict(getattr(task, "op_kwargs", None) or {})
        plain = _named_as_written(function, positional, named)
        if plain is not None:
            return plain
        try:
            return dict(inspect.signature(function).bind_partial(*positional, **named).arguments)
        except (TypeError, ValueError):
            return {**{f"arg{n}": value for n, value in enumerate(positional)}, **named}
    values = {}
    for name in list(getattr(task, "template_fields", None) or ())[:_MAX_NAMES]:
        try:
            value = getattr(task, name, None)
        except Exception as error:  # noqa: BLE001
            swallow(f"airflow: reading the template field {name}", error)
            continue
        if value is not None:
            values[text(name)] = value
    return values


def _named_as_written(function: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any] | None:
    """The arguments of a plain function by their names, at a tenth of a signature's cost; None where that takes more."""
    if type(function) is not types.FunctionType or function.__dict__:  # a decorator may have changed its signature
        return None
    code = function.__code__
    names = code.co_varnames[: code.co_argcount]
    if code.co_posonlyargcount or len(positional) > len(names) or not set(named) <= set(names[len(positional) :]):
        return None
    given = {**dict(zip(names, positional)), **named}
    return {name: given[name] for name in names if name in given}


@guarded("airflow: reading the item key", default=None)
def item_key_of(task: Any) -> str | None:
    """The field that names the task's items: the parameter `xray/id` of the task or its DAG, else a tag of the DAG."""
    dag = getattr(task, "dag", None)
    for params in (getattr(task, "params", None), getattr(dag, "params", None)):
        value = params.get(TAG) if isinstance(params, Mapping) else None
        if isinstance(value, str) and value:
            return value
    return key_of_tags(str(tag) for tag in getattr(dag, "tags", None) or ())


@guarded("airflow: reading the order of tasks", default=None)
def order_of(task: Any) -> int | None:
    """The place of a task in its DAG file: the order in which steps are listed."""
    order = list(getattr(getattr(task, "dag", None), "task_dict", None) or ())
    return order.index(task.task_id) if task.task_id in order else len(order)


@guarded("airflow: reading the upstream tasks", default=[])
def upstream_of(task: Any, dag_id: str, dag_run_id: str, map_index: int) -> list[str]:
    """The ids of the steps that a task instance depends on directly.

    How many instances a mapped task has is not known in the task's process, so those are left to the sweep.
    """
    found = []
    for upstream_id in sorted(map(text, task.upstream_task_ids))[:MAX_UPSTREAM]:
        group = mapped_group(getattr(task.dag, "task_dict", {}).get(upstream_id))
        if group is None:
            found.append(step_id_of(dag_id, dag_run_id, upstream_id, -1))
        elif group and group == mapped_group(task):
            found.append(step_id_of(dag_id, dag_run_id, upstream_id, map_index))
    return found


def mapped_group(task: Any) -> str | None:
    """The id of the mapped task group around a task, "" for a task that is mapped itself, None for one that is not."""
    if task is None:
        return None
    group = task.get_closest_mapped_task_group() if hasattr(task, "get_closest_mapped_task_group") else None
    if group is not None:
        return str(group.group_id)
    return "" if getattr(task, "is_mapped", False) else None


def task_origin(
    ids: Mapping[str, Any], *, state: str | None = None, map_index: int = -1, try_number: int | None = None
) -> Origin:
    """A task instance, with a link to its log in Airflow's UI. `ids` has at least dag_id, run_id and task_id."""
    shown = {**ids, "map_index": map_index if map_index >= 0 else None, "try_number": try_number}
    shown = {
        name: text(value) if isinstance(value, str) else value for name, value in shown.items() if value is not None
    }
    return Origin("airflow", "task_instance", shown, _task_url(ids, map_index, try_number), state)


def run_origin(ids: Mapping[str, Any], *, state: str | None = None) -> Origin:
    """A dag run, with a link to it in Airflow's UI. `ids` has at least dag_id and run_id."""
    shown = {name: text(value) for name, value in ids.items() if value is not None}
    return Origin("airflow", "dag_run", shown, _run_url(ids["dag_id"], ids["run_id"]), state)


def dag_run_ids(dag_run: Any) -> dict[str, Any]:
    """What names a dag run, and for when it is."""
    names = ("dag_id", "run_id", "run_type", "logical_date", "data_interval_start", "data_interval_end")
    found = {name: loaded(dag_run, name) for name in names}
    return {name: getattr(value, "value", value) for name, value in found.items()}


_tests: dict[Any, datetime] = {}


def started_at_of(dag_run: Any) -> datetime | None:
    """When a dag run started, by the wall.

    `dag.test()` and `airflow dags test` give as start_date what the run is for: its logical date, else `run_after`. They begin
    when they are called, which is their `run_after` where Airflow has one and it was not chosen, else when this process first
    sees the run.
    """
    start, logical, after = (loaded(dag_run, name) for name in ("start_date", "logical_date", "run_after"))
    if start is None or start not in (logical, after):
        return start if isinstance(start, datetime) else None
    now = datetime.now(timezone.utc)
    if isinstance(after, datetime) and after != logical and timedelta(0) <= now - after < _RECENT:
        return after
    if len(_tests) >= _MAX_TESTS:
        _tests.clear()
    return _tests.setdefault((loaded(dag_run, "dag_id"), loaded(dag_run, "run_id")), now)


def date_of(dag_run: Any) -> str | None:
    """What a dag run is for, in ISO 8601: its logical date, else when it was to run."""
    date = loaded(dag_run, "logical_date") or loaded(dag_run, "run_after")
    return date.isoformat() if hasattr(date, "isoformat") else None


def loaded(thing: Any, name: str) -> Any:
    """An attribute that is there already. Of a database row only what was loaded: never a query in a session of Airflow's."""
    row = _is_row(type(thing))  # type: ignore[arg-type]  # any class is hashable
    return thing.__dict__.get(name) if row else getattr(thing, name, None)


@lru_cache(maxsize=64)
def _is_row(kind: type) -> bool:
    return hasattr(kind, "_sa_class_manager")


def skipped_tasks(raised: BaseException) -> Iterator[tuple[str, int]]:
    """The (task id, map index) pairs that a branch or short-circuit has Airflow skip."""
    tasks = getattr(raised, "tasks", None)
    for each in tasks if isinstance(tasks, (list, tuple, set)) else [tasks]:
        if isinstance(each, str):
            yield each, -1
        elif isinstance(each, (tuple, list)) and len(each) == 2:
            yield str(each[0]), int(each[1])


def _asset_name(asset: Any) -> str | None:
    name = getattr(asset, "uri", None) or getattr(asset, "name", None)
    return name if isinstance(name, str) else None


@lru_cache(maxsize=1)
def _ui() -> tuple[str | None, bool]:
    """(address of Airflow's UI, whether it is Airflow 3's)."""
    conf = config.configuration()
    modern = bool(conf.get("api", "base_url", fallback=""))
    address = conf.get("api" if modern else "webserver", "base_url", fallback="")
    return (address.rstrip("/") or None), modern


def _run_url(dag_id: str, dag_run_id: str) -> str | None:
    address, modern = _ui()
    if address is None:
        return None
    if modern:
        return f"{address}/dags/{quote(dag_id, safe='')}/runs/{quote(dag_run_id, safe='')}"
    return f"{address}/dags/{quote(dag_id, safe='')}/grid?dag_run_id={quote(dag_run_id, safe='')}"


def _task_url(ids: Mapping[str, Any], map_index: int, try_number: int | None) -> str | None:
    run_url = _run_url(ids["dag_id"], ids["run_id"])
    if run_url is None:
        return None
    task_id = quote(text(ids["task_id"]), safe="")
    if not _ui()[1]:
        mapped = f"&map_index={map_index}" if map_index >= 0 else ""
        return f"{run_url}&task_id={task_id}{mapped}&tab=logs"
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    tries = f"?try_number={try_number}" if try_number else ""
    return f"{run_url}/tasks/{task_id}{mapped}{tries}"
