"""The routes that explain: why, compare, the item across runs, search inside details, trends.

Owns their parameters and what HTTP makes of their answers; the answers themselves are made in explain*.py and queries.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import FastAPI, Query, Request, Response

from xray_server.access.admission import Project
from xray_server.http.explain_params import DecisionsParameters, ItemParameters, TrendsParameters, decisions_parameters
from xray_server.http.params import NoParameters
from xray_server.read import diff as explain_diff
from xray_server.read import sample_search as decisions
from xray_server.read import trends
from xray_server.read import why as explain
from xray_server.read.diff import BASELINE, NoBaselineError
from xray_server.read.why import UnknownRunError
from xray_server.store import Store

_ERROR: Final[dict[int | str, dict[str, Any]]] = {
    404: {"description": "no such run"},
    422: {"description": "a parameter is wrong"},
    503: {"description": "store unavailable"},
}

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


def add_explanations(app: FastAPI, store: Store) -> None:
    """Mount the routes on the application."""

    @app.exception_handler(UnknownRunError)
    async def unknown_run(_: Request, error: UnknownRunError) -> Response:
        detail = [{"loc": [error.field], "field": error.field, "msg": str(error)}]
        return _json({"error": str(error), "detail": detail}, 404)

    @app.exception_handler(NoBaselineError)
    async def no_baseline(_: Request, error: NoBaselineError) -> Response:
        detail = [{"loc": ["b"], "field": "b", "msg": str(error)}]
        return _json({"error": str(error), "detail": detail}, 404)

    @app.get("/runs/{run_id:id}/items/{item_id:id}", responses=_ERROR, tags=["explain"])
    def get_why(run_id: str, item_id: str, project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """What became of one item in one run, step by step, and how certain that is."""
        return _json(explain.why(store, project, run_id, item_id).as_json())

    @app.get("/runs/{a:id}/diff/{b:id}", responses=_ERROR, tags=["explain"])
    def get_diff(a: str, b: str, project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """Where run b parts from run a. `baseline` for b: where a parts from the last good run of its pipeline."""
        if b == BASELINE and store.run(project, b) is None:
            return _json(explain_diff.diff_to_baseline(store, project, a).as_json())
        return _json(explain_diff.diff(store, project, a, b).as_json())

    @app.get("/items/{item_id:id}", responses=_ERROR, tags=["explain"])
    def get_item(item_id: str, project: Project, query: Annotated[ItemParameters, Query()]) -> Response:
        """The runs that hold an item, with what each step said of it; those whose verdicts arrived last first."""
        return _json(
            explain.item_across_runs(
                store, project, item_id, pipeline=query.pipeline, limit=query.limit, cursor=query.cursor
            )
        )

    @app.get("/decisions", responses=_ERROR, tags=["explain"], openapi_extra=_DECISIONS)
    def get_decisions(request: Request, project: Project) -> Response:
        """Search inside samples, newest steps first; the first page estimates how many items match in truth."""
        query, tests = decisions_parameters(request.query_params.multi_items())
        return _json(
            decisions.search(
                store,
                project,
                query.chosen(tests),
                limit=query.limit,
                cursor=query.cursor,
                estimate_ms=query.estimate_ms,
            )
        )

    @app.get("/trends", responses=_ERROR, tags=["explain"])
    def get_trends(project: Project, query: Annotated[TrendsParameters, Query()]) -> Response:
        """Ledger and reason mix per bucket of time, pipeline and step, oldest first."""
        since_us, until_us = query.times()
        return _json(
            trends.trends(
                store, project, pipeline=query.pipeline, name=query.step, since_us=since_us, until_us=until_us,
                bucket=query.bucket,
            )
        )  # fmt: skip


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
