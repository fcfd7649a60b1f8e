"""Enabling: which of Dagster's functions are wrapped, each by itself and once, and what is lost where one is missing.

Loaded as an `xray.plugins` entry point by every client, so it imports no framework. What the wrappers do is in seams.py.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from xray_core.model import Origin
from xray_core.plugins.hookspecs import hookimpl
from xray_core.plugins.instrument import Instrument
from xray_core.settings import load
from xray_dagster import installed

_API: Final = "dagster._core.execution.api"
_MARK: Final = "__xray_seam__"
PIPES_MODULE: Final = "dagster._core.pipes.context"
PIPES_METHOD: Final = "get_bootstrap_env_vars"


@dataclass(frozen=True, slots=True)
class Seam:
    """One function of Dagster's that is wrapped. Dagster looks it up in its module at call time, under this name, from
    1.5 to 1.13.

    Attributes:
        name: how this adapter calls it; seams.py has `around_{name}`.
        copies: modules that import the function by value.
        lost: what is not captured without it.
    """

    name: str
    module: str
    function: str
    lost: str
    copies: tuple[str, ...] = ()


SEAMS: Final = (
    Seam(
        "step",
        "dagster._core.execution.plan.execute_plan",
        "dagster_event_sequence_for_step",
        "without it: nothing of what steps materialized and checked, and less of retries and failures",
    ),
    Seam(
        "data",
        "dagster._core.execution.plan.execute_step",
        "execute_core_compute",
        "without it: nothing of the inputs and outputs of steps",
    ),
    Seam(
        "run",
        _API,
        "job_execution_iterator",
        "without it: nothing of how runs end, of steps that never ran, and of those whose process died",
        copies=("dagster._core.execution.execute_in_process", "dagster._core.execution.host_mode"),
    ),
    Seam(
        "hooks",
        "dagster._core.execution.plan.execute_plan",
        "_trigger_hook",
        "without it: nothing of what the hooks of ops decide",
    ),
)


def make_instrument() -> Instrument:
    """What enables this adapter in one process. There is one, but for tests."""
    wraps: dict[str, Callable[[ModuleType], object]] = {}
    wraps["dagster"] = lambda module: _report_missing_modules(made)
    made = Instrument("dagster", distribution="dagster", since="1.8", before="2", seams=wraps, how=_how)
    wraps[PIPES_MODULE] = partial(_wrap_pipes, made)
    for module in {seam.module for seam in SEAMS}:
        wraps[module] = partial(_wrap_all, made, module)
    for seam in SEAMS:
        for copy in seam.copies:
            wraps[copy] = partial(_wrap_copy, seam)
    return made


def enable(*, attach_ledger: bool = False) -> None:
    """Make every op, asset and asset check an X-Ray step, in this process and in those that import the same module.

    Call it at the top of the definitions module, or use `xray run -- dagster dev`. Calling it again is harmless. What this
    version of Dagster does not have is said in one warning, and the rest is captured.

    Args:
        attach_ledger: also put X-Ray's ledger, with a link, into the metadata of every output, where Dagster's own pages
            show it. `XRAY_DAGSTER_LEDGER=1` in the environment does the same.

    Raises:
        ConfigurationError: an `XRAY_*` setting is wrong; the message says what to do.
    """
    if not load().enabled:
        return
    if attach_ledger:
        installed.want_ledger()
    instrument.enable()


def disable() -> None:
    """Take the wrappers out again. For tests: a run that is going on keeps its own."""
    for seam in SEAMS:
        for name in (seam.module, *seam.copies):
            wrapped: Any = getattr(sys.modules.get(name), seam.function, None)
            if hasattr(wrapped, _MARK):
                setattr(sys.modules[name], seam.function, wrapped.__wrapped__)
    session: Any = getattr(sys.modules.get(PIPES_MODULE), "PipesSession", None)
    wrapped = getattr(session, PIPES_METHOD, None)
    if hasattr(wrapped, _MARK):
        setattr(session, PIPES_METHOD, wrapped.__wrapped__)
    installed.reset()
    instrument.enabled = False


@hookimpl
def xray_instruments() -> dict[str, Callable[[], None]]:
    """Under `xray run`, and for `xray doctor`."""
    return {"dagster": instrument}


@hookimpl
def xray_run_origin() -> tuple[Origin, str | None, str | None] | None:
    """Inside an op's body a run that starts by hand is a child of that op's step."""
    begin = sys.modules.get("xray_dagster.begin")  # not imported here: most processes with a client run no op
    here = begin.current_op() if begin is not None else None
    return (here.origin, here.step.run_id, here.step.step_id) if here is not None else None


def _wrap_all(made: Instrument, name: str, module: ModuleType) -> None:
    for seam in SEAMS:
        if seam.module == name:
            _wrap(made, seam, module)


def _wrap_pipes(made: Instrument, module: ModuleType) -> None:
    """What Dagster hands to an external process by its environment says which step that process is in."""
    session: Any = getattr(module, "PipesSession", None)
    original = getattr(session, PIPES_METHOD, None)
    if original is None:
        made.missing(
            f"{PIPES_MODULE}.PipesSession.{PIPES_METHOD}", "without it: nothing of what Pipes' processes decide"
        )
        return
    if not hasattr(original, _MARK):
        from xray_dagster import pipes

        wrapped: Any = pipes.around_environment(original)
        setattr(wrapped, _MARK, "pipes")
        setattr(session, PIPES_METHOD, wrapped)
    made.found(f"{PIPES_MODULE}.PipesSession.{PIPES_METHOD}")


def _wrap(made: Instrument, seam: Seam, module: ModuleType) -> None:
    original: Any = getattr(module, seam.function, None)
    if original is None:
        made.missing(f"{seam.module}.{seam.function}", seam.lost)
        return
    if not inspect.isgeneratorfunction(inspect.unwrap(original)):
        made.missing(f"{seam.module}.{seam.function}", f"it is no generator any more; {seam.lost}")
        return
    if not hasattr(original, _MARK):
        from xray_dagster import links, seams

        around: Callable[[Any], Any] = getattr(seams, f"around_{seam.name}")
        wrapped = around(original)
        setattr(wrapped, _MARK, seam.name)
        setattr(module, seam.function, wrapped)
        links.export_webserver_url()
    installed.mark_installed(seam.name)
    made.found(f"{seam.module}.{seam.function}")


def _report_missing_modules(made: Instrument) -> None:
    """Once Dagster is imported: a module that is not there will never be, and must be reported."""
    for seam in SEAMS:
        if seam.module not in sys.modules and find_spec(seam.module) is None:
            made.missing(f"{seam.module}.{seam.function}", seam.lost)


def _wrap_copy(seam: Seam, module: ModuleType) -> None:
    """A module that took the function by value takes the wrapped one, if it took it too early."""
    wrapped: Any = getattr(sys.modules.get(seam.module), seam.function, None)
    if hasattr(wrapped, _MARK) and getattr(module, seam.function, None) is wrapped.__wrapped__:
        setattr(module, seam.function, wrapped)


def _how() -> str:
    """Of the processes that are started as this one was: what enables X-Ray in them, or what would."""
    if os.environ.get("XRAY_ENABLED", "1").strip().lower() in ("0", "false", "no", "off"):
        return "switched off by XRAY_ENABLED"
    begin = sys.modules.get("xray_dagster.begin")
    here = begin.current_op() if begin is not None else None
    inside = f"; this process executes {here.key} of run {here.step.run_id}" if here is not None else ""
    from xray_core.autoload import SITE_DIR

    below = "dagster" in os.environ.get("XRAY_AUTOLOAD", "").split(",")
    if below and str(SITE_DIR) in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        return f"started below `xray run`: captured wherever Dagster is imported{inside}"
    config = Path(os.environ.get("DAGSTER_HOME") or ".") / "dagster.yaml"
    if _names_our_instance(config):
        return f"by {config}: captured in every process that uses this instance{inside}"
    if inside:
        return f"captured here{inside}"
    return (
        "`xray run -- dagster dev`; or in dagster.yaml: "
        "instance_class: {module: xray_dagster.instance, class: XRayInstance}; or in the definitions module: "
        "import xray_dagster; xray_dagster.enable() (`xray doctor` cannot see whether it is there)"
    )


def _names_our_instance(config: Path) -> bool:
    try:
        lines = config.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any("xray_dagster.instance" in line.partition("#")[0] for line in lines)


instrument = make_instrument()
