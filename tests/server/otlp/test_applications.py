"""Real applications with the real instrumentations, each in an environment of its own (`make test-stack`): no line of them is
ours but the exporter's address."""

from __future__ import annotations

import httpx
import pytest

from tests.server.conftest import LoopbackServer
from tests.server.otlp.applications import APPLICATIONS, Application

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]


@pytest.mark.parametrize("application", APPLICATIONS, ids=lambda each: each.name)
def test_why_names_the_document_that_a_running_application_dropped_and_where(
    server: LoopbackServer, http: httpx.Client, application: Application
) -> None:
    application.run(server.url)
    [run] = http.get("/runs").json()["runs"]
    assert (run["pipeline"], run["status"]) == (application.name, "completed")
    answer = http.get(f"/runs/{run['run_id']}/items/{application.dropped}").json()
    if application.name.startswith("genai"):  # what this dialect cannot tell is said
        assert answer["outcome"] == "not_captured"
        assert f"{application.at} cannot tell: it did not come out" in answer["sentence"]
    else:
        assert (answer["outcome"], answer["step"]) == ("not_selected", application.at)
