"""A run while it goes on: opens steps, holds the values of the whole, and writes how it began and ended."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from xray_core import wire
from xray_core.bounds import MAX_ATTEMPT, MAX_DURATION_US, MAX_NAME_CHARS, id_text, name_text, whole
from xray_core.capture import context
from xray_core.capture.code_version import code_version_of_caller, of_callers
from xray_core.capture.step import Step
from xray_core.capture.values import MAX_METADATA, CapturedValues
from xray_core.item_ids import ItemId
from xray_core.model import CAPTURE_LEVELS, STATUS_RANK, Capture, Origin, Status, is_failure, new_id
from xray_core.native import make_rlock
from xray_core.objects.redaction import REDACTED
from xray_core.objects.sanitize import hides
from xray_core.safety import guarded, swallow
from xray_core.verdicts import hash64

if TYPE_CHECKING:
    from xray_core.capture.recorder import Recorder


class Run:
    """One execution of a pipeline. Made by `xray.run(...)`; use it as a context manager, `with` or `async with`.

    No method raises, but for `__exit__` in `offline_mode="strict"` when the server has not confirmed the run.

    Attributes:
        run_id: yours, or a UUIDv7.
        seed: decides which items are sampled; follows from the run id, so every process of the run samples alike.
    """

    def __init__(
        self,
        recorder: Recorder,
        pipeline: str,
        *,
        run_id: ItemId | None = None,
        part: str | None = None,
        tags: Mapping[str, Any] | Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        origin: Origin | None = None,
        parent: tuple[str, str | None] | None = None,
        code_version: str | None = None,
        capture: str | None = None,
        confirm: Callable[[], None] | None = None,
        started_at: datetime | None = None,
    ) -> None:
        name = recorder.sanitizer.name
        own_id = id_text(run_id) if run_id is not None else None
        self.run_id = recorder.sanitizer.redactor.item_id(own_id) if own_id is not None else _new_run_id(run_id)
        self.pipeline = name(pipeline)
        if part is None:
            part = recorder.part if own_id is None else recorder.next_part()
        self.part = part
        self.seed = hash64(self.run_id)
        self.capture = (_level(capture) if capture is not None else None) or recorder.settings.capture
        self.status: Status | None = "running"
        self._recorder = recorder
        self._confirm = confirm
        self._tags = _tags(tags, recorder)
        self._values = CapturedValues(recorder.sanitizer, full=True)
        if origin is not None:
            self._values.set_origin(origin)
        self._parent = _parent(parent)
        code_version = code_version if code_version is not None else recorder.settings.code_version
        self._code_version = name(code_version) if code_version is not None else None
        self._indexes = count()
        self._rev = 0
        self._owned_elsewhere = False
        self._begun = False  # opened or attached: from then on what changes is written
        self._process = recorder.part
        self._lock = make_rlock()
        self._tokens: Any = None
        self._ended_us: int | None = None
        self._duration_us: int | None = None
        self._started_us = now_us = recorder.now_us()
        self._clock_start = recorder.clock_ns()
        if started_at is not None:
            self._started_us = self._values.moment("started_at", started_at, otherwise=now_us)
            self._clock_start -= (now_us - self._started_us) * 1_000
        self._values.set_all_metadata(metadata)

    @property
    def times_us(self) -> tuple[int, int | None]:
        """When it began and ended, in microseconds since the epoch."""
        return self._started_us, self._ended_us

    @property
    def error(self) -> Mapping[str, Any] | None:
        """What it failed with: {type, message, traceback}."""
        return self._values.error

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
        """One stage, to be used as a context manager. Inside another step of this run it becomes its child.

        Args:
            name: the same in every run, so that runs can be compared.
            step_type: "generate", "retrieve", "filter", "score", "rank", "select", "transform", or your own word.
            capture: "minimal", "sample" or "full", for this step alone.
            code_version: what changes when the step's code does; tells changed code from a changed answer. By default that
                of the run, else that of the function which opens the step, and of its file.
        """
        named = self._recorder.sanitizer.name
        if code_version is not None:
            code_version = named(code_version)
        else:
            code_version = self._code_version
            if code_version is None:
                known = of_callers.get(id(sys._getframe(1).f_code))  # no more than one look-up: asked for every step
                code_version = known[1] if known is not None else code_version_of_caller()
        if parent_id is None:
            around = context.current.get()[1]
            if around is not None and around.run is self:
                parent_id = around.step_id
        else:
            parent_id = id_text(parent_id)
        return Step(  # by position: that is cheaper, and this is done for every step
            self,
            self._recorder,
            named(name),
            step_type if step_type is None else named(step_type),
            next(self._indexes),
            parent_id,
            capture if capture is None else _level(capture),
            code_version,
            metadata,
        )

    def open_step(self, name: str, **options: Any) -> Step:
        """For adapters: a step that is open when this returns. Takes what `open_step_unwritten` takes."""
        return self.open_step_unwritten(name, **options).open()

    def open_step_unwritten(
        self,
        name: str,
        *,
        step_type: str | None = None,
        step_id: str | None = None,
        attempt: int = 1,
        part: str | None = None,
        parent_id: str | None = None,
        index: int | None = None,
        upstream: Sequence[str] | None = None,
        map_index: int | None = None,
        capture: str | None = None,
        code_version: str | None = None,
        origin: Origin | None = None,
        metadata: Mapping[str, Any] | None = None,
        started_at: datetime | None = None,
    ) -> Step:
        """For adapters: a step with explicit identity. Nothing is written until it is opened (or has an item or a value).

        `started_at` is for steps that began earlier, or elsewhere; the default is now.
        """
        named = self._recorder.sanitizer.name
        return self._new_step(
            named(name),
            step_type=named(step_type) if step_type is not None else None,
            step_id=id_text(step_id) if step_id is not None else None,
            attempt=attempt if type(attempt) is int and 0 <= attempt <= MAX_ATTEMPT else 1,
            part=part,
            parent_id=id_text(parent_id) if parent_id is not None else None,
            index=next(self._indexes) if index is None else whole(index),
            upstream=upstream,
            map_index=whole(map_index) if map_index is not None else None,
            capture=capture if capture is None else _level(capture),
            code_version=named(code_version) if code_version is not None else self._code_version,
            origin=origin,
            metadata=metadata,
            started_at=started_at,
        )

    def _new_step(self, name: str, **options: Any) -> Step:
        return Step(self, self._recorder, name, **options)

    def attach_step(
        self,
        step_id: str,
        *,
        name: str = "",
        attempt: int = 1,
        part: str | None = None,
        index: int | None = None,
        capture: str | None = None,
    ) -> Step:
        """For adapters: a handle on a step that another process owns. What is captured here is added to it."""
        step = self.open_step_unwritten(
            name, step_id=step_id, attempt=attempt, part=part, index=index, capture=capture
        ).attached()
        self._recorder.open_things[step] = None
        return step

    @guarded("run.set_input")
    def set_input(self, value: Any) -> None:
        """What the run was asked: any object, stored bounded and redacted, fingerprinted whole."""
        self._resume()
        self._values.input = self._values.hold(value)
        self._values.changed = True

    @guarded("run.set_output")
    def set_output(self, value: Any) -> None:
        """What the run answered; see `set_input`."""
        self._resume()
        self._values.output = self._values.hold(value)
        self._values.changed = True

    @guarded("run.set_metadata")
    def set_metadata(self, key: str, value: Any) -> None:
        """A fact about this run: a parameter, a version. Compared between runs."""
        self._resume()
        self._values.set_metadata(key, value)
        self._values.changed = True

    @guarded("run.set_tag")
    def set_tag(self, key: str, value: Any = True) -> None:
        """A label to find runs by."""
        self._resume()
        self._tags.update(_tags({key: value}, self._recorder))
        self._values.changed = True

    @guarded("run.set_origin")
    def set_origin(self, origin: Origin) -> None:
        """For adapters: the framework object behind this run."""
        self._resume()
        self._values.set_origin(origin)
        self._values.changed = True

    # ------------------------------------------------------------------ opening and closing

    def __enter__(self) -> Run:
        self.open()
        self._tokens = context.enter((self, None))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._end(error, trace)
        if error is None and self._confirm is not None:
            self._confirm()
        return False

    async def __aenter__(self) -> Run:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._end(error, trace)
        if error is None and self._confirm is not None:
            import asyncio

            await asyncio.to_thread(self._confirm)  # strict mode waits for the server: not on the loop
        return False

    def open(self) -> Run:
        """Write down that the run has begun. `with` does this; adapters call it, and `close`, themselves."""
        try:
            self._begun = True
            self._recorder.open_things[self] = None
            self._recorder.write(self._record())
            self._values.changed = False
            self._recorder.hooks.run_started(self)
        except Exception as error:  # noqa: BLE001
            swallow("run.open", error)
        return self

    @guarded("run.close")
    def close(
        self,
        status: Status = "completed",
        *,
        error: BaseException | Mapping[str, Any] | None = None,
        trace: TracebackType | None = None,
        ended_at: datetime | None = None,
    ) -> None:
        """Write down how the run ended. Closing again replaces the end: a flow may be retried after it failed.

        `ended_at` is for adapters that learn of an end later than it was; the default is now.
        """
        if self._owned_elsewhere:  # another process ends it
            self.detach()
            return
        recorder = self._recorder
        lasted_us = max(0, recorder.clock_ns() - self._clock_start) // 1_000
        if ended_at is not None:
            end_us = self._values.moment("ended_at", ended_at, otherwise=self._started_us + lasted_us)
            lasted_us = max(0, end_us - self._started_us)
        with self._lock:
            self._values.changed = True
            self._values.error = None
            if error is not None:
                self._values.set_error(error, trace)
            # what began years ago, by its framework's word, lasts from its start to its end: the server reads that from both
            self._duration_us = lasted_us if lasted_us <= MAX_DURATION_US else None
            self.status = (
                status if type(status) is str and status in STATUS_RANK else "completed" if error is None else "failed"
            )
            self._ended_us = self._started_us + lasted_us
            self.snapshot()  # which closes it, or where that is interrupted the next one
        recorder.hooks.run_finished(self)

    @guarded("run.detach")
    def detach(self) -> None:
        """For adapters: write down what there is, without an end; another process will close this run."""
        self._recorder.open_things.pop(self, None)
        self.snapshot()

    def snapshot(self) -> None:
        """Write what changed since the last time."""
        with self._lock:
            if self._values.changed:
                written = False
                try:
                    self._values.changed = False
                    self._recorder.write(self._record())
                    written = True
                finally:
                    if not written:
                        self._values.changed = True
            if self._ended_us is not None:
                self._recorder.open_things.pop(self, None)

    def reset_after_fork(self) -> None:
        """After a fork, in the child: the parent keeps reporting the run; the child adds only its own values."""
        self._lock = make_rlock()
        self._process = self._recorder.part
        self.part = self._recorder.next_part()
        self._values.input = self._values.output = None
        self._values.dropped = {}  # of several parts these add up
        self.attached()

    def attached(self) -> Run:
        """For runs that another process owns: nothing is written until a value of the run is set here, and never a status."""
        self._owned_elsewhere, self._values.changed = True, False
        self._begun = True
        self.status = None
        return self

    def _resume(self) -> None:
        """Before anything is said: a run that was detached, or has ended, is written down again when it changes."""
        recorder = self._recorder
        if self._process is not recorder.part:
            self.reset_after_fork()  # at rest when the process forked, and used again in the child
        if self._begun:
            recorder.open_things[self] = None
            recorder.ensure_sender_started()

    def _record(self) -> dict[str, Any]:
        self._rev = max(self._rev + 1, self._recorder.now_us())
        record: dict[str, Any] = {
            "v": wire.VERSION, "kind": "run", "run_id": self.run_id, "part": self.part,
            "pipeline": self.pipeline, "rev": self._rev, "status": self.status, "started_us": self._started_us,
            "ended_us": self._ended_us, "duration_us": self._duration_us, "capture": self.capture,
            "client": self._recorder.client(),
        }  # fmt: skip
        if self._tags:
            record["tags"] = dict(self._tags)
        if self._parent is not None:
            record["parent"] = {"run_id": self._parent[0], "step_id": self._parent[1]}
        if self._code_version is not None:
            record["code_version"] = self._code_version
        record.update(self._values.as_fields())
        return record

    def _end(self, error: BaseException | None, trace: TracebackType | None) -> None:
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            context.leave_ended(tokens, self)
        failed = is_failure(error)
        self.close("failed" if failed else "completed", error=error if failed else None, trace=trace)


def _new_run_id(given: object) -> str:
    """An id of our own, also where the one given cannot be one: empty, or of a type that has no text."""
    if given is not None:
        swallow("run_id", ValueError(f"{name_text(given)!r} cannot be an id; the run has one of its own"))
    return new_id()


def _level(capture: object) -> str | None:
    """A capture level; None, which is the settings' or the run's own, for a wrong one, and that is said once."""
    level = name_text(capture)
    if level in CAPTURE_LEVELS:
        return level
    swallow("a capture level", ValueError(f"{level!r} is none of {', '.join(CAPTURE_LEVELS)}"))
    return None


def _parent(parent: object) -> tuple[str, str | None] | None:
    """The run, and perhaps its step, that a run is a child of."""
    if type(parent) is not tuple or len(parent) != 2:
        return None
    run_id = id_text(parent[0])
    return None if run_id is None else (run_id, id_text(parent[1]) if parent[1] is not None else None)


def _tags(tags: Mapping[str, Any] | Iterable[str] | None, recorder: Recorder) -> dict[str, str]:
    """Tags as {key: value} of short strings; a bare label has the value "true"."""
    if tags is None:
        return {}
    try:
        if isinstance(tags, str):
            tags = [tags]
        pairs = list(tags.items()) if isinstance(tags, Mapping) else [(tag, True) for tag in tags]
        clean = recorder.sanitizer
        found: dict[str, str] = {}
        for key, given in pairs[:MAX_METADATA]:
            value = clean.clean(given)
            text = "true" if value is True else "false" if value is False else str(value)
            name = clean.name(key)
            found[name] = REDACTED if hides(clean.secrecy(name), given) else clean.text(text, MAX_NAME_CHARS)
        return found
    except Exception as error:  # noqa: BLE001
        swallow("tags", error)
        return {}
