"""How fast this machine is now, told beside targets in milliseconds.

The targets were set where OpenTelemetry's span takes 25 us (peers.md), and machines, and hours, differ by a factor of two.
Costs are judged as measured all the same: what runs once in some milliseconds, with cold caches, is not slower or faster by
the factor that a loop is.
"""

from __future__ import annotations

import statistics
import time

REFERENCE_US = 25.0


def slowness() -> float:
    """This machine's time for a span of OpenTelemetry's over that of the reference machine; takes a quarter of a second."""
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider(shutdown_on_exit=False)
    tracer = provider.get_tracer("xray-benchmark")
    took_us = []
    for _ in range(21):
        began = time.thread_time()
        for _ in range(200):
            with tracer.start_as_current_span("filter", attributes={"step_type": "filter"}):
                pass
        took_us.append((time.thread_time() - began) / 200 * 1e6)
    return statistics.median(took_us[1:]) / REFERENCE_US


def verdict(cost_ms: float, target_ms: float, slow: float) -> str:
    """One line: the cost, whether the target holds, and how fast the machine was."""
    return (
        f"{cost_ms:.3f} ms; target {target_ms} ms: {'held' if cost_ms < target_ms else 'MISSED'} "
        f"(a span of OpenTelemetry's takes {slow * REFERENCE_US:.0f} us here, {REFERENCE_US:.0f} where the target was set)"
    )
