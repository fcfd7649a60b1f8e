"""The pages of items: all of a run's step, what if a limit were another, one above another, one over time. Knows HTTP; no SQL."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response

from xray_core.model import OUTCOMES
from xray_server.access.admission import Project
from xray_server.errors import NotKnownError
from xray_server.pages.rendering import Pages
from xray_server.pages.views import AboveView, HistoryView, ItemsView, WhatIfView
from xray_server.read import above, item_history, item_list, runs, what_if
from xray_server.read.why import known_run
from xray_server.store import Store

ITEMS_PER_PAGE: Final = 100
RUNS_PER_PAGE: Final = 50


def add_item_pages(app: FastAPI, store: Store, pages: Pages) -> None:
    """Mount the pages on the application."""

    @app.get("/ui/runs/{run_id:id}/items", include_in_schema=False)
    def get_items(run_id: str, request: Request, project: Project, query: Annotated[ItemsView, Query()]) -> Response:
        if store.run(project, run_id) is None:
            return pages.missing(request, "run", run_id)
        where = query.chosen()
        found = item_list.page(store, project, run_id, where, limit=ITEMS_PER_PAGE, cursor=query.cursor)
        return pages.page(
            "items.html",
            request,
            run=runs.run_json(known_run(store, project, run_id)),
            found=found,
            valued=any(each["value"] is not None for each in found["items"]),
            outcomes=[*OUTCOMES, "in", "out"],
        )

    @app.get("/ui/runs/{run_id:id}/whatif", include_in_schema=False)
    def get_what_if(run_id: str, request: Request, project: Project, query: Annotated[WhatIfView, Query()]) -> Response:
        run = store.run(project, run_id)
        if run is None:
            return pages.missing(request, "run", run_id)
        found, problem = None, ""
        try:
            found = what_if.what_if(store, project, run_id, **query.model_dump())
        except NotKnownError as error:
            problem = str(error)
        return pages.page("whatif.html", request, run=runs.run_json(run), found=found, problem=problem)

    @app.get("/ui/runs/{run_id:id}/above", include_in_schema=False)
    def get_above(run_id: str, request: Request, project: Project, query: Annotated[AboveView, Query()]) -> Response:
        run = store.run(project, run_id)
        if run is None:
            return pages.missing(request, "run", run_id)
        found = above.above(store, project, run_id, query.a, query.b) if query.a and query.b else None
        return pages.page("above.html", request, run=runs.run_json(run), found=found)

    @app.get("/ui/items/{item_id:id}", include_in_schema=False)
    def get_history(
        item_id: str, request: Request, project: Project, query: Annotated[HistoryView, Query()]
    ) -> Response:
        found = item_history.history(store, project, item_id, query.chosen(), limit=RUNS_PER_PAGE, cursor=query.cursor)
        return pages.page("history.html", request, found=found, outcomes=OUTCOMES)
