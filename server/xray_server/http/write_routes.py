"""The routes that write: `POST /ingest` (records) and `POST /runs` (a run with its steps). Answers after the commit."""

from __future__ import annotations

import time
from asyncio import wrap_future
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from anyio import to_thread
from fastapi import FastAPI, Query, Request, Response

from xray_server.access.admission import Asker, Identity, Project
from xray_server.answers import JsonResponse
from xray_server.errors import (
    HTTPError,
    QueueFullError,
    ShapeError,
    TooLargeError,
    UnknownItemError,
    UnknownRunError,
)
from xray_server.http import models
from xray_server.http.bodies import Bodies
from xray_server.http.logs import log_audit
from xray_server.http.openapi import NOT_FOUND, WRITE_ERRORS, answer, errors, request_body
from xray_server.http.params import NoParameters
from xray_server.http.senders import Senders
from xray_server.ingest import run_document
from xray_server.ingest.committer import Committer
from xray_server.ingest.ndjson import decode_request, too_deep
from xray_server.read.baseline import Mark, mark_record
from xray_server.read.why import known_run
from xray_server.store import Batch, Store
from xray_server.store.questions import digest_of

_INGEST_BODY: Final = request_body(
    "application/x-ndjson", {"type": "string"}, "one record a line (docs/http-api.md), gzip'd or plain"
)


class _Marking(msgspec.Struct, forbid_unknown_fields=True):
    """`mark` of a run, with a note of up to 2,000 characters."""

    mark: Mark
    note: Annotated[str, msgspec.Meta(max_length=2_000)] | None = None


_MARK_BODY: Final = request_body(
    "application/json",
    {
        "type": "object",
        "required": ["mark"],
        "additionalProperties": False,
        "properties": {
            "mark": {"type": "string", "enum": ["good", "bad", "none"]},
            "note": {"anyOf": [{"type": "string", "maxLength": 2_000}, {"type": "null"}]},
        },
    },
    "a mark",
)
_RUN_BODY: Final = request_body("application/json", {"$ref": "#/components/schemas/PostedRun"}, "a run with its steps")


def add_write_routes(app: FastAPI, store: Store, committer: Committer, bodies: Bodies, senders: Senders) -> None:
    """Mount the routes on the application."""

    @app.post("/ingest", openapi_extra=_INGEST_BODY, responses=answer(models.Ingested) | WRITE_ERRORS, tags=["write"])
    async def ingest(request: Request, project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """Records as NDJSON, gzip'd or plain; answers after the commit, line by line."""
        async with bodies.reading(request) as body:
            try:
                decoded = await bodies.decode(partial(decode_request, body))
            except TooLargeError as error:
                raise HTTPError(413, str(error)) from None
        refused = await commit(committer, Batch([*decoded.records, *decoded.notes], project, now_us()), len(body))
        refused = {position: why for position, why in refused.items() if position < len(decoded.lines)}
        for position, why in refused.items():
            decoded.refuse(decoded.lines[position], why)
        lines = [{"line": line, "error": why} for line, why in sorted(decoded.refused)]
        accepted = len(decoded.records) - len(refused)
        senders.heard(request, project, delivered=accepted, refused=len(lines))
        return JsonResponse({"accepted": accepted, "refused": lines})

    @app.post("/runs", openapi_extra=_RUN_BODY, responses=answer(models.Posted) | WRITE_ERRORS, tags=["write"])
    async def post_run(request: Request, project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """One run with its steps, or a part of it; sending it again merges."""
        async with bodies.reading(request) as body:
            try:
                run_id, records = await bodies.decode(partial(_run_records, body))
            except ShapeError as error:
                raise HTTPError(422, f"{error.field}: {error}", field=error.field) from None
        refused = await commit(committer, Batch(records, project, now_us()), len(body))
        senders.heard(request, project, delivered=len(records) - len(refused), refused=len(refused))
        for why in refused.values():
            raise HTTPError(422, why, field="body")
        return JsonResponse({"run_id": run_id, "accepted": len(records)})

    @app.post(
        "/runs/{run_id:id}/mark", openapi_extra=_MARK_BODY, responses=answer(models.Marked) | NOT_FOUND | WRITE_ERRORS,
        tags=["write"],
    )  # fmt: skip
    async def post_mark(
        run_id: str, request: Request, project: Project, _: Annotated[NoParameters, Query()]
    ) -> Response:
        """Mark a run good or bad, with a note; "none" takes the mark away."""
        async with bodies.reading(request) as body:
            try:
                marked = msgspec.json.decode(body, type=_Marking)
            except msgspec.ValidationError as error:
                raise HTTPError(422, f"mark: {error}", field="mark") from None
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise HTTPError(422, f"body: {error}", field="body") from None
        return JsonResponse(await mark_run(store, committer, project, run_id, marked.mark, marked.note))

    _add_delete_routes(app, store)


def _add_delete_routes(app: FastAPI, store: Store) -> None:
    """What is deleted for good."""

    @app.delete(
        "/runs/{run_id:id}", responses=answer(models.DeletedRun) | NOT_FOUND | errors(403, 422, 503), tags=["write"]
    )
    def delete_run(run_id: str, asker: Asker, _: Annotated[NoParameters, Query()]) -> Response:
        """Delete a run with its steps, verdicts and samples, for good: what still arrives of it is not kept."""
        delete_for_good(store, asker, run_id)
        return JsonResponse({"run_id": run_id, "deleted": True})

    @app.delete(
        "/items/{item_id:id}", responses=answer(models.DeletedItem) | NOT_FOUND | errors(403, 422, 503), tags=["write"]
    )  # fmt: skip
    def delete_item(item_id: str, asker: Asker, _: Annotated[NoParameters, Query()]) -> Response:
        """Delete one item from all runs that hold it: its details, samples, ids and fingerprints."""
        return JsonResponse({"item_id": item_id, "deleted": True, "runs": delete_item_for_good(store, asker, item_id)})


def delete_item_for_good(store: Store, asker: Identity, item_id: str) -> int:
    """Delete an item from all runs of the asker's project, and write into the log who did it; how many runs held it.

    Raises:
        UnknownItemError: none holds it.
    """
    runs = store.delete_item(asker.project, item_id, now_us())
    if not runs:
        raise UnknownItemError(f"no run holds an item {item_id[:256]!r}")
    log_audit(
        "item deleted", key=asker.key_name, project=asker.project, item_digest=digest_of(item_id).hex(), runs=runs
    )
    return runs


def delete_for_good(store: Store, asker: Identity, run_id: str) -> None:
    """Delete a run, and write into the log who did it.

    Raises:
        UnknownRunError: there is none.
    """
    if not store.delete_run(asker.project, run_id, now_us()):
        raise UnknownRunError(run_id)
    log_audit("run deleted", key=asker.key_name, project=asker.project, run_digest=digest_of(run_id).hex())


async def mark_run(
    store: Store, committer: Committer, project: str, run_id: str, mark: str, note: str | None
) -> dict[str, Any]:
    """Mark a run, after the commit; what it is marked now."""
    run = await to_thread.run_sync(known_run, store, project, run_id)
    at_us = now_us()
    await commit(committer, Batch([mark_record(run, mark, note, at_us)], project, at_us), len(note or "") + 200)
    return {"run_id": run_id, "mark": None if mark == "none" else mark, "note": note}


async def commit(committer: Committer, batch: Batch, size_bytes: int) -> dict[int, str]:
    """Wait until the batch is committed; what the store refused of it."""
    if not batch.records:
        return {}
    try:
        return await wrap_future(committer.submit(batch, size_bytes))
    except QueueFullError as error:
        raise HTTPError(429, str(error), retry_after_s=error.retry_after_s) from None


def _run_records(body: bytes) -> tuple[str, list[Any]]:
    run = run_document.decode_run(body)
    if too_deep(body):
        raise ShapeError("body", "nested too deep")
    return run.run_id, run_document.records_of(run)


def now_us() -> int:
    """The time of a request, in microseconds since the epoch."""
    return time.time_ns() // 1000
