"""The score of the diagnosis suite, from what its tests recorded: right step, right cause, false blame, false certainty."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

PROPERTY = "diagnosis"


class Score:
    """Counts of the cases that ran, and of what came out."""

    def __init__(self) -> None:
        self.faults = self.right_step = self.right_cause = self.false_certainty = 0
        self.controls = self.clean = 0

    def add(self, verdict: dict[str, Any]) -> None:
        if verdict["control"]:
            self.controls += 1
            self.clean += verdict["clean"]
        else:
            self.faults += 1
            self.right_step += verdict["step"]
            self.right_cause += verdict["cause"]
            self.false_certainty += verdict["falsely_certain"]

    def __str__(self) -> str:
        return (
            f"{self.faults} planted faults: right step {self.right_step}, right cause {self.right_cause}, "
            f"false certainty {self.false_certainty}; {self.controls} controls: {self.clean} blamed for nothing"
        )


def score_of(properties: Iterable[tuple[str, Any]]) -> Score:
    """The score of what `record_property` kept."""
    score = Score()
    for name, value in properties:
        if name == PROPERTY:
            score.add(value)
    return score
