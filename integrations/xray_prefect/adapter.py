"""From Prefect's flow runs and task tries to X-Ray's runs and steps: what the core is called with, and when.

Called where Prefect is wrapped (tasks.py, flows.py, runners.py, deployments.py), each call guarded there. Keeps what is open in
this process; every collection is bounded by what Prefect itself holds open, or by a number. Imports nothing of the core's delivery.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

from xray_core import xray as client
from xray_core.capture import context
from xray_core.capture.run import Run
from xray_core.capture.step import Step
from xray_core.item_keys import key_of_tags
from xray_core.model import HANDED_OVER, NOT_REACHED, RESULT_METADATA, SUBFLOW, Origin
from xray_prefect import fields
from xray_prefect.elsewhere import MAX_OWN, HandedOver

# One part for the whole run: a flow run that is retried, or resumed by another process, replaces what was written before.
PART: Final = "prefect"
_MAX_ATTACHED: Final = 100
_MAX_ENDED: Final = 1_000  # of each: tasks that are over, subflows and the steps that stand for them

# Whether the task that submitted this one was running then: it may be over by the time this one starts.
submitted_by: ContextVar[str | None] = ContextVar("xray_prefect_submitted_by", default=None)


class Attempt:
    """One try of a task: its step, which has the id of the task run, and what `leave` needs."""

    __slots__ = ("step", "tokens", "yields")

    def __init__(self, step: Step, tokens: Any) -> None:
        self.step = step
        self.tokens = tokens
        self.yields: int | None = None


class Adapter:
    """The adapter of this process. Methods are called in Prefect's own threads and raise only into the guard of wrapping.py."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._own: dict[str, set[str]] = {}  # open flow run -> its steps of this process, at most so many
        self.unseen: str | None = None  # why no task is captured in this process, where that is so
        self._steps: dict[str, Step] = {}  # the open try of each task run
        self._roots: dict[str, str] = {}  # open task run outside any flow -> the run it belongs to
        self._attached: OrderedDict[tuple[str, int], Step] = OrderedDict()
        self._pending: dict[str, Step] = {}  # a try that ended in a way whose name is not known yet
        self.suspended: set[str] = set()  # generator tasks between two yields: Prefect leaves their context behind
        self._ended: OrderedDict[str, None] = OrderedDict()  # task runs that are over: so it does with some of theirs
        self._subflow_steps: OrderedDict[str, str] = OrderedDict()  # flow run -> the step that stands for it

    # ------------------------------------------------------------------ flows

    def flow_begins(self, flow_context: Any, outer: Any, outer_task: Any) -> Any:
        """A flow run begins, or begins again.

        Args:
            flow_context: the FlowRunContext that is being entered.
            outer, outer_task: the FlowRunContext and TaskRunContext around it, or None.
        """
        flow_run, flow = flow_context.flow_run, flow_context.flow
        run_id = fields.xray_id(flow_run.id)
        parent = self._subflow_begins(flow_run, flow, flow_context.parameters, outer, outer_task)
        run = self._runs[run_id] = client.default_client().open_run(
            flow.name,
            run_id=run_id,
            part=PART,
            input=flow_context.parameters or {},
            tags=sorted(flow_run.tags),
            metadata=fields.flow_metadata(flow, flow_run),
            origin=fields.flow_origin(flow_run),
            parent=parent,
            started_at=fields.started_at(flow_run),
        )
        self._own[run_id] = set()
        return context.enter((run, None))

    def flow_ends(
        self, flow_context: Any, tokens: Any, error: BaseException | None, handed_over: HandedOver | None
    ) -> None:
        """The flow's function has returned or raised. Prefect has not handled a crash yet, but has handled a failure.

        Args:
            handed_over: its tasks that this process gave to others, if any.
        """
        if tokens is not None:
            context.leave(tokens)
        flow_run = flow_context.flow_run
        run = self._runs.pop(fields.xray_id(flow_run.id), None)
        if run is None:
            return
        self._note_what_is_not_captured(run, handed_over)
        state = flow_run.state
        crashed = error is not None and not _is_pause(error) and not isinstance(error, GeneratorExit)
        tracking = self._steps.pop(f"subflow {flow_run.id}", None)
        if not crashed and not fields.is_final(state):
            # waits for a retry, or is paused: what there is is written down, and the next entry resumes the run
            run.set_origin(fields.flow_origin(flow_run, state=fields.state_name(state)))
            run.detach()
            if tracking is not None:
                tracking.close("failed", error=fields.failure(state))
            return
        name = "Crashed" if crashed else fields.state_name(state)
        status = "failed" if crashed else fields.status(state)
        reason: Any = error if crashed else _failure(state)
        output = fields.flow_output(flow_run)
        if status == "completed" and output is not fields.NOTHING:
            run.set_output(output)
            if tracking is not None:
                tracking.observe_output(output)
        run.set_origin(fields.flow_origin(flow_run, state=name))
        run.close(status, error=reason)
        if tracking is not None:
            tracking.close(status, error=reason)

    def _note_what_is_not_captured(self, run: Run, handed_over: HandedOver | None) -> None:
        own = self._own.pop(run.run_id, set())
        if handed_over is not None:
            run.set_metadata(HANDED_OVER, handed_over.about(own))
        elif self.unseen is not None and not own:
            run.set_metadata(NOT_REACHED, f"of the tasks that it called none was captured: {self.unseen}")

    def _subflow_begins(
        self, flow_run: Any, flow: Any, parameters: Mapping[str, Any] | None, outer: Any, outer_task: Any
    ) -> tuple[str, str | None] | None:
        """The step in the outer run that stands for this flow: Prefect's graph leads to it by the tracking task run."""
        outer_run = getattr(outer, "flow_run", None)
        task_run = getattr(outer_task, "task_run", None)
        if task_run is not None and self._is_left_behind(fields.xray_id(task_run.id)):
            task_run = None
        place = self.place_of(outer_run, task_run)
        if place is None or flow_run.parent_task_run_id is None:
            return place
        step = self.open_subflow_step(
            place, flow.name, flow_run, flow_run.parent_task_run_id, parameters or {},
            attempt=max(1, flow_run.run_count), code_version=fields.task_code(flow),
        )  # fmt: skip
        self._steps[f"subflow {flow_run.id}"] = step
        return place[0], step.step_id

    def open_subflow_step(
        self, place: tuple[str, str | None], name: str, flow_run: Any, tracking_id: Any, parameters: Mapping[str, Any],
        *, attempt: int, code_version: str | None = None,
    ) -> Step:  # fmt: skip
        """The step at `place` that stands for a flow run; `tracking_id` is the task run that does so in Prefect's graph."""
        run_id, parent_step = place
        step_id = fields.xray_id(tracking_id)
        self._note_own(run_id, step_id)
        step = self._run(run_id).open_step(
            name,
            step_type=SUBFLOW,
            step_id=step_id,
            attempt=attempt,
            part=PART,
            parent_id=parent_step,
            upstream=self._upstream(fields.upstream_of_values(parameters)),
            origin=fields.flow_origin(flow_run),
            code_version=code_version,
        )
        step.observe_inputs(parameters)
        _remember(self._subflow_steps, fields.xray_id(flow_run.id), step.step_id)
        return step

    def place_of(self, flow_run: Any, task_run: Any) -> tuple[str, str | None] | None:
        """(run id, step id, None in the body of a flow) of code in this task of this flow; None outside both."""
        if task_run is not None and (flow_run is None or task_run.flow_run_id == flow_run.id):
            return self._run_id(task_run), fields.xray_id(task_run.id)
        return (fields.xray_id(flow_run.id), None) if flow_run is not None else None

    # ------------------------------------------------------------------ tasks

    def task_begins(self, engine: Any) -> None:
        """A task run is about to be tried, once or more often. Outside any flow it is a run of its own."""
        task_run = engine.task_run
        if task_run is None or task_run.flow_run_id is not None:
            return
        own_id = fields.xray_id(task_run.id)
        parent_id = self._parent_id(task_run)
        root = self._roots.get(parent_id, parent_id) if parent_id is not None else own_id
        self._roots[own_id] = root
        if root != own_id:
            return
        self._runs[own_id] = client.default_client().open_run(
            engine.task.name,
            run_id=own_id,
            part=PART,
            input=engine.parameters or {},
            tags=sorted(task_run.tags),
            origin=fields.task_origin(task_run),
        )

    def task_ends(self, engine: Any, error: BaseException | None) -> None:
        """All tries are over, or there was none."""
        task_run = engine.task_run
        if task_run is None:
            return  # it failed before Prefect knew of it
        own_id, state = fields.xray_id(task_run.id), task_run.state
        pending = self._pending.pop(own_id, None)
        if pending is not None:
            self._close(engine, pending, error)
        elif task_run.run_count == 0 or (
            error is not None and own_id not in self._steps and not fields.is_final(state)
        ):
            self._never_tried(engine, error)
        self._steps.pop(own_id, None)
        self._roots.pop(own_id, None)
        self.suspended.discard(own_id)
        _remember(self._ended, own_id, None)
        run = self._runs.pop(own_id, None)
        if run is not None:
            failed = error is not None and not isinstance(error, GeneratorExit)
            status = "failed" if failed else fields.status(state)
            output = fields.task_output(engine)
            if status == "completed" and output is not fields.NOTHING:
                run.set_output(output)
            run.set_origin(fields.task_origin(task_run, state=fields.state_name(state)))
            reason = _raised(engine) or (error if failed else _failure(state))
            run.close("skipped" if status == "running" else status, error=reason)

    def attempt_begins(self, engine: Any) -> Attempt:
        """One try begins; the step is current in the task's function."""
        task_run = engine.task_run
        attempt = max(1, task_run.run_count)
        run = self._run(self._run_id(task_run), f"{task_run.id} {attempt}")
        step = self._open_step(run, engine, attempt=attempt)
        key = key_of_tags(engine.task.tags) or key_of_tags(task_run.tags)  # its own, else those of what called it
        if key is not None:
            step.set_item_key(key)
        step.observe_inputs(fields.given_to(engine))
        self._steps[step.step_id] = step
        return Attempt(step, context.enter((run, step)))

    def attempt_ends(self, engine: Any, attempt: Attempt, error: BaseException | None) -> None:
        """One try is over, and Prefect has decided what it was."""
        if attempt.tokens is not None:
            context.leave(attempt.tokens)
        own_id = attempt.step.step_id
        if attempt.yields is not None:
            attempt.step.observe_output_size(attempt.yields, left=error is not None)
        self._steps.pop(own_id, None)
        if error is not None and not isinstance(error, Exception | GeneratorExit):
            self._pending[own_id] = attempt.step  # Prefect calls it crashed, paused or aborted further out
            return
        self._close(engine, attempt.step, error, is_generator=attempt.yields is not None)

    def _close(self, engine: Any, step: Step, error: BaseException | None, *, is_generator: bool = False) -> None:
        state = engine.task_run.state
        name, status = fields.state_name(state), fields.status(state)
        if error is not None and _is_pause(error):
            step.detach()
            return
        if status == "running":  # this try failed, and another one follows; or it was aborted
            status, name = "failed", name if error is None or isinstance(error, Exception) else type(error).__name__
        output = fields.task_output(engine)
        if status == "completed" and output is not fields.NOTHING and not is_generator:
            step.observe_output(output)
        if name == "Cached":
            step.set_metadata("result.cached", True)
        step.set_origin_state(name)
        reason: Any = None
        if status == "failed":
            reason = error or _raised(engine) or fields.failure(state)
        step.close(status, error=reason)

    def _never_tried(self, engine: Any, error: BaseException | None) -> None:
        """What it waited for failed, or it could not be prepared: it appears, with why."""
        state = engine.task_run.state
        task_run = engine.task_run
        step = self._open_step(self._run(self._run_id(task_run)), engine, attempt=max(1, task_run.run_count))
        step.set_origin(fields.task_origin(task_run, state=fields.state_name(state)))
        if error is not None:
            step.close("failed", error=error)
        elif fields.is_final(state):
            step.close(fields.status(state), error=_failure(state))
        else:
            step.close("skipped", error=fields.failure(state))

    def never_started(
        self, flow_run_id: str, task_run_id: str, task_name: str, *, why: BaseException | None = None
    ) -> None:
        """It was submitted, and the flow's function was over before it began. If it begins all the same, that replaces this."""
        step = self._run(flow_run_id).open_step(
            task_name,
            step_id=task_run_id,
            part=PART,
            origin=Origin(
                "prefect", "task_run", {"task_run_id": task_run_id}, fields.page("task-run", task_run_id), "NotStarted"
            ),
        )
        step.close(
            "skipped",
            error={
                "type": "NotStarted",
                "message": "submitted, but the flow ended before it began: wait for the future, or return it"
                if why is None
                else f"submitted, but it could not be handed to its process ({type(why).__name__}: {why})",
            },
        )

    def _open_step(self, run: Run, engine: Any, *, attempt: int) -> Step:
        task_run, task = engine.task_run, engine.task
        step_id = fields.xray_id(task_run.id)
        self._note_own(run.run_id, step_id)
        beside = fields.beside(task)
        beside.add(step_id)
        return run.open_step(
            task.name,
            step_type=fields.step_type(task),
            step_id=step_id,
            attempt=attempt,
            part=PART,
            parent_id=self._parent_id(task_run, task),
            upstream=self._upstream([each for each in fields.upstream(task_run) if each not in beside]),
            map_index=fields.index_of(task),
            origin=fields.task_origin(task_run),
            code_version=fields.task_code(task),
            metadata=fields.task_metadata(task),
        )

    def _note_own(self, run_id: str, step_id: str) -> None:
        own = self._own.get(run_id)
        if own is not None and len(own) < MAX_OWN:
            own.add(step_id)

    # ------------------------------------------------------------------ finding the way

    def _run_id(self, task_run: Any) -> str:
        if task_run.flow_run_id is not None:
            return fields.xray_id(task_run.flow_run_id)
        own_id = fields.xray_id(task_run.id)
        return self._roots.get(own_id) or self._parent_id(task_run) or own_id

    def _parent_id(self, task_run: Any, task: Any = None) -> str | None:
        """The task that this one was called in; not one whose context Prefect left behind."""
        parent_id = fields.parent_task_run_id(task_run)
        if parent_id is not None and fields.is_outside(task, parent_id):
            return None
        if parent_id is None or parent_id == submitted_by.get() or not self._is_left_behind(parent_id):
            return parent_id
        return None

    def _is_left_behind(self, task_run_id: str) -> bool:
        """Whether a task that Prefect's context names does not run any more, or waits between two yields."""
        return task_run_id in self.suspended or (task_run_id in self._ended and task_run_id not in self._steps)

    def left_behind(self) -> str | None:
        """The task run that Prefect's context names though the calling code is not in it."""
        _, task_run = _surroundings()
        task_run_id = fields.xray_id(task_run.id) if task_run is not None else None
        return task_run_id if task_run_id is not None and self._is_left_behind(task_run_id) else None

    def running_task(self) -> str | None:
        """The task run that the calling code is in, as Prefect says, if it does run."""
        _, task_run = self.around()
        return fields.xray_id(task_run.id) if task_run is not None else None

    def _upstream(self, ids: list[str]) -> list[str]:
        """Of a subflow's result, the step that stands for it."""
        return [self._subflow_steps.get(each, each) for each in ids]

    def hooks_begin(self, engine: Any) -> tuple[Step, Any] | None:
        """Hooks of a task are about to be called: its step is current in them."""
        task_run = engine.task_run
        if task_run is None:
            return None
        run = self._run(self._run_id(task_run))
        step = run.attach_step(fields.xray_id(task_run.id), attempt=max(1, task_run.run_count))
        return step, context.enter((run, step))

    def hooks_end(self, step: Step, tokens: Any) -> None:
        """They have been called."""
        context.leave(tokens)
        step.detach()

    def rolled_back(self, engine: Any) -> None:
        """A transaction undid a task that had completed."""
        task_run = engine.task_run
        run = self._run(self._run_id(task_run))
        step = run.attach_step(fields.xray_id(task_run.id), attempt=max(1, task_run.run_count))
        step.set_metadata(f"{RESULT_METADATA}rolled_back", True)
        step.detach()

    def _run(self, run_id: str, within: str = "") -> Run:
        """The run: the one open in this process, or a handle on one that another process owns. In a task of Dask's or Ray's that
        is one for the attempt: an engine runs a task of Prefect's again under the same run count.
        """
        run = self._runs.get(run_id)
        if run is not None:
            return run
        xray = client.default_client()
        task = xray.task_attempt()
        return xray.attach_run(run_id) if task is None else xray.attach_task_run(run_id, "", task=task, within=within)

    def current(self) -> Step | None:
        """The step that Prefect's own context names: for threads and processes that carry that and not ours."""
        flow_run, task_run = _surroundings()
        if task_run is None or (flow_run is not None and task_run.flow_run_id != flow_run.id):
            return None  # in the body of a flow, which may be inside a task of an outer flow
        own_id = fields.xray_id(task_run.id)
        if self._is_left_behind(own_id):
            return None
        step = self._steps.get(own_id)
        if step is not None:
            return step
        key = own_id, max(1, task_run.run_count)
        step = self._attached.get(key)
        if step is None:
            step = self._run(self._run_id(task_run)).attach_step(own_id, attempt=key[1])
            self._attached[key] = step
            if len(self._attached) > _MAX_ATTACHED:
                self._attached.popitem(last=False)[1].detach()
        return step

    def running(self) -> list[str]:
        """The names of the task and of the flow that the calling code is in, as far as it is in any; for `xray doctor`."""
        flow_run, task_run = self.around()
        return [str(each.name) for each in (task_run, flow_run) if each is not None]

    def around(self) -> tuple[Any, Any]:
        """(flow run, task run) around the calling code, without a task whose context Prefect left behind."""
        flow_run, task_run = _surroundings()
        if task_run is not None and self._is_left_behind(fields.xray_id(task_run.id)):
            task_run = None
        return flow_run, task_run

    def origin(self) -> tuple[Origin, str | None, str | None] | None:
        """Around a run that starts by hand; see the hook `xray_run_origin`."""
        flow_run, task_run = self.around()
        place = self.place_of(flow_run, task_run)
        if place is None:
            return None
        return fields.task_origin(task_run) if place[1] is not None else fields.flow_origin(flow_run), *place


def _remember(known: OrderedDict[str, Any], key: str, value: Any) -> None:
    known[key] = value
    while len(known) > _MAX_ENDED:
        known.popitem(last=False)


def _surroundings() -> tuple[Any, Any]:
    """(flow run, task run) of Prefect's context, each None where there is none."""
    module = sys.modules.get("prefect.context")
    if module is None:
        return None, None
    flow, task = module.FlowRunContext.get(), module.TaskRunContext.get()
    return getattr(flow, "flow_run", None), getattr(task, "task_run", None)


def _raised(engine: Any) -> BaseException | None:
    raised = getattr(engine, "_raised", None)
    return raised if isinstance(raised, BaseException) else None


def _failure(state: Any) -> dict[str, str] | None:
    return fields.failure(state) if fields.status(state) != "completed" else None


def _is_pause(error: BaseException) -> bool:
    """Prefect's way out of a flow that will be resumed."""
    return any(kind.__name__ == "Pause" for kind in type(error).__mro__)


adapter = Adapter()
