"""The spans in which X-Ray itself tells of a run (`xray_otel`): the same run and steps again, with ledgers and reasons.

They say less than X-Ray's own records, so where these are here too, theirs count and the spans do not (`records.states`): an
application whose spans come to the server that has its runs already changes nothing. Which items were meant, spans do not say.
"""

from __future__ import annotations

from typing import Any, Final, get_args

from xray_core.model import Outcome
from xray_server.otlp.documents import read_json
from xray_server.otlp.records import error_of, plain
from xray_server.otlp.spans import Span
from xray_server.records.schema import MAX_COUNT, MAX_DURATION_US, Record, RunRecord, StepRecord
from xray_server.records.states import ECHO

_OUTCOMES: Final = get_args(Outcome)
_MAX_ID_CHARS: Final = 256
_MAX_WORD_CHARS: Final = 512
_STATUSES: Final = frozenset({"running", "completed", "failed", "skipped"})


def is_echo(span: Span) -> bool:
    """Whether X-Ray made the span."""
    return bool(_text(span, "xray.run.id", _MAX_ID_CHARS))


def echo_records(span: Span) -> list[Record]:
    """The run or the step that the span tells of."""
    run_id = _text(span, "xray.run.id", _MAX_ID_CHARS) or ""
    step_id = _text(span, "xray.step.id", _MAX_ID_CHARS)
    pipeline = _text(span, "xray.pipeline", _MAX_WORD_CHARS)
    status: Any = _text(span, "xray.status", 20)
    if status not in _STATUSES:
        status = "failed" if span.failed else "completed"
    duration_us = None if span.end_us is None else min(span.end_us - span.start_us, MAX_DURATION_US)
    origin: Any = {
        "framework": "opentelemetry",
        "kind": "span",
        "ids": {"trace_id": span.trace_id, "span_id": span.span_id},
    }
    if step_id is None:
        return [
            RunRecord(
                v=1, run_id=run_id, part=ECHO, rev=span.end_us or 0, pipeline=pipeline, status=status,
                started_us=span.start_us, ended_us=span.end_us, duration_us=duration_us, error=error_of(span), origin=origin,
            )
        ]  # fmt: skip
    figures = {name: _count(span.attributes.get(f"xray.items.{name}")) for name in ("input", "accepted", *_OUTCOMES)}
    reasons = _reasons(span)
    counts = {name: n for name in _OUTCOMES if name != "accepted" and (n := figures[name])}
    metadata = read_json(span.attributes.get("xray.metadata"))
    return [
        StepRecord(
            v=1, run_id=run_id, step_id=step_id, attempt=min(_count(span.attributes.get("xray.step.attempt")) or 0, 1_000_000),
            part=ECHO, rev=span.end_us or 0, pipeline=pipeline, name=_text(span, "xray.step.name", _MAX_WORD_CHARS),
            step_type=_text(span, "xray.step.type", _MAX_WORD_CHARS),
            parent_id=_text(span, "xray.step.parent_id", _MAX_ID_CHARS), status=status, started_us=span.start_us,
            ended_us=span.end_us, duration_us=duration_us, capture="minimal", counts=counts or None,
            reasons=reasons or None, input_count=figures["input"], output_count=figures["accepted"], error=error_of(span),
            metadata=plain(metadata) if isinstance(metadata, dict) else None, origin=origin,
        )
    ]  # fmt: skip


def _reasons(span: Span) -> Any:
    reasons: dict[str, dict[str, int]] = {}
    for event in span.events:
        outcome, reason = event.attributes.get("xray.outcome"), event.attributes.get("xray.reason")
        n = _count(event.attributes.get("xray.items"))
        if event.name.startswith("xray.") and outcome in _OUTCOMES and isinstance(reason, str) and n:
            reasons.setdefault(str(outcome), {})[reason[:_MAX_WORD_CHARS]] = n
    return reasons


def _text(span: Span, name: str, max_chars: int) -> str | None:
    value = span.attributes.get(name)
    return value[:max_chars] if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT else None
