"""What a task was given and gave back is looked at after it has ended, in the sender's threads: the same is found, nothing is lost
where somebody waits for it, and a kill in between costs what was not looked at, which the step then says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.core.capturing import Captured
from xray_core import XRay, current_step
from xray_core.capture.late import MAX_WAITING, LateWork
from xray_core.capture.step import Step
from xray_core.capture.step_values import MAX_PUT_OFF
from xray_core.transport.memory import MemoryTransport

ROWS = [{"id": f"o{n}", "price": n * 1.5} for n in range(5)]


@pytest.fixture
def late() -> Captured:
    return Captured(settles=True)


def step_of(captured: Captured, name: str = "keep") -> Step:
    return captured.run(run_id="r").open_step(name, step_id=name, part="p")


def filtered(captured: Captured, name: str = "keep") -> Step:
    """A step that gave back three of five rows, and rejected one of the others itself."""
    step = step_of(captured, name)
    step.observe_inputs({"rows": ROWS})
    step.reject("o4", "too_dear")
    step.observe_output(ROWS[:3])
    step.close()
    return step


def settled(captured: Captured, name: str = "keep") -> dict[str, Any]:
    captured.recorder.late.settle()
    return captured.step(name)


def test_that_a_step_ended_and_what_it_said_is_written_at_once_and_that_its_values_wait_is_said(late: Captured) -> None:
    filtered(late)
    state = late.step("keep")
    assert (state["status"], state["counts"], state["items"]) == ("completed", {"rejected": 1}, {})
    assert late.verdicts("rejected") == (["o4"], [])
    assert state["inference"]["skipped"] == "unsettled"
    state = settled(late)
    assert (state["items"]["in"]["n"], state["items"]["out"]["n"], state["relation"]) == (5, 3, "filter")
    assert state["inference"] is None
    assert late.verdicts("out")[0] == ["o0", "o1", "o2"]


def test_what_the_program_changes_after_a_step_or_inside_of_it_does_not_show(late: Captured) -> None:
    rows = [dict(row) for row in ROWS]
    step = step_of(late)
    step.observe_inputs({"rows": rows})
    rows[0]["price"] = 99.0
    kept = rows[:3]
    step.observe_output(kept)
    step.close()
    kept[0]["id"] = "another"
    rows.clear()
    state = settled(late)
    assert late.verdicts("in")[0] == ["o0", "o1", "o2", "o3", "o4"]
    assert late.verdicts("out")[0] == ["o0", "o1", "o2"]
    assert state["items"]["in"]["columns"]["price"]["max"] == 6.0
    assert state["items"]["out"]["columns"]["price"]["max"] == 99.0


def test_the_ledger_of_a_step_that_has_ended_is_the_whole_one_whenever_it_is_asked_for(late: Captured) -> None:
    assert filtered(late).ledger == filtered(Captured()).ledger


cells = st.integers(0, 3) | st.sampled_from(["a", "b", "u1", "é"]) | st.floats(allow_nan=False, width=16) | st.none()
rows = st.lists(st.fixed_dictionaries({"id": st.integers(0, 9) | st.just("x"), "price": cells}), max_size=6)
given_values = rows | st.lists(st.integers(0, 5), max_size=5) | st.lists(st.text("ab", max_size=2), max_size=4) | cells
values = (
    given_values | st.lists(rows, max_size=3) | st.dictionaries(st.sampled_from(["r1", "b"]), given_values, max_size=2)
)


@examples(max_examples=150, deadline=None)
@given(
    inputs=st.dictionaries(st.sampled_from(["rows", "others"]), values, max_size=2),
    outputs=st.lists(values, max_size=MAX_PUT_OFF + 1),
    size=st.none() | st.integers(0, 9),
    status=st.sampled_from(["completed", "failed", "skipped"]),
    level=st.sampled_from(["sample", "full", "minimal"]),
)
def test_what_is_found_late_is_what_is_found_at_once(
    inputs: dict[str, Any], outputs: list[Any], size: int | None, status: Any, level: str
) -> None:
    found = []
    for captured in (Captured(settles=True, capture=level), Captured(capture=level)):
        step = step_of(captured)
        step.observe_inputs(inputs)
        for n, output in enumerate(outputs):
            step.observe_output(output, name=str(n) if len(outputs) > 1 else None)
        if size is not None:
            step.observe_output_size(size)
        step.close(status)
        state = settled(captured)
        sets = {outcome: captured.verdicts(outcome) for outcome in ("in", "out")}
        samples = sorted(json.dumps({**each, "at_us": 0}) for each in captured.samples())
        del state["started_us"], state["ended_us"], state["duration_us"]
        found.append((state, sets, samples))
    assert found[0] == found[1]


def test_where_values_are_not_plain_all_is_looked_at_at_once(late: Captured) -> None:
    step = step_of(late)
    step.observe_inputs({"rows": ROWS})
    step.observe_output([{"id": "o1", "at": object()}])
    step.close()
    assert late.step("keep")["inference"] is None
    assert late.verdicts("in")[0] == ["o0", "o1", "o2", "o3", "o4"]


def test_a_step_that_is_still_open_when_it_is_written_down_shows_what_it_was_given(late: Captured) -> None:
    step = step_of(late)
    step.observe_inputs({"rows": ROWS})
    late.recorder.snapshot_open()
    assert late.step("keep")["input_fp"]["partial"] is False
    step.observe_output(ROWS[:1])
    step.close()
    assert settled(late)["relation"] == "filter"


def test_a_detached_step_has_its_input_on_disk_and_what_is_seen_later_is_written_too(late: Captured) -> None:
    step = step_of(late)
    step.observe_inputs({"rows": ROWS})
    step.detach()
    assert late.step("keep")["input_fp"]["partial"] is False
    step.observe_output(ROWS)
    late.recorder.snapshot_open()
    assert late.step("keep")["output_fp"]["partial"] is False


def test_what_an_adapter_does_to_a_step_after_its_end_changes_nothing(late: Captured) -> None:
    step = filtered(late)
    step.observe_output(ROWS)
    step.observe_output([object()])
    step.observe_inputs({"rows": []})
    step.observe_output_size(9)
    step.observe_pulled("rows", ["o9"])
    step.detach()
    step.snapshot()
    step.close("failed")
    at_once = Captured()
    filtered(at_once)
    for found in (state := settled(late)), (expected := at_once.step("keep")):
        del found["started_us"], found["ended_us"], found["duration_us"]
    assert state == expected
    assert late.verdicts("out") == at_once.verdicts("out")


def test_beyond_a_number_of_steps_that_wait_a_step_is_looked_at_by_who_ends_it(late: Captured) -> None:
    for n in range(MAX_WAITING + 1):
        filtered(late, f"step {n}")
    assert late.step(f"step {MAX_WAITING - 1}")["items"] == {}
    assert late.step(f"step {MAX_WAITING}")["items"]["in"]["n"] == 5
    late.recorder.late.settle()
    told = {record["name"] for record in late.of_kind("step") if "in" in record.get("items", {})}
    assert told == {f"step {n}" for n in range(MAX_WAITING + 1)}


def test_a_plugin_that_looks_at_steps_sees_them_whole() -> None:
    seen = []

    class Hooks:
        redacts, observes_steps = False, True

        def step_finished(self, step: Step) -> None:
            seen.append(step.ledger.input)

        def __getattr__(self, name: str) -> Any:
            return lambda *given: None

    filtered(Captured(Hooks(), settles=True))
    assert seen == [5]


@pytest.mark.swallows
def test_one_step_that_cannot_be_settled_does_not_keep_the_others_back() -> None:
    done = []

    def broken() -> None:
        raise ValueError("broken")

    work = LateWork()
    work.add(broken)
    work.add(lambda: done.append(1))
    work.settle()
    assert done == [1]


def test_who_settles_waits_for_what_another_thread_has_begun() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        go_on.wait(10)
        done.append("slow")

    work = LateWork()
    work.add(slow)
    threads = [threading.Thread(target=work.settle, kwargs={"gently": True})]
    threads[0].start()
    begun.wait(10)
    threads.append(threading.Thread(target=lambda: (work.settle(), done.append("waited"))))
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert done == ["slow", "waited"]


# ---------------------------------------------------------------------- with a client's threads


@pytest.fixture
def memory() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def xray(memory: MemoryTransport, tmp_path: Path) -> Iterator[XRay]:
    client = XRay("nightly", transport=memory, spool_dir=tmp_path)
    yield client
    client.close()


def worked(xray: XRay) -> None:
    """A run with a step that gave back three of five rows."""

    @xray.step
    def keep(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        current_step().reject("o4", "too_dear")
        return rows[:3]

    with xray.run(run_id="r"):
        keep(ROWS)


def relations(memory: MemoryTransport) -> list[Any]:
    return [record.get("relation") for record in memory.of_kind("step")]


def test_nobody_has_to_ask_for_it(xray: XRay, memory: MemoryTransport) -> None:
    worked(xray)
    until = time.monotonic() + 10
    while "filter" not in relations(memory):
        assert time.monotonic() < until, relations(memory)
        threading.Event().wait(0.01)


@pytest.mark.parametrize("end", ["flush", "close", "sync_offline"])
def test_flush_close_and_sync_wait_for_it(xray: XRay, memory: MemoryTransport, end: str) -> None:
    worked(xray)
    getattr(xray, end)()
    assert relations(memory)[-1] == "filter"


def test_in_strict_mode_the_end_of_a_run_waits_for_it(memory: MemoryTransport, tmp_path: Path) -> None:
    with XRay("nightly", transport=memory, spool_dir=tmp_path, offline_mode="strict") as xray:
        worked(xray)
        assert relations(memory)[-1] == "filter"


def test_where_records_survive_a_power_cut_nothing_waits(memory: MemoryTransport, tmp_path: Path) -> None:
    with XRay("nightly", transport=memory, spool_dir=tmp_path, durability="fsync") as xray:
        worked(xray)
        assert not xray._recorder.late._waiting
        xray.flush()
    assert "unsettled" not in str(memory.records)


PROGRAM = """
import os, signal, sys
from xray_core import XRay, current_step
xray = XRay("nightly", api_url="http://127.0.0.1:9", spool_dir=sys.argv[1], disable_plugins=("*",))
@xray.step
def keep(rows):
    current_step().reject("o4", "too_dear")
    return rows[:3]
with xray.run(run_id="r"):
    keep([{"id": f"o{n}"} for n in range(5)])
    END
"""


def ended_by(end: str, spool: Path) -> list[dict[str, Any]]:
    """What is in the spool after a program ended in some way right after its step."""
    code = PROGRAM.replace("END", end)
    subprocess.run([sys.executable, "-c", code, str(spool)], timeout=60, check=False)
    memory = MemoryTransport()
    with XRay(
        "nightly", api_url="http://127.0.0.1:9", spool_dir=spool, transport=memory, disable_plugins=("*",)
    ) as xray:
        deadline = time.monotonic() + 30
        while not memory.of_kind("step") and time.monotonic() < deadline:  # a forked child lets go of what it inherited
            xray.sync_offline()
    return [each for each in memory.of_kind("step") if each["name"].endswith("keep")]


def test_a_kill_right_after_a_step_leaves_its_end_and_either_its_items_or_that_they_are_missing(tmp_path: Path) -> None:
    last = ended_by("os.kill(os.getpid(), signal.SIGKILL)", tmp_path)[-1]
    assert (last["status"], last["counts"]) == ("completed", {"rejected": 1})
    assert last.get("relation") == "filter" or last["inference"]["skipped"] == "unsettled"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork, which is what is tested")
def test_a_parent_that_ends_right_after_a_fork_has_written_all_and_the_child_writes_nothing_of_it(
    tmp_path: Path,
) -> None:
    steps = ended_by("os._exit(0) if os.fork() else xray.close()", tmp_path)
    assert [each.get("relation") for each in steps if each["status"] == "completed"].count("filter") == 1


def test_a_program_that_just_ends_has_written_all(tmp_path: Path) -> None:
    assert ended_by("pass", tmp_path)[-1]["relation"] == "filter"
