"""The plugin host: sound plugins are admitted, broken ones hurt nobody, and every hook is documented and tested.

Tests plugins/host.py and hookspecs.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.core.capturing import Captured
from tests.core.objects import made_up_secrets
from xray_core import Origin, TaskAttempt, XRay, hookimpl
from xray_core.capture.sampling import BottomKSampler
from xray_core.plugins import hookspecs
from xray_core.plugins.host import PluginHost
from xray_core.transport.memory import MemoryTransport

HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("xray_"))
ROOT = Path(__file__).parents[3]


def _host(*plugins: object) -> PluginHost:
    host = PluginHost(discover=False)
    for number, plugin in enumerate(plugins):
        assert host.register(plugin, f"plugin{number}"), host.states
    return host


def _plugin(**functions: Any) -> object:
    """A plugin object with these hook implementations."""
    return type("Plugin", (), {name: staticmethod(hookimpl(function)) for name, function in functions.items()})()


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_and_tested(hook: str) -> None:
    assert f"## {hook}" in (ROOT / "docs/hooks.md").read_text()
    assert f"def test_{hook}" in Path(__file__).read_text()


def test_xray_instruments_are_collected_from_every_plugin() -> None:
    host = _host(
        _plugin(xray_instruments=lambda: {"prefect": print}), _plugin(xray_instruments=lambda: {"dagster": repr})
    )
    assert [set(result) for _, result in host.collect("xray_instruments")] == [{"dagster"}, {"prefect"}]


@pytest.mark.swallows
def test_xray_configure_sees_the_settings_and_a_plugin_that_raises_is_disabled() -> None:
    seen = []

    def broken(settings: Any) -> None:
        raise RuntimeError("no")

    def configure(settings: Any) -> None:
        seen.append(settings.capture)

    plugins = [_plugin(xray_configure=broken), _plugin(xray_configure=configure)]
    client = XRay("p", transport=MemoryTransport(), capture="full", plugins=plugins[1:])
    client.plugins.register(plugins[0], "broken")
    client.plugins.configure(client.settings)
    assert seen == ["full", "full"]
    assert not client.plugins.states["broken"].active
    client.close()


def test_xray_make_sampler_replaces_the_sampler() -> None:
    class Nothing(BottomKSampler):
        def step(self, *, rate: float, per_reason: int, max_samples: int) -> Any:
            return super().step(rate=0.0, per_reason=0, max_samples=0)

    memory = MemoryTransport()
    client = XRay("p", transport=memory, plugins=[_plugin(xray_make_sampler=lambda settings: Nothing())])
    with client.run() as run, run.step("s") as step:
        step.reject("a", "r", {"x": 1})
    assert client.flush(5)
    client.close()
    assert not memory.of_kind("samples")


def test_xray_make_transport_replaces_the_transport() -> None:
    memory = MemoryTransport()
    client = XRay("p", plugins=[_plugin(xray_make_transport=lambda settings: memory)])
    with client.run():
        pass
    assert client.flush(5)
    client.close()
    assert memory.of_kind("run")


def test_xray_run_origin_makes_a_manual_run_the_child_of_a_frameworks_task() -> None:
    memory = MemoryTransport()
    origin = Origin("prefect", "task_run", {"task_run_id": "t"})
    client = XRay("p", transport=memory, plugins=[_plugin(xray_run_origin=lambda: (origin, "flow", "task"))])
    with client.run():
        pass
    assert client.flush(5)
    client.close()
    record = memory.of_kind("run")[-1]
    assert record["parent"] == {"run_id": "flow", "step_id": "task"}
    assert record["origin"]["framework"] == "prefect"


@pytest.mark.swallows
def test_xray_task_attempt_says_which_attempt_code_is_in_and_one_that_raises_is_passed_over() -> None:
    def broken() -> TaskAttempt:
        raise RuntimeError("no worker here")

    attempt = TaskAttempt("partition 7", 0, 2)
    plugins = [_plugin(xray_task_attempt=each) for each in (lambda: attempt, lambda: None, broken)]
    assert XRay("p", plugins=plugins).task_attempt() == attempt
    assert XRay("p", plugins=[_plugin(xray_task_attempt=lambda: "partition 7")]).task_attempt() is None


@pytest.mark.parametrize("hook", ["xray_run_started", "xray_run_finished", "xray_step_finished"])
@pytest.mark.swallows
def test_xray_run_started_and_the_other_observers_are_isolated_and_disabled_when_they_raise(hook: str) -> None:
    calls: list[str] = []

    def broken(**_: Any) -> None: ...

    if hook == "xray_step_finished":

        def raising(step: Any) -> None:
            calls.append("raised")
            raise RuntimeError("no")

        def sound(step: Any) -> None:
            calls.append(step.name)
    else:

        def raising(run: Any) -> None:  # type: ignore[misc]  # the hook decides the argument
            calls.append("raised")
            raise RuntimeError("no")

        def sound(run: Any) -> None:  # type: ignore[misc]
            calls.append(run.pipeline)

    captured = Captured(hooks=_host(_plugin(**{hook: sound}), _plugin(**{hook: raising})))
    for _ in range(2):
        with captured.run() as run, run.step("p"):
            pass
    assert calls.count("p") == 2
    assert calls.count("raised") == 1


def test_xray_run_finished() -> None:
    """Covered with its fellow observers above; here: it sees how the run ended."""
    ends: list[Any] = []

    def finished(run: Any) -> None:
        ends.append(run.status)

    with Captured(hooks=_host(_plugin(xray_run_finished=finished))).run():
        pass
    assert ends == ["completed"]


def test_xray_step_finished_sees_the_ledger() -> None:
    ledgers: list[Any] = []

    def finished(step: Any) -> None:
        ledgers.append(step.ledger.rejected)

    captured = Captured(hooks=_host(_plugin(xray_step_finished=finished)))
    with captured.run() as run, run.step("s") as step:
        step.reject("a", "r")
    assert ledgers == [1]


def test_xray_redact_is_chained() -> None:
    def first(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "metadata": {"seen": "first"}}

    def second(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "metadata": {**record["metadata"], "then": "second"}}

    captured = Captured(hooks=_host(_plugin(xray_redact=second), _plugin(xray_redact=first)))
    with captured.run():
        pass
    assert captured.of_kind("run")[-1]["metadata"] == {"seen": "first", "then": "second"}


def test_xray_redact_sees_the_reasons_of_fingerprints_too() -> None:
    def mask(record: dict[str, Any]) -> dict[str, Any]:
        masked: dict[str, Any] = json.loads(json.dumps(record).replace("alpha", "***"))
        return masked

    captured = Captured(hooks=_host(_plugin(xray_redact=mask)))
    with captured.run("alpha") as run, run.step("s") as step:
        for n in range(1_200):
            step.reject(n, "alpha")
    assert b"alpha" not in b"".join(payload for _, payload in captured.sink.payloads)
    assert len(captured.verdicts("rejected")[1]) == 200


@pytest.mark.swallows
@pytest.mark.parametrize("sets", [None, [], [{"outcome": "rejected"}], "sets"])
def test_xray_redact_that_makes_something_else_of_the_sets_costs_them_and_is_counted(sets: Any) -> None:
    captured = Captured(hooks=_host(_plugin(xray_redact=lambda record: {**record, "sets": sets})))
    with captured.run() as run, run.step("s") as step:
        for n in range(1_200):
            step.reject(n, "alpha")
    assert captured.step("s")["counts"] == {"rejected": 1_200}
    assert captured.recorder.counters["redaction_failed"] == 1


@pytest.mark.swallows
def test_xray_redact_that_raises_drops_the_payload_and_keeps_the_counts() -> None:
    def raising(record: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("no")

    captured = Captured(hooks=_host(_plugin(xray_redact=raising)))
    with captured.run() as run, run.step("s") as step:
        run.set_input("secret")
        step.set_output("secret")
        step.reject("secret-item", "r", {"x": "secret"})
    assert b"secret" not in b"".join(payload for _, payload in captured.sink.payloads)
    seen = captured.step("s")
    assert seen["counts"] == {"rejected": 1}
    assert seen["dropped"]["redaction_failed"] == 1
    assert captured.recorder.counters["redaction_failed"] > 0


@pytest.mark.swallows
def test_xray_sending_is_held_around_each_request_and_one_that_fails_costs_no_record() -> None:
    seen: list[str] = []

    @contextmanager
    def around() -> Iterator[None]:
        seen.append("enter")
        yield
        seen.append("leave")

    class Sent(MemoryTransport):
        def send(self, body: bytes, *, timeout_s: float) -> Any:
            seen.append("send")
            return super().send(body, timeout_s=timeout_s)

    @contextmanager
    def broken() -> Iterator[None]:
        raise RuntimeError("no")
        yield

    plugins = [_plugin(xray_sending=around), _plugin(xray_sending=broken)]
    client = XRay("p", transport=Sent(), plugins=plugins[:1])
    client.plugins.register(plugins[1], "broken")
    with client.run():
        pass
    assert client.flush(10)
    client.close()
    assert seen[:3] == ["enter", "send", "leave"]


def test_xray_records_dropped_is_told_by_delivery() -> None:
    told: list[Any] = []

    def dropped(count: int, reason: str) -> None:
        told.append((count, reason))

    _host(_plugin(xray_records_dropped=dropped)).records_dropped(3, "spool full")
    assert told == [(3, "spool full")]


def test_xray_make_store_that_raises_refuses_to_start() -> None:
    def make(url: str) -> Any:
        raise RuntimeError(f"cannot open {url}")

    with pytest.raises(RuntimeError, match="cannot open clickhouse"):
        _host(_plugin(xray_make_store=make)).first_or_raise("xray_make_store", url="clickhouse://x")
    assert _host().first_or_raise("xray_make_store", url="x") is None


def test_unsound_plugins_are_left_out_with_a_reason() -> None:
    async def async_hook(run: Any) -> None: ...

    def unknown(run: Any) -> None: ...

    def wrong_argument(rum: Any) -> None: ...

    class Unmarked:
        def xray_run_started(self, run: Any) -> None: ...

    host = PluginHost(discover=False)
    cases = {
        "async": _plugin(xray_run_started=async_hook),
        "unknown": _plugin(xray_run_begun=unknown),
        "argument": _plugin(xray_run_started=wrong_argument),
        "unmarked": Unmarked(),
        "empty": object(),
    }
    for name, plugin in cases.items():
        assert not host.register(plugin, name)
        assert host.states[name].problem
    assert "xray_run_begun" in str(host.states["unknown"].problem)


PLUGIN = '''
"""A third-party plugin: counts runs, masks names, and is installed like any other package."""
from xray_core import hookimpl

@hookimpl
def xray_redact(record):
    if "input" in record:
        record = {**record, "input": "masked"}
    return record

@hookimpl
def xray_run_finished(run):
    print("finished", run.pipeline, run.status)
'''


def test_a_third_party_plugin_is_found_through_its_entry_point(tmp_path: Path) -> None:
    """Installed as pip does: a module, and a dist-info with entry points, on the path of a fresh interpreter."""
    (tmp_path / "acme_xray.py").write_text(PLUGIN)
    (tmp_path / "broken_xray.py").write_text("raise ImportError('not today')")
    for name in ("acme", "broken"):
        info = tmp_path / f"{name}_xray-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-xray\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[xray.plugins]\n{name} = {name}_xray\n")
    code = (
        "from xray_core import XRay\nfrom xray_core.transport.memory import MemoryTransport\n"
        "memory = MemoryTransport()\nclient = XRay('p', transport=memory)\n"
        "with client.run(input='name of a person'): pass\nclient.flush(5)\n"
        "states = client.plugins.states\nprint(states['acme'].active, 'not today' in str(states['broken'].problem))\n"
        "print(memory.of_kind('run')[-1]['input'])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert shown.stdout.split("\n")[:3] == ["finished p completed", "True True", "masked"]
    off = {**environment, "XRAY_DISABLE_PLUGINS": "acme"}
    quiet = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=off, check=True)
    assert quiet.stdout.split("\n")[:2] == ["False True", "name of a person"]


def test_two_plugins_of_one_class_are_both_called_and_one_that_is_given_twice_once() -> None:
    class Masks:
        def __init__(self, word: str) -> None:
            self.word = word
            self.calls = 0

        @hookimpl
        def xray_redact(self, record: dict[str, Any]) -> dict[str, Any]:
            self.calls += record["kind"] == "run"
            masked: dict[str, Any] = json.loads(json.dumps(record).replace(self.word, "***"))
            return masked

    memory, plugins = MemoryTransport(), [Masks("alpha"), Masks("beta")]
    client = XRay("p", transport=memory, plugins=[*plugins, plugins[1]])
    with client.run(input="alpha beta gamma"):
        pass
    assert client.flush(5)
    client.close()
    assert memory.of_kind("run")[-1]["input"] == "*** *** gamma"
    assert [state.problem for state in client.plugins.states.values() if state.name.startswith("Masks")] == [None, None]
    assert plugins[0].calls == plugins[1].calls


@pytest.mark.swallows
def test_what_is_logged_of_a_plugins_error_holds_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    def broken(run: Any) -> None:
        raise RuntimeError(f"postgres://ana:hunter2secret@db/x refused {made_up_secrets.secret(0)}")

    with Captured(hooks=_host(_plugin(xray_run_started=broken))).run():
        pass
    (said,) = [record.getMessage() for record in caplog.records if "xray_run_started" in record.getMessage()]
    assert "postgres://ana:[redacted]@db/x refused [redacted]" in said
