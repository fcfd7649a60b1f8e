"""Which run and step the code is in: a context variable, then what a framework knows, then the environment, then none.

`current_step()` outside any step returns an object that takes every call and does nothing, so library code may always
call it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token, copy_context
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from xray_core.safety import log, swallow

if TYPE_CHECKING:
    from xray_core.capture.run import Run
    from xray_core.capture.step import Step
    from xray_core.model import Ledger, Status

P = ParamSpec("P")
T = TypeVar("T")

Current = tuple["Run | None", "Step | None"]
_NOTHING: Final[Current] = (None, None)
current: Final[ContextVar[Current]] = ContextVar("xray_place", default=_NOTHING)
"""The run and step that the code is in. `enter` and `leave` are for code that may be left in another context than it was entered in."""

# Adapters add a way to find the step from the framework's own context (its threads may not carry ours).
_step_finders: list[Callable[[], Step | None]] = []
_open_probes: list[Callable[[], bool]] = []
_warned_threads = False


class NoStep:
    """What is current where no step is: takes every call of a step and a run, does nothing, and is falsy. Its attributes are
    those of a step (and run) of which nothing is known.
    """

    run_id = step_id = name = part = pipeline = ""
    step_type: str | None = None
    status: Status | None = None
    parent_id: str | None = None
    origin: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None
    attempt = 1
    seed = 0
    capture = "minimal"
    times_us: tuple[int, int | None] = (0, None)

    @property
    def run(self) -> NoStep:
        """The run of no step: itself, as harmless."""
        return self

    @property
    def ledger(self) -> Ledger:
        """Nothing is known of any item."""
        from xray_core.model import Ledger  # not for a process that only imports `current_step`

        return Ledger()

    @property
    def metadata(self) -> dict[str, Any]:
        """None."""
        return {}

    @property
    def reasons(self) -> dict[str, dict[str, int]]:
        """None."""
        return {}

    @property
    def rejection_counts(self) -> dict[str, int]:
        """None."""
        return {}

    def __bool__(self) -> bool:
        return False

    def __enter__(self) -> NoStep:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    async def __aenter__(self) -> NoStep:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._nothing

    def step(self, *args: Any, **kwargs: Any) -> NoStep:
        """A step inside no step: itself, as harmless."""
        return self

    def token(self) -> str:
        """The token of no step, which `xray_core.attach` takes for none."""
        return ""

    def filter(self, frame: T, reject: Mapping[str, Any], **options: Any) -> T:
        """The rows that no mask rejects; the one method whose answer the program needs."""
        from xray_core.capture import frames  # with what hashes ids: not for a process that only imports `current_step`

        kept: T = frames.filtered(frame, reject).kept
        return kept

    def _nothing(self, *args: Any, **kwargs: Any) -> None:
        return None


NO_STEP: Final = NoStep()


def current_run() -> Run | NoStep:
    """The run the calling code is in, or a harmless no-op object."""
    run = current_run_or_none()
    return run if run is not None else NO_STEP


def current_step() -> Step | NoStep:
    """The step the calling code is in, or a harmless no-op object.

    Follows contextvars: asyncio tasks inherit it, threads do not (see `carry`). Inside Prefect, Airflow and Dagster the
    enabled adapter is asked too; in a child process, `XRAY_RUN_ID` and `XRAY_STEP_ID`.
    """
    step = current.get()[1]
    if step is not None:
        return step
    found = _found()
    if found is not None:
        return found
    _warn_of_bare_thread()
    return NO_STEP


def current_run_or_none() -> Run | None:
    """As `current_run`, with None for nothing."""
    run = current.get()[0]
    if run is not None:
        return run
    step = _found()
    return step.run if step is not None else None


def current_step_or_none() -> Step | None:
    """As `current_step`, with None for nothing, and without the warning about threads."""
    step = current.get()[1]
    return step if step is not None else _found()


def carry(function: Callable[P, T]) -> Callable[P, T]:
    """`function`, bound to the current run and step wherever it is called: `Thread(target=carry(work))`.

    May be called many times and from many threads at once; each call runs in a copy of the context of this moment. Not for
    coroutine functions: what they return runs where it is awaited, and asyncio's tasks carry the step by themselves.
    """
    context = copy_context()

    def carried(*args: P.args, **kwargs: P.kwargs) -> T:
        return context.copy().run(function, *args, **kwargs)

    try:
        return wraps(function)(carried)
    except Exception as error:  # noqa: BLE001  # the object's own __getattr__ raises: it is called all the same
        swallow("carry", error)
        return carried


def add_step_finder(finder: Callable[[], Step | None]) -> None:
    """Let an adapter find the step from its framework's context. The last one added is asked first; twice is once."""
    if finder not in _step_finders:
        _step_finders.insert(0, finder)


def remove_step_finder(finder: Callable[[], Step | None]) -> None:
    """Undo `add_step_finder`; one that was never added is no error."""
    if finder in _step_finders:
        _step_finders.remove(finder)


enter: Final[Callable[[Current], Token[Current]]] = current.set
"""Make a run and a step current. Returns what `leave` takes."""


def leave(token: Token[Current]) -> Current:
    """Undo `enter`; in another context than the one entered (a generator closed elsewhere) it does nothing.

    Returns what was current until now. Code that is entered piecewise (a generator, between its yields) is given it back
    at the next `enter`, so that a step it opened itself stays current for it.
    """
    before = current.get()
    try:
        current.reset(token)
    except ValueError:
        pass
    return before


def leave_ended(token: Token[Current], ended: object) -> None:
    """As `leave`, of a run or step that has ended: in another context than the one entered it is current no longer either."""
    before = leave(token)
    if before is current.get() and any(each is ended for each in before):
        entered_from = token.old_value
        current.set(entered_from if type(entered_from) is tuple else _NOTHING)


def add_open_probe(probe: Callable[[], bool]) -> None:
    """Let a client say whether it has open steps, so that a thread that lost its step can be distinguished from one without."""
    _open_probes.append(probe)


def remove_open_probe(probe: Callable[[], bool]) -> None:
    """Undo `add_open_probe`; one that was never added is no error."""
    if probe in _open_probes:
        _open_probes.remove(probe)


def inherited_ids() -> tuple[str, str] | None:
    """The run and step that a parent process handed down through the environment."""
    run_id, step_id = os.environ.get("XRAY_RUN_ID", ""), os.environ.get("XRAY_STEP_ID", "")
    return (run_id, step_id) if run_id and step_id else None


def _found() -> Step | None:
    for finder in _step_finders:
        try:
            step = finder()
        except Exception as error:  # noqa: BLE001
            swallow(f"finding the current step ({getattr(finder, '__module__', '?')})", error)
            continue
        if step is not None:
            return step
    return None


def _warn_of_bare_thread() -> None:
    """A thread that carries no step although one is open elsewhere: once, say how to carry it."""
    global _warned_threads
    if _warned_threads or threading.current_thread() is threading.main_thread():
        return
    if not any(probe() for probe in list(_open_probes)):  # a collected client removes its own
        return
    _warned_threads = True
    log.warning(
        "X-Ray: current_step() was called in thread %r, which carries no step, so its decisions are not captured. "
        "Start the thread with xray_core.carry(function). This is said once.",
        threading.current_thread().name,
    )
