"""A step while it runs: the hot path. Counts every item, keeps its fingerprint, and details of a sample.

Per item: no lock, no I/O, no hook, no object kept that is not sampled. What makes that safe with threads is that
`array.append`, `list.append` and `del array[:n]` are single operations under the GIL, and that only `_drain` removes.
Knows nothing of how records travel (recorder.py does).
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

import xxhash

from xray_core import canonical, context, wire
from xray_core.items import ids_of
from xray_core.model import (
    ITEMS_IN,
    ITEMS_OUT,
    MAX_ITEM_ID_CHARS,
    Ledger,
    Origin,
    Outcome,
    Status,
    epoch_us,
    item_id_text,
    make_ledger,
    new_id,
)
from xray_core.safety import swallow
from xray_core.sampling import KeepAll, ReasonSampler, StepSampler
from xray_core.structure import known_size

if TYPE_CHECKING:
    from xray_core.recorder import Recorder
    from xray_core.run import Run

# Below this many items a step's verdicts carry the ids themselves: exact answers, and names to show in lists.
NAMED_ITEMS: Final = 1_000
MAX_REASONS: Final = 1_000
MAX_REASON_CHARS: Final = 200
MAX_DECISIONS: Final = 100
MAX_METADATA: Final = 100
MAX_NAMED_OUTPUTS: Final = 100
OTHER_REASONS: Final = "(other reasons)"
_FULL_CHUNK: Final = 500  # details per record at capture level full
_MODULUS: Final = 1 << 64

_xxh3 = xxhash.xxh3_64_intdigest


class _Bucket:
    """The items of one (outcome, reason): those not yet written down, and what was."""

    __slots__ = ("hashes", "ids", "outcome", "reason", "sampler", "ticks", "total", "unnamed", "written")

    def __init__(self, outcome: str, reason: str | None, sampler: ReasonSampler) -> None:
        self.outcome = outcome
        self.reason = reason
        self.sampler = sampler
        self.hashes = array("Q")
        self.ids: list[str] = []
        self.ticks = array("B")  # at capture level minimal: one byte an item, until it is written down
        self.unnamed = 0  # items whose id could not be read: counted, without a verdict
        self.written = 0  # verdicts already drained
        self.total = 0  # sum of the drained hashes

    def n(self) -> int:
        return self.written + len(self.hashes) + len(self.ids) + len(self.ticks) + self.unnamed


class Step:
    """One stage of a run, or one try of it. Made by `run.step(...)`; use it as a context manager.

    Every method may be called from any thread, never raises and never blocks on the network.

    Attributes:
        step_id: unique in the run; the attempts of one step share it.
        part: which process (or segment of a deferred task) is speaking.
        status: "running" until the block ends; None where another process owns the step.
    """

    __slots__ = (
        "__weakref__",
        "_buckets",
        "_chunk",
        "_clock_start",
        "_code_version",
        "_counts_given",
        "_decisions",
        "_dirty",
        "_dropped",
        "_duration_us",
        "_ended_us",
        "_error",
        "_hidden",
        "_index",
        "_inputs",
        "_item_sets",
        "_kept_reasons",
        "_lock",
        "_map_index",
        "_metadata",
        "_named_left",
        "_named_outputs",
        "_origin",
        "_outputs",
        "_parent_id",
        "_recorder",
        "_rejected",
        "_rev",
        "_sampler",
        "_scores",
        "_seed",
        "_started_us",
        "_tokens",
        "_upstream",
        "_verdicts",
        "attempt",
        "capture",
        "name",
        "part",
        "run",
        "status",
        "step_id",
        "step_type",
    )  # fmt: skip

    def __init__(
        self,
        run: Run,
        recorder: Recorder,
        name: str,
        *,
        step_type: str | None,
        step_id: str | None,
        attempt: int,
        part: str | None,
        parent_id: str | None,
        index: int | None,
        upstream: Sequence[str],
        map_index: int | None,
        capture: str | None,
        code_version: str | None,
        origin: Origin | None,
        metadata: Mapping[str, Any] | None,
        started_at: datetime | None = None,
    ) -> None:
        self.run = run
        self.name = name
        self.step_type = step_type
        self.step_id = step_id if step_id is not None else new_id()
        self.attempt = attempt
        self.part = part if part is not None else recorder.part
        self.capture = capture if capture is not None else run.capture
        self.status: Status | None = "running"
        self._recorder = recorder
        self._parent_id = parent_id
        self._index = index
        self._upstream = upstream
        self._map_index = map_index
        self._code_version = code_version
        self._origin = origin
        self._seed = run.seed
        self._rejected: dict[str, _Bucket] = {}
        self._buckets: dict[tuple[str, str | None], _Bucket] = {}
        self._verdicts = self.capture != "minimal"
        self._named_left = NAMED_ITEMS
        self._sampler = self._new_sampler()
        self._scores: dict[str, list[Any]] = {}
        self._item_sets: dict[str, dict[str, Any]] = {}
        self._counts_given: dict[str, int] = {}
        self._inputs: tuple[Any, Any] | None = None
        self._outputs: tuple[Any, Any] | None = None
        self._named_outputs: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._metadata: dict[str, Any] = {}
        self._decisions: list[dict[str, Any]] = []
        self._dropped: dict[str, int] = {}
        self._error: dict[str, Any] | None = None
        self._lock = threading.RLock()  # re-entrant: a signal handler may capture in the middle of a capture
        self._tokens: Any = None
        self._rev = 0
        self._chunk = 0
        self._dirty = False
        self._hidden = False
        self._ended_us: int | None = None
        self._duration_us: int | None = None
        self._started_us = now_us = recorder.now_us()
        self._clock_start = recorder.clock_ns()
        if started_at is not None:
            self._started_us = epoch_us(started_at)
            self._clock_start -= (now_us - self._started_us) * 1_000
        if metadata:
            for key, value in metadata.items():
                self.set_metadata(key, value)

    # ------------------------------------------------------------------ items: the hot path

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
            bucket = self._rejected.get(reason)
            if bucket is None:
                bucket = self._bucket("rejected", reason)
            if not self._verdicts:
                bucket.ticks.append(0)
                return
            try:
                data = item_id.encode()  # type: ignore[union-attr]  # ints and odd strings take the slow way below
                if len(data) > MAX_ITEM_ID_CHARS:
                    raise ValueError
            except (AttributeError, ValueError):
                item_id = item_id_text(item_id)
                data = item_id.encode()
            if self._named_left > 0:
                self._named_left -= 1
                bucket.ids.append(item_id)  # type: ignore[arg-type]  # a str by now
            else:
                bucket.hashes.append(_xxh3(data))
            drawn = _xxh3(data, self._seed)
            if drawn < bucket.sampler.limit or score is not None:
                self._sample(bucket, drawn, item_id, details, score, rank)
        except Exception as error:  # noqa: BLE001
            self._unnamed("rejected", reason, error)

    def reject_many(self, item_ids: Iterable[str | int], reason: str, details: Mapping[str, Any] | None = None) -> None:
        """Reject each of `item_ids` for one reason, with the same details if any."""
        for item_id in self._listed(item_ids, "reject_many"):
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
        for item_id in self._listed(item_ids, "accept_many"):
            self._item("accepted", item_id, reason, None, None, None)

    def errored(self, item_id: str | int, reason: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        """The item could not be processed: neither a yes nor a no."""
        self._item("errored", item_id, reason, details, None, None)

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
        try:
            chosen = [] if selected is None else [selected] if isinstance(selected, (str, int)) else _as_ids(selected)
            for rank, item_id in enumerate(chosen, 1):
                self._item("selected", item_id, reason, details, score if len(chosen) == 1 else None, rank)
            others = [_alternative(each) for each in self._listed(alternatives or (), "decide")]
            for rank, (item_id, why, value, more) in enumerate(others, len(chosen) + 1):
                self._item("not_selected", item_id, why, more, value, rank)
            if len(self._decisions) >= MAX_DECISIONS:
                self._drop("decisions")
                return
            clean = self._recorder.sanitizer.clean
            shown: list[Any] = [
                {"item_id": item_id_text(i), "score": clean(s)} if s is not None else item_id_text(i)
                for i, _, s, _ in others[:20]
            ]
            if len(others) > len(shown):
                shown.append({"$more": len(others) - len(shown)})
            names = [item_id_text(each) for each in chosen[:20]]
            self._decisions.append(
                {
                    "decision": clean(str(decision)),
                    "selected": names[0] if len(chosen) == 1 else names or None,
                    "reason": reason,
                    "score": clean(score),
                    "alternatives": shown,
                    "details": clean(details),
                    "at_us": self._recorder.now_us(),
                }
            )
            self._dirty = True
        except Exception as error:  # noqa: BLE001
            swallow("step.decide", error)

    # ------------------------------------------------------------------ the step as a whole

    def set_input(self, value: Any) -> None:
        """What went in: any object, stored bounded and redacted, fingerprinted whole, so that runs can be compared."""
        self._set_value("_inputs", value)

    def set_output(self, value: Any) -> None:
        """What came out; see `set_input`."""
        self._set_value("_outputs", value)

    def set_input_count(self, n: int) -> None:
        """How many items went in. Optional: follows from the verdicts where not given."""
        self._set_count("input_count", n)

    def set_output_count(self, n: int) -> None:
        """How many items came out. Optional, as for `set_input_count`."""
        self._set_count("output_count", n)

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

    def observe_input(self, value: Any) -> None:
        """For adapters: what the framework passed in. Its known size counts unless the user set a count; the value
        itself is kept at capture level full only, its type and size otherwise."""
        self._observe("_inputs", "observed_input", value)

    def observe_inputs(self, arguments: Mapping[str, Any]) -> None:
        """For adapters: what a function was called with. One argument of known size gives the input count."""
        try:
            sizes = {name: known_size(value) for name, value in arguments.items()}
            known = [size for size in sizes.values() if size is not None]
            if len(known) == 1:
                self._counts_given["observed_input"] = known[0]
            if self._inputs is None and arguments:
                if self.capture == "full":
                    self._set_value("_inputs", dict(arguments))
                else:
                    about = {name: _about(value, sizes[name]) for name, value in arguments.items()}
                    self._inputs = (self._recorder.sanitizer.clean(about), canonical.fingerprint(dict(arguments)))
            self._dirty = True
        except Exception as error:  # noqa: BLE001
            swallow("step.observe_inputs", error)

    def observe_output(self, value: Any, *, name: str | None = None) -> None:
        """For adapters: what the framework got back; see `observe_input`.

        A step with several outputs gives each by its name, as they come: none is held on to, and none sets the count,
        which would be a guess. At most 100 are kept.
        """
        if name is None:
            self._observe("_outputs", "observed_output", value)
            return
        try:
            if len(self._named_outputs) >= MAX_NAMED_OUTPUTS:
                self._drop("outputs")
                return
            full = self.capture == "full"
            shown = self._recorder.sanitizer.clean(value) if full else _about(value, known_size(value))
            self._named_outputs[name] = (shown, canonical.fingerprint(value))
            self._dirty = True
        except Exception as error:  # noqa: BLE001
            swallow("step.observe", error)

    def observe_output_size(self, n: int) -> None:
        """For adapters: how many items came out, where that is known without the value (a generator's yields)."""
        self._set_count("observed_output", n)

    def set_metadata(self, key: str, value: Any) -> None:
        """A fact about this step: a parameter, a model name. Compared between runs.

        What came of the step rather than went into it belongs under a key that begins with "result.".
        """
        try:
            if key not in self._metadata and len(self._metadata) >= MAX_METADATA:
                self._drop("metadata")
                return
            secret = self._recorder.sanitizer.is_secret(str(key))
            self._metadata[str(key)[:MAX_REASON_CHARS]] = (
                "[redacted]" if secret else self._recorder.sanitizer.clean(value)
            )
            self._dirty = True
        except Exception as error:  # noqa: BLE001
            swallow("step.set_metadata", error)

    def set_origin(self, origin: Origin) -> None:
        """For adapters: the framework object behind this step."""
        self._origin = origin
        self._dirty = True

    @property
    def run_id(self) -> str:
        return self.run.run_id

    @property
    def ledger(self) -> Ledger:
        """Where the items went, as far as this process knows."""
        counts: dict[str, int] = {}
        for bucket in list(self._buckets.values()):
            counts[bucket.outcome] = counts.get(bucket.outcome, 0) + bucket.n()
        return make_ledger(counts, input_count=self._count("input"), output_count=self._count("output"))

    def step(self, name: str, step_type: str | None = None, **options: Any) -> Step:
        """A step inside this one; see `Run.step`."""
        return self.run.step(name, step_type, parent_id=self.step_id, **options)

    # ------------------------------------------------------------------ opening and closing

    def __enter__(self) -> Step:
        self.open()
        self._tokens = context.enter(self.run, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            context.leave(tokens)
        failed = error is not None and not isinstance(error, GeneratorExit)  # closing a generator is not a failure
        self.close("failed" if failed else "completed", error=error if failed else None, trace=trace)
        return False

    async def __aenter__(self) -> Step:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        return self.__exit__(kind, error, trace)

    def open(self) -> Step:
        """Write down that the step has begun. `with` does this; adapters call it, and `close`, themselves."""
        try:
            self._recorder.opened(self)
            if not self._hidden:
                self._recorder.write(self._record(brief=True))
        except Exception as error:  # noqa: BLE001
            swallow("step.open", error)
        return self

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
        try:
            if self._ended_us is not None:
                return
            if ended_at is not None:
                self._duration_us = max(0, epoch_us(ended_at) - self._started_us)
            else:
                self._duration_us = max(0, self._recorder.clock_ns() - self._clock_start) // 1_000
            # the end follows from the monotonic clock, so that a jump of the wall clock cannot turn time around
            self._ended_us = self._started_us + self._duration_us
            self.status = status
            if error is not None:
                self._error = (
                    self._recorder.sanitizer.error(error, trace)
                    if isinstance(error, BaseException)
                    else self._recorder.sanitizer.clean(dict(error))
                )
            self._recorder.closed(self)
            self._dirty = True
            self.snapshot()
            self._recorder.hooks.step_finished(self)
        except Exception as problem:  # noqa: BLE001
            swallow("step.close", problem)

    def detach(self) -> None:
        """Write down what there is and let go without an end: another process will continue or close this step."""
        try:
            self._recorder.closed(self)
            self.snapshot()
        except Exception as error:  # noqa: BLE001
            swallow("step.detach", error)

    def attached(self) -> Step:
        """For steps owned by another process: nothing is written until this one has something of its own to say, and
        nothing is claimed about how the step goes."""
        self._hidden = True
        self.status = None
        return self

    # ------------------------------------------------------------------ writing down

    def snapshot(self) -> None:
        """Write what changed since the last time: verdicts first, so that counts never promise what is not there."""
        with self._lock:
            drained = self._drain()
            if not (drained or self._dirty):
                return
            self._dirty = False
            self._hidden = False
            self._write_samples()
            self._recorder.write(self._record())

    def become_part_of_child(self) -> None:
        """After a fork: what the parent has not written yet is the parent's to write."""
        self._lock = threading.RLock()  # the parent's may be held by a thread that does not exist here
        self.part = self._recorder.part
        self._buckets, self._rejected = {}, {}
        self._item_sets, self._counts_given, self._scores, self._decisions = {}, {}, {}, []
        self._inputs = self._outputs = None
        self._named_outputs = {}
        self._named_left, self._chunk = NAMED_ITEMS, 0
        self._dirty, self._hidden = False, True
        self._sampler = self._new_sampler()

    def _new_sampler(self) -> StepSampler:
        settings = self._recorder.settings
        return self._recorder.sampler.step(
            rate=settings.sample_rate if self._verdicts else 0.0,
            per_reason=settings.samples_per_reason if self._verdicts else 0,
            max_samples=settings.max_samples_per_step if self._verdicts else 0,
        )

    def _record(self, *, brief: bool = False) -> dict[str, Any]:
        run = self.run
        self._rev = max(self._rev + 1, self._recorder.now_us())
        record: dict[str, Any] = {
            "v": wire.VERSION, "kind": "step", "run_id": run.run_id, "step_id": self.step_id, "attempt": self.attempt,
            "part": self.part, "rev": self._rev, "pipeline": run.pipeline or None, "name": self.name or None,
            "step_type": self.step_type, "index": self._index, "status": self.status, "started_us": self._started_us,
            "capture": self.capture,
        }  # fmt: skip
        if self._parent_id is not None:
            record["parent_id"] = self._parent_id
        if self._upstream:
            record["upstream"] = list(self._upstream)
        if self._map_index is not None:
            record["map_index"] = self._map_index
        if self._origin is not None:
            record["origin"] = self._recorder.sanitizer.clean(self._origin.as_json())
        if self._code_version is not None:
            record["code_version"] = self._code_version
        if self._metadata:
            record["metadata"] = dict(self._metadata)
        if brief:
            return record
        record["ended_us"] = self._ended_us
        record["duration_us"] = self._duration_us
        if self._buckets:
            self._add_counts(record)
        for side in ("input", "output"):
            n = self._count(side)
            if n is not None:
                record[f"{side}_count"] = n
        outputs = self._outputs if self._outputs is not None else self._several_outputs()
        for side, held in (("input", self._inputs), ("output", outputs)):
            if held is not None:
                record[side], record[f"{side}_fp"] = held
        if self._item_sets:
            record["items"] = self._item_sets
        if self._scores:
            record["scores"] = {o: {"min": ends[:2], "max": ends[2:]} for o, ends in self._scores.items()}
        if self._decisions:
            record["decisions"] = list(self._decisions)
        if self._error is not None:
            record["error"] = self._error
        if self._dropped:
            record["dropped"] = dict(self._dropped)
        return record

    def _several_outputs(self) -> tuple[Any, Any] | None:
        """The named outputs as one value, and the fingerprint of all."""
        if not self._named_outputs:
            return None
        named = dict(self._named_outputs)
        prints = {
            kind: canonical.fingerprint({name: each[kind] for name, (_, each) in named.items()})["exact"]
            for kind in ("exact", "unordered")
        }
        partial = any(each["partial"] for _, each in named.values()) or "outputs" in self._dropped
        return self._recorder.sanitizer.clean({name: shown for name, (shown, _) in named.items()}), {
            **prints,
            "partial": partial,
        }

    def _add_counts(self, record: dict[str, Any]) -> None:
        counts: dict[str, int] = {}
        reasons: dict[str, dict[str, int]] = {}
        sums: dict[str, dict[str, str]] = {}
        for bucket in list(self._buckets.values()):
            n = bucket.n()
            counts[bucket.outcome] = counts.get(bucket.outcome, 0) + n
            name = bucket.reason if bucket.reason is not None else ""
            reasons.setdefault(bucket.outcome, {})[name] = n
            if self._verdicts and n == bucket.written:
                sums.setdefault(bucket.outcome, {})[name] = f"{bucket.total:016x}"
        settings = self._recorder.settings
        record.update(counts=counts, reasons=reasons, sums=sums)
        if self._verdicts:
            rate = 1.0 if self.capture == "full" else settings.sample_rate
            record["sampling"] = {"rate": rate, "per_reason": settings.samples_per_reason, "seed": f"{self._seed:016x}"}

    def _drain(self) -> bool:
        """Take what the buckets hold and append it as verdict chunks; whether there was anything."""
        named: list[dict[str, Any]] = []
        raw: list[tuple[str, str | None, array[int]]] = []
        ticked = False
        for bucket in list(self._buckets.values()):
            n = len(bucket.ticks)
            if n:
                del bucket.ticks[:n]
                bucket.written += n
                ticked = True
            n = len(bucket.ids)
            if n:
                ids = bucket.ids[:n]
                del bucket.ids[:n]
                bucket.written += n
                bucket.total = (bucket.total + sum(_xxh3(each.encode()) for each in ids)) % _MODULUS
                named.append({"outcome": bucket.outcome, "reason": bucket.reason, "n": n, "ids": ids})
            n = len(bucket.hashes)
            if n:
                hashes = bucket.hashes[:n]
                del bucket.hashes[:n]
                bucket.written += n
                bucket.total = (bucket.total + sum(hashes)) % _MODULUS
                for at in range(0, n, wire.MAX_VERDICTS_PER_CHUNK):
                    raw.append((bucket.outcome, bucket.reason, hashes[at : at + wire.MAX_VERDICTS_PER_CHUNK]))
        if named:
            self._recorder.write({**self._chunk_header("verdicts"), "sets": named})
        self._write_hashes(raw)
        return bool(named or raw) or ticked

    def _write_hashes(self, sets: list[tuple[str, str | None, array[int]]]) -> None:
        group: list[tuple[str, str | None, array[int]]] = []
        size = 0
        for each in sets:
            if group and size + len(each[2]) > wire.MAX_VERDICTS_PER_CHUNK:
                self._recorder.write_hashes(self._chunk_header("verdicts"), group)
                group, size = [], 0
            group.append(each)
            size += len(each[2])
        if group:
            self._recorder.write_hashes(self._chunk_header("verdicts"), group)

    def _chunk_header(self, kind: str) -> dict[str, Any]:
        self._chunk += 1
        return {
            "v": wire.VERSION, "kind": kind, "run_id": self.run.run_id, "step_id": self.step_id,
            "attempt": self.attempt, "part": self.part, "chunk": str(self._chunk), "pipeline": self.run.pipeline or None,
        }  # fmt: skip

    def _write_samples(self) -> None:
        samples = [
            {
                "item_id": item_id, "outcome": bucket.outcome, "reason": bucket.reason, "details": details,
                "score": score, "rank": rank, "weight": round(weight, 6), "at_us": at_us,
            }
            for bucket in list(self._buckets.values())
            for (item_id, details, score, rank, at_us), weight in bucket.sampler.kept()
        ]  # fmt: skip
        if not samples:
            return
        header = self._chunk_header("samples")
        if self.capture == "full":
            for at in range(0, len(samples), _FULL_CHUNK):
                self._recorder.write(
                    {**self._chunk_header("samples"), "rev": 1, "samples": samples[at : at + _FULL_CHUNK]}
                )
            return
        self._recorder.write({**header, "chunk": "live", "rev": self._recorder.now_us(), "samples": samples})

    # ------------------------------------------------------------------ the slow ways

    def _item(
        self,
        outcome: Outcome,
        item_id: Any,
        reason: str | None,
        details: Mapping[str, Any] | None,
        score: float | None,
        rank: int | None,
    ) -> None:
        try:
            bucket = self._buckets.get((outcome, reason))
            if bucket is None:
                bucket = self._bucket(outcome, reason)
            if not self._verdicts:
                bucket.ticks.append(0)
                return
            if type(item_id) is not str or len(item_id) > MAX_ITEM_ID_CHARS or not item_id.isascii():
                item_id = item_id_text(item_id)
            data = item_id.encode()
            if self._named_left > 0:
                self._named_left -= 1
                bucket.ids.append(item_id)
            else:
                bucket.hashes.append(_xxh3(data))
            drawn = _xxh3(data, self._seed)
            if drawn < bucket.sampler.limit or score is not None:
                self._sample(bucket, drawn, item_id, details, score, rank)
        except Exception as error:  # noqa: BLE001
            self._unnamed(outcome, reason, error)

    def _bucket(self, outcome: str, reason: str | None) -> _Bucket:
        """The bucket of a reason met for the first time (or an odd spelling of one)."""
        with self._lock:
            if reason is not None:
                if type(reason) is not str:
                    reason = _reason_text(reason)
                reason = self._recorder.sanitizer.text(reason, MAX_REASON_CHARS)
                if (outcome, reason) not in self._buckets and len(self._buckets) >= MAX_REASONS:
                    self._drop("reasons")
                    reason = OTHER_REASONS
            bucket = self._buckets.get((outcome, reason))
            if bucket is None:
                sampler = KeepAll() if self.capture == "full" else self._sampler.reason()
                if self._hidden and not self._buckets:
                    self._recorder.has_something_to_say()
                bucket = self._buckets[(outcome, reason)] = _Bucket(outcome, reason, sampler)
            if outcome == "rejected" and reason is not None and len(self._rejected) < 2 * MAX_REASONS:
                self._rejected[reason] = bucket
            return bucket

    def _sample(
        self, bucket: _Bucket, drawn: int, item_id: Any, details: Any, score: float | None, rank: int | None
    ) -> None:
        """An item that the sampler may keep, or whose score may move an end of the outcome's range."""
        with self._lock:
            if type(score) in (int, float) and score == score:
                ends = self._scores.get(bucket.outcome)
                if ends is None:
                    self._scores[bucket.outcome] = [score, item_id, score, item_id]
                elif score < ends[0]:
                    ends[0], ends[1] = score, item_id
                elif score > ends[2]:
                    ends[2], ends[3] = score, item_id
            if drawn >= bucket.sampler.limit:
                return
            recorder = self._recorder
            clean = recorder.sanitizer.clean
            kept = clean(details) if details is not None else None
            bucket.sampler.offer(drawn, (item_id, kept, clean(score), clean(rank), recorder.now_us()))
            self._dirty = True
            if isinstance(bucket.sampler, KeepAll) and len(bucket.sampler.pending) >= _FULL_CHUNK:
                self._write_samples()

    def _unnamed(self, outcome: str, reason: Any, error: Exception) -> None:
        """An item whose id cannot be read: it still counts, and the step says that one verdict is missing."""
        try:
            with self._lock:
                self._bucket(outcome, reason).unnamed += 1
                self._drop("verdicts_without_id")
            swallow(f"step.{outcome} with an item id of type {type(error).__name__}", error)
        except Exception as problem:  # noqa: BLE001
            swallow(f"step.{outcome}", problem)

    def _set_value(self, slot: str, value: Any) -> None:
        try:
            setattr(self, slot, (self._recorder.sanitizer.clean(value), canonical.fingerprint(value)))
            self._dirty = True
        except Exception as error:  # noqa: BLE001
            swallow("step.set_input / set_output", error)

    def _set_count(self, name: str, n: int) -> None:
        try:
            self._counts_given[name] = max(0, int(n))
            self._dirty = True
        except Exception as error:  # noqa: BLE001
            self._drop(name)
            swallow(f"step.set_{name}", error)

    def _set_items(self, side: str, items: Any, key: Any) -> None:
        try:
            ids = ids_of(items, key)
            with self._lock:
                hashes = array("Q", [_xxh3(each.encode()) for each in ids])
                order = xxhash.xxh3_64_hexdigest(hashes.tobytes())
                self._item_sets[side] = {"n": len(ids), "sum": f"{sum(hashes) % _MODULUS:016x}", "order": order}
                self._dirty = True
                if not self._verdicts:
                    return
                if len(ids) <= NAMED_ITEMS:
                    sets = [{"outcome": side, "reason": None, "n": len(ids), "ids": ids}]
                    self._recorder.write({**self._chunk_header("verdicts"), "sets": sets})
                else:
                    step = wire.MAX_VERDICTS_PER_CHUNK
                    self._write_hashes([(side, None, hashes[at : at + step]) for at in range(0, len(hashes), step)])
        except Exception as error:  # noqa: BLE001
            self._drop(f"items_{side}")
            swallow(f"step.set_{'input' if side == ITEMS_IN else 'output'}_items", error)

    def _observe(self, slot: str, name: str, value: Any) -> None:
        try:
            size = known_size(value)
            if size is not None:
                self._counts_given[name] = size
            if getattr(self, slot) is None:
                if self.capture == "full":
                    self._set_value(slot, value)
                else:
                    setattr(self, slot, (_about(value, size), canonical.fingerprint(value)))
            self._dirty = True
        except Exception as error:  # noqa: BLE001
            swallow("step.observe", error)

    def _count(self, side: str) -> int | None:
        """Items in or out, where known: what the user set, then the item set, then what the framework passed."""
        given = self._counts_given.get(f"{side}_count")
        if given is not None:
            return given
        items = self._item_sets.get(ITEMS_IN if side == "input" else ITEMS_OUT)
        return items["n"] if items is not None else self._counts_given.get(f"observed_{side}")

    def _listed(self, items: Iterable[Any], site: str) -> list[Any]:
        try:
            return list(items)
        except Exception as error:  # noqa: BLE001
            swallow(f"step.{site}", error)
            return []

    def _drop(self, what: str) -> None:
        self._dropped[what] = self._dropped.get(what, 0) + 1
        self._dirty = True


def _about(value: Any, size: int | None) -> dict[str, Any]:
    """A value by its type and known size: what is kept of it below capture level full."""
    return {"$type": type(value).__name__, **({"size": size} if size is not None else {})}


def _as_ids(selected: Any) -> list[Any]:
    return ids_of(selected, None) if not isinstance(selected, Mapping) else [_alternative(selected)[0]]


def _alternative(each: Any) -> tuple[Any, str | None, float | None, Any]:
    """(item id, reason, score, details) of one alternative."""
    if isinstance(each, Mapping):
        rest = dict(each)
        item_id = rest.pop("item_id", None)
        item_id = rest.pop("id", None) if item_id is None else item_id
        return item_id, rest.pop("reason", None), rest.pop("score", None), rest or None
    if isinstance(each, (tuple, list)) and len(each) == 2:
        return each[0], None, each[1], None
    return each, None, None, None


def _reason_text(reason: object) -> str:
    """An enum member's value, a number's text; the type's name for anything else."""
    from xray_core.structure import type_name, view

    seen = view(reason, 0)
    return str(seen.value) if seen.kind in ("atom", "text") else f"<{seen.type_name or type_name(type(reason))}>"
