"""Query parameters of the pages, checked as those of the API are: which view, filter and offset an address asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from xray_server.http.explain_params import ItemParameters, ItemsParameters, WhatIfParameters
from xray_server.http.many_params import (
    AboveParameters,
    GroupsParameters,
    SeparatesParameters,
    SideBySideParameters,
    StabilityParameters,
)
from xray_server.http.params import Cursor, Parameters, RunsFilter, SearchBudget, StatusName, StepsFilter, Text, When
from xray_server.pages.trends import Figure
from xray_server.read.text_search import BUDGET_MS

Offset = Annotated[int, Field(ge=0, le=1_000_000)]


class FromForm(BaseModel):
    """A form sends the fields that were left empty too."""

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value != ""} if isinstance(values, Mapping) else values


class RunsView(FromForm, RunsFilter):
    """Of the list of runs."""

    sort: Text | None = None


class RunView(FromForm, Parameters):
    """Of one run: which view, and from which row on."""

    view: Literal["funnel", "timeline", "graph"] = "funnel"
    scale: Literal["linear", "log"] | None = None
    offset: Offset = 0
    item: Text | None = None


class ItemView(Parameters):
    """Of one item in a run."""

    offset: Offset = 0


class ItemsView(FromForm, ItemsParameters):
    """Of the items of a run."""


class HistoryView(FromForm, ItemParameters):
    """Of one item over time."""


class WhatIfView(FromForm, WhatIfParameters):
    """Of another limit."""


class GroupsView(FromForm, GroupsParameters):
    """Of two groups of runs; none yet, on the empty page."""

    a: str = Field("", max_length=1_000)
    b: str = Field("", max_length=1_000)


class SideBySideView(FromForm, SideBySideParameters):
    """Of several runs; none yet, on the empty page."""

    runs: str = Field("", max_length=4_000)


class StabilityView(FromForm, StabilityParameters):
    """Of the stability of a pipeline; of none, on the empty page."""

    pipeline: Text = ""


class SeparatesView(FromForm, SeparatesParameters):
    """Of what separates a step's rejected items from the others; of no step yet, on the empty page."""

    step: Text = ""


class AboveView(FromForm, AboveParameters):
    """Of two items of a run; of one alone, the page asks for the other."""

    a: Text = ""
    b: Text = ""


class TrendsView(FromForm, Parameters):
    """Of one figure of steps over time."""

    figure: Figure = "rejected"
    step: Text | None = None
    pipeline: Text | None = None
    since: When = "7d"
    until: When | None = None


class CompareView(FromForm, Parameters):
    """Of two runs compared."""

    a: Text | None = None
    b: Text | None = None
    offset: Offset = 0


class SearchView(Parameters):
    """Of the search."""

    q: Text = ""
    budget_ms: SearchBudget = BUDGET_MS


class StepsView(FromForm, StepsFilter):
    """Of the list of steps across runs."""

    sort: Text | None = None


class StepView(Parameters):
    """Of one step: which attempt, and how its samples are sorted and filtered."""

    attempt: int | None = Field(None, ge=0, le=1_000_000_000)
    sort: Text = "outcome"
    outcome: Text | None = None
    reason: Text | None = None
    offset: Offset = 0


class GroupView(Parameters):
    """Of the steps of one name in a run."""

    name: Text
    cursor: Cursor = None
    sort: Text | None = None
    status: StatusName | None = None
