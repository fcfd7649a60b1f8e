"""What if the limit were another: which items of a step would change, by the numbers that its verdicts declared.

Says what this limit would do at this step, for every item that has a value; not what other checks of the step, or later steps,
would then do. Which side of the limit is rejected, and whether the limit itself is, is read off the verdicts; where they do not
tell, the answer says so. Knows no HTTP and no SQL.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from xray_core import verdicts
from xray_core.plurals import plural
from xray_server.errors import NotKnownError
from xray_server.read.item_list import ItemFilter, cursor_of, name_of, parse_cursor, sets_of, steps_of, values_in
from xray_server.read.why import known_run
from xray_server.store import Store, StoredSet, StoredStep

Json = dict[str, Any]
Side = Literal["above", "below"]
NEAR: Final = 10  # items on either side of the limit that are listed as near misses
_YES: Final = frozenset({"accepted", "selected"})


class _Item(NamedTuple):
    """One item with a value; `text` is its id, or the fingerprint in hex where `unnamed`."""

    value: float
    unnamed: int
    text: str
    step_id: str
    was: str


@dataclass(slots=True)
class _Values:
    """The sets of one side of the verdict, yes or no, that have values; and how many items have none."""

    sets: list[tuple[StoredStep, StoredSet, Sequence[float | None]]] = field(default_factory=list)
    without: int = 0

    def add(self, step: StoredStep, each: StoredSet) -> None:
        values = values_in(each)
        self.without += each.n if each.values is None else sum(value is None for value in values)
        if each.values is not None:
            self.sets.append((step, each, values))

    def __iter__(self) -> Iterator[tuple[float, float | None]]:
        for _, each, values in self.sets:
            for value in values:
                if value is not None:
                    yield value, each.limit

    def items(self, wanted: Any) -> Iterator[_Item]:
        """Those whose value fits."""
        for step, each, values in self.sets:
            places = [at for at, value in enumerate(values) if value is not None and wanted(value)]
            if not places:
                continue
            names = each.ids if each.ids is not None else verdicts.decode(each.fp40 or b"\x01")
            for at in places:
                name = names[at]
                text = name if isinstance(name, str) else f"{name:010x}"
                yield _Item(values[at] or 0.0, int(each.ids is None), text, step.step_id, each.outcome)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What the verdicts tell of the limit: which side of it is rejected, and the limit itself (None: not known).

    `exceptions`: items whose verdict another rule must have made.
    """

    side: Side | None
    at_limit: bool | None
    limits: Sequence[float]
    exceptions: int

    def rejects(self, value: float, limit: float) -> bool | None:
        """Whether a value is rejected under a limit; None: not known, since it is the limit itself."""
        if value == limit:
            return self.at_limit
        return value > limit if self.side == "above" else value < limit


def what_if(
    store: Store,
    project: str,
    run_id: str,
    *,
    step: str,
    limit: float | None,
    reason: str | None = None,
    item: str | None = None,
    rows: int = 50,
    cursor: str | None = None,
) -> Json:
    """Who would change at a step if its limit were another; without a limit, what is near the one it had.

    Args:
        reason: whose limit; needed only where several reasons declare values.
        item: keep the list of changes to one item.

    Raises:
        UnknownRunError, NotKnownError: no such run, step or reason, or nothing was declared.
    """
    run = known_run(store, project, run_id)
    steps = steps_of(store, project, run_id, ItemFilter(step=step))
    step = name_of(steps, step)
    noes, yeses = _Values(), _Values()
    chosen, others = reason, 0
    every = [(at, each) for at, each in sets_of(store, project, run_id, steps) if each.outcome in (*_YES, "rejected")]
    if reason is None:
        chosen = _the_reason(every, step)
    for at, each in every:
        if each.outcome in _YES:
            yeses.add(at, each)
        elif (each.reason or "") == chosen:
            noes.add(at, each)
        else:
            others += each.n
    rule = _rule(noes, yeses)
    about: Json = {
        "run_id": run_id, "pipeline": run.state["pipeline"], "step": step, "reason": chosen or None,
        "limit": limit, "limits": list(rule.limits), "rejects": rule.side,
        "at_limit": None if rule.at_limit is None else "rejected" if rule.at_limit else "accepted",
        "other_reasons": others, "exceptions": rule.exceptions,
        "range": _range(noes, yeses),
        "without_value": {"rejected": noes.without, "accepted": yeses.without},
        "near": _near(noes, yeses, rule),
    }  # fmt: skip
    if rule.side is None:
        sentence = f"{step}: the values declared do not tell which side of a limit is rejected"
        return {**about, **_nothing(), "certainty": "not_captured", "sentence": sentence}
    if limit is None:
        return {**about, **_nothing(), "certainty": "exact", "sentence": _sentence_now(about, noes, yeses)}
    return {**about, **_changes(about, rule, noes, yeses, limit, item, rows, cursor)}


def _nothing() -> Json:
    return {"changes": None, "items": [], "next_cursor": None}


def _changes(
    about: Json,
    rule: _Rule,
    noes: _Values,
    yeses: _Values,
    limit: float,
    item: str | None,
    rows: int,
    cursor: str | None,
) -> Json:
    """How many would change and which, those nearest to the limit they had first."""
    now_pass = sum(rule.rejects(value, limit) is False for value, _ in noes)
    now_fail = sum(rule.rejects(value, limit) is True for value, _ in yeses)
    open_ = sum(rule.rejects(value, limit) is None for each in (noes, yeses) for value, _ in each)
    n_noes, n_yeses = sum(1 for _ in noes), sum(1 for _ in yeses)
    was = rule.limits[0] if len(rule.limits) == 1 else limit
    found = [
        *noes.items(lambda value: rule.rejects(value, limit) is False),
        *yeses.items(lambda value: rule.rejects(value, limit) is True),
        *noes.items(lambda value: rule.rejects(value, limit) is None),
        *yeses.items(lambda value: rule.rejects(value, limit) is None),
    ]
    if item is not None:
        fingerprint = f"{verdicts.fingerprint(item):010x}"
        found = [each for each in found if each.text == (fingerprint if each.unnamed else item)]
    after = None if cursor is None else parse_cursor(cursor, _Place)
    keyed = {place: each for each in found if (place := _place(each, was)) and (after is None or place > after)}
    shown = heapq.nsmallest(rows + 1, keyed)
    changes = {"pass": now_pass, "fail": now_fail, "not_known": open_,
               "rejected": {"was": n_noes + noes.without, "now": n_noes + noes.without - now_pass + now_fail}}  # fmt: skip
    exact = not (open_ or noes.without or yeses.without or rule.exceptions)
    return {
        "changes": changes,
        "certainty": "exact" if exact else "partly",
        "sentence": _sentence(about, changes, limit, n_noes + n_yeses),
        "items": [_item_json(keyed[place], rule, limit) for place in shown[:rows]],
        "next_cursor": cursor_of(shown[rows - 1]) if len(shown) > rows else None,
    }


def _the_reason(every: Sequence[tuple[StoredStep, StoredSet]], step: str) -> str:
    """The reason whose limit is asked about: the only one with values and a limit, or with values at all.

    Raises:
        NotKnownError: none has, or several have.
    """
    noes = [each for _, each in every if each.outcome == "rejected" and each.values is not None]
    for some in (
        {each.reason or "" for each in noes if each.limit is not None},
        {each.reason or "" for each in noes},
    ):
        if len(some) == 1:
            return some.pop()
    if not noes:
        if any(each.values is not None for _, each in every):
            return ""  # nothing was rejected: its limit stands beside what was accepted
        raise NotKnownError(
            f"step {step[:100]!r} declared no values: say step.reject(id, reason, value=150, limit=100) and "
            "step.accept(id, value=80), or value= and limit= in step.filter",
            field="step",
        )
    told = sorted({each.reason or "" for each in noes})
    fitting = [reason for reason in told if _tells_apart(every, reason)]
    if len(fitting) == 1:
        return fitting[0]
    raise NotKnownError(
        f"several reasons of step {step[:100]!r} declared values: {', '.join(told[:20])}; say which: reason=...",
        field="reason",
    )


def _tells_apart(every: Sequence[tuple[StoredStep, StoredSet]], reason: str) -> bool:
    noes, yeses = _Values(), _Values()
    for at, each in every:
        if each.outcome in _YES:
            yeses.add(at, each)
        elif (each.reason or "") == reason:
            noes.add(at, each)
    rule = _rule(noes, yeses)
    return rule.side is not None and rule.exceptions == 0


def _rule(noes: _Values, yeses: _Values) -> _Rule:
    """Read off the verdicts; without a limit beside the values, off the gap between those rejected and those accepted."""
    limits = sorted({limit for _, limit in noes if limit is not None}) or sorted(
        {limit for _, limit in yeses if limit is not None}
    )
    one = limits[0] if len(limits) == 1 else None
    no = [(value, one if limit is None else limit) for value, limit in noes]
    yes = [(value, one if limit is None else limit) for value, limit in yeses]
    held = [(value, limit) for value, limit in no if limit is not None]
    passed = [(value, limit) for value, limit in yes if limit is not None]
    if not held and not passed:
        return _by_gap([value for value, _ in no], [value for value, _ in yes])
    above = sum(v > lim for v, lim in held) + sum(v < lim for v, lim in passed)
    below = sum(v < lim for v, lim in held) + sum(v > lim for v, lim in passed)
    if above == below:
        return _Rule(None, None, limits, 0)
    at_no, at_yes = sum(v == lim for v, lim in held), sum(v == lim for v, lim in passed)
    at_limit = None if bool(at_no) == bool(at_yes) else bool(at_no)
    exceptions = min(above, below) + (min(at_no, at_yes) if at_no and at_yes else 0)
    rejected_above = sum(v > lim for v, lim in held) >= sum(v < lim for v, lim in held)
    if held and rejected_above != (above > below) and any(v != lim for v, lim in held):
        return _Rule(None, None, limits, exceptions)  # most that were accepted lie where the others were rejected
    return _Rule("above" if above > below else "below", at_limit, limits, exceptions)


def _by_gap(no: Sequence[float], yes: Sequence[float]) -> _Rule:
    if no and yes and min(no) > max(yes):
        return _Rule("above", None, (), 0)
    if no and yes and max(no) < min(yes):
        return _Rule("below", None, (), 0)
    return _Rule(None, None, (), 0)


def _near(noes: _Values, yeses: _Values, rule: _Rule) -> Json:
    """The items nearest to the limit on either side: rejected by a little, accepted by a little."""
    if rule.side is None:
        return {"rejected": [], "accepted": []}
    sign = 1 if rule.side == "above" else -1
    found = {}
    for name, values, order in (("rejected", noes, sign), ("accepted", yeses, -sign)):
        ranked = heapq.nsmallest(NEAR, (order * value for value, _ in values))
        last = ranked[-1] if ranked else 0.0
        near = values.items(lambda value, order=order, last=last: bool(order * value <= last)) if ranked else ()
        some = heapq.nsmallest(NEAR, near, key=lambda each, order=order: (order * each.value, each.unnamed, each.text))
        found[name] = [_named_json(each) for each in some]
    return found


def _range(noes: _Values, yeses: _Values) -> list[float] | None:
    every = [value for each in (noes, yeses) for value, _ in each]
    return [min(every), max(every)] if every else None


_Place = tuple[float, int, str, str]  # what changes are sorted by: how far from the limit it had, then by name


def _place(each: _Item, was: float) -> _Place:
    return abs(each.value - was), each.unnamed, each.text, each.step_id


def _named_json(each: _Item) -> Json:
    return {
        "item_id": None if each.unnamed else each.text,
        "fingerprint": each.text if each.unnamed else None,
        "step_id": each.step_id,
        "value": each.value,
        "was": each.was,
    }


def _item_json(each: _Item, rule: _Rule, limit: float) -> Json:
    rejected = rule.rejects(each.value, limit)
    now = None if rejected is None else "rejected" if rejected else "accepted"
    return {**_named_json(each), "now": now}


def _sentence(about: Json, changes: Json, limit: float, n: int) -> str:
    was = about["limits"]
    had = f" in place of {was[0]:g}" if len(was) == 1 else f" in place of {len(was)} limits" if was else ""
    parts = [f"{changes['pass']:,} more of {plural(n, 'item')} would pass it"] * bool(changes["pass"])
    parts += [f"{changes['fail']:,} of {plural(n, 'item')} that were accepted would not"] * bool(changes["fail"])
    parts += [f"{changes['not_known']:,} lie on it, and nothing tells whether it is rejected"] * bool(
        changes["not_known"]
    )
    said = "; ".join(parts) or f"none of {plural(n, 'item')} would change"
    text = f"{about['step']} with a limit of {limit:g}{had}: {said}"
    missing = sum(about["without_value"].values())
    if missing:
        text += f"; of {missing:,} more no value was declared"
    if about["exceptions"]:
        text += f"; {plural(about['exceptions'], 'verdict does', 'verdicts do')} not follow from the limit"
    if changes["pass"] and about["other_reasons"]:
        text += "; other reasons of the step were not tried on them"
    return text


def _sentence_now(about: Json, noes: _Values, yeses: _Values) -> str:
    was = about["limits"]
    limit = (
        f"a limit of {was[0]:g}" if len(was) == 1 else f"{len(was)} limits" if was else "a limit that was not declared"
    )
    n_no, n_yes = sum(1 for _ in noes), sum(1 for _ in yeses)
    return f"{about['step']} had {limit}, rejected what is {about['rejects']} it: {n_no:,} of {plural(n_no + n_yes, 'item')}"
