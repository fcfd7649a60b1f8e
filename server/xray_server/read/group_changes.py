"""What else differs between two groups of runs: code versions, parameters, tags. Pure: what it needs is handed to it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from xray_server.store import RunFigures

MAX_CHANGES: Final = 50
_MOSTLY: Final = 0.5  # a value has to gain so much of the runs
_MAX_CHARS: Final = 200
_RESULT: Final = "result."  # metadata that came of a step rather than went into it

Place = tuple[str | None, str]  # step, what


def what_else(a: Sequence[RunFigures], b: Sequence[RunFigures]) -> list[dict[str, Any]]:
    """What most runs of b have that at least half of them more than of a have: [{step, what, a, b, share_a, share_b}].

    What is another in nearly every run (times, ids) is no change.
    """
    told_a, told_b = _told(a), _told(b)
    found: list[dict[str, Any]] = []
    for place in told_b:
        before, now = told_a.get(place, Counter()), told_b[place]
        n_a, n_b = max(1, sum(before.values())), sum(now.values())
        if len(now) > 1 and len(now) > n_b / 2:
            continue
        value, n = now.most_common(1)[0]
        share_b, share_a = n / n_b, before[value] / n_a
        if before and share_b - share_a >= _MOSTLY:
            was = before.most_common(1)[0][0]
            found.append({
                "step": place[0], "what": place[1], "a": was, "b": value, "share_a": share_a, "share_b": share_b,
            })  # fmt: skip
    return sorted(found, key=lambda each: each["share_a"] - each["share_b"])[:MAX_CHANGES]


def _told(runs: Iterable[RunFigures]) -> dict[Place, Counter[str]]:
    """Of each place, the values that it has in how many steps or runs."""
    found: defaultdict[Place, Counter[str]] = defaultdict(Counter)
    for run in runs:
        state = run.run.state
        for place, value in _of_run(state):
            found[place][value] += 1
        for step in run.steps:
            if step.code_version:
                found[step.name, "code_version"][step.code_version] += 1
            for name, value in _scalars(step.metadata):
                if not name.startswith(_RESULT):
                    found[step.name, f"metadata.{name}"][value] += 1
    return dict(found)


def _of_run(state: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    if state["code_version"]:
        yield (None, "code_version"), str(state["code_version"])
    for kind in ("tags", "metadata"):
        for name, value in _scalars(state[kind] or {}):
            if not name.startswith("xray."):
                yield (None, f"{kind}.{name}"), value


def _scalars(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, (str, int, float, bool)):
            yield name, str(value)[:_MAX_CHARS]
