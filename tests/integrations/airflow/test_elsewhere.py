"""Tasks whose code runs in an interpreter of its own or in a pod, as docs/airflow.md says, with the real operators.

ExternalPythonOperator is in test_tasks.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from xray_airflow.fields import run_id_of, step_id_of

from tests.integrations.airflow.airflow_stack import ROOT
from tests.integrations.airflow.conftest import Captured, Outcome
from tests.missing import missing

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

# With what they need and Airflow does not.
KUBERNETES = (
    "apache-airflow-providers-cncf-kubernetes", "kubernetes", "kubernetes-asyncio", "websocket-client", "requests-oauthlib",
    "oauthlib", "durationpy", "aiofiles", "aiohttp", "aiohappyeyeballs", "aiosignal", "frozenlist", "multidict", "propcache", "yarl",
)  # fmt: skip
CLUSTER = {  # none: the pod is made, not started
    "apiVersion": "v1", "kind": "Config", "current-context": "none", "users": [{"name": "none", "user": {}}],
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
}  # fmt: skip
POD = """
import json, re, sys, uuid
from datetime import datetime, timezone
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import DAG
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

page = open(sys.argv[1]).read()
block = next(each for each in re.findall(r"^```python\\n(.*?)^```", page, re.S | re.M) if "KubernetesPodOperator(" in each)
with DAG("pods", schedule=None) as dag:
    exec(block)
ti = RuntimeTaskInstance.model_construct(
    id=uuid.uuid4(), task_id="score", dag_id="pods", run_id="r1", try_number=2, map_index=-1, task=dag.task_dict["score"],
    dag_version_id=uuid.uuid4(), max_tries=1, start_date=datetime.now(timezone.utc), state=None)
context = ti.get_template_context()
ti.task.render_template_fields(context)
pod = ti.task.build_pod_request_obj(context)
print(json.dumps({each.name: each.value for each in pod.spec.containers[0].env}))
"""


@pytest.fixture
def uv() -> str:
    found = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        missing("uv: make .venv/.dev installs it")
    return found


def test_a_function_in_a_virtualenv_of_its_own_finds_its_step(
    uv: str,
    tmp_path: Path,
    runs_task: Callable[..., Outcome],
    captured: Callable[[], Captured],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subprocess.run([uv, "build", "--wheel", "--quiet", "--out-dir", str(tmp_path), str(ROOT)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    monkeypatch.setenv("XRAY_TEST_WHEEL", f"xray-pipelines @ {wheel.as_uri()}")
    monkeypatch.setenv("PATH", f"{Path(uv).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    outcome = runs_task("virtualenv", dag_id="elsewhere", dag_file="elsewhere.py")
    assert outcome.states == ["success"]
    seen = captured()
    step = seen.step("virtualenv")
    assert (step["status"], step["reasons"]["rejected"], step["output"]["size"]) == ("completed", {"too_large": 2}, 2)
    assert [seen.exact_reason(item) for item in ("n3", "n4")] == ["too_large", "too_large"]


def test_a_pod_of_the_docs_is_given_its_step_and_what_runs_in_it_is_that_step(
    uv: str, tmp_path: Path, captured: Callable[[], Captured], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(tempfile.gettempdir()) / "xray-airflow-kubernetes"
    if not (place / "kubernetes").exists():
        install = [uv, "pip", "install", "--quiet", "--no-deps", "--target", str(place), *KUBERNETES]
        done = subprocess.run(install, capture_output=True, text=True, timeout=300)
        if done.returncode:
            missing(f"pip install apache-airflow-providers-cncf-kubernetes: {done.stderr[-300:]}")
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path / "airflow"), "PYTHONPATH": str(place),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "KUBECONFIG": str(tmp_path / "kubeconfig"),
    }  # fmt: skip
    (tmp_path / "kubeconfig").write_text(json.dumps(CLUSTER))
    command = [sys.executable, "-c", POD, str(ROOT / "docs" / "airflow.md")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3_000:]
    given = json.loads(done.stdout.splitlines()[-1])
    assert {name: given[name] for name in ("XRAY_RUN_ID", "XRAY_STEP_ID", "XRAY_STEP_ATTEMPT")} == {
        "XRAY_RUN_ID": run_id_of("pods", "r1"), "XRAY_STEP_ID": step_id_of("pods", "r1", "score", -1), "XRAY_STEP_ATTEMPT": "2",
    }  # fmt: skip

    inside = {**given, "XRAY_API_URL": "http://127.0.0.1:9", "XRAY_SPOOL_DIR": os.environ["XRAY_SPOOL_DIR"], "PATH": "/usr/bin:/bin"}  # fmt: skip
    monkeypatch.setenv("XRAY_API_URL", inside["XRAY_API_URL"])
    code = "from xray_core import current_step; current_step().reject('p', 'in_pod')"
    subprocess.run([sys.executable, "-c", code], env=inside, check=True, timeout=60)
    (record,) = (each for each in captured().records if each["kind"] == "step")
    assert (record["run_id"], record["step_id"], record["attempt"]) == (
        given["XRAY_RUN_ID"],
        given["XRAY_STEP_ID"],
        2,
    )
    assert record["reasons"]["rejected"] == {"in_pod": 1}
