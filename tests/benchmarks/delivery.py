"""What delivery costs the pipeline: `python -m tests.benchmarks.delivery [--minutes 10]`. Prints ratios and figures.

Contenders are measured in the same run, interleaved, as medians of rounds: on a shared machine only such ratios mean
anything. OpenTelemetry's spans end in a BatchSpanProcessor with an exporter that forgets them: they stay in memory, and
die with the process; ours are on disk when the call returns.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.faults.conftest import PROLOGUE, ROOT, step_payload
from tests.e2e.faults.stand_in import StandIn
from xray_core import XRay
from xray_core import settings as settings_module
from xray_core.delivery import Delivery
from xray_core.transport.http import HttpTransport
from xray_core.transport.memory import NullTransport

ROUNDS = 31
PER_ROUND = 500


def interleaved(contenders: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Microseconds a call, the median of rounds in which each contender has its turn."""
    rounds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, call in contenders.items():
            started = time.perf_counter()
            for _ in range(PER_ROUND):
                call()
            rounds[name].append((time.perf_counter() - started) / PER_ROUND * 1e6)
    return {name: statistics.median(times) for name, times in rounds.items()}


def caller_cost() -> None:
    """A durable step beside a span that stays in memory."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Forgets(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Forgets()))
    tracer = provider.get_tracer("benchmark")
    payload = step_payload("filter", counts={"accepted": 7, "rejected": 93}, reasons={"rejected": {"too_dear": 93}})

    with tempfile.TemporaryDirectory() as place:
        settings = settings_module.load({"spool_dir": Path(place) / "records"}, environ={})
        delivery = Delivery(settings, NullTransport())
        client = XRay("benchmark", transport=NullTransport(), spool_dir=Path(place) / "steps")
        with client.run() as run:

            def record() -> None:
                delivery.put("counts", payload)

            def step() -> None:
                with run.step("filter", step_type="filter"):
                    pass

            def span() -> None:
                with tracer.start_as_current_span("filter") as current:
                    current.set_attribute("step_type", "filter")

            cost = interleaved({"record": record, "step": step, "span": span})
        client.close()
        delivery.close()
    provider.shutdown()
    print(
        f"caller: a durable record  {cost['record']:7.1f} us  {cost['record'] / cost['span']:5.2f} x a span in memory"
    )
    print(f"caller: a durable step    {cost['step']:7.1f} us  {cost['step'] / cost['span']:5.2f} x a span in memory")
    print(f"caller: OpenTelemetry span{cost['span']:7.1f} us   1.00")


WRITER = """
    import time
    delivery = make(spool_max_bytes=1 << 30)
    payload = step("filter")
    took = []
    time.sleep(max(0.0, float(sys.argv[1]) - time.time()))
    for _ in range(3000):
        started = time.perf_counter()
        delivery.put("counts", payload)
        took.append(time.perf_counter() - started)
        time.sleep(0.0002)
    took.sort()
    print(took[len(took) // 2], took[int(len(took) * 0.99)], took[-1], flush=True)
    os._exit(0)
"""


def start(source: str, place: Path, url: str, *arguments: str) -> subprocess.Popen[str]:
    import textwrap

    return subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + textwrap.dedent(source), *arguments],
        cwd=ROOT,
        env={**os.environ, "XRAY_API_URL": url, "XRAY_SPOOL_DIR": str(place / "spool"), "PYTHONWARNINGS": "ignore"},
        stdout=subprocess.PIPE,
        text=True,
    )


def eight_writers() -> None:
    """The 99th percentile of a record while eight processes write to one spool, and while one does."""
    for count in (1, 8):
        with tempfile.TemporaryDirectory() as place:
            together = str(time.time() + 3)
            writers = [start(WRITER, Path(place), "http://127.0.0.1:9", together) for _ in range(count)]
            figures = [[float(word) for word in writer.communicate()[0].split()] for writer in writers]
        median, p99, worst = (max(column) * 1e6 for column in zip(*figures, strict=True))
        print(
            f"{count} writing: median {median:.0f} us, p99 {p99:.0f} us, worst {worst:.0f} us (worst process of each)"
        )


LIFE = """
    delivery = make()
    for n in range(100):
        delivery.put("counts", step(str(n)))
    time.sleep(0.5)
    print(time.monotonic(), flush=True)
"""


def exits() -> None:
    """From the program's last line to the end of the process."""
    server = StandIn(otherwise="hang").start()
    for name, url in (("down", "http://127.0.0.1:9"), ("hanging", server.url)):
        took = []
        for _ in range(3):
            with tempfile.TemporaryDirectory() as place:
                process = start(LIFE, Path(place), url)
                assert process.stdout is not None
                last = float(process.stdout.read())
                process.wait()
                took.append(time.monotonic() - last)
        print(f"exit, server {name}: worst of three {max(took):.2f} s (required: 2.5 s)")
    server.stop()


def burst() -> None:
    """20,000 steps as fast as they come, to a server that is up."""
    server = StandIn().start()
    with tempfile.TemporaryDirectory() as place:
        settings = settings_module.load({"api_url": server.url, "spool_dir": Path(place) / "spool"}, environ={})
        delivery = Delivery(settings, HttpTransport(settings.api_url))
        started = time.perf_counter()
        for n in range(20_000):
            delivery.put("counts", step_payload_named(n))
        captured_s = time.perf_counter() - started
        delivery.flush(timeout_s=60)
        took_s = time.perf_counter() - started
        print(
            f"burst of 20,000: captured in {captured_s:.2f} s, confirmed in {took_s:.2f} s, "
            f"{20_000 - len(set(server.names()))} lost, {len(server.names()) - len(set(server.names()))} sent twice"
        )
        delivery.close()
    server.stop()


_TEMPLATE = step_payload("step-@")


def step_payload_named(n: int) -> bytes:
    return _TEMPLATE.replace(b"step-@", b"step-%d" % n)


def dead_server_memory(seconds: float) -> None:
    """Memory of a process that writes on and on while the server is dead, past the cap of its spool."""
    with tempfile.TemporaryDirectory() as place:
        settings = settings_module.load(
            {"api_url": "http://127.0.0.1:9", "spool_dir": Path(place) / "spool", "spool_max_bytes": 8 << 20},
            environ={},
        )
        delivery = Delivery(settings, HttpTransport(settings.api_url))
        payload = step_payload("filter", metadata={"noise": "x" * 2000})
        ends = time.monotonic() + seconds
        at_start = 0.0
        n = 0
        while time.monotonic() < ends:
            for stream in ("details", "verdicts", "counts"):
                delivery.put(stream, payload)
            n += 3
            if n == 9000:
                at_start = resident_mb()
            time.sleep(0.001)
        used = sum(path.stat().st_size for path in Path(place).rglob("*.seg")) / (1 << 20)
        dropped = sum(v for k, v in delivery.counters.items() if k.startswith("dropped_"))
        print(
            f"dead server for {seconds:.0f} s, {n} records: memory {at_start:.0f} -> {resident_mb():.0f} MB, "
            f"spool {used:.1f} MB of 8, {dropped} dropped and counted"
        )
        delivery.close(timeout_s=0)


def resident_mb() -> float:
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize() / (1 << 20)
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(*, minutes: float = 0.5) -> None:
    caller_cost()
    eight_writers()
    exits()
    burst()
    dead_server_memory(minutes * 60)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.5, help="how long the server stays dead in the memory run")
    main(minutes=parser.parse_args().minutes)
