"""`POST /runs`: one run with its steps as a JSON document, mapped onto the same records that the SDK sends.

Owns the shape that existing clients post (every field but `run_id` and `pipeline` optional) and what it means: each distinct
piece becomes a part of its own, named by its content, so that posting it again changes nothing and pieces fill in one
another (`states.fold_posted`). Knows neither HTTP nor SQL.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
import xxhash
from msgspec import Meta, Struct

from xray_core.model import derived_id, item_id_text
from xray_server.errors import ShapeError
from xray_server.records.schema import (
    Attempt,
    Count,
    Decision,
    Id,
    JsonObject,
    Record,
    RunRecord,
    Sample,
    SamplesRecord,
    StepRecord,
    VerdictSet,
    VerdictsRecord,
    Word,
    encode_json,
    sample_text,
)
from xray_server.records.states import POSTED
from xray_server.times import parse_iso

MAX_STEPS: Final = 10_000
_MAX_DURATION_MS: Final = 366 * 86_400_000

TimeText = Annotated[str, Meta(max_length=64, description="ISO 8601; a naive time means UTC")]
Milliseconds = Annotated[float, Meta(ge=0, le=_MAX_DURATION_MS)]
ItemName = Annotated[str, Meta(max_length=100_000)] | int
Text = Annotated[str, Meta(max_length=1_000_000)]


class PostedSample(Struct, forbid_unknown_fields=True):
    """A sampled item of a step."""

    item_id: ItemName
    reason: Word | None = None
    details: Any = None
    timestamp: TimeText | None = None
    score: float | None = None


class PostedDecision(Struct, forbid_unknown_fields=True):
    """A decision of a step, with the alternatives that it passed over."""

    decision: Text | None = None
    selected: Any = None
    reason: Text | None = None
    score: Any = None
    alternatives: Any = None
    details: Any = None
    timestamp: TimeText | None = None


class PostedStep(Struct, forbid_unknown_fields=True):
    """A step of a run; without `step_id` its id follows from its place and name."""

    name: Word
    step_type: Word | None = None
    input: Any = None
    output: Any = None
    input_count: Count | None = None
    output_count: Count | None = None
    rejection_rate: Annotated[float, Meta(ge=0, le=1)] | None = None
    rejection_counts: dict[Word, Count] | None = None
    sampled_rejections: list[PostedSample] | None = None
    acceptances: list[PostedSample] | None = None
    decisions: list[PostedDecision] | None = None
    started_at: TimeText | None = None
    ended_at: TimeText | None = None
    duration_ms: Milliseconds | None = None
    error: Text | JsonObject | None = None
    metadata: JsonObject | None = None
    step_id: Id | None = None
    attempt: Attempt | None = None
    parent_id: Id | None = None
    upstream: list[Id] | None = None


class PostedRun(Struct, forbid_unknown_fields=True):
    """A run with its steps, as `POST /runs` takes it."""

    run_id: Id
    pipeline: Word
    input: Any = None
    output: Any = None
    status: Literal["running", "completed", "failed"] | None = None
    error: Text | JsonObject | None = None
    started_at: TimeText | None = None
    ended_at: TimeText | None = None
    duration_ms: Milliseconds | None = None
    metadata: JsonObject | None = None
    tags: JsonObject | None = None
    steps: Annotated[list[PostedStep], Meta(max_length=MAX_STEPS)] | None = None


_decode: Final = msgspec.json.Decoder(PostedRun).decode


def decode_run(body: bytes) -> PostedRun:
    """The document of a request's body.

    Raises:
        ShapeError: naming the field.
    """
    try:
        return _decode(body)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        raise ShapeError(path.rstrip("`").removeprefix("$").lstrip(".") or "body", message) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ShapeError("body", f"not JSON: {error}") from None
    except RecursionError:
        raise ShapeError("body", "nested too deep") from None


def records_of(run: PostedRun) -> list[Record]:
    """The records that say what the document says.

    Raises:
        ShapeError: a time that is none.
    """
    records: list[Record] = [_run_record(run)]
    for position, step in enumerate(run.steps or ()):
        records += _step_records(run, step, position)
    return records


def _run_record(run: PostedRun) -> RunRecord:
    ended_us = _time(run.ended_at, "ended_at")
    status = run.status
    if status is None and run.error is not None:
        status = "failed"
    elif status is None and (ended_us is not None or run.duration_ms is not None):
        status = "completed"
    record = RunRecord(
        v=1,
        run_id=run.run_id,
        pipeline=run.pipeline,
        status=status,
        started_us=_time(run.started_at, "started_at"),
        ended_us=ended_us,
        duration_us=_microseconds(run.duration_ms),
        input=run.input,
        output=run.output,
        error=_error(run.error),
        metadata=run.metadata,
        tags=run.tags,
    )
    record.part = POSTED + _digest(record)
    return record


def _step_records(run: PostedRun, step: PostedStep, position: int) -> list[Record]:
    where = f"steps[{position}]"
    step_id = step.step_id or derived_id("posted", run.run_id, position, step.name)
    attempt = 1 if step.attempt is None else step.attempt
    rejections = _samples(step.sampled_rejections, "rejected", f"{where}.sampled_rejections")
    acceptances = _samples(step.acceptances, "accepted", f"{where}.acceptances")
    decisions, selections, passed_over = _decisions(step.decisions or (), where)
    counts, reasons = _rejections(step, rejections)
    selected = {sample.item_id for sample in selections}
    accepted = {sample.item_id for sample in acceptances} - selected
    counts |= {
        outcome: len(items)
        for outcome, items in (("accepted", accepted), ("selected", selected), ("not_selected", passed_over))
        if items
    }
    record = StepRecord(
        v=1,
        run_id=run.run_id,
        step_id=step_id,
        attempt=attempt,
        pipeline=run.pipeline,
        name=step.name,
        step_type=step.step_type,
        parent_id=step.parent_id,
        index=position,
        upstream=step.upstream,
        status=_step_status(run, step),
        started_us=_time(step.started_at, f"{where}.started_at"),
        ended_us=_time(step.ended_at, f"{where}.ended_at"),
        duration_us=_microseconds(step.duration_ms),
        counts=counts or None,  # type: ignore[arg-type]  # the keys are outcomes
        reasons={"rejected": reasons} if reasons else None,
        input_count=step.input_count,
        output_count=step.output_count,
        input=step.input,
        output=step.output,
        error=_error(step.error),
        decisions=decisions or None,
        metadata=step.metadata,
        rejection_rate=step.rejection_rate,
    )
    record.part = POSTED + _digest(record)
    samples = rejections + acceptances + selections
    passed = [Sample(item_id=item, outcome="not_selected") for item in sorted(passed_over)]
    if not samples and not passed:
        return [record]
    chunk = _digest([samples, passed])
    return [
        record,
        SamplesRecord(1, run.run_id, step_id, sample_text(samples), attempt, POSTED, chunk),
        VerdictsRecord(1, run.run_id, step_id, _verdict_sets(samples + passed), attempt, POSTED, chunk),
    ]


def _rejections(step: PostedStep, samples: Sequence[Sample]) -> tuple[dict[str, int], dict[str, int]]:
    """How many items the step rejected, by outcome and by reason: as counted, else by the rate, else as sampled."""
    if step.rejection_counts is not None:
        reasons = {reason: n for reason, n in step.rejection_counts.items() if n}
        return {"rejected": sum(step.rejection_counts.values())}, reasons
    if step.rejection_rate is not None and step.input_count is not None:
        return {"rejected": round(step.rejection_rate * step.input_count)}, {}
    return ({"rejected": len({sample.item_id for sample in samples})} if samples else {}), _tally(samples)


def _step_status(run: PostedRun, step: PostedStep) -> Literal["running", "completed", "failed"]:
    if step.error is not None:
        return "failed"
    ended = step.ended_at is not None or step.duration_ms is not None or step.output is not None
    return "running" if run.status == "running" and step.started_at is not None and not ended else "completed"


def _samples(
    posted: Sequence[PostedSample] | None, outcome: Literal["accepted", "rejected"], where: str
) -> list[Sample]:
    return [
        Sample(
            item_id=item_id_text(each.item_id),
            outcome=outcome,
            reason=each.reason,
            details=each.details,
            score=each.score,
            at_us=_time(each.timestamp, f"{where}[{i}].timestamp"),
        )
        for i, each in enumerate(posted or ())
    ]


def _decisions(posted: Sequence[PostedDecision], where: str) -> tuple[list[Decision], list[Sample], set[str]]:
    """The decisions as they are kept, the selected items as samples, and the ids of the alternatives passed over."""
    kept: list[Decision] = []
    selections: dict[str, Sample] = {}
    alternatives: set[str] = set()
    for i, each in enumerate(posted):
        at_us = _time(each.timestamp, f"{where}.decisions[{i}].timestamp")
        kept.append({
            "decision": each.decision, "selected": each.selected, "reason": each.reason, "score": each.score,
            "alternatives": each.alternatives, "details": each.details, "at_us": at_us,
        })  # fmt: skip
        score = _score(each.score)
        reason = each.reason if each.reason is None or len(each.reason) <= 512 else each.reason[:511] + "…"
        for item in _item_ids(each.selected):
            selections[item] = Sample(item, "selected", reason, each.details, score, None, None, at_us)
        alternatives.update(_item_ids(each.alternatives))
    return kept, list(selections.values()), alternatives - selections.keys()


def _score(value: Any) -> float | None:
    """A decision's score as that of an item; what is no number, or too large for one, is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _item_ids(value: Any) -> list[str]:
    """The items that a decision names: an id, an object that has one, or a list of these; anything else names none."""
    if isinstance(value, list):
        return [item for each in value if not isinstance(each, list) for item in _item_ids(each)]
    if isinstance(value, dict):
        value = value.get("item_id", value.get("id"))
    return [item_id_text(value)] if isinstance(value, (str, int)) and not isinstance(value, bool) else []


def _verdict_sets(samples: Iterable[Sample]) -> list[VerdictSet]:
    ids: dict[tuple[str, str | None], dict[str, None]] = {}
    for sample in samples:
        ids.setdefault((sample.outcome, sample.reason), {})[sample.item_id] = None
    return [
        VerdictSet(outcome=outcome, reason=reason, n=len(items), ids=list(items))  # type: ignore[arg-type]
        for (outcome, reason), items in ids.items()
    ]


def _tally(samples: Iterable[Sample]) -> dict[str, int]:
    items: dict[str, set[str]] = {}
    for sample in samples:
        if sample.reason:
            items.setdefault(sample.reason, set()).add(sample.item_id)
    return {reason: len(ids) for reason, ids in items.items()}


def _time(text: str | None, field: str) -> int | None:
    try:
        return None if text is None else parse_iso(text)
    except ValueError as error:
        raise ShapeError(field, str(error)) from None


def _microseconds(milliseconds: float | None) -> int | None:
    return None if milliseconds is None else round(milliseconds * 1000)


def _error(error: str | JsonObject | None) -> JsonObject | None:
    return {"type": None, "message": error, "traceback": None} if isinstance(error, str) else error


def _digest(value: Any) -> str:
    digest: str = xxhash.xxh3_128_hexdigest(encode_json(value))
    return digest


def json_schemas() -> dict[str, Any]:
    """The shapes as JSON schemas by name, `PostedRun` among them; they refer to each other as components of OpenAPI do."""
    _, definitions = msgspec.json.schema_components([PostedRun], ref_template="#/components/schemas/{name}")

    def typed(node: Any) -> Any:
        """With the type of an enumeration, which generators of clients ask for."""
        if isinstance(node, dict):
            known = {name: typed(value) for name, value in node.items()}
            return {"type": "string", **known} if "enum" in known else known
        return [typed(value) for value in node] if isinstance(node, list) else node

    result: dict[str, Any] = typed(definitions)
    return result
