"""The score of the diagnosis suites, from what their tests recorded; `python -m tests.diagnosis.score FILE` adds up several.

`make test` runs pytest several times, frameworks apart: each adds its part to the file that XRAY_TEST_SCORE names.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

PROPERTY: Final = "diagnosis"
Record = Callable[[str, Any], None]


@dataclass
class Score:
    """Counts of the cases that ran, and of what came out.

    Attributes:
        right_step, right_cause: of the faults; false_blame: another step was named; false_certainty: a step was called
            certain that is another one, or of which the evidence does not prove it.
        clean: controls in which nothing was blamed.
    """

    faults: int = 0
    right_step: int = 0
    right_cause: int = 0
    false_blame: int = 0
    false_certainty: int = 0
    controls: int = 0
    clean: int = 0

    def __str__(self) -> str:
        return (
            f"{self.faults} planted faults: right step {self.right_step}, right cause {self.right_cause}, "
            f"false blame {self.false_blame}, false certainty {self.false_certainty}; "
            f"nothing blamed in {self.clean} of {self.controls} controls"
        )


def record_fault(
    record: Record, *, named: bool, step: bool, cause: bool, certain: bool, unproven: bool = False
) -> None:
    """Keep what was said of a planted fault: whether a step was named, the right one, for its cause, and with certainty.

    Args:
        unproven: nothing that was captured proves that it is this step.
    """
    wrong = named and not step
    counted = Score(1, int(step), int(step and cause), int(wrong), int(certain and (wrong or unproven)))
    record(PROPERTY, asdict(counted))


def record_control(record: Record, *, clean: bool) -> None:
    """Keep whether nothing was blamed where nothing is wrong."""
    record(PROPERTY, asdict(Score(controls=1, clean=int(clean))))


def score_of(properties: Iterable[tuple[str, Any]]) -> Score:
    """The score of what `record_property` kept."""
    return _added(value for name, value in properties if name == PROPERTY)


def _added(several: Iterable[dict[str, int]]) -> Score:
    total = Score()
    for each in several:
        for name, n in each.items():
            setattr(total, name, getattr(total, name) + n)
    return total


def keep(score: Score, path: str) -> None:
    """Add the score of this process to a file."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(score)) + "\n")


if __name__ == "__main__":
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    print(f"diagnosis, all suites: {_added(map(json.loads, lines))}")
