"""Where a change of a rate lies: the one or two conditions over fields of sampled items that hold most of it.

An estimate, by the weights of the samples, with its error; never a claim about cause. Pure: what it needs is handed to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final, NamedTuple

MAX_VALUES: Final = 100  # of one field; the rarer ones are left out
_FAR: Final = 4.0  # standard errors by which a segment must differ from the rest
_PAIR_GAIN: Final = 0.05  # two conditions must tell so much more than one
_ENOUGH_YES: Final = 0.5  # share of the items let through that must have the field, so that rates can be told
NOT_GIVEN: Final = "(none)"  # what a dimension counts where an item's details have no such field
Condition = tuple[str, str]  # field, value


class Row(NamedTuple):
    """A sampled item: its fields as texts, whether it was rejected, and how many items it stands for."""

    fields: Mapping[str, str]
    rejected: bool
    weight: float


@dataclass(slots=True)
class _Sums:
    """Of a segment in one group: items rejected and in all, by their weights, and the sums of squared weights."""

    rejected: float = 0.0
    items: float = 0.0
    rejected_squares: float = 0.0
    squares: float = 0.0

    def add(self, row: Row) -> None:
        self.items += row.weight
        self.squares += row.weight * row.weight
        if row.rejected:
            self.rejected += row.weight
            self.rejected_squares += row.weight * row.weight


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment and what it holds of the change.

    Attributes:
        share: of the items rejected beyond the rate of before; `error`: standard error of it, of sampling alone.
        portion: of all items of the later group.
        a, b: the rate of rejection in it; None where only rejected items have the fields.
    """

    conditions: Sequence[Condition]
    share: float
    error: float
    portion: float | None
    a: float | None
    b: float | None

    @property
    def words(self) -> str:
        """As in "carrier=DHL and country=DE"."""
        return " and ".join(f"{name}={value}" for name, value in self.conditions)

    def as_json(self) -> dict[str, Any]:
        """Under the names of the API."""
        return {
            "conditions": [{"field": name, "value": value} for name, value in self.conditions], "words": self.words,
            "share": self.share, "error": self.error, "portion": self.portion, "rate_a": self.a, "rate_b": self.b,
        }  # fmt: skip


@dataclass(slots=True)
class _Group:
    whole: _Sums = field(default_factory=_Sums)
    of: dict[tuple[Condition, ...], _Sums] = field(default_factory=dict)

    def add(self, row: Row, known: set[Condition]) -> None:
        self.whole.add(row)
        conditions = sorted(each for each in row.fields.items() if each in known)
        for size in (1, 2):
            for some in combinations(conditions, size):
                sums = self.of.get(some)
                if sums is None:
                    sums = self.of[some] = _Sums()
                sums.add(row)


def find(a: Sequence[Row], b: Sequence[Row], n_a: float, n_b: float) -> Segment | None:
    """The segment that holds most of the change from a to b beside its size; None where it is spread over all of them.

    Args:
        n_a, n_b: how many items there were in all.
    """
    rates = all(_have_fields(rows) for rows in (a, b))
    if not rates:
        a, b = ([row for row in rows if row.rejected] for rows in (a, b))
    known = _frequent(row for rows in (a, b) for row in rows)
    groups = _Group(), _Group()
    for group, rows in zip(groups, (a, b)):
        for row in rows:
            group.add(row, known)
    return _best(*groups, rates=rates, n_a=n_a, n_b=n_b)


Counts = Mapping[str, Mapping[str, Mapping[str, int]]]  # field -> value -> outcome -> items


def find_exact(a: Counts, b: Counts, by: Sequence[str], n_a: float, n_b: float) -> Segment | None:
    """As `find`, of dimensions: fields whose values were counted for every item. One condition, for they were counted apart."""
    names = [each for each in by if each in a and each in b]
    rates = all(_let_through_known(counts[name]) for counts in (a, b) for name in names)
    groups = _Group(), _Group()
    for group, counts in zip(groups, (a, b)):
        for place, name in enumerate(names):
            for value, outcomes in counts[name].items():
                rejected = float(outcomes.get("rejected", 0))
                n = float(sum(outcomes.values())) if rates else rejected
                sums = _Sums(rejected, n, rejected, n)
                if value != NOT_GIVEN:
                    group.of[((name, value),)] = sums
                if not place:  # each dimension counts all items
                    group.whole = _plus(group.whole, sums)
    return _best(*groups, rates=rates, n_a=n_a, n_b=n_b)


def _let_through_known(values: Mapping[str, Mapping[str, int]]) -> bool:
    """Whether the items let through have the field too, so that rates can be told."""
    yes = {
        value: sum(n for outcome, n in outcomes.items() if outcome != "rejected") for value, outcomes in values.items()
    }
    total = sum(yes.values())
    return total > 0 and total - yes.get(NOT_GIVEN, 0) >= _ENOUGH_YES * total


def added(several: Iterable[Counts]) -> dict[str, dict[str, dict[str, int]]]:
    """The counts of several steps together."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    for counts in several:
        for name, values in counts.items():
            of_name = found.setdefault(name, {})
            for value, outcomes in values.items():
                of_value = of_name.setdefault(value, {})
                for outcome, n in outcomes.items():
                    of_value[outcome] = of_value.get(outcome, 0) + n
    return found


def better(exact: Segment | None, estimated: Segment | None) -> Segment | None:
    """Of an exact segment and one of samples, the exact one, unless two conditions of the other hold clearly more."""
    if exact is None or estimated is None:
        return exact if estimated is None else estimated
    worth_exact, worth = (each.share - (each.portion or 0.0) for each in (exact, estimated))
    clearly = len(estimated.conditions) > 1 and worth - worth_exact > 2 * _PAIR_GAIN
    return estimated if clearly else exact


def _plus(one: _Sums, other: _Sums) -> _Sums:
    return _Sums(
        one.rejected + other.rejected, one.items + other.items,
        one.rejected_squares + other.rejected_squares, one.squares + other.squares,
    )  # fmt: skip


def _have_fields(rows: Sequence[Row]) -> bool:
    yes = [row for row in rows if not row.rejected]
    weight = sum(row.weight for row in yes)
    return weight > 0 and sum(row.weight for row in yes if row.fields) >= _ENOUGH_YES * weight


def _frequent(rows: Iterable[Row]) -> set[Condition]:
    weights: dict[str, dict[str, float]] = {}
    for row in rows:
        for name, value in row.fields.items():
            of_name = weights.setdefault(name, {})
            of_name[value] = of_name.get(value, 0.0) + row.weight
    return {
        (name, value)
        for name, values in weights.items()
        for value in sorted(values, key=lambda each: -values[each])[:MAX_VALUES]
    }


def _best(a: _Group, b: _Group, *, rates: bool, n_a: float, n_b: float) -> Segment | None:
    if rates:
        n_a, n_b = a.whole.items, b.whole.items
    if n_a <= 0 or n_b <= 0:
        return None
    total = b.whole.rejected - a.whole.rejected / n_a * n_b
    best: tuple[float, Segment] | None = None
    for conditions, in_b in b.of.items():
        in_a = a.of.get(conditions, _Sums())
        found = _segment(conditions, in_a, in_b, (a.whole, b.whole), total, rates=rates, n_a=n_a, n_b=n_b)
        if found is None:
            continue
        segment, worth = found
        worth -= _PAIR_GAIN * (len(conditions) - 1)
        if best is None or worth > best[0]:
            best = worth, segment
    return None if best is None else best[1]


def _segment(
    conditions: tuple[Condition, ...],
    in_a: _Sums,
    in_b: _Sums,
    whole: tuple[_Sums, _Sums],
    total: float,
    *,
    rates: bool,
    n_a: float,
    n_b: float,
) -> tuple[Segment, float] | None:
    """A segment, and what it is worth: the share of the change beyond its share of the items. None where it is not apart."""
    if total == 0:
        return None
    if not rates:
        excess = in_b.rejected - in_a.rejected / n_a * n_b
        error = math.sqrt(in_b.rejected_squares + in_a.rejected_squares * (n_b / n_a) ** 2)
        portion = in_a.rejected / whole[0].rejected if whole[0].rejected else 0.0  # what it had of them before
        if abs(excess - portion * total) < _FAR * error or excess / total <= portion:
            return None
        share = excess / total
        return Segment(conditions, share, error / abs(total), None, None, None), share - portion
    rest_a, rest_b = _less(whole[0], in_a), _less(whole[1], in_b)
    if min(in_a.items, in_b.items, rest_a.items, rest_b.items) <= 0:
        return None
    change, error = _change(in_a, in_b)
    change_rest, error_rest = _change(rest_a, rest_b)
    if abs(change - change_rest) < _FAR * math.hypot(error, error_rest):
        return None
    share, portion = change * in_b.items / total, in_b.items / n_b
    if share <= portion:
        return None
    rate_a, rate_b = in_a.rejected / in_a.items, in_b.rejected / in_b.items
    return Segment(conditions, share, error * in_b.items / abs(total), portion, rate_a, rate_b), share - portion


def _less(whole: _Sums, part: _Sums) -> _Sums:
    return _Sums(
        whole.rejected - part.rejected, whole.items - part.items,
        whole.rejected_squares - part.rejected_squares, whole.squares - part.squares,
    )  # fmt: skip


def _change(a: _Sums, b: _Sums) -> tuple[float, float]:
    """The change of the rate and its standard error, the weights taken as they are."""
    variance = 0.0
    for each in (a, b):
        rate = (each.rejected + 0.5) / (each.items + 1)
        variance += max(rate * (1 - rate), 1e-9) * each.squares / each.items**2
    return b.rejected / b.items - a.rejected / a.items, math.sqrt(variance)
