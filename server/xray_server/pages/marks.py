"""The form on a run's page that marks it good or bad, and where it is sent."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from xray_server.access.admission import Asker
from xray_server.errors import HTTPError
from xray_server.http.bodies import read_form
from xray_server.http.write_routes import mark_run
from xray_server.ingest.committer import Committer
from xray_server.store import Store

_MARKS = ("good", "bad", "none")
_MAX_NOTE_CHARS = 2_000


def add_mark_pages(app: FastAPI, store: Store, committer: Committer) -> None:
    """Mount the route to which the form is sent."""

    @app.post("/ui/runs/{run_id:id}/mark", include_in_schema=False)
    async def mark(run_id: str, request: Request, asker: Asker) -> Response:
        form = await read_form(request)
        wanted = form.get("mark", "")
        if wanted not in _MARKS:
            raise HTTPError(422, "mark: good, bad or none", field="mark")
        await mark_run(store, committer, asker.project, run_id, wanted, form.get("note", "")[:_MAX_NOTE_CHARS] or None)
        return RedirectResponse(f"/ui/runs/{quote(run_id, safe='')}", status_code=303)
