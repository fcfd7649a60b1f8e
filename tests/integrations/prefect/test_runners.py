"""Tasks in other threads, in other processes, and those that never start."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner

from tests.integrations.prefect.captured import Seen
from xray_core import XRay, carry, current_step


def test_tasks_in_threads_keep_their_items_apart(seen: Seen) -> None:
    barrier = threading.Barrier(4, timeout=30)

    @task
    def at_once(n: int) -> None:
        barrier.wait()
        for i in range(50):
            current_step().reject(f"{n}-{i}", "r")
        barrier.wait()

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
    def together() -> None:
        at_once.map(range(4)).wait()

    together()
    captured = seen.now()
    for step in captured.steps("at_once"):
        ids = captured.rejected(step)
        assert len(ids) == 50
        assert {each.partition("-")[0] for each in ids} == {str(step["map_index"])}


def test_a_task_that_was_submitted_and_never_started_says_so(seen: Seen) -> None:
    release, futures = threading.Event(), []

    def release_once_cancelled() -> None:
        """The flow's end cancels what has not begun, and only then is the thread let go."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (len(futures) == 1 and futures[0].wrapped_future.cancelled()):
            threading.Event().wait(0.02)
        release.set()

    @task
    def blocks() -> None:
        release.wait(60)

    @task
    def never() -> None:
        return None

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
    def forgets() -> int:
        blocks.submit()
        futures.append(never.submit())
        threading.Thread(target=release_once_cancelled).start()
        return 1

    assert forgets() == 1
    step = seen.now().step("never")
    assert (step["status"], step["error"]["type"], step["origin"]["state"]) == ("skipped", "NotStarted", "NotStarted")


def test_a_users_own_threads_find_the_step_when_they_carry_it(seen: Seen) -> None:
    @task
    def fans_out() -> None:
        with ThreadPoolExecutor(2) as pool:
            for n in range(4):
                pool.submit(carry(lambda n=n: current_step().reject(f"t{n}", "r")))  # type: ignore[misc]

    @flow
    def threads() -> None:
        fans_out()

    threads()
    captured = seen.now()
    assert captured.rejected(captured.step("fans_out")) == ["t0", "t1", "t2", "t3"]


def test_a_thread_that_carried_only_prefects_context_finds_the_step(seen: Seen) -> None:
    from prefect.context import TaskRunContext

    @task
    def hands_over() -> None:
        held = TaskRunContext.get()
        assert held is not None

        def work() -> None:
            with held.model_copy():
                current_step().reject("from the thread", "r")

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    @flow
    def over() -> None:
        hands_over()

    over()
    captured = seen.now()
    assert captured.rejected(captured.step("hands_over")) == ["from the thread"]


class Hostile:
    """A client of which nothing works."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError(f"hostile: {name}")


@pytest.mark.swallows
def test_an_adapter_that_raises_everywhere_changes_nothing_and_warns_once(
    prefect_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    from xray_core.xray import set_default_client

    tries: list[int] = []

    @task(retries=1)
    def flaky(x: int) -> int:
        current_step().reject("a", "r")
        tries.append(x)
        if len(tries) == 1:
            raise ValueError("first")
        return x

    @task
    def leaves() -> None:
        raise SystemExit(4)

    @task
    def numbers() -> object:
        yield from range(3)

    @flow
    def inner(x: int) -> int:
        return flaky(x)

    @flow
    def outer() -> tuple[object, ...]:
        return inner(5), list(numbers()), flaky.map([1, 2]).result(), flaky.submit(3).result()

    @flow
    def crashes() -> None:
        leaves()

    set_default_client(Hostile())  # type: ignore[arg-type]  # on purpose
    try:
        assert outer() == (5, [0, 1, 2], [1, 2], 3)
        assert len(tries) == 5
        with pytest.raises(SystemExit) as left:
            crashes()
    finally:
        set_default_client(None)
    assert left.value.code == 4
    said = [record.getMessage().partition(" failed (")[0] for record in caplog.records if record.name == "xray"]
    assert said
    assert len(said) == len(set(said)), "each site warns once, and hides no other"


def test_a_server_that_is_away_costs_a_task_nothing(prefect_server: str, isolated_home: object) -> None:
    from xray_core.xray import set_default_client

    with XRay("away", api_url="http://127.0.0.1:9", shutdown_timeout_s=0.1) as client:
        set_default_client(client)

        @task
        def quick(x: int) -> int:
            return x

        @flow
        def offline() -> list[int]:
            return [quick(n) for n in range(20)]

        began = time.monotonic()
        assert offline() == list(range(20))
        assert time.monotonic() - began < 60, "a task waited for the network"
        set_default_client(None)
