"""The page of alerts, /ui/alerts: what is firing, the rules, a form for one more, and the history."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, get_args

from anyio import to_thread
from fastapi import FastAPI, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xray_server.access.admission import Asker, Identity
from xray_server.alerts.rules import Metric, Rule, rule_problem
from xray_server.alerts.service import Alerts
from xray_server.errors import TooManyRulesError
from xray_server.http.alert_routes import alerts_of
from xray_server.http.bodies import read_form
from xray_server.pages.rendering import Pages

_EVENTS: Final = 50
_FIELDS: Final = ("name", "metric", "pipeline", "step", "step_type", "reason", "above", "below", "min_items", "to")


class AlertsView(BaseModel):
    """The parameters of the page: `before` is the number of the event before which the history goes on."""

    model_config = ConfigDict(extra="ignore")

    before: int | None = Field(None, ge=0, le=1 << 62)


def add_alert_pages(app: FastAPI, pages: Pages, alerts: Alerts | None) -> None:
    """Mount the page, and the routes to which its forms are sent."""
    render = partial(_render, pages, alerts)

    @app.get("/ui/alerts", include_in_schema=False)
    def page(request: Request, asker: Asker, query: Annotated[AlertsView, Query()]) -> Response:
        return render(request, asker, before=query.before)

    @app.post("/ui/alerts", include_in_schema=False)
    async def add(request: Request, asker: Asker) -> Response:
        form = await read_form(request)
        try:
            created = await to_thread.run_sync(alerts_of(alerts).add, asker.project, _rule(form))
        except ValidationError as error:
            field, problem = rule_problem(error)
            problem = f"{field}: {problem}" if field else problem
        except TooManyRulesError as error:
            problem = str(error)
        else:
            return await to_thread.run_sync(partial(render, request, asker, created=created))
        return await to_thread.run_sync(partial(render, request, asker, status=422, problem=problem, form=form))

    @app.post("/ui/alerts/remove", include_in_schema=False)
    async def remove(request: Request, asker: Asker) -> Response:
        form = await read_form(request)
        await to_thread.run_sync(alerts_of(alerts).remove, asker.project, form.get("rule_id", ""))
        return await to_thread.run_sync(partial(render, request, asker))


def _rule(form: Mapping[str, str]) -> Rule:
    values: dict[str, Any] = {name: form[name] for name in _FIELDS if form.get(name)}
    if "to" in values:
        values["to"] = values["to"].split()
    return Rule.model_validate(values)


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
) -> Response:
    """The page: `problem` says what is wrong with the `form` that was sent; `created` is the rule that it made."""
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
    )
