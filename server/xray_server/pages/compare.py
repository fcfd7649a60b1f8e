"""What the pages say of two runs: the verdict on top of a run, and the comparison side by side. No HTTP, HTML or SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from xray_core.compare import ComparedStep, Diff, PartedAt, certain_words
from xray_server.errors import NoBaselineError
from xray_server.pages.formatting import completeness, scalar
from xray_server.read import diff as read_diff
from xray_server.read import runs
from xray_server.read.baseline import choose
from xray_server.read.why import known_run
from xray_server.store import RunFilter, Store, StoredRun

MAX_COMPARED_ROWS: Final = 150
MAX_FLIPPED_SHOWN: Final = 60
CHOICES: Final = 30  # runs offered to compare with
_MAX_TOKENS: Final = 24


@dataclass(frozen=True, slots=True)
class Outputs:
    """Two outputs short enough to be read beside each other: (text, whether the other side lacks it)."""

    a: Sequence[tuple[str, bool]]
    b: Sequence[tuple[str, bool]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a run first differs from its baseline; `parted` is None when nothing is known to differ.

    Attributes:
        how: why that run is the baseline.
        alarming: what the runs were given does not explain it.
    """

    baseline: Mapping[str, Any]
    how: str
    parted: PartedAt | None
    words: str
    outputs: Outputs | None

    @property
    def alarming(self) -> bool:
        """Whether what the runs were given does not explain where they differ."""
        return self.parted is not None and not self.parted.from_run


@dataclass(frozen=True, slots=True)
class ComparePage:
    """Two runs side by side: `steps` those on this page of all `diff.steps`."""

    a: Mapping[str, Any]
    b: Mapping[str, Any]
    diff: Diff
    outputs: Outputs | None
    steps: Sequence[ComparedStep]
    offset: int

    @property
    def believed(self) -> tuple[str, str]:
        """How far the counts of the two can be believed."""
        return completeness(*((str(run["status"]), run["dropped"]) for run in (self.a, self.b)))

    @property
    def after(self) -> int:
        """How many steps come after those that are shown."""
        return max(0, len(self.diff.steps) - self.offset - len(self.steps))


def verdict(store: Store, project: str, run: StoredRun) -> Verdict | None:
    """Where a run first differs from its baseline; None when there is no run to compare it with."""
    try:
        chosen = choose(store, project, run)
    except NoBaselineError:
        return None
    baseline = chosen.run
    parted = read_diff.parted(store, project, baseline.run_id, run.run_id)
    return Verdict(
        runs.run_json(baseline),
        chosen.how,
        parted,
        "" if parted is None else certain_words(parted),
        _outputs(store, project, baseline.run_id, run.run_id, parted),
    )


def compare_page(store: Store, project: str, a: str, b: str, *, offset: int) -> ComparePage:
    """Two runs compared.

    Raises:
        UnknownRunError: there is no such run.
    """
    diff = read_diff.diff(store, project, a, b)
    compared = [runs.run_json(known_run(store, project, run_id)) for run_id in (a, b)]
    parted = diff.parted_at
    return ComparePage(
        compared[0],
        compared[1],
        diff,
        _outputs(store, project, a, b, parted),
        diff.steps[offset : offset + MAX_COMPARED_ROWS],
        offset,
    )


def choices(store: Store, project: str, pipeline: str | None) -> list[Mapping[str, Any]]:
    """The newest runs, of one pipeline where it is known: what can be compared with."""
    return [runs.run_json(run) for run in store.runs(project, RunFilter(pipeline=pipeline), limit=CHOICES).items]


def _outputs(store: Store, project: str, a: str, b: str, parted: PartedAt | None) -> Outputs | None:
    """The outputs of the step at which two runs part, where both are short lists or single values."""
    if parted is None or parted.step_a is None or parted.step_b is None or parted.kind == "input_changed":
        return None
    sides = [store.step(project, run_id, step) for run_id, step in ((a, parted.step_a), (b, parted.step_b))]
    tokens = [_tokens(steps[-1].state["output"]) if steps else None for steps in sides]
    one, other = tokens
    if one is None or other is None or one == other:
        return None
    return Outputs([(text, text not in other) for text in one], [(text, text not in one) for text in other])


def _tokens(value: Any) -> list[str] | None:
    if isinstance(value, (str, int, float)) and len(str(value)) <= 200:
        return [scalar(value, 200)]
    if isinstance(value, list) and 0 < len(value) <= _MAX_TOKENS:
        return (
            [scalar(each, 40) for each in value] if all(isinstance(each, (str, int, float)) for each in value) else None
        )
    return None
