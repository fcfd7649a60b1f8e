"""Which thread captures an item, or which task of asyncio's within it. Items of several come in an order that is chance."""

from __future__ import annotations

import sys
from threading import get_ident


def caller_id() -> int:
    """A number of the thread, or of the task that runs in it: never 0, and of no meaning to another process."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        try:
            loop = asyncio._get_running_loop()  # None in a thread that runs none, where `current_task` raises
            if loop is not None:
                return id(asyncio.current_task(loop)) or 1
        except AttributeError:  # half imported by another thread
            pass
    return get_ident()
