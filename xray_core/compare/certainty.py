"""What keeps a blame from being certain: whatever is not known to be equal in value before the step, and in what it was given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from xray_core.compare import evidence
from xray_core.compare.align import Pair, in_order
from xray_core.compare.blame import Blame, Judged
from xray_core.compare.choosing import names_all, only_chose
from xray_core.compare.coverage import can_be_all, only_refers
from xray_core.compare.evidence import UNKNOWN, Equality


class Doubts(NamedTuple):
    """What is not known to be equal: what the runs were given, what went into the step, and paths of steps before it.

    Attributes:
        referring: steps that put out the same, which may stand for something else: a path, the name of a table.
        close: steps that put out the same, but for the last digit, its types or its order.
        generated: steps that put out the same, but for what is another in every run.
    """

    run: Equality
    given: bool
    unknown: Sequence[str]
    referring: Sequence[str]
    close: Sequence[str]
    generated: Sequence[str]
    differing: Sequence[str]


def doubts(blame: Blame, judged: Judged) -> Doubts:
    """Why it is not certain that a difference began in one step; see `Doubts`."""
    before = [each for each in _before(blame, judged) if not _came_out_whole(blame, each)]
    given = judged.missing or _whole(blame, judged, "input") or (judged.inputs.proven and blame.is_first(judged))
    if (
        before
        and judged.inputs.declared
        and judged.inputs.state == "same"
        and _chosen_and_named(blame, before, judged.pair)
    ):
        before, given = [], True
    inside = [blame.of[id(child)] for child in in_order(judged.pair.children)]
    # what an inner step was given, the code around it gave
    before += [each for each in inside if not each.inputs.differs and not _came_out_whole(blame, each)]
    return Doubts(
        run=blame.run_inputs if blame.run_inputs_told else UNKNOWN,
        given=not given,
        unknown=[each.pair.path for each in before if not (each.outputs.differs or _same(each) or _generated(each))],
        referring=[each.pair.path for each in before if _same(each) and not each.outputs.close],
        close=[each.pair.path for each in before if _same(each) and each.outputs.close],
        generated=[each.pair.path for each in before if _generated(each)],
        differing=[each.pair.path for each in before if each.outputs.differs],
    )


def _before(blame: Blame, judged: Judged) -> list[Judged]:
    """The steps before one, without those around it and other instances of it."""
    around = {id(each) for each in judged.pair.ancestors()}
    before = blame.judged[: blame.judged.index(judged)]
    return [each for each in before if id(each.pair) not in around and not _beside(each.pair, judged.pair)]


def _beside(one: Pair, other: Pair) -> bool:
    """Whether two steps are different instances of one mapped step."""
    return one.map_index is not None and one.name == other.name and one.parent is other.parent


def _came_out_whole(blame: Blame, judged: Judged) -> bool:
    """Whether all that a step put out is known to be equal in value."""
    pair = judged.pair
    if judged.outputs.state == "unknown" and pair.children and not judged.missing:
        return all(_came_out_whole(blame, blame.of[id(child)]) for child in pair.children)
    if blame.came_out(pair).state != "same":
        return False
    return judged.outputs.state == "unknown" or _whole(blame, judged, "output")  # one that was skipped put nothing out


def _same(judged: Judged) -> bool:
    """Whether all of what a step put out is equal in value, whatever it stands for."""
    known = judged.outputs.state == "same" and not judged.outputs.generated
    return known and (judged.outputs.declared or judged.outputs.close)


def _generated(judged: Judged) -> bool:
    """Whether what a step put out is equal but for what is another in every run."""
    return judged.outputs.state == "same" and bool(judged.outputs.generated)


def _whole(blame: Blame, judged: Judged, side: Literal["input", "output"]) -> bool:
    """Whether one side is known to be equal in value, and by evidence that can be of all of it."""
    found = judged.inputs if side == "input" else judged.outputs
    a, b = judged.pair.a, judged.pair.b
    if found.state != "same" or found.generated or found.close or a is None or b is None:
        return False  # a step may decide by the last digit of a number
    if side == "input" and (judged.inferred or _in_another_order(a[side], b[side])):
        return False  # or take the first of a dict
    if evidence.rows_known(a, b, side) or a[side] is None:
        return True
    if side == "output" and only_refers(a[side]):
        return False
    begins = side == "input" and judged.begins  # then what it judged is what it put out
    return can_be_all(a[side], None if begins else evidence.handled(a, side))


def _in_another_order(a: Any, b: Any) -> bool:
    """Whether two equal values are not written alike: dicts and sets in another order."""
    return a is not None and b is not None and repr(a) != repr(b)


def _chosen_and_named(blame: Blame, steps: Sequence[Judged], pair: Pair) -> bool:
    """Whether these steps only chose among the same items, and what went into `pair` names all that came out of the last."""
    for each in steps:
        a, b = each.pair.a, each.pair.b
        if a is None or b is None or not only_chose(a, b, each.inputs, each.outputs, blame.options.tolerance):
            return False
    last = steps[-1].pair.a
    assert last is not None
    held = blame.source.sets(0, (last["step_id"], last["attempt"]))
    return pair.a is not None and names_all(pair.a["input"], held)
