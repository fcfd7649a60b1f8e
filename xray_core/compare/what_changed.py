"""What changed at one step: its parameters and code, limits seen in details, its input, columns, scores, its output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from xray_core.compare.align import Pair
from xray_core.compare.blame import Judged
from xray_core.compare.changes import differences, step_changes
from xray_core.compare.columns import column_changes, split_generated
from xray_core.compare.options import Options
from xray_core.compare.stored import RunMarks, stored_difference
from xray_core.compare.types import Change, Source, State
from xray_core.model import SKIPS

_MAX_EACH: Final = 20  # of a kind: a long list that is another one is no explanation
_ENOUGH_SAMPLES: Final = 2  # with one value, for a detail to count as a limit
_MAX_SAMPLES: Final = 500
_MAX_VALUE_CHARS: Final = 200


def samples_of(source: Source, pair: Pair) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
    """The samples of both steps of a pair."""
    assert pair.a is not None
    assert pair.b is not None
    return (
        source.samples(0, (pair.a["step_id"], pair.a["attempt"])),
        source.samples(1, (pair.b["step_id"], pair.b["attempt"])),
    )


def what_changed(judged: Judged, source: Source, options: Options, marks: RunMarks) -> list[Change]:
    """The differences of one step, what explains most first."""
    pair = judged.pair
    if pair.a is None or pair.b is None:
        return []
    found: list[Change] = []
    for each in (pair, *pair.ancestors()):
        found += islice(step_changes(each, options), _MAX_EACH)
    sides = samples_of(source, pair)
    found += declared_limits(pair, source, options)
    found += islice(limit_changes(sides[0], sides[1], f"steps.{pair.path}.details", options), _MAX_EACH)
    if judged.inputs.differs:
        found += _values(pair, "input", options, marks)
        found += _columns(pair, "in", options, marks)
    if judged.outputs.differs:
        found += _ends(pair)
        found += _skips(pair)
        if not judged.inputs.differs:  # of other items others are rejected
            found += islice(_reasons(pair), _MAX_EACH)
        found += _columns(pair, "out", options, marks)
        found += _scores(pair, options)
        found += _values(pair, "output", options, marks)
    return found


def _skips(pair: Pair) -> Iterator[Change]:
    """The steps that a branch had skipped."""
    one, other = (((state or {}).get("metadata") or {}).get(SKIPS) for state in (pair.a, pair.b))
    if one != other:
        words = [", ".join(map(str, each)) if isinstance(each, list) else each for each in (one, other)]
        yield Change(path=f"steps.{pair.path}.metadata.{SKIPS}", a=words[0], b=words[1])


def declared_limits(pair: Pair, source: Source, options: Options) -> list[Change]:
    """The limit that all numbers of a step's verdicts were compared with, where it was declared and is another one."""
    limits: list[set[float]] = []
    for side, state in enumerate((pair.a, pair.b)):
        assert state is not None
        sets = source.sets(side, (state["step_id"], state["attempt"]))
        limits.append({each.limit for each in sets if each.limit is not None})
    if any(len(each) != 1 for each in limits):
        return []
    (one,), (other,) = limits
    return list(differences(one, other, f"steps.{pair.path}.limit", options))


def limit_changes(
    a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]], path: str, options: Options
) -> Iterator[Change]:
    """Details that have one value in all samples of a reason, and another in the other run: a limit, a threshold, a model."""
    one, other = _constants(a), _constants(b)
    for key in sorted(one.keys() & other.keys()):
        reason, name = key
        x, y = one[key], other[key]
        where = f"{path}.{reason}.{name}" if reason else f"{path}.{name}"
        if x != y and not options.ignores(where):
            yield Change(path=where, a=x, b=y)


def _constants(samples: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Any]:
    seen: dict[tuple[str, str], list[Any]] = {}
    for sample in samples[:_MAX_SAMPLES]:
        if sample["outcome"] in ("in", "out"):
            continue
        for name, value in _leaves(sample["details"]):
            seen.setdefault((sample["reason"] or "", name), []).append(value)
    return {
        key: values[0]
        for key, values in seen.items()
        if len(values) >= _ENOUGH_SAMPLES and all(value == values[0] for value in values)
    }


def _leaves(details: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    if isinstance(details, Mapping) and depth < 4:
        for key, value in details.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key), depth + 1)
    elif name and (details is None or isinstance(details, (str, int, float, bool, list))):
        yield name, details


def _ends(pair: Pair) -> Iterator[Change]:
    """That a step failed in one run, and by which error."""
    ends = [_end_of(state) for state in (pair.a, pair.b) if state is not None]
    if ends[0] != ends[1] and "failed" in (state["status"] for state in (pair.a, pair.b) if state is not None):
        yield Change(path=f"steps.{pair.path}.status", a=ends[0], b=ends[1])


def _end_of(state: State) -> str:
    error = state["error"] or {}
    told = ": ".join(str(error[name]) for name in ("type", "message") if error.get(name))
    return f"{state['status']}: {told}" if told else str(state["status"])


def _reasons(pair: Pair) -> Iterator[Change]:
    """How often each reason was given, where that differs. None of it is told of a step that judged nothing in one run."""
    one, other = ((state or {}).get("reasons") or {} for state in (pair.a, pair.b))
    for outcome in sorted(one.keys() | other.keys()):
        mine, theirs = one.get(outcome) or {}, other.get(outcome) or {}
        for reason in sorted(mine.keys() | theirs.keys(), key=str):
            if reason and mine.get(reason, 0) != theirs.get(reason, 0):
                yield Change(
                    path=f"steps.{pair.path}.{outcome}.{reason}", a=mine.get(reason, 0), b=theirs.get(reason, 0)
                )


def _values(pair: Pair, side: str, options: Options, marks: RunMarks) -> list[Change]:
    assert pair.a is not None
    assert pair.b is not None
    a, b = pair.a[side], pair.b[side]
    if a is None or b is None:
        return []
    found = stored_difference(a, b, f"steps.{pair.path}.{side}", options, marks).changes
    return list(found) if len(found) <= _MAX_EACH else []


def _columns(pair: Pair, side: str, options: Options, marks: RunMarks) -> Iterator[Change]:
    one, other = (((state or {}).get("items") or {}).get(side) or {} for state in (pair.a, pair.b))
    columns = [each.get("columns") or {} for each in (one, other)]
    _, generated = split_generated(sorted(columns[0].keys() & columns[1].keys()), one, other, marks.began_us)
    kept = [{name: column for name, column in each.items() if name not in generated} for each in columns]
    yield from islice(
        column_changes(kept[0], kept[1], f"steps.{pair.path}.columns", options.tolerance),
        _MAX_EACH,
    )


def _scores(pair: Pair, options: Options) -> Iterator[Change]:
    sums = [(state or {}).get("score_sums") for state in (pair.a, pair.b)]
    yield from islice(column_changes(sums[0], sums[1], f"steps.{pair.path}.scores", options.tolerance), _MAX_EACH)
    if sums[0] or sums[1]:
        return
    for outcome in ("selected", "accepted", "rejected"):
        ends = [((state or {}).get("scores") or {}).get(outcome) or {} for state in (pair.a, pair.b)]
        for end in ("min", "max"):
            one, other = (each.get(end) for each in ends)
            if one and other and one[0] != other[0]:
                yield Change(path=f"steps.{pair.path}.scores.{outcome}.{end}", a=one[0], b=other[0])
