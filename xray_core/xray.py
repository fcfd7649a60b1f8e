"""The client: wires settings, plugins, recorder and delivery together. Nothing else does."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, ParamSpec, TypeVar, overload

from xray_core import native
from xray_core.bounds import number
from xray_core.capture import context
from xray_core.capture.decorator import step_around
from xray_core.capture.recorder import Recorder
from xray_core.capture.run import Run
from xray_core.capture.sampling import Sampler
from xray_core.capture.step import Step
from xray_core.capture.task_step import TaskRun
from xray_core.delivery import Delivery
from xray_core.errors import ConfigurationError, DeliveryError
from xray_core.item_ids import ItemId
from xray_core.model import Capture, Origin
from xray_core.plugins.host import PluginHost
from xray_core.safety import guarded, swallow, swallowed
from xray_core.settings import Settings, load
from xray_core.tasks import TaskAttempt
from xray_core.transport import Transport
from xray_core.transport.http import HttpTransport, sdk
from xray_core.transport.surrounded import Surrounded

P = ParamSpec("P")
R = TypeVar("R")

_MAX_WAIT_S: Final = 1e6  # more than a lock of Python's can be waited for on some systems

_clients: weakref.WeakSet[XRay] = weakref.WeakSet()


class XRay:
    """Captures the runs of one pipeline and delivers them. Make one per pipeline, at start-up; it is thread-safe.

    Args:
        pipeline: the name under which its runs are found.
        plugins: plugin objects to register beside those installed (see docs/hooks.md).
        transport, sampler: replace the default ones (tests, special wires).
        settings: any field of `xray_core.settings.Settings`, as in `api_url=`, `api_key=`, `offline_mode="buffer"`,
            `capture=`, `sample_rate=`; what is not given comes from `XRAY_*` in the environment, then the defaults.

    Raises:
        ConfigurationError: a setting is wrong; the message says what to do. Nothing later raises because of X-Ray, but
            `offline_mode="strict"` at the end of a run that the server has not confirmed.
    """

    def __init__(
        self,
        pipeline: str,
        *,
        plugins: Iterable[object] = (),
        transport: Transport | None = None,
        sampler: Sampler | None = None,
        **settings: Any,
    ) -> None:
        self.settings: Settings = load(settings)
        self.plugins = PluginHost(disabled=self.settings.disable_plugins, discover=self.settings.enabled)
        for plugin in _each(plugins):
            name = _attribute(plugin, "__name__")
            self.plugins.register(plugin, name if type(name) is str else type(plugin).__name__)
        self.plugins.configure(self.settings)
        if transport is None:
            transport = self.plugins.first("xray_make_transport", settings=self.settings)
        if transport is None:
            transport = HttpTransport(self.settings.api_url, api_key=self.settings.api_key)
        if sampler is None:
            sampler = self.plugins.first("xray_make_sampler", settings=self.settings)
        _has(transport, "transport", "send", "close")
        if sampler is not None:
            _has(sampler, "sampler", "step")
        self._delivery = Delivery(
            self.settings,
            Surrounded(transport, self.plugins.sending) if self.plugins.surrounds_sending else transport,
            on_dropped=self.plugins.records_dropped,
            on_tick=self._tick,
            on_send=self._settle,
            client_record=self._client_record if self.settings.enabled else None,
        )
        self._recorder = Recorder(
            self.settings,
            self._delivery,
            hooks=self.plugins,
            sampler=sampler,
        )
        self.pipeline = self._recorder.sanitizer.name(pipeline)
        self._closed = False
        _clients.add(self)
        probe = _probe_of(self)
        context.add_open_probe(probe)
        weakref.finalize(self, context.remove_open_probe, probe).atexit = False

    # ------------------------------------------------------------------ capture

    def run(
        self,
        input: Any = None,  # product.md fixes the name
        *,
        run_id: ItemId | None = None,
        tags: Mapping[str, Any] | Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        code_version: str | None = None,
        capture: Capture | None = None,
        pipeline: str | None = None,
    ) -> Run:
        """One execution, as a context manager: `with xray.run(input=...) as run:` (or `async with`).

        Inside another step, of X-Ray's own or of an enabled framework, the run becomes a child of it.

        Args:
            input: what the run was asked; see `Run.set_input`.
            run_id: your own id; sending a run id again adds to that run.
            tags: labels to find runs by, a mapping or a list.
            code_version: as a git commit; defaults to the setting.
        """
        origin, parent = self._surroundings()
        strict = self.settings.offline_mode == "strict" and self.settings.enabled
        run = Run(
            self._recorder,
            pipeline if pipeline is not None else self.pipeline,
            run_id=run_id,
            tags=tags,
            metadata=metadata,
            code_version=code_version,
            capture=capture,
            origin=origin,
            parent=parent,
            confirm=self._confirm if strict else None,
        )
        if input is not None:
            run.set_input(input)
        return run

    @overload
    def step(self, function: Callable[P, R], /) -> Callable[P, R]: ...
    @overload
    def step(
        self, name: str | None = None, /, *, step_type: str | None = None, capture: Capture | None = None
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
    def step(self, name: Any = None, /, *, step_type: str | None = None, capture: Capture | None = None) -> Any:
        """Decorate a function (sync, async, generator): a step around each call that happens inside a run."""
        options = {"capture": capture} if capture is not None else {}
        if callable(name):
            return step_around(name, None, step_type, options)
        return lambda function: step_around(function, name, step_type, options)

    def open_run(self, pipeline: str, *, run_id: str, **options: Any) -> Run:
        """For adapters: a run that is open when this returns; end it with `run.close(...)`.

        Takes what `open_run_unwritten` takes.
        """
        return self.open_run_unwritten(pipeline, run_id=run_id, **options).open()

    def open_run_unwritten(
        self,
        pipeline: str,
        *,
        run_id: str,
        part: str | None = None,
        input: Any = None,
        tags: Mapping[str, Any] | Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        origin: Origin | None = None,
        parent: tuple[str, str | None] | None = None,
        code_version: str | None = None,
        started_at: datetime | None = None,
    ) -> Run:
        """For adapters: a run with explicit identity. Nothing is written until it is opened, closed or detached.

        `started_at` is for runs that began earlier, or elsewhere; the default is now.
        """
        run = Run(
            self._recorder,
            pipeline,
            run_id=run_id,
            part=part,
            tags=tags,
            metadata=metadata,
            origin=origin,
            parent=parent,
            code_version=code_version,
            started_at=started_at,
        )
        if input is not None:
            run.set_input(input)
        return run

    def attach_run(self, run_id: str, pipeline: str = "", **options: Any) -> Run:
        """For adapters: a run that another process owns. Steps can be opened in it. No status is written,
        and nothing else but the values set here. Takes what `open_run_unwritten` takes.
        """
        return self.open_run_unwritten(pipeline, run_id=run_id, **options).attached()

    def attach_task_run(self, run_id: str, pipeline: str, *, task: TaskAttempt, within: str = "") -> Run:
        """For `attach` and adapters: as `attach_run`, in an attempt of an engine's task; `within` is the id of the step that the
        task captures into.
        """
        return TaskRun(self._recorder, pipeline, run_id=run_id, task=task, within=within)

    def task_attempt(self) -> TaskAttempt | None:
        """For `attach` and adapters: the attempt of a distributed engine's task that the calling code is in, as plugins say."""
        found = self.plugins.first("xray_task_attempt")
        return found if isinstance(found, TaskAttempt) else None

    # ------------------------------------------------------------------ delivery

    @guarded("flush", default=False)
    def flush(self, timeout_s: float | None = None) -> bool:
        """Write down what is open and wait until the server has confirmed everything; whether it has in time."""
        if not self.settings.enabled:
            return True
        self._tick()
        return self._delivery.flush(_seconds(timeout_s))

    def sync_offline(self, progress: Callable[[int, int], None] | None = None) -> dict[str, int]:
        """Deliver what any process on this machine left behind: `{"synced": n, "failed": m}`, in records."""
        self._tick()
        return self._delivery.sync(progress)

    @guarded("close")
    def close(self, timeout_s: float | None = None) -> None:
        """Write down what is open, deliver within `timeout_s` (default `shutdown_timeout_s`), leave the rest on disk."""
        if self._closed:
            return
        self._closed = True
        self._delivery.close(_seconds(timeout_s))

    @property
    def counters(self) -> Mapping[str, int]:
        """What was sent, retried, dropped, quarantined and swallowed by this client, by name."""
        return {**self._recorder.counters, **self._delivery.counters}

    @property
    def part(self) -> str:
        """Names this client in this process: in records, and in the tokens of its steps."""
        return self._recorder.part

    def __enter__(self) -> XRay:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # ------------------------------------------------------------------ inside

    @guarded("snapshot")
    def _tick(self) -> None:
        self._recorder.snapshot_open()

    def _settle(self) -> None:
        self._recorder.late.settle(gently=True)

    def _confirm(self) -> None:
        self._recorder.late.settle()
        if not self._delivery.flush(self.settings.timeout_s):
            raise DeliveryError(
                f"X-Ray: {self.settings.api_url} has not confirmed this run within {self.settings.timeout_s:g} s "
                f"(offline_mode='strict'). It is kept in {self.settings.spool_dir}; `xray sync` delivers it later."
            )

    def _client_record(self) -> dict[str, Any]:
        counters = {f"swallowed: {site}"[:200]: n for site, n in list(swallowed.items())[:50] if n}
        return {
            "kind": "client",
            "v": 1,
            "part": self._recorder.part,
            "rev": self._recorder.now_us(),
            "pipeline": self.pipeline,
            "sdk": sdk(),
            **self._recorder.client(),
            "counters": {**self._recorder.counters, **counters},
        }

    def _has_open_steps(self) -> bool:
        return self._recorder.has_open_steps()

    def _surroundings(self) -> tuple[Origin | None, tuple[str, str | None] | None]:
        """The framework object around a run that starts by hand, and what it is a child of."""
        try:
            step = context.current_step_or_none()
            found = self.plugins.first("xray_run_origin")
            origin, parent_run, parent_step = found if found is not None else (None, None, None)
            if step is not None:
                return origin, (step.run_id, step.step_id)
            return origin, (parent_run, parent_step) if parent_run is not None else None
        except Exception as error:  # noqa: BLE001
            swallow("finding what a run is a child of", error)
            return None, None


def _each(plugins: Any) -> Iterable[object]:
    if isinstance(plugins, str | Mapping):
        plugins = None  # no list of plugin objects, though it can be gone through
    try:
        return list(plugins)
    except Exception:  # noqa: BLE001  # whatever an object may raise that is no collection
        raise ConfigurationError("X-Ray: plugins= takes a list of plugin objects (docs/hooks.md)") from None


def _has(made: object, name: str, *methods: str) -> None:
    missing = [method for method in methods if not callable(_attribute(made, method))]
    if missing:
        raise ConfigurationError(
            f"X-Ray: {name}= takes an object with the methods {' and '.join(methods)}; "
            f"a {type(made).__name__} lacks {' and '.join(missing)}"
        )


def _attribute(of: object, name: str) -> object:
    try:
        return getattr(of, name, None)
    except Exception:  # noqa: BLE001  # an attribute that raises is none
        return None


def _seconds(given: object) -> float | None:
    """A time to wait; None, which is the settings', for what is no number of seconds."""
    seconds = number(given) if given is not None else None
    if given is not None and (seconds is None or seconds < 0):
        swallow("a timeout", ValueError("timeout_s= takes a number of seconds; the setting's is used"))
        return None
    return seconds if seconds is None else min(seconds, _MAX_WAIT_S)


def _probe_of(client: XRay) -> Callable[[], bool]:
    """Says whether the client has open steps, without keeping it alive."""
    method = weakref.WeakMethod(client._has_open_steps)

    def has_open_steps() -> bool:
        alive = method()
        return alive is not None and alive()

    return has_open_steps


def living_clients() -> list[XRay]:
    """The clients of this process that are not closed."""
    return [client for client in list(_clients) if not client._closed]


_default: XRay | None = None
_default_lock = native.make_rlock()


def default_client(pipeline: str = "") -> XRay:
    """The client that adapters and inherited steps share: settings from the environment, made when first needed."""
    global _default
    if _default is None:
        with _default_lock:
            if _default is None:
                _default = XRay(pipeline)
    return _default


def set_default_client(client: XRay | None) -> None:
    """Use this client as the default one: to configure adapters in code, and in tests."""
    global _default
    _default = client


_inherited: dict[tuple[int, str, str], Step] = {}


def _inherited_step() -> Step | None:
    """The step that a parent process handed down through XRAY_RUN_ID and XRAY_STEP_ID."""
    ids = context.inherited_ids()
    if ids is None:
        return None
    key = (os.getpid(), *ids)
    if key not in _inherited:
        while _inherited:
            _inherited.popitem()[1].detach()
        attempt = os.environ.get("XRAY_STEP_ATTEMPT", "1")
        run = default_client().attach_run(ids[0])
        _inherited[key] = run.attach_step(ids[1], attempt=int(attempt) if attempt.isdigit() else 1)
    return _inherited[key]


def settle_all() -> None:
    """Have all clients look at the values of steps that have ended. Before a fork too: a parent may end right after it, as
    daemons do.
    """
    for client in list(_clients):
        client._recorder.late.settle()


def _after_fork_in_child() -> None:
    global _default_lock
    _default_lock = native.make_rlock()
    for client in list(_clients):
        client._recorder.after_fork_in_child()


context.add_step_finder(_inherited_step)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=settle_all, after_in_child=_after_fork_in_child)
