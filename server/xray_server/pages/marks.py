"""The forms on a run's page that mark it good or bad and that delete it, or an item, and where they are sent."""

from __future__ import annotations

from anyio import to_thread
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from xray_core.addresses import path_segment
from xray_server.access.admission import Asker
from xray_server.errors import HTTPError
from xray_server.http.bodies import read_form
from xray_server.http.write_routes import delete_for_good, delete_item_for_good, mark_run
from xray_server.ingest.committer import Committer
from xray_server.store import Store

_MARKS = ("good", "bad", "none")
_MAX_NOTE_CHARS = 2_000


def add_mark_pages(app: FastAPI, store: Store, committer: Committer) -> None:
    """Mount the routes to which the forms are sent."""

    @app.post("/ui/runs/{run_id:id}/mark", include_in_schema=False)
    async def mark(run_id: str, request: Request, asker: Asker) -> Response:
        form = await read_form(request)
        wanted = form.get("mark", "")
        if wanted not in _MARKS:
            raise HTTPError(422, "mark: good, bad or none", field="mark")
        await mark_run(store, committer, asker.project, run_id, wanted, form.get("note", "")[:_MAX_NOTE_CHARS] or None)
        return RedirectResponse(f"/ui/runs/{path_segment(run_id)}", status_code=303)

    @app.post("/ui/runs/{run_id:id}/items/{item_id:id}/delete", include_in_schema=False)
    async def delete_item(run_id: str, item_id: str, request: Request, asker: Asker) -> Response:
        await _sure(request, "an item")
        await to_thread.run_sync(delete_item_for_good, store, asker, item_id)
        return RedirectResponse(f"/ui/runs/{path_segment(run_id)}", status_code=303)

    @app.post("/ui/runs/{run_id:id}/delete", include_in_schema=False)
    async def delete(run_id: str, request: Request, asker: Asker) -> Response:
        await _sure(request, "a run")
        await to_thread.run_sync(delete_for_good, store, asker, run_id)
        return RedirectResponse("/ui", status_code=303)


async def _sure(request: Request, what: str) -> None:
    form = await read_form(request)
    if form.get("sure") != "yes":
        raise HTTPError(
            422, f"tick the box that says you are sure: {what} that is deleted is gone for good", field="sure"
        )
