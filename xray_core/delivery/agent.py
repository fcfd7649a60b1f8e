"""`xray sync --watch`: a small agent that keeps delivering what short-lived processes leave behind.

Owns the loop and its pace. Starts no thread; runs until `stop` says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from xray_core.delivery.delivery import Delivery
from xray_core.transport import Transport
from xray_core.transport.http import HttpTransport

if TYPE_CHECKING:
    from xray_core.settings import Settings

_SLOWEST_S: Final = 60.0


def watch(
    settings: Settings,
    *,
    transport: Transport | None = None,
    interval_s: float = 2.0,
    on_round: Callable[[dict[str, int]], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    wait: Callable[[float], object] = time.sleep,
) -> dict[str, int]:
    """Deliver again and again what any process on this machine left behind for `settings.api_url`.

    Args:
        transport: the way to the server; HTTP when not given.
        interval_s: pause between two looks; doubles up to a minute while the server cannot be reached.
        on_round: called with {"synced", "failed"} after each look that found something.
        stop: asked before each look.
        wait: pauses; raise from it (KeyboardInterrupt) or make it return early to stop at once.

    Returns:
        {"synced": records delivered in all, "failed": records that were left at the last look}.

    Blocks until `stop` says so. SIGTERM between two batches loses nothing: what is not confirmed stays in the spool.
    """
    delivery = Delivery(settings, transport or HttpTransport(settings.api_url, api_key=settings.api_key))
    total, failed, pause_s = 0, 0, interval_s
    try:
        while not stop():
            found = delivery.sync()
            total, failed = total + found["synced"], found["failed"]
            if on_round is not None and any(found.values()):
                on_round(found)
            pause_s = min(_SLOWEST_S, pause_s * 2) if failed else interval_s
            delivery.release()  # while we wait, any other process may deliver what we could not
            wait(pause_s)
    finally:
        delivery.close(timeout_s=0)
    return {"synced": total, "failed": failed}
