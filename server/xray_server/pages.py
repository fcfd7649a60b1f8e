"""The HTML pages under `/ui`: a list of runs, one run as a funnel, and `/docs`. Knows the read models; no SQL."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import jinja2
from fastapi import FastAPI, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from xray_server import queries
from xray_server.access import Project
from xray_server.params import RunParameters, RunsParameters
from xray_server.store import Store

_HERE: Final = Path(__file__).parent


def add_pages(app: FastAPI, store: Store) -> None:
    """Mount the pages on the application."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    templates.filters["id"] = partial(quote, safe="")

    def page(name: str, status: int = 200, **values: Any) -> Response:
        return HTMLResponse(templates.get_template(name).render(**values), status)

    @app.get("/", include_in_schema=False)
    def root() -> Response:
        return RedirectResponse("/ui")

    @app.get("/ui", include_in_schema=False)
    def runs(project: Project, query: Annotated[RunsParameters, Query()]) -> Response:
        found = queries.list_runs(store, project, query.where(), limit=query.limit, cursor=query.cursor)
        return page("runs.html", **found)

    @app.get("/ui/runs/{run_id:id}", include_in_schema=False)
    def run(run_id: str, project: Project, query: Annotated[RunParameters, Query()]) -> Response:
        found = queries.one_run(store, project, run_id, limit=query.limit, cursor=query.cursor, samples=0)
        if found is None:
            return page("missing.html", 404, run_id=run_id[:256])
        widest = max((step["ledger"]["input"] for step in found["steps"]), default=0)
        return page("run.html", run=found, widest=max(1, widest))

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return page("docs.html", api=app.openapi())

    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
