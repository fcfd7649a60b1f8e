"""What X-Ray's core asks of this package: which attempt of which of Ray's tasks code is in.

Loaded as an `xray.plugins` entry point by every client; imports nothing of Ray's.
"""

from __future__ import annotations

import sys
from typing import Any

from xray_core import hookimpl
from xray_core.tasks import TaskAttempt


@hookimpl
def xray_task_attempt() -> TaskAttempt | None:
    """The task or the actor's call that this worker runs. Ray runs one again when it failed or its result is lost, under the
    same id and with the next number, and never twice at a time.
    """
    ray: Any = sys.modules.get("ray")
    module: Any = sys.modules.get("ray._private.worker")
    if ray is None or module is None or module.global_worker.mode != module.WORKER_MODE:
        return None
    task_id = ray.get_runtime_context().get_task_id()
    if task_id is None:
        return None
    return TaskAttempt(f"ray {task_id}", module.global_worker.core_worker.get_current_task_attempt_number())
