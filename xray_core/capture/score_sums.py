"""The scores of one outcome of a step: their ends, and their sums over all items that have one, sampled or not (`xray_core.sums`).

An item costs one append, of its hash and score together: nothing can come in between. What has come is added up in blocks, so
that memory is bounded however many there are.
"""

from __future__ import annotations

from array import array
from struct import Struct
from typing import Any, Final

from xray_core.capture import item_values
from xray_core.sums import merge_columns

_BLOCK: Final = 1 << 13
_PAIR: Final = Struct("=Qd").pack


class ScoreSums:
    """Not safe with threads: the step's lock is held around it."""

    __slots__ = ("_added_up", "_pairs", "ends")

    def __init__(self) -> None:
        self.ends: list[Any] = []  # the least score and an item that has it, the greatest and one that has it
        self._pairs = array("Q")
        self._added_up: dict[str, Any] | None = None

    def add(self, hashed: int, score: float, item_id: str) -> None:
        """The score of one item, by the hash of its id; the score is finite."""
        ends = self.ends
        if not ends:
            self.ends = [score, item_id, score, item_id]
        elif score < ends[0]:
            ends[0], ends[1] = score, item_id
        elif score > ends[2]:
            ends[2], ends[3] = score, item_id
        self._pairs.frombytes(_PAIR(hashed, score))
        if len(self._pairs) >= 2 * _BLOCK:
            self._add_up()

    def extend(self, hashes: array[int], scores: array[float], ends: list[Any]) -> None:
        """As `add`, of many, whose ends are known."""
        if not self.ends:
            self.ends = ends
        else:
            mine = self.ends
            if ends[0] < mine[0]:
                mine[0], mine[1] = ends[0], ends[1]
            if ends[2] > mine[2]:
                mine[2], mine[3] = ends[2], ends[3]
        pairs = array("Q", bytes(16 * len(hashes)))
        pairs[0::2] = hashes
        pairs[1::2] = array("Q", scores.tobytes())
        self._pairs.extend(pairs)
        if len(self._pairs) >= 2 * _BLOCK:
            self._add_up()

    def column(self) -> dict[str, Any] | None:
        """The sums so far; None where there was no score."""
        if self._pairs:
            self._add_up()
        return self._added_up

    def _add_up(self) -> None:
        pairs, self._pairs = self._pairs, array("Q")
        block = item_values.sums_of_numbers(array("d", pairs[1::2].tobytes()), pairs[0::2])
        before = self._added_up
        self._added_up = block if before is None else merge_columns([{"": before}, {"": block}])[0][""]
