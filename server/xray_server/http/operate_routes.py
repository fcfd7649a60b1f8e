"""The routes for whoever operates the server: `/health`, `/ready` and `/metrics`."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query, Response
from fastapi.responses import PlainTextResponse

from xray_server.access.admission import Asker
from xray_server.answers import JsonResponse
from xray_server.errors import HTTPError, StoreUnavailableError
from xray_server.http.health import HealthReport
from xray_server.http.metrics import CONTENT_TYPE, Metrics
from xray_server.http.openapi import READ_ERRORS, answer, errors
from xray_server.http.params import NoParameters
from xray_server.ingest.committer import Committer
from xray_server.store import Store


def add_operate_routes(
    app: FastAPI, store: Store, committer: Committer, *, metrics: Metrics, health: HealthReport
) -> None:
    """Mount the routes on the application."""

    @app.get("/health", responses=answer("status") | READ_ERRORS, tags=["operate"])
    def get_health(asker: Asker, _: Annotated[NoParameters, Query()]) -> Response:
        """Whether the server lives; to a key that may read also what it has, how far behind it is, what clients dropped."""
        if not asker.may("read"):
            return JsonResponse({"status": "ok"})
        try:
            return JsonResponse(health.report(asker.project, whole=asker.may("admin")))
        except StoreUnavailableError as error:  # restarting what lives would not bring the store back: see /ready
            return JsonResponse({"status": "store unavailable", "error": str(error)})

    @app.get("/ready", responses=answer("ready") | errors(422, 503), tags=["operate"])
    def get_ready(_: Annotated[NoParameters, Query()]) -> Response:
        """Whether the server can take and answer requests: its store answers and its writer runs."""
        store.health()
        if not committer.alive:
            raise HTTPError(503, "the server is stopping", retry_after_s=2)
        return JsonResponse({"ready": True})

    @app.get("/metrics", response_class=PlainTextResponse, responses=errors(422), tags=["operate"])
    def get_metrics(_: Annotated[NoParameters, Query()]) -> Response:
        """Counters and gauges of this process for Prometheus. Takes a key of scope metrics or admin."""
        return Response(metrics.render(), media_type=CONTENT_TYPE)
