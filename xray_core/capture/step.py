"""A step while it runs, from its opening to its end: its identity, what is known of it, and how it is written down.

What users and adapters say of its items is step_items.py's, of the step as a whole step_values.py's; the way of records to
the spool is recorder.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import UNSET

from xray_core import wire
from xray_core.bounds import MAX_DURATION_US, id_text
from xray_core.capture import context
from xray_core.capture.bucket import FastPath
from xray_core.capture.step_items import EndedError
from xray_core.capture.step_values import StepValues
from xray_core.capture.token import Token, carried
from xray_core.model import STATUS_RANK, Capture, Ledger, Origin, Status, is_failure, make_ledger
from xray_core.native import make_rlock
from xray_core.objects import redaction
from xray_core.safety import guarded, swallow

if TYPE_CHECKING:
    from xray_core.capture.recorder import Recorder
    from xray_core.capture.run import Run

_UNSETTLED: Final = {
    "skipped": "unsettled",
    "keys": [],
    "note": "its process ended before its values were looked at",
}
_NOTHING: Final[frozenset[str]] = frozenset()
_ORIGIN: Final = frozenset({"origin"})
_OWN_NOTE: Final = frozenset({"inference"})
_NO_FAST_PATHS: Final[dict[str, FastPath]] = {}  # of every step without items; never written to


class Step(StepValues):
    """One stage of a run, or one try of it. Made by `run.step(...)`; use it as a context manager.

    Every method may be called from any thread, never raises and never blocks on the network.

    Attributes:
        step_id: unique in the run; the attempts of one step share it.
        part: names what this object captures of the step: several objects of one id are several parts.
    """

    __slots__ = (
        "__weakref__", "_end_is_due", "_process", "_settles_later", "_tokens", "attempt", "part", "step_id", "step_type",
    )  # fmt: skip

    def __init__(
        self,
        run: Run,
        recorder: Recorder,
        name: str,
        step_type: str | None = None,
        index: int | None = None,
        parent_id: str | None = None,
        capture: str | None = None,
        code_version: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        step_id: str | None = None,
        attempt: int = 1,
        part: str | None = None,
        upstream: Sequence[str] | None = None,
        map_index: int | None = None,
        origin: Origin | None = None,
        started_at: datetime | None = None,
    ) -> None:
        self.run = run
        self.name = name
        self.step_type = step_type
        self._process = process = recorder.part
        if step_id is None:  # nobody else can speak of it, but the children of this process
            step_id = f"{process}-{next(recorder.step_numbers)}"
            part = part if part is not None else process
        self.step_id = step_id
        self.attempt = attempt
        self.part = part if part is not None else recorder.next_part()
        self.capture = capture if capture is not None else run.capture
        self._recorder = recorder
        self._rejected = _NO_FAST_PATHS
        self._log = self._values_made = None
        self._observed = self._item_key = self._put_off = None
        self._lock = make_rlock()  # re-entrant: a signal handler may capture in the middle of a capture
        self._tokens: Any = None
        self._settles_later: tuple[float, bool] | None = None  # how long it ran, and whether it failed
        self._at_rest = self._hidden = self._released = self._end_is_due = False
        started_us = now_us = recorder.now_ns() // 1_000
        self._clock_start = recorder.clock_ns()
        if started_at is not None:
            started_us = self._values.moment("started_at", started_at, otherwise=now_us)
            self._clock_start -= (now_us - started_us) * 1_000
        self._head = head = wire.StepHead(  # by position: that is cheaper, and this is done for every step
            wire.VERSION, "step", run.run_id, self.step_id, attempt, self.part, run.pipeline or None, name or None,
            step_type, index, self.capture, started_us, now_us, "running",
        )  # fmt: skip
        if parent_id is not None:
            head.parent_id = parent_id
        if upstream is not None:
            ids = _ids(upstream)
            if ids:
                head.upstream = ids
        if map_index is not None:
            head.map_index = map_index
        if code_version is not None:
            head.code_version = code_version
        if origin is not None or metadata is not None:
            self._begin_with(origin, metadata)

    def _begin_with(self, origin: Origin | None, metadata: Any) -> None:
        if origin is not None:
            self._values.set_origin(origin)
        self._values.set_all_metadata(metadata)
        self._values.changed = False  # `open` writes it; of a step that is attached its owner has written it

    # ------------------------------------------------------------------ what it is, as far as this process knows

    @property
    def run_id(self) -> str:
        """The id of the run that the step is in."""
        return self.run.run_id

    @property
    def status(self) -> Status | None:
        """How it is: "running" until the block ends; None where another process owns the step."""
        return self._head.status

    @property
    def ledger(self) -> Ledger:
        """Where the items went, as far as this process knows."""
        if self._settles_later is not None:
            self._recorder.late.settle()
        counts = self._log.counts() if self._log is not None else {}
        values, running = self._values_made, self.status in ("running", "failed")
        if values is None:
            return make_ledger(counts, running=running)
        return make_ledger(
            counts,
            input_count=values.count("input"),
            output_count=values.count("output"),
            items=values.items,
            relation=values.relation,
            running=running,
        )

    @property
    def parent_id(self) -> str | None:
        """The step that this one is inside of."""
        parent_id = self._head.parent_id
        return None if parent_id is UNSET else parent_id

    @property
    def origin(self) -> Mapping[str, Any] | None:
        """The framework object behind it: {framework, kind, ids, url, state}."""
        return None if self._values_made is None else self._values_made.origin

    @property
    def times_us(self) -> tuple[int, int | None]:
        """When it began and ended, in microseconds since the epoch."""
        ended_us = self._head.ended_us
        return self._head.started_us, None if ended_us is UNSET else ended_us

    @property
    def error(self) -> Mapping[str, Any] | None:
        """What it failed with: {type, message, traceback}."""
        return None if self._values_made is None else self._values_made.error

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What `set_metadata` was given."""
        return {} if self._values_made is None else self._values_made.metadata

    @property
    def reasons(self) -> dict[str, dict[str, int]]:
        """Outcome -> reason -> items, as far as this process knows; "" for those without a reason."""
        log = self._log
        return {} if log is None else {outcome: log.reasons(outcome) for outcome in log.counts()}

    @property
    def rejection_counts(self) -> dict[str, int]:
        """Reason -> items rejected for it, as far as this process knows."""
        return self._log.reasons("rejected") if self._log is not None else {}

    def step(
        self,
        name: str,
        step_type: str | None = None,
        *,
        capture: Capture | None = None,
        metadata: Mapping[str, Any] | None = None,
        code_version: str | None = None,
    ) -> Step:
        """A step inside this one; see `Run.step`."""
        return self.run.step(
            name, step_type, capture=capture, metadata=metadata, code_version=code_version, parent_id=self.step_id
        )

    @guarded("step.token", default="")
    def token(self) -> str:
        """The text by which `xray_core.attach` finds this step in any process, on any machine. Holds no key."""
        head = self._head
        recorder = self._recorder
        return Token(
            head.run_id, head.step_id, head.attempt, head.pipeline or "", self.name, head.index, self.capture,
            carried(recorder.settings), recorder.part,
        ).spell()  # fmt: skip

    # ------------------------------------------------------------------ opening and closing

    def __enter__(self) -> Step:
        self.open()
        self._tokens = context.enter((self.run, self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            try:
                context.current.reset(tokens)
            except ValueError:  # in another context than the one entered: a generator closed elsewhere
                context.leave_ended(tokens, self)
        if error is not None and is_failure(error):
            self.close("failed", error=error, trace=trace)
        else:
            self.close()
        return False

    async def __aenter__(self) -> Step:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        return self.__exit__(kind, error, trace)

    def open(self) -> Step:
        """Write down that the step has begun. `with` does this; adapters call it, and `close`, themselves."""
        if self._head.ended_us is not UNSET:
            return self
        try:
            recorder = self._recorder
            if self._process is not recorder.part:
                self.reset_after_fork()  # made before the process forked, and opened in the child
                self._hidden = self._head.status is None
            recorder.open_things[self] = None
            if not self._hidden:
                values = self._values_made
                if values is None:
                    recorder.write_step(self._head, None)
                else:
                    values.origin_is_clean = recorder.write_step(self._head, values.fields_at_start())
        except Exception as error:  # noqa: BLE001
            swallow("step.open", error)
        return self

    def open_now(self) -> Step:
        """For adapters that make steps before their time: as `open`, and it begins now and in this process."""
        recorder, head = self._recorder, self._head
        if self._process is not recorder.part:
            self._process = recorder.part
            self.part = head.part = recorder.next_part()
        head.started_us = head.rev = recorder.now_ns() // 1_000
        self._clock_start = recorder.clock_ns()
        return self.open()

    def close(
        self,
        status: Status = "completed",
        *,
        error: BaseException | Mapping[str, Any] | None = None,
        trace: TracebackType | None = None,
        ended_at: datetime | None = None,
    ) -> None:
        """Write down how the step ended. Closing twice keeps the first end. `error` may be {type, message, traceback}.

        `ended_at` is for adapters that learn of an end later than it was; the default is now.
        """
        head = self._head
        if head.ended_us is not UNSET:
            return
        written = False
        try:
            recorder = self._recorder
            if self._process is not recorder.part:
                self.reset_after_fork()
            duration_us = (recorder.clock_ns() - self._clock_start) // 1_000
            if ended_at is not None:
                now_us = head.started_us + duration_us
                duration_us = self._values.moment("ended_at", ended_at, otherwise=now_us) - head.started_us
            if duration_us < 0:  # `started_at` was later than the end
                duration_us = 0
            if duration_us <= MAX_DURATION_US:  # the server reads a longer one from the start and the end
                head.duration_us = duration_us
            known = type(status) is str and status in STATUS_RANK
            ended: Status = status if known else "completed" if error is None else "failed"
            head.status = ended
            # the end follows from the monotonic clock, so that a jump of the wall clock cannot turn time around
            head.ended_us = head.started_us + duration_us
            if error is not None:
                self._values.set_error(error, trace)
            recorder.open_things.pop(self, None)
            if self._log is None and self._values_made is None and self._put_off is None:
                # no other thread can have anything to write: no lock, which costs as much as the record
                self._released = self._at_rest = True
                self._hidden = False
                head.rev = head.ended_us if head.ended_us > head.rev else head.rev + 1
                recorder.write_step(head, None)
            else:
                with self._lock:
                    if not self._released:
                        self._end_values(ended, duration_us / 1e6)
            written = True
            if recorder.hooks.observes_steps:
                recorder.hooks.step_finished(self)
        except Exception as problem:  # noqa: BLE001
            swallow("step.close", problem)
        finally:
            if not written:
                self._end_later()

    def _end_later(self) -> None:
        """What kept the end from being written, a signal handler or Ctrl-C most likely: the next snapshot writes it."""
        if self._head.ended_us is not UNSET:
            self._released, self._end_is_due = False, True
            self._recorder.open_things[self] = None

    def _end_values(self, status: Status, took_s: float) -> None:
        """Write down what there is at the end. Where looks at values were put off, they may wait a little more: then all that
        the user said is written first, and that the rest is missing.
        """
        recorder = self._recorder
        waits = self._put_off is not None and self._observed is None and status != "skipped"
        if waits and not recorder.hooks.observes_steps and recorder.sink.settles and recorder.late.has_room():
            self._settles_later = (took_s, status == "failed")
            self._values.set_inference(None, _UNSETTLED)
            self._write_all()
            self._released = True
            self._rest()
            recorder.late.add(self._settle)
            return
        self._catch_up()
        if self._observed is not None and status != "skipped":
            self._infer(took_s, failed=status == "failed")
        self._write_all()
        self._release_values()
        self._rest()

    def _settle(self) -> None:
        """For `LateWork`: look at the values of the step, which has ended, and write it down with what they tell."""
        with self._lock:
            later, self._settles_later = self._settles_later, None
            if later is None:
                return
            took_s, failed = later
            self._values.set_inference(None, None)
            self._catch_up()
            if self._observed is not None:
                self._infer(took_s, failed=failed)
            self._write_all()
            self._release_values()
            self._rest()

    def _write_all(self) -> None:
        if self._log is not None:
            self._log.drain()
        self._write_down()

    @guarded("step.detach")
    def detach(self) -> None:
        """For adapters: write down what there is, without an end; another process will continue or close this step.

        Whatever is said through this object later is written down too. Does nothing to a step that has ended.
        """
        if self._released:
            return
        self._catch_up()
        self._rest()
        self._observed = None  # the end, which another process may see, is not known here
        self._recorder.open_things.pop(self, None)
        self.snapshot()

    def attached(self) -> Step:
        """For steps that another process owns: nothing is written until this process has an item or a value of its own, and
        never a status before `close`.
        """
        self._hidden = True
        self._head.status = None
        return self

    # ------------------------------------------------------------------ writing down

    def snapshot(self) -> None:
        """Write what changed since the last time: verdicts first, so that counts never promise what is not there."""
        with self._lock:
            if self._released:
                return
            if self._end_is_due:
                self._end_is_due = False
                self._recorder.open_things.pop(self, None)
                started_us, ended_us = self.times_us
                self._end_values(self._head.status or "completed", ((ended_us or started_us) - started_us) / 1e6)
                return
            self._catch_up()
            if self._drain():
                self._write_down()

    def _drain(self) -> bool:
        """Write the verdicts; whether there is anything that the step's record does not contain yet."""
        values = self._values_made
        drained = self._log is not None and self._log.drain()
        return drained or (values is not None and values.changed)

    def _write_down(self) -> None:
        log, values = self._log, self._values_made
        fields: dict[str, Any] = {}
        if log is not None:
            log.write_samples()
            fields = log.as_fields()
        if values is not None:
            values.changed = False
            fields.update(values.as_fields())
        self._write(fields)

    def _write(self, fields: dict[str, Any] | None) -> None:
        self._hidden = False
        head = self._head
        now_us = head.ended_us if head.ended_us is not UNSET else self._recorder.now_us()
        head.rev = now_us if now_us > head.rev else head.rev + 1
        values = self._values_made
        # an address takes longer to look through than all else, and stands in every record of the step
        clean = values is not None and values.origin_is_clean and redaction.holds_by_form()
        known = _OWN_NOTE if self._settles_later is not None else _NOTHING
        self._recorder.write_step(head, fields, known=known | _ORIGIN if clean else known)

    def _release_values(self) -> None:
        """Drop the values, which are written down. Frameworks keep contexts for long, and those keep steps: the garbage
        collector has less to look through. Nothing is written afterwards: a snapshot would lack these values.
        """
        self._released = True
        if self._values_made is not None:
            # plugins may need the origin of a finished step
            self._values_made.release_values(keep_origin=self._recorder.hooks.observes_steps)

    def reset_after_fork(self) -> None:
        """After a fork, in the child: start a part of its own, empty. The parent writes what it had not written yet."""
        self._lock = make_rlock()  # the parent's may be held by a thread that does not exist here
        self._process = self._recorder.part
        self.part = self._head.part = self._recorder.next_part()
        self._rejected, self._log, self._observed, self._put_off = _NO_FAST_PATHS, None, None, None
        self._settles_later = None
        self._end_is_due = False
        before, self._values_made = self._values_made, None
        if before is not None:
            self._values.origin = before.origin
        self._hidden = True

    def _rest(self) -> None:
        """Nothing is expected from here on: the next item or value asks `_resume` first."""
        self._at_rest = True
        self._rejected = _NO_FAST_PATHS

    def _resume(self, *, ended_too: bool = False) -> None:
        """Before an item or value of a step that was detached: it is written down with the open ones again.

        Args:
            ended_too: a step that has ended stays as it is, and takes values that nobody writes.

        Raises:
            EndedError: the step has ended, and its record is final.
        """
        if self._released:
            if ended_too:
                return
            raise EndedError
        recorder = self._recorder
        if self._process is not recorder.part:
            self.reset_after_fork()  # at rest when the process forked, and used again in the child
        self._at_rest = False
        if self._log is not None:
            self._rejected = self._log.fast_paths
        recorder.open_things[self] = None
        recorder.ensure_sender_started()


def _ids(given: Sequence[str]) -> list[str]:
    """Ids of steps, without those that cannot be one."""
    try:
        return [found for each in given if (found := id_text(each)) is not None]
    except Exception as error:  # noqa: BLE001  # no sequence, or one that raises
        swallow("a step's upstream", error)
        return []
