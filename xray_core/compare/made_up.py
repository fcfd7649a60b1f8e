"""Whether what a step put out differs in ids alone that it may have made up, as those of chunks, of calls or of orders are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xray_core.compare.changes import differences
from xray_core.compare.types import State
from xray_core.objects.generated import may_be_made_anew

if TYPE_CHECKING:
    from xray_core.compare.blame import Blame, Judged


def only_made_up(blame: Blame, judged: Judged) -> bool:
    """Whether all that is seen to differ in what a step put out are random ids, of which the other run has none."""
    a, b = judged.pair.a, judged.pair.b
    if a is None or b is None or not judged.outputs.differs or not {"items", "value"}.issuperset(judged.outputs.what):
        return False
    if "items" in judged.outputs.what:
        one, other = (_ids(blame, side, state) for side, state in enumerate((a, b)))
        return bool(one) and len(one) == len(other) and not one & other and all(map(may_be_made_anew, one | other))
    return _values(a, b)


def _ids(blame: Blame, side: int, state: State) -> set[str]:
    """The ids of all that went in or came out; none where not all are kept by name."""
    held = blame.source.sets(side, (state["step_id"], state["attempt"]))
    return set().union(*(each.ids or () for each in held)) if all(each.ids is not None for each in held) else set()


def _values(a: State, b: State) -> bool:
    if all((state["output_fp"] or {}).get("made_up") for state in (a, b)):
        return True
    pairs = [(change.a, change.b) for change in differences(a["output"], b["output"], "")]
    given = [f"{state['input']}" for state in (a, b)]

    def is_made_up(one: Any, other: Any) -> bool:
        both = isinstance(one, str) and isinstance(other, str) and one not in given[0] and other not in given[1]
        return both and may_be_made_anew(one) and may_be_made_anew(other)

    return bool(pairs) and all(is_made_up(one, other) for one, other in pairs)
