"""What X-Ray's core asks of this package: which attempt of which of Spark's tasks code is in.

Loaded as an `xray.plugins` entry point by every client; imports nothing of Spark's.
"""

from __future__ import annotations

import sys
from typing import Any

from xray_core import hookimpl
from xray_core.tasks import TaskAttempt


@hookimpl
def xray_task_attempt() -> TaskAttempt | None:
    """The partition that this worker computes."""
    module: Any = sys.modules.get("pyspark.taskcontext")
    task = None if module is None else module.TaskContext.get()
    return None if task is None else attempt_of(task, f"stage {task.stageId()}")


def attempt_of(task: Any, scope: str) -> TaskAttempt:
    """The attempt of a task, of which `scope` tells what the partition is one of. Spark runs slow tasks twice at a time, and
    does not say in Python which attempt took another's place: their times do.
    """
    return TaskAttempt(f"spark {scope} {task.partitionId()}", 0, task.taskAttemptId())


def scope_of(task: Any) -> str:
    """The query that a task belongs to; of an RDD's job, which has none, the stage."""
    query = task.getLocalProperty("spark.sql.execution.id")
    return f"stage {task.stageId()}" if query is None else f"query {query}"
