"""Memory that the processes of one server share: each has cells of its own, which it writes and the others read.

It is anonymous, made before the processes are forked, and gone with them. Knows nothing of what is in a cell.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Final

CELLS: Final = 256  # of each process
_CELL_BYTES: Final = 1_024
_LENGTH_BYTES: Final = 2
_MAX_BYTES: Final = _CELL_BYTES - _LENGTH_BYTES


class Cells:
    """The cells of one process among those of all.

    Args:
        memory: of all processes, as `room` makes it.
        number: of this process, from 0.
    """

    def __init__(self, memory: mmap.mmap, number: int) -> None:
        self._memory = memory
        self._processes = len(memory) // (CELLS * _CELL_BYTES)
        self._number = number
        for cell in range(CELLS):  # another process was here before, and ended
            self._set_length(cell, 0)

    def write(self, cell: int, content: bytes) -> None:
        """Put a content in a cell's place; one that is too long for it is not told."""
        at = self._at(self._number, cell) + _LENGTH_BYTES
        self._set_length(cell, 0)
        if len(content) <= _MAX_BYTES:
            self._memory[at : at + len(content)] = content
            self._set_length(cell, len(content))

    def of_others(self) -> Iterator[bytes]:
        """The contents of the other processes' cells. One that is just being written may be torn."""
        for process in range(self._processes):
            for cell in range(CELLS if process != self._number else 0):
                at = self._at(process, cell)
                length = int.from_bytes(self._memory[at : at + _LENGTH_BYTES], "little")
                if length:
                    yield self._memory[at + _LENGTH_BYTES : at + _LENGTH_BYTES + min(length, _MAX_BYTES)]

    def _set_length(self, cell: int, length: int) -> None:
        at = self._at(self._number, cell)
        self._memory[at : at + _LENGTH_BYTES] = length.to_bytes(_LENGTH_BYTES, "little")

    @staticmethod
    def _at(process: int, cell: int) -> int:
        return (process * CELLS + cell) * _CELL_BYTES


def room(processes: int) -> mmap.mmap:
    """Memory for the cells of so many processes, to be made before they are forked."""
    return mmap.mmap(-1, processes * CELLS * _CELL_BYTES)
