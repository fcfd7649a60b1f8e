"""Delivery: takes what was captured to the server, from background threads, and loses nothing on the way.

`delivery` owns threads, forks, exits, flush and sync; `sender` owns what an answer of the server means, `breaker` when to
try again, `batch` what a body is, `agent` the loop of `xray sync --watch`. Knows nothing of runs and steps.
"""

from xray_core.delivery.delivery import Delivery

__all__ = ["Delivery"]
