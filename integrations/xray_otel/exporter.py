"""Runs and steps as spans and metrics of the application's own providers.

A run's span begins with the run, as a child of the span that is current then, and linked to it. A step is exported when it has ended,
with its own times. A step inside another waits until that one has ended, since a span's parent must be there first.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from opentelemetry import context, metrics, trace
from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY as SUPPRESSED
from opentelemetry.trace import Link, Span, SpanContext, StatusCode

from xray_core import hookimpl
from xray_core.addresses import path_segment

if TYPE_CHECKING:
    from xray_core.capture.run import Run
    from xray_core.capture.step import Step

MAX_PENDING: Final = 10_000  # steps of one run that wait for the step around them; more become children of the run
_MAX_REASONS: Final = 100  # events of one span: OpenTelemetry's own default is 128
_MAX_JSON_CHARS: Final = 8_000
_OUTCOMES: Final = ("accepted", "rejected", "selected", "not_selected", "errored")
_FIGURES: Final = ("input", "accepted", "rejected", "not_selected", "errored", "selected", "unaccounted")
_KINDS: Final = {"retrieve": "RETRIEVER", "rank": "RERANKER"}  # as OpenInference names them; anything else is a CHAIN


@dataclass(slots=True)
class _Finished:
    """A step that has ended, as it is exported."""

    step_id: str
    name: str
    times_us: tuple[int, int]
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    error: Mapping[str, Any] | None
    failed: bool
    here: SpanContext


@dataclass(slots=True)
class _OpenRun:
    span: Span
    caller: SpanContext
    pending: dict[str, list[_Finished]] = field(default_factory=dict)
    waiting: int = 0


class Spans:
    """The plugin. Hooks come from any thread.

    Args:
        tracer_provider, meter_provider: the application's; None: the global ones, as they are when first used.
    """

    def __init__(self, *, tracer_provider: Any = None, meter_provider: Any = None) -> None:
        ours = version("xray-pipelines")
        self._tracer = trace.get_tracer("xray", ours, tracer_provider)
        meter = metrics.get_meter("xray", ours, meter_provider)
        self._items = meter.create_counter("xray.items", "{item}", "Items by outcome and reason")
        self._durations = meter.create_histogram("xray.step.duration", "s", "How long steps took")
        self._runs: WeakKeyDictionary[Run, _OpenRun] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._api_url = ""

    @hookimpl
    def xray_configure(self, settings: Any) -> None:
        """Keep the server's address, for links."""
        self._api_url = settings.api_url

    @hookimpl
    def xray_sending(self) -> Any:
        """Requests that take records to the server become no spans, whatever instruments HTTP clients."""
        return _untraced()

    @hookimpl
    def xray_run_started(self, run: Run) -> None:
        """Begin the run's span."""
        caller = trace.get_current_span().get_span_context()
        span = self._tracer.start_span(
            f"xray.run {run.pipeline}",
            start_time=run.times_us[0] * 1000,
            links=[Link(caller, {"xray.link": "caller"})] if caller.is_valid else [],
            attributes={
                "xray.run.id": run.run_id,
                "xray.pipeline": run.pipeline,
                "xray.url": f"{self._api_url}/ui/runs/{path_segment(run.run_id)}",
            },
        )
        with self._lock:
            self._runs[run] = _OpenRun(span, caller)

    @hookimpl
    def xray_step_finished(self, step: Step) -> None:
        """Export a step, or keep it until the step around it has ended."""
        self._count(step)
        finished = _finished(step, self._api_url)
        with self._lock:
            run = self._runs.get(step.run)
            if run is not None and step.parent_id is not None and run.waiting < MAX_PENDING:
                run.pending.setdefault(step.parent_id, []).append(finished)
                run.waiting += 1
                return
        self._export(finished, None if run is None else run.span, run)

    @hookimpl
    def xray_run_finished(self, run: Run) -> None:
        """End the run's span, with what still waits."""
        with self._lock:
            ended = self._runs.pop(run, None)
        if ended is None:
            return  # another process opened it, and exports it
        while ended.pending:
            parent_id = next(iter(ended.pending))
            for finished in ended.pending.pop(parent_id):
                self._export(finished, ended.span, ended)
        ended.span.set_attribute("xray.status", run.status or "completed")
        _fail(ended.span, run.error, failed=run.status == "failed")
        ended.span.end((run.times_us[1] or run.times_us[0]) * 1000)

    def _export(self, finished: _Finished, parent: Span | None, run: _OpenRun | None) -> None:
        """A step's span, and those of the steps inside that waited for it."""
        waiting = [(finished, parent)]
        while waiting:
            each, around = waiting.pop()
            foreign = each.here.is_valid and (run is None or each.here != run.caller)
            span = self._tracer.start_span(
                f"{each.attributes.get('xray.step.type', 'step')} {each.name}",
                context=None if around is None else trace.set_span_in_context(around),
                start_time=each.times_us[0] * 1000,
                attributes=each.attributes,
                links=[Link(each.here, {"xray.link": "here"})] if foreign else [],
            )
            for name, attributes in each.events:
                span.add_event(name, attributes, timestamp=each.times_us[1] * 1000)
            _fail(span, each.error, failed=each.failed)
            span.end(each.times_us[1] * 1000)
            if run is not None:
                with self._lock:
                    inner = run.pending.pop(each.step_id, [])
                    run.waiting -= len(inner)
                waiting += [(child, span) for child in reversed(inner)]

    def _count(self, step: Step) -> None:
        common = {"xray.pipeline": step.run.pipeline, "xray.step.name": step.name}
        started_us, ended_us = step.times_us
        if ended_us is not None:
            self._durations.record((ended_us - started_us) / 1e6, {**common, "xray.status": step.status or "completed"})
        for outcome, reasons in step.reasons.items():
            for reason, n in list(reasons.items())[:_MAX_REASONS]:
                self._items.add(n, {**common, "xray.outcome": outcome, **({"xray.reason": reason} if reason else {})})


def _finished(step: Step, api_url: str) -> _Finished:
    started_us, ended_us = step.times_us
    ledger = step.ledger
    attributes: dict[str, Any] = {
        "xray.run.id": step.run_id,
        "xray.pipeline": step.run.pipeline,
        "xray.step.id": step.step_id,
        "xray.step.name": step.name,
        "xray.step.attempt": step.attempt,
        "xray.status": step.status or "completed",
        "xray.url": f"{api_url}/ui/runs/{path_segment(step.run_id)}/steps/{path_segment(step.step_id)}",
        "openinference.span.kind": _KINDS.get(step.step_type or "", "CHAIN"),
    }
    optional = {"xray.step.type": step.step_type, "xray.step.parent_id": step.parent_id}
    figures = {f"xray.items.{name}": getattr(ledger, name) for name in _FIGURES}
    given = {**optional, **figures, "xray.rejection_rate": ledger.rejection_rate}
    attributes |= {name: value for name, value in given.items() if value is not None}
    if ledger.inferred:
        attributes["xray.items.inferred"] = True
    if step.metadata:
        text = json.dumps(step.metadata, default=str)
        if len(text) <= _MAX_JSON_CHARS:
            attributes["xray.metadata"] = text
    events = [
        (f"xray.{outcome}", {"xray.outcome": outcome, "xray.reason": reason, "xray.items": n})
        for outcome in _OUTCOMES
        for reason, n in step.reasons.get(outcome, {}).items()
        if reason
    ]
    here = trace.get_current_span().get_span_context()
    times_us = (started_us, ended_us if ended_us is not None else started_us)
    return _Finished(
        step.step_id, step.name, times_us, attributes, events[:_MAX_REASONS], step.error, step.status == "failed", here
    )


def _fail(span: Span, error: Mapping[str, Any] | None, *, failed: bool) -> None:
    if not failed:
        return
    fields = error or {}
    span.set_status(StatusCode.ERROR, str(fields.get("message") or ""))
    if error is not None:
        names = {"type": "exception.type", "message": "exception.message", "traceback": "exception.stacktrace"}
        span.add_event("exception", {of: str(fields[name]) for name, of in names.items() if fields.get(name)})


@contextmanager
def _untraced() -> Iterator[None]:
    # instrumentations look at the one or at the other, by their age
    suppressing = context.set_value("suppress_instrumentation", True, context.set_value(SUPPRESSED, True))
    token = context.attach(suppressing)
    try:
        yield
    finally:
        context.detach(token)
