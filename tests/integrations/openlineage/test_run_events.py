"""Events of runs and steps, as the client of the OpenLineage project writes them, and as its published classes read them.

Tests run_events.py, queue.py and plugin.py; airflow.py is tested beside a real Airflow (test_beside_airflow.py).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import xray_openlineage
from dateutil.parser import isoparse
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    error_message_run,
    input_statistics_input_dataset,
    job_type_job,
    output_statistics_output_dataset,
    parent_run,
)
from openlineage.client.transport.file import FileConfig, FileTransport
from openlineage.client.transport.noop import NoopConfig, NoopTransport
from xray_openlineage import events
from xray_openlineage.queue import MAX_WAITING, EventQueue

from xray_core import XRay
from xray_core.transport.memory import MemoryTransport

RUN_ID = "01993f2a-0000-7000-8000-000000000001"
# the published class of each standard facet; whatever it does not have is no field of the standard
STANDARD = {
    "inputStatistics": input_statistics_input_dataset.InputStatisticsInputDatasetFacet,
    "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet,
    "jobType": job_type_job.JobTypeJobFacet,
    "parent": parent_run.ParentRunFacet,
    "errorMessage": error_message_run.ErrorMessageRunFacet,
}


def told(tmp_path: Path, fails: bool = False) -> list[Any]:
    """The events of one run, as the client wrote them into a file."""
    path = tmp_path / "events.json"
    plugin = events(OpenLineageClient(transport=FileTransport(FileConfig(log_file_path=str(path), append=True))))
    client = XRay("shop", transport=MemoryTransport(), plugins=[plugin], api_url="http://xray.example")
    try:
        with client.run(run_id=RUN_ID) as run, run.step("cut", step_type="filter") as step:
            step.set_input_count(3)
            step.reject("a", "too_dear")
            step.reject("b", "too_dear")
            step.accept("c")
            if fails:
                raise ValueError("no stock")
    except ValueError:
        assert fails
    client.close()
    assert plugin._queue is not None
    assert plugin._queue.wait(20)
    return [json.loads(line) for line in path.read_text().splitlines()]


def check(event: Mapping[str, Any]) -> None:
    """Every field is one that the published classes have, and what they demand is there."""
    facets: list[tuple[str, Mapping[str, Any]]] = [*event["run"]["facets"].items(), *event["job"]["facets"].items()]
    facets += [pair for each in event.get("inputs", ()) for pair in each["inputFacets"].items()]
    facets += [pair for each in event.get("outputs", ()) for pair in each["outputFacets"].items()]
    for name, facet in facets:
        assert facet["_producer"].startswith("https://")
        assert "#/$defs/" in facet["_schemaURL"]
        if name in STANDARD:
            STANDARD[name](**{field: value for field, value in facet.items() if not field.startswith("_")})
        else:
            assert name in ("xray_decisions", "tags")  # the client itself adds tags of its own
    isoparse(event["eventTime"])
    uuid.UUID(event["run"]["runId"])
    job = Job(event["job"]["namespace"], event["job"]["name"])
    inputs = [InputDataset(each["namespace"], each["name"]) for each in event.get("inputs", ())]
    outputs = [OutputDataset(each["namespace"], each["name"]) for each in event.get("outputs", ())]
    RunEvent(eventTime=event["eventTime"], producer=event["producer"], run=Run(event["run"]["runId"]), job=job,
             eventType=RunState(event["eventType"]), inputs=inputs, outputs=outputs)  # fmt: skip


def test_a_run_and_its_steps_become_jobs_with_row_counts_and_decisions(tmp_path: Path) -> None:
    run_began, step_began, step_ended, run_ended = told(tmp_path)
    for event in (run_began, step_began, step_ended, run_ended):
        check(event)
    kinds = [(e["eventType"], e["job"]["name"]) for e in (run_began, step_began, step_ended, run_ended)]
    assert kinds == [("START", "shop"), ("START", "shop.cut"), ("COMPLETE", "shop.cut"), ("COMPLETE", "shop")]
    assert run_began["run"]["runId"] == run_ended["run"]["runId"] == RUN_ID
    assert step_began["run"]["runId"] == step_ended["run"]["runId"]
    assert step_ended["run"]["facets"]["parent"]["run"]["runId"] == RUN_ID
    assert step_ended["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"] == 3
    assert step_ended["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 1
    decided = step_ended["run"]["facets"]["xray_decisions"]
    assert decided["reasons"] == {"rejected": {"too_dear": 2}}
    assert decided["ledger"]["rejected"] == 2
    assert decided["url"] == f"http://xray.example/ui/runs/{RUN_ID}"
    assert step_began["eventTime"] <= step_ended["eventTime"]


def test_a_second_client_of_a_process_has_events_of_its_own() -> None:
    """The name is the function's still, once the module that makes events was imported."""
    first, second = (
        xray_openlineage.events(OpenLineageClient(transport=NoopTransport(NoopConfig()))) for _ in range(2)
    )
    assert first is not second


def test_what_fails_is_told_as_failed_with_its_error(tmp_path: Path) -> None:
    written = told(tmp_path, fails=True)
    for event in written:
        check(event)
    assert [event["eventType"] for event in written] == ["START", "START", "FAIL", "FAIL"]
    assert written[2]["run"]["facets"]["errorMessage"]["message"] == "no stock"


def test_the_ids_of_one_run_are_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    first = [event["run"]["runId"] for event in told(tmp_path / "a")]
    second = [event["run"]["runId"] for event in told(tmp_path / "b")]
    assert first[0] == second[0] == RUN_ID


@pytest.mark.swallows
def test_a_lineage_server_that_is_away_costs_events_and_nothing_else() -> None:
    class Away:
        def emit(self, event: Any) -> None:
            raise ConnectionError("away")

    plugin = events(Away())
    client = XRay("shop", transport=MemoryTransport(), plugins=[plugin])
    with client.run() as run, run.step("cut") as step:
        step.accept("c")
    client.close()
    assert plugin._queue is not None
    assert plugin._queue.wait(20)


def test_the_queue_is_bounded_and_counts_what_it_drops() -> None:
    import threading

    gate = threading.Event()

    class Slow:
        def emit(self, event: Any) -> None:
            gate.wait(30)

    queue = EventQueue(Slow())
    for number in range(MAX_WAITING + 10):
        queue.put(number)
    assert queue.dropped == 10
    assert not queue.wait(0)
    gate.set()
    assert queue.wait(30)
