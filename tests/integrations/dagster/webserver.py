"""Dagster's webserver, asked as its pages ask it: for the tests that launch runs through it. Holds no tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any

Ask = Callable[[str], Any]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def graphql(port: int) -> Ask:
    """A function that asks the webserver at this port; it answers None while there is none."""

    def ask(query: str) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql",
            json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    return ask


def launch(ask: Ask, job: str, assets: Sequence[str] = ()) -> str | None:
    """The id of a run of a job, or of these assets; None while its code location is not loaded."""
    found = ask("{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }")
    nodes = found["repositoriesOrError"].get("nodes") if found else None
    if not nodes:
        return None
    chosen = ", ".join(f'{{path: ["{each}"]}}' for each in assets)
    selector = (
        f'{{repositoryLocationName: "{nodes[0]["location"]["name"]}", repositoryName: "{nodes[0]["name"]}", '
        f'jobName: "{job}"' + (f", assetSelection: [{chosen}]" if chosen else "") + "}"
    )
    answer = ask(
        f"mutation {{ launchRun(executionParams: {{selector: {selector}}}) {{ __typename "
        "... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"
    )
    run = answer["launchRun"].get("run")
    assert run, answer
    return str(run["runId"])


def end_session(leader: int) -> None:
    """Whatever `dagster dev` left of its own session."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        pass
