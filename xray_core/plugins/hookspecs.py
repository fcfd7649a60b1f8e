"""What plugins can do: the hook specifications, one docstring each, and the marker to implement them with.

    from xray_core import hookimpl

    @hookimpl
    def xray_redact(record): ...

Publish the module or object as an entry point of the group `xray.plugins`. docs/hooks.md says what each may do,
docs/api/plugins.md has an example of each.
Per-item calls, ids, the clock and SQL are not hooks and will not be: they would cost the pipeline.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from xray_core.capture.run import Run
    from xray_core.capture.sampling import Sampler
    from xray_core.capture.step import Step
    from xray_core.model import Origin
    from xray_core.settings import Settings
    from xray_core.tasks import TaskAttempt
    from xray_core.transport import Transport

PROJECT = "xray"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def xray_instruments() -> dict[str, Callable[[], None]]:
    """Frameworks this plugin can instrument: {module name: function that enables it}, called when that is imported."""
    raise NotImplementedError


@hookspec
def xray_configure(settings: Settings) -> None:
    """A client starts with these settings. A plugin that raises here is disabled."""


@hookspec(firstresult=True)
def xray_make_sampler(settings: Settings) -> Sampler | None:
    """The sampler that decides which details are kept; the first one given is used."""


@hookspec(firstresult=True)
def xray_make_transport(settings: Settings) -> Transport | None:
    """The transport that takes records to the server; the first one given is used."""


@hookspec(firstresult=True)
def xray_run_origin() -> tuple[Origin, str | None, str | None] | None:
    """A run starts by hand: the framework object around it, and the ids of the run and step it is a child of."""


@hookspec(firstresult=True)
def xray_task_attempt() -> TaskAttempt | None:
    """The attempt of a distributed engine's task that the calling code is in; asked when a step is attached, and by adapters."""


@hookspec
def xray_run_started(run: Run) -> None:
    """A run has begun. Called in its thread; keep it short."""


@hookspec
def xray_run_finished(run: Run) -> None:
    """A run has ended. Called in its thread; keep it short."""


@hookspec
def xray_step_finished(step: Step) -> None:
    """A step has ended. Called in its thread; keep it short."""


@hookspec
def xray_redact(record: dict[str, Any]) -> dict[str, Any]:
    """The record as it may leave the process. Each plugin gets the last one's result; raising drops the payload."""
    raise NotImplementedError


@hookspec
def xray_sending() -> AbstractContextManager[Any]:
    """Records are about to be sent: a context manager to hold around the request, as one that keeps it untraced."""
    raise NotImplementedError


@hookspec
def xray_records_dropped(count: int, reason: str) -> None:
    """Records were lost on this machine, and why. Called from the sender's thread."""


@hookspec(firstresult=True)
def xray_make_store(url: str) -> Any:
    """The store for this database address, asked at server start; raising refuses to start."""
