"""The HTML pages under `/ui`: their routes and what they have in common. Knows HTTP and the pages' models; no SQL.

The state of a page is its address: every view, sort and filter is a link. A page of something that still runs is fetched
again by `static/xray.js` while it says so (`data-live`), and not once it has ended.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote, urlencode

import jinja2
from fastapi import FastAPI, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field, model_validator

from xray_core.model import STEP_TYPES
from xray_server.access.admission import SIGN_OUT, Asker, Identity, Project
from xray_server.http.params import Cursor, RunsParameters, StepsParameters, Text, _Parameters
from xray_server.pages import charts as pages_charts
from xray_server.pages import compare as pages_compare
from xray_server.pages import formatting as pages_words
from xray_server.pages import run as pages_run
from xray_server.pages import search as pages_find
from xray_server.read import runs as queries
from xray_server.store import Store

_HERE: Final = Path(__file__).parent
LIVE_EVERY_MS: Final = 1_500
Offset = Annotated[int, Field(ge=0, le=1_000_000)]


class _FromForm(BaseModel):
    """A form sends the fields that were left empty too."""

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value != ""} if isinstance(values, Mapping) else values


class RunsView(_FromForm, RunsParameters):
    pass


class RunView(_FromForm, _Parameters):
    view: Literal["funnel", "timeline", "graph"] = "funnel"
    scale: Literal["linear", "log"] | None = None
    offset: Offset = 0
    item: Text | None = None


class ItemView(_Parameters):
    offset: Offset = 0


class CompareView(_FromForm, _Parameters):
    a: Text | None = None
    b: Text | None = None
    offset: Offset = 0


class SearchView(_Parameters):
    q: Text = ""


class StepsView(_FromForm, StepsParameters):
    pass


class StepView(_Parameters):
    attempt: int | None = Field(None, ge=0, le=1_000_000_000)
    sort: Text = "outcome"
    outcome: Text | None = None
    reason: Text | None = None
    offset: Offset = 0


class GroupView(_Parameters):
    name: Text
    cursor: Cursor = None


class _Given(dict[str, Any]):
    """The parameters of the address; one that is not there is None."""

    def __missing__(self, name: str) -> None:
        return None


class Pages:
    """Renders templates: everything is escaped, unless a template says otherwise (none does)."""

    def __init__(self) -> None:
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            id=lambda text: quote(str(text), safe=""),
            count=pages_words.count,
            count_about=pages_words.count_about,
            percent=pages_words.percent,
            duration=pages_words.duration,
            ago=pages_words.ago,
            absolute=pages_words.absolute,
            short=pages_words.short,
            brief=pages_words.brief,
            scalar=pages_words.scalar,
            line=pages_words.line,
            measure=pages_words.measure,
            measured=pages_words.measured,
            pretty=pages_words.pretty,
            visible=pages_words.visible,
            web_link=pages_words.web_link,
            error_line=pages_words.error_line,
            joined=pages_words.joined,
        )
        self._templates.tests.update(flat=pages_words.is_flat)
        self._templates.globals.update(
            plural=pages_words.plural,
            ledger_warnings=pages_words.ledger_warnings,
            dropped_warnings=pages_words.dropped_warnings,
            sampling_words=pages_words.sampling_words,
            trouble=pages_words.trouble,
            trouble_words=pages_words.trouble_words,
            MAX_VALUE_CHARS=pages_words.MAX_VALUE_CHARS,
            LIVE_EVERY_MS=LIVE_EVERY_MS,
            NODE=(pages_charts.NODE_WIDTH, pages_charts.NODE_HEIGHT),
            asset=_assets(),
            SIGN_OUT=SIGN_OUT,
        )

    def page(self, name: str, request: Request, status: int = 200, /, **values: Any) -> Response:
        """A page from its template. Templates make links to themselves with `here(name=value)`."""
        query = _Given(request.query_params)

        def here(**changes: Any) -> str:
            merged = {**{k: v for k, v in query.items() if k not in ("offset", "cursor")}, **changes}
            kept = {k: v for k, v in merged.items() if v is not None and v != ""}
            return f"?{urlencode(kept)}" if kept else "?"

        identity: Identity = request.state.identity
        asker = identity if identity.via == "session" else None
        text = self._templates.get_template(name).render(here=here, query=query, signed_in=asker, **values)
        return HTMLResponse(text, status, headers={"Cache-Control": "no-store"})


def _assets() -> dict[str, str]:
    """The addresses of the static files; they change when the files do, so that browsers may keep them."""
    files = sorted((_HERE / "static").iterdir())
    return {
        file.name: f"/static/{file.name}?{hashlib.blake2b(file.read_bytes(), digest_size=6).hexdigest()}"
        for file in files
        if file.is_file()
    }


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
        asked = _Given((k, v) for k, v in request.query_params.items() if k not in ("cursor", "limit") and v)
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
        asked = _Given((k, v) for k, v in request.query_params.items() if k not in ("cursor", "limit") and v)
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

    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
    return pages
