"""`attach`: capture into a step of another process, on this machine or on any other.

    token = step.token()                       # where the step is open; any text channel takes it there
    with xray_core.attach(token) as step:      # in the worker
        step.reject("UA-1545", "too_late")

In a task of a distributed engine it is given the task's attempt: then a task that is run again, or twice at a time, counts
once. A worker delivers by itself: at the end of an attempt it waits, but not for long, until the server has confirmed what
the attempt said, since its machine may be gone the moment after.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Token as ContextToken
from dataclasses import dataclass
from functools import update_wrapper
from types import GeneratorType, TracebackType
from typing import Any, Final, Literal

from xray_core import native
from xray_core.capture import context
from xray_core.capture.context import NO_STEP, NoStep
from xray_core.capture.run import Run
from xray_core.capture.step import Step
from xray_core.capture.task_step import TaskStep
from xray_core.capture.token import Token, carried, read_token
from xray_core.model import Status, is_failure
from xray_core.safety import guarded, swallow
from xray_core.tasks import ENDED_WELL, TaskAttempt
from xray_core.xray import XRay, living_clients

_CONFIRM_S: Final = 2.0
_CONFIRM_EVERY_S: Final = 1.0  # of one attempt: a task that calls a function for each item ends with every one
_NOT_AGAIN_S: Final = 30.0  # a server that did not confirm in time is not waited for by every task
_MAX_CLIENTS: Final = 16
_MAX_HELD: Final = 64
_LAZY: Final = (GeneratorType, map, filter, zip, enumerate)


def attach(token: str, *, task: TaskAttempt | None = None) -> Attached:
    """A context manager that makes the step of a token current; gives a harmless no-op where the token is none.

    Args:
        token: what `step.token()` gave. Settings that decide what is kept and masked come with it; `XRAY_API_KEY`, and
            `XRAY_API_URL` where this machine reaches the server at another address, from this process's environment.
        task: the attempt of an engine's task that this code runs in: of the attempts of one task, one counts. In tasks of
            Dask, Ray and Spark it is known (plugins say it).
    """
    return Attached(token, task)


class Attached:
    """What `attach` gives: `with` it, or `async with`, as often as is wanted."""

    def __init__(self, token: str, task: TaskAttempt | None = None) -> None:
        self._token = token
        self._task = task
        self._entered: list[tuple[Held, ContextToken[Any]] | None] = []

    def __enter__(self) -> Step | NoStep:
        held = hold(self._token, self._task)
        self._entered.append(None if held is None else (held, context.enter((held.run, held.step))))
        return NO_STEP if held is None else held.step

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        held = self._leave()
        if held is not None:
            let_go(held, "failed" if is_failure(error) else ENDED_WELL)
        return False

    async def __aenter__(self) -> Step | NoStep:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        held = self._leave()
        if held is not None:  # it may wait for the server: not on the loop
            await _let_go_meanwhile(held, "failed" if is_failure(error) else ENDED_WELL)
        return False

    def _leave(self) -> Held | None:
        entered = self._entered.pop()
        if entered is None:
            return None
        context.leave(entered[1])
        return entered[0]


@dataclass(slots=True)
class Held:
    """A step that this process captures into until it lets go of it."""

    client: XRay
    run: Run
    step: Step
    inside: int = 0
    confirm_at: float = 0.0  # by the monotonic clock: when the end of the attempt is worth waiting for again

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make the step current, and what was current before after the block."""
        before = context.enter((self.run, self.step))
        try:
            yield
        finally:
            context.leave(before)


_lock = native.make_rlock()
_clients: OrderedDict[str, XRay] = OrderedDict()
_held: OrderedDict[tuple[Any, ...], Held] = OrderedDict()
_wait_again_at = 0.0


def hold(token: str, task: TaskAttempt | None) -> Held | None:
    """The step of a token, and of an attempt of a task the same one each time; None where nothing is captured."""
    if token == "":  # of no step
        return None
    try:
        read = read_token(token)
        with _lock:
            return _hold(read, task) if read.settings.get("enabled", True) else None
    except Exception as error:  # noqa: BLE001
        swallow("attach", error)
        return None


def _hold(token: Token, task: TaskAttempt | None) -> Held | None:
    client = _client_of(token)
    if not client.settings.enabled:
        return None
    if task is None:
        task = client.task_attempt()
    if task is None:
        return _held_in(client, client.attach_run(token.run_id, token.pipeline), token, inside=1)
    key = (id(client), token.run_id, token.step_id, token.attempt, task)
    held = _held.get(key)
    if held is None:
        of_task = client.attach_task_run(token.run_id, token.pipeline, within=token.step_id, task=task)
        held = _held[key] = _held_in(client, of_task, token)
    _held.move_to_end(key)
    if len(_held) > _MAX_HELD:
        oldest = next((each for each, other in _held.items() if not other.inside and other is not held), None)
        if oldest is not None:
            del _held[oldest]
    return hold_on(held)


def hold_on(held: Held) -> Held:
    """Capture into a step that was held, once more."""
    with _lock:
        held.inside += 1
        if isinstance(held.step, TaskStep):
            held.step.resume_task()
    return held


def _held_in(client: XRay, run: Run, token: Token, *, inside: int = 0) -> Held:
    step = run.attach_step(
        token.step_id, name=token.name, attempt=token.attempt, index=token.index, capture=token.capture
    )
    return Held(client, run, step, inside)


async def _let_go_meanwhile(held: Held, status: Status) -> None:
    """As `let_go`, while the event loop goes on. Few attach in coroutines, and to import asyncio takes 15 ms."""
    import asyncio

    await asyncio.to_thread(let_go, held, status)


@guarded("attach")
def let_go(held: Held, status: Status) -> None:
    """Write down what was said of the step, and how the attempt is: "completed", "failed", or "running" where its end will
    not be known or comes later.
    """
    with _lock:
        held.inside -= 1
        inside = held.inside
    if not isinstance(held.step, TaskStep):
        held.step.detach()
    elif not inside:
        held.step.end_task(status)
        if status == ENDED_WELL and time.monotonic() >= held.confirm_at:
            _confirm(held.client)
            held.confirm_at = time.monotonic() + _CONFIRM_EVERY_S


def _confirm(client: XRay) -> None:
    """Wait until the server has what this process said, unless it did not answer a moment ago."""
    global _wait_again_at
    if time.monotonic() >= _wait_again_at and not client.flush(_CONFIRM_S):
        _wait_again_at = time.monotonic() + _NOT_AGAIN_S


def _client_of(token: Token) -> XRay:
    """The client that captures for a token: the step's own where it lives in this process, else one of the same settings."""
    living = living_clients()
    for client in living:
        if client.part == token.client:
            return client
    for client in living:
        if carried(client.settings) == token.settings:
            return client
    key = repr(sorted(token.settings.items()))
    if key not in _clients:
        _clients[key] = XRay(token.pipeline, **_arguments(token.settings, os.environ))
        while len(_clients) > _MAX_CLIENTS:
            _clients.popitem(last=False)[1].close(0)  # its threads; what it still captures waits on disk, or is flushed
    return _clients[key]


def _arguments(settings: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """A token's settings, but for those that this process's environment has; what either masks is masked."""
    found = {name: value for name, value in settings.items() if not environ.get(f"XRAY_{name.upper()}")}
    own = environ.get("XRAY_REDACT", "")
    if own and settings.get("redact"):
        found["redact"] = [*settings["redact"], *(each.strip() for each in own.split(",") if each.strip())]
    return found


def _after_fork_in_child() -> None:
    global _lock
    _lock = native.make_rlock()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class Carried:
    """A function that runs inside the step of a token wherever it is called. Can be pickled where the function can.

    An iterator that it returns is inside of the step while it makes its items, and the attempt ends with its last one.

    Args:
        several_calls: the engine calls the function many times in one task, so that no call's end is the task's.
    """

    def __init__(self, function: Callable[..., Any], token: str, *, several_calls: bool = False) -> None:
        update_wrapper(self, function)
        self.function = function
        self.token = token
        self._at_exit: Status = "running" if several_calls else ENDED_WELL

    def attempt(self) -> TaskAttempt | None:
        """The attempt of an engine's task, where it is this function's to say; None: plugins say it."""
        return None

    def is_lazy(self, made: Any) -> bool:
        """Whether the function does its work while what it returned is gone through; what else can be gone through, as a file
        or a reader of one, stays what it is.
        """
        return isinstance(made, _LAZY) or type(made).__module__ == "itertools"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function inside of the step."""
        held = hold(self.token, self.attempt())
        if held is None:
            return self.function(*args, **kwargs)
        status: Status = "running"
        try:
            with held.current():
                made = self.function(*args, **kwargs)
            if self.is_lazy(made):
                return self.iterated(made, held)
            status = self._at_exit
            return made
        except Exception:
            status = "failed"
            raise
        finally:
            let_go(held, status)

    async def awaited(self, *args: Any, **kwargs: Any) -> Any:
        """As calling it, of a coroutine function."""
        held = hold(self.token, self.attempt())
        if held is None:
            return await self.function(*args, **kwargs)
        status: Status = "running"
        try:
            with held.current():
                made = await self.function(*args, **kwargs)
            status = self._at_exit
            return made
        except Exception:
            status = "failed"
            raise
        finally:
            await _let_go_meanwhile(held, status)

    async def generated(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        """As calling it, of an asynchronous generator."""
        made = self.function(*args, **kwargs)
        held = hold(self.token, self.attempt())
        if held is None:
            async for item in made:
                yield item
            return
        status: Status = "running"
        place: context.Current = (held.run, held.step)
        try:
            while True:
                tokens = context.enter(place)
                try:
                    item = await made.__anext__()
                except StopAsyncIteration:
                    status = self._at_exit
                    return
                finally:
                    place = context.leave(tokens)
                yield item
        except GeneratorExit:
            tokens = context.enter(place)
            try:
                await made.aclose()
            finally:
                context.leave(tokens)
            raise
        except Exception:
            status = "failed"
            raise
        finally:
            await _let_go_meanwhile(held, status)

    def iterated(self, made: Iterator[Any], held: Held) -> Generator[Any, None, Any]:
        """The same items, each of them made inside the step; and what a generator returns."""
        hold_on(held)  # by who begins: one that nobody begins holds nothing
        status: Status = "running"  # of one that is not gone through to its end, nobody knows whether that was all
        place: context.Current = (held.run, held.step)  # or a step that the iterator has opened, and is inside of
        try:
            while True:
                tokens = context.enter(place)
                try:
                    item = next(made)
                except StopIteration as end:
                    status = self._at_exit
                    return end.value
                finally:
                    place = context.leave(tokens)
                yield item
        except GeneratorExit:
            tokens = context.enter(place)
            try:
                if isinstance(made, GeneratorType):
                    made.close()
            finally:
                context.leave(tokens)
            raise
        except Exception:
            status = "failed"
            raise
        finally:
            let_go(held, status)


@contextmanager
def uncaptured() -> Iterator[None]:
    """Where `current_step()` is a no-op: for engines that call a function with made-up data to see what it gives."""
    before = context.enter((None, NO_STEP))  # type: ignore[arg-type]  # takes the calls of a step
    try:
        yield
    finally:
        context.leave(before)
