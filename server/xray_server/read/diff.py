"""Compare: fetches two runs for `xray_core.compare`, or one and its baseline. Knows no HTTP, no SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from xray_core.compare import Diff, Options, PartedAt, Side, StepKey, compare, say, where_parted
from xray_core.compare import options as checked_options
from xray_core.errors import ConfigurationError
from xray_core.model import ITEMS_IN, ITEMS_OUT
from xray_server.read.baseline import Baseline, choose, figures_of, unusual
from xray_server.read.why import all_steps, known_run
from xray_server.store import RunFilter, Store, StoredSet
from xray_server.together import together

T = TypeVar("T")
BASELINE: Final = "baseline"
PIPELINE_OPTIONS: Final = "xray.compare"
DEFAULT_OPTIONS: Final = Options()
_SMALL: Final = 5_000  # items, of all steps of a run together
_MAX_CACHED: Final = 4  # steps whose sets are held at once
_RUNS_FOR_PROPOSALS: Final = 6
_MAX_PROPOSED: Final = 10


class _StoreSource:
    """Sets and samples of two runs, as a Store has them. Those of a small run are read at once, since each question takes a
    store its time; of a larger one the last few steps are kept, since flips are shown step by step.
    """

    def __init__(self, store: Store, project: str, sides: tuple[Side, Side]) -> None:
        self._store, self._project, self._sides = store, project, sides
        self._small = [_is_small(side) for side in sides]
        self._sets: dict[tuple[int, StepKey], list[StoredSet]] = {}
        self._all_sets: dict[int, dict[StepKey, list[StoredSet]]] = {}
        self._all_samples: dict[int, Mapping[StepKey, Sequence[Mapping[str, Any]]]] = {}

    def sets(self, side: int, step: StepKey) -> Sequence[StoredSet]:
        if self._small[side]:
            if not self._all_sets:
                self._all_sets = self._of_small_runs(self._sets_of)
            return self._all_sets[side].get(step, [])
        held = self._sets.get((side, step))
        if held is None:
            found = self._store.sets(self._project, self._sides[side].run_id, step[0])
            held = [each for each in found if each.attempt == step[1]]
            if len(self._sets) >= _MAX_CACHED:
                self._sets.pop(next(iter(self._sets)))
            self._sets[side, step] = held
        return held

    def samples(self, side: int, step: StepKey) -> Sequence[Mapping[str, Any]]:
        run_id = self._sides[side].run_id
        if self._small[side]:
            if not self._all_samples:
                self._all_samples = self._of_small_runs(partial(self._store.samples, self._project))
            return self._all_samples[side].get(step, [])
        return self._store.samples(self._project, run_id, [step]).get(step, [])

    def _sets_of(self, run_id: str) -> dict[StepKey, list[StoredSet]]:
        by_step: dict[StepKey, list[StoredSet]] = {}
        for each in self._store.sets(self._project, run_id, None):
            by_step.setdefault((each.step_id, each.attempt), []).append(each)
        return by_step

    def _of_small_runs(self, ask: Callable[[str], T]) -> dict[int, T]:
        small = [number for number in (0, 1) if self._small[number]]
        return dict(zip(small, together(*(partial(ask, self._sides[number].run_id) for number in small))))


def _is_small(side: Side) -> bool:
    """Whether all that was said of a run's items is little: of every step what was judged, and what went in and came out."""
    items = 0
    for step in side.steps:
        items += sum((step["counts"] or {}).values())
        sets = step["items"] or {}
        items += sum(int((sets.get(name) or {}).get("n") or 0) for name in (ITEMS_IN, ITEMS_OUT))
        items += sum(int(each.get("n") or 0) for each in (sets.get("others") or {}).values())
    return items <= _SMALL


def diff(store: Store, project: str, a: str, b: str, options: Options = DEFAULT_OPTIONS) -> Diff:
    """Where run b first differs from run a.

    Raises:
        UnknownRunError: there is no such run.
    """
    one, other = _sides(store, project, a, b)
    chosen = _with_those_of_the_pipeline(options, other)
    found, proposed = together(
        lambda: compare(one, other, _StoreSource(store, project, (one, other)), chosen),
        lambda: _always_changing(store, project, other, chosen),
    )
    return replace(found, ignore_proposed=proposed)


def parted(store: Store, project: str, a: str, b: str) -> PartedAt | None:
    """Only where run b first differs from run a, in a hundredth of the time of `diff`; None when nothing is known to differ.

    Raises:
        UnknownRunError: there is no such run.
    """
    one, other = _sides(store, project, a, b)
    options = _with_those_of_the_pipeline(DEFAULT_OPTIONS, other)
    return where_parted(one, other, _StoreSource(store, project, (one, other)), options)


def diff_to_baseline(
    store: Store, project: str, run_id: str, wanted: str | None = None, options: Options = DEFAULT_OPTIONS
) -> Diff:
    """Where a run first differs from its baseline: `a` is the baseline, `b` this run.

    Args:
        wanted: as for `baseline.choose`, or the id of a run.

    Raises:
        UnknownRunError: there is no such run.
        NoBaselineError: there is no run to compare with.
    """
    run = known_run(store, project, run_id, "a")
    named = store.run(project, wanted) if wanted else None
    chosen = Baseline(named, "the run that was asked for") if named else choose(store, project, run, wanted)
    found = diff(store, project, chosen.run.run_id, run_id, options)
    odd = unusual(figures_of(store, project, [run])[0], chosen.history)
    about = chosen.as_json()
    mark = f', "{about["note"]}"' if about["note"] else ""
    sentence = found.sentence + "".join(f"; {each.sentence}" for each in odd[:1])
    sentence += say("baseline", run=chosen.run.run_id, why=chosen.how + mark)
    return replace(found, sentence=sentence, baseline=about, unusual=[each.as_json() for each in odd])


def _with_those_of_the_pipeline(options: Options, b: Side) -> Options:
    """What the pipeline itself sets, in the metadata `xray.compare` of its runs, and what was asked for in addition."""
    own = (b.run["metadata"] or {}).get(PIPELINE_OPTIONS)
    if not isinstance(own, Mapping):
        return options
    ignore = own.get("ignore")
    paths = [each for each in ignore if isinstance(each, str)] if isinstance(ignore, list) else []
    try:
        theirs = checked_options(own.get("tolerance"), [*options.ignore, *paths])
    except ConfigurationError:
        return options
    return theirs if options.tolerance == DEFAULT_OPTIONS.tolerance else replace(theirs, tolerance=options.tolerance)


def _always_changing(store: Store, project: str, b: Side, options: Options) -> list[str]:
    """Paths of the run's input that had another value in each of the last runs: proposals for `ignore`."""
    if not isinstance(b.run["input"], Mapping):
        return []
    where = RunFilter(pipeline=b.run["pipeline"] or "", status="completed")
    inputs = [run.state["input"] for run in store.runs(project, where, limit=_RUNS_FOR_PROPOSALS).items]
    inputs = [each for each in inputs if isinstance(each, Mapping)]
    if len(inputs) < _RUNS_FOR_PROPOSALS // 2:
        return []
    found = []
    for name in b.run["input"]:
        values = [repr(each.get(name)) for each in inputs if name in each]
        path = f"input.{name}"
        if len(values) == len(set(values)) == len(inputs) and not options.ignores(path):
            found.append(path)
    return sorted(found)[:_MAX_PROPOSED]


def _sides(store: Store, project: str, a: str, b: str) -> tuple[Side, Side]:
    runs = together(partial(known_run, store, project, a, "a"), partial(known_run, store, project, b, "b"))
    steps = together(*(partial(all_steps, store, project, run.run_id) for run in runs))
    one, other = (Side(run.run_id, run.state, [step.state for step in of]) for run, of in zip(runs, steps))
    return one, other
