"""The hooks that the installed Airflow knows, each guarded. Loads the rest of the adapter when one is first called.

pluggy refuses a hook whose argument the specification lacks, and Airflow lets that PluginValidationError take the
scheduler down. So every hook is checked against the installed specifications first, and asks for no argument that X-Ray
does not need. What a hook does is in lifecycle.py, task.py and dagruns.py.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, Final

from pluggy import HookimplMarker

from xray_core.safety import log, swallow

# Airflow 3.2 split the specifications between its core and its task SDK; before, the core had them all.
SPECIFICATIONS: Final = (
    "airflow.listeners.spec.lifecycle",
    "airflow.listeners.spec.dagrun",
    "airflow.listeners.spec.taskinstance",
    "airflow._shared.listeners.spec.lifecycle",
    "airflow._shared.listeners.spec.taskinstance",
    "airflow.sdk._shared.listeners.spec.lifecycle",
    "airflow.sdk._shared.listeners.spec.taskinstance",
)

_hookimpl: Final = HookimplMarker("airflow")


class Listener:
    """Carries one attribute per hook; pluggy finds them by name."""


def make_listener(specifications: Mapping[str, frozenset[str]] | None = None) -> object:
    """A listener with the hooks that Airflow knows.

    Args:
        specifications: hook name -> the arguments it has in every place that specifies it; read from Airflow by default.
    """
    known = installed_specifications() if specifications is None else specifications
    listener = Listener()
    for candidates in _HOOKS:
        name = candidates[0].__name__
        for hook in candidates:
            if frozenset(inspect.signature(hook).parameters) <= known.get(name, frozenset()):
                # tryfirst: a listener that raises ends the call for those behind it
                setattr(listener, name, _hookimpl(tryfirst=True)(hook))
                break
        else:
            if name in known:
                log.warning("X-Ray: this Airflow's hook %s has other arguments; what it reports is not captured.", name)
    if not vars(listener):
        log.warning("X-Ray: none of this Airflow's listener hooks is known; nothing is captured.")
    return listener


def installed_specifications(modules: Iterable[str] = SPECIFICATIONS) -> dict[str, frozenset[str]]:
    """Hook name -> argument names, in the Airflow that is installed; arguments that only some places know are left out."""
    found: dict[str, frozenset[str]] = {}
    for path in modules:
        try:
            members = vars(import_module(path))
        except ImportError:
            continue
        for name, member in members.items():
            if name.startswith(("on_", "before_")) and inspect.isfunction(member):
                arguments = frozenset(inspect.signature(member).parameters)
                found[name] = arguments & found.get(name, arguments)
    return found


def patch_has_listeners() -> None:
    """Keep DAGs with `end_from_trigger=True` importable.

    Airflow refuses them as soon as its core listener manager has any listener, since that would not be called for a task that
    ends in the triggerer. X-Ray does not need that call: the sweep at the end of the dag run closes such steps. So X-Ray's own
    listener does not count as one there.
    """
    try:
        from airflow.listeners.listener import ListenerManager
    except ImportError:
        return
    counted = ListenerManager.__dict__.get("has_listeners")
    if not isinstance(counted, property) or getattr(counted.fget, "without_xray", False):
        return

    def has_listeners(self: Any) -> bool:
        return any(type(plugin) is not Listener for plugin in self.pm.get_plugins())

    has_listeners.without_xray = True  # type: ignore[attr-defined]  # marks it, so that loading twice patches once
    ListenerManager.has_listeners = property(has_listeners, doc=counted.__doc__)


def _call(module: str, function: str, *arguments: Any) -> None:
    try:
        getattr(import_module(f"xray_airflow.{module}"), function)(*arguments)
    except Exception as error:  # noqa: BLE001
        swallow(f"airflow.{module}.{function}", error)


def on_starting(component: Any) -> None:
    """A task runner or a job starts."""
    _call("task", "on_starting", component)


def before_stopping(component: Any) -> None:
    """A task runner or a job stops; a task runner after each task."""
    _call("lifecycle", "stopping", component)


def on_task_instance_running(task_instance: Any) -> None:
    """A task is about to execute, in its own process."""
    _call("task", "on_running", task_instance)


def on_task_instance_success(task_instance: Any) -> None:
    """A task ended well: in its own process, or marked so from outside."""
    _call("lifecycle", "task_ended", task_instance, "success", None)


def on_task_instance_skipped(task_instance: Any) -> None:
    """A task was skipped, where Airflow has this hook."""
    _call("lifecycle", "task_ended", task_instance, "skipped", None)


def on_task_instance_failed(task_instance: Any, error: Any) -> None:
    """A task failed: in its own process, found dead, or marked so from outside."""
    _call("lifecycle", "task_ended", task_instance, "failed", error)


def on_dag_run_running(dag_run: Any) -> None:
    """A dag run starts; in the scheduler."""
    _call("dagruns", "on_running", dag_run)


def on_dag_run_success(dag_run: Any) -> None:
    """A dag run ended well; in the scheduler, or marked so in the API server."""
    _call("dagruns", "on_ended", dag_run, "completed", None)


def on_dag_run_failed(dag_run: Any, msg: Any) -> None:
    """A dag run failed; `msg` is the reason in Airflow's words."""
    _call("dagruns", "on_ended", dag_run, "failed", msg)


def _failed_without_error() -> Callable[..., None]:
    def on_task_instance_failed(task_instance: Any) -> None:
        _call("lifecycle", "task_ended", task_instance, "failed", None)

    return on_task_instance_failed


# For each hook: what we would have it called with, and what also does.
_HOOKS: Final[tuple[tuple[Callable[..., None], ...], ...]] = (
    (on_starting,),
    (before_stopping,),
    (on_task_instance_running,),
    (on_task_instance_success,),
    (on_task_instance_skipped,),
    (on_task_instance_failed, _failed_without_error()),
    (on_dag_run_running,),
    (on_dag_run_success,),
    (on_dag_run_failed,),
)


def wanted_hooks() -> list[str]:
    """The hooks that X-Ray implements, where Airflow has them."""
    return [candidates[0].__name__ for candidates in _HOOKS]
