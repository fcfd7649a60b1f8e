"""The routes of alerts: rules, their dry run, the history. Owns parameters and what HTTP makes of the answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Final, TypeVar

from anyio import to_thread
from fastapi import FastAPI, Query, Request, Response
from pydantic import Field, ValidationError

from xray_server.access.admission import Project
from xray_server.alerts.rules import Rule, rule_problem
from xray_server.alerts.service import Alerts
from xray_server.answers import JsonResponse
from xray_server.errors import HTTPError, TargetRefusedError, TooManyRulesError
from xray_server.http import models
from xray_server.http.bodies import read_small
from xray_server.http.openapi import answer, errors, request_body
from xray_server.http.params import NoParameters, Parameters, When
from xray_server.times import parse_time

MAX_RULE_BYTES: Final = 64 * 1024
T = TypeVar("T")
_RULE_BODY: Final = request_body("application/json", {"$ref": "#/components/schemas/Rule"}, "a rule (docs/alerts.md)")


class HistoryParameters(Parameters):
    """Of the history: one rule's or all, in pages."""

    limit: int = Field(50, ge=1, le=500)
    cursor: int | None = Field(None, ge=0, le=1 << 62, description="`next_cursor` of the page before")
    rule_id: Annotated[str, Field(max_length=100)] | None = None


OtherBound = Annotated[
    float | None, Field(ge=0, le=1e13, allow_inf_nan=False, description="what if the bound were this: see `whatif`")
]


class TestParameters(Parameters):
    """Of a dry run: the stretch of time, and another bound to try beside the rule's own."""

    since: When = "7d"
    until: When | None = None
    above: OtherBound = None
    below: OtherBound = None


class MuteParameters(Parameters):
    """Of muting a rule."""

    for_s: float | None = Field(
        None, ge=0, le=31_622_400, allow_inf_nan=False, description="for so long; left out: until it is unmuted"
    )


def add_alert_routes(app: FastAPI, alerts: Alerts | None) -> None:
    """Mount the routes. Without alerts (a store that keeps none) each answers 503."""

    @app.post(
        "/alerts/rules",
        openapi_extra=_RULE_BODY,
        responses=answer(models.AlertRule) | errors(403, 408, 413, 422, 503),
        tags=["alerts"],
    )
    async def post_rule(request: Request, project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """Add a rule; the answer holds the secret that signs its webhooks, this once."""
        kept, rule = alerts_of(alerts), await _read_rule(request)
        with _refusals():
            return JsonResponse(await to_thread.run_sync(kept.add, project, rule))

    @app.post(
        "/alerts/test",
        openapi_extra=_RULE_BODY,
        responses=answer(models.DryRun) | errors(403, 408, 413, 422, 503),
        tags=["alerts"],
    )
    async def post_test(request: Request, project: Project, query: Annotated[TestParameters, Query()]) -> Response:
        """When a rule that is not kept would have fired, over what the store has. Sends nothing."""
        kept, rule = alerts_of(alerts), await _read_rule(request)
        return JsonResponse(await to_thread.run_sync(partial(_dry_run, kept, project, rule, query)))

    @app.get("/alerts/rules", responses=answer(models.AlertRules) | errors(422, 503), tags=["alerts"])
    def get_rules(project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """The rules, with what is firing."""
        return JsonResponse({"rules": alerts_of(alerts).rules(project)})

    @app.get(
        "/alerts/rules/{rule_id:id}/test", responses=answer(models.DryRun) | errors(404, 422, 503), tags=["alerts"]
    )
    def get_test(rule_id: str, project: Project, query: Annotated[TestParameters, Query()]) -> Response:
        """When a rule would have fired, over what the store has. Sends nothing."""
        kept = alerts_of(alerts)
        rule = kept.find(project, rule_id)
        if rule is None:
            raise _no_rule(rule_id)
        return JsonResponse(_dry_run(kept, project, rule, query))

    @app.delete(
        "/alerts/rules/{rule_id:id}", responses=answer(models.Removed) | errors(403, 404, 422, 503), tags=["alerts"]
    )
    def delete_rule(rule_id: str, project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """Remove a rule; its messages that are not delivered yet are dropped. Its history stays."""
        if not alerts_of(alerts).remove(project, rule_id):
            raise _no_rule(rule_id)
        return JsonResponse({"removed": rule_id})

    @app.get("/alerts/history", responses=answer(models.AlertHistory) | errors(422, 503), tags=["alerts"])
    def get_history(project: Project, query: Annotated[HistoryParameters, Query()]) -> Response:
        """What fired and resolved, newest first, and what became of the messages."""
        events, next_cursor = alerts_of(alerts).history(
            project, limit=query.limit, before=query.cursor, rule_id=query.rule_id
        )
        return JsonResponse({"events": events, "next_cursor": next_cursor})

    _add_one_rule_routes(app, alerts)


def _add_one_rule_routes(app: FastAPI, alerts: Alerts | None) -> None:
    """What is done to a rule that is kept."""

    @app.put(
        "/alerts/rules/{rule_id:id}", openapi_extra=_RULE_BODY, responses=answer(models.AlertRule) | errors(403, 404, 408, 413, 422, 503), tags=["alerts"]
    )  # fmt: skip
    async def put_rule(
        rule_id: str, request: Request, project: Project, _: Annotated[NoParameters, Query()]
    ) -> Response:
        """Put a rule in the place of another. Targets as they are shown, masked, and a secret that is left out stay."""
        kept, rule = alerts_of(alerts), await _read_rule(request)
        with _refusals():
            return JsonResponse(_found(await to_thread.run_sync(kept.edit, project, rule_id, rule), rule_id))

    @app.post(
        "/alerts/rules/{rule_id:id}/send",
        responses=answer(models.TestSent) | errors(403, 404, 422, 503),
        tags=["alerts"],
    )
    def post_send(rule_id: str, project: Project, _: Annotated[NoParameters, Query()]) -> Response:
        """Send a test message to each target of a rule; what became of each."""
        return JsonResponse({"deliveries": _found(alerts_of(alerts).send_test(project, rule_id), rule_id)})

    @app.post(
        "/alerts/rules/{rule_id:id}/mute",
        responses=answer(models.AlertRule) | errors(403, 404, 422, 503),
        tags=["alerts"],
    )
    def post_mute(rule_id: str, project: Project, query: Annotated[MuteParameters, Query()]) -> Response:
        """Send no message of a rule for some time; what fires meanwhile is in the history. `for_s=0` ends it."""
        return JsonResponse(_found(alerts_of(alerts).mute(project, rule_id, query.for_s), rule_id))


def _found(answer: T | None, rule_id: str) -> T:
    if answer is None:
        raise _no_rule(rule_id)
    return answer


@contextmanager
def _refusals() -> Iterator[None]:
    """What a rule may be refused for, as 422."""
    try:
        yield
    except TooManyRulesError as error:
        raise HTTPError(422, str(error)) from None
    except TargetRefusedError as error:
        raise HTTPError(422, f"to: {error}", field="to") from None


def alerts_of(alerts: Alerts | None) -> Alerts:
    """The alerts of this server.

    Raises:
        HTTPError: 503 when its store keeps none.
    """
    if alerts is None:
        raise HTTPError(503, "this server's store keeps no alerts")
    return alerts


async def _read_rule(request: Request) -> Rule:
    body = await read_small(request, MAX_RULE_BYTES, f"a rule is {MAX_RULE_BYTES} bytes at most")
    try:
        return Rule.model_validate_json(body)
    except ValidationError as error:
        field, problem = rule_problem(error)
        raise HTTPError(422, f"{field}: {problem}" if field else problem, field=field or None) from None


def _dry_run(alerts: Alerts, project: str, rule: Rule, query: TestParameters) -> dict[str, Any]:
    now_us = time.time_ns() // 1000
    since_us = parse_time(query.since, now_us)
    until_us = now_us + 1 if query.until is None else parse_time(query.until, now_us)
    other = other_bound(rule, query.above, query.below)
    found = alerts.test(project, rule, since_us=since_us, until_us=until_us, other=other)
    return {"says": rule.words(), **asdict(found)}


def other_bound(rule: Rule, above: float | None, below: float | None) -> Rule | None:
    """The rule with another bound, where one is given.

    Raises:
        HTTPError: 422, its metric has no such bound.
    """
    if above is None and below is None:
        return None
    try:
        return rule.with_bounds(above, below)
    except ValidationError as error:
        raise HTTPError(422, rule_problem(error)[1], field="above" if above is not None else "below") from None


def _no_rule(rule_id: str) -> HTTPError:
    return HTTPError(404, f"there is no rule {rule_id[:100]!r}", field="rule_id")
