"""Parts into one: the rule by which what several processes know of a run or of a step attempt becomes one state.

A pure, commutative fold: any order, any duplication and any split over processes gives the same result. Start = min,
end = max, status by rank, counts and sums add up, what was said wins over what was inferred, other fields fill in and never
erase. Of several attempts of one task one counts (`xray_core.tasks`). Knows nothing of storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from xray_core.model import HASH_MODULUS, NOT_REACHED, STATUS_RANK
from xray_core.sums import merge_columns, merge_sums, total
from xray_core.tasks import counting

Part = Mapping[str, Any]
MAX_DECISIONS: Final = 100
MAX_OTHER_SETS: Final = 8
MAX_LINKS: Final = 1_000
_FIRST_TO_SAY: Final = (
    "run_id", "step_id", "attempt", "name", "step_type", "parent_id", "map_index", "capture", "code_version", "input",
    "input_fp", "sampling", "inference",
)  # fmt: skip
# of a deferred task, the last execution knows the outcome better than the first
_LAST_TO_SAY: Final = ("input_count", "output_count", "output", "output_fp")


def newest(a: Part | None, b: Part) -> Part:
    """Of two snapshots of one part, the one that counts; equal revisions are decided by content, so order never matters."""
    if a is None:
        return b
    key_a, key_b = int(a.get("rev") or 0), int(b.get("rev") or 0)
    if key_a != key_b:
        return a if key_a > key_b else b
    return a if repr(sorted(a.items(), key=lambda kv: kv[0])) >= repr(sorted(b.items(), key=lambda kv: kv[0])) else b


def merge_run(parts: Iterable[Part]) -> dict[str, Any]:
    """One run from its parts (newest revision of each; at least one)."""
    ordered = _ordered(parts)
    merged = _common(ordered)
    for name in ("input", "output", "input_fp", "output_fp", "code_version", "capture", "parent", "client"):
        merged[name] = _first(ordered, name)
    merged["tags"] = _filled(ordered, "tags")
    merged["dropped"] = _added(ordered, "dropped")
    return merged


def merge_step(parts: Iterable[Part], *, shared: bool = False) -> dict[str, Any]:
    """One step attempt from its parts (newest revision of each; at least one).

    Args:
        shared: the state may hold what its parts hold, since neither will be changed: of a run of 1,000 steps, copies
            cost a quarter of the time, most of it in the garbage collector.
    """
    several = list(parts)
    if len(several) > 1:
        several = counting(several)
    if len(several) > 1:
        return _merged_step(_ordered(several))
    state = _only_step(several[0])
    return state if shared else {name: _copied(value) for name, value in state.items()}


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, list) else value


def _only_step(part: Part) -> dict[str, Any]:
    """What `_merged_step` makes of one part, in a quarter of the time, sharing with it: nearly every stored step is one."""
    get = part.get
    started, ended, status = get("started_us"), get("ended_us"), get("status") or "running"
    duration = get("duration_us")
    if duration is None or ended is None:
        duration = None if ended is None or started is None or status == "running" else max(0, ended - started)
    origin, items, upstream, decisions = get("origin"), get("items"), get("upstream"), get("decisions")
    if origin and origin.get("ids", ()) is None:
        origin = {**origin, "ids": {}}
    if items and not all(items.values()):
        items = {side: given for side, given in items.items() if given}
    score_sums, orders = get("score_sums"), get("orders")
    merged: dict[str, Any] = {
        "pipeline": get("pipeline"),
        "status": status,
        "started_us": started,
        "ended_us": ended if status != "running" else None,
        "duration_us": duration,
        "metadata": get("metadata") or {},
        "origin": origin or None,
        "error": get("error"),
        "index": get("index"),
        "upstream": sorted(set(upstream)) if upstream else [],
        "counts": get("counts") or {},
        "dropped": get("dropped") or {},
        "reasons": get("reasons") or {},
        "sums": _summed([part]) if get("sums") else {},
        "items": items or {},
        "scores": _scores([part]) if get("scores") else {},
        "score_sums": _score_sums([part]) if score_sums else {},
        "orders": _orders([part]) if orders else {},
        "dimensions": get("dimensions") or {},
        "value_sums": get("value_sums") or {},
        "relation": get("relation"),
        "decisions": sorted(decisions, key=lambda d: d.get("at_us") or 0)[:MAX_DECISIONS] if decisions else [],
    }
    for name in _FIRST_TO_SAY:
        merged[name] = get(name)
    for name in _LAST_TO_SAY:
        merged[name] = get(name)
    return merged


def _merged_step(ordered: Sequence[Part]) -> dict[str, Any]:
    merged = _common(ordered)
    if not all(NOT_REACHED in (part.get("metadata") or {}) for part in ordered):
        merged["metadata"].pop(NOT_REACHED, None)
    for name in _FIRST_TO_SAY:
        merged[name] = _first(ordered, name)
    for name in _LAST_TO_SAY:
        merged[name] = _first(ordered[::-1], name)
    for name, side in (("input_count", "in"), ("output_count", "out")):
        known = [part for part in ordered if part.get(name) is not None]
        sets = [((part.get("items") or {}).get(side) or {}).get("n") for part in known]
        if len(known) > 1 and sets == [part[name] for part in known]:
            merged[name] = sum(sets)  # each counted the items that it gave, and those add up
    indexes = [part["index"] for part in ordered if part.get("index") is not None]
    merged["index"] = min(indexes) if indexes else None
    merged["upstream"] = sorted({step for part in ordered for step in part.get("upstream") or ()})
    merged["counts"] = _added(ordered, "counts")
    merged["dropped"] = _added(ordered, "dropped")
    merged["reasons"] = _added_by_reason(ordered)
    merged["sums"] = _summed(ordered)
    merged["items"] = _items(ordered)
    merged["scores"] = _scores(ordered)
    merged["score_sums"] = _score_sums(ordered)
    merged["orders"] = _orders(ordered)
    merged["dimensions"] = _dimensions(ordered)
    merged["value_sums"] = _value_sums(ordered)
    merged["relation"] = _agreed([part.get("relation") for part in ordered])
    decisions = [decision for part in ordered for decision in part.get("decisions") or ()]
    merged["decisions"] = sorted(decisions, key=lambda d: d.get("at_us") or 0)[:MAX_DECISIONS]
    return merged


def _ordered(parts: Iterable[Part]) -> list[Part]:
    ordered = sorted(parts, key=lambda p: (p.get("started_us") or 1 << 62, str(p.get("part") or "")))
    if not ordered:
        raise ValueError("nothing to merge")
    return ordered


def _common(ordered: Sequence[Part]) -> dict[str, Any]:
    statuses = [part["status"] for part in ordered if part.get("status")]
    status = max(statuses, key=lambda s: STATUS_RANK[s]) if statuses else "running"
    started = [part["started_us"] for part in ordered if part.get("started_us") is not None]
    ended = [part["ended_us"] for part in ordered if part.get("ended_us") is not None]
    merged: dict[str, Any] = {
        "pipeline": _first(ordered, "pipeline"),
        "status": status,
        "started_us": min(started) if started else None,
        "ended_us": max(ended) if ended and status != "running" else None,
        "duration_us": None,
        "metadata": _filled(ordered, "metadata"),
        "origin": _origin(ordered, status),
    }
    timed = [part for part in ordered if part.get("duration_us") is not None]
    if len(timed) == 1 and len(ended) == 1 and timed[0].get("started_us") == merged["started_us"]:
        # monotonic, so right even when the clock jumped; but of a deferred task, the last execution knows its own time alone
        merged["duration_us"] = timed[0]["duration_us"]
    elif merged["ended_us"] is not None and merged["started_us"] is not None:
        merged["duration_us"] = max(0, merged["ended_us"] - merged["started_us"])
    by_rank = sorted(ordered, key=lambda p: -STATUS_RANK.get(p.get("status") or "running", 0))
    # what one process took for an end, and another overcame, is not what ended it
    merged["error"] = _first([p for p in by_rank if (p.get("status") or status) == status], "error")
    return merged


def _origin(ordered: Sequence[Part], status: str) -> dict[str, Any] | None:
    merged: dict[str, Any] = {}
    for part in ordered:
        for key, value in (part.get("origin") or {}).items():
            if key == "ids":
                merged["ids"] = {**(value or {}), **merged.get("ids", {})}
            elif merged.get(key) in (None, ""):
                merged[key] = value
    for part in ordered:  # the framework's own state at the end comes from the part that saw the end
        state = (part.get("origin") or {}).get("state")
        if state and part.get("status") == status:
            merged["state"] = state
    return merged or None


def _first(ordered: Sequence[Part], name: str) -> Any:
    return next((part[name] for part in ordered if part.get(name) is not None), None)


def _filled(ordered: Sequence[Part], name: str) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in ordered:
        for key, value in (part.get(name) or {}).items():
            if merged.get(key) is None:
                merged[key] = value
    return merged


def _added(ordered: Sequence[Part], name: str) -> dict[str, int]:
    merged: dict[str, int] = {}
    for part in ordered:
        for key, value in (part.get(name) or {}).items():
            merged[key] = merged.get(key, 0) + value
    return merged


def _value_sums(ordered: Sequence[Part]) -> dict[str, dict[str, dict[str, float | None]]]:
    given: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for part in ordered:
        for outcome, reasons in (part.get("value_sums") or {}).items():
            for reason, sums in reasons.items():
                given.setdefault(outcome, {}).setdefault(reason, []).append(sums)
    return {
        outcome: {
            reason: {
                "n": sum(each["n"] for each in some), "total": total([each["total"] for each in some]),
                "min": min(each["min"] for each in some), "max": max(each["max"] for each in some),
            }
            for reason, some in reasons.items()
        }
        for outcome, reasons in given.items()
    }  # fmt: skip


def _dimensions(ordered: Sequence[Part]) -> dict[str, dict[str, dict[str, int]]]:
    merged: dict[str, dict[str, dict[str, int]]] = {}
    for part in ordered:
        for name, values in (part.get("dimensions") or {}).items():
            of_name = merged.setdefault(name, {})
            for value, counts in values.items():
                of_value = of_name.setdefault(value, {})
                for outcome, n in counts.items():
                    of_value[outcome] = of_value.get(outcome, 0) + n
    return merged


def _added_by_reason(ordered: Sequence[Part]) -> dict[str, dict[str, int]]:
    merged: dict[str, dict[str, int]] = {}
    for part in ordered:
        for outcome, reasons in (part.get("reasons") or {}).items():
            bucket = merged.setdefault(outcome, {})
            for reason, n in reasons.items():
                bucket[reason] = bucket.get(reason, 0) + n
    return merged


def _summed(ordered: Sequence[Part]) -> dict[str, dict[str, str]]:
    merged: dict[str, dict[str, int]] = {}
    for part in ordered:
        for outcome, reasons in (part.get("sums") or {}).items():
            bucket = merged.setdefault(outcome, {})
            for reason, digest in reasons.items():
                bucket[reason] = (bucket.get(reason, 0) + int(digest, 16)) % HASH_MODULUS
    return {o: {r: f"{total:016x}" for r, total in reasons.items()} for o, reasons in merged.items()}


def _items(ordered: Sequence[Part]) -> dict[str, Any]:
    """The item sets of all parts: by side, the further collections of a join by their names, and which item came of which."""
    merged: dict[str, Any] = {}
    others: dict[str, list[Any]] = {}
    links: list[Any] = []
    sides: dict[str, list[Any]] = {}
    for part in ordered:
        for side, given in (part.get("items") or {}).items():
            if given is None:
                continue
            if side == "others":
                for name, each in given.items():
                    others.setdefault(name, []).append(each)
            elif side == "links":
                links += given
            else:
                sides.setdefault(side, []).append(given)
    for side, several in sides.items():
        merged[side] = _one_set(several)
    if others:
        kept = sorted(others)[:MAX_OTHER_SETS]
        merged["others"] = {name: _one_set(others[name]) for name in kept}
    if links:
        merged["links"] = sorted(links)[:MAX_LINKS] if len(ordered) > 1 else links
    return merged


def _one_set(several: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One item set of those that the parts give: what was said wins over what was inferred, and what was said adds up."""
    said = [each for each in several if not each.get("inferred")]
    counted = said or several
    if len(counted) == 1:
        return dict(counted[0])
    total = sum(int(each["sum"], 16) for each in counted) % HASH_MODULUS
    merged: dict[str, Any] = {
        "n": sum(each["n"] for each in counted),
        "sum": f"{total:016x}",
        "order": None,
        "distinct": None,
        "nulls": sum(each.get("nulls") or 0 for each in counted),
        "key": _agreed([each.get("key") for each in counted]),
        "source": _agreed([each.get("source") for each in counted]),
        "inferred": not said,
        "rows": merge_sums([each.get("rows") for each in counted]),
        "form": _forms([each.get("form") for each in counted]),
    }
    if any(each.get("beyond") for each in counted):
        merged["beyond"] = sum(each.get("beyond") or 0 for each in counted)
    if any(each.get("columns") for each in counted):
        merged["columns"], omitted = merge_columns([each.get("columns") or {} for each in counted])
        merged["columns_omitted"] = omitted + max(each.get("columns_omitted") or 0 for each in counted)
    return merged


def _forms(several: Sequence[str | None]) -> str:
    """How the items of several parts are written (`objects.form`), whatever part wrote which; "" where that is not known of all."""
    return ",".join(sorted(set(filter(None, several)))) if all(several) else ""


def _agreed(values: Sequence[Any]) -> Any:
    """What all say that say anything; None where they differ."""
    known = [value for value in values if value is not None]
    return known[0] if known and all(value == known[0] for value in known) else None


def _score_sums(ordered: Sequence[Part]) -> dict[str, dict[str, Any]]:
    """Of each outcome, over all parts that have scores of it."""
    given: dict[str, list[Mapping[str, Any]]] = {}
    for part in ordered:
        for outcome, sums in (part.get("score_sums") or {}).items():
            given.setdefault(outcome, []).append({"score": sums})
    return {outcome: merge_columns(several)[0]["score"] for outcome, several in given.items()}


def _orders(ordered: Sequence[Part]) -> dict[str, str]:
    """The orders that one part alone can tell: of outcomes that no other part counted."""
    merged: dict[str, str] = {}
    for part in ordered:
        for outcome, order in (part.get("orders") or {}).items():
            counted = sum(bool((other.get("counts") or {}).get(outcome)) for other in ordered if other is not part)
            if order is not None and not counted:
                merged[outcome] = order
    known = [outcome for part in ordered for outcome in part.get("orders") or {}]
    return {outcome: order for outcome, order in merged.items() if known.count(outcome) == 1}


def _scores(ordered: Sequence[Part]) -> dict[str, dict[str, list[Any]]]:
    merged: dict[str, dict[str, list[Any]]] = {}
    for part in ordered:
        for outcome, ends in (part.get("scores") or {}).items():
            bucket = merged.setdefault(outcome, {})
            for end, pick in (("min", min), ("max", max)):
                candidates = [list(e[end]) for e in (bucket, ends) if e.get(end) is not None]
                if candidates:
                    bucket[end] = pick(candidates)
    return merged
