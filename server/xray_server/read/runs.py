"""Read models: what the store knows, in the words of product.md, as plain JSON values.

Shared by the API and the pages. Knows no HTTP, no HTML and no SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from xray_core.model import ITEMS_IN, ITEMS_OUT
from xray_server.read import heads
from xray_server.read.baseline import mark_of
from xray_server.read.conservation import gaps_of
from xray_server.store import Page, RunFilter, StepFilter, Store, StoredRun, StoredStep
from xray_server.times import iso

Json = dict[str, Any]
T = TypeVar("T")
_MAX_READ_BYTES: Final = 8 * 1024 * 1024  # of documents that are in memory at once, and of what a list answers
_MAX_READS: Final = 64  # of a list; what is left is on the next page
_MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024  # of the steps of one run
# What `run_json` and `step_json` give: what `fields` may name.
RUN_FIELDS: Final = (
    "run_id", "mark", "mark_note", "pipeline", "status", "started_at", "ended_at", "duration_ms", "input",
    "output", "error", "metadata", "tags", "origin", "parent", "code_version", "capture", "client", "dropped",
    "step_count", "flagged_steps", "first_seen_at",
)  # fmt: skip
STEP_FIELDS: Final = (
    "run_id", "step_id", "attempt", "pipeline", "name", "step_type", "status", "parent_id", "upstream", "index",
    "map_index", "input", "output", "input_count", "output_count", "rejection_rate", "rejection_counts",
    "reasons", "decisions", "started_at", "ended_at", "duration_ms", "error", "metadata", "ledger", "items",
    "relation", "inference", "scores", "score_sums", "orders", "dimensions", "value_sums", "origin", "code_version", "capture", "sampling",
    "dropped",
)  # fmt: skip
_SAMPLE_KINDS: Final = {
    "rejected": "sampled_rejections", "accepted": "acceptances", "selected": "acceptances", ITEMS_IN: "item_fields",
    ITEMS_OUT: "item_fields",
}  # fmt: skip


def list_runs(
    store: Store,
    project: str,
    where: RunFilter,
    *,
    limit: int,
    cursor: str | None,
    fields: Collection[str] | None = None,
) -> Json:
    """A page of runs, newest first: of large values their heads, or `fields` whole."""

    def read(limit: int, cursor: str | None) -> Page[StoredRun]:
        return store.runs(project, where, limit=limit, cursor=cursor, max_bytes=_MAX_READ_BYTES)

    rows, next_cursor = _rows(read, run_json, limit, cursor, fields)
    return {"runs": rows, "next_cursor": next_cursor}


def list_steps(
    store: Store,
    project: str,
    where: StepFilter,
    *,
    limit: int,
    cursor: str | None,
    fields: Collection[str] | None = None,
) -> Json:
    """A page of step attempts across runs, newest first: of large values their heads, or `fields` whole."""

    def read(limit: int, cursor: str | None) -> Page[StoredStep]:
        return store.steps(project, where, limit=limit, cursor=cursor, max_bytes=_MAX_READ_BYTES)

    rows, next_cursor = _rows(read, step_json, limit, cursor, fields)
    return {"steps": rows, "next_cursor": next_cursor}


def _rows(
    read: Callable[[int, str | None], Page[T]],
    json_of: Callable[[T], Json],
    limit: int,
    cursor: str | None,
    fields: Collection[str] | None,
) -> tuple[list[Json], str | None]:
    """Rows of a list, read a few megabytes at a time, until there are enough of them or they weigh enough."""
    rows: list[Json] = []
    answered_bytes = 0
    for _ in range(_MAX_READS):
        page = read(limit - len(rows), cursor)
        fresh = [heads.row(json_of(item), fields) for item in page.items]
        rows += fresh
        cursor = page.next_cursor
        if cursor is None or len(rows) >= limit:
            break
        answered_bytes += len(heads.encode(fresh))
        if answered_bytes >= _MAX_READ_BYTES:
            break
    return rows, cursor


def one_run(store: Store, project: str, run_id: str, *, limit: int, cursor: str | None, samples: int) -> Json | None:
    """A run with a page of its steps, each with at most `samples` samples of a kind; None when there is no such run."""
    run = store.run(project, run_id)
    if run is None:
        return None
    page = store.run_steps(project, run_id, limit=limit, cursor=cursor, max_bytes=_MAX_ANSWER_BYTES)
    found = store.samples(project, run_id, [step.key for step in page.items]) if samples else {}
    steps = [{**step_json(step), **samples_json(found.get(step.key, ()), limit=samples)} for step in page.items]
    whole = cursor is None and page.next_cursor is None
    found_gaps = gaps_of(store, project, run, page.items) if whole else []
    flags = sorted({gap.kind for gap in found_gaps})
    return {
        **run_json(run),
        "flags": flags,
        "conservation": [gap.as_json() for gap in found_gaps],
        "steps": steps,
        "next_cursor": page.next_cursor,
    }


def run_json(run: StoredRun) -> Json:
    """A run under the names of the API."""
    state = run.state
    mark, note = mark_of(run)
    return {
        "run_id": run.run_id,
        "mark": mark,
        "mark_note": note,
        "pipeline": state["pipeline"],
        "status": state["status"],
        "started_at": iso(state["started_us"]),
        "ended_at": iso(state["ended_us"]),
        "duration_ms": _milliseconds(state["duration_us"]),
        "input": state["input"],
        "output": state["output"],
        "error": _error_json(state["error"]),
        "metadata": state["metadata"],
        "tags": state["tags"],
        "origin": state["origin"],
        "parent": state["parent"],
        "code_version": state["code_version"],
        "capture": state["capture"],
        "client": state["client"],
        "dropped": state["dropped"],
        "step_count": run.step_count,
        "flagged_steps": run.flagged_steps,
        "first_seen_at": iso(run.at_us),
    }


def step_json(step: StoredStep) -> Json:
    """A step attempt under the names of the API."""
    state, ledger = step.state, step.ledger
    return {
        "run_id": step.run_id,
        "step_id": step.step_id,
        "attempt": step.attempt,
        "pipeline": state["pipeline"],
        "name": state["name"],
        "step_type": state["step_type"],
        "status": state["status"],
        "parent_id": state["parent_id"],
        "upstream": state["upstream"],
        "index": state["index"],
        "map_index": state["map_index"],
        "input": state["input"],
        "output": state["output"],
        "input_count": ledger.input,
        "output_count": state["output_count"] if state["output_count"] is not None else ledger.output,
        "rejection_rate": step.rejection_rate,
        "rejection_counts": state["reasons"].get("rejected", {}),
        "reasons": state["reasons"],
        "decisions": [_decision_json(decision) for decision in state["decisions"]],
        "started_at": iso(state["started_us"]),
        "ended_at": iso(state["ended_us"]),
        "duration_ms": _milliseconds(state["duration_us"]),
        "error": _error_json(state["error"]),
        "metadata": state["metadata"],
        "ledger": ledger.as_json(),
        "items": state["items"],
        "relation": state["relation"],
        "inference": state["inference"],
        "scores": state["scores"],
        "score_sums": state["score_sums"],
        "orders": state["orders"],
        "dimensions": state["dimensions"],
        "value_sums": state["value_sums"],
        "origin": state["origin"],
        "code_version": state["code_version"],
        "capture": state["capture"],
        "sampling": state["sampling"],
        "dropped": state["dropped"],
    }


def samples_json(samples: Sequence[Mapping[str, Any]], *, limit: int) -> Json:
    """The samples of one step under the names of the posted shape; `sample_count` is how many verdicts' are kept in all.

    `item_fields` are no verdicts: chosen fields of items as they went in and came out.
    """
    kinds: dict[str, list[Json]] = {
        "sampled_rejections": [], "acceptances": [], "other_samples": [], "item_fields": [],
    }  # fmt: skip
    verdicts = 0
    for sample in samples:
        kind = _SAMPLE_KINDS.get(sample["outcome"], "other_samples")
        verdicts += kind != "item_fields"
        if len(kinds[kind]) < limit:
            kinds[kind].append(sample_json(sample))
    return {**kinds, "sample_count": verdicts}


def sample_json(sample: Mapping[str, Any]) -> Json:
    """A sample under the names of the API."""
    return {
        "item_id": sample["item_id"],
        "outcome": sample["outcome"],
        "reason": sample["reason"],
        "details": sample["details"],
        "score": sample["score"],
        "rank": sample["rank"],
        "weight": sample["weight"],
        "timestamp": iso(sample["at_us"]),
    }


def _decision_json(decision: Mapping[str, Any]) -> Json:
    at_us = decision.get("at_us")
    rest = {name: value for name, value in decision.items() if name != "at_us"}
    return {**rest, "timestamp": iso(at_us) if isinstance(at_us, int) and at_us >= 0 else None}


def _error_json(error: Mapping[str, Any] | None) -> Json | None:
    return None if error is None else {name: error.get(name) for name in ("type", "message", "traceback")}


def _milliseconds(us: int | None) -> float | None:
    return None if us is None else us / 1000
