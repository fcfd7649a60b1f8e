"""A client that a generator makes of our OpenAPI document knows every answer, and works against the server.

Tests http/models/operating.py, http/models/reading.py and http/openapi.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.missing import missing
from tests.server.conftest import LoopbackServer

GENERATOR = Path(sys.prefix) / "openapi/bin/openapi-python-client"
DRIVER = """
import json, sys
from generated import Client
from generated.api.alerts import get_rules, post_rule, post_send, put_rule
from generated.api.explain import get_decisions, get_diff, get_item, get_trends, get_why
from generated.api.operate import get_health, get_ready
from generated.api.read import get_run, get_runs, get_search, get_steps
from generated.api.write import delete_item, delete_run, post_mark, post_run
from generated.models import ErrorAnswer, PostMarkBody, PostMarkBodyMark, PostedRun, Rule

said = {}
with Client(base_url=sys.argv[1], raise_on_unexpected_status=True) as client:
    for number in (1, 2):
        run = {"run_id": f"r{number}", "pipeline": "shop", "status": "completed", "started_at": f"2026-11-0{number}T10:00:00Z",
               "steps": [{"name": "filter", "step_type": "filter", "input_count": 2, "rejection_counts": {"late": 1},
                          "sampled_rejections": [{"item_id": "a", "reason": "late", "details": {"price": 150}}],
                          "acceptances": [{"item_id": "b"}]}]}
        said["posted"] = post_run.sync(client=client, body=PostedRun.from_dict(run)).accepted > 0
    runs = get_runs.sync(client=client, pipeline="shop", limit=1)
    said["runs"] = [run.run_id for run in runs.runs]
    said["more"] = [run.run_id for run in get_runs.sync(client=client, pipeline="shop", cursor=runs.next_cursor).runs]
    whole = get_run.sync("r1", client=client)
    said["run"] = [whole.status, whole.steps[0].ledger.rejected, whole.steps[0].sampled_rejections[0].details]
    said["steps"] = [step.name for step in get_steps.sync(client=client, reason="late").steps]
    said["search"] = [name.name for name in get_search.sync(client=client, q="fil").steps]
    why = get_why.sync("r1", "a", client=client)
    said["why"] = [why.outcome, why.reason, why.journey[0].step, why.certainty]
    diff = get_diff.sync("r1", "r2", client=client)
    said["diff"] = [diff.a, diff.b, diff.steps[0].name, diff.flipped]
    said["item"] = sorted(run.run_id for run in get_item.sync("a", client=client).runs)
    decisions = get_decisions.sync(client=client, reason="late")
    said["decisions"] = [decisions.decisions[0].item_id, decisions.decisions[0].step, decisions.estimate.sampled]
    said["trends"] = [trend.step for trend in get_trends.sync(client=client).trends]
    said["mark"] = post_mark.sync("r1", client=client, body=PostMarkBody(mark=PostMarkBodyMark.GOOD)).mark
    said["health"] = [get_health.sync(client=client).status, get_ready.sync(client=client).ready]
    rule = post_rule.sync(client=client, body=Rule.from_dict({"name": "n", "metric": "failed"}))
    said["rule"] = [rule.name, len(rule.secret), [each.state for each in get_rules.sync(client=client).rules]]
    changed = put_rule.sync(rule.rule_id, client=client, body=Rule.from_dict({"name": "m", "metric": "failed"}))
    said["changed"] = [changed.name, post_send.sync(rule.rule_id, client=client).deliveries]
    missing = get_run.sync("none", client=client)
    said["missing"] = [isinstance(missing, ErrorAnswer), missing.detail[0].field]
    said["deleted"] = [delete_item.sync("a", client=client).runs, delete_run.sync("r2", client=client).deleted]
print(json.dumps(said, default=str))
"""


@pytest.fixture
def generated(http: httpx.Client, tmp_path: Path) -> Path:
    """Where the package `generated` is, and the document that it was made of."""
    if not GENERATOR.exists():
        missing("a generator of clients: `make .venv/openapi/bin/openapi-python-client` installs it")
    document = tmp_path / "openapi.json"
    document.write_text(http.get("/openapi.json").text)
    made = subprocess.run(
        [GENERATOR, "generate", "--path", document, "--output-path", tmp_path / "generated", "--meta", "none"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    skipped = [line for line in (made.stdout + made.stderr).splitlines() if line.startswith("WARNING parsing")]
    # lines of JSON, and protobuf: no generator knows what to make of them; the SDK and OpenTelemetry send these
    assert skipped == [
        "WARNING parsing POST /ingest within write. Endpoint will not be generated.",
        "WARNING parsing POST /v1/traces within write.",
    ]
    return tmp_path


def test_a_generated_client_works_against_the_server(generated: Path, server: LoopbackServer) -> None:
    environ = {**os.environ, "PYTHONPATH": str(generated), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [GENERATOR.parent / "python", "-c", DRIVER, server.url],
        capture_output=True, text=True, timeout=60, env=environ, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == {
        "posted": True, "runs": ["r2"], "more": ["r1"], "run": ["completed", 1, {"price": 150}], "steps": ["filter", "filter"],
        "search": ["filter"], "why": ["rejected", "late", "filter", "exact"], "diff": ["r1", "r2", "filter", []],
        "item": ["r1", "r2"], "decisions": ["a", "filter", 2], "trends": ["filter"], "mark": "good",
        "health": ["ok", True], "rule": ["n", 64, ["ok"]], "changed": ["m", []], "missing": [True, "run_id"],
        "deleted": [2, True],
    }  # fmt: skip


def test_every_operation_has_a_name_of_its_own_and_a_typed_answer(http: httpx.Client) -> None:
    document: dict[str, Any] = http.get("/openapi.json").json()
    operations = [each for path in document["paths"].values() for each in path.values()]
    names = [each["operationId"] for each in operations]
    assert len(set(names)) == len(names)
    untyped = []
    for each in operations:
        contents = [answer.get("content", {}) for answer in each["responses"].values()]
        schemas = [content["application/json"]["schema"] for content in contents if "application/json" in content]
        if not schemas or any("$ref" not in schema for schema in schemas):
            untyped.append(each["operationId"])
    assert set(untyped) <= {"get_metrics", "traces"}, untyped
