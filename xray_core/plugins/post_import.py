"""Calls a function once a module has been imported, without importing it: how adapters wait for their frameworks.

Owns the finder in `sys.meta_path`. Knows nothing of plugins or frameworks, and imports nothing heavy: it is loaded in
every process that imports a framework.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from xray_core.safety import swallow

Callback = Callable[[ModuleType], object]


class PostImportFinder:
    """Finds nothing itself: it lets the other finders find, and has the waiting callbacks called after the execution.

    The loader object stays the one that was found, so `python -m`, `inspect` and `get_code` see nothing new.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, list[Callback]] = {}
        self._asking = threading.local()

    def when_imported(self, module_name: str, callback: Callback) -> None:
        """Call `callback(module)` once after `module_name` was executed; at once if it is imported already.

        Registering the same callback twice is once. An exception in it is swallowed: the import succeeds. Called in
        the thread that imports.
        """
        if module_name in sys.modules:
            # Not the entry of sys.modules: another thread may be in the middle of that import, and this waits for it.
            self._call(callback, import_module(module_name))
            return
        waiting = self._waiting.setdefault(module_name, [])
        if callback not in waiting:
            waiting.append(callback)
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The other finders' spec, for a module that a callback waits for; None for any other."""
        if name not in self._waiting or getattr(self._asking, "name", None) == name:
            return None
        self._asking.name = name
        try:
            spec = _find_with_others(self, name, path, target)
        finally:
            self._asking.name = None
        if spec is not None:
            self._watch(spec)
        return spec

    def _watch(self, spec: ModuleSpec) -> None:
        try:
            loader: Any = spec.loader
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                for callback in self._waiting.pop(spec.name, []):
                    self._call(callback, module)

            loader.exec_module = exec_module
        except Exception as error:  # noqa: BLE001  # a loader without exec_module, or one that takes no attribute
            swallow(f"waiting for the import of {spec.name}", error)

    def _call(self, callback: Callback, module: ModuleType) -> None:
        try:
            callback(module)
        except Exception as error:  # noqa: BLE001
            swallow(f"instrumenting {module.__name__}", error)


finder = PostImportFinder()
when_imported = finder.when_imported


def _find_with_others(
    own: object, name: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    for other in list(sys.meta_path):
        find_spec = getattr(other, "find_spec", None)
        if other is own or find_spec is None:
            continue
        spec: ModuleSpec | None = find_spec(name, path, target)
        if spec is not None:
            return spec
    return None
