"""Stability: how often an item's verdict is another in another run of the same input, and which step makes it so.

The flip rate of an item at a step is the share of pairs of runs whose verdicts on it differ, among the runs in which the step
judged it; so a step that only passes on what an earlier one flipped has none. Items go by their fingerprints. Knows no HTTP, no SQL.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from xray_core import verdicts
from xray_core.plurals import plural
from xray_server.read.item_list import ItemFilter, sets_of, steps_of
from xray_server.store import MAX_PAGE, RunFilter, Store, StoredRun

Json = dict[str, Any]
MAX_RUNS: Final = 50
MAX_ITEMS: Final = 100_000  # of one step that are looked at; of more a share, by fingerprint
_SHOWN: Final = 50
_YES: Final = frozenset({"accepted", "selected"})
_NO: Final = frozenset({"rejected", "not_selected", "errored"})
_BUCKETS: Final = 256


@dataclass(slots=True)
class _Step:
    """What runs said of the items of one step name: fingerprint -> in how many runs yes, no; and by which runs."""

    said: dict[int, list[int]] = field(default_factory=dict)  # two bits a run: 1 yes, 2 no
    names: dict[int, str] = field(default_factory=dict)
    runs: int = 0
    share: float = 1.0


def stability(
    store: Store, project: str, pipeline: str, *, same_input: bool, runs: int = 20, step: str | None = None
) -> Json:
    """The flip rates of a pipeline's items over its newest runs.

    Args:
        same_input: only runs whose input was the same, by its fingerprint: the largest such group among the newest.
        runs: how many at most.
        step: this one alone.
    """
    chosen, groups = _chosen(store, project, pipeline, same_input=same_input, runs=runs)
    steps: dict[str, _Step] = {}
    for place, run in enumerate(chosen):
        _read(store, project, run, place, steps, step)
    told = [found for name, each in steps.items() if (found := _step_json(name, each, len(chosen))) is not None]
    items = heapq.nsmallest(
        _SHOWN, (item for name, each in steps.items() for item in _flipped(name, each)),
        key=lambda item: (-item["flip_rate"], -item["runs"], item["item_id"] or "~", item["fingerprint"]),
    )  # fmt: skip
    worst = max(told, key=lambda each: each["flip_rate"], default=None)
    return {
        "pipeline": pipeline,
        "runs": [run.run_id for run in chosen],
        "same_input": same_input,
        "inputs": groups,
        "certainty": "not_captured" if worst is None else "exact" if all(s["certainty"] == "exact" for s in told) else "estimated",
        "sentence": _sentence(pipeline, chosen, worst, same_input=same_input),
        "steps": told,
        "items": items,
    }  # fmt: skip


def _chosen(
    store: Store, project: str, pipeline: str, *, same_input: bool, runs: int
) -> tuple[list[StoredRun], int | None]:
    """The runs to compare, oldest first; and how many different inputs the newest runs had (None: not all are known)."""
    looked_at = MAX_PAGE if same_input else runs
    newest = list(store.runs(project, RunFilter(pipeline=pipeline, status="completed"), limit=looked_at).items)
    by_input: dict[bytes | None, list[StoredRun]] = {}
    for run in newest:
        fingerprint = run.state["input_fp"]
        by_input.setdefault(msgspec.json.encode(fingerprint) if fingerprint else None, []).append(run)
    known = None if None in by_input else len(by_input)
    if same_input:
        groups = [group for key, group in by_input.items() if key is not None]
        newest = max(groups, key=len, default=[])
    return newest[:runs][::-1], known


def _read(store: Store, project: str, run: StoredRun, place: int, steps: dict[str, _Step], only: str | None) -> None:
    """What one run said of every item."""
    stored = [each for each in steps_of(store, project, run.run_id, ItemFilter()) if only in (None, each.state["name"])]
    seen: set[str] = set()
    for at, each in sets_of(store, project, run.run_id, stored):
        word = 1 if each.outcome in _YES else 2 if each.outcome in _NO else 0
        if not word:
            continue
        name = at.state["name"] or at.step_id
        step = steps.setdefault(name, _Step())
        seen.add(name)
        n = sum((at.state["counts"] or {}).values()) or each.n
        buckets = _BUCKETS if n <= MAX_ITEMS else max(1, _BUCKETS * MAX_ITEMS // n)
        step.share = min(step.share, buckets / _BUCKETS)
        for fingerprint in _prints(each.ids, each.fp40, step, buckets):
            words = step.said.get(fingerprint)
            if words is None:
                words = step.said[fingerprint] = [0, 0]
            # one run may say both, at several instances: the no counts
            if word == 2:
                words[1] |= 1 << place
                words[0] &= ~(1 << place)
            elif not words[1] >> place & 1:
                words[0] |= 1 << place
    for name in seen:
        steps[name].runs += 1


def _prints(ids: Sequence[str] | None, fp40: bytes | None, step: _Step, buckets: int) -> Iterable[int]:
    if ids is None:
        return verdicts.decode_below(fp40 or b"\x01", buckets)
    found = []
    for item in ids:
        fingerprint = verdicts.fingerprint(item)
        if fingerprint >> 32 < buckets:
            step.names[fingerprint] = item
            found.append(fingerprint)
    return found


def _rate(yes: int, no: int) -> float:
    n = yes + no
    return 2 * yes * no / (n * (n - 1)) if n > 1 else 0.0


def _step_json(name: str, step: _Step, runs: int) -> Json | None:
    """The mean flip rate of a step, with its standard error by leaving out one run after the other."""
    judged = [(yes, no) for yes, no in step.said.values() if (yes | no).bit_count() > 1]
    if not judged:
        return None
    counts = [(yes.bit_count(), no.bit_count()) for yes, no in judged]
    rate = math.fsum(_rate(*each) for each in counts) / len(counts)
    flipped = sum(1 for yes, no in counts if yes and no)
    error = 0.0
    if flipped and step.runs > 2:
        without = [_without(judged, counts, place) for place in range(runs)]
        mean = math.fsum(without) / len(without)
        error = math.sqrt((len(without) - 1) / len(without) * math.fsum((each - mean) ** 2 for each in without))
    return {
        "step": name, "runs": step.runs, "items": len(judged), "flipped": flipped, "flip_rate": rate, "error": error,
        "certainty": "exact" if step.share == 1 else "estimated", "share_looked_at": step.share,
    }  # fmt: skip


def _without(judged: Sequence[Sequence[int]], counts: Sequence[tuple[int, int]], place: int) -> float:
    total, n = 0.0, 0
    for (yes, no), (n_yes, n_no) in zip(judged, counts):
        left_yes, left_no = n_yes - (yes >> place & 1), n_no - (no >> place & 1)
        if left_yes + left_no > 1:
            total += _rate(left_yes, left_no)
            n += 1
    return total / n if n else 0.0


def _flipped(name: str, step: _Step) -> Iterable[Mapping[str, Any]]:
    for fingerprint, (yes, no) in step.said.items():
        n_yes, n_no = yes.bit_count(), no.bit_count()
        if n_yes and n_no:
            yield {
                "item_id": step.names.get(fingerprint), "fingerprint": f"{fingerprint:010x}", "step": name,
                "runs": n_yes + n_no, "yes": n_yes, "no": n_no, "flip_rate": _rate(n_yes, n_no),
            }  # fmt: skip


def _sentence(pipeline: str, runs: Sequence[StoredRun], worst: Json | None, *, same_input: bool) -> str:
    of = "of the same input" if same_input else "(their inputs may differ)"
    if len(runs) < 2:
        return f"{pipeline} has {plural(len(runs), 'completed run')} {of}: nothing to compare"
    if worst is None:
        return f"{pipeline}: no step judged an item twice over {len(runs)} runs {of}"
    if not worst["flipped"]:
        return f"{pipeline} is stable: over {len(runs)} runs {of} no item's verdict changed at any step"
    return (
        f"{pipeline}: over {len(runs)} runs {of}, {worst['step']} decides {worst['flip_rate']:.1%} of its items otherwise from "
        f"one run to another ({worst['flipped']:,} of {plural(worst['items'], 'item')} flip)"
    )
