"""What Prefect leaves behind (contexts of generator tasks), hands on (results of subflows), undoes, and never starts."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.transactions import atransaction, transaction
from xray_prefect import fields

from tests.integrations.prefect.captured import Captured, Seen, read_spool
from xray_core import current_step
from xray_core.testing import capture


@task
def names() -> Iterator[str]:
    yield from ("a", "b")


@task
def prices() -> Iterator[int]:
    yield from (1, 2, 3)


def test_a_context_left_behind_by_generator_tasks_is_no_step_no_parent_and_no_run(seen: Seen) -> None:
    @flow(name="interleaved")
    def first() -> list[tuple[str, int]]:
        out = list(zip(names(), prices()))
        current_step().reject("ghost", "said in the body of the flow, after the generators ended")
        inside()
        return out

    @task
    def inside() -> None:
        current_step().reject("real", "seen")

    @flow(name="next")
    def second() -> int:
        return 1

    @task(name="loose")
    def loose() -> None:
        current_step().reject("loose", "seen")

    assert first() == [("a", 1), ("b", 2)]
    second()
    loose()
    captured = seen.now()
    assert sorted(run["pipeline"] for run in captured.runs()) == ["interleaved", "loose", "next"]
    assert captured.run("next").get("parent") is None
    assert all(step["counts"] == {} for step in captured.steps() if step["name"] in ("names", "prices"))
    assert captured.step("inside")["parent_id"] is None
    assert captured.rejected(captured.step("inside")) == ["real"]
    assert captured.step("loose")["run_id"] == captured.run("loose")["run_id"]


def test_async_generator_tasks_that_are_interleaved_or_left_open_leave_nothing_behind(seen: Seen) -> None:
    @task
    async def letters() -> AsyncIterator[str]:
        for letter in "abc":
            current_step().reject(letter, "seen")
            yield letter

    @task
    async def inside() -> None:
        current_step().reject("real", "seen")

    @flow(name="side by side")
    async def interleaved() -> str:
        one, other = letters(), letters()
        read = [await anext(one), await anext(other), await anext(one)]
        assert not current_step()
        await inside()
        return "".join(read)

    @flow(name="afterwards")
    async def afterwards() -> None:
        await inside()

    async def both() -> str:
        read = await interleaved()
        await afterwards()
        return read

    assert asyncio.run(both()) == "aab"
    gc.collect()  # ends the generators that were left open, outside of any flow
    captured = seen.now()
    assert sorted(run["pipeline"] for run in captured.runs()) == ["afterwards", "side by side"]
    assert sorted(captured.rejected(step) for step in captured.steps("letters")) == [["a"], ["a", "b"]]
    assert [step["parent_id"] for step in captured.steps("inside")] == [None, None]
    assert captured.run("afterwards").get("parent") is None


def test_a_task_that_was_cancelled_is_over_for_what_comes_after_it(seen: Seen) -> None:
    @task
    async def waits(n: int) -> None:
        current_step().reject(f"w{n}", "seen")
        await asyncio.sleep(60)

    @task
    async def fails() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    @task
    async def inside() -> None:
        current_step().reject("real", "seen")

    @flow
    async def cancelling() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(waits(1), 0.3)
        assert not current_step()
        await inside()
        waiting = asyncio.create_task(waits(2))
        with pytest.raises(ValueError, match="no"):
            await asyncio.gather(waiting, fails())
        waiting.cancel()
        await asyncio.wait([waiting])
        await inside()

    asyncio.run(cancelling())
    captured = seen.now()
    assert [step["status"] for step in captured.steps("waits")] == ["failed", "failed"]
    assert [step["parent_id"] for step in captured.steps("inside")] == [None, None]
    assert [captured.rejected(step) for step in captured.steps("inside")] == [["real"], ["real"]]
    assert captured.run("cancelling")["status"] == "completed"


def test_a_generator_task_that_is_left_open_takes_nothing_of_the_next_flow(seen: Seen) -> None:
    held = []

    @flow(name="leaves it open")
    def first() -> str:
        held.append(names())
        return next(held[0])

    @flow(name="next of all")
    def second() -> int:
        current_step().reject("ghost", "said in the body of the next flow")
        return 1

    assert first() == "a"
    second()
    held.clear()
    gc.collect()
    captured = seen.now()
    assert captured.run("next of all").get("parent") is None
    assert captured.step("names")["counts"] == {}
    assert captured.step("names")["run_id"] == captured.run("leaves it open")["run_id"]


def test_a_generator_flow_that_is_left_early_is_completed(seen: Seen) -> None:
    @task
    def double(n: int) -> int:
        return 2 * n

    @flow
    def numbers() -> Iterator[int]:
        for n in range(3):
            yield double(n)

    @flow
    def takes_one() -> int:
        left = numbers()
        first: int = next(left)
        left.close()
        return first

    assert takes_one() == 0
    captured = seen.now()
    assert [(run["status"], run["error"]) for run in captured.runs()] == [("completed", None)] * 2
    assert captured.step("numbers")["status"] == "completed"


def test_a_task_that_starts_after_the_task_that_submitted_it_has_ended_keeps_its_parent(seen: Seen) -> None:
    from threading import Event

    ended = Event()

    @task
    def child() -> None:
        ended.wait(30)

    @task
    def parent() -> object:
        return child.submit()

    @flow
    def nested() -> None:
        future = parent()
        ended.set()
        future.wait()  # type: ignore[attr-defined]

    nested()
    captured = seen.now()
    assert captured.step("child")["parent_id"] == captured.step("parent")["step_id"]


def test_a_subflows_result_that_is_passed_on_leads_to_its_step_and_why_follows_what_it_lost_inside(seen: Seen) -> None:
    @task(name="filter")
    def cheap(ids: list[str]) -> list[str]:
        step = current_step()
        step.set_input_items(ids)
        step.reject(ids[0], "too_dear")
        return ids[1:]

    @flow(name="child")
    def child(ids: list[str]) -> list[str]:
        return list(cheap(ids))

    @flow(name="again")
    def again(ids: list[str]) -> list[str]:
        return list(ids)

    @task(name="select")
    def best(ids: list[str]) -> str:
        current_step().decide("pick", selected=ids[0], alternatives=ids[1:])
        return ids[0]

    @flow(name="parent")
    def parent() -> str:
        return best(again(child(["z1", "z2", "z3"])))

    with capture() as result:
        assert parent() == "z2"
    whole = result.run_ids[0]
    why = result.why("z1", whole)
    assert (why.outcome, why.step, why.reason) == ("rejected", "filter", "too_dear"), why.sentence
    assert (result.why("z2", whole).outcome, result.why("z3", whole).outcome) == ("selected", "not_selected")
    captured = Captured(result.records)
    first, second = (
        next(s for s in captured.steps(name) if s["step_type"] == "subflow") for name in ("child", "again")
    )
    assert captured.step("select")["upstream"] == [second["step_id"]]
    assert second["upstream"] == [first["step_id"]]


def test_a_task_that_a_transaction_undid_says_so(seen: Seen) -> None:
    @task
    def write() -> int:
        return 1

    @write.on_rollback
    def undo(txn: object) -> None: ...

    @task
    def never_undone() -> int:
        return 2

    @flow
    def undone() -> None:
        never_undone()
        with pytest.raises(ValueError, match="no"), transaction():
            write()
            raise ValueError("no")

    undone()
    captured = seen.now()
    assert captured.step("write")["metadata"]["result.rolled_back"] is True
    assert captured.step("write")["status"] == "completed"
    assert "result.rolled_back" not in captured.step("never_undone")["metadata"]


POOL = """
import time
from pathlib import Path
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner
import xray_prefect
xray_prefect.enable()
@task
def work(i):
    time.sleep(2)  # keeps the one worker busy, so that what waits behind it never starts
    return i
HELD = []
@flow(name="pool", task_runner=ProcessPoolTaskRunner(max_workers=1))
def pool():
    HELD.extend(work.submit(i) for i in range(6))  # from the second on, what is held cannot be pickled
    HELD[0].wait()
if __name__ == "__main__":
    pool()
"""


def test_async_tasks_and_those_of_a_subflow_that_a_transaction_undid_say_so_too(seen: Seen) -> None:
    @task
    async def sends() -> int:
        return 1

    @task(retries=1)
    def writes() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("once more")
        return 1

    @flow
    def inner() -> int:
        return writes()

    @flow
    async def outer() -> None:
        with pytest.raises(ValueError, match="no"):
            async with atransaction():
                await sends()
                inner()
                raise ValueError("no")

    tries: list[int] = []
    asyncio.run(outer())
    undone = [
        (step["name"], step["attempt"]) for step in seen.now().steps() if "result.rolled_back" in step["metadata"]
    ]
    assert sorted(undone) == [("sends", 1), ("writes", 2)]


@pytest.mark.stack
def test_tasks_of_a_process_pool_that_never_started_say_so(prefect_server: str, tmp_path: Path) -> None:
    (tmp_path / "pool.py").write_text(POOL)
    environment = {
        **os.environ, "PREFECT_API_URL": prefect_server, "XRAY_SPOOL_DIR": str(tmp_path / "spool"),
        "XRAY_API_URL": "http://127.0.0.1:9", "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "pool.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    assert "failed (" not in done.stderr
    steps = read_spool(tmp_path).steps("work")
    assert len(steps) == 6
    never = [step for step in steps if (step["origin"] or {}).get("state") == "NotStarted"]
    assert never
    assert {step["status"] for step in never} == {"skipped"}
    assert len([step for step in steps if step["status"] == "completed"]) + len(never) == 6


def test_without_an_api_the_link_leads_to_where_the_server_will_show_it(prefect_server: str) -> None:
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_API_PORT, PREFECT_UI_URL, temporary_settings

    with temporary_settings({PREFECT_SERVER_API_PORT: 4321}, restore_defaults={PREFECT_API_URL, PREFECT_UI_URL}):
        assert fields.page("flow-run", "abc") == "http://127.0.0.1:4321/runs/flow-run/abc"


def test_a_task_submitted_between_two_yields_is_not_inside_the_generator_whenever_it_starts(seen: Seen) -> None:
    resumed, started = threading.Event(), threading.Event()

    @task
    def pages() -> Iterator[list[str]]:
        yield ["a1"]
        resumed.set()
        assert started.wait(30)

    @task
    def busy() -> None:
        assert resumed.wait(30)  # so that `clean` begins while the generator runs again

    @task
    def clean(page: list[str]) -> list[str]:
        started.set()
        return page

    @flow(name="paged", task_runner=ThreadPoolTaskRunner(max_workers=1))
    def paged() -> list[list[str]]:
        busy.submit()
        return [future.result() for future in [clean.submit(page) for page in pages()]]

    assert paged() == [["a1"]]
    captured = seen.now()
    assert captured.step("clean")["parent_id"] is None
    assert captured.step("clean")["upstream"] == [captured.step("pages")["step_id"]]
