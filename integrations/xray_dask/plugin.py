"""What X-Ray's core asks of this package: which attempt of which of Dask's tasks code is in.

Loaded as an `xray.plugins` entry point by every client; imports nothing of Dask's.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from xray_core import hookimpl
from xray_core.tasks import TaskAttempt


@hookimpl
def xray_task_attempt() -> TaskAttempt | None:
    """The task that a worker runs in this thread, by its key; the scheduler numbers the times that it gave a task to a worker."""
    workers: Any = sys.modules.get("distributed.worker")
    if workers is None:
        return None
    try:
        worker = workers.get_worker()
    except ValueError:  # in no worker
        return None
    key = worker.active_threads.get(threading.get_ident())
    if key is None:
        return None
    task = worker.state.tasks.get(key)
    run = getattr(task, "run_id", -1)
    # of an older scheduler, which numbers nothing, the moment at which the worker began
    began_us = int((getattr(task, "start_time", None) or 0) * 1e6)
    return TaskAttempt(f"dask {key}", run + 1 if run >= 0 else 0, 0 if run >= 0 else began_us)
