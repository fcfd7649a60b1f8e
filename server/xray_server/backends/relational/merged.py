"""What a writer merged last, by what it wrote: a step that hundreds of tasks speak of changes with each of them, and taking its
document apart again costs as much as the change. Knows no SQL.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from xray_server.backends.relational.rows import Parts
from xray_server.records.states import StepState

_FEWEST_PARTS: Final = 16  # below this there is little to save
_MAX_STEPS: Final = 32


class LastMerged:
    """Of the last steps of many parts, the parts and the state behind a document. One thread."""

    def __init__(self) -> None:
        self._of: OrderedDict[int, tuple[bytes, Parts, StepState]] = OrderedDict()

    def get(self, step: int, document: bytes) -> tuple[Parts, StepState] | None:
        """The parts and the state of a stored document, if this writer wrote it; neither may be changed."""
        found = self._of.get(step)
        return None if found is None or found[0] != document else found[1:]

    def put(self, step: int, document: bytes, parts: Parts, state: StepState) -> None:
        """Keep what was merged. Should the transaction not be committed, the next document is another."""
        if len(parts) >= _FEWEST_PARTS:
            self._of[step] = document, parts, state
            self._of.move_to_end(step)
            while len(self._of) > _MAX_STEPS:
                self._of.popitem(last=False)
