"""What items held, as sums that do not depend on their order: per column and per row. No value is kept.

Numbers are hashed by value (1 is 1.0 is numpy's 1; NaN is NaN), text as UTF-8, anything else by its fingerprint. Where the program
has numpy loaded, columns are worked on as a whole. The form of the sums is `xray_core.sums`'.
"""

from __future__ import annotations

import math
import operator
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import xxhash

from xray_core.bounds import name_text
from xray_core.capture import columns as reading
from xray_core.capture.budget import OverBudgetError, Tick
from xray_core.capture.collections import Collection, FrameColumns
from xray_core.capture.columns import hash_all
from xray_core.capture.read_values import Column, Read, joined
from xray_core.model import HASH_MODULUS
from xray_core.objects import form
from xray_core.objects.fingerprint import fingerprint
from xray_core.objects.fingerprint import plain as as_builtin
from xray_core.objects.generated import all_near, now_us
from xray_core.objects.structure import known_size, library_of, unshown, view
from xray_core.safety import guard, swallow
from xray_core.verdicts import sum64

MAX_COLUMNS: Final = 64
FEW: Final = 1_000  # values, all columns together: numbers and texts are read without a look at the clock
FEW_COLUMNS: Final = 20
_FEW_FORMS: Final = 5_000  # cells, whose form is that of the value as it is; of more, column by column
MAX_CELLS: Final = 4_000_000  # read for one set, however long that may take
MAX_CELLS_WITHOUT_NUMPY: Final = 100_000  # a fifth of a second; the flights example's 2.4 million took six
MAX_NESTED: Final = (
    100_000  # values inside of values, as of embeddings: a quarter of a second; a column of more is omitted
)
_CHUNK: Final = 1 << 13  # values read between two looks at the clock
_CHUNK_OF_OTHERS: Final = 1 << 8  # of values that are neither numbers nor texts
# What a value costs at least, its sums included: what cannot be done in time is not begun.
_COST_OF_A_COLUMN_S: Final = 100e-6
_COST_OF_A_NUMBER_S: Final = 0.1e-6
_COST_OF_A_TEXT_S: Final = 0.3e-6
_COST_IN_RECORDS_S: Final = 0.4e-6
_COST_WITHOUT_NUMPY_S: Final = 1.5e-6  # of a text; a number, whose sums are more, costs twice as much
_MASK: Final = HASH_MODULUS - 1
_NULL: Final = 0x6E756C6C6E756C6C
_K1, _K2, _K3 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # splitmix64 (Steele, Lea, Flood 2014)
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
_UNITS_A_SECOND: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_TIME_CHARS: Final = len("2026-11-29T00:00:00")
_CONTAINERS: Final = frozenset({list, tuple, dict, set, frozenset})
_TEXT_SEED: Final = 1
_EXACT: Final = 1 << 53
_MANY: Final = 128  # rows from which numpy pays
_PROJECTIONS: Final = (1, 2)
_ROOT: Final = 2.0**-53
_LANES: Final = 256  # pairs in one whole number: more do not make a pair cheaper
_ORDER: Final = sys.byteorder
_LOW: Final = 0 if _ORDER == "little" else 1


def read(found: Collection, tick: Tick, but: Sequence[str] = ()) -> Read:
    """The columns of a collection of records, without those in `but`, one after the other, as long as there is time.

    Args:
        tick: told before each column what it costs at least; raises when there is not so much time. That column is omitted, and
            those after it are tried: numbers cost less than texts. A few numbers and texts are read in any case.
    """
    few = found.size * len(found.fields) <= FEW and len(found.fields) <= FEW_COLUMNS
    if found.kind == "parts":
        return joined([_read(part, tick, but, few=few) for part in found.held])
    return _read(found, tick, but, few=few)


def _read(found: Collection, tick: Tick, but: Sequence[str], *, few: bool) -> Read:
    columns: dict[str, Column] = {}
    omitted = cells = 0
    if found.kind not in ("frame", "records", "one"):
        return Read(columns, omitted)
    most = MAX_CELLS if "numpy" in sys.modules else MAX_CELLS_WITHOUT_NUMPY
    for name in found.fields:
        if name in but:
            continue
        cells += found.size
        try:
            if cells > most or len(columns) >= MAX_COLUMNS:
                raise OverBudgetError
            if not few:
                tick(_COST_OF_A_COLUMN_S)
                tick(found.size * _cost_of(found, name))
            values = (
                found.held[name] if found.kind == "frame" else found.readers(name)(found.held) if found.readers else []
            )
            columns[name] = _column(values, tick, few=few)
        except OverBudgetError:
            omitted += 1
        except Exception as error:  # noqa: BLE001  # a column that cannot be read costs that column
            omitted += 1
            swallow("reading a column of items", error)
    return Read(columns, omitted, form.UNKNOWN if omitted else _form_of(found))


def _form_of(found: Collection) -> str:
    """Of a frame by its columns; of records by the types in each field, the first of many being looked at for their order."""
    if found.kind != "records" or found.readers is None or found.size * len(found.fields) <= _FEW_FORMS:
        return form.form(found.held.frame if isinstance(found.held, FrameColumns) else found.held)
    if found.held and unshown(found.held[0]):
        return form.UNKNOWN
    with guard("the form of items"):
        tokens = [type(found.held).__name__, *map(str, found.fields)]
        if all(type(each) is dict for each in found.held):
            tokens += [",".join(map(str, order)) for order in dict.fromkeys(map(tuple, found.held[:_FEW_FORMS]))]
        return form.digest([*tokens, *(form.kinds_of(found.readers(name)(found.held)) for name in found.fields)])
    return form.UNKNOWN


def _cost_of(found: Collection, name: str) -> float:
    """Seconds for each value, sums included, on a machine of today."""
    if "numpy" not in sys.modules:
        return _COST_WITHOUT_NUMPY_S
    if found.kind != "frame":
        return _COST_IN_RECORDS_S
    values = found.held[name]
    numeric = getattr(getattr(values, "dtype", None), "kind", None) in ("i", "u", "f", "b") or _is_numeric(values)
    return _COST_OF_A_NUMBER_S if numeric else _COST_OF_A_TEXT_S


def summed(given: Read, ids: array[int], rows: Sequence[int] | None, key: Sequence[str]) -> dict[str, Any]:
    """The fields of an item set that follow from its values: `rows`, `columns` and `columns_omitted`.

    Args:
        ids: the hashes of the items' ids.
        rows: the row of each of them; None where every row has an id.
        key: the fields that name the items: the id is in every sum already, as a number or as text.
    """
    values = {name: column for name, column in given.columns.items() if name not in key}
    if not values:
        return {"columns_omitted": given.omitted} if given.omitted else {}
    if rows is not None:
        values = {name: _of_rows(column, rows) for name, column in values.items()}
    mixes = _mixes(values, ids)
    columns = {name_text(name): sums for name, sums in _sums_of(values, ids, mixes).items()}
    if given.omitted:  # the sum over rows is of whole rows
        return {"columns": columns, "columns_omitted": given.omitted}
    whole = f"{sum64(_mixed(ids, _added(mixes, len(ids)))):016x}"
    return {"form": given.form, "rows": whole, "columns": columns}


def sums_of_numbers(numbers: array[float], ids: array[int]) -> dict[str, Any]:
    """The sums of a column of numbers, one for each of the ids' hashes."""
    column = {"": Column(_hashes_of_numbers(numbers), numbers, _count_nan(numbers))}
    return _sums_of(column, ids, _mixes(column, ids))[""]


def _column(values: Any, tick: Tick, *, few: bool) -> Column:
    if type(values) in (list, tuple) and not set(map(type, values)) <= _PLAIN:
        values = list(map(_plain, values))
    numbers = _numbers(values)
    if numbers is not None:
        return Column(_hashes_of_numbers(numbers), numbers, _count_nan(numbers))
    times = _times(values)
    if times is not None:
        return times
    plain = values if type(values) in (list, tuple) else list(map(_plain, reading.plain_values(values)))
    texts = set(map(type, plain)) == {str}
    hashes = array("Q")
    size = _CHUNK if texts else _CHUNK_OF_OTHERS
    if not texts and _nested_in(plain) > MAX_NESTED:
        raise OverBudgetError
    for at in range(0, len(plain), size):
        if not few:
            tick()
        chunk = plain[at : at + size] if len(plain) > size else plain
        if texts:
            hashes.extend(hash_all([each.encode("utf-8", "surrogatepass") for each in chunk], _TEXT_SEED))
        else:
            hashes.extend([_hash(each, tick) for each in chunk])
    nulls = 0 if texts else sum(each == _NULL for each in hashes)
    return Column(hashes, None, nulls, now=all_near(map(_as_text, plain), now_us()))


def _times(values: Any) -> Column | None:
    """A pandas column of times without a zone: as `_hash` has each as a Timestamp, in a tenth of the time. None: it is no such."""
    numpy, dtype = sys.modules.get("numpy"), getattr(values, "dtype", None)
    if numpy is None or getattr(dtype, "kind", "") != "M" or getattr(dtype, "tz", None) is not None:
        return None
    if library_of(type(values)) != "pandas" or len(values) < _MANY:
        return None
    plain = numpy.asarray(values)
    unit = _UNITS_A_SECOND.get(numpy.datetime_data(plain.dtype)[0])
    if unit is None:
        return None
    nanoseconds = (plain.view("i8") % unit * (10**9 // unit)).tolist()
    texts = numpy.datetime_as_string(plain.astype("M8[s]")).tolist()
    nulls = int(numpy.isnat(plain).sum())
    if max(map(len, texts)) > _TIME_CHARS:  # a year of five digits
        return None
    hashes = array("Q", [
        _hash_of_text(f"{text}{_fraction(n)}" if n else text) if len(text) == _TIME_CHARS else _NULL
        for text, n in zip(texts, nanoseconds)
    ])  # fmt: skip
    return Column(hashes, None, nulls, now=all_near(texts, now_us()))


def _as_text(value: Any) -> Any:
    return value if type(value) in _PLAIN else view(value, 0).value


def _fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09d}" if nanoseconds % 1_000 else f".{nanoseconds // 1_000:06d}"


def _hash_of_text(text: str) -> int:
    """As the fingerprint of a value that has this text."""
    return xxhash.xxh3_64_intdigest(b"t" + text.encode("utf-8", "surrogatepass"))


def _nested_in(values: Sequence[Any]) -> int:
    """How many values are in some values: as many as their sizes tell, or as three of them hold, whichever is more."""
    if not any(kind in _CONTAINERS or library_of(kind) is not None for kind in set(map(type, values))):
        return 0
    three = [_held_in(values[place]) for place in (0, len(values) // 2, -1)]
    return max(len(values) * max(three), sum(known_size(value) or 0 for value in values))


def _held_in(value: Any) -> int:
    held, waiting = 0, [value]
    while waiting and held <= MAX_NESTED:  # also of one that holds itself
        each = waiting.pop()
        if type(each) in _CONTAINERS:
            held += len(each)
            waiting.extend(each.values() if type(each) is dict else each)
        elif type(each) not in _PLAIN:
            held += known_size(each) or 0
    return held


def _numbers(values: Any) -> array[float] | None:
    """The values as doubles, None as NaN; None where they are no numbers, or some that a double cannot tell apart."""
    numpy = sys.modules.get("numpy")
    kind = getattr(getattr(values, "dtype", None), "kind", None)
    if (
        numpy is not None
        and type(values) not in (list, tuple)
        and (kind in ("i", "u", "f", "b") or _is_numeric(values))
    ):
        plain = numpy.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
        if plain.dtype.kind not in "iufb":
            return None
        if plain.dtype.kind in "iu" and len(plain) and max(abs(int(plain.max())), abs(int(plain.min()))) >= _EXACT:
            return None
        return array("d", plain.astype("f8").tobytes())
    plain = values if type(values) in (list, tuple) else reading.plain_values(values)
    kinds = set(map(type, plain))
    if not kinds or not kinds <= {int, float, bool, type(None)} or kinds == {type(None)}:
        return None
    try:
        numbers = array("d", [math.nan if each is None else each for each in plain])
    except OverflowError:
        return None
    large = int in kinds and any(type(each) is int and abs(each) >= _EXACT for each in plain)
    return None if large else numbers


def _plain(value: Any) -> Any:
    """A text, number or null of a library, a Decimal, an enum or a subclass as the built-in one; anything else as it is."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is Decimal:
        return as_builtin(value)
    seen = view(value, 0)
    return seen.value if seen.kind == "atom" else value


def _is_numeric(values: Any) -> bool:
    """Whether a polars or pyarrow column holds numbers."""
    name = str(getattr(values, "dtype", None) or getattr(values, "type", "")).lower()
    return name.startswith(("int", "uint", "float", "double", "bool"))


def _hash(value: Any, tick: Tick) -> int:
    """The hash of one value, whatever it is.

    Raises:
        OverBudgetError: it cannot be read whole, or not in time: nothing is known of its column then.
    """
    if reading.is_null(value) or (type(value) is Decimal and value.is_nan()):
        return _NULL
    if type(value) is str:
        return xxhash.xxh3_64_intdigest(value.encode("utf-8", "surrogatepass"), _TEXT_SEED)
    if type(value) in (int, float, bool) and abs(value) < _EXACT:
        return _hashes_of_numbers(array("d", [value]))[0]
    if type(value) is not Decimal:  # which is equal to a number
        seen = view(value, 0)
        if seen.kind == "text":
            return _hash_of_text(seen.value)
    made = fingerprint(value, tick)
    if made["partial"]:
        raise OverBudgetError
    return int(made["exact"], 16) & _MASK


def _hashes_of_numbers(numbers: array[float]) -> array[int]:
    """By value: 0.0 and -0.0 are one, and so are all NaN, which are null."""
    numpy = _numpy_for(len(numbers))
    if numpy is not None:
        plain = numpy.frombuffer(numbers, dtype="f8") + 0.0  # which makes -0.0 to 0.0
        return array("Q", numpy.where(numpy.isnan(plain), numpy.uint64(_NULL), plain.view("u8")).tobytes())
    bits = array("Q", array("d", [each + 0.0 for each in numbers]).tobytes())
    if not any(map(operator.ne, numbers, numbers)):
        return bits
    return array("Q", [_NULL if number != number else each for number, each in zip(numbers, bits)])


def _numpy_for(size: int) -> Any:
    """numpy, where the program has it loaded and there are enough values for it to pay."""
    return sys.modules.get("numpy") if size >= _MANY else None


def _mixed(ids: array[int], hashes: array[int]) -> array[int]:
    """The hash of each pair."""
    numpy = _numpy_for(len(ids))
    if numpy is not None:
        u8 = numpy.uint64
        mixed = numpy.frombuffer(ids, dtype="u8") + numpy.frombuffer(hashes, dtype="u8") * u8(_K1)
        mixed = (mixed ^ (mixed >> u8(30))) * u8(_K2)
        mixed = (mixed ^ (mixed >> u8(27))) * u8(_K3)
        return array("Q", (mixed ^ (mixed >> u8(31))).tobytes())
    mixed = array("Q")
    for at in range(0, len(ids), _LANES):
        mixed.extend(_mixed_at_once(ids[at : at + _LANES], hashes[at : at + _LANES]))
    return mixed


def _mixed_at_once(ids: array[int], hashes: array[int]) -> array[int]:
    """As one whole number with 128 bits for each pair, so that no product reaches the next: a third of the time that a loop takes."""
    low = _low_halves(len(ids))
    mixed = (_in_lanes(ids) + _in_lanes(hashes) * _K1) & low
    mixed = ((mixed ^ (mixed >> 30 & low)) * _K2) & low
    mixed = ((mixed ^ (mixed >> 27 & low)) * _K3) & low
    mixed ^= mixed >> 31 & low
    return array("Q", mixed.to_bytes(16 * len(ids), _ORDER))[_LOW::2]


def _in_lanes(numbers: array[int]) -> int:
    lanes = array("Q", bytes(16 * len(numbers)))
    lanes[_LOW::2] = numbers
    return int.from_bytes(lanes.tobytes(), _ORDER)


@lru_cache(maxsize=256)
def _low_halves(n: int) -> int:
    return _in_lanes(array("Q", [_MASK]) * n)


def _mixes(values: Mapping[str, Column], ids: array[int]) -> Iterator[array[int]]:
    """What the sums are made of, in this order: the mixes of the weights, where numbers are weighted one by one; of each column
    with the ids; and of each column with its name. Of few items all are made at once, which a seventh of the calls does.
    """
    n = len(ids)

    def pairs() -> Iterator[tuple[array[int], array[int]]]:
        for k in _PROJECTIONS if _are_weighted(values, n) else ():
            yield ids, array("Q", [k]) * n
        for column in values.values():
            yield ids, column.hashes
        for name, column in values.items():
            yield array("Q", [_salt(name)]) * n, column.hashes

    if not 0 < n < _MANY:
        return (_mixed(left, right) for left, right in pairs())
    every_left, every_right = array("Q"), array("Q")
    for left, right in pairs():
        every_left += left
        every_right += right
    mixed = _mixed(every_left, every_right)
    return (mixed[at : at + n] for at in range(0, len(mixed), n))


def _are_weighted(values: Mapping[str, Column], n: int) -> bool:
    """Whether there are numbers to be weighted, and too few for numpy."""
    return _numpy_for(n) is None and any(column.numbers is not None and column.nulls < n for column in values.values())


def _added(mixes: Iterable[array[int]], n: int) -> array[int]:
    """The hash of each row, whatever the order of its columns."""
    numpy = _numpy_for(n)
    rows: Any = numpy.zeros(n, dtype="u8") if numpy is not None else [0] * n
    for mixed in mixes:
        if numpy is not None:
            rows += numpy.frombuffer(mixed, dtype="u8")
        else:
            rows = list(map(operator.add, rows, mixed))
    return array("Q", rows.tobytes() if numpy is not None else [row & _MASK for row in rows])


@lru_cache(maxsize=256)
def _salt(name: str) -> int:
    return xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass"))


def _sums_of(values: Mapping[str, Column], ids: array[int], mixes: Iterator[array[int]]) -> dict[str, dict[str, Any]]:
    weights = [_weights(next(mixes)) for _ in _PROJECTIONS] if _are_weighted(values, len(ids)) else []
    return {name: _sums_of_column(column, ids, next(mixes), weights) for name, column in values.items()}


def _sums_of_column(
    column: Column, ids: array[int], mixed: array[int], weights: Sequence[Sequence[float]]
) -> dict[str, Any]:
    about: dict[str, Any] = {"n": len(ids), "sum": f"{sum64(mixed):016x}"}
    if column.nulls:
        about["nulls"] = column.nulls
    if column.now:
        about["now"] = True
    if column.numbers is None or column.nulls == len(ids):
        return about
    numpy = _numpy_for(len(ids))
    if numpy is not None:
        figures = _figures_of_many(numpy, column.numbers, ids)
    else:
        figures = _figures_of_few(column, column.numbers, weights)
    if not all(map(math.isfinite, figures)):
        return about
    names = ("min", "max", "total", "abs")
    return {**about, **dict(zip(names, figures)), "proj": figures[len(names) :]}


def _figures_of_few(column: Column, numbers: array[float], weights: Sequence[Sequence[float]]) -> list[float]:
    several: list[Iterable[float]] = [numbers, *(map(operator.mul, each, numbers) for each in weights)]
    if column.nulls:  # which a weight leaves NaN
        several = [[number for number in each if number == number] for each in several]
    known, *weighted = several
    return [min(known), max(known), _total(known), _total(map(abs, known)), *map(_total, weighted)]


def _figures_of_many(numpy: Any, numbers: array[float], ids: array[int]) -> list[float]:
    plain = numpy.frombuffer(numbers, dtype="f8")
    keep = ~numpy.isnan(plain)
    known = plain[keep]
    figures = [known.min(), known.max(), known.sum(), numpy.abs(known).sum()]
    for k in _PROJECTIONS:
        bits = numpy.frombuffer(_mixed(ids, array("Q", [k]) * len(ids)), dtype="u8")[keep]
        amounts = 0.5 + (bits >> numpy.uint64(11)) * _ROOT
        figures.append((numpy.where(bits & numpy.uint64(1), amounts, -amounts) * known).sum())
    return [float(each) for each in figures]


def _total(numbers: Iterable[float]) -> float:
    try:
        return math.fsum(numbers)
    except (OverflowError, ValueError):
        return math.nan


def _weights(mixed: array[int]) -> list[float]:
    """Those of some items for one projection: 0.5 to 1.5 in amount, of either sign, as the item's hash says."""
    return [0.5 + (bits >> 11) * _ROOT if bits & 1 else -0.5 - (bits >> 11) * _ROOT for bits in mixed]


def _count_nan(numbers: array[float]) -> int:
    numpy = _numpy_for(len(numbers))
    if numpy is not None:
        return int(numpy.isnan(numpy.frombuffer(numbers, dtype="f8")).sum())
    return sum(map(operator.ne, numbers, numbers))


def _of_rows(column: Column, rows: Sequence[int]) -> Column:
    numbers = array("d", [column.numbers[row] for row in rows]) if column.numbers is not None else None
    hashes = array("Q", [column.hashes[row] for row in rows])
    return Column(hashes, numbers, sum(each == _NULL for each in hashes), column.now)
