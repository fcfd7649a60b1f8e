"""Rows 36 and 38: users without a home, directories of others, proxies, certificates, addresses."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import xray_core
from tests.core.hostile import Raises
from tests.live import Live
from xray_core import ConfigurationError, XRay
from xray_core.query.http_reader import HttpReader
from xray_core.settings import load
from xray_core.transport import TransportError
from xray_core.transport.http import HttpTransport, session_for

ROOT = Path(__file__).parents[3]
RUN = """
import logging
logging.basicConfig(format="%(levelname)s %(message)s")
from xray_core import XRay
xray = XRay("p")
with xray.run() as run, run.step("filter") as step:
    step.reject("p1", "late")
assert xray.flush(20), xray.counters
xray.close()
"""
AS_NOBODY = """
import requests, xray_core.xray, xray_core.transport.http, xray_core.plugins.host, xray_core.settings
import xray_prefect.instrument, xray_airflow.origin, xray_dagster.instrument
import xray_dask.plugin, xray_ray.plugin, xray_spark.plugin
import os
xray_core.transport.http._load_requests()  # read before rights are dropped: the interpreter may lie in root's home
os.setgroups([]); os.setgid(54321); os.setuid(54321)
"""
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="run as root to test processes of another user")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    server = Live(tmp_path)
    yield server
    server.stop()


def _run(source: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "VIRTUAL_ENV") if name in os.environ}
    command = [sys.executable, "-W", "ignore", "-c", source]
    return subprocess.run(command, env={**kept, **environment}, cwd="/", capture_output=True, text=True, timeout=90)


@as_root
def test_row_36_without_a_home_records_wait_in_memory_and_one_line_names_the_setting(live: Live) -> None:
    done = _run(AS_NOBODY + RUN, XRAY_API_URL=live.url)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("WARNING") == 1
    assert "XRAY_SPOOL_DIR" in done.stderr
    assert len(live.get("/runs")["runs"]) == 1


@as_root
def test_row_36_another_users_spool_is_left_alone(live: Live, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    assert _run(RUN, XRAY_API_URL=live.url, XRAY_SPOOL_DIR=str(spool)).returncode == 0
    done = _run(AS_NOBODY + RUN, XRAY_API_URL=live.url, XRAY_SPOOL_DIR=str(spool))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("WARNING") == 1
    assert "XRAY_SPOOL_DIR" in done.stderr
    assert len(live.get("/runs")["runs"]) == 2


def test_row_36_a_home_that_cannot_be_found_is_an_error_only_where_the_setting_asks_for_it() -> None:
    with pytest.raises(ConfigurationError, match="XRAY_SPOOL_DIR"):
        load({}, {"XRAY_SPOOL_DIR": "~nobody-of-that-name/spool"})


def test_row_38_a_proxy_of_the_environment_is_not_asked_for_this_machines_own_server(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with live.xray("p") as client:
        with client.run():
            pass
    with HttpReader(load({"api_url": live.url}, {})) as reader:
        assert len(reader.get("runs")["runs"]) == 1


def test_row_38_a_socks_proxy_without_its_package_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socks", None)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:9")
    transport = HttpTransport("http://xray.invalid:8000")
    with pytest.raises(TransportError, match=r"SOCKS|Connect"):  # the latter where the package is installed
        transport.send(b"", timeout_s=1)
    transport.close()


def test_row_38_the_certificates_of_ssl_cert_file_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/company.pem")
    with session_for("https://xray.example.com/ingest") as session:
        assert session.verify == "/etc/company.pem"


def test_row_38_spaces_around_an_address_are_taken_off_and_inside_it_are_an_error_that_names_it() -> None:
    assert load({}, {"XRAY_API_URL": " http://127.0.0.1:8000/ "}).api_url == "http://127.0.0.1:8000"
    with pytest.raises(ConfigurationError, match="XRAY_API_URL"):
        load({}, {"XRAY_API_URL": "http://my server:8000"})


def test_row_37_the_core_runs_from_a_zip_file(live: Live, tmp_path: Path) -> None:
    archive = tmp_path / "core.zip"
    package = Path(xray_core.__file__).parent
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in package.rglob("*.py"):
            zipped.write(path, path.relative_to(package.parent))
    source = (
        f"import sys; sys.path.insert(0, {str(archive)!r})\nimport xray_core; assert '.zip' in xray_core.__file__\n"
    )
    done = _run(source + RUN, XRAY_API_URL=live.url, XRAY_SPOOL_DIR=str(tmp_path / "spool"))
    assert done.returncode == 0, done.stderr
    assert len(live.get("/runs")["runs"]) == 1


@pytest.mark.parametrize(
    "pipeline",
    [None, 7, b"x", "\ud800", "x" * 600, object(), Raises()],
    ids=["None", "int", "bytes", "surrogate", "long", "object", "raises"],
)
def test_row_37_a_client_takes_any_pipeline_name(pipeline: object) -> None:
    client = XRay(pipeline, enabled=False)  # type: ignore[arg-type]
    with client.run(pipeline=pipeline) as run, run.step(pipeline):  # type: ignore[arg-type]
        pass
    client.close(0)
