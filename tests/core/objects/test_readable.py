"""Stored inputs and outputs can be read: times, models, missing values, and the first rows of frames.

Tests frame_head.py.
"""

from __future__ import annotations

import datetime
import decimal
import json
import sys
import zoneinfo
from typing import Any

import numpy
import pandas
import polars
import pyarrow
import pydantic
import pytest

from tests.core.objects.test_sanitize import Ran
from tests.missing import need_modules
from xray_core.objects import redaction
from xray_core.objects.fingerprint import fingerprint
from xray_core.objects.frame_head import MAX_COLUMNS, MAX_ROWS
from xray_core.objects.redaction import REDACTED
from xray_core.objects.sanitize import Sanitizer

clean = Sanitizer().clean
UTC = datetime.timezone.utc


def test_subclasses_of_dates_and_times_read_as_dates_and_times() -> None:
    class Moment(datetime.datetime):
        def isoformat(self, *args: Any, **kwargs: Any) -> str:
            raise Ran

        def replace(self, *args: Any, **kwargs: Any) -> Any:
            raise Ran

    class Day(datetime.date):
        pass

    class Span(datetime.timedelta):
        def __str__(self) -> str:
            raise Ran

    class Price(decimal.Decimal):
        def __str__(self) -> str:
            raise Ran

    class Zone(datetime.tzinfo):
        def utcoffset(self, when: Any) -> Any:
            raise Ran

    assert clean(Moment(2013, 6, 14, 7, 30, tzinfo=UTC)) == "2013-06-14T07:30:00+00:00"
    assert (
        clean(Moment(2013, 6, 14, 7, 30, tzinfo=zoneinfo.ZoneInfo("America/New_York"))) == "2013-06-14T07:30:00-04:00"
    )
    assert clean(Moment(2013, 6, 14, 7, 30, tzinfo=Zone())) == "2013-06-14T07:30:00"
    assert clean(datetime.time(7, 30, tzinfo=Zone())) == "07:30:00"
    assert clean(Day(2013, 6, 14)) == "2013-06-14"
    assert clean(Span(days=1)) == "1 day, 0:00:00"
    assert clean(Price("1.50")) == "1.50"


def test_pendulums_times_read_as_times() -> None:
    need_modules("pendulum")
    import pendulum

    assert clean(pendulum.datetime(2013, 6, 14, 7, 30, tz="America/New_York")) == "2013-06-14T07:30:00-04:00"


def test_missing_values_and_library_scalars_read_as_what_they_are() -> None:
    found = clean([pandas.NaT, pandas.NA, pandas.Timestamp("2013-06-14", tz="UTC"), pandas.Timedelta("1 day"), pandas.Period("2013-06"),
                   numpy.datetime64("2013-06-14T07:30:00.000000001"), numpy.datetime64("NaT", "ns"), numpy.timedelta64(3, "D"), numpy.bool_(True)])  # fmt: skip
    assert found == [
        "NaT",
        "<NA>",
        "2013-06-14T00:00:00+00:00",
        "1 day, 0:00:00",
        "2013-06",
        "2013-06-14T07:30:00.000000001",
        "NaT",
        "3 days",
        True,
    ]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="pydantic 1 does not run on Python 3.14")
def test_models_of_pydantic_1_are_read() -> None:
    from pydantic import v1

    class Fare(v1.BaseModel):
        carrier: str
        password: str = "hunter2"

    cleaned = clean(Fare(carrier="UA"))
    assert cleaned["carrier"] == "UA"
    assert cleaned["password"] == REDACTED


_ROWS = {"id": [f"f{n}" for n in range(100)], "price": [n / 2 for n in range(100)], "password": ["hunter2"] * 100}


@pytest.mark.parametrize(
    "make", [pandas.DataFrame, polars.DataFrame, pyarrow.table, lambda rows: pyarrow.RecordBatch.from_pydict(rows)]
)
def test_the_first_rows_of_a_frame_are_shown(make: Any) -> None:
    cleaned = clean({"frame": make(_ROWS)})["frame"]
    assert cleaned["shape"][0] == 100
    assert list(cleaned["columns"]) == ["id", "price", "password"]
    assert cleaned["head"] == [{"id": f"f{n}", "price": n / 2, "password": REDACTED} for n in range(MAX_ROWS)]
    assert "hunter2" not in json.dumps(cleaned)


@pytest.mark.parametrize("make", [pandas.Series, polars.Series, pyarrow.chunked_array, numpy.array, pandas.Index])
def test_the_first_values_of_a_column_are_shown(make: Any) -> None:
    cleaned = clean(make([[1, 2, 3]] if make is pyarrow.chunked_array else [1, 2, 3]))
    assert cleaned["head"] == [1, 2, 3]


def test_a_head_is_bounded_and_says_of_how_much() -> None:
    wide = pandas.DataFrame({f"c{n}": ["x" * 10_000] * 1_000 for n in range(100)})
    cleaned = clean(wide)
    assert cleaned["shape"] == [1_000, 100]
    assert len(cleaned["columns"]) <= MAX_COLUMNS
    assert len(json.dumps(cleaned)) < 32_768
    assert clean(numpy.zeros((1_000, 1_000)))["head"] == [[0.0] * MAX_COLUMNS] * MAX_ROWS
    assert "head" not in clean(numpy.zeros((3, 3, 3)))
    twice = pandas.DataFrame([[1, 2]], columns=["a", "a"])
    assert clean(twice)["head"] == [{"a": 1, "a (1)": 2}]


def test_none_of_the_users_code_runs_for_a_head() -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise Ran

    hostile = type("Hostile", (), {"__str__": refuse, "__repr__": refuse, "__eq__": refuse})()
    json.dumps(clean(pandas.DataFrame({"a": [hostile, 1], 5: [1, 2]})))
    json.dumps(clean(numpy.array([hostile, 1], dtype=object)))
    sub = type(
        "Sub",
        (pandas.DataFrame,),
        {"_constructor": property(refuse), "iloc": property(refuse), "columns": property(refuse)},
    )
    assert clean(sub.__new__(sub)).get("head") is None


def test_a_lazy_frame_is_not_run() -> None:
    ran = []
    frame = polars.LazyFrame({"a": [1]}).map_batches(lambda batch: ran.append(1) or batch)
    assert clean(frame)["$type"].endswith("LazyFrame")
    assert ran == []


def test_a_head_makes_no_two_frames_equal() -> None:
    """The rows that are shown prove nothing of the others."""
    assert fingerprint(polars.DataFrame({"a": [1]}))["partial"] or fingerprint(
        polars.DataFrame({"a": [1]})
    ) != fingerprint(polars.DataFrame({"a": [2]}))


def test_row_41_what_a_secret_object_hides_is_masked_wherever_it_turns_up() -> None:
    from tests.core.capturing import Captured

    class Login(pydantic.BaseModel):
        user: str
        password: pydantic.SecretStr
        raw: pydantic.SecretBytes

    try:
        login = Login(user="ann", password=pydantic.SecretStr("Winter in Boston"), raw=pydantic.SecretBytes(b"x"))
        captured = Captured()
        with captured.run() as run, run.step("login") as step:
            step.set_input({"login": login, "typed": pydantic.Secret[str]("open sesame é\n")})
            step.reject("a", "r", {"tried": "with Winter in Boston as the word", "other": "say open sesame é\n now"})
        text = json.dumps(captured.sink.records, ensure_ascii=False)
        assert "Winter" not in text
        assert "sesame" not in text
        assert captured.step("login")["input"]["login"]["password"] == REDACTED
        assert captured.samples()[0]["details"] == {
            "tried": f"with {REDACTED} as the word",
            "other": f"say {REDACTED} now",
        }
    finally:
        redaction.forget()
