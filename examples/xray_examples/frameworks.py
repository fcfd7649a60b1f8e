"""How each framework runs the flights pipeline: its environment, and the commands a user would type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Framework:
    """What it takes to run the pipeline once for each seed.

    Attributes:
        title: the framework's name as people write it.
        environment: variables that keep what it writes inside the demo's directory.
        setup: programs that are run before, with their arguments.
        runs: those that run the pipeline.
        files: name inside the directory -> text, written before.
    """

    title: str
    environment: Mapping[str, str]
    runs: Sequence[Sequence[str]]
    setup: Sequence[Sequence[str]] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def framework(name: str, directory: Path, seeds: Sequence[int]) -> Framework:
    """The framework of that name (prefect, airflow or dagster), run inside `directory`."""
    return {"prefect": _prefect, "airflow": _airflow, "dagster": _dagster}[name](directory, seeds)


def _prefect(directory: Path, seeds: Sequence[int]) -> Framework:
    return Framework(
        "Prefect",
        {
            "PREFECT_HOME": str(directory / "prefect"),
            "PREFECT_PROFILES_PATH": str(directory / "prefect" / "profiles.toml"),
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",  # it makes its database the first time
        },
        [["xray", "run", "--", "python", "-m", "xray_examples.flights.prefect_flow", *map(str, seeds)]],
    )


def _dagster(directory: Path, seeds: Sequence[int]) -> Framework:
    return Framework(
        "Dagster",
        {"DAGSTER_HOME": str(directory / "dagster"), "DAGSTER_DISABLE_TELEMETRY": "1"},
        [["xray", "run", "--", "python", "-m", "xray_examples.flights.dagster_defs", *map(str, seeds)]],
        files={"dagster/dagster.yaml": "telemetry:\n  enabled: false\n"},
    )


def _airflow(directory: Path, seeds: Sequence[int]) -> Framework:
    home = directory / "airflow"
    return Framework(
        "Airflow",
        {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        },
        # Airflow loads X-Ray's plugin by itself
        [["airflow", "dags", "test", "flight_rebooking", "--conf", f'{{"model_seed": {seed}}}'] for seed in seeds],
        setup=[["airflow", "db", "migrate"]],
        files={
            "airflow/dags/flights.py": "from xray_examples.flights.airflow_dag import *  # the dag that airflow looks for\n"
        },
    )
