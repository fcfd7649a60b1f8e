"""Functions as Spark is given them: called once for a partition, or for every row or batch of one.

Knows nothing of columns and frames.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextvars import Token
from functools import wraps
from typing import Any, Final

from xray_core.attaching import Carried, Held, hold, let_go
from xray_core.capture import context
from xray_core.model import Status, new_id
from xray_core.tasks import ENDED_WELL, TaskAttempt
from xray_spark.plugin import attempt_of, scope_of


class InSpark(Carried):
    """A function that Spark calls once for a partition.

    A task of Spark's is a partition of a stage, and a stage that is computed again within one query has another number: so the
    task is named after the query, this use of the function, and the partition.
    """

    def __init__(self, function: Callable[..., Any], token: str) -> None:
        super().__init__(function, token)
        self._use = new_id()[-12:]

    def attempt(self) -> TaskAttempt | None:
        """Of the partition that this worker computes."""
        task = _task()
        return None if task is None else attempt_of(task, f"{scope_of(task)} {self._use}")

    def is_lazy(self, made: Any) -> bool:
        """Spark goes through whatever it can."""
        return isinstance(made, Iterator)

    def as_function(self) -> Callable[..., Any]:
        """The same as a function, with the parameters of the original: Spark looks at them."""

        @wraps(self.function)
        def called(*args: Any, **kwargs: Any) -> Any:
            return self(*args, **kwargs)

        return called


class Calls(InSpark):
    """A function that Spark calls for every row, or for every batch of rows, of a partition. The task's end is told by an
    accumulator: a worker sends those when it has computed a partition, and not when it has failed.
    """

    def __init__(self, function: Callable[..., Any], token: str) -> None:
        super().__init__(function, token)
        self._end = accumulator()
        self._of: int | None = None
        self._held: Held | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_of": None, "_held": None}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function inside of the step, for one row or batch."""
        task = _task()
        if task is None:
            return super().__call__(*args, **kwargs)
        if task.taskAttemptId() != self._of:
            self._begin(task.taskAttemptId())
        held = self._held
        if held is None:
            return self.function(*args, **kwargs)
        before: Token[Any] = context.enter((held.run, held.step))
        try:
            made = self.function(*args, **kwargs)
        except Exception:
            end_calls("failed")
            self._of = None
            raise
        finally:
            context.leave(before)
        return self.iterated(made, held) if self.is_lazy(made) else made

    def _begin(self, attempt_id: int) -> None:
        if self._held in open_calls:  # where no accumulator said that it ended: a worker that failed gets no other task
            end_calls(ENDED_WELL)
        self._of, self._held = attempt_id, hold(self.token, self.attempt())
        if self._held is not None:
            open_calls.append(self._held)


open_calls: Final[list[Held]] = []
"""What the task of this worker captures into until its accumulators are sent."""


def end_calls(status: Status) -> None:
    """The task of this worker has ended."""
    while open_calls:
        let_go(open_calls.pop(), status)


class AtEnd:
    """The value of the accumulator: what it comes to is nothing; that it is sent says that the task has ended well."""

    def __reduce__(self) -> tuple[Any, ...]:
        end_calls(ENDED_WELL)
        return AtEnd, ()


class AtEndParam:
    """How Spark makes and adds such values."""

    def zero(self, value: AtEnd) -> AtEnd:
        """The value that a worker begins with."""
        return value

    def addInPlace(self, value: AtEnd, other: AtEnd) -> AtEnd:  # Spark's name
        """Nothing adds up."""
        return value


def accumulator() -> Any:
    """An accumulator of the session's; None with Spark Connect, which has none."""
    module: Any = sys.modules.get("pyspark")
    running = getattr(getattr(module, "SparkContext", None), "_active_spark_context", None)
    return None if running is None else running.accumulator(AtEnd(), AtEndParam())


def _task() -> Any:
    module: Any = sys.modules.get("pyspark.taskcontext")
    return None if module is None else module.TaskContext.get()
