"""The HTML pages under `/ui`: their routes. Knows HTTP and the pages' models; no SQL.

The state of a page is its address: every view, sort and filter is a link. A page of something that still runs is fetched
again by `static/xray.js` while it says so (`data-live`), and not once it has ended.
"""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from xray_core.addresses import path_segment
from xray_core.model import STEP_TYPES
from xray_server.access.admission import Asker, Project
from xray_server.http.health import HealthReport
from xray_server.http.prefix import base
from xray_server.pages import compare, formatting, list_order, run, search
from xray_server.pages.api import operations
from xray_server.pages.groups import add_group_pages
from xray_server.pages.items import add_item_pages
from xray_server.pages.rendering import HERE, Given, Pages
from xray_server.pages.views import CompareView, GroupView, ItemView, RunsView, RunView, SearchView, StepsView, StepView
from xray_server.read import runs
from xray_server.read.text_search import MAX_BUDGET_MS
from xray_server.store import Store


def add_pages(app: FastAPI, store: Store, pages: Pages, health: HealthReport) -> None:
    """Mount the pages and the static files on the application."""
    _add_list_pages(app, store, pages)
    _add_run_pages(app, store, pages)
    _add_step_pages(app, store, pages)
    _add_question_pages(app, store, pages)
    add_item_pages(app, store, pages)
    add_group_pages(app, store, pages)

    @app.get("/ui/health", include_in_schema=False)
    def get_health(request: Request, asker: Asker) -> Response:
        return pages.page("health.html", request, health=health.report(asker.project, whole=asker.may("admin")))

    @app.get("/docs", include_in_schema=False)
    def get_docs(request: Request) -> Response:
        return pages.page("docs.html", request, groups=operations(app.openapi()))

    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")


def _add_list_pages(app: FastAPI, store: Store, pages: Pages) -> None:
    """Runs, and steps across runs."""

    @app.get("/", include_in_schema=False)
    def get_root() -> Response:
        return RedirectResponse("/ui")

    @app.get("/ui", include_in_schema=False)
    def get_runs(request: Request, project: Project, query: Annotated[RunsView, Query()]) -> Response:
        address = str(request.base_url).rstrip("/") + base()
        lines, next_cursor = run.run_lines(store, project, query.where(), cursor=query.cursor)
        return pages.page(
            "runs.html",
            request,
            lines=list_order.sorted_lines(lines, query.sort),
            first_bad=list_order.first_bad([line.run for line in lines]),
            sort=query.sort,
            strip=run.strip(lines),
            next_cursor=next_cursor,
            asked=Given.of_list(request),
            pipelines=store.pipelines(project),
            address=address,
            first_run=formatting.first_run(address),
        )

    @app.get("/ui/steps", include_in_schema=False)
    def get_steps(request: Request, project: Project, query: Annotated[StepsView, Query()]) -> Response:
        where = query.where()
        limit = min(query.limit, search.STEPS_PER_PAGE)
        found = runs.list_steps(store, project, where, limit=limit, cursor=query.cursor)
        now_us = time.time_ns() // 1000
        until_us = where.until_us or now_us
        trend = search.trend(
            store, project, pipeline=where.pipeline, name=where.name, since_us=where.since_us, until_us=until_us
        )
        return pages.page(
            "steps.html",
            request,
            steps=list_order.sorted_steps(found["steps"], query.sort),
            sort=query.sort,
            believed=formatting.completeness(*((step["status"], step["dropped"]) for step in found["steps"])),
            next_cursor=found["next_cursor"],
            trend=trend,
            before=search.before(where.pipeline, where.since_us, where.until_us, now_us=now_us),
            over_time=search.over_time(where.pipeline, where.name),
            asked=Given.of_list(request),
            pipelines=store.pipelines(project),
            step_types=list(STEP_TYPES),
        )


def _add_run_pages(app: FastAPI, store: Store, pages: Pages) -> None:
    """One run, and the steps of one name in it."""

    @app.get("/ui/runs/{run_id:id}", include_in_schema=False)
    def get_run(run_id: str, request: Request, asker: Asker, query: Annotated[RunView, Query()]) -> Response:
        about = run.run_page(
            store,
            asker.project,
            run_id,
            view=query.view,
            scale=query.scale,
            offset=query.offset,
            now_us=time.time_ns() // 1000,
            item=query.item,
        )
        if about is None:
            return pages.missing(request, "run", run_id)
        may_mark = asker.may("admin")
        return pages.page("run.html", request, about=about, run=about.run, view=query.view, may_mark=may_mark)

    @app.get("/ui/runs/{run_id:id}/steps", include_in_schema=False)
    def get_group(run_id: str, request: Request, project: Project, query: Annotated[GroupView, Query()]) -> Response:
        about = run.group_page(
            store, project, run_id, query.name, cursor=query.cursor, sort=query.sort, status=query.status
        )
        if about is None:
            return pages.missing(request, "run", run_id)
        return pages.page("group.html", request, about=about, run=about.run, sort=query.sort)


def _add_step_pages(app: FastAPI, store: Store, pages: Pages) -> None:
    """One step, and one item in a run."""

    @app.get("/ui/runs/{run_id:id}/steps/{step_id:id}", include_in_schema=False)
    def get_step(
        run_id: str, step_id: str, request: Request, project: Project, query: Annotated[StepView, Query()]
    ) -> Response:
        about = run.step_page(
            store,
            project,
            run_id,
            step_id,
            attempt=query.attempt,
            sort=query.sort,
            outcome=query.outcome or None,
            reason=query.reason,
            offset=query.offset,
        )
        if about is None:
            return pages.missing(request, "step", step_id)
        return pages.page("step.html", request, about=about, run=about.run, step=about.step, sort=query.sort)

    @app.get("/ui/runs/{run_id:id}/items/{item_id:id}", include_in_schema=False)
    def get_item(
        run_id: str, item_id: str, request: Request, asker: Asker, query: Annotated[ItemView, Query()]
    ) -> Response:
        about = search.item_page(store, asker.project, run_id, item_id, offset=query.offset)
        if about is None:
            return pages.missing(request, "run", run_id)
        may_delete = asker.may("admin")
        return pages.page("item.html", request, about=about, why=about.why, run=about.run, may_delete=may_delete)


def _add_question_pages(app: FastAPI, store: Store, pages: Pages) -> None:
    """Two runs compared, and the search."""

    @app.get("/ui/compare", include_in_schema=False)
    def get_compare(request: Request, project: Project, query: Annotated[CompareView, Query()]) -> Response:
        named = [run_id for run_id in (query.a, query.b) if run_id is not None]
        for run_id in named:
            if store.run(project, run_id) is None:
                return pages.missing(request, "run", run_id)
        about = None
        if query.a is not None and query.b is not None:
            about = compare.compare_page(store, project, query.a, query.b, offset=query.offset)
        last = store.run(project, named[-1]) if named else None
        choices = compare.choices(store, project, None if last is None else last.state["pipeline"])
        return pages.page("compare.html", request, about=about, choices=choices, shown=compare.MAX_FLIPPED_SHOWN)

    @app.get("/ui/search", include_in_schema=False)
    def get_search(request: Request, project: Project, query: Annotated[SearchView, Query()]) -> Response:
        text = query.q.strip()
        if not text:
            return RedirectResponse("/ui")
        found = search.search(store, project, text, budget_ms=query.budget_ms)
        if found.run is not None and not found.item_runs:
            return RedirectResponse(f"/ui/runs/{path_segment(text)}")
        return pages.page("search.html", request, found=found, further_ms=MAX_BUDGET_MS)
