"""Runs and steps as spans, metrics and log fields of the application's own providers, and back again through OTLP.

Tests exporter.py, logs.py and plugin.py.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry import context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from xray_otel import XRayFilter, add_xray_ids, spans

from tests.live import Live
from xray_core import XRay, current_step
from xray_core.transport.memory import MemoryTransport


class Application:
    """An application with providers of its own."""

    def __init__(self) -> None:
        self.kept = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.kept))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracer = self.provider.get_tracer("app")
        self.plugin = spans(tracer_provider=self.provider, meter_provider=self.meters)

    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.kept.get_finished_spans()}

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        assert data is not None
        found = [metric for each in data.resource_metrics for scope in each.scope_metrics for metric in scope.metrics]
        return [point for metric in found if metric.name == name for point in metric.data.data_points]

    def close(self) -> None:
        self.provider.shutdown()
        self.meters.shutdown()


@pytest.fixture
def application() -> Iterator[Application]:
    app = Application()
    yield app
    app.close()


def decide(client: XRay) -> str:
    with client.run(run_id="run-1") as run:
        with run.step("rag", step_type="transform") as outer:
            with outer.step("cut", step_type="filter") as step:
                step.set_metadata("limit", 100)
                step.set_input_count(4)
                step.reject("a", "too_dear")
                step.reject("b", "too_dear")
                step.reject("c", "too_far")
                step.accept("d")
            with outer.step("rank", step_type="rank") as step:
                step.accept("d", score=0.5)
    return run.run_id


def test_runs_and_steps_are_children_of_the_span_that_was_current(application: Application) -> None:
    client = XRay("shop", transport=MemoryTransport(), plugins=[application.plugin], api_url="http://xray.example")
    with application.tracer.start_as_current_span("GET /search") as here:
        decide(client)
    client.close()
    told = application.spans()
    run, outer, cut = told["xray.run shop"], told["transform rag"], told["filter cut"]
    assert run.parent is not None
    assert outer.parent is not None
    assert cut.parent is not None
    assert run.parent.span_id == here.get_span_context().span_id
    assert run.links[0].context.span_id == here.get_span_context().span_id
    assert outer.parent.span_id == run.context.span_id
    assert cut.parent.span_id == outer.context.span_id
    assert {span.context.trace_id for span in told.values()} == {here.get_span_context().trace_id}
    assert outer.start_time <= cut.start_time <= cut.end_time <= outer.end_time  # type: ignore[operator]


def test_the_address_of_a_page_escapes_an_id(application: Application) -> None:
    client = XRay("shop", transport=MemoryTransport(), plugins=[application.plugin], api_url="http://xray.example")
    with client.run(run_id="a/b?c") as run, run.step("cut"):
        pass
    client.close()
    addresses = [str((span.attributes or {})["xray.url"]) for span in application.spans().values()]
    assert all(address.startswith("http://xray.example/ui/runs/a%2Fb%3Fc") for address in addresses), addresses


def test_a_step_tells_its_ledger_its_reasons_and_where_its_page_is(application: Application) -> None:
    client = XRay("shop", transport=MemoryTransport(), plugins=[application.plugin], api_url="http://xray.example")
    decide(client)
    client.close()
    cut, rank = application.spans()["filter cut"], application.spans()["rank rank"]
    attributes = dict(cut.attributes or {})
    assert attributes["xray.run.id"] == "run-1"
    assert str(attributes["xray.url"]).startswith("http://xray.example/ui/runs/run-1/steps/")
    figures = {name: attributes[f"xray.items.{name}"] for name in ("input", "accepted", "rejected", "unaccounted")}
    assert figures == {"input": 4, "accepted": 1, "rejected": 3, "unaccounted": 0}
    assert attributes["xray.rejection_rate"] == 0.75
    reasons = {
        event.attributes["xray.reason"]: event.attributes["xray.items"] for event in cut.events if event.attributes
    }
    assert reasons == {"too_dear": 2, "too_far": 1}
    assert (rank.attributes or {})["openinference.span.kind"] == "RERANKER"


def test_what_fails_fails_as_a_span(application: Application) -> None:
    client = XRay("shop", transport=MemoryTransport(), plugins=[application.plugin])
    with pytest.raises(ValueError, match="no model"), client.run() as run, run.step("ask"):
        raise ValueError("no model")
    client.close()
    for name in ("step ask", "xray.run shop"):
        span = application.spans()[name]
        assert not span.status.is_ok
        assert [(event.attributes or {})["exception.type"] for event in span.events] == ["ValueError"]


def test_metrics_count_items_by_outcome_and_reason(application: Application) -> None:
    client = XRay("shop", transport=MemoryTransport(), plugins=[application.plugin])
    decide(client)
    client.close()
    counted = {(p.attributes["xray.step.name"], p.attributes["xray.outcome"], p.attributes.get("xray.reason")): p.value
               for p in application.points("xray.items")}  # fmt: skip
    assert counted == {
        ("cut", "rejected", "too_dear"): 2, ("cut", "rejected", "too_far"): 1, ("cut", "accepted", None): 1,
        ("rank", "accepted", None): 1,
    }  # fmt: skip
    assert {p.attributes["xray.step.name"] for p in application.points("xray.step.duration")} == {"rag", "cut", "rank"}


def test_requests_that_take_records_to_the_server_are_untraced(application: Application) -> None:
    seen: list[object] = []

    class Watched(MemoryTransport):
        def send(self, body: bytes, *, timeout_s: float) -> Any:
            seen.append(context.get_value("suppress_instrumentation"))
            return super().send(body, timeout_s=timeout_s)

    client = XRay("shop", transport=Watched(), plugins=[application.plugin])
    decide(client)
    assert client.flush(10)
    client.close()
    assert seen
    assert all(seen)


def test_it_is_off_and_loads_nothing_unless_it_is_asked_for(tmp_path: Path) -> None:
    code = (
        "import sys; from xray_core import XRay; client = XRay('p', api_url='http://127.0.0.1:9');"
        "print(client.plugins.observes_steps, 'opentelemetry' in sys.modules); client.close(0)"
    )
    told = {}
    for asked in ("", "1"):
        environ = {**os.environ, "XRAY_OTEL": asked, "XRAY_SPOOL_DIR": str(tmp_path / f"spool{asked}")}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
        told[asked] = done.stdout.split()
    assert told == {"": ["False", "False"], "1": ["True", "True"]}


def test_log_lines_say_which_run_and_step_they_belong_to(caplog: pytest.LogCaptureFixture) -> None:
    client = XRay("shop", transport=MemoryTransport())
    caplog.handler.addFilter(XRayFilter())
    log = logging.getLogger("app")
    events: list[Any] = []
    tell = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[add_xray_ids, lambda _, __, event: events.append(dict(event)) or str(event)],
    )
    log.warning("outside")
    with client.run(run_id="run-1") as run, run.step("cut") as step:
        log.warning("inside")
        tell.info("inside")
        assert current_step().step_id == step.step_id
    client.close()
    outside, inside = caplog.records[-2:]
    assert (outside.xray_run_id, outside.xray_step_id) == ("", "")  # type: ignore[attr-defined]
    assert (inside.xray_run_id, inside.xray_step_id) == ("run-1", step.step_id)  # type: ignore[attr-defined]
    assert events == [{"event": "inside", "xray_run_id": "run-1", "xray_step_id": step.step_id}]


# There and back ---------------------------------------------------------------------------------------------------------

_OF_A_STEP = ("name", "step_type", "status", "attempt", "parent_id", "rejection_rate", "rejection_counts", "metadata")
_FIGURES = ("input", "accepted", "rejected", "not_selected", "errored", "unaccounted", "flags")


def told_of(live: Live) -> Any:
    run = live.get("/runs/run-1")
    steps = {
        step["step_id"]: {
            **{name: step[name] for name in _OF_A_STEP},
            "ledger": {name: step["ledger"][name] for name in _FIGURES},
            "started_at": step["started_at"],
        }
        for step in run["steps"]
    }
    return {name: run[name] for name in ("pipeline", "status", "started_at", "ended_at")}, steps


def test_a_second_server_that_gets_the_spans_has_the_same_runs_ledgers_and_reasons(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    first, second = Live(tmp_path / "a"), Live(tmp_path / "b")
    provider = TracerProvider(shutdown_on_exit=False)
    for url in (second.url, first.url):  # the first has the run already: there the spans change nothing
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces")))
    try:
        with first.xray("shop", plugins=[spans(tracer_provider=provider)]) as client:
            decide(client)
        provider.shutdown()
        assert told_of(second) == told_of(first)
        step = next(iter(told_of(first)[1]))
        assert step
        assert first.get("/runs/run-1")["step_count"] == 3
        assert first.why("run-1", "a")["outcome"] == "rejected"
        [trend] = [t for t in first.get("/trends", pipeline="shop")["trends"] if t["step"] == "cut"]
        assert trend["ledger"]["rejected"] == 3
    finally:
        first.stop()
        second.stop()


def test_spans_that_come_before_the_records_of_the_run_change_nothing(tmp_path: Path) -> None:
    live = Live(tmp_path)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{live.url}/v1/traces")))
    try:
        with live.xray("shop", plugins=[spans(tracer_provider=provider)], snapshot_interval_s=30) as client:
            decide(client)
            assert client.flush(30)
        provider.shutdown()
        cut = next(step for step in live.get("/runs/run-1")["steps"] if step["name"] == "cut")
        assert (cut["ledger"]["rejected"], cut["ledger"]["input"]) == (3, 4)
    finally:
        live.stop()
