"""Faults of every kind in one pipeline, captured in every way: the guilty step is named, and never another with certainty.

`make test` prints the score. Bars: 95% of the faults at the right step, no false certainty, nothing blamed in controls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.diagnosis.score import Record, record_control, record_fault
from tests.diagnosis.shop import Setup, Shop
from xray_core.compare import Diff
from xray_core.testing import capture

STYLES = ("values", "ids", "verdicts", "frames")


@dataclass(frozen=True)
class Fault:
    """What is planted, the step that it is in, and what must be said of it: a path among the changes, or a kind."""

    name: str
    step: str
    kind: str
    cause: str = ""
    unseen_in: tuple[str, ...] = ()
    """Styles in which nothing of the step itself shows it: then the next that shows is named, and never with certainty."""
    shows_at: str = ""
    or_kind: str = ""
    """What it may be called where nothing tells what went into the step."""


FAULTS = (
    Fault("stale_index", "retrieve", "non_deterministic"),
    Fault("wrong_unit", "clean", "non_deterministic", "", ("ids", "verdicts", "frames"), "filter"),
    Fault("filled_with_zero", "clean", "non_deterministic", "", ("ids", "verdicts", "frames"), "score"),
    Fault("lower_limit", "filter", "code_changed", "limit"),
    Fault("inverted", "filter", "code_changed", "code_version"),
    Fault("greedy_dedupe", "dedupe", "non_deterministic"),
    Fault("step_left_out", "dedupe", "missing_step"),
    Fault("lost_between_steps", "score", "input_changed", or_kind="non_deterministic"),
    Fault("other_model", "score", "non_deterministic"),
    Fault("other_order", "rank", "non_deterministic", "", ("verdicts",), "select"),
    Fault("shorter_cut", "select", "code_changed", "metadata.most"),
    Fault("other_prompt", "answer", "input_changed", "input.system"),
    Fault("model_that_slips", "answer", "non_deterministic"),
)
# A third of the steps says nothing, but for the guilty one and the one before it, without which it could not be named.
SILENT = {
    "stale_index": {"clean", "dedupe", "rank"},
    "lower_limit": {"clean", "dedupe", "rank"},
    "inverted": {"clean", "score", "select"},
    "greedy_dedupe": {"clean", "score", "select"},
    "lost_between_steps": {"clean", "rank", "answer"},
    "other_model": {"clean", "filter", "rank"},
    "other_order": {"clean", "filter", "dedupe"},
    "shorter_cut": {"clean", "dedupe", "score"},
    "other_prompt": {"retrieve", "clean", "dedupe"},
    "model_that_slips": {"clean", "filter", "dedupe"},
}
CASES: list[tuple[str, Fault, Setup, Setup]] = []
for fault in FAULTS:
    for style in STYLES:
        CASES.append((f"{fault.name}-{style}", fault, Setup(style), Setup(style)))
    CASES.append((f"{fault.name}-noise", fault, Setup("values", noise=1), Setup("values", noise=2)))
    if fault.name in SILENT:
        quiet = Setup("ids", silent=frozenset(SILENT[fault.name]))
        CASES.append((f"{fault.name}-a-third-silent", fault, quiet, quiet))
for name in ("lower_limit", "inverted", "shorter_cut"):
    (fault,) = (each for each in FAULTS if each.name == name)
    CASES.append((f"{name}-new-data", fault, Setup("ids"), Setup("ids", data=1)))


def diff_of(good: Setup, bad: Setup, fault: str | None) -> Diff:
    with capture() as result:
        a, b = Shop(result.xray, good, None).run(), Shop(result.xray, bad, fault).run()
    return result.diff(a, b)


@pytest.mark.parametrize(("name", "fault", "good", "bad"), CASES, ids=[case[0] for case in CASES])
def test_the_guilty_step_is_named(name: str, fault: Fault, good: Setup, bad: Setup, record_property: Record) -> None:
    diff = diff_of(good, bad, fault.name)
    parted = diff.parted_at
    unseen = good.style in fault.unseen_in
    named = parted is not None and parted.path in ((fault.step, fault.shows_at) if unseen else (fault.step,))
    kinds = (fault.kind, fault.or_kind) if good.style == "verdicts" else (fault.kind,)
    cause = named and (unseen or (parted is not None and parted.kind in kinds))
    if good.data != bad.data and not named:  # new data is said, and the fault beside it
        named = fault.step in [each["path"] for each in diff.also]
        cause = named and fault.kind in [each["kind"] for each in diff.also]
    if cause and fault.cause and not unseen:
        cause = any(fault.cause in change.path for change in diff.changes)
        cause = cause and (fault.cause.split(".")[-1] in diff.sentence or good.data != bad.data)
    falsely_certain = parted is not None and parted.certain and not parted.from_run and parted.path != fault.step
    certain = parted is not None and parted.certain
    record_fault(record_property, named=parted is not None, step=named, cause=cause, certain=certain)
    assert not falsely_certain, diff.sentence
    assert named, diff.sentence
    assert cause, (parted and parted.kind, diff.sentence, [change.path for change in diff.changes])


CONTROLS: list[tuple[str, Setup, Setup]] = []
for style in STYLES:
    CONTROLS += [
        (f"again-{style}", Setup(style), Setup(style)),
        (f"noise-{style}", Setup(style, noise=1), Setup(style, noise=2)),
        (f"a-retry-{style}", Setup(style), Setup(style, retried=True)),
        (f"two-unrelated-requests-{style}", Setup(style), Setup(style, data=10)),
        (f"a-third-silent-{style}", Setup(style, silent=frozenset({"clean", "dedupe", "rank"})), Setup(
            style, silent=frozenset({"clean", "dedupe", "rank"}))),
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "good", "bad"), CONTROLS, ids=[control[0] for control in CONTROLS])
def test_where_nothing_is_wrong_nothing_is_blamed(name: str, good: Setup, bad: Setup, record_property: Record) -> None:
    diff = diff_of(good, bad, None)
    clean = diff.parted_at is None or diff.parted_at.from_run
    record_control(record_property, clean=clean)
    assert clean, diff.sentence


def _value(order: int) -> Any:
    return {"a": 1.0, "b": {"x", "y", "z"}} if order == 0 else {"b": {"z", "y", "x"}, "a": 1}


def test_the_order_of_sets_and_dicts_and_of_threads_is_blamed_for_nothing(
    record_property: Record,
) -> None:
    with capture() as result:
        ids = []
        for order in (0, 1):
            with result.xray.run(input={"q": 1}) as run:
                with run.step("load") as step:
                    step.set_output(_value(order))
                with run.step("check") as step:
                    for item in (["a", "b", "c"], ["c", "a", "b"])[order]:
                        step.accept(item)
                    step.set_output_items({"a", "b", "c"})
                with run.step("store") as step:
                    step.set_input_items(["a", "b", "c"])
                run.set_output("done")
            ids.append(run.run_id)
    diff = result.diff(*ids)
    record_control(record_property, clean=diff.parted_at is None)
    assert diff.parted_at is None, diff.sentence


def test_noise_that_led_nowhere_is_named_after_what_changed_the_answer(
    record_property: Record,
) -> None:
    with capture() as result:
        ids = []
        for bad in (False, True):
            with result.xray.run(input={"q": 1}) as run:
                with run.step("embed", "score") as step:
                    for n in range(20):
                        step.accept(f"i{n}", score=n + (0.01 if bad else 0))
                with run.step("llm", "generate") as step:
                    step.set_input({"context": ["i19", "i18"]})
                    step.set_output("no" if bad else "yes")
                run.set_output("no" if bad else "yes")
            ids.append(run.run_id)
    diff = result.diff(*ids)
    parted = diff.parted_at
    assert parted is not None
    right = parted.path == "llm" and [each["path"] for each in diff.also] == ["embed"]
    record_fault(record_property, named=True, step=right, cause=right, certain=parted.certain)
    assert right, diff.sentence
    assert parted.reached_output is True
    assert "embed differs too, by itself as far as was captured" in diff.sentence


def test_the_suite_is_as_large_as_it_is_said_to_be() -> None:
    assert len(CASES) >= 60
    assert len(CONTROLS) >= 20
