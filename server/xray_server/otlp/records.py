"""One span as records: a trace is a run, a span is a step, the root span says how the run began and ended.

Everything here depends on one span alone, so that a span may come at any time and any number of times. What the earliest
span of a trace says of its run wins by its revision, which is larger the earlier it began. Knows no store and no HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, cast

import xxhash

from xray_core.model import ITEMS_UNKNOWN, RESULT_METADATA
from xray_core.objects.fingerprint import fingerprint
from xray_server.otlp.documents import read_json
from xray_server.otlp.evidence import Evidence, dialect_kind
from xray_server.otlp.spans import Span
from xray_server.otlp.verdicts import NOT_IN_OUTPUT, item_set, samples_of, scored, sets_of, sum_of
from xray_server.records.schema import (
    MAX_DURATION_US,
    MAX_INT,
    Fingerprint,
    Items,
    Record,
    RunRecord,
    SamplesRecord,
    StepRecord,
    VerdictsRecord,
    encode_json,
    sample_text,
)

ATTEMPT: Final = 1
OWN: Final = "span"  # the part of a step that its span says
_MAX_NAME_CHARS: Final = 512
_MAX_VALUE_CHARS: Final = 16_384
_MAX_ATTRIBUTES: Final = 64
_MAX_ATTRIBUTE_CHARS: Final = 1_000
_MAX_TRACEBACK_CHARS: Final = 16_384
_TAGS: Final = {"session.id": "session.id", "user.id": "user.id", "gen_ai.conversation.id": "session.id"}
# the parameters of a step: a change of these explains a changed answer, a change of anything else may be its result
_PARAMETERS: Final = (
    "llm.model_name", "llm.invocation_parameters", "llm.provider", "llm.system", "embedding.model_name", "reranker.",
    "gen_ai.request.", "gen_ai.system", "gen_ai.provider.name", "gen_ai.data_source.id", "tool.name", "db.system",
    "prompt.id", "prompt.version", "llm.prompt_template.version", "service.version",
)  # fmt: skip
_CONTENT: Final = (
    "retrieval.documents.", "reranker.input_documents.", "reranker.output_documents.", "llm.input_messages.",
    "llm.output_messages.", "input.", "output.", "embedding.embeddings.", "gen_ai.retrieval.documents", "gen_ai.task.input",
    "gen_ai.task.output", "gen_ai.input.messages", "gen_ai.output.messages", "traceloop.entity.input",
    "traceloop.entity.output", "gen_ai.prompt.", "gen_ai.completion.",
)  # fmt: skip
_STEP_TYPES: Final = {"vector_db_retrieve": "retrieve", "retrieval": "retrieve", "retriever": "retrieve", "reranker": "rank",
                      "chat": "llm", "text_completion": "llm", "generate_content": "llm", "embeddings": "embedding",
                      "execute_tool": "tool", "invoke_agent": "agent", "execute_task": "task",
                      "invoke_workflow": "workflow"}  # fmt: skip


def records_of(span: Span, evidence: Evidence | None, trace_url: str | None) -> list[Record]:
    """What the span says, as records.

    Args:
        evidence: what it tells about items.
        trace_url: the address of a trace in the user's own tool, with `{trace_id}` and `{span_id}` in it.
    """
    records = _run_records(span, trace_url)
    if span.parent_id is not None or evidence is not None:  # a root that only holds the others together is the run
        records += _step_records(span, evidence, trace_url)
    return records


def pipeline_of(span: Span) -> str | None:
    """The name of the application, if it has one."""
    for name in ("service.name", "openinference.project.name"):
        value = span.resource.get(name)
        if isinstance(value, str) and value and not value.startswith("unknown_service"):
            return value[:_MAX_NAME_CHARS]
    return None


def _run_records(span: Span, trace_url: str | None) -> list[Record]:
    pipeline = pipeline_of(span)
    origin = {
        "framework": "opentelemetry", "kind": "trace", "ids": {"trace_id": span.trace_id},
        "url": _address(trace_url, span), "state": None,
    }  # fmt: skip
    records: list[Record] = [
        RunRecord(
            v=1, run_id=span.trace_id, part="earliest", rev=MAX_INT - span.start_us, pipeline=pipeline,
            started_us=span.start_us, origin=origin,  # type: ignore[arg-type]  # a dict of that shape
        )
    ]  # fmt: skip
    tags = {tag: span.attributes[name] for name, tag in _TAGS.items() if isinstance(span.attributes.get(name), str)}
    tags = {tag: value[:256] for tag, value in tags.items()}
    if tags:
        part = "tags:" + ",".join(f"{tag}={value}" for tag, value in sorted(tags.items()))[:200]
        records.append(RunRecord(v=1, run_id=span.trace_id, part=part, tags=tags))
    if span.parent_id is None:
        came_in, came_out = _values(span)
        records.append(
            RunRecord(
                v=1, run_id=span.trace_id, part=f"root:{span.span_id}", rev=span.end_us or 0,
                pipeline=pipeline or span.name[:_MAX_NAME_CHARS] or None, status=_status(span),
                started_us=span.start_us, ended_us=span.end_us, duration_us=_duration_us(span),
                input=came_in, output=came_out, input_fp=_print(came_in), output_fp=_print(came_out),
                error=error_of(span), metadata=_metadata(span, None) or None, code_version=_version(span),
            )
        )  # fmt: skip
    elif span.remote_parent:  # a service's own entry: its end is known, whether the whole failed is for the root to say
        records.append(
            RunRecord(v=1, run_id=span.trace_id, part=f"entry:{span.span_id}", rev=span.end_us or 0, pipeline=pipeline,
                      status="completed" if span.end_us else "running", started_us=span.start_us, ended_us=span.end_us)
        )  # fmt: skip
    return records


def _step_records(span: Span, evidence: Evidence | None, trace_url: str | None) -> list[Record]:
    came_in, came_out = _values(span)
    record = StepRecord(
        v=1, run_id=span.trace_id, step_id=span.span_id, attempt=ATTEMPT, part=OWN, rev=span.end_us or 0,
        pipeline=pipeline_of(span), name=span.name[:_MAX_NAME_CHARS] or None, step_type=step_type(span, evidence),
        parent_id=span.parent_id, status=_status(span), started_us=span.start_us, ended_us=span.end_us,
        duration_us=_duration_us(span), capture="full", code_version=_version(span), input=came_in, output=came_out,
        input_fp=_print(came_in), output_fp=_print(came_out), error=error_of(span),
        metadata=_metadata(span, evidence) or None,
        origin={"framework": "opentelemetry", "kind": "span", "ids": {"trace_id": span.trace_id, "span_id": span.span_id},
                "url": _address(trace_url, span), "state": None},
    )  # fmt: skip
    if evidence is None:
        return [record]
    return [record, *_item_records(span, evidence, record)]


def _item_records(span: Span, evidence: Evidence, record: StepRecord) -> list[Record]:
    """The span's items: in its step record, and in records of their own."""
    left_out = evidence.dropped
    scores = scored(evidence.came_out, evidence.came_in or (), left_out)
    at_us = span.end_us or span.start_us
    if not evidence.complete:
        record.dropped = {"items_out": max(1, span.dropped)}
    record.inference = (
        {"verdicts": True} if evidence.came_out or evidence.complete else {"note": evidence.unknown_because}
    )
    if evidence.complete or evidence.came_out:
        record.items = Items(out=item_set(evidence.came_out))
    samples = samples_of(evidence.came_out, "accepted", scores.kept, at_us)
    if evidence.came_in is not None and evidence.complete:
        kept = list(dict.fromkeys(each.id for each in evidence.came_out))
        record.items = Items(in_=item_set(evidence.came_in), out=item_set(evidence.came_out))
        record.counts = {"selected": len(kept), "not_selected": len(left_out)}
        if left_out:
            record.reasons = {"not_selected": {NOT_IN_OUTPUT: len(left_out)}}
            record.sums = {"not_selected": {NOT_IN_OUTPUT: sum_of([each.id for each in left_out])}}
        if scores.cut is not None:
            record.scores = {"selected": {"min": scores.cut}}
        samples = [
            *samples_of(evidence.came_out, "selected", scores.kept, at_us),
            *samples_of(left_out, "not_selected", scores.left_out, at_us),
        ]
    sets = sets_of(evidence)
    text = sample_text(samples)
    chunk = xxhash.xxh3_128_hexdigest(encode_json(sets) + bytes(text))  # a span that was changed has chunks of its own
    found: list[Record] = []
    if sets:
        found.append(VerdictsRecord(1, span.trace_id, span.span_id, sets, ATTEMPT, OWN, chunk))
    if samples:
        found.append(SamplesRecord(1, span.trace_id, span.span_id, text, ATTEMPT, OWN, chunk))
    return found


def step_type(span: Span, evidence: Evidence | None) -> str | None:
    """What kind of step a span is: what its items say, else the dialect's own word, else OpenTelemetry's."""
    if evidence is not None:
        return evidence.kind
    word = dialect_kind(span).lower() or ("" if span.kind == "internal" else span.kind)
    return _STEP_TYPES.get(word, word)[:_MAX_NAME_CHARS] or None


def _status(span: Span) -> Literal["running", "completed", "failed"]:
    return "failed" if span.failed else "completed" if span.end_us is not None else "running"


def _duration_us(span: Span) -> int | None:
    return None if span.end_us is None else min(span.end_us - span.start_us, MAX_DURATION_US)


def error_of(span: Span) -> dict[str, Any] | None:
    """What a span failed with, as records say it."""
    if not span.failed:
        return None
    raised = next((event.attributes for event in reversed(span.events) if event.name == "exception"), {})
    return {
        "type": _text(raised.get("exception.type"), 256),
        "message": _text(raised.get("exception.message") or span.status_text, _MAX_ATTRIBUTE_CHARS),
        "traceback": _text(raised.get("exception.stacktrace"), _MAX_TRACEBACK_CHARS),
    }


def _text(value: Any, max_chars: int) -> str | None:
    return value[:max_chars] if isinstance(value, str) and value else None


def _version(span: Span) -> str | None:
    version = span.resource.get("service.version")
    return _text(version, 256)


def _address(template: str | None, span: Span) -> str | None:
    if template is None:
        return None
    return template.replace("{trace_id}", span.trace_id).replace("{span_id}", span.span_id)


def _values(span: Span) -> tuple[Any, Any]:
    """The span's input and output, where it tells them; long ones are cut."""
    attributes = span.attributes
    names = (
        ("input.value", "gen_ai.task.input", "traceloop.entity.input", "gen_ai.input.messages",
         "gen_ai.retrieval.query.text"),
        ("output.value", "gen_ai.task.output", "traceloop.entity.output", "gen_ai.output.messages"),
    )  # fmt: skip
    came_in, came_out = (
        next((_value(attributes[name]) for name in side if attributes.get(name) is not None), None) for side in names
    )
    return came_in, came_out


def _value(value: Any) -> Any:
    parsed = read_json(value)
    value = parsed if parsed is not None else value
    text = value if isinstance(value, str) else encode_json(plain(value)).decode()
    if len(text) > _MAX_VALUE_CHARS:
        return {"cut": text[:_MAX_VALUE_CHARS], "chars": len(text)}
    return plain(value)


def plain(value: Any, depth: int = 0) -> Any:
    """A value that every store can hold: numbers within 64 bits, no deeper than is read back."""
    if isinstance(value, Mapping) and depth < 20:
        return {str(name): plain(each, depth + 1) for name, each in value.items()}
    if isinstance(value, list) and depth < 20:
        return [plain(each, depth + 1) for each in value]
    if isinstance(value, (Mapping, list)):
        return "nested deeper"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INT:
        return str(value)
    return value


def _print(value: Any) -> Fingerprint | None:
    return None if value is None else cast(Fingerprint, fingerprint(value))


def _metadata(span: Span, evidence: Evidence | None) -> dict[str, Any]:
    """Parameters under their own names; all else that the span says, but for contents, as a result."""
    metadata: dict[str, Any] = {}
    for name, value in span.attributes.items():
        if len(metadata) >= _MAX_ATTRIBUTES or name.startswith(_CONTENT) or len(name) > 200:
            continue
        value = plain(value)
        if not isinstance(value, (str, int, float, bool)):
            value = encode_json(value).decode()
        if isinstance(value, str):
            value = value[:_MAX_ATTRIBUTE_CHARS]
        metadata[name if name.startswith(_PARAMETERS) else RESULT_METADATA + name] = value
    if evidence is not None:
        metadata |= {
            name: plain(value)
            for name, value in list(evidence.parameters.items())[:_MAX_ATTRIBUTES]
            if len(name) <= 200
        }
        if evidence.unknown_because is not None:
            metadata[ITEMS_UNKNOWN] = evidence.unknown_because
    return metadata
