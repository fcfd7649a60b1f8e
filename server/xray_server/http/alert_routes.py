"""The routes of alerts: rules, their dry run, the history. Owns parameters and what HTTP makes of the answers."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any, Final

import msgspec
from anyio import to_thread
from fastapi import FastAPI, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xray_server.access.admission import Project
from xray_server.alerts.rules import Rule, rule_problem
from xray_server.alerts.service import Alerts, TooManyRulesError
from xray_server.http.params import NoParameters, When
from xray_server.times import parse_time

MAX_RULE_BYTES: Final = 64 * 1024
_ERROR_SCHEMA: Final = {"type": "object", "required": ["error", "detail"]}
_TEXTS: Final = {
    403: "from another site's page",
    404: "there is no such rule",
    413: "too large",
    422: "a field is wrong",
    503: "store unavailable, or it keeps no alerts",
}


class HistoryParameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=500)
    cursor: int | None = Field(None, ge=0, le=1 << 62, description="`next_cursor` of the page before")
    rule_id: Annotated[str, Field(max_length=100)] | None = None


class TestParameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    since: When = "7d"
    until: When | None = None


def add_alerts(app: FastAPI, alerts: Alerts | None) -> None:
    """Mount the routes. Without alerts (a store that keeps none) each answers 503."""

    @app.post("/alerts/rules", openapi_extra=_body(), responses=_answers(403, 413, 422, 503), tags=["alerts"])
    async def post_rule(request: Request, project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """Add a rule; the answer holds the secret that signs its webhooks, this once."""
        return await with_body(request, lambda rule, known: _json(known.add(project, rule)))

    @app.post("/alerts/test", openapi_extra=_body(), responses=_answers(403, 413, 422, 503), tags=["alerts"])
    async def post_test(request: Request, project: Project, query: Annotated[TestParameters, Query()]) -> Response:
        """When a rule that is not kept would have fired, over what the store has. Sends nothing."""
        return await with_body(request, lambda rule, known: _json(tried(known, project, rule, query)))

    @app.get("/alerts/rules", responses=_answers(422, 503), tags=["alerts"])
    def get_rules(project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """The rules, with what is firing."""
        return _json({"rules": alerts.rules(project)}) if alerts is not None else _none()

    @app.get("/alerts/rules/{rule_id:id}/test", responses=_answers(404, 422, 503), tags=["alerts"])
    def get_test(rule_id: str, project: Project, query: Annotated[TestParameters, Query()]) -> Response:
        """When a rule would have fired, over what the store has. Sends nothing."""
        if alerts is None:
            return _none()
        rule = alerts.find(project, rule_id)
        return _missing(rule_id) if rule is None else _json(tried(alerts, project, rule, query))

    @app.delete("/alerts/rules/{rule_id:id}", responses=_answers(403, 404, 422, 503), tags=["alerts"])
    def delete_rule(rule_id: str, project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """Remove a rule; what is not delivered of it is not delivered any more. Its history stays."""
        if alerts is None:
            return _none()
        return _json({"removed": rule_id}) if alerts.remove(project, rule_id) else _missing(rule_id)

    @app.get("/alerts/history", responses=_answers(422, 503), tags=["alerts"])
    def get_history(project: Project, query: Annotated[HistoryParameters, Query()]) -> Response:
        """What fired and resolved, newest first, and what became of the messages."""
        if alerts is None:
            return _none()
        events, following = alerts.history(project, limit=query.limit, before=query.cursor, rule_id=query.rule_id)
        return _json({"events": events, "next_cursor": following})

    async def with_body(request: Request, answer: Any) -> Response:
        if alerts is None:
            return _none()
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_RULE_BYTES:
                return _error(413, f"a rule is {MAX_RULE_BYTES} bytes at most", None)
        try:
            rule = Rule.model_validate_json(bytes(body))
        except ValidationError as error:
            field, words = rule_problem(error)
            return _error(422, f"{field}: {words}" if field else words, field or None)
        try:
            response: Response = await to_thread.run_sync(answer, rule, alerts)
        except TooManyRulesError as error:
            return _error(422, str(error), None)
        return response

    def tried(known: Alerts, project: str, rule: Rule, query: TestParameters) -> dict[str, Any]:
        now_us = time.time_ns() // 1000
        since_us = parse_time(query.since, now_us)
        until_us = now_us + 1 if query.until is None else parse_time(query.until, now_us)
        return {"says": rule.words(), **asdict(known.test(project, rule, since_us=since_us, until_us=until_us))}


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _error(status: int, message: str, field: str | None) -> Response:
    detail = [{"loc": field.split(".") if field else [], "field": field, "msg": message}]
    return _json({"error": message, "detail": detail}, status)


def _missing(rule_id: str) -> Response:
    return _error(404, f"there is no rule {rule_id[:100]!r}", "rule_id")


def _none() -> Response:
    return _error(503, "this server's store keeps no alerts", None)


def _body() -> dict[str, Any]:
    schema = Rule.model_json_schema()
    return {
        "requestBody": {
            "required": True,
            "description": "a rule (docs/alerts.md)",
            "content": {"application/json": {"schema": schema}},
        }
    }


def _answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/json": {"schema": _ERROR_SCHEMA}}
    return {status: {"description": _TEXTS[status], "content": content} for status in statuses}
