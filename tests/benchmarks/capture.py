"""The caller's cost of a step and of a rejected item, beside OpenTelemetry and structlog in the same run.

Interleaved rounds, the median of each. The caller's cost is the CPU time of the calling thread, system calls included,
so that a busy machine does not decide; what a contender leaves to its background thread is in the "all threads" figures.
X-Ray's figures include the durable write to the spool; OpenTelemetry and structlog keep theirs in memory.
"""

from __future__ import annotations

import gzip
import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

ITEMS = 100_000
STEPS = 2_000
ROUNDS = 9


def main() -> None:
    steps()
    items()
    memory_and_bytes()


def steps() -> None:
    """One step: opened, given a name and a type, closed."""
    xray, tracer, logger = _xray(), _tracer(), _structlog()
    run = xray.run()
    run.__enter__()

    def with_xray() -> None:
        for _ in range(STEPS):
            with run.step("filter", step_type="filter"):
                pass

    def with_opentelemetry() -> None:
        for _ in range(STEPS):
            with tracer.start_as_current_span("filter", attributes={"step_type": "filter"}):
                pass

    def with_structlog() -> None:
        for _ in range(STEPS):
            logger.info("step_started", step="filter", step_type="filter")
            logger.info("step_finished", step="filter", step_type="filter")

    figures = _interleaved(
        {"X-Ray (durable)": with_xray, "OpenTelemetry": with_opentelemetry, "structlog": with_structlog}
    )
    _print("one step", figures, STEPS, against="OpenTelemetry", bar=0.5)
    run.__exit__(None, None, None)
    xray.close(0)


def items() -> None:
    """One rejected item with a reason; OpenTelemetry's best way is one attribute list a step, serialised as OTLP."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    ids = [f"item-{i:06}" for i in range(ITEMS)]
    xray, tracer, logger = _xray(), _tracer(), _structlog()
    run = xray.run()
    run.__enter__()

    def with_xray() -> None:
        with run.step("filter", step_type="filter") as step:
            for item in ids:
                step.reject(item, "price_too_high")

    def with_details() -> None:
        with run.step("filter", step_type="filter") as step:
            for item in ids:
                step.reject(item, "price_too_high", {"price": 150, "threshold": 100})

    def with_opentelemetry() -> None:
        with tracer.start_as_current_span("filter") as span:
            rejected = []
            for item in ids:
                rejected.append(item)
            span.set_attribute("rejected", rejected)

    def with_events() -> None:
        with tracer.start_as_current_span("filter") as span:
            for item in ids:
                span.add_event("rejected", {"item_id": item, "reason": "price_too_high"})

    def with_structlog() -> None:
        for item in ids[: ITEMS // 10]:
            logger.info("rejected", item_id=item, reason="price_too_high")

    figures = _interleaved(
        {
            "X-Ray": with_xray,
            "X-Ray, with details": with_details,
            "OpenTelemetry list (no reasons)": with_opentelemetry,
            "OpenTelemetry events (keeps 128)": with_events,
            "structlog": with_structlog,
        },
        rounds=5,
    )
    figures["structlog"] *= 10
    _print("one rejected item", figures, ITEMS, against="OpenTelemetry list (no reasons)", bar=None)

    def delivered_xray() -> None:
        with_xray()
        assert xray.flush(60)

    def delivered_opentelemetry() -> None:
        with tracer.start_as_current_span("filter") as span:
            span.set_attribute("rejected", list(ids))
        gzip.compress(encode_spans([span]).SerializeToString(), 9)  # the level of its OTLP exporter, where it gzips

    whole = _interleaved(
        {"X-Ray": delivered_xray, "OpenTelemetry list (no reasons)": delivered_opentelemetry},
        rounds=5,
        clock=time.process_time,
    )
    _print("all threads, to the wire", whole, ITEMS, against="OpenTelemetry list (no reasons)", bar=0.25)
    import numpy  # noqa: F401  # many pipelines have it: fingerprints are then sorted by it (verdicts.py)

    whole |= _interleaved({"X-Ray, numpy loaded": delivered_xray}, rounds=5, clock=time.process_time)
    del whole["X-Ray"]
    _print("all threads, to the wire", whole, ITEMS, against="OpenTelemetry list (no reasons)", bar=0.25)
    run.__exit__(None, None, None)
    xray.close(0)


def memory_and_bytes() -> None:
    """100,000 rejects with details in one step: peak memory of a fresh process over its start, and bytes sent."""
    shown = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True, check=True)
    grown_kb, sent, verdicts = map(int, shown.stdout.split())
    print(
        f"  100,000 rejects in one step: {grown_kb / 1024:.1f} MB of memory (bar 45), {sent / 1e6:.3f} MB sent (bar 0.45), {verdicts:,} verdicts"
    )


_CHILD = """
import gzip, re, tempfile
from xray_core import XRay, wire
from xray_core.transport import Reply
class Counting:
    sent = verdicts = 0
    def send(self, body, *, timeout_s):
        Counting.sent += len(body)
        for line in gzip.decompress(body).splitlines():
            record = wire.from_line(line)
            if record["kind"] == "verdicts":
                Counting.verdicts += sum(s["n"] for s in record["sets"])
        return Reply(200)
    def close(self): pass
def peak_kb():  # of this program alone; ru_maxrss would remember the process that started it
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
with tempfile.TemporaryDirectory() as place:
    xray = XRay("bench", transport=Counting(), spool_dir=place)
    ids = [f"item-{i:06}" for i in range(100_000)]
    with xray.run() as run:
        with run.step("warm") as step:
            step.reject("a", "r", {"x": 1})
    xray.flush(10)
    before = peak_kb()
    Counting.sent = 0
    Counting.verdicts = 0
    with xray.run() as run:
        with run.step("filter") as step:
            for item in ids:
                step.reject(item, "price_too_high", {"price": 150, "threshold": 100})
    xray.flush(30)
    print(peak_kb() - before, Counting.sent, Counting.verdicts)
    xray.close()
"""


def _interleaved(
    contenders: dict[str, Callable[[], None]], rounds: int = ROUNDS, clock: Callable[[], float] = time.thread_time
) -> dict[str, float]:
    """Median seconds of each, the contenders taking turns, so that a noisy moment hits all of them."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for work in contenders.values():
        work()
    for _ in range(rounds):
        for name, work in contenders.items():
            began = clock()
            work()
            taken[name].append(clock() - began)
    return {name: statistics.median(each) for name, each in taken.items()}


def _print(what: str, figures: dict[str, float], n: int, *, against: str, bar: float | None) -> None:
    for name, seconds in figures.items():
        ratio = seconds / figures[against]
        note = f"  (bar {bar})" if bar and name.startswith("X-Ray") and "details" not in name else ""
        print(f"  {what}, {name:34} {seconds / n * 1e6:8.2f} us   {ratio:6.2f} x {against.split()[0]}{note}")


def _xray() -> Any:
    from xray_core import XRay
    from xray_core.transport.memory import NullTransport

    return XRay("bench", transport=NullTransport(), spool_dir=tempfile.mkdtemp(prefix="xray-bench-"))


def _tracer() -> Any:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    return provider.get_tracer("bench")


def _structlog() -> Any:
    import structlog

    return structlog.wrap_logger(
        structlog.PrintLogger(io.StringIO()),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
    )


if __name__ == "__main__":
    main()
