"""Real Prefect with a server of its own, and X-Ray with a transport that keeps what it is given."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextvars import copy_context
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from tests.integrations.prefect.captured import Seen
from xray_core.transport.memory import MemoryTransport
from xray_core.xray import XRay, set_default_client

HERE = Path(__file__).parent
# Prefect reads its settings when it is imported, which collecting these tests does.
PREFECT_HOME = tempfile.mkdtemp(prefix="xray-prefect-")
for name in [name for name in os.environ if name.startswith("PREFECT_")]:
    del os.environ[name]
os.environ.update(
    PREFECT_HOME=PREFECT_HOME,
    PREFECT_RESULTS_LOCAL_STORAGE_PATH=f"{PREFECT_HOME}/storage",  # its default is in the user's home all the same
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY="false",
    PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION="false",
    PREFECT_LOGGING_TO_API_ENABLED="false",
    PREFECT_LOGGING_LEVEL="ERROR",
    DO_NOT_TRACK="1",
)
# Of the server alone: nothing that it does on its own, for which no test asks, and the tables that server.py makes.
SERVICES = (
    "SCHEDULER", "LATE_RUNS", "FOREMAN", "PAUSE_EXPIRATIONS", "CANCELLATION_CLEANUP", "EVENT_PERSISTER", "TRIGGERS",
    "REPOSSESSOR", "CLEANUP_RECONCILER", "TASK_RUN_RECORDER",
)  # fmt: skip
OF_SERVER = {
    **{f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in SERVICES},
    "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
}
if find_spec("prefect") is None:
    if os.environ.get("CI") == "true":
        raise RuntimeError("the Prefect tests need Prefect: pip install 'xray-pipelines[prefect]'")
    collect_ignore_glob = ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Prefect's own warnings are not ours to fix."""
    for item in items:
        if HERE in item.path.parents:
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(240))
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning:prefect.*"))
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Each test has a context of its own: what generator tasks leave behind in one (a transaction, in which nothing is
    cached until it ends) is not in the next.
    """
    if HERE not in pyfuncitem.path.parents:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    copy_context().run(pyfuncitem.obj, **arguments)
    return True


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """A Prefect API on the loopback; its address."""
    import xray_prefect

    xray_prefect.enable()
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, str(HERE / "server.py"), str(Path(PREFECT_HOME) / "server.db"), str(port)]
    server = subprocess.Popen(command, env={**os.environ, **OF_SERVER})
    try:
        deadline = time.monotonic() + 200
        while not _answers(url):
            assert server.poll() is None, "Prefect's server ended"
            assert time.monotonic() < deadline, "Prefect's server does not answer"
            time.sleep(0.1)  # between two looks, up to the deadline
        # a flow with heartbeats waits up to a second for their thread at its end
        with temporary_settings({PREFECT_API_URL: url, PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield url
            EventsWorker.drain_all(timeout=10)
    finally:
        server.terminate()
        server.wait(30)
    shutil.rmtree(PREFECT_HOME, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def xray(isolated_home: Path, transport: MemoryTransport) -> Iterator[XRay]:
    """The client that the adapter uses in this test."""
    client = XRay("prefect tests", transport=transport)
    set_default_client(client)
    yield client
    set_default_client(None)
    client.close(5)


@pytest.fixture
def seen(prefect_server: str, xray: XRay, transport: MemoryTransport) -> Seen:
    """What X-Ray captured in this test so far, asked for by name."""
    return Seen(xray, transport)
