"""An external process of Dagster Pipes says what it decided, and it lands on the step that started it. Tests pipes.py."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from dagster import AssetExecutionContext, PipesSubprocessClient, asset, materialize

from tests.integrations.dagster.capturing import Captured, steps_of
from xray_core.transport.memory import MemoryTransport
from xray_core.xray import XRay

SCRIPT = """
from dagster_pipes import open_dagster_pipes
from xray_core import current_step
import xray_core
with open_dagster_pipes() as pipes:
    current_step().reject("dear", "price_too_high", {"price": 9})
    pipes.report_asset_materialization(metadata={"dagster/row_count": 3})
"""


def test_the_process_of_a_pipes_client_is_in_the_step_that_started_it(
    xray: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    spool = tmp_path / "spool"
    monkeypatch.setenv("XRAY_SPOOL_DIR", str(spool))
    monkeypatch.setenv("XRAY_API_URL", "http://127.0.0.1:9")

    @asset
    def outside(context: AssetExecutionContext, client: PipesSubprocessClient) -> Any:
        done = client.run(context=context, command=[sys.executable, str(script)], env={"MINE": "1"})
        return done.get_materialize_result()

    assert materialize([outside], resources={"client": PipesSubprocessClient()}).success
    assert "XRAY_STEP_ID" not in os.environ
    step = xray.step("outside")
    assert step["output"]["size"] == 3
    transport = MemoryTransport()
    with XRay("reader", transport=transport, spool_dir=spool, api_url="http://127.0.0.1:9") as reader:
        reader.sync_offline()
    together = steps_of([*xray.records, *transport.records])
    assert together["outside", 1]["reasons"]["rejected"] == {"price_too_high": 1}
    assert together["outside", 1]["step_id"] == step["step_id"]
