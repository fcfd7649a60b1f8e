"""One attempt of a Dagster step as X-Ray's, in the process that executes it: its inputs, outputs, events and end.

Every function is called from inside Dagster's own generators: none raises, none waits for the network.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from xray_core.model import NOT_REACHED, RESULT_METADATA, Origin, Status
from xray_core.safety import guarded, swallow
from xray_core.xray import default_client
from xray_dagster import fields, results
from xray_dagster.ledger import ledger_metadata
from xray_dagster.runs import RunCapture

_ENDS: Final = frozenset({"STEP_SUCCESS", "STEP_FAILURE", "STEP_UP_FOR_RETRY"})
OBSERVED_KINDS: Final = _ENDS | results.KINDS | {fields.UNKNOWN}


class OpCapture:
    """One attempt of one step, in the process that executes it.

    Args:
        by_events: Dagster's events alone tell of it: its generator was not passed through us.
        started_at: when it began, where that is known from an event.

    Attributes:
        reached: whether its body was passed through us, so that what it says itself is captured.
    """

    def __init__(
        self,
        of: RunCapture[OpCapture],
        step: Any,
        step_context: Any,
        *,
        attempt: int,
        by_events: bool = False,
        started_at: datetime | None = None,
    ) -> None:
        self.key: str = step.key
        self.by_events = by_events
        self.reached = not by_events
        self._of = of
        self._context = step_context
        self._closed = False
        self._state = ""
        self._end: tuple[Status, dict[str, Any] | None] | None = None
        self._retry_in_s: float | None = None
        self._no_output_yet = False
        self.fields, self.step = of.made(step, step_context, attempt=attempt, started_at=started_at)
        self._results = results.StepResults(self.fields.asset_keys)
        self.step.open_now()
        if self.reached:
            of.executed.add((self.key, attempt))
        of.ops[self.key] = self

    @property
    def origin(self) -> Origin:
        """This attempt in Dagster, with a link to its log."""
        return self._of.origin_of(self.fields, self.key, self.step.attempt)

    @guarded("observing a Dagster step")
    def observe(self, event: Any) -> None:
        """One of Dagster's events of this step, of a kind in OBSERVED_KINDS."""
        kind = event.event_type_value
        if kind not in _ENDS:
            self._results.observe(event)
            return
        self._state = kind
        data = event.event_specific_data
        self._end = ("completed", None) if kind == "STEP_SUCCESS" else ("failed", fields.error_of(data.error))
        if kind == "STEP_UP_FOR_RETRY":
            self._retry_in_s = data.seconds_to_wait or 0
        self._results.failed(data)

    def enter_body(self, step_context: Any) -> None:
        """The op's body begins: its context is the one that knows the outputs."""
        self._context = step_context
        self.reached = True
        self._of.executed.add((self.key, self.step.attempt))

    @guarded("reading an output of a Dagster step")
    def observe_output(self, event: Any) -> None:
        """What the body yielded or returned: one output, or one of Dagster's events."""
        name = getattr(event, "output_name", None)
        if name is None:
            name = self._output_of_result(event)
            if name is None:
                return
        value, mapping_key = getattr(event, "value", None), getattr(event, "mapping_key", None)
        if name in self.fields.outputs:
            if mapping_key is not None or self.fields.several:
                self.step.observe_output(value, name=name if mapping_key is None else f"{name}[{mapping_key}]")
            elif value is None and hasattr(event, "output_name"):
                self._no_output_yet = True  # perhaps its rows are told of by a materialization
            elif hasattr(event, "output_name") or not (value is None or isinstance(value, type)):
                self.step.observe_output(value)
        if self._of.attaches_ledger and self._context is not None:
            self._attach_ledger(name, mapping_key)

    def _output_of_result(self, event: Any) -> str | None:
        """The output that a `MaterializeResult` stands for."""
        if type(event).__name__ != "MaterializeResult":
            return None
        if event.asset_key is None:
            return next(iter(self.fields.outputs), None) if not self.fields.several else None
        found = (name for name, each in self.fields.outputs.items() if each.asset_key == event.asset_key)
        return next(found, None)

    def _attach_ledger(self, name: str, mapping_key: str | None) -> None:
        if self._context.has_seen_output(name, mapping_key):
            return
        is_graph_asset = bool(self.fields.asset_keys) and "graph" in self.fields.ids
        before = self._of.rejected_before(self.key) if is_graph_asset else {}
        metadata = ledger_metadata(self.step, default_client().settings.api_url, before)
        if metadata:
            self._context.add_output_metadata(metadata, output_name=name, mapping_key=mapping_key)

    def end(self, error: BaseException | None) -> None:
        """The step's generator has ended: Dagster's event says how, an exception where there was no event."""
        try:
            if self._end is not None:
                self.close(self._end[0], state=self._state, error=self._end[1])
            elif error is None:
                self.close(
                    "failed", state="", error={"type": "Unfinished", "message": "Dagster did not say how it ended"}
                )
            else:
                self.close("failed", state="", error=error)
        except Exception as problem:  # noqa: BLE001
            swallow("closing a Dagster step", problem)

    @guarded("closing a Dagster step")
    def end_body(self, error: BaseException | None) -> None:
        """Of a step known by events: the body has ended. Where this process observes the run's events, those say the rest."""
        if not self._of.drives:
            self.close("completed" if error is None else "failed", state="", error=error)

    def close(self, status: Status, *, state: str, error: Any) -> None:
        """Write down the end, once."""
        if self._closed:
            return
        self._closed = True
        self._of.ops.pop(self.key, None)
        for name, entry in self._results.as_metadata().items():
            self.step.set_metadata(RESULT_METADATA + name, entry)
        if self._retry_in_s is not None:
            self.step.set_metadata(f"{RESULT_METADATA}retry_in_s", self._retry_in_s)
        if self._results.row_count is not None:
            self.step.observe_output_size(self._results.row_count, kind="table")
        elif self._no_output_yet:
            self.step.observe_output(None)
        if not self.reached:
            self.step.set_metadata(NOT_REACHED, self._of.not_reached(self.key))
        if self._of.attaches_ledger and "graph" in self.fields.ids:
            self._of.note_rejected(self.key, self.step.attempt, self.step.ledger.rejected or 0)
        if state:
            self.step.set_origin_state(state)
        self.step.close(status, error=error)
        self._of.after_step(status, error if isinstance(error, dict) else None)
