"""The plugin host: discovers plugins, admits the sound ones, and calls each in isolation.

pluggy stops at the first raising implementation and loads entry points unguarded, so plugins are loaded one `try` each,
checked when admitted, and called one by one through pluggy's public `get_hookimpls()`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from itertools import count
from typing import Any, Final

import pluggy

from xray_core.plugins import hookspecs
from xray_core.safety import log, loggable, swallow

GROUP: Final = "xray.plugins"


@dataclass(frozen=True, slots=True)
class PluginState:
    """What `xray doctor` shows of a plugin."""

    name: str
    source: str
    hooks: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def active(self) -> bool:
        """Whether the plugin is registered and has not been disabled."""
        return self.problem is None


class PluginHost:
    """The plugins of one client. Registration happens at start; calls may come from any thread.

    Args:
        disabled: names not to load; "*" for all.
        discover: whether to look for entry points.
    """

    def __init__(self, *, disabled: Iterable[str] = (), discover: bool = True) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._disabled = frozenset(disabled)
        self.states: dict[str, PluginState] = {}
        self.redacts = self.observes_steps = self.surrounds_sending = False
        if discover and "*" not in self._disabled:
            for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name):
                self._load(entry)

    def register(self, plugin: object, name: str, *, source: str = "code") -> bool:
        """Admit a plugin; whether it was. An unsound one is logged and left out, never half registered. Another one of a name that
        is taken gets a number after it.
        """
        if name in self._disabled or "*" in self._disabled:
            self.states[name] = PluginState(name, source, problem="disabled by XRAY_DISABLE_PLUGINS")
            return False
        for known, registered in self._manager.list_name_plugin():
            if registered is plugin:
                return self.states[known].active
        if self._manager.has_plugin(name):
            name = next(other for n in count(2) if not self._manager.has_plugin(other := f"{name} {n}"))
        problem = _unsound(plugin)
        if problem is not None:
            log.warning("X-Ray: plugin %r from %s is left out: %s", name, source, problem)
            self.states[name] = PluginState(name, source, problem=problem)
            return False
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except Exception as error:  # noqa: BLE001
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            log.warning("X-Ray: plugin %r from %s is left out: %s", name, source, loggable(error))
            self.states[name] = PluginState(name, source, problem=str(error))
            return False
        hooks = tuple(sorted(caller.name for caller in self._manager.get_hookcallers(plugin) or ()))
        self.states[name] = PluginState(name, source, hooks)
        self._refresh()
        return True

    def collect(self, hook: str, **arguments: Any) -> list[tuple[str, Any]]:
        """(plugin name, result) of every implementation that did not raise; those that did are logged once."""
        results = []
        for implementation in self._implementations(hook):
            try:
                results.append((implementation.plugin_name, _call(implementation, arguments)))
            except Exception as error:  # noqa: BLE001
                swallow(f"plugin {implementation.plugin_name!r} in {hook}", error)
        return results

    def first(self, hook: str, **arguments: Any) -> Any:
        """The first result that is not None, or None; an implementation that raises is logged and passed over."""
        for implementation in self._implementations(hook):
            try:
                result = _call(implementation, arguments)
            except Exception as error:  # noqa: BLE001
                swallow(f"plugin {implementation.plugin_name!r} in {hook}", error)
                continue
            if result is not None:
                return result
        return None

    def first_or_raise(self, hook: str, **arguments: Any) -> Any:
        """As `first`, but what an implementation raises reaches the caller: for server start."""
        for implementation in self._implementations(hook):
            result = _call(implementation, arguments)
            if result is not None:
                return result
        return None

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call every implementation; one that raises is disabled, and the others are called all the same."""
        for implementation in self._implementations(hook):
            try:
                _call(implementation, arguments)
            except Exception as error:  # noqa: BLE001
                self._disable(implementation.plugin_name, hook, error)

    # What the recorder calls (see recorder.Hooks)

    def redact(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """The record after every redactor, or None when one of them failed: then nothing of it may leave."""
        for implementation in self._implementations("xray_redact"):
            try:
                result = _call(implementation, {"record": record})
                if not isinstance(result, dict) or result.get("kind") != record["kind"]:
                    raise TypeError("xray_redact must return the record")
                record = result
            except Exception as error:  # noqa: BLE001
                swallow(f"plugin {implementation.plugin_name!r} in xray_redact; its records lose their payload", error)
                return None
        return record

    def run_started(self, run: Any) -> None:
        """Call `xray_run_started`."""
        self.notify("xray_run_started", run=run)

    def run_finished(self, run: Any) -> None:
        """Call `xray_run_finished`."""
        self.notify("xray_run_finished", run=run)

    def step_finished(self, step: Any) -> None:
        """Call `xray_step_finished`."""
        self.notify("xray_step_finished", step=step)

    def sending(self) -> list[Any]:
        """The context managers of `xray_sending`."""
        return [result for _, result in self.collect("xray_sending")]

    def records_dropped(self, count: int, reason: str) -> None:
        """Call `xray_records_dropped` with a number of records and the name of the counter."""
        self.notify("xray_records_dropped", count=count, reason=reason)

    def _load(self, entry: EntryPoint) -> None:
        source = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
        if entry.name in self._disabled:
            self.states[entry.name] = PluginState(entry.name, source, problem="disabled by XRAY_DISABLE_PLUGINS")
            return
        try:
            plugin = entry.load()
        except Exception as error:  # noqa: BLE001
            log.warning(
                "X-Ray: plugin %r from %s cannot be loaded: %s: %s",
                entry.name,
                source,
                type(error).__name__,
                loggable(error),
            )
            self.states[entry.name] = PluginState(entry.name, source, problem=f"{type(error).__name__}: {error}")
            return
        self.register(plugin, entry.name, source=source)

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        # pluggy keeps them in reverse order of calling
        implementations: list[pluggy.HookImpl] = getattr(self._manager.hook, hook).get_hookimpls()
        return implementations[::-1]

    def _disable(self, name: str, hook: str, error: Exception) -> None:
        swallow(f"plugin {name!r} in {hook}; the plugin is now disabled", error)
        if self._manager.has_plugin(name):
            self._manager.unregister(name=name)
            self.states[name] = replace(self.states[name], problem=f"raised in {hook}: {type(error).__name__}: {error}")
            self._refresh()

    def configure(self, settings: Any) -> None:
        """Call `xray_configure` of every plugin; one that raises is disabled."""
        self.notify("xray_configure", settings=settings)

    def _refresh(self) -> None:
        self.redacts = bool(self._implementations("xray_redact"))
        self.observes_steps = bool(self._implementations("xray_step_finished"))
        self.surrounds_sending = bool(self._implementations("xray_sending"))


def _call(implementation: pluggy.HookImpl, arguments: dict[str, Any]) -> Any:
    return implementation.function(*(arguments[name] for name in implementation.argnames))


def _unsound(plugin: object) -> str | None:
    """Why a plugin cannot be admitted, or None. pluggy would find some of it only when the hook is called."""
    known = {name for name in vars(hookspecs) if name.startswith("xray_")}
    found = 0
    for name in dir(plugin):
        if not name.startswith("xray_"):
            continue
        function = getattr(plugin, name, None)
        if getattr(function, f"{hookspecs.PROJECT}_impl", None) is None:
            if name in known:
                return f"{name} is not marked with @hookimpl"
            continue
        if name not in known:
            return f"there is no hook {name}; the hooks are {', '.join(sorted(known))}"
        if inspect.iscoroutinefunction(function):
            return f"{name} is async; hooks are plain functions"
        if inspect.isgeneratorfunction(function):
            return f"{name} is a generator; hook wrappers are not supported"
        found += 1
    return None if found else "it implements no hook"
