"""Real Prefect with a server of its own, and X-Ray with a transport that keeps what it is given."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

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
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY="false",
    PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION="false",
    PREFECT_LOGGING_TO_API_ENABLED="false",
    PREFECT_LOGGING_LEVEL="ERROR",
    DO_NOT_TRACK="1",
)
if find_spec("prefect") is None:
    if os.environ.get("CI") == "true":
        raise RuntimeError("the Prefect tests need Prefect: pip install 'xray-pipelines[prefect]'")
    collect_ignore_glob = ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Prefect's own warnings are not ours to fix."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(240))
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning:prefect.*"))
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """A Prefect API on the loopback; its address."""
    import xray_prefect

    xray_prefect.enable()
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, get_current_settings, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    # a flow with heartbeats waits up to a second for their thread at its end
    quick = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    with prefect_test_harness(server_startup_timeout=200), temporary_settings(quick):
        yield str(get_current_settings().api.url)
    shutil.rmtree(PREFECT_HOME, ignore_errors=True)


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
