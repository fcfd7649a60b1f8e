"""Random pipelines that are performed with the real SDK, and what really happened in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import pandas as pd
import polars as pl

from xray_core import XRay

ITEMS = [f"i{n}" for n in range(12)]


def all_accept() -> dict[str, str]:
    return dict.fromkeys(ITEMS, "accepted")


@dataclass
class StepPlan:
    """What a step does with the items that reach it, and how much of it it tells.

    Attributes:
        fate: item -> outcome; "lost" and "kept_silently" are said by no verdict.
        padding: items beside ours that are rejected first: beyond a thousand, the rest is kept as fingerprints.
        shape: "silent" says nothing of items; "mapped" is two instances; "nested" has a step around it; "retried" fails
            once and begins again; "resumed" fails once and goes on with the second half.
        frames: the library in whose frames items come in, are judged and go out; "" for lists.
    """

    fate: dict[str, str]
    tells_input: bool = False
    tells_output: bool = False
    minimal: bool = False
    padding: int = 0
    shape: str = "plain"
    step_type: str | None = None
    frames: str = ""


class End(NamedTuple):
    """Where an item ended: `outcome` as `why` would say it; `silent`: in a step that says nothing of items."""

    step: str
    outcome: str
    silent: bool


@dataclass
class Truth:
    """What really happened.

    Attributes:
        names: of the steps; `entered`: what reached each; `fates`: item -> {(path, attempt): outcome}.
    """

    start: set[str]
    names: list[str] = field(default_factory=list)
    entered: list[set[str]] = field(default_factory=list)
    ended: dict[str, End] = field(default_factory=dict)
    fates: dict[str, dict[tuple[str, int], str]] = field(
        default_factory=lambda: {"stranger": {}, **{i: {} for i in ITEMS}}
    )

    def outcomes(self, path: str, attempt: int, item: str) -> tuple[str, ...]:
        """What may be said of an item at a step attempt."""
        fate = self.fates[item].get((path, attempt))
        if fate == "accepted":
            return ("accepted", "selected")
        return ("never_entered",) if fate is None else (fate,)


def perform(xray: XRay, plan: Sequence[StepPlan], start: set[str]) -> tuple[str, Truth]:
    """Run the pipeline: the run's id, and the truth of it."""
    truth = Truth(set(start))
    present = set(start)
    with xray.run() as run:
        for number, each in enumerate(plan):
            truth.entered.append(set(present))
            truth.names.append(f"step{number}")
            present = _Performed(run, number, each, truth).of(sorted(present))
    return run.run_id, truth


class _Performed:
    def __init__(self, run: Any, number: int, plan: StepPlan, truth: Truth) -> None:
        self.run, self.number, self.plan, self.truth = run, number, plan, truth
        self.name = f"step{number}"
        self.options: dict[str, Any] = {"capture": "minimal" if plan.minimal else None, "step_type": plan.step_type}

    def of(self, items: list[str]) -> set[str]:
        shape = self.plan.shape
        if shape == "silent":
            return self._silent(items)
        if shape == "mapped":
            return self._mapped(items)
        if shape == "nested":
            with self.run.step(f"around{self.number}"), self.run.step(self.name, **self.options) as step:
                return self._judge(step, items, f"around{self.number} > {self.name}")
        if shape in ("retried", "resumed"):
            return self._twice(items, resumed=shape == "resumed")
        with self.run.step(self.name, **self.options) as step:
            return self._judge(step, items, self.name)

    def _silent(self, items: list[str]) -> set[str]:
        with self.run.step(self.name):
            left = {item for item in items if self.plan.fate[item] in ("accepted", "kept_silently")}
        for item in items:
            if item not in left:
                self.truth.ended[item] = End(self.name, "dropped", True)
        return left

    def _mapped(self, items: list[str]) -> set[str]:
        left: set[str] = set()
        for index in range(2):
            step = self.run.open_step(self.name, map_index=index, **self.options)
            mine = [item for item in items if int(item[1:]) % 2 == index]
            left |= self._judge(step, mine, f"{self.name}[{index}]")
            step.close()
        return left

    def _twice(self, items: list[str], *, resumed: bool) -> set[str]:
        half = items[: len(items) // 2] if resumed else items
        step_id = f"{self.run.run_id}-{self.number}"
        first = self.run.open_step(self.name, step_id=step_id, attempt=1, **self.options)
        left = self._judge(first, half, self.name, attempt=1, given=items)
        first.close("failed", error=TimeoutError("no answer"))
        second = self.run.open_step(self.name, step_id=step_id, attempt=2, **self.options)
        if resumed:
            left |= self._judge(second, items[len(half) :], self.name, attempt=2)
        else:
            left = self._judge(second, items, self.name, attempt=2)
        second.close()
        return left

    def _judge(
        self, step: Any, items: list[str], path: str, *, attempt: int = 1, given: list[str] | None = None
    ) -> set[str]:
        plan, left = self.plan, set(items)
        padding = [f"pad-{path}-{attempt}-{n}" for n in range(plan.padding)]
        if plan.tells_input:
            self._give(step.set_input_items, (items if given is None else given) + padding)
        step.reject_many(padding, "padding")
        silent = not (plan.tells_input or plan.tells_output or padding)
        for item in items:
            fate = plan.fate[item]
            silent = silent and fate in ("lost", "kept_silently")
            if not plan.frames:
                _verdict(step, item, fate)
            if fate not in ("accepted", "kept_silently"):
                left.discard(item)
        if plan.frames:
            _judge_frame(step, items, plan)
        if plan.tells_output:
            self._give(step.set_output_items, sorted(left))
        for item in items:
            said = {"lost": "dropped", "kept_silently": "accepted"}.get(plan.fate[item], plan.fate[item])
            self.truth.fates[item][path, attempt] = said
            if item in left:
                self.truth.ended.pop(item, None)
            else:
                self.truth.ended[item] = End(self.name, said, silent)
        return left

    def _give(self, set_items: Any, ids: list[str]) -> None:
        """Items as the step has them: a list, or a frame with a key."""
        if self.plan.frames:
            set_items(frame_of(tuple(ids), self.plan.frames), key="id")
        else:
            set_items(ids)


@lru_cache(maxsize=256)  # making a frame takes as long as a step
def frame_of(ids: tuple[str, ...], library: str) -> Any:
    """One row for each id."""
    columns = {"id": list(ids), "price": [len(item) for item in ids]}
    return pl.DataFrame(columns, schema={"id": str, "price": int}) if library == "polars" else pd.DataFrame(columns)


def _judge_frame(step: Any, items: list[str], plan: StepPlan) -> None:
    """Accepts and rejects by masks of one frame, the other outcomes by columns of ids."""
    of = {fate: [item for item in items if plan.fate[item] == fate] for fate in set(plan.fate.values())}
    judged = [item for item in items if plan.fate[item] in ("accepted", "rejected")]
    if judged:
        step.filter(
            frame_of(tuple(judged), plan.frames),
            {"because": [plan.fate[item] == "rejected" for item in judged]},
            key="id",
        )
    if of.get("not_selected"):
        step.decide("pick", selected=None, alternatives=frame_of(tuple(of["not_selected"]), plan.frames))
    for item in of.get("errored", ()):
        step.errored(item, "broken")


def _verdict(step: Any, item: str, fate: str) -> None:
    if fate == "accepted":
        step.accept(item)
    elif fate == "rejected":
        step.reject(item, "because")
    elif fate == "errored":
        step.errored(item, "broken")
    elif fate == "not_selected":
        step.decide("pick", selected=None, alternatives=[item])
