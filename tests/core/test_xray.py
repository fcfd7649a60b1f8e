"""The client: start-up errors that help, runs that arrive, decorators, and nothing loaded that is not used.

Tests xray.py, capture/decorator.py and transport/memory.py.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from xray_core import ConfigurationError, DeliveryError, XRay, current_run, current_step
from xray_core.transport import Reply
from xray_core.transport.memory import MemoryTransport


@pytest.fixture
def memory() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def xray(memory: MemoryTransport) -> Iterator[XRay]:
    client = XRay("p", transport=memory)
    yield client
    client.close()


def _final(memory: MemoryTransport, kind: str, name: str | None = None) -> dict[str, Any]:
    return [r for r in memory.of_kind(kind) if name is None or r["name"] == name][-1]


def test_importing_the_core_loads_nothing_heavy() -> None:
    heavy = ("requests", "pydantic", "numpy", "pandas", "rich", "prefect", "airflow", "dagster", "fastapi")
    code = (
        "import sys, xray_core\nfrom xray_core import current_step, current_run, carry\ncurrent_step().reject('a', 'r')\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_a_client_starts_without_what_only_the_tasks_of_engines_need() -> None:
    engines = ("xray_core.attaching", "asyncio", "distributed", "ray", "pyspark")
    code = (
        "import sys\nfrom xray_core import XRay\nfrom xray_core.transport.memory import MemoryTransport\n"
        "client = XRay('p', transport=MemoryTransport())\n"
        f"print([name for name in {engines!r} if name in sys.modules], client.task_attempt())\nclient.close()"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[] None"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"sample_rate": 2}, "sample_rate"),
        ({"api_url": "localhost:8000"}, "api_url"),
        ({"offline_mode": "later"}, "offline_mode"),
        ({"redact": "("}, "redact"),
        ({"api_uri": "x"}, "api_uri"),
    ],
)
def test_a_wrong_setting_is_an_error_at_start_up_that_names_it(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        XRay("p", **arguments)


def test_a_wrong_variable_in_the_environment_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_CAPTURE", "everything")
    with pytest.raises(ConfigurationError, match="XRAY_CAPTURE"):
        XRay("p")


def test_a_run_arrives_with_everything_that_was_said_of_it(xray: XRay, memory: MemoryTransport) -> None:
    with xray.run(input={"to": "LAX"}, run_id="r1", tags={"team": "fares"}, metadata={"model": "v3"}) as run:
        run.set_output(["UA-1"])
    assert xray.flush(5)
    record = _final(memory, "run")
    assert record["run_id"] == "r1"
    assert record["input"] == {"to": "LAX"}
    assert record["output"] == ["UA-1"]
    assert record["tags"] == {"team": "fares"}
    assert record["metadata"] == {"model": "v3"}
    assert record["status"] == "completed"


def test_a_run_inside_a_step_is_its_child(xray: XRay, memory: MemoryTransport) -> None:
    with xray.run(run_id="outer") as run, run.step("s") as step, xray.run(run_id="inner"):
        pass
    assert xray.flush(5)
    assert _final(memory, "run")["run_id"] == "outer"
    inner = [r for r in memory.of_kind("run") if r["run_id"] == "inner"][-1]
    assert inner["parent"] == {"run_id": "outer", "step_id": step.step_id}


def test_a_decorated_function_is_a_step_and_keeps_its_result(xray: XRay, memory: MemoryTransport) -> None:
    @xray.step(step_type="filter")
    def cheap(flights: list[int]) -> list[int]:
        """Those below 100."""
        for flight in flights:
            if flight >= 100:
                current_step().reject(flight, "price_too_high")
        return [flight for flight in flights if flight < 100]

    assert cheap([50, 150]) == [50]  # outside any run it is just a function
    assert cheap.__doc__ == "Those below 100."
    with xray.run():
        assert cheap([50, 150, 200]) == [50]
    assert xray.flush(5)
    step = _final(memory, "step", "cheap")
    assert step["counts"] == {"rejected": 2}
    assert "input_count" not in step, "a size is no count of items"
    assert step["code_version"].startswith("code:")


def test_decorated_coroutines_and_generators_are_steps_while_their_own_code_runs(
    xray: XRay, memory: MemoryTransport
) -> None:
    @xray.step
    async def fetch(n: int) -> int:
        await asyncio.sleep(0)
        current_step().accept(n)
        return n

    @xray.step
    def numbers(n: int) -> Iterator[int]:
        for i in range(n):
            current_step().accept(i)
            got = yield i
            assert got in (None, "sent")
        return

    @xray.step
    async def pages(n: int) -> AsyncIterator[int]:
        for i in range(n):
            current_step().accept(i)
            yield i

    async def main() -> None:
        async with xray.run() as run:
            assert await fetch(1) == 1
            generator = numbers(3)
            assert next(generator) == 0
            assert current_step().name == ""  # the consumer is not in the generator's step
            assert generator.send("sent") == 1  # type: ignore[attr-defined]  # declared as an iterator for its reader
            assert list(generator) == [2]
            async for _ in pages(2):
                assert not current_step()
            assert run

    asyncio.run(main())
    assert xray.flush(5)
    assert _final(memory, "step", "fetch")["counts"] == {"accepted": 1}
    assert _final(memory, "step", "numbers")["counts"] == {"accepted": 3}
    assert _final(memory, "step", "numbers")["output"] == {"$type": "generator", "size": 3}
    assert _final(memory, "step", "pages")["output"] == {"$type": "generator", "size": 2}


def test_errors_in_and_into_decorated_generators_are_the_users_own(xray: XRay, memory: MemoryTransport) -> None:
    @xray.step
    def careful() -> Iterator[str]:
        try:
            yield "ready"
        except KeyError:
            yield "recovered"
        raise ValueError("end")

    with xray.run():
        generator: Any = careful()
        assert next(generator) == "ready"
        assert generator.throw(KeyError("x")) == "recovered"
        with pytest.raises(ValueError, match="end"):
            next(generator)
    assert xray.flush(5)
    assert _final(memory, "step", "careful")["error"]["type"] == "ValueError"


def test_a_step_inside_of_a_decorated_generator_stays_its_own_between_two_items(
    xray: XRay, memory: MemoryTransport
) -> None:
    @xray.step
    def numbers() -> Iterator[int]:
        with current_run().step("inner"):
            yield 1
            current_step().accept("a")
            yield 2
        current_step().accept("b")
        yield 3

    @xray.step
    async def pages() -> AsyncIterator[int]:
        with current_run().step("of_pages"):
            yield 1
            current_step().accept("c")
            yield 2
        current_step().accept("d")

    async def main() -> None:
        async for _ in pages():
            assert not current_step()

    with xray.run():
        for _ in numbers():
            assert not current_step()
        asyncio.run(main())
        assert not current_step()
    assert xray.flush(5)
    for name in ("numbers", "inner", "pages", "of_pages"):
        assert _final(memory, "step", name)["counts"] == {"accepted": 1}


def test_static_methods_and_class_methods_may_be_decorated_inside_or_outside(
    xray: XRay, memory: MemoryTransport
) -> None:
    class Judge:
        limit = 3

        @xray.step
        @staticmethod
        def outside(n: int) -> int:
            return n

        @staticmethod
        @xray.step
        def inside(n: int) -> int:
            return n

        @xray.step("of_class", step_type="filter")
        @classmethod
        def of_class(cls, n: int) -> int:
            return n * cls.limit

    with xray.run():
        assert [Judge.outside(1), Judge().outside(1), Judge.inside(1), Judge.of_class(2), Judge().of_class(2)] == [
            1,
            1,
            1,
            6,
            6,
        ]
    assert xray.flush(5)
    names = [record["name"] for record in memory.of_kind("step") if record["status"] == "completed"]
    assert sorted(names) == ["inside", "of_class", "of_class", "outside", "outside"]


def test_a_client_that_is_switched_off_starts_nothing_and_sends_nothing(tmp_path: Path) -> None:
    memory = MemoryTransport()
    client = XRay("p", transport=memory, spool_dir=tmp_path / "spool", enabled=False, offline_mode="strict")
    with client.run(input=1) as run, run.step("s") as step:
        step.reject("a", "r")
    assert client.flush(5)
    assert not client._delivery._started
    client.close(5)
    assert memory.records == []
    assert not (tmp_path / "spool").exists()


def test_a_decorated_generator_called_with_wrong_arguments_is_a_step_that_failed(
    xray: XRay, memory: MemoryTransport
) -> None:
    @xray.step
    def numbers(n: int) -> Iterator[int]:
        yield n

    @xray.step
    async def pages(n: int) -> AsyncIterator[int]:
        yield n

    async def main() -> None:
        async for _ in pages(1, 2):  # type: ignore[call-arg]  # as said above
            pass

    with xray.run():
        with pytest.raises(TypeError):
            list(numbers(1, 2))  # type: ignore[call-arg]  # as said above
        with pytest.raises(TypeError):
            asyncio.run(main())
    assert not xray._recorder.open_things
    assert xray.flush(5)
    for name in ("numbers", "pages"):
        assert _final(memory, "step", name)["status"] == "failed"


def test_what_a_decorated_generator_says_as_it_is_closed_is_its_steps(xray: XRay, memory: MemoryTransport) -> None:
    @xray.step
    def numbers() -> Iterator[int]:
        try:
            yield 1
        finally:
            current_step().accept("a")

    @xray.step
    async def pages() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            current_step().accept("b")

    async def main() -> None:
        generator: Any = pages()
        await generator.asend(None)
        await generator.aclose()

    with xray.run():
        generator: Any = numbers()
        next(generator)
        generator.close()
        asyncio.run(main())
    assert xray.flush(5)
    for name in ("numbers", "pages"):
        assert _final(memory, "step", name)["counts"] == {"accepted": 1}


@pytest.mark.parametrize(
    ("leave", "status"),
    [
        (lambda: sys.exit(), "completed"),
        (lambda: sys.exit(0), "completed"),
        (lambda: sys.exit(1), "failed"),
        (lambda: sys.exit("no input"), "failed"),
    ],
    ids=["exit()", "exit(0)", "exit(1)", "exit(text)"],
)
def test_leaving_by_sys_exit_is_a_failure_only_where_its_code_says_so(
    xray: XRay, memory: MemoryTransport, leave: Callable[[], None], status: str
) -> None:
    @xray.step
    def numbers() -> Iterator[int]:
        yield 1
        leave()

    with pytest.raises(SystemExit):
        with xray.run() as run, run.step("block"):
            list(numbers())
    assert xray.flush(5)
    ends = [_final(memory, "run"), _final(memory, "step", "block"), _final(memory, "step", "numbers")]
    assert [end["status"] for end in ends] == [status] * 3
    assert [end.get("error") is None for end in ends] == [status == "completed"] * 3


def test_strict_mode_raises_at_run_end_when_the_server_has_not_confirmed() -> None:
    class Deaf(MemoryTransport):
        def send(self, body: bytes, *, timeout_s: float) -> Reply:
            return Reply(503)

    client = XRay("p", transport=Deaf(), offline_mode="strict", timeout_s=0.3)
    with pytest.raises(DeliveryError, match="xray sync"):
        with client.run():
            pass
    with pytest.raises(KeyError):  # the user's own error is never hidden by ours
        with client.run():
            raise KeyError
    client.close(0)


def test_disabled_capture_leaves_no_trace(xray: XRay, memory: MemoryTransport) -> None:
    off = XRay("p", transport=memory, enabled=False)
    with off.run() as run, run.step("s") as step:
        step.reject("a", "r")
    assert off.flush(1)
    off.close()
    assert memory.records == []


def test_a_pipeline_that_seeded_its_randomness_gets_the_same_numbers_with_x_ray() -> None:
    """Also while the server is away and retries are spread at random."""

    class Away(MemoryTransport):
        def send(self, body: bytes, *, timeout_s: float) -> Reply:
            return Reply(503)

    random.seed(7)
    expected = [random.random() for _ in range(5)]
    client = XRay("p", transport=Away())
    random.seed(7)
    with client.run() as run, run.step("s") as step:
        step.reject("a", "r")
    assert not client.flush(0.3)
    assert [random.random() for _ in range(5)] == expected
    client.close(0)


def test_the_steps_of_a_script_have_the_version_of_the_function_and_file_that_opened_them(
    xray: XRay, memory: MemoryTransport, tmp_path: Path
) -> None:
    versions = []
    for name, limit, helper in (("a", 100, 1), ("b", 100, 2), ("c", 90, 1)):
        script = tmp_path / f"script_{name}.py"
        script.write_text(
            f"HELPER = {helper}\n"
            "def work(run):\n"
            "    with run.step('filter') as step:\n"
            f"        limit = {limit}\n"
            "        with step.step('inner'):\n"
            "            pass\n"
        )
        scope: dict[str, Any] = {}
        exec(compile(script.read_text(), str(script), "exec"), scope)
        with xray.run(run_id=name) as run:
            scope["work"](run)
        assert xray.flush(5)
        steps = [record for record in memory.of_kind("step") if record["run_id"] == name and record.get("code_version")]
        found = {record["code_version"] for record in steps}
        assert len(found) == 1, "a step inside another is opened by the same function"
        versions.append(found.pop())
    functions, files = zip(*(version.removeprefix("code:").split(".") for version in versions))
    assert functions[0] == functions[1] != functions[2]
    assert len(set(files)) == 3


def test_a_code_version_that_was_given_stands(xray: XRay, memory: MemoryTransport) -> None:
    with xray.run(run_id="given", code_version="v7") as run, run.step("filter"), run.step("other", code_version="v8"):
        pass
    assert xray.flush(5)
    assert _final(memory, "step", "filter")["code_version"] == "v7"
    assert _final(memory, "step", "other")["code_version"] == "v8"
