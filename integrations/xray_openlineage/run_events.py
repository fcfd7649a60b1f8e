"""Runs and steps as OpenLineage events: a job for the pipeline and one for each step, row counts, and what was decided.

A step is sent when it has ended: START with its own time, then COMPLETE, FAIL or ABORT. A task that Airflow's provider reports itself
gets one OTHER event more, under the provider's job and run, with the facet alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

import attr
from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    JobFacet,
    RunFacet,
    error_message_run,
    input_statistics_input_dataset,
    job_type_job,
    output_statistics_output_dataset,
    parent_run,
)

from xray_core import hookimpl
from xray_core.addresses import path_segment
from xray_core.model import derived_id
from xray_openlineage.airflow import provider_ids
from xray_openlineage.queue import EventQueue

if TYPE_CHECKING:
    from xray_core.capture.run import Run as XRayRun
    from xray_core.capture.step import Step

PRODUCER: Final = "https://pypi.org/project/xray-pipelines"
_ENDED: Final = {"completed": RunState.COMPLETE, "failed": RunState.FAIL, "skipped": RunState.ABORT}
_MAX_REASONS: Final = 100
_LEAVING_S: Final = 1.0  # for a task's process, which Airflow ends at once


@attr.define(kw_only=True)
class XRayDecisionsRunFacet(RunFacet):
    """`xray_decisions`: where a step's items went, and why. Figures that are not known are left out."""

    runId: str  # the names of OpenLineage's fields
    url: str
    step: str | None = None
    stepId: str | None = None
    stepType: str | None = None
    attempt: int | None = None
    inferred: bool | None = None
    ledger: dict[str, int] | None = None
    flags: list[str] | None = None
    reasons: dict[str, dict[str, int]] | None = None


class Events:
    """The plugin. Hooks come from any thread; events leave on one of their own.

    Args:
        client: an `OpenLineageClient`; None: one is made with the first event, as its own configuration says.
    """

    def __init__(self, client: OpenLineageClient | None = None) -> None:
        self._client = client
        self._queue: EventQueue | None = None
        self._api_url = ""
        self._namespace = os.environ.get("OPENLINEAGE_NAMESPACE") or "default"

    @hookimpl
    def xray_configure(self, settings: Any) -> None:
        """Keep the server's address, for links."""
        self._api_url = settings.api_url

    @hookimpl
    def xray_run_started(self, run: XRayRun) -> None:
        """START of the pipeline's job."""
        self._emit(RunState.START, run.times_us[0], Run(_uuid(run.run_id), {}), self._job(run.pipeline, "PIPELINE"))

    @hookimpl
    def xray_run_finished(self, run: XRayRun) -> None:
        """COMPLETE or FAIL of the pipeline's job."""
        facets: dict[str, RunFacet] = {"xray_decisions": self._facet(run.run_id)}
        _add_error(facets, run.error)
        state = _ENDED.get(run.status or "completed", RunState.COMPLETE)
        started_us, ended_us = run.times_us
        event_run = Run(_uuid(run.run_id), facets)
        self._emit(state, ended_us or started_us, event_run, self._job(run.pipeline, "PIPELINE"))

    @hookimpl
    def xray_step_finished(self, step: Step) -> None:
        """The events of a step."""
        started_us, ended_us = step.times_us
        provided = provider_ids(step.origin)
        facets: dict[str, RunFacet] = {"xray_decisions": self._step_facet(step)}
        if provided is not None:
            namespace, name, run_id = provided
            inputs, outputs = self._datasets(step, namespace, name)
            event = (RunState.OTHER, ended_us or started_us, Run(run_id, facets), Job(namespace, name, {}))
            self._emit(*event, inputs=inputs, outputs=outputs)
            assert self._queue is not None
            self._queue.wait(_LEAVING_S)
            return
        name = f"{step.run.pipeline}.{step.name}"
        run_id = _uuid(step.run_id, step.step_id, step.attempt)
        parent = parent_run.ParentRunFacet(
            run=parent_run.Run(_uuid(step.run_id)),
            job=parent_run.Job(self._namespace, step.run.pipeline),
            producer=PRODUCER,
        )
        job = self._job(name, "STEP")
        self._emit(RunState.START, started_us, Run(run_id, {"parent": parent}), job)
        facets["parent"] = parent
        _add_error(facets, step.error)
        inputs, outputs = self._datasets(step, self._namespace, name)
        state = _ENDED.get(step.status or "completed", RunState.COMPLETE)
        self._emit(state, ended_us or started_us, Run(run_id, facets), job, inputs=inputs, outputs=outputs)

    def _emit(self, state: RunState, at_us: int, run: Run, job: Job, *, inputs: Any = (), outputs: Any = ()) -> None:
        if self._queue is None:
            self._queue = EventQueue(self._client or OpenLineageClient())
        at = datetime.fromtimestamp(at_us / 1e6, timezone.utc).isoformat()
        self._queue.put(
            RunEvent(
                eventTime=at,
                producer=PRODUCER,
                run=run,
                job=job,
                eventType=state,
                inputs=list(inputs),
                outputs=list(outputs),
            )
        )

    def _job(self, name: str, kind: str) -> Job:
        facets: dict[str, JobFacet] = {
            "jobType": job_type_job.JobTypeJobFacet(
                processingType="BATCH", integration="XRAY", jobType=kind, producer=PRODUCER
            )
        }
        return Job(self._namespace, name, facets)

    def _datasets(self, step: Step, namespace: str, name: str) -> tuple[list[InputDataset], list[OutputDataset]]:
        """What went in and came out, by its number of items: they have no name of their own but the step's."""
        ledger = step.ledger
        inputs, outputs = [], []
        if ledger.input is not None:
            facet = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
                rowCount=ledger.input, producer=PRODUCER
            )
            inputs = [InputDataset(namespace, f"{name}.input", inputFacets={"inputStatistics": facet})]
        if ledger.accepted is not None:
            out = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                rowCount=ledger.accepted, producer=PRODUCER
            )
            outputs = [OutputDataset(namespace, f"{name}.output", outputFacets={"outputStatistics": out})]
        return inputs, outputs

    def _facet(self, run_id: str, **more: Any) -> XRayDecisionsRunFacet:
        url = f"{self._api_url}/ui/runs/{path_segment(run_id)}"
        return XRayDecisionsRunFacet(runId=run_id, url=url, producer=PRODUCER, **more)

    def _step_facet(self, step: Step) -> XRayDecisionsRunFacet:
        ledger = step.ledger.as_json()
        figures = {name: n for name, n in ledger.items() if isinstance(n, int) and not isinstance(n, bool)}
        reasons = {
            outcome: {reason: n for reason, n in list(by_reason.items())[:_MAX_REASONS] if reason}
            for outcome, by_reason in step.reasons.items()
        }
        return self._facet(
            step.run_id, step=step.name, stepId=step.step_id, stepType=step.step_type, attempt=step.attempt,
            inferred=bool(ledger.get("inferred")), ledger=figures, flags=list(ledger.get("flags", ())),
            reasons={outcome: by_reason for outcome, by_reason in reasons.items() if by_reason},
        )  # fmt: skip


def _uuid(*parts: object) -> str:
    """A run id as OpenLineage has them: X-Ray's own where it is a UUID, else one that follows from it."""
    return derived_id("openlineage", *parts)


def _add_error(facets: dict[str, RunFacet], error: Mapping[str, Any] | None) -> None:
    if error is not None:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(
            message=str(error.get("message") or error.get("type") or "error"), programmingLanguage="PYTHON",
            stackTrace=error.get("traceback"), producer=PRODUCER,
        )  # fmt: skip
