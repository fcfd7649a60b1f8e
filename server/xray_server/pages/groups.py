"""The pages of many runs: two groups compared, several runs side by side, stability. Knows HTTP; no SQL."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response

from xray_server.access.admission import Project
from xray_server.pages.rendering import Pages
from xray_server.pages.views import GroupsView, SideBySideView, StabilityView
from xray_server.read.groups import compare_groups
from xray_server.read.side_by_side import side_by_side
from xray_server.read.stability import stability
from xray_server.store import Store


def add_group_pages(app: FastAPI, store: Store, pages: Pages) -> None:
    """Mount the pages on the application."""

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
