"""Runs and steps inside a task of a distributed engine: named after the attempt, so that of a task that is run again, or
twice at a time, one attempt counts (`xray_core.tasks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

import xxhash

from xray_core.capture import context
from xray_core.capture.run import Run
from xray_core.capture.step import Step
from xray_core.model import Capture, Status
from xray_core.safety import guarded
from xray_core.tasks import ENDED_WELL, TaskAttempt

if TYPE_CHECKING:
    from xray_core.capture.recorder import Recorder


class TaskStep(Step):
    """A step of which this process knows what one attempt of a task said: the task's own, or one that it opened."""

    __slots__ = ("_task",)

    def __init__(self, run: Run, recorder: Recorder, name: str, *, task: TaskAttempt, **options: Any) -> None:
        super().__init__(run, recorder, name, part=task.part(recorder.next_part()), **options)
        self._task = task
        self._head.task = "running"

    def resume_task(self) -> None:
        """The attempt goes on."""
        self._head.task = "running"
        self._recorder.open_things[self] = None

    @guarded("step.end_task")
    def end_task(self, status: Status) -> None:
        """Write down how the attempt ended, or that it goes on ("running"); the step itself is another process's."""
        if self._released:  # closed here: its record is final
            return
        self._catch_up()
        self._rest()
        self._observed = None
        self._recorder.open_things.pop(self, None)
        with self._lock:
            self._head.task = status
            self._drain()
            self._write_down()

    def close(
        self,
        status: Status = "completed",
        *,
        error: BaseException | Mapping[str, Any] | None = None,
        trace: TracebackType | None = None,
        ended_at: datetime | None = None,
    ) -> None:
        """As `Step.close`: a step that the task opened has then said all."""
        self._head.task = ENDED_WELL
        super().close(status, error=error, trace=trace, ended_at=ended_at)

    def reset_after_fork(self) -> None:
        """As `Step.reset_after_fork`. What a child process of a task says counts if what the task says does."""
        super().reset_after_fork()
        self.part = self._head.part = self._task.part(self.part)
        self._head.task = ENDED_WELL


class TaskRun(Run):
    """The run of a step that a task captures into: another process owns it, and the steps that the task opens in it have the
    same ids in every attempt.

    Args:
        within: the id of the step that the task captures into.
    """

    def __init__(self, recorder: Recorder, pipeline: str, *, run_id: str, task: TaskAttempt, within: str = "") -> None:
        super().__init__(recorder, pipeline, run_id=run_id)
        self.attached()
        self._task = task
        self._prefix = xxhash.xxh3_64_hexdigest(f"{within}\0{task.task}".encode("utf-8", "backslashreplace"))

    def _new_step(self, name: str, part: str | None = None, **options: Any) -> Step:
        return TaskStep(self, self._recorder, name, task=self._task, **options)

    def step(
        self,
        name: str,
        step_type: str | None = None,
        *,
        capture: Capture | None = None,
        metadata: Mapping[str, Any] | None = None,
        code_version: str | None = None,
        parent_id: str | None = None,
    ) -> Step:
        """As `Run.step`."""
        around = context.current.get()[1]
        if parent_id is None and around is not None and around.run is self:
            parent_id = around.step_id
        index = next(self._indexes)
        return self.open_step_unwritten(
            name,
            step_type=step_type,
            step_id=f"{self._prefix}.{index}",
            index=index,
            parent_id=parent_id,
            capture=capture,
            code_version=code_version,
            metadata=metadata,
        )
