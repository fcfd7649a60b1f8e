"""Query parameters of the routes about many runs: groups of runs, spelled as `since=14d,until=4d,tag=model:v3`."""

from __future__ import annotations

from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError

from xray_server.http.params import Parameters, StatusName, Text, When, window
from xray_server.read.groups import MAX_RUNS
from xray_server.read.side_by_side import MAX_RUNS as MAX_SIDE_BY_SIDE
from xray_server.read.stability import MAX_RUNS as MAX_STABLE_RUNS
from xray_server.store import RunFilter

MAX_FIELDS: Final = 4


class _Group(Parameters):
    """What may be said of a group."""

    pipeline: Text | None = None
    status: StatusName | None = None
    since: When | None = None
    until: When | None = None
    tag: Text | None = None


class GroupsParameters(Parameters):
    """Of two groups of runs compared."""

    pipeline: Text | None = Field(None, description="of both groups")
    a: str = Field(max_length=1_000, description="as in since=14d,until=4d; also pipeline, status, tag")
    b: str = Field(max_length=1_000, description="as `a`")
    by: str | None = Field(None, max_length=500, description="fields of details, with commas between; 4 at most")
    runs: int = Field(MAX_RUNS, ge=2, le=MAX_RUNS, description="of each group, the newest")

    def groups(self) -> tuple[RunFilter, RunFilter]:
        """The filters that they make.

        Raises:
            RequestValidationError: naming what is wrong.
        """
        return self._group("a", self.a), self._group("b", self.b)

    def fields(self) -> list[str]:
        """The fields of details.

        Raises:
            RequestValidationError: there are too many.
        """
        names = [name.strip() for name in (self.by or "").split(",") if name.strip()]
        if len(names) > MAX_FIELDS:
            raise RequestValidationError([_wrong("by", f"at most {MAX_FIELDS} fields")])
        return names

    def _group(self, name: str, text: str) -> RunFilter:
        fields: dict[str, str] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            key, sign, value = part.partition("=")
            if not sign or key.strip() in fields:
                raise RequestValidationError([_wrong(name, f"{part[:100]!r}: say each once, as in since=14d,until=4d")])
            fields[key.strip()] = value.strip()
        try:
            given = {} if self.pipeline is None else {"pipeline": self.pipeline}
            found = _Group.model_validate({**given, **fields})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise RequestValidationError([_wrong(name, f"{first['loc'][0]}: {first['msg']}")]) from None
        since_us, until_us = window(found.since, found.until)
        return RunFilter(
            pipeline=found.pipeline, status=found.status, tag=found.tag, since_us=since_us, until_us=until_us
        )


class StabilityParameters(Parameters):
    """Of the stability of a pipeline."""

    pipeline: Text
    step: Text | None = Field(None, description="name of the step; else all of them")
    same_input: bool = Field(False, description="only runs whose input was the same: the most of the newest")
    runs: int = Field(20, ge=2, le=MAX_STABLE_RUNS, description="at most so many, the newest")


class SeparatesParameters(Parameters):
    """Of what separates rejected items from others."""

    step: Text = Field(description="name of the step; with `run` its id too")
    run: Text | None = Field(None, description="of this run alone; else of the newest samples of all")
    pipeline: Text | None = None
    reason: Text | None = Field(None, description="those rejected for it, against those let through")
    since: When | None = None
    until: When | None = None


class AboveParameters(Parameters):
    """Of two items of a run."""

    a: Text = Field(description="an item")
    b: Text = Field(description="the item that it is held against")


class SideBySideParameters(Parameters):
    """Of several runs."""

    runs: str = Field(max_length=4_000, description=f"run ids with commas between; 2 to {MAX_SIDE_BY_SIDE}")

    def ids(self) -> list[str]:
        """The runs, each once.

        Raises:
            RequestValidationError: too few or too many.
        """
        found = list(dict.fromkeys(each.strip() for each in self.runs.split(",") if each.strip()))
        if not 2 <= len(found) <= MAX_SIDE_BY_SIDE:
            raise RequestValidationError([_wrong("runs", f"give 2 to {MAX_SIDE_BY_SIDE} runs, with commas between")])
        return found


def _wrong(name: str, message: str) -> dict[str, Any]:
    return {"type": "value_error", "loc": ("query", name), "msg": message, "input": None}
