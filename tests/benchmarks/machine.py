"""How fast this machine is now, so that targets in milliseconds mean the same on every machine.

The targets were set where OpenTelemetry's span takes 25 us (peers.md). On a machine, or in an hour, where it takes 50 us, a
cost of 0.5 ms is what 0.25 ms is there; so each figure is printed as measured and scaled.
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
    """One line: the cost here, what that is on the reference machine, and whether the target holds there."""
    scaled = cost_ms / slow
    return (
        f"{cost_ms:.3f} ms here, where a span of OpenTelemetry's takes {slow * REFERENCE_US:.0f} us; {scaled:.3f} ms where it "
        f"takes {REFERENCE_US:.0f}; target {target_ms} ms: {'held' if scaled < target_ms else 'MISSED'}"
    )
