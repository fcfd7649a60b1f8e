"""The routes for whoever operates the server: `/health`, `/ready` and `/metrics`."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Query, Response
from fastapi.responses import PlainTextResponse

from xray_server.access.admission import Asker
from xray_server.answers import JsonResponse
from xray_server.errors import HTTPError, StoreUnavailableError
from xray_server.http import models
from xray_server.http.health import SOON_S, HealthReport
from xray_server.http.metrics import CONTENT_TYPE, Metrics
from xray_server.http.openapi import READ_ERRORS, answer, errors
from xray_server.http.params import NoParameters
from xray_server.ingest.committer import Committer

READY_WITHIN_S: Final = 2.0


def add_operate_routes(app: FastAPI, committer: Committer, *, metrics: Metrics, health: HealthReport) -> None:
    """Mount the routes on the application. They never wait behind other requests, nor long for the store."""
    threads = CapacityLimiter(8)

    @app.get("/health", responses=answer(models.Health) | READ_ERRORS, tags=["operate"])
    async def get_health(asker: Asker, _: Annotated[NoParameters, Query()]) -> Response:
        """Whether the server lives; to a key that may read also what it has, how far behind it is, what clients dropped.
        Where the store does not answer in time, `status` and `error` say so, and all but `store`, `clients` and `alerts` is told.
        """
        if not asker.may("read"):
            return JsonResponse({"status": "ok"})
        whole = asker.may("admin")
        try:
            ask = partial(health.report, asker.project, whole=whole, timeout_s=SOON_S)
            return JsonResponse(await to_thread.run_sync(ask, limiter=threads))
        except StoreUnavailableError as error:  # restarting what lives would not bring the store back: see /ready
            known = health.without_store(asker.project, whole=whole)
            return JsonResponse({**known, "status": "store unavailable", "error": str(error)})

    @app.get("/ready", responses=answer(models.Ready) | errors(422, 503), tags=["operate"])
    async def get_ready(_: Annotated[NoParameters, Query()]) -> Response:
        """Whether the server can take and answer requests: its store answers and takes records, and its writer runs."""
        await to_thread.run_sync(health.store.answer, READY_WITHIN_S, limiter=threads)
        if not committer.alive:
            raise HTTPError(503, "the server is stopping", retry_after_s=2)
        failing = committer.counters().failing
        if failing is not None:
            raise HTTPError(503, f"the store takes no records just now: {failing}", retry_after_s=2)
        return JsonResponse({"ready": True})

    @app.get("/metrics", response_class=PlainTextResponse, responses=errors(422), tags=["operate"])
    async def get_metrics(_: Annotated[NoParameters, Query()]) -> Response:
        """Counters and gauges of this process for Prometheus. Takes a key of scope metrics or admin."""
        return Response(await to_thread.run_sync(metrics.render, limiter=threads), media_type=CONTENT_TYPE)
