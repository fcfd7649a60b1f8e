"""What was read of the fields of items, of one collection and of several as one. Reads nothing itself: see `item_values`."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from xray_core.objects import form


class Column(NamedTuple):
    """The values of one field, row by row: their hashes, the numbers where all are (NaN for none), and how many are null."""

    hashes: array[int]
    numbers: array[float] | None
    nulls: int
    now: bool = False  # it holds times of now


class Read(NamedTuple):
    """The columns of some items, of how many further ones nothing is known, and the form of all (`objects.form`)."""

    columns: Mapping[str, Column] = MappingProxyType({})
    omitted: int = 0
    form: str = form.UNKNOWN


def joined(several: Sequence[Read]) -> Read:
    """What was read of several collections, one after the other: the columns that all have."""
    first = several[0]
    shared = [name for name in first.columns if all(name in each.columns for each in several)]
    forms = {each.form for each in several}
    partial = max(len(each.columns) + each.omitted for each in several) - len(shared)
    whole = form.UNKNOWN if partial or form.UNKNOWN in forms else form.digest(sorted(forms))
    return Read({name: _one_column([each.columns[name] for each in several]) for name in shared}, partial, whole)


def _one_column(several: Sequence[Column]) -> Column:
    hashes = array("Q")
    numbers: array[float] | None = array("d")
    for each in several:
        hashes += each.hashes
        numbers = numbers + each.numbers if numbers is not None and each.numbers is not None else None
    return Column(hashes, numbers, sum(each.nulls for each in several))
