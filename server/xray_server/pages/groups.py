"""The pages of many runs: two groups compared, several side by side, stability, what separates, trends. Knows HTTP; no SQL."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response

from xray_server.access.admission import Project
from xray_server.errors import NotKnownError
from xray_server.http.params import window
from xray_server.pages.rendering import Pages
from xray_server.pages.trends import FIGURES, trends_page
from xray_server.pages.views import GroupsView, SeparatesView, SideBySideView, StabilityView, TrendsView
from xray_server.read.groups import compare_groups
from xray_server.read.separates import separates
from xray_server.read.side_by_side import side_by_side
from xray_server.read.stability import stability
from xray_server.store import Store


def add_group_pages(app: FastAPI, store: Store, pages: Pages) -> None:
    """Mount the pages on the application."""
    _add_over_time(app, store, pages)

    @app.get("/ui/groups", include_in_schema=False)
    def get_groups(request: Request, project: Project, query: Annotated[GroupsView, Query()]) -> Response:
        found = None
        if query.a and query.b:
            a, b = query.groups()
            found = compare_groups(store, project, a, b, (query.a, query.b), by=query.fields(), max_runs=query.runs)
        return pages.page("groups.html", request, found=found, pipelines=store.pipelines(project))

    @app.get("/ui/runs-side-by-side", include_in_schema=False)
    def get_side_by_side(request: Request, project: Project, query: Annotated[SideBySideView, Query()]) -> Response:
        found = side_by_side(store, project, query.ids()) if query.runs else None
        return pages.page("side_by_side.html", request, found=found)

    @app.get("/ui/stability", include_in_schema=False)
    def get_stability(request: Request, project: Project, query: Annotated[StabilityView, Query()]) -> Response:
        found = None
        if query.pipeline:
            found = stability(
                store, project, query.pipeline, same_input=query.same_input, runs=query.runs, step=query.step
            )
        return pages.page("stability.html", request, found=found, pipelines=store.pipelines(project))

    @app.get("/ui/separates", include_in_schema=False)
    def get_separates(request: Request, project: Project, query: Annotated[SeparatesView, Query()]) -> Response:
        found, problem = None, ""
        if query.run is not None and store.run(project, query.run) is None:
            return pages.missing(request, "run", query.run)
        since_us, until_us = window(query.since, query.until)
        if query.step:
            try:
                found = separates(
                    store, project, step=query.step, run_id=query.run, pipeline=query.pipeline, reason=query.reason,
                    since_us=since_us, until_us=until_us,
                )  # fmt: skip
            except NotKnownError as error:
                problem = str(error)
        return pages.page("separates.html", request, found=found, problem=problem, pipelines=store.pipelines(project))


def _add_over_time(app: FastAPI, store: Store, pages: Pages) -> None:
    @app.get("/ui/trends", include_in_schema=False)
    def get_trends(request: Request, project: Project, query: Annotated[TrendsView, Query()]) -> Response:
        since_us, until_us = window(query.since, query.until)
        found = trends_page(
            store, project, query.figure, pipeline=query.pipeline, step=query.step,
            since_us=since_us or 0, until_us=until_us or time.time_ns() // 1000 + 1,
        )  # fmt: skip
        return pages.page(
            "trends.html",
            request,
            found=found,
            figure=query.figure,
            figures=FIGURES,
            pipelines=store.pipelines(project),
        )
