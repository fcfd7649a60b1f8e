"""The wrappers around Dagster's generators. Dagster's own generator is always what runs, and all that runs.

Each asks begin.py what observes the events, if anything does. Nothing is caught here but to be raised again; errors of
X-Ray's own are swallowed there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from typing import Any

from xray_core.capture import context
from xray_dagster import begin, fields
from xray_dagster.event_observer import EventObserver

Events = Callable[..., Generator[Any, Any, Any]]


def around_run(original: Events) -> Events:
    """`job_execution_iterator(job_context, execution_plan)`: a whole run, in the process that drives it."""
    return around(original, begin.begin_run)


def around_step(original: Events) -> Events:
    """`dagster_event_sequence_for_step(step_context)`: one attempt of one step, in the process that executes it."""
    return around(original, begin.begin_step)


def around_data(original: Events) -> Events:
    """`execute_core_compute(step_context, inputs, compute_fn, compute_context)`: the body of an op."""
    return around(original, begin.begin_body)


def around_hooks(original: Events) -> Events:
    """`_trigger_hook(step_context, step_event_list)`: the hooks of one step, once it has ended."""
    return around(original, begin.begin_hooks)


def around(
    original: Events, begin_observing: Callable[[tuple[Any, ...], dict[str, Any]], EventObserver | None]
) -> Events:
    """`original`, its events unchanged, and observed by what `begin_observing(args, kwargs)` returns; None for nothing.

    One generator and no more stands around Dagster's own, which are a dozen deep already: each costs at every event, and
    at every exception that is raised below it.
    """

    @wraps(original)
    def observed(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        observer = begin_observing(args, kwargs)
        if observer is None:
            return (yield from original(*args, **kwargs))
        observe, end, kinds, step = observer
        current = context.current
        # What the body made current itself (a step of its own around a `yield`) it finds again after the event.
        here: Any = (step.run, step) if step is not None else None
        token: Any = None
        try:
            events = original(*args, **kwargs)
            try:  # Dagster iterates these and neither sends nor throws; that they are closed it hands on
                while True:
                    if here is not None:
                        token = current.set(here)
                    try:
                        event = next(events)
                    except StopIteration as stop:
                        result = stop.value
                        break
                    finally:
                        if here is not None:
                            here = current.get()
                            current.reset(token)
                    if kinds is None or getattr(event, "event_type_value", fields.UNKNOWN) in kinds:
                        observe(event)
                    yield event
            except BaseException:  # of any kind: Dagster's own generator must not outlive this one half done
                if here is not None:
                    token = current.set(here)
                try:
                    events.close()
                finally:
                    if here is not None:
                        current.reset(token)
                raise
        except BaseException as error:  # reported, and raised on untouched
            end(error)
            raise
        end(None)
        return result

    return observed
