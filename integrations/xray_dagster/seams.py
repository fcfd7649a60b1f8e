"""The wrappers around Dagster's three functions. Dagster's own generator is always what runs, and all that runs.

Each wrapper asks runs.py or ops.py for a capture, and does without where there is none. Nothing is caught here but to be raised
again; whatever X-Ray itself gets wrong is swallowed there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from typing import Any

from xray_core import context
from xray_dagster import ops, runs

Events = Callable[..., Generator[Any, Any, Any]]


def around_run(original: Events) -> Events:
    """`job_execution_iterator(job_context, execution_plan)`: a whole run, in the process that drives it."""

    @wraps(original)
    def job_execution_iterator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        capture = runs.begin_run(args, kwargs)
        events = original(*args, **kwargs)
        if capture is None:
            return (yield from events)
        try:
            result = yield from watched(events, capture.observe)
        except BaseException as error:  # told of, and raised on untouched
            capture.end(error)
            raise
        capture.end(None)
        return result

    return job_execution_iterator


def around_step(original: Events) -> Events:
    """`dagster_event_sequence_for_step(step_context)`: one attempt of one step, in the process that executes it."""

    @wraps(original)
    def dagster_event_sequence_for_step(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        capture = ops.begin_step(args, kwargs)
        events = original(*args, **kwargs)
        if capture is None:
            return (yield from events)
        try:
            result = yield from inside(events, capture)
        except BaseException as error:  # told of, and raised on untouched
            capture.end(error)
            raise
        capture.end(None)
        return result

    return dagster_event_sequence_for_step


def around_data(original: Events) -> Events:
    """`execute_core_compute(step_context, inputs, compute_fn, compute_context)`: the body of an op."""

    @wraps(original)
    def execute_core_compute(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        capture, owned = ops.begin_body(args, kwargs)
        events = original(*args, **kwargs)
        if capture is None:
            return (yield from events)
        if not owned:
            return (yield from watched(events, capture.observe_output))
        try:
            result = yield from inside(events, capture, observe=capture.observe_output)
        except BaseException as error:  # told of, and raised on untouched
            capture.end_body(error)
            raise
        capture.end_body(None)
        return result

    return execute_core_compute


def watched(events: Generator[Any, Any, Any], observe: Callable[[Any], None]) -> Generator[Any, Any, Any]:
    """`events` as they are, each shown to `observe` on its way."""
    # Dagster iterates these and neither sends nor throws; closing reaches the inner one through `finally`
    try:
        while True:
            try:
                event = next(events)
            except StopIteration as stop:
                return stop.value
            observe(event)
            yield event
    finally:
        events.close()


def inside(
    events: Generator[Any, Any, Any], capture: ops.OpCapture, *, observe: Callable[[Any], None] | None = None
) -> Generator[Any, Any, Any]:
    """`events`, with the step current while Dagster and the op's body work on the next one, and at no other time.

    Between two events the executor and other steps have the thread. What the body made current itself (a step of its
    own around a `yield`) it finds again.
    """
    observe = observe if observe is not None else capture.observe
    here: Any = (capture.step.run, capture.step)
    try:
        while True:
            tokens = context.enter(here)
            try:
                event = next(events)
            except StopIteration as stop:
                return stop.value
            finally:
                here = context.leave(tokens)
            observe(event)
            yield event
    finally:
        tokens = context.enter(here)
        try:
            events.close()
        finally:
            context.leave(tokens)
