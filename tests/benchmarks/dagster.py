"""What an op of Dagster's costs with and without X-Ray: the same jobs, interleaved, in one process.

The caller's cost is the CPU time of the thread that runs the job, a fortieth of what a job of forty ops takes: what a run
costs once is in it. The program's is that of all its threads: what X-Ray leaves for afterwards is waited for. Jobs that do the same differ by a twentieth, which is as much as X-Ray adds: they are compared in pairs,
and it takes many. In one of the jobs each op filters twenty records, whose items are inferred; in one it rejects a hundred
items.
"""

from __future__ import annotations

import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

from tests.benchmarks.machine import slowness, verdict

OPS = 40
PAIRS = 120
OTHERS_EVERY = 10  # the rest is measured in every tenth turn
TARGET_MS = 0.3
Cost = tuple[float, float]  # milliseconds of CPU: of the caller, of all threads
JUDGED = ("with X-Ray", "with X-Ray, 20 records an op")


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(DAGSTER_HOME=home, XRAY_SPOOL_DIR=os.path.join(home, "spool"), DAGSTER_DISABLE_TELEMETRY="1")
        measure()


def measure() -> None:
    """Prints ms an op: bare, with X-Ray, with a span, and with X-Ray and items; and whether the target holds."""
    from xray_core.transport.memory import NullTransport
    from xray_core.xray import XRay, set_default_client

    client = XRay("", transport=NullTransport())
    set_default_client(client)
    chain, records, deciding = _jobs()
    slow: list[float] = []
    contenders = {
        JUDGED[0]: (chain, _with_xray),
        JUDGED[1]: (records, _with_xray),
        "with a span of OpenTelemetry's": (chain, _with_span),
        "with X-Ray, 100 items an op": (deciding, _with_xray),
    }
    added: dict[str, list[Cost]] = {name: [] for name in contenders}
    bare: dict[str, list[Cost]] = {name: [] for name in contenders}
    for turn in range(-2, PAIRS):  # the first import and warm up
        others = turn < 0 or not turn % OTHERS_EVERY
        for name, (job, around) in contenders.items():
            if name not in JUDGED and not others:
                continue
            took = {}
            for way in (around, nullcontext) if turn % 2 else (nullcontext, around):
                with way():
                    took[way] = _ms_per_op(job, client.flush if way is _with_xray else None)
            if turn >= 0:
                own, without = took[around], took[nullcontext]
                added[name].append((own[0] - without[0], own[1] - without[1]))
                bare[name].append(without)
        if others:
            slow.append(slowness())
    client.close(0)
    set_default_client(None)

    for name, pairs in added.items():
        for which, whose in enumerate(("the caller", "all threads")):
            more = [pair[which] for pair in pairs]
            low, middle, high = statistics.quantiles(more, n=4)
            print(
                f"  {name:32} +{middle:.3f} ms on {statistics.median(each[which] for each in bare[name]):.2f} an op   "
                f"(half of {len(more)} pairs from {low:.3f} to {high:.3f})   CPU of {whose}"
            )
    for name in JUDGED:
        cost_ms = statistics.median(pair[0] for pair in added[name])
        print(f"  {name}: X-Ray adds " + verdict(cost_ms, TARGET_MS, statistics.median(slow)))


@contextmanager
def _with_xray() -> Iterator[None]:
    from xray_dagster import instrument

    instrument.enable()
    yield
    instrument.disable()


@contextmanager
def _with_span() -> Iterator[None]:
    """The least that tracing an op takes at the same place: one span, nothing read of inputs, outputs and events."""
    from dagster._core.execution.plan import execute_plan

    original, tracer = execute_plan.dagster_event_sequence_for_step, _tracer()

    def traced(step_context: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        step = step_context.step
        told = {"run_id": step_context.run_id, "step_key": step.key, "node": str(step.node_handle)}
        with tracer.start_as_current_span(step.key, attributes=told):
            yield from original(step_context, *args, **kwargs)

    execute_plan.dagster_event_sequence_for_step = traced  # type: ignore[assignment]  # a generator too
    yield
    execute_plan.dagster_event_sequence_for_step = original


@cache
def _tracer() -> Any:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(out=open(os.devnull, "w"))))  # noqa: SIM115
    return provider.get_tracer("bench")


def _jobs() -> tuple[Any, Any, Any]:
    from dagster import job, op

    from xray_core import current_step

    ids = [f"item-{n}" for n in range(100)]

    @op
    def start() -> list[int]:
        return [1, 2, 3]

    @op
    def link(values: list[int]) -> list[int]:
        return values

    @op
    def decide(values: list[int]) -> list[int]:
        step = current_step()
        for item in ids:
            step.reject(item, "not_this_one")
        return values

    @op
    def load() -> list[dict[str, Any]]:
        return [{"id": f"item-{n}", "price": n * 1.5, "country": "DE"} for n in range(20)]

    @op
    def keep(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [value for value in values if value["price"] >= 0]

    def chained(name: str, first: Any, each: Any) -> Any:
        def body() -> None:
            value = first()
            for at in range(OPS - 1):
                value = each.alias(f"{each.name}_{at}")(value)

        return job(name=name, logger_defs={})(body)

    return chained("chain", start, link), chained("records", load, keep), chained("deciding", start, decide)


def _ms_per_op(job: Any, finish: Callable[[], object] | None = None) -> Cost:
    """What an op costs; `finish` is what the program does besides, in whatever thread."""
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    gc.collect()
    gc.disable()  # a collection of Dagster's objects in one round and not in the other would be all one sees
    try:
        began = time.thread_time_ns(), time.process_time_ns()
        assert job.execute_in_process(run_config=quiet).success
        caller = time.thread_time_ns()
        if finish is not None:
            finish()
        return (caller - began[0]) / 1e6 / OPS, (time.process_time_ns() - began[1]) / 1e6 / OPS
    finally:
        gc.enable()


if __name__ == "__main__":
    main()
