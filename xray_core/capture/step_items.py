"""What is said of a step's items: `StepItems`, the half of `Step` that takes verdicts, decisions and item sets.

The hot path is `reject`: no lock, no I/O, no hook, no object kept that is not sampled. How items are counted, sampled and
written is verdict_log.py's. Knows nothing of how a step opens and closes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsInt, TypeVar

from xray_core import wire
from xray_core.capture import columns, decisions, dimensions, frames, item_fields, many
from xray_core.capture.bucket import FastPath
from xray_core.capture.columns import NotIdsError, hash_all, xxh3
from xray_core.capture.given_items import given_about
from xray_core.capture.items import read_items
from xray_core.capture.values import CapturedValues
from xray_core.capture.verdict_log import VerdictLog
from xray_core.item_ids import ItemId
from xray_core.item_keys import Key
from xray_core.model import ITEMS_IN, ITEMS_OUT, MAX_ITEM_ID_CHARS, NullIdError, Outcome, item_id_text
from xray_core.objects.structure import known_size
from xray_core.safety import guarded, reraise_interrupt, swallow

if TYPE_CHECKING:
    from xray_core.capture.recorder import Recorder
    from xray_core.capture.run import Run
    from xray_core.native import RLock


Frame = TypeVar("Frame")


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
        item_id: ItemId,
        reason: str | Enum,
        details: object = None,
        value: SupportsFloat | None = None,
        limit: SupportsFloat | None = None,
        *,
        score: SupportsFloat | None = None,
        rank: SupportsInt | None = None,
    ) -> None:
        """An explicit no. `reason` is a short code ("price_too_high"); text and values go into `details`.

        `value` is the one number that decided (150) and `limit` what it was held against (100): kept for all items, so that
        `xray whatif` can tell what another limit would have done.
        """
        if value is not None or score is not None:
            self._item("rejected", item_id, reason, details, score, rank, None if value is None else (value, limit))
            return
        try:
            try:
                append, sampler, seed, bucket = self._rejected[reason]  # type: ignore[index]  # others than texts have no fast path
            except KeyError:
                self._verdicts().reject(item_id, reason, details, rank)
                return
            try:
                data = item_id.encode()  # type: ignore[union-attr]  # ints and odd strings go the slow way below
                if len(data) > MAX_ITEM_ID_CHARS:
                    raise ValueError
            except (AttributeError, ValueError):
                item_id = item_id_text(item_id)
                data = item_id.encode()
            append(xxh3(data))
            if xxh3(data, seed) < sampler.limit:
                self._verdicts().offer(bucket, xxh3(data, seed), item_id, details, None, rank)
        except Exception as error:  # noqa: BLE001
            self._unnamed("rejected", reason, error)

    def reject_many(
        self,
        item_ids: Any,
        reason: str,
        details: Any = None,
        *,
        score: Any = None,
        value: Any = None,
        limit: Any = None,
    ) -> None:
        """Reject each of `item_ids` for one reason.

        Args:
            item_ids: a list, set, iterator, or a numpy, pandas, polars or pyarrow column. A frame, a mask or one text is
                refused: nothing is recorded, and the log says what to pass.
            reason: a short code ("price_too_high").
            details: a mapping, the same for all; or a frame or list with one row for each id, read for sampled ones alone.
            score: a column or list with one for each id.
            value: as `score`: the number that decided, and `limit` what it was held against; see `reject`.
        """
        self._many("reject_many", "rejected", reason, item_ids, details, score, (value, limit))

    def accept(
        self,
        item_id: ItemId,
        reason: str | Enum | None = None,
        details: object = None,
        score: SupportsFloat | None = None,
        *,
        rank: SupportsInt | None = None,
        value: SupportsFloat | None = None,
        limit: SupportsFloat | None = None,
    ) -> None:
        """An explicit yes. `value` and `limit` as for `reject`."""
        self._item("accepted", item_id, reason, details, score, rank, None if value is None else (value, limit))

    def accept_many(
        self, item_ids: Any, reason: str | None = None, details: Any = None, *, score: Any = None, value: Any = None,
        limit: Any = None,
    ) -> None:  # fmt: skip
        """Accept each of `item_ids`; see `reject_many`."""
        self._many("accept_many", "accepted", reason, item_ids, details, score, (value, limit))

    def judge(
        self,
        item_ids: Any,
        reasons: Any,
        *,
        details: Any = None,
        score: Any = None,
        value: Any = None,
        limit: Any = None,
    ) -> None:
        """Accept or reject each of `item_ids`: for each a reason, or none (None, NaN or "") where it is accepted.

        Made for `numpy.select(..., default=None)` and `polars.when(...)`. Leaves what a loop of `reject` and `accept` would.

        Args:
            item_ids, details, score, value: as for `reject_many`.
            reasons: a column or list, one for each id; anything else is refused as in `reject_many`.
            limit: what the values were held against; or reason -> limit where reasons have limits of their own.
        """
        try:
            many.judged(self._verdicts(), item_ids, reasons, details, score, (value, limit))
        except Exception as error:  # noqa: BLE001
            self._refused("judge", error, item_ids)

    def filter(
        self,
        frame: Frame,
        reject: Mapping[str, Any],
        *,
        key: str | Sequence[str] | None = None,
        details: Sequence[str] = (),
        score: Any = None,
        value: Any = None,
        limit: Any = None,
    ) -> Frame:
        """Reject the rows of a pandas, polars or pyarrow frame by masks, accept the others, and return these.

        The rows and the type are those of the plain boolean filter, whatever becomes of the capture.

        Args:
            frame: a DataFrame, Table or RecordBatch; something lazy is refused.
            reject: reason -> mask (booleans, one a row; polars expressions too). The first true one is the row's reason.
                Null counts as false, and the step says how often (`dropped: mask_nulls`).
            key: the column that holds the item ids; several make a composite; None: the index.
            details: columns kept for sampled rows.
            score: the column that holds scores, or the scores themselves, one a row.
            value, limit: as for `judge`; `value` may be the name of a column.

        Raises:
            TypeError: not a frame, or a mask that is not of booleans.
            ValueError: a mask of another length or, in pandas, with another index. Nothing is recorded then.
        """
        result = frames.filtered(frame, reject)
        try:
            many.told_of_filter(self._verdicts(), frame, result, list(reject), key, details, score, (value, limit))
        except Exception as error:  # noqa: BLE001
            self._refused("filter", error, result.codes)
        kept: Frame = result.kept
        return kept

    def errored(self, item_id: ItemId, reason: str | Enum | None = None, details: object = None) -> None:
        """The item could not be processed: neither a yes nor a no."""
        self._item("errored", item_id, reason, details)

    @guarded("step.decide")
    def decide(
        self,
        decision: str,
        selected: Any = None,
        reason: str | Enum | None = None,
        score: SupportsFloat | str | None = None,
        alternatives: Any = None,
        details: object = None,
    ) -> None:
        """A choice among items: `selected` is taken, the `alternatives` are not (an implicit no, below the cut).

        Args:
            decision: what was decided, as in "select_best".
            selected: an item id, or several as a list, column or frame, or a mapping as among the alternatives; None when
                nothing was good enough.
            reason: a short code for why.
            score: of the selected item; or the name of the field or column that holds each one's score.
            alternatives: the others, best first: a list or column of item ids, (id, score) pairs, or mappings with `item_id`
                (or `id`) and optionally `score`, `reason` and further details; or a frame with a column `item_id` or `id`
                (else a named index), in which the selected may stand too.
            details: anything more about the decision.
        """
        try:
            chosen = decisions.chosen(selected, score)
            others = decisions.alternatives_of(alternatives, score)
            if chosen and columns.kind_of(alternatives) == "frame":
                others = decisions.without(others, chosen)
        except NotIdsError as error:
            self._refused("decide", error)
            return
        for rank, item in enumerate(chosen, 1):
            item_reason = item.reason if item.reason is not None else reason
            self._item("selected", item.item_id, item_reason, details, item.score, rank)
        for rank, item in enumerate(others, len(chosen) + 1):
            self._item("not_selected", item.item_id, item.reason, item.details, item.score, rank)
        recorder = self._recorder
        self._values.add_decision(
            lambda: decisions.as_record(
                recorder.sanitizer, decision, chosen, others, reason=reason, score=score, details=details,
                at_us=recorder.now_us(),
            )
        )  # fmt: skip

    def set_input_items(
        self,
        items: Iterable[Any],
        key: str | Sequence[str] | Callable[[Any], Any] | None = None,
        *,
        fields: str | Sequence[str] | None = None,
    ) -> None:
        """Which items went in: makes "never entered" and "dropped without a reason" certain.

        Args:
            items: a list, tuple, set, dict (its keys), or a numpy, pandas or polars column. An iterator is refused, since
                reading it would take it from you.
            key: how to find the id of each: a dict key or attribute name, or a function; None when the items are ids.
                A DataFrame takes the name of a column.
            fields: names of fields to be kept, as they are now, of sampled items and of all of a small step ("*": all fields),
                so that `why` shows what changed. The default is what the setting `item_fields` says.
        """
        self._set_items(ITEMS_IN, items, key, fields)

    def set_output_items(
        self,
        items: Iterable[Any],
        key: str | Sequence[str] | Callable[[Any], Any] | None = None,
        *,
        fields: str | Sequence[str] | None = None,
    ) -> None:
        """Which items came out, in order; see `set_input_items`."""
        self._set_items(ITEMS_OUT, items, key, fields)

    @guarded("step.set_dimensions")
    def set_dimensions(self, names: Sequence[str]) -> None:
        """Fields of details whose values are counted for every item, by outcome; before the first item.

        Up to 8 fields of up to 100 values each; the items of further values count as "(other)", those without the field as
        "(none)". `XRAY_DIMENSIONS` says the same without code.
        """
        wanted = dimensions.names_in(names)
        if len(wanted) > dimensions.MAX_DIMENSIONS:
            self._count_dropped("dimensions", len(wanted) - dimensions.MAX_DIMENSIONS)
        self._verdicts().set_dimensions(wanted)

    @property
    def _values(self) -> CapturedValues:
        """The values of the step as a whole, made when the first is set: most steps set few or none."""
        if self._at_rest:
            self._resume(ended_too=True)
        if self._values_made is None:
            with self._lock:
                if self._values_made is None:
                    sanitizer, full = self._recorder.sanitizer, self.capture == "full"
                    self._values_made = CapturedValues(sanitizer, full=full, run_id=self.run.run_id)
        return self._values_made

    def _verdicts(self) -> VerdictLog:
        """The log of this step's items, made with the first of them: most steps of a scripted run have none."""
        if self._at_rest:
            self._resume()
        return self._made_log()

    def _made_log(self) -> VerdictLog:
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
                    counted = self._recorder.dimensions.of(self.run.pipeline, self._head.name)
                    if counted is not None:
                        self._log.set_dimensions(counted)
        return self._log

    def _item(
        self,
        outcome: Outcome,
        item_id: Any,
        reason: Any,
        details: object = None,
        score: Any = None,
        rank: Any = None,
        declared: tuple[Any, Any] | None = None,
    ) -> None:
        try:
            log = self._verdicts()
            bucket = log.buckets.get((outcome, reason))
            if bucket is None:
                bucket = log.bucket(outcome, reason)
            log.add(bucket, item_id, details, score, rank, declared)
        except Exception as error:  # noqa: BLE001
            self._unnamed(outcome, reason, error)

    def _unnamed(self, outcome: str, reason: Any, error: Exception) -> None:
        """An item without an id that can be read still counts; the step says so. One without any is no mistake of ours."""
        reraise_interrupt(error)
        if isinstance(error, EndedError):
            self._recorder.lost("after_the_end")
            return
        try:
            log = self._verdicts()
            log.add_unnamed(log.bucket(outcome, reason))
            if isinstance(error, NullIdError):
                log.dropped(null_ids=1)
            else:
                log.dropped(verdicts_without_id=1)
                swallow(f"step.{outcome} ({type(error).__name__}); the item is counted, without a verdict", error)
        except Exception as problem:  # noqa: BLE001
            swallow(f"step.{outcome}", problem)

    def _many(
        self,
        call: str,
        outcome: Outcome,
        reason: str | None,
        items: Any,
        details: Any,
        score: Any,
        declared: tuple[Any, Any],
    ) -> None:
        try:
            many.one_verdict(self._verdicts(), (outcome, reason), items, details, score, declared)
        except Exception as error:  # noqa: BLE001
            self._refused(call, error, items)

    def _refused(self, call: str, error: Exception, items: Any = None) -> None:
        """What was given to `call` is not recorded; the step says so, and the log what to pass."""
        reraise_interrupt(error)
        if isinstance(error, EndedError):
            n = known_size(items)
            self._recorder.lost("after_the_end", n if n is not None else len(items) if type(items) is bytes else 1)
            return
        self._count_dropped(call)
        swallow(f"step.{call}", error)

    def _resume(self, *, ended_too: bool = False) -> None:
        """`Step` says how a step that is at rest is captured again."""
        raise NotImplementedError

    def _set_items(self, side: str, items: Any, key: Any, fields: Any) -> None:
        try:
            ids = read_items(items, key)
            hashes = hash_all(ids.texts)
            log = self._verdicts()
            (written,) = log.write_items([(side, ids, hashes)])
            self._values.set_items(side, {**written, **given_about(items, key, ids, hashes)})
            item_fields.write_given(log, self._recorder, side, items, ids, fields, self._item_fields)
        except Exception as error:  # noqa: BLE001
            self._values.count_dropped(f"items_{side}")
            swallow(f"step.set_{'input' if side == ITEMS_IN else 'output'}_items", error)

    @property
    def _item_fields(self) -> Key | None:
        """The fields that are kept of items where the caller names none."""
        return item_fields.asked_for(self._recorder, self.run.pipeline, self._head.name or None, self.capture)

    def _count_dropped(self, what: str, n: int = 1) -> None:
        self._values.count_dropped(what, n)
