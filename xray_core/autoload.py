"""`xray run -- CMD`: enables each installed adapter when its framework is imported, in CMD and every process below it.

A directory with a `sitecustomize` is put on PYTHONPATH. It costs other Python processes nothing: X-Ray is loaded when the
first watched framework is about to be imported. Owns the environment handed down and the report for `xray doctor`.
Knows adapters only by the entry points they registered.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from xray_core.plugins.host import PluginHost
from xray_core.plugins.instrument import Instrument
from xray_core.plugins.post_import import when_imported
from xray_core.safety import swallow

# The directory of our sitecustomize; it holds nothing else, because it stands first on the path of every child.
SITE_DIR: Final = Path(__file__).parent / "_autoload"
NOT_FOUND: Final = 127  # what shells answer, so that scripts around `xray run` need not tell the two apart
NOT_EXECUTABLE: Final = 126

_armed = False


def run(command: Sequence[str]) -> int:
    """Replace this process by `command`, with every installed adapter waiting for its framework.

    Where a process can be replaced (not on Windows) this does not return: pid, signals, terminal and exit code are the
    command's own. Otherwise, and when it cannot be started, the exit code is returned. Blocks as long as it runs.

    Args:
        command: the program, looked up on PATH, and its arguments.
    """
    if not command:
        sys.stderr.write("xray run: no command given, as in: xray run -- python flow.py\n")
        return 2
    environment = environment_for_children(dict(os.environ))
    try:
        if sys.platform == "win32":
            return subprocess.run(list(command), env=environment, check=False).returncode  # noqa: S603  # as asked
        environment["XRAY_AUTOLOAD_PID"] = str(os.getpid())
        sys.stdout.flush()
        sys.stderr.flush()
        os.execvpe(command[0], list(command), environment)  # noqa: S606  # as asked
    except FileNotFoundError:
        sys.stderr.write(f"xray run: {command[0]}: not found\n")
        return NOT_FOUND
    except OSError as error:
        sys.stderr.write(f"xray run: {command[0]}: {error.strerror}\n")
        return NOT_EXECUTABLE


def environment_for_children(environment: dict[str, str]) -> dict[str, str]:
    """`environment` with what makes Python processes started in it enable their adapters."""
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path and path != str(SITE_DIR)]
    return {
        **environment,
        "PYTHONPATH": os.pathsep.join([str(SITE_DIR), *paths]),
        "XRAY_AUTOLOAD": ",".join(sorted(_instruments())),
    }


def arm() -> None:
    """Have each installed adapter enabled when its framework is imported here, or at once where it is. Never raises."""
    global _armed
    if _armed or os.environ.get("XRAY_ENABLED", "1").strip().lower() in ("0", "false", "no", "off"):
        return
    _armed = True
    try:
        for module_name, enable in _instruments().items():
            when_imported(module_name, _Enable(module_name, enable))
    except Exception as error:  # noqa: BLE001
        swallow("xray run", error)


def report(*, check: bool = False) -> list[dict[str, Any]]:
    """What `xray doctor` shows of each installed adapter, about this process; see `Instrument.report`.

    Args:
        check: also import each installed framework and enable its adapter, which tells the seams found and missing.
            Takes seconds a framework, and leaves it instrumented: only for a process that ends afterwards.
    """
    found = []
    for module_name, enable in sorted(_instruments().items()):
        if not isinstance(enable, Instrument):
            found.append({"framework": module_name, "enabled": None, "how": "a plugin of your own: it gives no report"})
            continue
        problem = _try(enable) if check and enable.version() is not None else None
        about = {**enable.report(), "armed": _armed}
        found.append({**about, "problem": problem} if problem else about)
    return found


class _Enable:
    """Enables an adapter whatever it was given: the callable takes no argument, a post-import callback takes a module."""

    def __init__(self, module_name: str, enable: Callable[[], object]) -> None:
        self._module_name = module_name
        self._enable = enable

    def __call__(self, module: object) -> None:
        self._enable()


def _instruments() -> dict[str, Callable[[], object]]:
    """{module name: enable} of the installed plugins. One that is broken is left out, with a warning."""
    disabled = [name.strip() for name in os.environ.get("XRAY_DISABLE_PLUGINS", "").split(",") if name.strip()]
    found: dict[str, Callable[[], object]] = {}
    for plugin, instruments in PluginHost(disabled=disabled).collect("xray_instruments"):
        try:
            found.update({str(module_name): enable for module_name, enable in instruments.items() if callable(enable)})
        except Exception as error:  # noqa: BLE001
            swallow(f"plugin {plugin!r} in xray_instruments", error)
    return found


def _try(instrument: Instrument) -> str | None:
    """Enable and import what it waits for; why that failed, or None."""
    try:
        instrument.enable()
        for module_name in instrument.modules:
            import_module(module_name)
    except Exception as error:  # noqa: BLE001  # a framework that cannot even be imported is a finding
        return f"{type(error).__name__}: {error}"
    return None
