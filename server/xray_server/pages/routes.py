"""The HTML pages under `/ui`: their routes and what they have in common. Knows HTTP and the pages' models; no SQL.

The state of a page is its address: every view, sort and filter is a link. A page of something that still runs is fetched
again by `static/xray.js` while it says so (`data-live`), and not once it has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated
from urllib.parse import quote

from fastapi import FastAPI, Query, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from xray_core.model import STEP_TYPES
from xray_server.access.admission import Asker, Identity, Project
from xray_server.pages import compare as pages_compare
from xray_server.pages import formatting as pages_words
from xray_server.pages import run as pages_run
from xray_server.pages import search as pages_find
from xray_server.pages.rendering import HERE, Given, Pages
from xray_server.pages.views import CompareView, GroupView, ItemView, RunsView, RunView, SearchView, StepsView, StepView
from xray_server.read import runs as queries
from xray_server.store import Store


def add_pages(app: FastAPI, store: Store, health: Callable[[Identity], queries.Json]) -> Pages:
    """Mount the pages on the application. `health` answers an asker what `/health` does."""
    pages = Pages()
    page = pages.page

    @app.get("/", include_in_schema=False)
    def root() -> Response:
        return RedirectResponse("/ui")

    @app.get("/ui", include_in_schema=False)
    def runs(request: Request, project: Project, query: Annotated[RunsView, Query()]) -> Response:
        address = str(request.base_url).rstrip("/")
        lines, next_cursor = pages_run.run_lines(store, project, query.where(), cursor=query.cursor)
        asked = Given((k, v) for k, v in request.query_params.items() if k not in ("cursor", "limit") and v)
        return page(
            "runs.html", request,
            lines=lines, strip=pages_run.strip(lines), next_cursor=next_cursor, asked=asked, pipelines=store.pipelines(project),
            address=address, first_run=pages_words.first_run(address),
        )  # fmt: skip

    @app.get("/ui/runs/{run_id:id}", include_in_schema=False)
    def run(run_id: str, request: Request, project: Project, query: Annotated[RunView, Query()]) -> Response:
        found = pages_run.run_page(
            store, project, run_id,
            view=query.view, scale=query.scale, offset=query.offset, now_us=time.time_ns() // 1000,
            item=query.item,
        )  # fmt: skip
        if found is None:
            return missing(request, "run", run_id)
        return page("run.html", request, about=found, run=found.run, view=query.view)

    @app.get("/ui/runs/{run_id:id}/steps", include_in_schema=False)
    def group(run_id: str, request: Request, project: Project, query: Annotated[GroupView, Query()]) -> Response:
        found = pages_run.group_page(store, project, run_id, query.name, cursor=query.cursor)
        if found is None:
            return missing(request, "run", run_id)
        return page("group.html", request, about=found, run=found.run)

    @app.get("/ui/runs/{run_id:id}/steps/{step_id:id}", include_in_schema=False)
    def step(
        run_id: str, step_id: str, request: Request, project: Project, query: Annotated[StepView, Query()]
    ) -> Response:
        found = pages_run.step_page(
            store, project, run_id, step_id,
            attempt=query.attempt, sort=query.sort, outcome=query.outcome or None, reason=query.reason, offset=query.offset,
        )  # fmt: skip
        if found is None:
            return missing(request, "step", step_id)
        return page("step.html", request, about=found, run=found.run, step=found.step, sort=query.sort)

    @app.get("/ui/runs/{run_id:id}/items/{item_id:id}", include_in_schema=False)
    def item(
        run_id: str, item_id: str, request: Request, project: Project, query: Annotated[ItemView, Query()]
    ) -> Response:
        found = pages_find.item_page(store, project, run_id, item_id, offset=query.offset)
        if found is None:
            return missing(request, "run", run_id)
        return page("item.html", request, about=found, why=found.why, run=found.run)

    @app.get("/ui/steps", include_in_schema=False)
    def steps(request: Request, project: Project, query: Annotated[StepsView, Query()]) -> Response:
        where = query.where()
        found = queries.list_steps(
            store, project, where, limit=min(query.limit, pages_find.STEPS_PER_PAGE), cursor=query.cursor
        )
        trend = pages_find.trend(
            store, project, pipeline=where.pipeline, name=where.name, since_us=where.since_us,
            until_us=where.until_us or time.time_ns() // 1000,
        )  # fmt: skip
        asked = Given((k, v) for k, v in request.query_params.items() if k not in ("cursor", "limit") and v)
        return page(
            "steps.html", request,
            steps=found["steps"], next_cursor=found["next_cursor"], trend=trend, asked=asked,
            pipelines=store.pipelines(project), step_types=list(STEP_TYPES),
        )  # fmt: skip

    @app.get("/ui/compare", include_in_schema=False)
    def compare(request: Request, project: Project, query: Annotated[CompareView, Query()]) -> Response:
        known = [run_id for run_id in (query.a, query.b) if run_id is not None]
        for run_id in known:
            if store.run(project, run_id) is None:
                return missing(request, "run", run_id)
        about = None
        if query.a is not None and query.b is not None:
            about = pages_compare.compare_page(store, project, query.a, query.b, offset=query.offset)
        last = store.run(project, known[-1]) if known else None
        choices = pages_compare.choices(store, project, None if last is None else last.state["pipeline"])
        return page("compare.html", request, about=about, choices=choices, shown=pages_compare.MAX_FLIPPED_SHOWN)

    @app.get("/ui/search", include_in_schema=False)
    def search(request: Request, project: Project, query: Annotated[SearchView, Query()]) -> Response:
        text = query.q.strip()
        if not text:
            return RedirectResponse("/ui")
        found = pages_find.search(store, project, text)
        if found.run is not None and not found.item_runs:
            return RedirectResponse(f"/ui/runs/{quote(text, safe='')}")
        return page("search.html", request, found=found)

    @app.get("/ui/health", include_in_schema=False)
    def healthy(request: Request, asker: Asker) -> Response:
        return page("health.html", request, health=health(asker))

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> Response:
        return page("docs.html", request, api=app.openapi())

    def missing(request: Request, kind: str, name: str) -> Response:
        return page("missing.html", request, 404, kind=kind, name=name)

    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    return pages
