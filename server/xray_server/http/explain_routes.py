"""The routes that explain: why, compare, the item across runs, search inside details, trends.

Owns their parameters and what HTTP makes of their answers; the answers themselves are made in `xray_server.read`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import FastAPI, Query, Request, Response

from xray_server.access.admission import Project
from xray_server.answers import JsonResponse
from xray_server.http import models
from xray_server.http.explain_params import (
    DecisionsParameters,
    DiffParameters,
    ItemParameters,
    TrendsParameters,
    decisions_parameters,
)
from xray_server.http.many_routes import add_many_routes
from xray_server.http.openapi import NOT_FOUND, READ_ERRORS, answer
from xray_server.http.params import NoParameters
from xray_server.read import diff, item_history, sample_search, trends, why
from xray_server.store import Store

_ERRORS: Final = NOT_FOUND | READ_ERRORS

_DECISIONS: Final[dict[str, Any]] = {
    "parameters": [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in DecisionsParameters.model_json_schema()["properties"].items()
    ]
    + [
        {
            "name": "details",
            "in": "query",
            "required": False,
            "style": "form",
            "explode": True,
            "description": "details.PATH=value, details.PATH_gt / _lt / _gte / _lte / _exists; dots for nested keys",
            "schema": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 0},
        }
    ],
}


def add_explain_routes(app: FastAPI, store: Store) -> None:
    """Mount the routes on the application."""
    add_many_routes(app, store)

    @app.get("/runs/{run_id:id}/items/{item_id:id}", responses=answer(models.Why) | _ERRORS, tags=["explain"])
    def get_why(run_id: str, item_id: str, project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """What became of one item in one run, step by step, and how certain that is."""
        return JsonResponse(why.why(store, project, run_id, item_id).as_json())

    @app.get("/runs/{a:id}/diff/{b:id}", responses=answer(models.Diff) | _ERRORS, tags=["explain"])
    def get_diff(a: str, b: str, project: Project, query: Annotated[DiffParameters, Query()]) -> Response:
        """Where run b first differs from run a. `baseline` for b: where a first differs from the baseline of its pipeline."""
        chosen = query.chosen()
        if b == diff.BASELINE and store.run(project, b) is None:
            return JsonResponse(diff.diff_to_baseline(store, project, a, query.baseline, chosen).as_json())
        return JsonResponse(diff.diff(store, project, a, b, chosen).as_json())

    @app.get("/items/{item_id:id}", responses=answer(models.ItemAcrossRuns) | _ERRORS, tags=["explain"])
    def get_item(item_id: str, project: Project, query: Annotated[ItemParameters, Query()]) -> Response:
        """The runs that hold an item, with what each step said of it; those whose verdicts arrived last first."""
        return JsonResponse(
            item_history.history(store, project, item_id, query.chosen(), limit=query.limit, cursor=query.cursor)
        )

    @app.get("/decisions", responses=answer(models.Decisions) | _ERRORS, tags=["explain"], openapi_extra=_DECISIONS)
    def get_decisions(request: Request, project: Project) -> Response:
        """Search inside samples, newest steps first; the first page estimates how many items match in truth."""
        query, tests = decisions_parameters(request.query_params.multi_items())
        return JsonResponse(
            sample_search.search(
                store,
                project,
                query.chosen(tests),
                limit=query.limit,
                cursor=query.cursor,
                estimate_ms=query.estimate_ms,
            )
        )

    @app.get("/trends", responses=answer(models.Trends) | _ERRORS, tags=["explain"])
    def get_trends(project: Project, query: Annotated[TrendsParameters, Query()]) -> Response:
        """Ledger and reason mix per bucket of time, pipeline and step, oldest first."""
        since_us, until_us = query.times()
        return JsonResponse(
            trends.trends(
                store, project, pipeline=query.pipeline, name=query.step, since_us=since_us, until_us=until_us,
                bucket=query.bucket, numbers=query.numbers,
            )
        )  # fmt: skip
