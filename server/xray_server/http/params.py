"""Query parameters of the API, checked: an unknown one or a bad value is a 422 that names it. Knows no SQL."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from xray_server.read import runs
from xray_server.read.text_search import BUDGET_MS, MAX_BUDGET_MS
from xray_server.store import MAX_PAGE, RunFilter, StepFilter
from xray_server.times import parse_time

MAX_SAMPLES: Final = 1000


def _is_time(text: str) -> str:
    parse_time(text, 0)
    return text


Text = Annotated[str, Field(max_length=512)]
When = Annotated[
    str,
    Field(max_length=64, description="ISO 8601 (naive means UTC), or how long ago: 24h, 7d"),
    AfterValidator(_is_time),
]
Cursor = Annotated[str | None, Field(max_length=200, description="`next_cursor` of the page before")]
StatusName = Literal["running", "completed", "failed", "skipped"]


class Parameters(BaseModel):
    """Parameters of a route; one that is not declared is an error."""

    model_config = ConfigDict(extra="forbid")


class Paged(Parameters):
    """A page of a list."""

    limit: int = Field(50, ge=1, le=MAX_PAGE)
    cursor: Cursor = None


def _run_fields(text: str) -> str:
    return _known_fields(text, runs.RUN_FIELDS)


def _step_fields(text: str) -> str:
    return _known_fields(text, runs.STEP_FIELDS)


def _known_fields(text: str, known: Collection[str]) -> str:
    for name in text.split(","):
        if name.strip() not in known:
            raise ValueError(f"there is no field {name.strip()[:100]!r}; there are: {', '.join(known)}")
    return text


_BUDGET: Final = "how long items, errors and metadata are looked for, each, from the newest back"
_FIELDS: Final = Field(
    max_length=1_000,
    description="names with commas between: only these, whole. Else all, large values by their heads (see `truncated`)",
)


Format = Annotated[
    Literal["json", "csv", "ndjson"], Field(description="csv and ndjson: the rows of this page as a file")
]


def chosen_fields(text: str | None) -> tuple[str, ...] | None:
    """The fields that a parameter names; None: all."""
    return None if text is None else tuple(name.strip() for name in text.split(","))


class RunsFilter(Paged):
    """Which runs are listed."""

    pipeline: Text | None = None
    status: StatusName | None = None
    since: When | None = None
    until: When | None = None
    tag: Text | None = Field(None, description="`key` or `key:value`")
    q: Text | None = Field(None, description="beginning of a run id or tag value, or part of a pipeline's name")

    def where(self) -> RunFilter:
        """The filter that they make; what is "ago" is counted from now."""
        since_us, until_us = window(self.since, self.until)
        return RunFilter(
            pipeline=self.pipeline, status=self.status, since_us=since_us, until_us=until_us, tag=self.tag, q=self.q
        )


class RunsParameters(RunsFilter):
    """Of the list of runs."""

    fields: Annotated[str, _FIELDS, AfterValidator(_run_fields)] | None = None
    format: Format = "json"


class StepsFilter(Paged):
    """Which steps across runs are listed."""

    step_type: Text | None = None
    name: Text | None = None
    pipeline: Text | None = None
    status: StatusName | None = None
    reason: Text | None = None
    rejection_rate_gt: float | None = Field(None, allow_inf_nan=False)
    rejection_rate_lt: float | None = Field(None, allow_inf_nan=False)
    duration_ms_gt: float | None = Field(None, ge=0, le=1e13, allow_inf_nan=False)
    since: When | None = None
    until: When | None = None

    def where(self) -> StepFilter:
        """The filter that they make; what is "ago" is counted from now."""
        since_us, until_us = window(self.since, self.until)
        return StepFilter(
            step_type=self.step_type,
            name=self.name,
            pipeline=self.pipeline,
            status=self.status,
            reason=self.reason,
            rejection_rate_gt=self.rejection_rate_gt,
            rejection_rate_lt=self.rejection_rate_lt,
            duration_us_gt=None if self.duration_ms_gt is None else int(self.duration_ms_gt * 1000),
            since_us=since_us,
            until_us=until_us,
        )


class StepsParameters(StepsFilter):
    """Of the list of steps across runs."""

    fields: Annotated[str, _FIELDS, AfterValidator(_step_fields)] | None = None
    format: Format = "json"


class RunParameters(Parameters):
    """Of one run."""

    limit: int = Field(200, ge=1, le=MAX_PAGE, description="of steps")
    cursor: Cursor = None
    samples: int = Field(100, ge=0, le=MAX_SAMPLES, description="at most so many samples of a kind for each step")


SearchBudget = Annotated[float, Field(ge=0, le=MAX_BUDGET_MS, allow_inf_nan=False, description=_BUDGET)]


class SearchParameters(Parameters):
    """Of the search for what begins with a text."""

    q: str = Field(min_length=1, max_length=512)
    limit: int = Field(10, ge=1, le=100, description="of each kind")
    budget_ms: SearchBudget = BUDGET_MS


class NoParameters(Parameters):
    """Of routes that take none."""


def window(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """Two times of a query in microseconds since the epoch; what is "ago" is counted from now."""
    now_us = time.time_ns() // 1000
    return (
        None if since is None else parse_time(since, now_us),
        None if until is None else parse_time(until, now_us),
    )
