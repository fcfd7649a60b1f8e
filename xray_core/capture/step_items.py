"""What is said of a step's items: `StepItems`, the half of `Step` that takes verdicts, decisions and item sets.

The hot path is `reject`: no lock, no I/O, no hook, no object kept that is not sampled. How items are counted, sampled and
written is verdict_log.py's. Knows nothing of how a step opens and closes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xray_core import wire
from xray_core.capture import decisions
from xray_core.capture.items import ids_of
from xray_core.capture.values import CapturedValues
from xray_core.capture.verdict_log import FastPath, VerdictLog, xxh3
from xray_core.model import ITEMS_IN, ITEMS_OUT, MAX_ITEM_ID_CHARS, Outcome, item_id_text
from xray_core.safety import guarded, swallow

if TYPE_CHECKING:
    from xray_core.capture.recorder import Recorder
    from xray_core.capture.run import Run
    from xray_core.native import RLock


class EndedError(Exception):
    """An item of a step that has ended: its record is final, so the item is counted as lost."""


class StepItems:
    """The items of one step attempt, as this process captures them. `Step` adds identity, values and the life of the step.

    One object in two files, not two: `reject` is called for every item, and a second object would cost it an attribute
    look-up, a tenth of its time.
    """

    __slots__ = (
        "_at_rest",
        "_head",
        "_hidden",
        "_lock",
        "_log",
        "_recorder",
        "_rejected",
        "_values_made",
        "capture",
        "run",
    )

    _at_rest: bool  # detached or ended: `_resume` is asked before anything more is captured
    _head: wire.StepHead
    _hidden: bool
    _lock: RLock
    _log: VerdictLog | None
    _recorder: Recorder
    _rejected: dict[str, FastPath]
    _values_made: CapturedValues | None
    capture: str
    run: Run

    def reject(
        self,
        item_id: str | int,
        reason: str,
        details: Mapping[str, Any] | None = None,
        *,
        score: float | None = None,
        rank: int | None = None,
    ) -> None:
        """An explicit no. `reason` is a short code ("price_too_high"); text and values go into `details`."""
        try:
            try:
                append, sampler, seed, bucket = self._rejected[reason]
            except KeyError:
                self._verdicts().reject(item_id, reason, details, score, rank)
                return
            try:
                data = item_id.encode()  # type: ignore[union-attr]  # ints and odd strings go the slow way below
                if len(data) > MAX_ITEM_ID_CHARS:
                    raise ValueError
            except (AttributeError, ValueError):
                item_id = item_id_text(item_id)
                data = item_id.encode()
            append(xxh3(data))
            drawn = xxh3(data, seed)
            if drawn < sampler.limit or score is not None:
                self._verdicts().sample(bucket, drawn, item_id, details, score, rank)
        except Exception as error:  # noqa: BLE001
            self._unnamed("rejected", reason, error)

    def reject_many(self, item_ids: Iterable[str | int], reason: str, details: Mapping[str, Any] | None = None) -> None:
        """Reject each of `item_ids` for one reason, with the same details if any."""
        for item_id in self._listed(item_ids):
            self.reject(item_id, reason, details)

    def accept(
        self,
        item_id: str | int,
        reason: str | None = None,
        details: Mapping[str, Any] | None = None,
        score: float | None = None,
        *,
        rank: int | None = None,
    ) -> None:
        """An explicit yes."""
        self._item("accepted", item_id, reason, details, score, rank)

    def accept_many(self, item_ids: Iterable[str | int], reason: str | None = None) -> None:
        """Accept each of `item_ids`."""
        for item_id in self._listed(item_ids):
            self._item("accepted", item_id, reason)

    def errored(self, item_id: str | int, reason: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        """The item could not be processed: neither a yes nor a no."""
        self._item("errored", item_id, reason, details)

    @guarded("step.decide")
    def decide(
        self,
        decision: str,
        selected: str | int | Iterable[str | int] | None = None,
        reason: str | None = None,
        score: float | None = None,
        alternatives: Iterable[Any] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """A choice among items: `selected` is taken, the `alternatives` are not (an implicit no, below the cut).

        Args:
            decision: what was decided, as in "select_best".
            selected: an item id, or several; None when nothing was good enough.
            reason: a short code for why.
            score: of the selected item.
            alternatives: the others, best first: item ids, or mappings with `item_id` (or `id`) and optionally `score`,
                `reason` and further details.
            details: anything more about the decision.
        """
        chosen = decisions.chosen_ids(selected)
        others = decisions.alternatives_of(alternatives)
        for rank, item_id in enumerate(chosen, 1):
            self._item("selected", item_id, reason, details, score if len(chosen) == 1 else None, rank)
        for rank, other in enumerate(others, len(chosen) + 1):
            self._item("not_selected", other.item_id, other.reason, other.details, other.score, rank)
        recorder = self._recorder
        self._values.add_decision(
            lambda: decisions.as_record(
                recorder.sanitizer, decision, chosen, others, reason=reason, score=score, details=details,
                at_us=recorder.now_us(),
            )
        )  # fmt: skip

    def set_input_items(self, items: Iterable[Any], key: Any = None) -> None:
        """Which items went in: makes "never entered" and "dropped without a reason" certain.

        Args:
            items: a list, tuple, set, dict (its keys), or a numpy, pandas or polars column. An iterator is refused, since
                reading it would take it from you.
            key: how to find the id of each: a dict key or attribute name, or a function; None when the items are ids.
                A DataFrame takes the name of a column.
        """
        self._set_items(ITEMS_IN, items, key)

    def set_output_items(self, items: Iterable[Any], key: Any = None) -> None:
        """Which items came out, in order; see `set_input_items`."""
        self._set_items(ITEMS_OUT, items, key)

    @property
    def _values(self) -> CapturedValues:
        """The values of the step as a whole, made when the first is set: most steps set few or none."""
        if self._at_rest:
            self._resume(ended_too=True)
        if self._values_made is None:
            with self._lock:
                if self._values_made is None:
                    self._values_made = CapturedValues(self._recorder.sanitizer, full=self.capture == "full")
        return self._values_made

    def _verdicts(self) -> VerdictLog:
        """The log of this step's items, made with the first of them: most steps of a scripted run have none."""
        if self._at_rest:
            self._resume()
        if self._log is None:
            with self._lock:
                if self._log is None:
                    if self._hidden:
                        self._recorder.ensure_sender_started()
                    self._rejected = {}
                    self._log = VerdictLog(
                        self._recorder,
                        self._head.of_items(),
                        seed=self.run.seed,
                        capture=self.capture,
                        rejected=self._rejected,
                        lock=self._lock,
                        on_dropped=self._count_dropped,
                    )
        return self._log

    def _item(
        self,
        outcome: Outcome,
        item_id: Any,
        reason: str | None,
        details: Mapping[str, Any] | None = None,
        score: float | None = None,
        rank: int | None = None,
    ) -> None:
        try:
            log = self._verdicts()
            bucket = log.buckets.get((outcome, reason))
            log.add(bucket if bucket is not None else log.bucket(outcome, reason), item_id, details, score, rank)
        except Exception as error:  # noqa: BLE001
            self._unnamed(outcome, reason, error)

    def _unnamed(self, outcome: str, reason: Any, error: Exception) -> None:
        if isinstance(error, EndedError):
            self._recorder.lost("after_the_end")
            return
        try:
            self._verdicts().add_unnamed(outcome, reason)
            swallow(f"step.{outcome} ({type(error).__name__}); the item is counted, without a verdict", error)
        except Exception as problem:  # noqa: BLE001
            swallow(f"step.{outcome}", problem)

    def _resume(self, *, ended_too: bool = False) -> None:
        """`Step` says how a step that is at rest is captured again."""
        raise NotImplementedError

    def _set_items(self, side: str, items: Any, key: Any) -> None:
        try:
            self._values.set_items(side, self._verdicts().write_items(side, ids_of(items, key)))
        except Exception as error:  # noqa: BLE001
            self._values.count_dropped(f"items_{side}")
            swallow(f"step.set_{'input' if side == ITEMS_IN else 'output'}_items", error)

    def _count_dropped(self, what: str) -> None:
        self._values.count_dropped(what)

    @guarded("step.reject_many / accept_many", default=())
    def _listed(self, items: Iterable[Any]) -> Sequence[Any]:
        return list(items)
