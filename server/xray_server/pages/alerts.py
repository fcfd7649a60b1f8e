"""The pages of alerts: /ui/alerts with what is firing, the rules, a form and the history; and one page a rule."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, get_args

from anyio import to_thread
from fastapi import FastAPI, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xray_core.addresses import path_segment
from xray_server.access.admission import Asker, Identity
from xray_server.alerts.dry_run import DryRun
from xray_server.alerts.rules import Metric, Rule, rule_problem
from xray_server.alerts.service import Alerts
from xray_server.errors import HTTPError, TargetRefusedError, TooManyRulesError
from xray_server.http.alert_routes import OtherBound, alerts_of, other_bound
from xray_server.http.bodies import read_form
from xray_server.http.params import When
from xray_server.pages.dry_run import HEIGHT, dry_run_chart
from xray_server.pages.rendering import Pages
from xray_server.pages.views import FromForm
from xray_server.times import parse_time

_EVENTS: Final = 50
_FIELDS: Final = (
    "name", "metric", "pipeline", "step", "step_type", "reason", "above", "below", "min_items", "cooldown_s", "to",
)  # fmt: skip
_KEPT: Final = ("window", "pool", "dimension", "min_runs", "min_change")  # which the form does not show
_DRY_RUN: Final = "7d"


class AlertsView(BaseModel):
    """The parameters of the page: `before` is the number of the event before which the history goes on."""

    model_config = ConfigDict(extra="ignore")

    before: int | None = Field(None, ge=0, le=1 << 62)


class RuleView(FromForm):
    """The parameters of a rule's page: over which time it is tried, and with which other bound."""

    model_config = ConfigDict(extra="ignore")

    since: When = _DRY_RUN
    above: OtherBound = None
    below: OtherBound = None


def add_alert_pages(app: FastAPI, pages: Pages, alerts: Alerts | None) -> None:
    """Mount the pages, and the routes to which their forms are sent."""
    render = partial(_render, pages, alerts)

    @app.get("/ui/alerts", include_in_schema=False)
    def page(request: Request, asker: Asker, query: Annotated[AlertsView, Query()]) -> Response:
        return render(request, asker, before=query.before)

    @app.post("/ui/alerts", include_in_schema=False)
    async def add(request: Request, asker: Asker) -> Response:
        form = await read_form(request)
        try:
            rule = _rule(form)
            if form.get("do") == "try":
                tried = await to_thread.run_sync(_tried, alerts_of(alerts), asker.project, rule)
                return await to_thread.run_sync(partial(render, request, asker, form=form, tried=tried))
            created = await to_thread.run_sync(alerts_of(alerts).add, asker.project, rule)
        except (ValidationError, TooManyRulesError, TargetRefusedError) as error:
            problem = _problem(error)
            return await to_thread.run_sync(partial(render, request, asker, status=422, problem=problem, form=form))
        return await to_thread.run_sync(partial(render, request, asker, created=created))

    @app.post("/ui/alerts/remove", include_in_schema=False)
    async def remove(request: Request, asker: Asker) -> Response:
        form = await read_form(request)
        await to_thread.run_sync(alerts_of(alerts).remove, asker.project, form.get("rule_id", ""))
        return await to_thread.run_sync(partial(render, request, asker))

    _add_rule_page(app, pages, alerts)


def _add_rule_page(app: FastAPI, pages: Pages, alerts: Alerts | None) -> None:
    """The page of one rule: its form, when it would have fired, mute and test."""
    render = partial(_render_rule, pages, alerts)

    @app.get("/ui/alerts/{rule_id:id}", include_in_schema=False)
    def page(rule_id: str, request: Request, asker: Asker, query: Annotated[RuleView, Query()]) -> Response:
        return render(rule_id, request, asker, asked=query)

    @app.post("/ui/alerts/{rule_id:id}", include_in_schema=False)
    async def edit(rule_id: str, request: Request, asker: Asker) -> Response:
        form = await read_form(request)
        kept = alerts_of(alerts)
        try:
            old = await to_thread.run_sync(kept.find, asker.project, rule_id)
            await to_thread.run_sync(kept.edit, asker.project, rule_id, _rule(form, old))
        except (ValidationError, TargetRefusedError) as error:
            problem = _problem(error)
            return await to_thread.run_sync(
                partial(render, rule_id, request, asker, status=422, problem=problem, form=form)
            )
        return RedirectResponse(f"/ui/alerts/{path_segment(rule_id)}", status_code=303)

    @app.post("/ui/alerts/{rule_id:id}/mute", include_in_schema=False)
    async def mute(rule_id: str, request: Request, asker: Asker) -> Response:
        form = await read_form(request)
        hours = form.get("hours", "")
        if hours not in ("", "0", "1", "8", "24", "168"):
            raise HTTPError(422, "hours: 0, 1, 8, 24, 168, or nothing for until it is unmuted", field="hours")
        for_s = None if hours == "" else float(hours) * 3600
        await to_thread.run_sync(alerts_of(alerts).mute, asker.project, rule_id, for_s)
        return RedirectResponse(f"/ui/alerts/{path_segment(rule_id)}", status_code=303)

    @app.post("/ui/alerts/{rule_id:id}/send", include_in_schema=False)
    async def send(rule_id: str, request: Request, asker: Asker) -> Response:
        sent = await to_thread.run_sync(alerts_of(alerts).send_test, asker.project, rule_id)
        return await to_thread.run_sync(partial(render, rule_id, request, asker, sent=sent))


def _rule(form: Mapping[str, str], old: Rule | None = None) -> Rule:
    """The rule of a form; what the form does not show stays as it was."""
    values: dict[str, Any] = {} if old is None else {name: getattr(old, name) for name in _KEPT}
    values |= {name: form[name] for name in _FIELDS if form.get(name)}
    if "to" in values:
        values["to"] = values["to"].split()
    return Rule.model_validate(values)


def _problem(error: Exception) -> str:
    """What is wrong with a form, in one line."""
    if isinstance(error, ValidationError):
        field, problem = rule_problem(error)
        return f"{field}: {problem}" if field else problem
    return str(error)


def _tried(alerts: Alerts, project: str, rule: Rule, asked: RuleView | None = None) -> dict[str, Any]:
    """A dry run as the template draws it."""
    asked = asked or RuleView()
    now_us = time.time_ns() // 1000
    other = other_bound(rule, asked.above, asked.below)
    found: DryRun = alerts.test(
        project, rule, since_us=parse_time(asked.since, now_us), until_us=now_us + 1, other=other
    )
    chart = dry_run_chart(found, rule, other)
    return {"says": rule.words(), "since": asked.since, "found": found, "chart": chart, "height": HEIGHT,
            "way": rule.bounds[0][0] if rule.bounds else None}  # fmt: skip


def _form_of(rule: Mapping[str, Any]) -> dict[str, str]:
    """A rule as its form shows it."""
    values = {name: rule[name] for name in _FIELDS if name != "to"}
    # with all its digits, since the form is sent back
    shown = {name: "" if value is None else f"{value:.15g}" if isinstance(value, float) else str(value) for name, value in values.items()}  # fmt: skip
    return {**shown, "to": "\n".join(rule["to"])}


def _render_rule(
    pages: Pages,
    alerts: Alerts | None,
    rule_id: str,
    request: Request,
    asker: Identity,
    *,
    asked: RuleView | None = None,
    status: int = 200,
    problem: str = "",
    form: Mapping[str, str] | None = None,
    sent: list[dict[str, Any]] | None = None,
) -> Response:
    """The page of a rule: `problem` says what is wrong with the `form` that was sent; `sent` is what became of a test."""
    kept = alerts_of(alerts)
    shown, rule = kept.shown(asker.project, rule_id), kept.find(asker.project, rule_id)
    if shown is None or rule is None:
        return pages.missing(request, "rule", rule_id)
    return pages.page(
        "alert.html",
        request,
        status,
        rule=shown,
        tried=_tried(kept, asker.project, rule, asked),
        metrics=get_args(Metric),
        problem=problem,
        may_change=asker.may("admin"),
        form={**_form_of(shown), **(form or {})},
        sent=sent,
    )


def _render(
    pages: Pages,
    alerts: Alerts | None,
    request: Request,
    asker: Identity,
    *,
    before: int | None = None,
    status: int = 200,
    problem: str = "",
    form: Mapping[str, str] | None = None,
    created: Mapping[str, Any] | None = None,
    tried: Mapping[str, Any] | None = None,
) -> Response:
    """The page: `problem` says what is wrong with the `form` that was sent; `created` is the rule that it made, `tried` when
    it would have fired.
    """
    rules: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    next_before = None
    if alerts is not None:
        rules = alerts.rules(asker.project)
        events, next_before = alerts.history(asker.project, limit=_EVENTS, before=before)
    return pages.page(
        "alerts.html",
        request,
        status,
        rules=rules,
        events=events,
        next_before=next_before,
        metrics=get_args(Metric),
        problem=problem,
        has_alerts=alerts is not None,
        may_change=asker.may("admin"),
        form={**dict.fromkeys(_FIELDS, ""), **(form or {})},
        created=created,
        tried=tried,
    )
