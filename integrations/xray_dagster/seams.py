"""The wrappers around Dagster's three functions. Dagster's own generator is always what runs, and all that runs.

Each asks runs.py or ops.py what to do with the events, and does without where they have nothing. Nothing is caught here but
to be raised again; whatever X-Ray itself gets wrong is swallowed there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from typing import Any

from xray_core.capture import context
from xray_dagster import fields, ops, runs
from xray_dagster.runs import EventObserver

Events = Callable[..., Generator[Any, Any, Any]]


def around_run(original: Events) -> Events:
    """`job_execution_iterator(job_context, execution_plan)`: a whole run, in the process that drives it."""
    return around(original, runs.begin_run)


def around_step(original: Events) -> Events:
    """`dagster_event_sequence_for_step(step_context)`: one attempt of one step, in the process that executes it."""
    return around(original, ops.begin_step)


def around_data(original: Events) -> Events:
    """`execute_core_compute(step_context, inputs, compute_fn, compute_context)`: the body of an op."""
    return around(original, ops.begin_body)


def around(original: Events, begin: Callable[[tuple[Any, ...], dict[str, Any]], EventObserver | None]) -> Events:
    """`original`, its events as they are and followed as `begin(args, kwargs)` says; None leaves it alone.

    One generator and no more stands around Dagster's own, which are a dozen deep already: each costs at every event, and
    at every exception that is raised below it.
    """

    @wraps(original)
    def followed(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        following = begin(args, kwargs)
        if following is None:
            return (yield from original(*args, **kwargs))
        observe, end, kinds, step = following
        place = context.current
        # What the body made current itself (a step of its own around a `yield`) it finds again after the event.
        here: Any = (step.run, step) if step is not None else None
        token: Any = None
        try:
            events = original(*args, **kwargs)
            try:  # Dagster iterates these and neither sends nor throws; that they are closed it hands on
                while True:
                    if here is not None:
                        token = place.set(here)
                    try:
                        event = next(events)
                    except StopIteration as stop:
                        result = stop.value
                        break
                    finally:
                        if here is not None:
                            here = place.get()
                            place.reset(token)
                    if kinds is None or getattr(event, "event_type_value", fields.UNKNOWN) in kinds:
                        observe(event)
                    yield event
            except BaseException:  # of any kind: Dagster's own generator must not outlive this one half done
                if here is not None:
                    token = place.set(here)
                try:
                    events.close()
                finally:
                    if here is not None:
                        place.reset(token)
                raise
        except BaseException as error:  # told of, and raised on untouched
            end(error)
            raise
        end(None)
        return result

    return followed
