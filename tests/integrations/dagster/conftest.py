"""Dagster in this process, with X-Ray enabled and what it captured at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster._utils import warnings

from tests.integrations.dagster.capturing import Captured
from xray_core.transport.memory import MemoryTransport
from xray_core.xray import XRay, set_default_client

HERE = Path(__file__).parent

# Precisely what Dagster says of itself in use: of its own code, and of its features that are not final. Which of these
# there are depends on its version.
IGNORED = (
    "ignore::DeprecationWarning:dagster.*",
    "ignore::DeprecationWarning:dagster_shared.*",
    *(
        f"ignore:.*:dagster._utils.warnings.{name}"
        for name in ("BetaWarning", "PreviewWarning", "ExperimentalWarning", "SupersessionWarning")
        if hasattr(warnings, name)
    ),
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            for rule in IGNORED:
                item.add_marker(pytest.mark.filterwarnings(rule))


@pytest.fixture(scope="session", autouse=True)
def dagster_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No telemetry, and nothing of the user's own Dagster."""
    home = tmp_path_factory.mktemp("dagster_home")
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    before = os.environ.get("DAGSTER_HOME")
    os.environ["DAGSTER_HOME"] = str(home)
    yield home
    os.environ.pop("DAGSTER_HOME") if before is None else os.environ.update(DAGSTER_HOME=before)


@pytest.fixture
def xray(isolated_home: Path) -> Iterator[Captured]:
    """X-Ray enabled in Dagster, delivering into memory."""
    import xray_dagster
    from xray_dagster import instrument

    transport = MemoryTransport()
    client = XRay("", transport=transport)
    set_default_client(client)
    xray_dagster.enable()
    yield Captured(client, transport)
    instrument.disable()
    set_default_client(None)
    client.close()
