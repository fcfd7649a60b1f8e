"""Where two runs first differ: which steps differ by themselves, which only follow, and which of them reached the output.

The steps are walked in order, inner steps inside the one around them, and each passes on the differences that it may have
let through. A step whose input is equal in value lets nothing through that began before it; one whose output is equal in
value passes nothing on. What is left at the end reached the output of the run. docs/why.md tells the rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

from xray_core.compare import evidence, members
from xray_core.compare.align import Pair, in_order
from xray_core.compare.changes import step_changes
from xray_core.compare.evidence import SAME, UNKNOWN, Equality
from xray_core.compare.hidden import hidden
from xray_core.compare.made_up import only_made_up
from xray_core.compare.options import DEFAULT, Options
from xray_core.compare.stored import RunMarks, is_generated
from xray_core.compare.types import Knowledge, Side, Source, State, StepKey
from xray_core.model import RESULT_METADATA

SOURCES: Final = frozenset({"generate", "retrieve"})


@dataclass(slots=True)
class Judged:
    """A pair of steps with what is known of it.

    Attributes:
        inferred: equality of the inputs follows from the steps before, it was not captured.
        changed: paths of its parameters and code that differ, its own or of a step around it.
        own: it differs by itself: nothing before it explains it.
        weak: only in order, or only in what went in.
        reached: its difference may have reached the output of the run.
        from_run: what the runs were given explains it.
        begins: items begin in it.
        shows_in: the later step in which its difference shows, where nothing that it put out is known to differ in value.
    """

    pair: Pair
    inputs: Equality = UNKNOWN
    outputs: Equality = UNKNOWN
    inferred: bool = False
    changed: Sequence[str] = ()
    own: bool = False
    weak: bool = False
    reached: bool = False
    from_run: bool = False
    begins: bool = False
    shows_in: Judged | None = None
    role: Literal["origin", "consequence"] | None = None

    @property
    def missing(self) -> bool:
        """Whether one of the runs lacks the step."""
        return self.pair.a is None or self.pair.b is None

    @property
    def differs(self) -> bool:
        """Whether the step is missing on one side, or its inputs or outputs differ."""
        return self.missing or self.inputs.differs or self.outputs.differs

    @property
    def silent(self) -> bool:
        """Nothing at all was captured of what went in or came out."""
        return self.inputs.state == self.outputs.state == "unknown" or (
            self.inferred and self.outputs.state == "unknown"
        )


Alive = frozenset[int]  # ids of pairs whose difference may still be on its way; 0 stands for the input of the run
_RUN: Final = 0
_NOTHING: Final[Alive] = frozenset()


class Blame:
    """Judges every pair of steps of two runs.

    Attributes:
        judged: in order, a parent before its children.
        origins: those that differ by themselves, the one to be named first in front.
        run_inputs, run_outputs: of the runs themselves; run_inputs_told: whether the former were captured.
        marks: what each run leaves of itself in values.
        of: id(pair) -> what is known of it.
    """

    def __init__(self, roots: Sequence[Pair], a: Side, b: Side, source: Source, options: Options = DEFAULT) -> None:
        self.source, self.options = source, options
        self.marks = RunMarks((a.run["started_us"], b.run["started_us"]), (a.run_id, b.run_id))
        self.run_inputs = _of_runs(a.run, b.run, "input", options, self.marks)
        self.run_inputs_told = _told_input(a.run, b.run)
        self.run_outputs = _of_runs(a.run, b.run, "output", options, self.marks)
        self.of = {id(pair): Judged(pair) for pair in in_order(roots)}
        self.judged = [self.of[id(pair)] for pair in in_order(roots)]
        begins = True
        for each in self.judged:
            begins = self._compare(each, begins=begins) and begins
        self._chosen = tuple(_chosen_steps(side.run) for side in (a, b))
        self._carried: dict[int, Alive] = {}
        self._ever: set[int] = set()
        self._undone: set[int] = set()  # pairs whose difference went into a step that put out the same all the same
        self._seen: set[int] = set()  # pairs whose difference is seen in a step after them, or in the output of the run
        start: Alive = frozenset({_RUN}) if self.run_inputs.differs else _NOTHING
        left = self._walk(roots, start, SAME if self.run_inputs.state == "same" else UNKNOWN)
        if self.run_outputs.state == "same":
            left = _NOTHING
        if self.run_outputs.differs:
            self._seen |= left
        for each in self.judged:
            each.reached = id(each.pair) in left
        self.origins = self._ranked()
        for each in self.judged:
            if each.differs:
                each.role = "origin" if each in self.origins else "consequence"

    # What is known of each step --------------------------------------------------------------------------------------

    def _compare(self, judged: Judged, *, begins: bool) -> bool:
        """Fill in what is known of a pair; whether no step up to here has recorded items that it was given."""
        a, b = judged.pair.a, judged.pair.b
        if a is None or b is None:
            return begins and not _tells_items(a or b)
        source_step = any(_is_source(state, begins) for state in (a, b))
        judged.begins = source_step
        judged.inputs = evidence.inputs_equal(a, b, self.options, self.marks, begins=source_step)
        keys: list[StepKey] = [(state["step_id"], state["attempt"]) for state in (a, b)]
        judged.outputs = evidence.outputs_equal(a, b, self.options, self.marks, partial(self._samples, keys))
        over_attempts = members.over_attempts(judged.pair, self.source)
        if over_attempts is not None:
            judged.inputs, judged.outputs = over_attempts
            if evidence.ended_otherwise(a, b):
                judged.outputs = Equality("differs", (*judged.outputs.what, "status"))
        judged.changed = self._parameters_changed(judged.pair)
        return begins and not (_tells_items(a) or _tells_items(b))

    def _samples(self, keys: list[StepKey]) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
        return self.source.samples(0, keys[0]), self.source.samples(1, keys[1])

    def _parameters_changed(self, pair: Pair) -> list[str]:
        changed = [
            change.path
            for each in (pair, *pair.ancestors())
            for change in step_changes(each, self.options)
            if not is_generated(change, self.marks)
        ]
        # what was captured at all is no parameter of the step, and neither is what came of it
        results = tuple(f"steps.{each.path}.metadata.{RESULT_METADATA}" for each in (pair, *pair.ancestors()))
        return [
            path for path in changed if not path.endswith((".capture", ".step_type")) and not path.startswith(results)
        ]

    # The walk --------------------------------------------------------------------------------------------------------

    def _walk(self, pairs: Sequence[Pair], alive: Alive, before: Equality) -> Alive:
        """The steps of one level in order; what is alive after them. `before`: whether all up to here came out equal."""
        consumed: set[int] = set()
        groups: dict[str, tuple[Alive, Equality]] = {}
        passed: dict[str, Alive] = {}
        entering = (alive, before)
        recorded = any(
            pair.upstream for pair in pairs
        )  # then a step that builds on none is given nothing by those before
        for pair in pairs:
            started, known = entering if recorded else (alive, before)
            if pair.map_index is not None and not recorded:  # instances of a mapped step run beside each other
                started, known = groups.setdefault(pair.name, (alive, before))
            if pair.upstream:
                consumed |= set(map(id, pair.upstream))
                started = frozenset().union(
                    *(self._carried.get(id(up), _NOTHING) for up in pair.upstream), alive & {_RUN}
                )
                known = _weakest([self.came_out(up) for up in pair.upstream])
            left = self._visit(self.of[id(pair)], started, known)
            self._carried[id(pair)] = left
            before = _weakest([before, self.came_out(pair)])
            if pair.map_index is not None:
                left = passed[pair.name] = passed.get(pair.name, _NOTHING) | left
            alive = left
        if consumed:  # recorded dependencies: what nobody took up is what came out
            return frozenset().union(*(self._carried[id(pair)] for pair in pairs if id(pair) not in consumed))
        return alive

    def _visit(self, judged: Judged, alive: Alive, before: Equality) -> Alive:
        """Judge one step by what may have reached it; what it passes on."""
        pair = judged.pair
        if judged.missing:
            return self._missing(judged, alive)
        if judged.inputs.state == "unknown" and before.state != "unknown" and not _given_unreadable(pair):
            judged.inputs, judged.inferred = Equality(before.state), True
        reached = self._past_equal_input(judged, alive)
        if judged.inputs.judged and not alive and not self._ever:
            judged.inputs = UNKNOWN  # nothing explains it: they may have been lost inside as well
        if judged.inputs.differs:
            reached = alive or frozenset(self._ever)
            if reached <= {_RUN}:
                giver = self._giver(pair, before)
                if giver is None:
                    self._given_something_else(judged, from_run=_RUN in reached)
                else:
                    giver.own, giver.weak = True, giver.outputs.weak
                reached = self._take_over(giver or judged, reached)
        known = before if judged.inputs.state == "unknown" else _weakest([judged.inputs])
        inner = self._walk(pair.children, reached, known)
        if judged.outputs.state == "same":
            if judged.inputs.differs:
                self._undone |= reached
            return _NOTHING
        if judged.outputs.differs:
            self._seen |= reached
        if judged.own:
            return inner | reached
        return self._came_out_different(judged, reached, inner) if judged.outputs.differs else inner

    def _past_equal_input(self, judged: Judged, alive: Alive) -> Alive:
        """What may have come past an input that is equal in value: scores, which go beside the rows of items."""
        if judged.inputs.state != "same" or judged.inferred:
            return alive
        if judged.inputs.declared:
            return _NOTHING
        return frozenset(each for each in alive if each != _RUN and "scores" in self.of[each].outputs.what)

    def _giver(self, pair: Pair, before: Equality) -> Judged | None:
        """The step around one that was given something else, if it gave that: its own input is equal, and so is what came out
        of all inside it up to here.
        """
        around = None if pair.parent is None else self.of[id(pair.parent)]
        if around is None or not around.outputs.differs:
            return None
        equal = around.inputs.state == "same" or (around.inputs.declared and not around.inputs.differs)
        return around if equal and before.state == around.inputs.state else None

    def _missing(self, judged: Judged, alive: Alive) -> Alive:
        chosen = self._chosen[0 if judged.pair.a is None else 1]
        if chosen is not None and judged.pair.name not in chosen:
            return alive  # it was not asked to run: its results are those of an earlier run
        if self._strong(alive) or (judged.pair.parent is not None and self.of[id(judged.pair.parent)].missing):
            return alive
        judged.own = True
        judged.from_run = _RUN in alive
        return self._take_over(judged, alive)

    def _given_something_else(self, judged: Judged, *, from_run: bool) -> None:
        """Nothing before it explains what went in. Where the same came out, that is no difference of the runs."""
        if judged.outputs.state == "same":
            return
        judged.own = True
        judged.from_run = from_run
        judged.weak = not judged.outputs.differs or (judged.inputs.weak and judged.outputs.weak)

    def _came_out_different(self, judged: Judged, reached: Alive, inner: Alive) -> Alive:
        inside = inner - reached
        if inside:
            return inner
        kept = self._kept_inside(judged) - reached
        if self._strong(kept) and not judged.changed:
            return inner | kept
        explained = self._strong(reached) or (reached and judged.outputs.reordered)
        if judged.inputs.differs and judged.inputs.reordered:
            explained = explained or bool(reached)
        if reached <= {_RUN} and reached:
            # the input of the run may explain it, unless the step's own is equal or its parameters changed
            judged.from_run = not (judged.inputs.state == "same_items" and judged.changed)
            explained = False
        if explained:
            return inner | reached
        judged.own = True
        judged.weak = judged.outputs.weak
        return self._take_over(judged, reached)

    def _kept_inside(self, judged: Judged) -> Alive:
        """Differences of inner steps that no later one is seen to undo: the code around them has what each of them put out."""
        carried = [self._carried.get(id(child), _NOTHING) for child in judged.pair.children]
        return frozenset().union(*carried) - self._undone

    def _take_over(self, judged: Judged, alive: Alive) -> Alive:
        if not judged.own:
            return alive
        self._ever.add(id(judged.pair))
        return alive - {_RUN} | {id(judged.pair)}

    def _strong(self, alive: Alive) -> bool:
        return any(each != _RUN and not self.of[each].weak for each in alive)

    def came_out(self, pair: Pair) -> Equality:
        """What is known of what a step put out; a step that only groups others put out what they did."""
        judged = self.of[id(pair)]
        if judged.missing:
            return UNKNOWN
        if judged.outputs.state == "unknown":
            if pair.children:
                return _weakest([self.came_out(child) for child in pair.children])
            if all(state is not None and state["status"] == "skipped" for state in (pair.a, pair.b)):
                return SAME
        return judged.outputs

    # The one to be named ---------------------------------------------------------------------------------------------

    def _ranked(self) -> list[Judged]:
        """Those whose difference reached the output first, the clear ones before those of order alone, then in order."""
        own = [each for each in self.judged if each.own and (not each.weak or (each.reached and self._mattered(each)))]
        proven = any(each.reached and not each.weak and (each.changed or each.inputs.state == "same") for each in own)
        used = {id(up) for each in self.judged for up in each.pair.upstream}
        ranked = sorted(
            own,
            key=lambda each: (
                not each.reached or (each.missing and bool(used) and id(each.pair) not in used),  # nobody builds on it
                each.weak and proven,
            ),
        )
        ranked = self._changed_before(ranked, own)
        found = self._hidden_before(ranked)
        return ranked if found is None else [found, *(each for each in ranked if each is not found)]

    def _changed_before(self, ranked: list[Judged], own: Sequence[Judged]) -> list[Judged]:
        """In front a step whose parameters or code changed, where nothing explains the one that would be named: that one may
        have been given what the other changed. Of the other it need not be known what it put out.
        """
        if not ranked or ranked[0].changed or ranked[0].missing or not self.run_outputs.differs:
            return ranked
        first = ranked[0]
        for each in own[: own.index(first)]:
            # what is equal in value is of other types where that was given: the other explains it as well
            explains = each.changed or first.inputs.rewritten or self._may_be_given_beside(each, first)
            if explains and each.outputs.differs and not each.weak and id(each.pair) not in self._undone:
                return [each, *(other for other in ranked if other is not each)]
        return ranked

    def _may_be_given_beside(self, one: Judged, other: Judged) -> bool:
        """Whether a step may have been given, beside the items that are all it told of its input, what another put out: a setting,
        a model, a flag. An id that was made up decides nothing.
        """
        told_less = other.reached and not other.inputs.declared
        return told_less and "items" not in one.outputs.what and not only_made_up(self, one)

    def _hidden_before(self, ranked: Sequence[Judged]) -> Judged | None:
        """A step whose difference shows in the one that would be named alone."""
        if not ranked or ranked[0].changed or ranked[0].missing or ranked[0].from_run:
            return None
        return hidden(self, ranked[0])

    def _mattered(self, judged: Judged) -> bool:
        """Whether an order that may be that of a set or of threads is seen to have changed what came after."""
        return not (judged.outputs.weak or judged.inputs.weak) or id(judged.pair) in self._seen

    def new_data(self, judged: Judged) -> bool:
        """Whether a step in which items begin brought others, and nothing that was captured of its own input tells why."""
        a, b = judged.pair.a, judged.pair.b
        return (
            a is not None
            and b is not None
            and "items" in judged.outputs.what
            and (judged.inferred or judged.inputs.state != "same")
            and all(state["step_type"] in SOURCES or self.is_first(judged) for state in (a, b))
        )

    def is_first(self, judged: Judged) -> bool:
        """Whether nothing of the run came before a step, but the steps around it."""
        around = {id(each) for each in judged.pair.ancestors()}
        return all(id(each.pair) in around for each in self.judged[: self.judged.index(judged)])


def _of_runs(a: State, b: State, side: Literal["input", "output"], options: Options, marks: RunMarks) -> Equality:
    if all(run[name] is None for run in (a, b) for name in (side, f"{side}_fp")):
        return SAME if side == "input" else UNKNOWN  # neither was given anything
    return evidence.values_equal(a, b, side, options, marks)


def _given_unreadable(pair: Pair) -> bool:
    """Whether a step was given, by no step that is known, what cannot be read: a stream, an object of no known kind."""
    return not pair.upstream and any((state["input_fp"] or {}).get("partial") for state in (pair.a, pair.b) if state)


def _told_input(a: State, b: State) -> bool:
    """Whether it is known what the runs were given: a framework tells it, a script may have arguments of its own."""
    return all(run["input"] is not None or run["input_fp"] is not None or run["origin"] is not None for run in (a, b))


def _chosen_steps(run: State) -> set[str] | None:
    """The steps that a framework was asked to run, where that was a part of them (a re-execution of what failed)."""
    given = run["input"]
    chosen = given.get("step_selection") if isinstance(given, Mapping) else None
    return {str(key).rpartition(".")[2].partition("[")[0] for key in chosen} if isinstance(chosen, list) else None


def _weakest(several: Sequence[Equality]) -> Equality:
    order: tuple[Knowledge, ...] = ("differs", "unknown", "same_items", "same")
    if not several:
        return UNKNOWN
    state = min((each.state for each in several), key=order.index)
    return Equality("unknown" if state == "differs" else state)


def _is_source(state: State, begins: bool) -> bool:
    """Whether items begin in a step: by its type, or because none were recorded before and it says of none that they fell."""
    if state["step_type"] in SOURCES or state.get("relation") == "source":
        return True
    counts = state["counts"] or {}
    fell = sum(n for outcome, n in counts.items() if outcome not in ("accepted",))
    return begins and not fell and state["step_type"] is None and "in" not in (state["items"] or {})


def _tells_items(state: State | None) -> bool:
    return state is not None and bool(state["counts"] or state["items"] or state["decisions"])
