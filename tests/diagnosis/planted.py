"""How a fault of the held-out batches is written down: a pipeline that runs well or badly, and what must be said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from xray_core.capture.run import Run
from xray_core.compare import Diff
from xray_core.testing import Captured, capture

Pipeline = Callable[[Run, bool], None]
Seen = tuple[str, str, str | None]
"""Outcome, step and reason that `why` must give for an item in the bad run."""


@dataclass(frozen=True)
class Planted:
    """A pipeline with one fault, or (without `guilty`) with none.

    Attributes:
        guilty: the path of the step that the fault is in.
        kinds: what the difference may be called.
        cause: what must be named, in a path of `changes` or in the sentence.
        shows_at: the steps at which it first shows, where nothing that the guilty one tells shows it. Never with certainty.
        asked: the run's input.
        seen: item -> what `why` must say in the bad run.
    """

    name: str
    run: Pipeline
    guilty: str | None
    kinds: tuple[str, ...] = ()
    cause: str = ""
    shows_at: tuple[str, ...] = ()
    asked: Callable[[bool], Any] = lambda bad: {"job": "nightly"}
    seen: dict[str, Seen] = field(default_factory=dict)


class Batch(list[Planted]):
    """Planted faults, added by a decorator."""

    def fault(self, guilty: str, *kinds: str, **more: Any) -> Callable[[Pipeline], Pipeline]:
        def add(pipeline: Pipeline) -> Pipeline:
            self.append(Planted(pipeline.__name__, pipeline, guilty, kinds, **more))
            return pipeline

        return add

    def control(self, **more: Any) -> Callable[[Pipeline], Pipeline]:
        def add(pipeline: Pipeline) -> Pipeline:
            self.append(Planted(pipeline.__name__, pipeline, None, **more))
            return pipeline

        return add


@dataclass
class Verdict:
    """What was said of one planted fault, against what is right."""

    diff: Diff
    step: bool
    cause: bool
    falsely_certain: bool
    why: list[str]
    """What `why` says, where it is wrong."""


def both(planted: Planted) -> tuple[Captured, Diff]:
    with capture() as result:
        for bad in (False, True):
            with result.xray.run(input=planted.asked(bad), run_id=("the-good-run", "the-bad-run")[bad]) as run:
                planted.run(run, bad)
    return result, result.diff("the-good-run", "the-bad-run")


def verdict_of(planted: Planted) -> Verdict:
    """Run it well and badly, and hold what compare and why say against what was planted."""
    result, diff = both(planted)
    parted = diff.parted_at
    blamed = parted.path if parted is not None else None
    right = blamed == planted.guilty or blamed in planted.shows_at
    kind = parted is not None and (blamed != planted.guilty or parted.kind in planted.kinds)
    told = planted.cause in diff.sentence or any(planted.cause in change.path for change in diff.changes)
    certain = parted is not None and parted.certain and blamed != planted.guilty
    wrong = []
    for item, wanted in planted.seen.items():
        why = result.why(item, run="the-bad-run")
        step = why.step or ""
        if (why.outcome, step, why.reason) != wanted:
            wrong.append(f"{item}: {(why.outcome, step, why.reason)} {why.sentence}")
    return Verdict(diff, right, right and kind and told, certain, wrong)


def clean(planted: Planted) -> tuple[bool, Diff]:
    """Whether nothing is blamed where nothing is wrong."""
    _, diff = both(planted)
    return diff.parted_at is None and not diff.flipped_count, diff
