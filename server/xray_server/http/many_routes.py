"""The routes that ask about many items and many runs. The answers are made in `xray_server.read`."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import FastAPI, Query, Response

from xray_server.access.admission import Project
from xray_server.answers import JsonResponse
from xray_server.http import downloads, models
from xray_server.http.explain_params import ItemsParameters, WhatIfParameters
from xray_server.http.many_params import (
    AboveParameters,
    GroupsParameters,
    SeparatesParameters,
    SideBySideParameters,
    StabilityParameters,
)
from xray_server.http.openapi import NOT_FOUND, READ_ERRORS, answer
from xray_server.http.params import window
from xray_server.read import above, groups, item_list, separates, side_by_side, stability, what_if
from xray_server.store import Store

_ERRORS: Final = NOT_FOUND | READ_ERRORS


def add_many_routes(app: FastAPI, store: Store) -> None:
    """Mount the routes on the application."""

    @app.get("/runs/{run_id:id}/items", responses=answer(models.ItemList, files=True) | _ERRORS, tags=["explain"])
    def get_items(run_id: str, project: Project, query: Annotated[ItemsParameters, Query()]) -> Response:
        """All items of a run, of a step, outcome or reason: by name where names are kept, sorted by it."""
        if query.format == "json":
            found = item_list.page(store, project, run_id, query.chosen(), limit=query.limit, cursor=query.cursor)
            return JsonResponse(found)
        rows = item_list.rows_of_all(store, project, run_id, query.chosen())
        return downloads.table(rows, query.format, f"items-{run_id}")

    @app.get("/runs/{run_id:id}/whatif", responses=answer(models.WhatIf) | _ERRORS, tags=["explain"])
    def get_what_if(run_id: str, project: Project, query: Annotated[WhatIfParameters, Query()]) -> Response:
        """Who would change at a step if its limit were another, by the values that its verdicts declared."""
        return JsonResponse(what_if.what_if(store, project, run_id, **query.model_dump()))

    @app.get("/groups/diff", responses=answer(models.GroupsDiff) | _ERRORS, tags=["explain"])
    def get_groups(project: Project, query: Annotated[GroupsParameters, Query()]) -> Response:
        """What differs between two groups of runs: steps, reasons, since when, where, and what else changed."""
        a, b = query.groups()
        found = groups.compare_groups(store, project, a, b, (query.a, query.b), by=query.fields(), max_runs=query.runs)
        return JsonResponse(found)

    @app.get("/stability", responses=answer(models.Stability) | _ERRORS, tags=["explain"])
    def get_stability(project: Project, query: Annotated[StabilityParameters, Query()]) -> Response:
        """How often items' verdicts are others in another run of the same input, and which step makes it so."""
        return JsonResponse(
            stability.stability(
                store, project, query.pipeline, same_input=query.same_input, runs=query.runs, step=query.step
            )
        )

    @app.get("/runs/{run_id:id}/above", responses=answer(models.Above) | _ERRORS, tags=["explain"])
    def get_above(run_id: str, project: Project, query: Annotated[AboveParameters, Query()]) -> Response:
        """Why item a stands above item b: the step that decided, both scores, ranks and components where captured."""
        return JsonResponse(above.above(store, project, run_id, query.a, query.b))

    @app.get("/diff", responses=answer(models.SideBySide) | _ERRORS, tags=["explain"])
    def get_side_by_side(project: Project, query: Annotated[SideBySideParameters, Query()]) -> Response:
        """Several runs side by side: steps as rows, runs as columns, and the run that is unlike the others."""
        return JsonResponse(side_by_side.side_by_side(store, project, query.ids()))

    @app.get("/separates", responses=answer(models.Separates) | _ERRORS, tags=["explain"])
    def get_separates(project: Project, query: Annotated[SeparatesParameters, Query()]) -> Response:
        """The few conditions over captured fields that tell a step's rejected items from those it let through."""
        since_us, until_us = window(query.since, query.until)
        found = separates.separates(
            store, project, step=query.step, run_id=query.run, pipeline=query.pipeline, reason=query.reason,
            since_us=since_us, until_us=until_us,
        )  # fmt: skip
        return JsonResponse(found)
