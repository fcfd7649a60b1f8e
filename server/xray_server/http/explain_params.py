"""Query parameters of the explaining routes, checked as all others are: an unknown one or a bad value is named."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError

from xray_core.compare import Options, options
from xray_core.errors import ConfigurationError
from xray_core.model import Outcome
from xray_server.http.params import Cursor, Parameters, Text, When, window
from xray_server.read.item_history import HistoryFilter
from xray_server.read.item_list import ItemFilter
from xray_server.read.sample_search import BUDGET_MS, ESTIMATE_MS, Comparison, DecisionFilter, DetailTest
from xray_server.store import StepFilter

MAX_DETAIL_TESTS: Final = 20
_MAX_PATH_CHARS: Final = 200
_DEFAULT_TREND_US: Final = 7 * 86_400_000_000
_DETAILS: Final = "details."
_SUFFIXES: Final[dict[str, Comparison]] = {"_gte": "gte", "_lte": "lte", "_gt": "gt", "_lt": "lt", "_exists": "exists"}


class ItemParameters(Parameters):
    """Of one item across runs."""

    pipeline: Text | None = None
    outcome: Outcome | None = Field(None, description="what became of it")
    reason: Text | None = None
    step: Text | None = Field(None, description="name of the step that said so")
    since: When | None = None
    until: When | None = None
    limit: int = Field(20, ge=1, le=200, description="of runs")
    cursor: Cursor = None

    def chosen(self) -> HistoryFilter:
        """The filter that they make."""
        since_us, until_us = window(self.since, self.until)
        return HistoryFilter(
            pipeline=self.pipeline,
            outcome=self.outcome,
            reason=self.reason,
            step=self.step,
            since_us=since_us,
            until_us=until_us,
        )


class ItemsParameters(Parameters):
    """Of the items of a run."""

    step: Text | None = Field(None, description="name or id of the step")
    outcome: Literal["accepted", "rejected", "selected", "not_selected", "errored", "in", "out"] | None = None
    reason: Text | None = Field(None, description="empty: those without a reason")
    attempt: int | None = Field(None, ge=0, le=1_000_000_000, description="else the last of each step")
    fingerprints: bool = Field(False, description="list those too that are known by fingerprint alone")
    format: Literal["json", "csv", "ndjson"] = Field("json", description="csv and ndjson: all of them, to be saved")
    limit: int = Field(50, ge=1, le=1000)
    cursor: str | None = Field(None, max_length=4_000, description="`next_cursor` of the page before")

    def chosen(self) -> ItemFilter:
        """The filter that they make."""
        return ItemFilter(
            step=self.step,
            outcome=self.outcome,
            reason=self.reason,
            attempt=self.attempt,
            fingerprints=self.fingerprints,
        )


class WhatIfParameters(Parameters):
    """Of another limit."""

    step: Text = Field(description="name or id of the step")
    limit: float | None = Field(
        None, allow_inf_nan=False, description="the new limit; none: what is near the present one"
    )
    reason: Text | None = Field(None, description="whose limit, where several reasons declare values")
    item: Text | None = Field(None, description="keep the list to this item")
    rows: int = Field(50, ge=1, le=1000, description="items on a page")
    cursor: str | None = Field(None, max_length=4_000, description="`next_cursor` of the page before")


class DiffParameters(Parameters):
    """Of a comparison: with which run, how close numbers count as equal, what is left out."""

    baseline: Text | None = Field(
        None,
        description="for `baseline` as b: a run id, good (the last marked good), or median:20 (nearest to the medians)",
    )
    tolerance: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="relative; numbers closer are equal"
    )
    ignore: Text | None = Field(None, description="paths to leave out, with commas between: input.request_id,input.at")

    def chosen(self) -> Options:
        """The options of the comparison; a wrong path is a 422 that names it."""
        try:
            return options(self.tolerance, (self.ignore or "").split(","))
        except ConfigurationError as error:
            wrong = _wrong("ignore", str(error))
            raise RequestValidationError([wrong]) from None


class DecisionsParameters(Parameters):
    """Of a search inside samples, but for the conditions on details."""

    item: Text | None = Field(None, description="item id")
    reason: Text | None = None
    outcome: Outcome | None = None
    step: Text | None = Field(None, description="name of the step")
    step_type: Text | None = None
    pipeline: Text | None = None
    since: When | None = None
    until: When | None = None
    limit: int = Field(50, ge=1, le=1000)
    cursor: Cursor = None
    estimate_ms: int = Field(
        ESTIMATE_MS,
        ge=0,
        le=BUDGET_MS,
        description="how long to go on estimating once the page is full",
    )

    def chosen(self, details: list[DetailTest]) -> DecisionFilter:
        """The filter that these and the conditions on details make."""
        since_us, until_us = window(self.since, self.until)
        where = StepFilter(
            step_type=self.step_type,
            name=self.step,
            pipeline=self.pipeline,
            reason=self.reason,
            since_us=since_us,
            until_us=until_us,
        )
        return DecisionFilter(where=where, item_id=self.item, outcome=self.outcome, details=details)


class TrendsParameters(Parameters):
    """Of trends."""

    pipeline: Text | None = None
    step: Text | None = Field(None, description="name of the step")
    since: When | None = Field(None, description="default 7d; ISO 8601 (naive means UTC), or how long ago")
    until: When | None = None
    bucket: Literal["hour", "day"] = "hour"
    numbers: bool = Field(False, description="scores and declared values of the `step` too")

    def times(self) -> tuple[int, int]:
        """From (inclusive) and until (exclusive), in microseconds since the epoch."""
        now_us = time.time_ns() // 1000
        since_us, until_us = window(self.since, self.until)
        until_us = now_us + 1 if until_us is None else until_us
        return (until_us - _DEFAULT_TREND_US if since_us is None else since_us), until_us


def decisions_parameters(pairs: Iterable[tuple[str, str]]) -> tuple[DecisionsParameters, list[DetailTest]]:
    """The parameters of a search: those with fixed names, and one test for each `details.PATH`.

    Raises:
        RequestValidationError: naming each that is wrong.
    """
    fixed: dict[str, str] = {}
    tests: list[DetailTest] = []
    wrong: list[dict[str, Any]] = []
    for name, value in pairs:
        if not name.startswith(_DETAILS):
            fixed[name] = value
            continue
        path, comparison = name[len(_DETAILS) :], _comparison(name)
        if comparison != "eq":
            path = path[: path.rindex("_")]
        if not path or len(path) > _MAX_PATH_CHARS:
            wrong.append(_wrong(name, "name a detail, as in details.price_gt"))
        elif comparison == "exists" and value not in ("true", "false"):
            wrong.append(_wrong(name, "true or false"))
        elif len(tests) >= MAX_DETAIL_TESTS:
            wrong.append(_wrong(name, f"at most {MAX_DETAIL_TESTS} conditions on details"))
        else:
            tests.append(DetailTest(path, comparison, value))
    try:
        parameters = DecisionsParameters.model_validate(fixed)
    except ValidationError as error:
        wrong += [{**each, "loc": ("query", *each["loc"])} for each in error.errors(include_url=False)]
    if wrong:
        raise RequestValidationError(wrong)
    return parameters, tests


def _comparison(name: str) -> Comparison:
    return next((comparison for suffix, comparison in _SUFFIXES.items() if name.endswith(suffix)), "eq")


def _wrong(name: str, message: str) -> dict[str, Any]:
    return {"type": "value_error", "loc": ("query", name), "msg": message, "input": None}
