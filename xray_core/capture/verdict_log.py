"""The items of one step attempt: counted per reason, fingerprinted, sampled, and written down in chunks.

Per item there is no lock and no object kept that is not sampled. What makes that safe with threads is that
`array.append`, `list.append` and `del array[:n]` are single operations under the GIL, and that only `drain` removes.
Knows nothing of runs, contexts or times.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from xray_core.bounds import MAX_LINE_BYTES, whole
from xray_core.capture.bucket import IN_ORDER, NAMED_ITEMS, Bucket, FastPath, orders
from xray_core.capture.columns import Ids, xxh3
from xray_core.capture.declared import Declared, Named, finite
from xray_core.capture.dimensions import Dimensions
from xray_core.capture.sampling import KeepAll
from xray_core.capture.score_sums import ScoreSums
from xray_core.capture.scores import rank_of, score_of
from xray_core.capture.verdict_sets import (
    Drained,
    chunks,
    fields_of,
    grouped,
    hashed,
    in_records,
    named_with_values,
    take_declared,
    value_sums,
)
from xray_core.model import MAX_ITEM_ID_CHARS, OTHER_REASONS, item_id_text
from xray_core.objects.structure import type_name, view
from xray_core.safety import guarded, swallow
from xray_core.wire import RawSet

if TYPE_CHECKING:
    from xray_core.capture.recorder import Recorder
    from xray_core.native import RLock

MAX_NAMED_ITEMS: Final = 10_000  # of all reasons of a step together
MAX_REASONS: Final = 1_000
MAX_REASON_CHARS: Final = 200
_FULL_CHUNK: Final = 500  # details per record at capture level full


class VerdictLog:
    """What one part of one step attempt knows of its items.

    Args:
        header: what every chunk begins with: v, run_id, step_id, attempt, part, pipeline.
        seed: of the run; decides which items are sampled.
        capture: "minimal", "sample" or "full".
        on_dropped: called with the name of what could not be kept, as in "reasons", and how much of it.
    """

    __slots__ = (
        "_chunk", "_drained", "_draining", "_header", "_lock", "_on_dropped", "_recorder", "_sampler", "_samples_rev", "_scores",
        "_spellings",
        "buckets", "changed", "dimensions", "fast_paths", "keeps_all", "keeps_verdicts", "names_left", "seed",
    )  # fmt: skip

    def __init__(
        self,
        recorder: Recorder,
        header: Mapping[str, Any],
        *,
        seed: int,
        capture: str,
        rejected: dict[str, FastPath],
        lock: RLock,
        on_dropped: Callable[[str, int], None],
    ) -> None:
        settings = recorder.settings
        self.buckets: dict[tuple[str, str | None], Bucket] = {}
        self.dimensions: Dimensions | None = None
        self._spellings: dict[str, Bucket] = {}  # buckets of rejections under the spelling that `reject` was given
        self.fast_paths = rejected  # those whose items are fingerprinted: what `Step.reject` looks up first
        self.changed = False
        self._recorder = recorder
        self._header = header
        self.seed = seed
        self.keeps_verdicts = verdicts = capture != "minimal"
        self.keeps_all = capture == "full"
        self._lock = lock
        self._on_dropped = on_dropped
        self._chunk = self._samples_rev = 0
        self._draining = False
        self._drained = Drained([], [], [])
        self.names_left = MAX_NAMED_ITEMS
        self._scores: dict[str, ScoreSums] = {}
        self._sampler = recorder.sampler.step(
            rate=settings.sample_rate if verdicts else 0.0,
            per_reason=settings.samples_per_reason if verdicts else 0,
            max_samples=settings.max_samples_per_step if verdicts else 0,
        )

    # ------------------------------------------------------------------ items

    def bucket(self, outcome: str, reason: object) -> Bucket:
        """The bucket of a reason met for the first time, or of an odd spelling of one."""
        with self._lock:
            text = (self._reason(outcome, reason) or None) if reason is not None else None  # "" is none
            found = self.buckets.get((outcome, text))
            if found is None:
                sampler = KeepAll() if self.keeps_all else self._sampler.reason()
                slow = not self.keeps_verdicts or self.names_left > 0
                found = self.buckets[(outcome, text)] = Bucket(outcome, text, sampler, slow=slow)
            return found

    def reject(self, item_id: Any, reason: Any, details: Any, rank: Any) -> None:
        """A rejection whose reason has no fast path yet; makes one once the reason's items are fingerprinted.

        Raises:
            TypeError: as `add` does.
        """
        bucket = self._spellings.get(reason)
        if bucket is None:
            bucket = self.bucket("rejected", reason)
            if type(reason) is str and len(self._spellings) < 2 * MAX_REASONS:
                self._spellings[reason] = bucket
        self.add(bucket, item_id, details, None, rank)
        if not bucket.slow and self.dimensions is None and reason in self._spellings:
            self.fast_paths[reason] = (bucket.hashes.append, bucket.sampler, self.seed, bucket)

    def add(
        self,
        bucket: Bucket,
        item_id: Any,
        details: Any = None,
        score: Any = None,
        rank: Any = None,
        declared: tuple[Any, Any] | None = None,
    ) -> None:
        """One item, whatever its spelling and the capture level; `declared`: its value, and the limit of it.

        Raises:
            TypeError: the id cannot be read; nothing was counted.
        """
        if not self.keeps_verdicts:
            bucket.ticks.append(0)
            if self.dimensions is not None:
                self.dimensions.count(bucket.outcome, (details,))
            return
        if type(item_id) is not str or len(item_id) > MAX_ITEM_ID_CHARS or not item_id.isascii():
            item_id = item_id_text(item_id)
        data = item_id.encode()
        if bucket.caller:
            bucket.note_caller()
        if declared is not None and (number := finite(declared[0])) is not None:
            self._declare(bucket, item_id, data, number, declared[1])
        elif declared is not None and declared[0] is not None:
            self.dropped(values=1)
            self.add(bucket, item_id, details, score, rank)
            return
        elif bucket.slow and self.names_left > 0:
            self.names_left -= 1
            bucket.names_left -= 1
            bucket.ids.append(item_id)
            bucket.slow = bucket.names_left > 0
        else:
            bucket.slow = False
            bucket.hashes.append(xxh3(data))
        if self.dimensions is not None:
            self.dimensions.count(bucket.outcome, (details,))
        drawn = xxh3(data, self.seed)
        if score is not None:
            self._scored_item(bucket, drawn, item_id, details, score, rank)
        elif drawn < bucket.sampler.limit:
            self.offer(bucket, drawn, item_id, details, None, rank)

    def _declare(self, bucket: Bucket, item_id: str, data: bytes, value: float, limit: Any) -> None:
        declared, limit = self.declared(bucket, limit)
        if bucket.slow and self.names_left > 0:
            self.names_left -= 1
            bucket.names_left -= 1
            declared.named.append(Named(item_id, value, limit))
            bucket.slow = bucket.names_left > 0
        else:
            bucket.slow = False
            declared.add(xxh3(data), value, limit)

    def declared(self, bucket: Bucket, limit: Any) -> tuple[Declared, float | None]:
        """Where a bucket's values go, and the limit as it is kept; what cannot be kept is counted."""
        declared = bucket.declared
        if declared is None:
            with self._lock:
                declared = bucket.declared = bucket.declared or Declared()
        if limit is None:
            return declared, None
        number = finite(limit)
        kept = declared.known(number)
        if kept is None:
            self.dropped(limits=1)
        return declared, kept

    def set_dimensions(self, names: Sequence[str]) -> None:
        """Count the items that come from now on by the values of these fields of their details."""
        with self._lock:
            self.dimensions = Dimensions(names, self._recorder.sanitizer.name)
            self.fast_paths.clear()  # they look at no details

    def add_unnamed(self, bucket: Bucket, n: int = 1) -> None:
        """Items whose id cannot be read: they still count, without a verdict. `dropped` says why."""
        with self._lock:
            bucket.unnamed += n
            self.changed = True

    def dropped(self, **what: int) -> None:
        """Say how much of what could not be kept."""
        with self._lock:
            for name, n in what.items():
                if n:
                    self.changed = True
                    self._on_dropped(name, n)

    def details(
        self, details_of: Callable[[Sequence[int]], Sequence[Any]], rows: Sequence[int]
    ) -> Sequence[Any] | None:
        """The details of some rows; None, and said so, where they cannot be read."""
        try:
            return details_of(rows)
        except Exception as error:  # noqa: BLE001  # a verdict without its details is still a verdict
            self.dropped(details=len(rows))
            swallow("step: details of items", error)
            return None

    def _scored_item(self, bucket: Bucket, drawn: int, item_id: Any, details: Any, score: Any, rank: Any) -> None:
        """An item with a score, which counts whether the sampler keeps the item or not."""
        with self._lock:
            if type(score) is not float:
                score = score_of(score)
            if score is None or score - score != 0:  # JSON has no word for an infinity, nor for what is no number
                score = None
                self.dropped(scores=1)
            else:
                scores = self._scores.get(bucket.outcome) or self._scores_of(bucket.outcome)
                scores.add(xxh3(item_id.encode()), score, item_id)
                self.changed = True
        if drawn < bucket.sampler.limit:
            self.offer(bucket, drawn, item_id, details, score, rank)

    @guarded("step: samples")  # the item is counted already: what fails here must not count it once more
    def offer(self, bucket: Bucket, drawn: int, item_id: Any, details: Any, score: Any, rank: Any) -> None:
        """An item that the sampler may keep; its score is a finite number or None, and counted."""
        with self._lock:
            recorder = self._recorder
            kept = None if details is None else recorder.sanitizer.clean(details)
            kept_rank = None
            if rank is not None:
                kept_rank = whole(rank_of(rank))
                if kept_rank is None:
                    self.dropped(ranks=1)
            sampler = bucket.sampler
            sampler.offer(drawn, (item_id, kept, score, kept_rank, recorder.now_ns() // 1_000))
            self.changed = True
            if type(sampler) is KeepAll and len(sampler.pending) >= _FULL_CHUNK:
                self.write_samples()

    def counts(self) -> dict[str, int]:
        """Outcome -> items, exact."""
        counted: dict[str, int] = {}
        for bucket in list(self.buckets.values()):
            counted[bucket.outcome] = counted.get(bucket.outcome, 0) + bucket.n()
        return counted

    def reasons(self, outcome: str) -> dict[str, int]:
        """Reason -> items with this outcome, exact; "" stands for none given."""
        return {bucket.reason or "": bucket.n() for bucket in list(self.buckets.values()) if bucket.outcome == outcome}

    def as_fields(self) -> dict[str, Any]:
        """The fields of a step record that follow from the items: counts, reasons, sums, scores, sampling."""
        counts: dict[str, int] = {}
        reasons: dict[str, dict[str, int]] = {}
        sums: dict[str, dict[str, str]] = {}
        in_order: list[Bucket] = []
        for bucket in list(self.buckets.values()):
            n, outcome = bucket.n(), bucket.outcome
            name = bucket.reason if bucket.reason is not None else ""
            if outcome in counts:
                counts[outcome] += n
                reasons[outcome][name] = n
            else:
                counts[outcome] = n
                reasons[outcome] = {name: n}
            if self.keeps_verdicts and n == bucket.written:
                sums.setdefault(outcome, {})[name] = f"{bucket.total:016x}"
            if n and outcome in IN_ORDER:
                in_order.append(bucket)
        fields: dict[str, Any] = {"counts": counts, "reasons": reasons, "sums": sums}
        if self.keeps_verdicts:
            settings = self._recorder.settings
            rate = 1.0 if self.keeps_all else settings.sample_rate
            fields["sampling"] = {"rate": rate, "per_reason": settings.samples_per_reason, "seed": f"{self.seed:016x}"}
        if self._scores:
            fields["scores"] = {o: {"min": s.ends[:2], "max": s.ends[2:]} for o, s in self._scores.items()}
            fields["score_sums"] = {outcome: scores.column() for outcome, scores in self._scores.items()}
        if values := value_sums(self.buckets.values()):
            fields["value_sums"] = values
        if self.dimensions is not None and (counted := self.dimensions.as_field()):
            fields["dimensions"] = counted
        if in_order and (in_their_order := orders(in_order)):
            fields["orders"] = in_their_order
        return fields

    # ------------------------------------------------------------------ writing down

    def drain(self) -> bool:
        """Take what the buckets hold and append it as verdict chunks; whether there was anything. One at a time: a signal
        handler that flushes in the middle of it finds nothing, or its items would be taken twice.
        """
        if self._draining:
            return False
        self._draining = True
        try:
            return self._drain()
        finally:
            self._draining = False

    def _drain(self) -> bool:
        drained = self._drained  # with what the last call took, if it was interrupted before that was written
        taken, with_values, raw = drained
        ticked = False
        for bucket in list(self.buckets.values()):
            n = len(bucket.ticks)
            if n:
                del bucket.ticks[:n]
                bucket.written += n
                ticked = True
            n = len(bucket.ids)
            if n:
                ids = bucket.ids[:n]
                hashes = hashed(ids)
                taken.append((bucket, ids))
                del bucket.ids[:n]
                bucket.took(hashes)
            n = len(bucket.hashes)
            if n:
                hashes = bucket.hashes[:n]
                raw += chunks(bucket.outcome, bucket.reason, hashes)
                del bucket.hashes[:n]
                bucket.took(hashes)
            if bucket.declared is not None and bucket.declared.n():
                with_values.append((bucket, take_declared(bucket, bucket.declared, raw)))
        any_drained = bool(taken or with_values or raw)
        if taken or with_values:
            self._write_named(taken, with_values, raw)
            drained.taken.clear()
            drained.with_values.clear()
        self._write_hashes(raw)
        drained.raw.clear()
        changed, self.changed = self.changed, False
        return any_drained or ticked or changed

    def _write_named(
        self, taken: list[tuple[Bucket, list[str]]], with_values: list[tuple[Bucket, list[Named]]], raw: list[RawSet]
    ) -> None:
        """Items by name; those whose ids are secrets are added to what is written as hashes."""
        # all at once: to ask costs more than to look through a few
        every_id = [each for _, ids in taken for each in ids] + [
            each.item_id for _, some in with_values for each in some
        ]
        secret = frozenset(self._recorder.without_secret_ids(every_id)[1])
        named: list[dict[str, Any]] = []
        for bucket, ids in taken:
            if secret:
                hidden = [each for each in ids if each in secret]
                ids = [each for each in ids if each not in secret]
                raw += chunks(bucket.outcome, bucket.reason, hashed(hidden))
            if ids:
                named.append({"outcome": bucket.outcome, "reason": bucket.reason, "n": len(ids), "ids": ids})
        for bucket, items in with_values:
            named += named_with_values(bucket, items, secret, raw)
        for sets in in_records(named):
            self._recorder.write({**self._next("verdicts"), "sets": sets})

    @guarded("step: samples")  # a plugin's sampler: the counts are written all the same
    def write_samples(self) -> None:
        """The samples as they are now; at capture level full those that are new, for good."""
        samples = [
            {
                "item_id": item_id, "outcome": bucket.outcome, "reason": bucket.reason, "details": details,
                "score": score, "rank": rank, "weight": round(weight, 6), "at_us": at_us,
            }
            for bucket in list(self.buckets.values())
            for (item_id, details, score, rank, at_us), weight in bucket.sampler.kept()
        ]  # fmt: skip
        if not samples:
            return
        if self.keeps_all:
            self._append_samples(samples)
        else:
            self._samples_rev = max(self._samples_rev + 1, self._recorder.now_us())  # also when the clock goes back
            self._write_samples(samples, chunk="live", rev=self._samples_rev)

    def write_item_fields(self, samples: list[dict[str, Any]]) -> None:
        """What items held as they went in or came out, for good: samples that are no verdicts (see item_fields.py)."""
        with self._lock:
            self._append_samples(samples)

    def _append_samples(self, samples: list[dict[str, Any]]) -> None:
        # a line of the wire holds them all, at twice the size of each: quotes and other alphabets take more bytes
        at_once = max(1, min(_FULL_CHUNK, MAX_LINE_BYTES // (2 * self._recorder.settings.max_value_bytes)))
        for at in range(0, len(samples), at_once):
            self._write_samples(samples[at : at + at_once], rev=1)

    def _write_samples(self, samples: list[dict[str, Any]], **fields: Any) -> None:
        said = [each["item_id"] for each in samples]
        said += [details for each in samples if (details := each["details"]) is not None]
        self._recorder.write({**self._next("samples"), **fields, "samples": samples}, said=said)

    def write_items(
        self, sides: Sequence[tuple[str, Ids, array[int]]], *, hide: re.Pattern[str] | None = None
    ) -> list[dict[str, Any]]:
        """Sets of items that are no verdicts (`model.ITEMS_IN` / `ITEMS_OUT`); the fields of each in the step record.

        Rows without an id count (`n`, `nulls`), and are in no set.

        Args:
            sides: of each set its name, the ids, and their hashes.
            hide: ids that are kept as fingerprints only, like those that look like secrets; it matches within a line.
        """
        if sides and self.keeps_verdicts:
            with self._lock:
                self._write_sides(sides, hide)
        return [fields_of(ids, hashes) for _, ids, hashes in sides]

    def _write_sides(self, sides: Sequence[tuple[str, Ids, array[int]]], hide: re.Pattern[str] | None) -> None:
        raw: list[RawSet] = []
        named: list[tuple[str, list[str]]] = []
        for side, ids, hashes in sides:
            if len(ids.texts) <= NAMED_ITEMS and self._recorder.settings.items != "hashed":
                named.append((side, [each.decode() for each in ids.texts]))
            else:
                raw += chunks(side, None, hashes)
        hidden = frozenset(self._without_secrets([each for _, ids in named for each in ids], hide)[1])
        if hidden:
            raw += [each for side, ids in named for each in chunks(side, None, hashed([x for x in ids if x in hidden]))]
            named = [(side, [each for each in ids if each not in hidden]) for side, ids in named]
        if named:
            sets = [{"outcome": side, "reason": None, "n": len(ids), "ids": ids} for side, ids in named]
            self._recorder.write({**self._next("verdicts"), "sets": sets})
        self._write_hashes(raw)

    def may_name(self, texts: Iterable[bytes], hide: re.Pattern[str]) -> bool:
        """Whether these ids may be written by name: verdicts are kept, and none is to be hidden or looks like a secret."""
        if not self.keeps_verdicts or self._recorder.settings.items == "hashed":
            return False
        return not self._without_secrets([each.decode() for each in texts], hide)[1]

    def nameable(self, ids: list[str], hide: re.Pattern[str] | None) -> list[str]:
        """Of these ids those that may be written by name; see `write_items`."""
        return self._without_secrets(ids, hide)[0]

    def _without_secrets(self, ids: list[str], hide: re.Pattern[str] | None) -> tuple[list[str], list[str]]:
        named, hidden = self._recorder.without_secret_ids(ids)
        if hide is not None and hide.search("\n".join(named)) is not None:  # in one pass: nearly always there is none
            hidden = [*hidden, *(each for each in named if hide.search(each))]
            named = [each for each in named if not hide.search(each)]
        return named, hidden

    def _write_hashes(self, sets: list[RawSet]) -> None:
        for group in grouped(sets):
            self._recorder.write_hashes(self._next("verdicts"), group)

    def _next(self, kind: str) -> dict[str, Any]:
        self._chunk += 1
        return {**self._header, "kind": kind, "chunk": str(self._chunk)}

    def scored(self, outcome: str, hashes: array[int], scores: array[float], ends: list[Any]) -> None:
        """Finite scores of many items, with the least and the greatest of them."""
        with self._lock:
            self._scores_of(outcome).extend(hashes, scores, ends)
            self.changed = True

    def _scores_of(self, outcome: str) -> ScoreSums:
        found = self._scores.get(outcome)
        if found is None:
            found = self._scores[outcome] = ScoreSums()
        return found

    def _reason(self, outcome: str, reason: object) -> str:
        """A reason as short clean text: an enum member's value, a number's digits, a type's name for anything else."""
        if type(reason) is not str:
            seen = view(reason, 0)
            plain = seen.kind in ("atom", "text")
            reason = str(seen.value) if plain else f"<{seen.type_name or type_name(type(reason))}>"
        # of one that is not cut, the masked form is remembered
        sanitizer = self._recorder.sanitizer
        text = sanitizer.name(reason) if len(reason) <= MAX_REASON_CHARS else sanitizer.masked(reason, MAX_REASON_CHARS)
        if (outcome, text) not in self.buckets and len(self.buckets) >= MAX_REASONS:
            self._on_dropped("reasons", 1)
            return OTHER_REASONS
        return text
