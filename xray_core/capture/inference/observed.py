"""What an adapter saw of one step: its arguments and its result, held until the step ends, and the items found in them.

Looks at the clock it is given before whatever takes longer than a moment (see `capture.budget`); few items, and those whose key or
fields the user named, are told whatever it takes, what they hold as long as there is time. Knows nothing of records.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from xray_core.capture import collections as found_in
from xray_core.capture import item_fields, item_values, read_values
from xray_core.capture.budget import OverBudgetError, Tick, no_tick
from xray_core.capture.collections import Collection
from xray_core.capture.inference.keys import MAX_CANDIDATES, SELF, Candidate, candidates, rank_of
from xray_core.capture.inference.relation import Related, Side, relate
from xray_core.item_keys import Key
from xray_core.objects import form
from xray_core.objects.sanitize import Sanitizer
from xray_core.objects.structure import known_size
from xray_core.plurals import plural
from xray_core.verdicts import sum64

MAX_CELLS_AT_ONCE: Final = 5_000  # of an argument, read before the step begins
FEW: Final = 4_096  # fields read, all rows together: read without a look at the clock
MAX_ARGUMENTS: Final = 50
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
# What reading a row of one field costs at least, on a machine of today: what cannot be done in time is not begun.
_COST_S: Final = {"frame": 0.08e-6}
_COST_OF_RECORDS_S: Final = 0.25e-6
_COST_WITHOUT_NUMPY_S: Final = 0.2e-6  # more


class Inferred(NamedTuple):
    """What was found: see `relation.Related`; `inference` is why nothing was, where a person can act on it."""

    related: Related
    inference: dict[str, Any] | None = None


class Observed:
    """The arguments and the result of one step.

    Args:
        key: the fields that name items by the user's word, or None.
        sanitizer: says which fields are secret.
        tick: raises OverBudgetError when there is no time left for looking.
        fields: those to be kept of the items (see `item_fields`), or None.
    """

    __slots__ = (
        "_arguments",
        "_fields",
        "_is_asked",
        "_kept",
        "_key",
        "_lazy",
        "_outputs",
        "_result",
        "_sanitizer",
        "_tick",
        "_unread",
        "_values",
    )  # fmt: skip

    def __init__(self, key: Key | None, sanitizer: Sanitizer, tick: Tick, *, fields: Key | None = None) -> None:
        self._key = key
        self._fields = fields
        self._kept: dict[str, item_fields.Held] = {}  # of each argument, as it was before the step began
        self._sanitizer = sanitizer
        self._tick = tick
        self._is_asked = key is not None or fields not in (None, item_fields.ALL)
        self._arguments: dict[str, Any] = {}
        self._result: Any = None
        self._outputs: list[Any] = []
        self._values: dict[str, tuple[str, read_values.Read]] = {}  # by argument, with the kind that it was read as
        self._lazy: dict[str, str] = {}  # arguments that are not read, and their types
        self._unread: list[Collection] = []  # for which there was no time

    def see_arguments(self, arguments: Mapping[str, Any], *, of_one: bool = False) -> None:
        """Hold what may be items among what a function was called with.

        Args:
            of_one: the step is an instance of a mapped one: a number or text by an id's name (`order_id`) is its item.
        """
        if of_one:
            ids = {
                name: value for name, value in arguments.items() if type(value) in (int, str) and self._wants(str(name))
            }
            self._arguments.update({str(name)[:200]: [value] for name, value in list(ids.items())[:MAX_ARGUMENTS]})
        for name, value in arguments.items():
            if type(value) in _SCALARS:
                continue
            held = self._hold(value)
            if held is None and found_in.is_lazy(value) and len(self._lazy) < MAX_ARGUMENTS:
                self._lazy[str(name)[:200]] = type(value).__name__[:100]
            if held is not None and len(self._arguments) < MAX_ARGUMENTS:
                name = str(name)[:200]
                self._arguments[name] = held
                if self._fields is not None:
                    found = found_in.find(held)
                    self._kept[name] = item_fields.taken(found, self._fields, self._sanitizer.clean) if found else {}

    def read_arguments(self, arguments: Mapping[str, Any]) -> None:
        """Read what the items of arguments hold that the program may change meanwhile, if they are few."""
        for name, value in arguments.items():
            name = str(name)[:200]
            held = self._arguments.get(name)
            if type(held) is found_in.HeldFrame or type(held) in (list, tuple) or found_in.is_record(type(held)):
                self._read_now(name, value)

    def see_pulled(self, name: str, values: list[Any]) -> None:
        """What the program pulled out of a lazy argument while the step ran: which items, not what they held before."""
        name = str(name)[:200]
        self._lazy.pop(name, None)
        held = self._hold(values)
        if held is not None and len(self._arguments) < MAX_ARGUMENTS:
            self._arguments[name] = held

    def _hold(self, value: Any) -> Any:
        try:
            return found_in.hold(value, self._holds, self._tick_for(found_in.most_to_read(value)))
        except OverBudgetError:
            self._not_read(value)
            return None

    def _not_read(self, value: Any) -> None:
        outline = found_in.outline(value)
        if outline is not None:
            self._unread.append(outline)

    def _read_now(self, name: str, value: Any) -> None:
        size = known_size(value) if found_in.is_frame(type(value)) else found_in.most_to_read(value)
        if (size or 0) > MAX_CELLS_AT_ONCE:
            return
        found = found_in.find(value)
        if found is not None and found.size * len(found.fields) <= MAX_CELLS_AT_ONCE:
            self._values[name] = found.kind, item_values.read(found, self._tick)

    def see_result(self, value: Any, *, one_of_several: bool = False) -> None:
        """Hold what came out; of a step with several outputs, one of them."""
        if type(value) in _SCALARS:
            return
        held = value if found_in.is_frame(type(value)) else self._hold(value)
        if not one_of_several:
            self._result = held
        elif held is not None and len(self._outputs) < found_in.MAX_PARTS:
            self._outputs.append(held)

    def infer(self, *, failed: bool) -> Inferred | None:
        """The items that went in and came out; None where nothing was seen that could be any.

        Args:
            failed: the step did, so nothing came out.
        """
        if self._unread:  # what is known of the others may be about something else
            return Inferred(Related(), self._skipped("budget", self._unread))
        if not (self._arguments or self._outputs or self._lazy) and self._result is None:
            return None
        seen: list[Collection] = []
        try:
            arguments = {name: self._find(held) for name, held in self._arguments.items()}
            result = self._found_result() if not failed else None
            seen = [each for each in (*arguments.values(), result) if each is not None]
            if any(each.size > found_in.MAX_ITEMS for each in seen):
                return Inferred(Related(), self._skipped("too_many", seen))
            return self._related(arguments, result, seen, failed=failed)
        except OverBudgetError:
            return Inferred(Related(), self._skipped("budget", seen or self._unread))

    def _found_result(self) -> Collection | None:
        if self._outputs:
            return found_in.together([self._find(each) for each in self._outputs])
        return self._find(self._result) if self._result is not None else None

    def _find(self, held: Any) -> Collection | None:
        try:
            return found_in.find(held, tick=self._tick_for(found_in.most_to_read(held)))
        except OverBudgetError:
            self._not_read(held)
            raise

    def _related(
        self,
        arguments: Mapping[str, Collection | None],
        result: Collection | None,
        seen: Sequence[Collection],
        *,
        failed: bool,
    ) -> Inferred | None:
        tick = self._tick_for(sum(each.size * self._fields_of(each) for each in seen))
        went_in = {
            name: self._candidates(each, tick)
            for name, each in arguments.items()
            if each is not None and each.kind != "empty"
        }
        came_out = None if result is None or result.kind == "empty" else self._candidates(result, tick)
        as_list = any(
            each is not None and each.kind in ("records", "ids", "parts", "empty") for each in arguments.values()
        )
        nothing = result is not None and result.kind == "empty" and as_list
        related = relate(went_in, came_out, nothing=nothing, tick=tick)
        related = related._replace(
            came_in=self._with_values(related.came_in, arguments),
            came_out=self._with_values(related.came_out, {None: result}),
            others=[self._with_values(each, arguments) or each for each in related.others],
        )
        if failed:
            related = related._replace(relation=None)
        unclear = self._unclear(related.unclear, result) if related.unclear else None
        if related.came_in is None and self._lazy:
            unclear = self._lazily_read()
            related = related._replace(relation=None)  # it came of what is not known
        if related.came_in is None and related.came_out is None and unclear is None:
            return None
        return Inferred(related, unclear)

    def _with_values(self, side: Side | None, among: Mapping[Any, Collection | None]) -> Side | None:
        """The items of one side with what they hold, as far as there is time to read it."""
        if side is not None and side.members:
            return self._with_values_of_all(side, among)
        found = among.get(side.source) if side is not None else None
        if side is None or found is None:
            return side
        if side.source is not None and found.kind == "ids":  # what ids hold are they themselves
            kinds = form.digest([form.kinds_of(found.held[:FEW]), type(self._arguments[side.source]).__name__])
            known = kinds if found.size <= FEW else form.UNKNOWN
            return side._replace(values={"rows": f"{sum64(side.chosen.hashes):016x}", "form": known})
        if side.source is not None:
            side = side._replace(fields=self._kept.get(side.source, {}))
        elif self._fields is not None:
            side = side._replace(fields=item_fields.taken(found, self._fields))
        values = self._values_of(side.source, found, side.chosen.key)
        if values is None:
            return side
        chosen = side.chosen
        return side._replace(values=item_values.summed(values, chosen.hashes, chosen.ids.rows, chosen.key))

    def _values_of(self, source: str | None, found: Collection, key: Key) -> read_values.Read | None:
        """What the items of an argument, or of the result, held; None where that can be known no more."""
        if source is None:
            return item_values.read(found, self._tick, key)
        kind, known = self._values.get(source, ("", None))
        if kind != found.kind:  # read as one record, and found to hold a collection
            known = None
        if known is None and found.kind == "frame" and type(self._arguments[source]) is not found_in.HeldFrame:
            return item_values.read(found, self._tick, key)
        return known

    def _with_values_of_all(self, side: Side, among: Mapping[Any, Collection | None]) -> Side:
        """The same, of several arguments as one: what is read of each, row by row, one after the other."""
        members = [(name, found) for name in side.members if (found := among.get(name)) is not None]
        kept = [self._kept.get(name, {}) for name, _ in members]
        side = side._replace(
            fields=item_fields.together(kept, [found.size for _, found in members]) if any(kept) else {}
        )
        chosen = side.chosen
        read = [values for name, found in members if (values := self._values_of(name, found, chosen.key)) is not None]
        if len(read) < len(members):
            return side
        values = read_values.joined(read)
        return side._replace(values=item_values.summed(values, chosen.hashes, chosen.ids.rows, chosen.key))

    def _candidates(self, found: Collection, tick: Tick) -> list[Candidate]:
        each_s = _COST_S.get(found.kind, _COST_OF_RECORDS_S)
        each_s += 0.0 if "numpy" in sys.modules else _COST_WITHOUT_NUMPY_S
        tick(found.size * self._fields_of(found) * each_s)
        return candidates(found, self._key, self._sanitizer, tick)

    def _fields_of(self, found: Collection) -> int:
        """How many fields are to be read."""
        return 1 if self._key is not None else min(MAX_CANDIDATES, sum(map(self._wants, found.fields)))

    def _tick_for(self, n: int | None) -> Tick:
        """The clock for reading so many fields; few are read in any case."""
        return no_tick if self._is_asked or (n is not None and n <= FEW) else self._tick

    def _holds(self, name: str) -> bool:
        return self._wants(name) or (
            self._fields is not None and (name in self._fields or self._fields == item_fields.ALL)
        )

    def _wants(self, name: str) -> bool:
        return rank_of(name, self._sanitizer) is not None or (self._key is not None and name in self._key)

    def _skipped(self, why: str, seen: Sequence[Collection]) -> dict[str, Any]:
        largest = max(seen, key=lambda each: each.size, default=None)
        keys = [name for name in largest.fields if name and self._wants(name)][:8] if largest is not None else []
        size = plural(largest.size, "item") if largest is not None else "the items"
        if why == "too_many":
            note = f"{size} are more than {found_in.MAX_ITEMS:,}; step.set_output_items(..., key=...) takes any number"
        else:
            note = f"reading {size} takes longer than 2% of the step; name the key to have it done all the same: {_how(keys)}"
        return {"skipped": why, "keys": keys, "note": note}

    def _lazily_read(self) -> dict[str, Any]:
        name, kind = next(iter(self._lazy.items()))
        note = f"{name} is a {kind}, which is never read here: step.set_input_items(...) would tell what went in"
        return {"skipped": "lazy", "keys": [], "note": note}

    def _unclear(self, names: Sequence[str], result: Collection | None) -> dict[str, Any]:
        keys = list(dict.fromkeys(names))[:8]
        rows = f"the {plural(result.size, 'row')}" if result is not None else "the rows"
        if result is not None and result.kind == "parts" and len({tuple(each.fields) for each in result.held}) > 1:
            note = (
                f"the result holds {plural(len(result.held), 'collection')}, and no field tells {rows} of all apart; "
            )
            # a key of one is none of the others
            return {
                "skipped": "ambiguous",
                "keys": keys,
                "note": note + "step.set_output_items(..., key=...) takes one of them",
            }
        note = f"no single field tells {rows} apart; name the key that does, or several with commas: {_how(keys)}"
        return {"skipped": "ambiguous", "keys": keys, "note": note}


def _how(keys: Sequence[str]) -> str:
    return f"XRAY_ITEM_KEY={keys[0] if keys else 'NAME'}"


def key_in_words(candidate: Candidate) -> str | list[str] | None:
    """A key as a record has it: one name, or the names of a composite; None where the items are ids."""
    if candidate.key == SELF:
        return None
    return candidate.key[0] if len(candidate.key) == 1 else list(candidate.key)


__all__ = ["Inferred", "Observed", "Side", "key_in_words"]
