"""Running the server: address, store, signals, and an end that loses no accepted write.

Owns the process. Imports uvicorn and FastAPI, so it is imported only when something is served.
"""

from __future__ import annotations

import gc
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from ipaddress import ip_address
from typing import Any, Final, Literal

import uvicorn
from fastapi import FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from xray_core.addresses import without_password
from xray_core.errors import ConfigurationError
from xray_core.plugins.host import PluginHost
from xray_server.access.admission import is_loopback
from xray_server.access.rates import PER_S
from xray_server.access.trusted import PEER, TrustedHeader
from xray_server.alerts.service import AlertSettings
from xray_server.alerts.targets import ALLOW_PRIVATE
from xray_server.app import create_app
from xray_server.backends import open_store
from xray_server.http import logs
from xray_server.http.cells import Cells, room
from xray_server.process import connections
from xray_server.process.workers import run_workers
from xray_server.store import Store
from xray_server.store.keys import KeyStore
from xray_server.upkeep.retention import Policy, Pruner

_SHUTDOWN_S: Final = 10
_MAX_CONNECTIONS: Final = 1_000  # more are answered 503; a client that waits for no answer costs a descriptor


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        ConfigurationError: the port is taken, or the address is not one of this machine's.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with ExitStack() as unless_it_works:
            sock = unless_it_works.enter_context(socket.socket(family, socket.SOCK_STREAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(1024)
            unless_it_works.pop_all()
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror}; `--port 0` takes a free one"
        ) from None
    return sock


def serve(
    *,
    host: str,
    port: int,
    database_url: str,
    insecure: bool,
    log_level: str = "warning",
    retain: Policy | None = None,
    workers: int = 1,
    log_format: Literal["text", "json"] = "text",
    rate_per_key_s: float = PER_S,
    trace_url: str | None = None,
    root_path: str = "",
    trusted: TrustedHeader | None = None,
) -> int:
    """Serve until SIGINT or SIGTERM; returns after everything accepted is committed.

    Args:
        retain: how long what is kept; None: for ever.
        workers: processes on the one address.
        trusted: the header by which an authenticating proxy says who asks.

    Returns:
        the exit code.

    Raises:
        ConfigurationError: address or database cannot be used, or the address is open to others and there are no keys.
    """
    logs.configure(log_level, log_format)
    disabled = [name.strip() for name in os.environ.get("XRAY_DISABLE_PLUGINS", "").split(",")]
    with closing(open_store(database_url, plugins=PluginHost(disabled=disabled))) as store:
        closed = trusted is not None or _must_be_closed(host, store, database_url, insecure=insecure)
        sock = listen(host, port)
        address, linked = _addresses(sock)
        app = partial(
            create_app,
            closed=closed,
            any_host=insecure,
            rate_per_key_s=rate_per_key_s,
            trace_url=trace_url,
            root_path=root_path,
            trusted=trusted,
            session_secret=secrets.token_bytes(32),
            alert_settings=_alert_settings(linked),
        )
        announced = f"X-Ray on {address} (data in {without_password(database_url)}); Ctrl-C stops it"
        if workers == 1:
            made = app(store)  # takes a second in a new process: who reads the line below finds the server answering
            print(announced, flush=True)
            _serve_on(sock, store, made, log_level=log_level, retain=retain)
            return 0
    shared = room(workers)

    def serve_one(number: int) -> int:  # opens its own: neither connections nor threads survive a fork
        with closing(open_store(database_url, plugins=PluginHost(disabled=disabled))) as own:
            _serve_on(sock, own, app(own, cells=Cells(shared, number)), log_level=log_level, retain=retain)
        return 0

    print(announced, flush=True)
    return run_workers(workers, serve_one)


def _addresses(sock: socket.socket) -> tuple[str, str]:
    """Where a socket listens, and what links to it begin with."""
    host, port, *_ = sock.getsockname()
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    # nobody can follow a link to "every address": the machine's own name is what others may know
    return address, f"http://{socket.gethostname()}:{port}" if ip_address(host).is_unspecified else address


def _serve_on(sock: socket.socket, store: Store, app: FastAPI, *, log_level: str, retain: Policy | None) -> None:
    config = uvicorn.Config(
        _Peer(ProxyHeadersMiddleware(app, os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1"))),  # type: ignore[arg-type]
        proxy_headers=False,  # as uvicorn would do, but after it is kept who is connected
        log_level=log_level,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        log_config=None,
        limit_concurrency=_MAX_CONNECTIONS,
        **connections.limits(),
    )
    pruner = Pruner(store, retain) if retain else None
    spare_the_collector()
    try:
        _Server(config).run(sockets=[sock])
    finally:
        if pruner is not None:
            pruner.close()


def spare_the_collector() -> None:
    """Let the cyclic garbage collector look at less, and less often, in a process that is a server.

    A page of 1,000 steps makes some 30,000 objects, all held until it is done: at CPython's threshold of 700 they are looked
    through again and again, together with every module that is loaded, for a third of the page's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _must_be_closed(host: str, store: Store, database_url: str, *, insecure: bool) -> bool:
    """Whether a key is needed whatever happens to the keys: others can reach the address, and nobody said --insecure."""
    if is_loopback(host):
        return False
    if isinstance(store, KeyStore) and store.keys():
        return True
    if not insecure:
        raise ConfigurationError(
            f"{host} can be reached by others, and there are no keys: whoever reaches it could read and write all. "
            f"Create one: xray keys create admin --scope admin --db {without_password(database_url)} . Or serve on 127.0.0.1, or say --insecure"
        )
    print(
        f"xray: WARNING: --insecure, and no keys: anyone who can reach {host} can read and write everything",
        file=sys.stderr,
        flush=True,
    )
    return False


def _alert_settings(address: str) -> AlertSettings:
    """From the environment; links in messages begin with XRAY_PUBLIC_URL, else with `address`."""
    public_url = os.environ.get("XRAY_PUBLIC_URL") or address
    if not public_url.startswith(("http://", "https://")):
        raise ConfigurationError(f"XRAY_PUBLIC_URL: {public_url!r} is not an http(s) address")
    allowed = os.environ.get(ALLOW_PRIVATE, "").strip().lower()
    if allowed not in ("", "0", "1", "true", "false", "yes", "no"):
        raise ConfigurationError(f"{ALLOW_PRIVATE}: {allowed!r} is neither 1 nor 0")
    return AlertSettings(public_url=public_url, allow_private=allowed in ("1", "true", "yes"))


class _Peer:
    """Keeps who is connected, before X-Forwarded-For puts another in the place: sign-in by a header asks for it."""

    def __init__(self, app: ProxyHeadersMiddleware) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope[PEER] = scope.get("client")
        await self._app(scope, receive, send)


class _Server(uvicorn.Server):
    """uvicorn, but for one thing: after an orderly end it does not raise the signal again, so that the store is closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
