"""Query parameters of the pages, checked as those of the API are: which view, filter and offset an address asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from xray_server.http.params import Cursor, Parameters, RunsParameters, StepsParameters, Text

Offset = Annotated[int, Field(ge=0, le=1_000_000)]


class _FromForm(BaseModel):
    """A form sends the fields that were left empty too."""

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value != ""} if isinstance(values, Mapping) else values


class RunsView(_FromForm, RunsParameters):
    pass


class RunView(_FromForm, Parameters):
    view: Literal["funnel", "timeline", "graph"] = "funnel"
    scale: Literal["linear", "log"] | None = None
    offset: Offset = 0
    item: Text | None = None


class ItemView(Parameters):
    offset: Offset = 0


class CompareView(_FromForm, Parameters):
    a: Text | None = None
    b: Text | None = None
    offset: Offset = 0


class SearchView(Parameters):
    q: Text = ""


class StepsView(_FromForm, StepsParameters):
    pass


class StepView(Parameters):
    attempt: int | None = Field(None, ge=0, le=1_000_000_000)
    sort: Text = "outcome"
    outcome: Text | None = None
    reason: Text | None = None
    offset: Offset = 0


class GroupView(Parameters):
    name: Text
    cursor: Cursor = None
