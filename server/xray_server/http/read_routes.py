"""The routes that read: runs, one run, steps across runs. The answers are made in `xray_server.read.runs`."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Response

from xray_server.access.admission import Project
from xray_server.answers import JsonResponse
from xray_server.errors import UnknownRunError
from xray_server.http import downloads, models
from xray_server.http.openapi import NOT_FOUND, READ_ERRORS, answer
from xray_server.http.params import RunParameters, RunsParameters, SearchParameters, StepsParameters, chosen_fields
from xray_server.read import runs, text_search
from xray_server.store import Store


def add_read_routes(app: FastAPI, store: Store) -> None:
    """Mount the routes on the application."""

    @app.get("/runs", responses=answer(models.RunList, files=True) | READ_ERRORS, tags=["read"])
    def get_runs(project: Project, query: Annotated[RunsParameters, Query()]) -> Response:
        """Runs, newest first."""
        found = runs.list_runs(
            store, project, query.where(), limit=query.limit, cursor=query.cursor, fields=chosen_fields(query.fields)
        )
        return JsonResponse(found) if query.format == "json" else downloads.table([found["runs"]], query.format, "runs")

    @app.get(
        "/runs/{run_id:id}",
        responses=answer(models.Run) | READ_ERRORS | NOT_FOUND,
        tags=["read"],
    )
    def get_run(run_id: str, project: Project, query: Annotated[RunParameters, Query()]) -> Response:
        """One run with its steps, in pages of steps."""
        run = runs.one_run(store, project, run_id, limit=query.limit, cursor=query.cursor, samples=query.samples)
        if run is None:
            raise UnknownRunError(run_id)
        return JsonResponse(run)

    @app.get("/search", responses=answer(models.Search) | READ_ERRORS, tags=["read"])
    def get_search(project: Project, query: Annotated[SearchParameters, Query()]) -> Response:
        """Runs, pipelines, tags, steps, reasons, items, error texts and metadata that begin with a text, with counts."""
        return JsonResponse(text_search.search(store, project, query.q, limit=query.limit, budget_ms=query.budget_ms))

    @app.get("/steps", responses=answer(models.StepList, files=True) | READ_ERRORS, tags=["read"])
    def get_steps(project: Project, query: Annotated[StepsParameters, Query()]) -> Response:
        """Steps across runs, newest first; all filters given must hold."""
        found = runs.list_steps(
            store, project, query.where(), limit=query.limit, cursor=query.cursor, fields=chosen_fields(query.fields)
        )
        return (
            JsonResponse(found) if query.format == "json" else downloads.table([found["steps"]], query.format, "steps")
        )
