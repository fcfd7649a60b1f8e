"""The page of two groups of runs compared. Knows HTTP; no SQL."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response

from xray_server.access.admission import Project
from xray_server.pages.rendering import Pages
from xray_server.pages.views import GroupsView
from xray_server.read.groups import compare_groups
from xray_server.store import Store


def add_group_pages(app: FastAPI, store: Store, pages: Pages) -> None:
    """Mount the page on the application."""

    @app.get("/ui/groups", include_in_schema=False)
    def get_groups(request: Request, project: Project, query: Annotated[GroupsView, Query()]) -> Response:
        found = None
        if query.a and query.b:
            a, b = query.groups()
            found = compare_groups(store, project, a, b, (query.a, query.b), by=query.fields(), max_runs=query.runs)
        return pages.page("groups.html", request, found=found, pipelines=store.pipelines(project))
