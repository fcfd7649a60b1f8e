"""Row 32: several objects of one id. Whatever was said through whichever of them is in the state, and why agrees.

The model is a plain count of what was said. Real objects say it, through a real recorder, real forks and a real server,
which gets the records in any order and more than once.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule, run_state_machine_as_test

from tests.core.capturing import Captured
from tests.live import Live
from xray_core import XRay, current_step, wire
from xray_core.capture.recorder import divert
from xray_core.capture.run import Run
from xray_core.capture.step import Step
from xray_core.merge import merge_run
from xray_core.model import new_id
from xray_core.transport.memory import MemoryTransport


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    server = Live(tmp_path_factory.mktemp("live"))
    yield server
    server.stop()


class Objects(RuleBasedStateMachine):
    """Runs and steps of few ids, opened, attached, detached, resumed, forked and closed in any order."""

    runs: Bundle[Run] = Bundle("runs")
    steps: Bundle[Step] = Bundle("steps")

    def __init__(self, live: Live) -> None:
        super().__init__()
        self.live = live
        self.captured = Captured()
        self.tag = new_id()
        self.items = 0
        self.said: dict[tuple[str, str], dict[str, str]] = {}  # (run, step) -> item -> reason
        self.metadata: dict[str, dict[str, Any]] = {}
        self.random = random.Random(7)

    # -- what is opened --------------------------------------------------------------------------------------------

    @rule(target=runs, name=st.sampled_from("AB"), owner=st.booleans())
    def a_run_of_an_id(self, name: str, owner: bool) -> Run:
        run = self.captured.run(run_id=f"{name}-{self.tag}")
        return run.open() if owner else run.attached()

    @rule(target=steps, run=runs, name=st.sampled_from("ST"))
    def a_step_of_an_id(self, run: Run, name: str) -> Step:
        return run.open_step(name, step_id=name)

    @rule(target=steps, run=runs)
    def a_step_with_its_own_id(self, run: Run) -> Step:
        return run.step("own").open()

    @rule(target=steps, run=runs, name=st.sampled_from("ST"))
    def a_handle_on_a_step(self, run: Run, name: str) -> Step:
        return run.attach_step(name)

    # -- what is said ----------------------------------------------------------------------------------------------

    @rule(step=steps, reason=st.sampled_from(["late", "dear"]), n=st.integers(1, 3))
    def items_are_rejected(self, step: Step, reason: str, n: int) -> None:
        for _ in range(n):
            self.say(step, reason, step.reject)

    def say(self, step: Step, reason: str, how: Any) -> None:
        self.items += 1
        item = f"i{self.items}"
        self.said.setdefault((step.run_id, step.step_id), {})[item] = reason
        how(item, reason)

    @rule(run=runs)
    def something_is_said_of_a_run(self, run: Run) -> None:
        self.items += 1
        self.metadata.setdefault(run.run_id, {})[f"k{self.items}"] = self.items
        run.set_metadata(f"k{self.items}", self.items)

    # -- what becomes of it ----------------------------------------------------------------------------------------

    @rule()
    def a_second_passes(self) -> None:
        self.captured.recorder.snapshot_open()

    @rule(step=steps)
    def a_step_is_detached_and_may_be_resumed(self, step: Step) -> None:
        step.detach()

    @rule(step=consumes(steps))
    def a_step_is_closed(self, step: Step) -> None:
        step.close()

    @rule(run=runs)
    def a_run_is_detached(self, run: Run) -> None:
        run.detach()

    @rule(run=runs)
    def a_run_is_closed(self, run: Run) -> None:
        run.close()

    @rule(several=st.lists(steps, max_size=3), close=st.booleans())
    def a_child_process_goes_on(self, several: list[Step], close: bool) -> None:
        before = self.items
        reading, writing = os.pipe()
        child = os.fork()
        payloads = self.captured.sink.payloads
        at = len(payloads)
        if child == 0:
            try:
                self.captured.recorder.after_fork_in_child()
                for step in several:
                    self.say(step, "child", step.reject)
                for step in several if close else ():
                    step.close()
                self.captured.recorder.snapshot_open()
                lines = [wire.to_line(payload).decode() for _, payload in payloads[at:]]
                with open(writing, "w") as pipe:
                    json.dump(lines, pipe)
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading) as pipe:
            payloads += [("counts", line.encode()) for line in json.load(pipe)]
        os.waitpid(child, 0)
        for step in several:
            self.say(step, "child", lambda item, reason: None)
        assert self.items == before + len(several)

    # -- the answers -----------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        recorder = self.captured.recorder
        recorder.snapshot_open()
        lines = [wire.to_line(payload) for _, payload in self.captured.sink.payloads]
        lines += self.random.sample(lines, len(lines) // 3)  # resent
        self.random.shuffle(lines)
        if not lines:
            return
        half = len(lines) // 2
        for body in filter(None, (lines[:half], lines[half:])):
            answer = self.live.http.post("/ingest", content=b"\n".join(body)).json()
            assert answer == {"accepted": len(body), "refused": []}
        for (run_id, step_id), reasons in self.said.items():
            steps = {step["step_id"]: step for step in self.live.get(f"/runs/{run_id}")["steps"]}
            assert steps[step_id]["reasons"]["rejected"] == Counter(reasons.values())
            item, reason = self.random.choice(sorted(reasons.items()))
            told = self.live.why(run_id, item)
            (at_step,) = [each for each in told["journey"] if each["outcome"] == "rejected"]
            assert (at_step["step_id"], at_step["reason"], at_step["certainty"]) == (step_id, reason, "exact")
        for run_id, metadata in self.metadata.items():
            assert self.live.get(f"/runs/{run_id}")["metadata"] == metadata


def _hold(live: Live, *, examples: int) -> None:
    run_state_machine_as_test(
        lambda: Objects(live),
        settings=settings(
            max_examples=examples, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_row_32_what_was_said_through_any_object_of_an_id_is_in_the_answers(live: Live) -> None:
    _hold(live, examples=25)


def test_row_32_items_of_a_step_that_has_ended_are_counted_as_lost_and_change_nothing() -> None:
    captured = Captured()
    with captured.run() as run:
        with run.step("filter") as step:
            step.reject("in time", "late")
        with run.step("silent") as silent:
            pass
    step.reject("too late", "late")
    silent.accept_many(["x", "y"])
    captured.recorder.snapshot_open()
    assert captured.step("filter")["counts"] == {"rejected": 1}
    assert captured.step("silent")["counts"] == {}
    assert captured.recorder.counters == {"after_the_end": 3}


def test_row_32_what_is_said_of_a_run_after_its_end_is_written_too_and_it_is_let_go_of() -> None:
    captured = Captured()
    with captured.run() as run:
        pass
    run.set_metadata("late", 1)
    captured.recorder.snapshot_open()
    record = captured.of_kind("run")[-1]
    assert (record["metadata"], record["status"]) == ({"late": 1}, "completed")
    assert not captured.recorder.open_things


def test_row_32_a_step_handed_down_by_the_environment_again_and_again_keeps_all_that_was_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    captured = Captured()
    client = XRay("p", transport=MemoryTransport())
    monkeypatch.setattr("xray_core.xray._default", client)
    monkeypatch.setattr("xray_core.xray._inherited", {})
    before = divert(captured.sink)
    try:
        for step_id, item in (("A", "a1"), ("B", "b1"), ("A", "a2")):
            monkeypatch.setenv("XRAY_RUN_ID", "r")
            monkeypatch.setenv("XRAY_STEP_ID", step_id)
            current_step().reject(item, "late")
        client.close()
    finally:
        divert(before)
    said = {(record["step_id"], record["part"]): record["counts"] for record in captured.of_kind("step")}
    assert sorted((step_id, n["rejected"]) for (step_id, _), n in said.items()) == [("A", 1), ("A", 1), ("B", 1)]


@pytest.mark.stack
@pytest.mark.timeout(600)
def test_row_32_holds_in_a_thousand_histories(live: Live) -> None:
    _hold(live, examples=1_000)


def test_what_a_parent_lost_is_not_told_by_its_child_once_more() -> None:
    captured = Captured()
    with captured.run() as run:
        for n in range(103):
            run.set_metadata(str(n), n)
        captured.recorder.lost("after_the_end", 2)
        captured.recorder.snapshot_open()
        captured.recorder.after_fork_in_child()
        run.set_metadata("of the child", 1)
        captured.recorder.snapshot_open()
    parts = {record["part"]: record for record in captured.of_kind("run")}
    assert merge_run(parts.values())["dropped"] == {"metadata": 4}
    assert captured.recorder.counters == {}
