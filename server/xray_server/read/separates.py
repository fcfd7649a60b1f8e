"""What separates the rejected from those let through: the few conditions over captured fields that best tell them apart.

A short exhaustive search over one condition and two, on one half of the sampled items; what the rules found are worth is told
by the other half, which had no part in finding them. By the samples' weights; never a claim about cause. Knows no HTTP, no SQL.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, NamedTuple

import xxhash

from xray_server.read.item_list import ItemFilter, name_of, steps_of
from xray_server.records.schema import MAX_COUNT
from xray_server.store import StepFilter, Store, StoredStep

Json = dict[str, Any]
MAX_ROWS: Final = 4_000  # sampled items that are looked at, the newest
MAX_FIELDS: Final = 30
MAX_RULES: Final = 3
_MAX_VALUES: Final = 30  # of a field of texts
_CUTS: Final = 16  # of a field of numbers
_PAIRED: Final = 24  # conditions that are tried together, the best alone
_BUDGET_MS: Final = 500
_ENOUGH: Final = 20  # items on either side, in either half
_IN_BOTH: Final = 0.5  # share of either side that must have a field
_FAR: Final = 4.0  # standard errors, where a rule is found
_FAR_AGAIN: Final = 3.0  # and in the other half
_PAIR_GAIN: Final = 1.1  # two conditions must tell so many times what one does
_YES: Final = frozenset({"accepted", "selected"})


class Item(NamedTuple):
    """A sampled item: its fields, whether it was rejected, how many it stands for, and in which half it is."""

    fields: Mapping[str, Any]
    rejected: bool
    weight: float
    half: int


class Condition(NamedTuple):
    """`field` is (=), is at most (<=) or is more than (>) a value."""

    field: str
    sign: str
    value: Any

    def holds(self, item: Item) -> bool:
        """Whether an item meets it; one without the field, or with another kind of value, does not."""
        found = item.fields.get(self.field)
        if self.sign == "=":
            return type(found) is type(self.value) and bool(found == self.value)
        if not _is_number(found):
            return False
        return bool(found <= self.value) if self.sign == "<=" else bool(found > self.value)

    def __str__(self) -> str:
        value = f"{self.value:g}" if isinstance(self.value, float) else str(self.value)
        return f"{self.field}{self.sign}{value}" if self.sign == "=" else f"{self.field} {self.sign} {value}"


@dataclass(frozen=True, slots=True)
class _Told:
    """What a rule tells on some items: the share of the rejected that it covers, of what it covers the share that was not
    rejected, and by how many standard errors the rate inside differs from that outside.
    """

    coverage: float
    error: float
    coverage_error: float
    error_error: float
    z: float
    worth: float


def separates(
    store: Store,
    project: str,
    *,
    step: str,
    run_id: str | None = None,
    pipeline: str | None = None,
    reason: str | None = None,
    since_us: int | None = None,
    until_us: int | None = None,
) -> Json:
    """The rules that tell the rejected items of a step from those let through, in one run or over many.

    Args:
        reason: those rejected for it alone, against those let through.

    Raises:
        UnknownRunError, NotKnownError: no such run, or no such step in it.
    """
    name = step
    if run_id is not None:
        steps = steps_of(store, project, run_id, ItemFilter(step=step))
        name = name_of(steps, step)
        samples = _of_run(store, project, run_id, steps)
    else:
        samples = _of_many(
            store, project, StepFilter(name=step, pipeline=pipeline, since_us=since_us, until_us=until_us)
        )
    items = list(_items(samples, reason))
    sides = [sum(item.rejected is side for item in items) for side in (True, False)]
    fields, alone = _fields(items)
    rules: list[tuple[tuple[Condition, ...], _Told]] = []
    if min(sides) >= 2 * _ENOUGH and fields:
        rules = _rules(items, fields)
    return {
        "step": name, "run_id": run_id, "pipeline": pipeline, "reason": reason,
        "samples": {"rejected": sides[0], "let_through": sides[1]},
        "fields": sorted(fields), "known_of_one_side": sorted(alone),
        "certainty": "estimated" if min(sides) >= 2 * _ENOUGH and fields else "not_captured",
        "rules": [
            {
                "words": " and ".join(map(str, conditions)),
                "conditions": [each._asdict() for each in conditions],
                "coverage": told.coverage, "coverage_error": told.coverage_error,
                "error": told.error, "error_error": told.error_error,
            }
            for conditions, told in rules
        ],
        "sentence": _sentence(name, reason, sides, fields, alone, rules),
    }  # fmt: skip


def _of_run(store: Store, project: str, run_id: str, steps: Sequence[StoredStep]) -> Iterator[Mapping[str, Any]]:
    found = store.samples(project, run_id, [each.key for each in steps])
    return (sample for some in found.values() for sample in some)


def _of_many(store: Store, project: str, where: StepFilter) -> Iterator[Mapping[str, Any]]:
    """Samples of the newest steps, until there are enough or the time is over."""
    until, n, cursor = time.monotonic() + _BUDGET_MS / 1000, 0, None
    while n < MAX_ROWS and time.monotonic() < until:
        page = store.sampled_steps(project, where, limit=100, cursor=cursor)
        for step in page.items:
            n += len(step.samples)
            yield from step.samples
        cursor = page.next_cursor
        if cursor is None:
            return


def _items(samples: Iterable[Mapping[str, Any]], reason: str | None) -> Iterator[Item]:
    for number, sample in enumerate(samples):
        if number >= MAX_ROWS:
            return
        rejected = sample["outcome"] == "rejected"
        if not rejected and sample["outcome"] not in _YES:
            continue
        if rejected and reason is not None and (sample["reason"] or "") != reason:
            continue
        details = sample["details"]
        fields = {
            str(name): value
            for name, value in (details.items() if isinstance(details, Mapping) else ())
            if isinstance(value, (str, int, float, bool))
        }
        if sample["score"] is not None:
            fields.setdefault("score", sample["score"])
        half = (
            xxhash.xxh3_64_intdigest(sample["item_id"].encode(), 7) & 1
        )  # by the item: the same one in many runs is in one half
        weight = 1.0 if sample["weight"] is None else min(max(0.0, sample["weight"]), MAX_COUNT)
        yield Item(fields, rejected, weight, half)  # within what a count may be: squares of them add up


def _fields(items: Sequence[Item]) -> tuple[set[str], set[str]]:
    """The fields that both sides have, and those that nearly only one has: they tell nothing but who gave details."""
    known: dict[str, list[float]] = {}
    totals = [0.0, 0.0]
    for item in items:
        totals[item.rejected] += item.weight
        for name in item.fields:
            known.setdefault(name, [0.0, 0.0])[item.rejected] += item.weight
    both = {name for name, sums in known.items() if all(n >= _IN_BOTH * total > 0 for n, total in zip(sums, totals))}
    often = sorted(both, key=lambda name: (-sum(known[name]), name))[:MAX_FIELDS]
    return set(often), set(known) - both


def _rules(items: Sequence[Item], fields: set[str]) -> list[tuple[tuple[Condition, ...], _Told]]:
    """Rules one after another, each over what those before it do not cover."""
    left = list(items)
    found: list[tuple[tuple[Condition, ...], _Told]] = []
    for _ in range(MAX_RULES):
        halves = [[item for item in left if item.half == half] for half in (0, 1)]
        if any(sum(item.rejected is side for item in half) < _ENOUGH for half in halves for side in (True, False)):
            break
        best = _best(halves[0], fields)
        if best is None:
            break
        again = _told([item for item in halves[1] if _all_hold(best, item)], halves[1])
        if again is None or again.z < _FAR_AGAIN:
            break
        found.append((best, again))
        left = [item for item in left if not _all_hold(best, item)]
    return found


def _best(items: Sequence[Item], fields: set[str]) -> tuple[Condition, ...] | None:
    """The one or two conditions that tell most, or None where nothing is apart."""
    covered: dict[tuple[Condition, ...], set[int]] = {
        (condition,): _covered(condition, items) for condition in _conditions(items, fields)
    }
    ranked = sorted(
        ((told.worth, rule) for rule, places in covered.items() if (told := _told([items[p] for p in places], items))),
        key=lambda each: (-each[0], str(each[1])),
    )
    if not ranked:
        return None
    worth = ranked[0][0]
    best: tuple[Condition, ...] = ranked[0][1]
    for one, other in combinations([rule[0] for _, rule in ranked[:_PAIRED]], 2):
        if (one.field, one.sign) == (other.field, other.sign):
            continue
        places = covered[(one,)] & covered[(other,)]
        told = _told([items[place] for place in places], items)
        if told is not None and told.worth > _PAIR_GAIN * worth:
            worth, best = told.worth / _PAIR_GAIN if len(best) == 1 else told.worth, (one, other)
    final = _told([item for item in items if _all_hold(best, item)], items)
    return best if final is not None and final.z >= _FAR else None


def _conditions(items: Sequence[Item], fields: set[str]) -> Iterator[Condition]:
    for name in sorted(fields):
        values = [item.fields[name] for item in items if name in item.fields]
        numbers = sorted({float(value) for value in values if _is_number(value)})
        cuts = (
            numbers
            if len(numbers) <= _CUTS
            else [numbers[len(numbers) * n // (_CUTS + 1)] for n in range(1, _CUTS + 1)]
        )
        if len(numbers) > 1:
            for cut in cuts:
                yield Condition(name, "<=", cut)
                yield Condition(name, ">", cut)
        counted: dict[Any, int] = {}
        for value in values:
            if isinstance(value, (str, bool)):
                counted[value] = counted.get(value, 0) + 1
        for value in sorted(counted, key=lambda each: (-counted[each], str(each)))[:_MAX_VALUES]:
            yield Condition(name, "=", value)


def _covered(condition: Condition, items: Sequence[Item]) -> set[int]:
    return {place for place, item in enumerate(items) if condition.holds(item)}


def _all_hold(conditions: Sequence[Condition], item: Item) -> bool:
    return all(each.holds(item) for each in conditions)


def _told(inside: Sequence[Item], items: Sequence[Item]) -> _Told | None:
    """What a rule tells that covers `inside`; None where it covers nothing rejected, or everything, or speaks for a yes."""
    no, n, squares = _sums(inside)
    all_no, total, all_squares = _sums(items)
    out_no, out, out_squares = all_no - no, total - n, all_squares - squares
    if no <= 0 or out <= 1e-9 or all_no <= 0:
        return None
    rate, rate_out = no / n, out_no / out
    if rate <= rate_out:
        return None
    effective, effective_out, effective_no = (
        n * n / squares,
        out * out / max(out_squares, 1e-9),
        all_no / (all_squares / total),
    )
    pooled = min(max(all_no / total, 1e-6), 1 - 1e-6)
    z = (rate - rate_out) / math.sqrt(pooled * (1 - pooled) * (1 / effective + 1 / effective_out))
    coverage, error = no / all_no, 1 - rate
    return _Told(
        coverage, error, math.sqrt(coverage * (1 - coverage) / max(effective_no, 1)),
        math.sqrt(error * (1 - error) / max(effective, 1)), z, z * coverage * rate,
    )  # fmt: skip


def _sums(items: Sequence[Item]) -> tuple[float, float, float]:
    return (
        math.fsum(item.weight for item in items if item.rejected),
        math.fsum(item.weight for item in items),
        math.fsum(item.weight * item.weight for item in items),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _sentence(
    step: str,
    reason: str | None,
    sides: Sequence[int],
    fields: set[str],
    alone: set[str],
    rules: Sequence[tuple[tuple[Condition, ...], _Told]],
) -> str:
    who = f"what {step} rejected" + (f" for {reason or 'no reason'}" if reason is not None else "")
    if min(sides) < 2 * _ENOUGH:
        return f"too few samples of {who} and of what it let through: {sides[0]:,} and {sides[1]:,}"
    if not fields:
        only = f" ({', '.join(sorted(alone)[:5])} are known of one side alone)" if alone else ""
        return f"no field was captured of {who} and of what it let through{only}: give details to accept too"
    if not rules:
        return f"nothing that was captured tells {who} from what it let through ({', '.join(sorted(fields)[:5])})"
    told = [
        f"{' and '.join(map(str, conditions))} covers {each.coverage:.0%} of them, and {each.error:.0%} of what it covers was let through"
        for conditions, each in rules
    ]
    return f"{who}: {'; of the others, '.join(told)}"
