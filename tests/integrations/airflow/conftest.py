"""The genuine task runner of Airflow 3 under pytest: `supervise_task` forks, the child runs the task and `os._exit`s.

No metadata database and no API server: the execution API is an httpx.MockTransport. Airflow is imported once per session
and inherited by fork, as LocalExecutor's children inherit it from the scheduler.
"""

from __future__ import annotations

import gc
import json
import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from xray_airflow import config

from tests.missing import missing
from xray_core import XRay
from xray_core.merge import merge_run, merge_step, newest
from xray_core.testing import Captured as InMemory
from xray_core.transport.memory import MemoryTransport

DAGS = Path(__file__).parent / "dags"
# Nobody listens on the discard port: what is captured stays in the spool, and the test reads it from there.
NOBODY = "http://127.0.0.1:9"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here):
            # Airflow's supervisor leaves its ends of the task's sockets and its log file to the garbage collector
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))
            item.add_marker(
                pytest.mark.filterwarnings(
                    r"ignore:Exception ignored in. <(socket\.socket|_io\.):pytest.PytestUnraisableExceptionWarning"
                )
            )


@dataclass
class Captured:
    """What X-Ray has of all processes: its records, merged as the server merges them."""

    records: list[dict[str, Any]]

    def step(self, name: str, *, attempt: int = 1, map_index: int | None = None) -> dict[str, Any]:
        wanted = {
            (record["step_id"], attempt)
            for record in self.records
            if record["kind"] == "step" and record["name"] == name and map_index in (None, record.get("map_index"))
        }
        parts: dict[Any, Any] = {}
        for record in self.records:
            if record["kind"] == "step" and (record["step_id"], record["attempt"]) in wanted:
                key = (record["step_id"], record["part"])
                parts[key] = newest(parts.get(key), record)
        assert parts, f"no step {name!r}, attempt {attempt}; there are {sorted(self.names())}"
        assert len({step_id for step_id, _ in parts}) == 1, f"{name!r} is many steps"
        return {**merge_step(parts.values()), "parts": sorted({part for _, part in parts})}

    def names(self) -> set[str]:
        return {record["name"] for record in self.records if record["kind"] == "step"}

    def run(self, pipeline: str = "cases") -> dict[str, Any]:
        parts: dict[str, Any] = {}
        for record in self.records:
            if record["kind"] == "run" and record["pipeline"] == pipeline:
                parts[record["part"]] = newest(parts.get(record["part"]), record)
        return {**merge_run(parts.values()), "parts": sorted(parts)}

    def exact_reason(self, item_id: str) -> str | None:
        """Why an item was rejected, as `why` answers for the one run that there is; it must be certain."""
        result = InMemory()
        for record in self.records:
            result.put("", json.dumps(record).encode())
        why = result.why(item_id)
        assert (why.outcome, {each.certainty for each in why.journey}) == ("rejected", {"exact"}), why.sentence
        return why.reason

    def rejected(self, name: str) -> list[str]:
        step_ids = {r["step_id"] for r in self.records if r["kind"] == "step" and r["name"] == name}
        return sorted(
            item
            for record in self.records
            if record["kind"] == "verdicts" and record["step_id"] in step_ids
            for each in record["sets"]
            if each["outcome"] == "rejected"
            for item in each["ids"]
        )


@dataclass
class Outcome:
    """What Airflow's API server was told by one task process, and what its supervisor returned."""

    exit_code: int
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def states(self) -> list[str]:
        return [body["state"] for _, path, body in self.calls if path.endswith("/state")]

    @property
    def returned(self) -> Any:
        """What the task returned, as it was handed to Airflow's API server."""
        return next(body for verb, path, body in self.calls if verb == "POST" and path.endswith("/return_value"))

    def body_of(self, ending: str) -> Any:
        return next(body for _, path, body in self.calls if path.endswith(ending))


@pytest.fixture(autouse=True)
def patterns_of_this_test() -> Iterator[None]:
    """Task processes are forked from this one, and inherit what it has read of the dag patterns."""
    config.dag_filter.cache_clear()
    yield
    config.dag_filter.cache_clear()


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Airflow, imported once, at home in a temporary directory."""
    home = tmp_path_factory.mktemp("airflow")
    before = dict(os.environ)
    os.environ.update(
        AIRFLOW_HOME=str(home),
        AIRFLOW__CORE__DAGS_FOLDER=str(DAGS),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL="0",
        AIRFLOW__LOGGING__BASE_LOG_FOLDER=str(home / "logs"),
        AIRFLOW__API__BASE_URL="http://airflow.example:8080",
        _AIRFLOW_PROCESS_CONTEXT="client",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Airflow and its providers import what is deprecated: theirs to mend
        try:
            import airflow.providers.standard.operators.bash
        except ImportError:
            missing("Airflow: pip install 'apache-airflow>=3' apache-airflow-providers-standard")
        import airflow.dag_processing.bundles.manager
        import airflow.dag_processing.dagbag
        import airflow.models
        import airflow.providers.standard.operators.empty
        import airflow.providers.standard.operators.python
        import airflow.providers.standard.operators.trigger_dagrun
        import airflow.providers.standard.triggers.external_task
        import airflow.providers.standard.triggers.temporal
        import airflow.sdk.execution_time.comms
        import airflow.sdk.execution_time.supervisor
        import airflow.sdk.execution_time.task_runner
        import airflow.sdk.listener  # noqa: F401
    gc.collect()
    gc.freeze()  # a collection after each test would look at all of Airflow again
    yield
    gc.unfreeze()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def runs_task(airflow: None, isolated_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Outcome]]:
    """Run one task instance of dags/cases.py in a process of its own, as a worker would."""
    import httpx
    from airflow.sdk.api.client import Client
    from airflow.sdk.api.datamodels._generated import BundleInfo, TaskInstance
    from airflow.sdk.execution_time.supervisor import supervise_task

    monkeypatch.setenv("XRAY_API_URL", NOBODY)

    def run(
        task_id: str,
        *,
        dag_id: str = "cases",
        dag_file: str = "cases.py",
        dag_run_id: str = "r1",
        try_number: int = 1,
        map_index: int = -1,
        context: dict[str, Any] | None = None,
        conf: dict[str, Any] | None = None,
        killed: bool = False,
        refused: str | None = None,
    ) -> Outcome:
        outcome = Outcome(-1)

        def answer(request: httpx.Request) -> httpx.Response:
            path = request.url.path
            outcome.calls.append((request.method, path, json.loads(request.content) if request.content else None))
            if path.endswith("/run"):
                return httpx.Response(
                    200, json={"dag_run": _dag_run(dag_id, dag_run_id, conf), **_CONTEXT, **(context or {})}
                )
            if path.endswith("/heartbeat") and killed and _has_verdicts(isolated_home):
                return httpx.Response(409, json={"detail": {"reason": "not_running", "current_state": "failed"}})
            if refused is not None and path.startswith(refused):
                return httpx.Response(409, json={"detail": {"reason": "already_exists", "message": "there is one"}})
            if path.startswith("/task-reschedules/"):
                return httpx.Response(200, json=datetime.now(timezone.utc).isoformat())
            if path.startswith("/xcoms/") and request.method == "HEAD":
                return httpx.Response(200, headers={"Content-Range": "map_indexes 3"})
            return httpx.Response(200, json={"ok": True})

        ti = TaskInstance(
            id=uuid.uuid4(), task_id=task_id, dag_id=dag_id, run_id=dag_run_id, try_number=try_number,
            dag_version_id=uuid.uuid4(), map_index=map_index,
        )  # fmt: skip
        client = Client(base_url=None, token="", transport=httpx.MockTransport(answer), dry_run=True)
        started = time.perf_counter()
        result = supervise_task(
            ti=ti, bundle_info=BundleInfo(name="dags-folder"), dag_rel_path=dag_file, token="", client=client
        )
        outcome.seconds = time.perf_counter() - started
        outcome.exit_code = getattr(result, "exit_code", result)
        return outcome

    yield run
    gc.collect()  # what Airflow left to the collector is collected here, where it is forgiven


@pytest.fixture
def captured(isolated_home: Path) -> Callable[[], Captured]:
    """Everything that the task processes left in the spool."""

    transport = MemoryTransport()

    def read() -> Captured:
        with XRay("reader", transport=transport, api_url=NOBODY) as reader:
            reader.sync_offline()
        return Captured([record for record in transport.records if record["kind"] != "client"])

    return read


NOON = "2024-01-01T12:00:00Z"
_CONTEXT: dict[str, Any] = {"max_tries": 1, "should_retry": False}


def _dag_run(dag_id: str, run_id: str, conf: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "dag_id": dag_id, "run_id": run_id, "logical_date": NOON, "data_interval_start": None, "data_interval_end": None,
        "end_date": None, "state": "running", "partition_key": None, "start_date": NOON, "run_type": "manual",
        "run_after": NOON, "conf": conf or {}, "consumed_asset_events": [],
    }  # fmt: skip


def _has_verdicts(home: Path) -> bool:
    return any(b'"slept"' in path.read_bytes() for path in (home / "spool").rglob("*") if path.is_file())
