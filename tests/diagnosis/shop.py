"""One pipeline with a fault of many kinds, captured in many ways: retrieve, clean, filter, dedupe, score, rank, select, answer.

It is written as users write theirs. What varies is the fault, how much is captured, the noise of every run (ids of requests,
times, hosts, the last digits of scores) and the data.
"""

from __future__ import annotations

import datetime
import random
import uuid
from dataclasses import dataclass
from typing import Any

from xray_core import XRay

Item = dict[str, Any]
STEPS = ("retrieve", "clean", "filter", "dedupe", "score", "rank", "select", "answer")
TYPES = {
    "retrieve": "retrieve",
    "filter": "filter",
    "score": "score",
    "rank": "rank",
    "select": "select",
    "answer": "generate",
}


@dataclass(frozen=True)
class Setup:
    """How a run is made.

    Attributes:
        style: "values" (inputs and outputs whole), "ids" (item sets and verdicts), "verdicts" (verdicts alone) or "frames".
        silent: steps that say nothing.
        noise: what differs in every run and matters to nobody; a seed, None for none.
        data: which catalogue.
        retried: the score step fails once.
    """

    style: str
    silent: frozenset[str] = frozenset()
    noise: int | None = None
    data: int = 0
    retried: bool = False


def catalogue(data: int) -> list[Item]:
    return [{"id": f"p{n}", "price": 10 + 7 * n % 93, "vendor": f"v{n % 9}"} for n in range(5 * data, 40 + 5 * data)]


class Shop:
    """One run of the pipeline."""

    def __init__(self, xray: XRay, setup: Setup, fault: str | None) -> None:
        self.xray, self.setup, self.fault = xray, setup, fault
        self.random = random.Random(setup.noise)

    def run(self) -> str:
        asked: Item = {"query": "bottle" if self.setup.data < 10 else "lamp", "day": self.setup.data}
        if self.setup.noise is not None:
            asked |= {"request_id": str(uuid.UUID(int=self.random.getrandbits(128), version=4)), "at": _now()}
        with self.xray.run(input=asked) as self.opened:
            items = self.retrieve(catalogue(self.setup.data))
            items = self.clean(items)
            items = self.filter(items)
            if self.fault != "step_left_out":
                items = self.dedupe(items)
            if self.fault == "lost_between_steps":
                items = items[:-4]
            self.score(items)
            items = self.rank(items)
            items = self.select(items)
            self.opened.set_output(self.answer(items))
        return self.opened.run_id

    # The steps -------------------------------------------------------------------------------------------------------

    def retrieve(self, items: list[Item]) -> list[Item]:
        found = items[3:] if self.fault == "stale_index" else items
        with self.opened.step("retrieve", self.type("retrieve")) as step:
            if self.tells("retrieve"):
                step.set_input({"day": self.setup.data})
                self.came_out(step, found)
        return found

    def clean(self, items: list[Item]) -> list[Item]:
        factor = 1.61 if self.fault == "wrong_unit" else 1
        cleaned = [{**item, "price": item["price"] * factor} for item in items]
        if self.fault == "filled_with_zero":
            cleaned = [{**item, "price": 0} if n % 7 == 0 else item for n, item in enumerate(cleaned)]
        self.passes("clean", items, cleaned)
        return cleaned

    def filter(self, items: list[Item]) -> list[Item]:
        limit = 60 if self.fault == "lower_limit" else 80
        kept = [item for item in items if item["price"] <= limit]
        if self.fault == "inverted":
            kept = [item for item in items if item["price"] > limit]
        self.passes(
            "filter", items, kept, "price_too_high", {"limit": limit}, code="f2" if self.fault == "inverted" else "f1"
        )
        return kept

    def dedupe(self, items: list[Item]) -> list[Item]:
        kept = items[3:] if self.fault == "greedy_dedupe" else items
        self.passes("dedupe", items, kept)
        return kept

    def score(self, items: list[Item]) -> None:
        noise = 1 + 1e-13 * self.random.random() if self.setup.noise is not None else 1
        for n, item in enumerate(items):
            shift = 40 if self.fault == "other_model" and n % 2 else 0
            item["score"] = (100 - item["price"] + shift) * noise
        if self.setup.retried:
            first = self.opened.open_step("score", step_id=f"{self.opened.run_id}-s", step_type=self.type("score"))
            first.close("failed", error=TimeoutError("no answer"))
            step = self.opened.open_step(
                "score", step_id=f"{self.opened.run_id}-s", attempt=2, step_type=self.type("score")
            )
        else:
            step = self.opened.open_step("score", step_type=self.type("score"))
        if self.tells("score"):
            step.set_metadata("temperature", 0.2)
            self.went_in(step, [{k: v for k, v in item.items() if k != "score"} for item in items])
            for item in items:
                step.accept(item["id"], score=item["score"])
            if self.setup.style == "values":
                step.set_output(items)
        step.close()

    def rank(self, items: list[Item]) -> list[Item]:
        ranked = sorted(items, key=lambda item: (-item["score"], item["id"]))
        if self.fault == "other_order":
            ranked = ranked[:2][::-1] + ranked[2:]
        with self.opened.step("rank", self.type("rank")) as step:
            if self.tells("rank"):
                self.went_in(step, items)
                for place, item in enumerate(ranked, 1):
                    step.accept(item["id"], rank=place)
                self.came_out(step, ranked, verdicts=False)
        return ranked

    def select(self, items: list[Item]) -> list[Item]:
        most = 3 if self.fault == "shorter_cut" else 5
        with self.opened.step("select", self.type("select")) as step:
            if self.tells("select"):
                step.set_metadata("most", most)
                self.went_in(step, items)
                step.decide(
                    "best", selected=[i["id"] for i in items[:most]], alternatives=[i["id"] for i in items[most:]]
                )
                if self.setup.style == "values":
                    step.set_output(items[:most])
        return items[:most]

    def answer(self, items: list[Item]) -> str:
        system = "Prefer the dearest." if self.fault == "other_prompt" else "Prefer the cheapest."
        text = f"{system} {[item['id'] for item in items]}"
        if self.fault == "model_that_slips":
            text = "Sorry, I cannot help with that."
        with self.opened.step("answer", self.type("answer")) as step:
            if self.tells("answer"):
                asked: Item = {"system": system, "context": [item["id"] for item in items]}
                if self.setup.noise is not None:
                    asked["trace_id"] = f"{self.random.getrandbits(64):016x}"
                step.set_input(asked)
                step.set_output(text)
        return text

    # What is told ----------------------------------------------------------------------------------------------------

    def passes(
        self,
        name: str,
        items: list[Item],
        kept: list[Item],
        reason: str = "",
        details: Item | None = None,
        code: str = "1",
    ) -> None:
        with self.opened.step(name, self.type(name), code_version=code) as step:
            if not self.tells(name):
                return
            self.went_in(step, items)
            left = {item["id"] for item in kept}
            if self.setup.style in ("ids", "verdicts", "frames") and reason:
                for item in items:
                    if item["id"] in left:
                        step.accept(item["id"])
                    else:
                        step.reject(item["id"], reason, {"price": item["price"], **(details or {})})
            elif self.setup.style == "values":
                for key, value in (details or {}).items():
                    step.set_metadata(key, value)
            self.came_out(step, kept, verdicts=not reason)

    def went_in(self, step: Any, items: list[Item]) -> None:
        if self.setup.style == "values":
            step.set_input(items)
        elif self.setup.style == "ids":
            step.set_input_items([item["id"] for item in items])
        elif self.setup.style == "frames":
            step.set_input_items(_frame(items), key="id")

    def came_out(self, step: Any, items: list[Item], *, verdicts: bool = True) -> None:
        if self.setup.style == "values":
            step.set_output(items)
        elif self.setup.style == "ids":
            step.set_output_items([item["id"] for item in items])
        elif self.setup.style == "frames":
            step.set_output_items(_frame(items), key="id")
        elif verdicts:
            for item in items:
                step.accept(item["id"])

    def tells(self, name: str) -> bool:
        return name not in self.setup.silent

    def type(self, name: str) -> str | None:
        return TYPES.get(name)


def _frame(items: list[Item]) -> Any:
    import pandas as pd

    return pd.DataFrame(items, columns=["id", "price", "vendor"])


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat()
