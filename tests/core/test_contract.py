"""Rows 33 and 37: whatever the public calls are given, none of them raises, and the server commits what they captured.

Every public call of the core is made with hostile arguments, in random order, through the real recorder; what comes out is
checked and stored by the real server. A call that is added and not named here fails the first test.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core.capturing import Captured
from tests.core.hostile import ALL, anything, made, number, plain, text
from tests.live import Live
from xray_core import Client, ConfigurationError, Origin, XRay, carry, wire
from xray_core.capture.run import Run
from xray_core.capture.step import Step
from xray_core.settings import Settings, load
from xray_core.transport.memory import MemoryTransport

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

# How each public call is called by somebody who gives it the right number of arguments, of whatever kind.
_usual = st.sampled_from(["a", "b", 7])
_one = st.tuples(anything)
_two = st.tuples(text | anything, anything)
_nothing = st.just(())
STEP: dict[str, tuple[st.SearchStrategy[Any], dict[str, st.SearchStrategy[Any]]]] = {
    "reject": (
        st.tuples(_usual | anything, text | anything),
        {"details": anything, "score": number, "rank": number | anything, "value": number | anything, "limit": number | anything},
    ),
    "reject_many": (st.tuples(st.lists(_usual) | anything, text), {"details": anything}),
    "accept": (st.tuples(_usual | anything), {"reason": text | anything, "details": anything, "score": number | anything, "rank": number, "value": number | anything, "limit": anything}),
    "accept_many": (st.tuples(st.lists(_usual) | anything), {"reason": anything, "value": anything, "limit": number}),
    "judge": (st.tuples(st.lists(_usual) | anything, st.lists(st.none() | text) | anything), {"details": anything, "score": anything}),
    "errored": (st.tuples(_usual | anything), {"reason": text | anything, "details": anything}),
    "decide": (
        st.tuples(text | anything),
        {"selected": _usual | anything, "reason": anything, "score": number | anything, "alternatives": st.lists(anything, max_size=3) | anything, "details": anything},
    ),
    "set_input": (_one, {}),
    "set_output": (_one, {}),
    "set_dimensions": (st.tuples(st.lists(text, max_size=3) | anything), {}),
    "set_item_key": (st.tuples(text | anything), {}),
    "set_input_count": (st.tuples(number | anything), {}),
    "set_output_count": (st.tuples(number | anything), {}),
    "set_input_items": (st.tuples(st.lists(_usual) | anything), {"key": st.none() | anything, "fields": st.none() | anything}),
    "set_output_items": (st.tuples(st.lists(_usual) | anything), {"key": st.none() | anything}),
    "set_metadata": (_two, {}),
    "set_origin": (st.tuples(made(Origin, anything, anything, anything, anything, anything) | anything), {}),
    "set_origin_state": (_one, {}),
    "observe_input": (_one, {}),
    "observe_inputs": (_one, {}),
    "observe_further": (st.tuples(text | anything, anything), {}),
    "observe_pulled": (st.tuples(text | anything, st.lists(anything, max_size=3) | anything), {}),
    "observe_output": (_one, {"name": st.none() | text}),
    "observe_output_size": (st.tuples(number | anything), {}),
    "snapshot": (_nothing, {}),
    "detach": (_nothing, {}),
    "token": (_nothing, {}),
    "step": (st.tuples(text | anything), {"step_type": anything, "capture": anything, "metadata": anything, "code_version": anything}),
}  # fmt: skip
RUN: dict[str, tuple[st.SearchStrategy[Any], dict[str, st.SearchStrategy[Any]]]] = {
    "set_input": (_one, {}),
    "set_output": (_one, {}),
    "set_metadata": (_two, {}),
    "set_tag": (st.tuples(text | anything), {"value": anything}),
    "set_origin": STEP["set_origin"],
    "step": (STEP["step"][0], {**STEP["step"][1], "parent_id": anything}),
    "open_step": (
        st.tuples(text | anything),
        {
            "step_type": anything, "step_id": text | anything, "attempt": number | anything, "parent_id": anything, "index": number | anything,
            "upstream": st.lists(text, max_size=3) | anything, "map_index": number | anything, "capture": anything,
            "code_version": anything, "origin": anything, "metadata": anything, "started_at": anything,
        },
    ),
    "attach_step": (
        st.tuples(text | anything),
        {"name": text | anything, "attempt": number | anything, "index": number | anything, "capture": anything},
    ),
    "snapshot": (_nothing, {}),
    "detach": (_nothing, {}),
}  # fmt: skip
_RUN_OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "run_id": text | anything, "tags": st.lists(text, max_size=3) | anything, "metadata": st.dictionaries(st.text(max_size=3), anything, max_size=2) | anything,
    "code_version": text | anything, "capture": anything,
}  # fmt: skip
CLOSE: dict[str, st.SearchStrategy[Any]] = {
    "status": st.sampled_from(["completed", "failed", "skipped"]) | anything,
    "error": st.none() | made(ValueError, anything) | anything,
    "ended_at": st.none() | anything,
}
# Not called with arguments of their own here: they open, end, or are what a plugin or adapter of ours calls.
ELSEWHERE = {
    Step: {"open", "open_now", "close", "attached", "reset_after_fork", "filter"},  # filter raises where the plain filter would
    Run: {"open", "close", "attached", "reset_after_fork", "open_step_unwritten"},
    XRay: {"run", "step", "open_run", "open_run_unwritten", "attach_run", "attach_task_run", "task_attempt", "flush", "sync_offline", "close"},
}  # fmt: skip


@pytest.mark.parametrize(("kind", "named"), [(Step, STEP), (Run, RUN), (XRay, {})], ids=["Step", "Run", "XRay"])
def test_every_public_call_is_named_here(kind: type, named: dict[str, Any]) -> None:
    public = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}
    assert public == {*named, *ELSEWHERE[kind]}, "give the new call hostile arguments in this file"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    server = Live(tmp_path_factory.mktemp("live"))
    yield server
    server.stop()


def _arguments(draw: Callable[[Any], Any], strategy: tuple[Any, dict[str, Any]]) -> Arguments:
    positional, optional = strategy
    return draw(positional), {name: draw(each) for name, each in optional.items() if draw(st.booleans())}


def _everything_is_taken(live: Live, data: st.DataObject) -> None:
    """Calls of every kind; then the server is given what came of them."""

    def draw(strategy: Any) -> Any:
        return plain(data.draw(strategy))

    captured = Captured(capture=draw(st.sampled_from(["sample", "full", "minimal"])), max_value_bytes=1_024)
    options = {name: draw(each) for name, each in _RUN_OPTIONS.items() if draw(st.booleans())}
    if draw(st.booleans()):
        options |= {
            "origin": draw(anything),
            "parent": draw(anything | st.tuples(text, anything)),
            "started_at": draw(anything),
        }
    run = Run(captured.recorder, draw(text | anything), **options)
    run.open()
    things: list[Any] = [run, run.step("first").open()]
    for _ in range(draw(st.integers(1, 8))):
        thing = draw(st.sampled_from(things))
        calls = RUN if thing is run else STEP
        name = draw(st.sampled_from(sorted(calls)))
        positional, optional = _arguments(draw, calls[name])
        result = getattr(thing, name)(*positional, **optional)
        if isinstance(result, Step):  # each is closed: of one that is left open the server says that it runs
            things.append(result.open())
        if draw(st.integers(0, 3)) == 0:
            captured.recorder.snapshot_open()
    for thing in reversed(things):
        thing.close(**{name: draw(each) for name, each in CLOSE.items() if draw(st.booleans())})
    lines = [wire.to_line(payload) for _, payload in captured.sink.payloads]
    answer = live.http.post("/ingest", content=b"\n".join(lines)).json()
    assert answer["refused"] == [], [lines[each["line"]] for each in answer["refused"]]
    assert answer["accepted"] == len(lines)
    told = live.get(f"/runs/{_quoted(run.run_id)}")
    assert told["status"] != "running"
    assert {step["status"] for step in told["steps"]} <= {"completed", "failed", "skipped"}


def _quoted(run_id: str) -> str:
    from urllib.parse import quote

    return quote(run_id, safe="")


_SETTINGS = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@pytest.mark.swallows
@settings(max_examples=150, **_SETTINGS)
@given(data=st.data())
def test_row_33_whatever_the_public_calls_accept_the_server_commits(live: Live, data: st.DataObject) -> None:
    _everything_is_taken(live, data)


@pytest.mark.stack
@pytest.mark.swallows
@pytest.mark.timeout(900)
@settings(max_examples=1_500, **_SETTINGS)
@given(data=st.data())
def test_row_33_holds_ten_times_longer(live: Live, data: st.DataObject) -> None:
    _everything_is_taken(live, data)


@pytest.mark.swallows
def test_row_37_the_client_and_what_wraps_functions_take_any_argument() -> None:
    client = XRay(ALL[0], transport=MemoryTransport())
    for value in ALL:
        carry(value)

        @client.step("named", step_type=value, capture=value)
        def called() -> int:
            return 1

        with client.run():
            assert called() == 1
            if not callable(value):
                assert client.step(value)(lambda: 2)() == 2
            else:
                client.step(value)
        for name in ("input", "run_id", "tags", "metadata", "code_version", "capture", "pipeline"):
            with client.run(**{name: value}) as run, run.step("s") as step:
                step.reject("a", "late")
        for name in ("part", "input", "tags", "metadata", "origin", "parent", "code_version", "started_at"):
            client.open_run("p", run_id="r", **{name: value}).close()
            client.attach_run("r", "p", **{name: value}).detach()
    client.close(0)
    assert not client._recorder.open_things


def _short(value: Any) -> bool:
    """Whether it is no number of seconds that a test would have to wait for."""
    return not (isinstance(value, (int, float)) and value == value and value > 1)


@pytest.mark.swallows
@pytest.mark.parametrize("call", ["flush", "close", "sync_offline"])
def test_row_37_what_ends_a_program_takes_any_argument(call: str) -> None:
    for value in filter(_short, ALL):
        client = XRay("p", transport=MemoryTransport(), disable_plugins="*")
        with client.run() as run, run.step("s") as step:
            step.reject("a", "late")
        getattr(client, call)(value)
        client.close(0)


@pytest.mark.swallows
@pytest.mark.parametrize("argument", ["transport", "sampler", "plugins"])
def test_row_37_what_is_plugged_in_breaks_no_run(argument: str) -> None:
    for value in ALL:
        try:
            client = XRay("p", disable_plugins="*", **{argument: value})
        except ConfigurationError:
            continue
        with client.run() as run, run.step("s") as step:
            step.reject("a", "late")
        client.close(0)


@pytest.mark.swallows
@pytest.mark.parametrize("setting", Settings.__annotations__)
def test_row_37_a_setting_is_taken_or_refused_by_its_name(setting: str) -> None:
    taken = []
    for value in ALL:
        try:
            load({setting: value}, environ={})
        except ConfigurationError as error:
            named = setting in str(error)
        else:
            named = True
            taken.append(value)
        assert named, value
    for value in taken[:: max(1, len(taken) // 8)]:
        XRay("p", transport=MemoryTransport(), **{setting: value}).close(0)
        if setting in ("api_url", "api_key", "timeout_s"):
            Client(**{setting: value}).close()
