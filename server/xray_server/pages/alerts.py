"""The page of alerts, /ui/alerts: what is firing, the rules, a form for one more, and the history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, get_args
from urllib.parse import parse_qs

from anyio import to_thread
from fastapi import FastAPI, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xray_server.access.admission import Asker
from xray_server.alerts.rules import Metric, Rule, rule_problem
from xray_server.alerts.service import Alerts, TooManyRulesError
from xray_server.answers import HTTPError
from xray_server.pages.rendering import Pages

_MAX_FORM_BYTES: Final = 16 * 1024
_EVENTS: Final = 50
_FIELDS: Final = ("name", "metric", "pipeline", "step", "step_type", "reason", "above", "below", "min_items", "to")


class AlertsView(BaseModel):
    model_config = ConfigDict(extra="ignore")

    before: int | None = Field(None, ge=0, le=1 << 62)


def add_alert_pages(app: FastAPI, pages: Pages, alerts: Alerts | None) -> None:
    """Mount the page and what its forms send."""

    def render(
        request: Request, asker: Any, *, before: int | None = None, status: int = 200, wrong: str = "",
        said: Mapping[str, str] | None = None, made: Mapping[str, Any] | None = None,
    ) -> Response:  # fmt: skip
        rules: list[dict[str, Any]] = []
        events: list[dict[str, Any]] = []
        following = None
        if alerts is not None:
            rules = alerts.rules(asker.project)
            events, following = alerts.history(asker.project, limit=_EVENTS, before=before)
        return pages.page(
            "alerts.html", request, status,
            rules=rules, events=events, next_before=following, metrics=get_args(Metric), wrong=wrong, kept=alerts is not None,
            may_change=asker.may("admin"), given={"said": {**dict.fromkeys(_FIELDS, ""), **(said or {})}, "made": made},
        )  # fmt: skip

    @app.get("/ui/alerts", include_in_schema=False)
    def page(request: Request, asker: Asker, query: Annotated[AlertsView, Query()]) -> Response:
        return render(request, asker, before=query.before)

    @app.post("/ui/alerts", include_in_schema=False)
    async def add(request: Request, asker: Asker) -> Response:
        said = await form(request)
        known = there()
        values: dict[str, Any] = {name: said[name] for name in _FIELDS if said.get(name)}
        if "to" in values:
            values["to"] = values["to"].split()
        try:
            made = await to_thread.run_sync(known.add, asker.project, Rule.model_validate(values))
        except ValidationError as error:
            field, words = rule_problem(error)
            return await to_thread.run_sync(
                lambda: render(request, asker, status=422, wrong=f"{field}: {words}" if field else words, said=said)
            )
        except TooManyRulesError as error:
            problem = str(error)
            return await to_thread.run_sync(lambda: render(request, asker, status=422, wrong=problem, said=said))
        return await to_thread.run_sync(lambda: render(request, asker, made=made))

    @app.post("/ui/alerts/remove", include_in_schema=False)
    async def remove(request: Request, asker: Asker) -> Response:
        said = await form(request)
        await to_thread.run_sync(there().remove, asker.project, said.get("rule_id", ""))
        return await to_thread.run_sync(lambda: render(request, asker))

    def there() -> Alerts:
        if alerts is None:
            raise HTTPError(503, "this server's store keeps no alerts")
        return alerts

    async def form(request: Request) -> dict[str, str]:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_FORM_BYTES:
                raise HTTPError(413, "that is too much for a rule")
        try:
            fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=30)
        except ValueError:
            raise HTTPError(422, "that is not this page's form") from None
        return {name: values[0].strip() for name, values in fields.items()}
