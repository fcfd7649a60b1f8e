"""Behind the real nginx, with TLS, under a sub-path: pages, links, sign-in, the SDK and sign-in by the proxy's header.

Tests http/prefix.py and access/trusted.py against what they are for.
"""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from xray_server.access.keys import new_key
from xray_server.access.trusted import trusted_header
from xray_server.backends.sqlite.store import SQLiteStore
from xray_server.process.serve import listen
from xray_server.store import Store

from tests.live import health_of
from tests.missing import missing
from tests.server.conftest import LoopbackServer
from xray_core import XRay

pytestmark = pytest.mark.stack
CONFIGURATION = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ }}
http {{
  access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {directory}/cert.pem; ssl_certificate_key {directory}/key.pem;
    client_max_body_size 0;
    location /xray/ {{
      proxy_pass {upstream};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Prefix /xray;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-User $http_x_login;
    }}
    location / {{ return 404 "another application"; }}
  }}
}}
"""


@dataclass
class Proxied:
    """nginx in front of a server: where it is, how it is trusted, and keys of each scope."""

    url: str
    certificate: Path
    keys: dict[str, str]

    def client(self, **headers: str) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.certificate))
        return httpx.Client(base_url=self.url, verify=context, timeout=30, headers=headers)


@pytest.fixture
def proxied(store: Store, tmp_path: Path) -> Iterator[Proxied]:
    nginx, openssl = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"), shutil.which("openssl")
    if nginx is None or openssl is None:
        missing("nginx and openssl: apt-get install nginx-light openssl")
    assert nginx
    assert openssl
    assert isinstance(store, SQLiteStore)
    keys = {}
    for scope in ("read", "ingest", "admin"):
        key, keys[scope] = new_key(scope, scope=scope, now_us=1)
        store.add_key(key)
    server = LoopbackServer(store, trusted=trusted_header("X-Forwarded-User", "127.0.0.1", admins="grace"))
    certificate = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
                   "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{tmp_path}/key.pem", "-out", f"{tmp_path}/cert.pem"]  # fmt: skip
    subprocess.run([openssl, *certificate], check=True, capture_output=True, timeout=60)
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    file = tmp_path / "nginx.conf"
    file.write_text(CONFIGURATION.format(directory=tmp_path, port=port, upstream=server.url))
    process = subprocess.Popen([nginx, "-c", str(file), "-p", str(tmp_path)], stderr=subprocess.PIPE, text=True)
    made = Proxied(f"https://127.0.0.1:{port}/xray", tmp_path / "cert.pem", keys)
    try:
        _wait_for(made, process)
        yield made
    finally:
        process.terminate()
        process.wait(20)
        assert process.stderr is not None
        process.stderr.close()
        server.stop()


def _wait_for(proxied: Proxied, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    with proxied.client() as http:
        while True:
            try:
                assert health_of(http)["status"] == "ok"
                return
            except httpx.ConnectError:
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                assert time.monotonic() < deadline, "nginx did not start"
                time.sleep(0.02)  # between two looks, up to the deadline


def test_the_sdk_delivers_and_every_page_stays_below_the_path(
    proxied: Proxied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(proxied.certificate))
    xray = XRay("shop", api_url=proxied.url, api_key=proxied.keys["ingest"], spool_dir=tmp_path / "spool")
    with xray.run(run_id="http://a/b?c#d") as run, run.step("filter", step_type="filter") as step:
        step.reject("item/1", "too_dear", {"price": 150})
    assert xray.flush(30)
    xray.close()
    with proxied.client() as http:
        asked = http.get("/ui/steps?name=filter")
        assert asked.status_code == 303
        assert asked.headers["location"].startswith("/xray/ui/sign-in?next=")
        origin = {"Origin": proxied.url.removesuffix("/xray")}
        form = {"key": proxied.keys["read"], "next": "/ui"}
        signed = http.post("/ui/sign-in", data=form, headers=origin)
        assert (signed.status_code, signed.headers["location"]) == (303, "/xray/ui")
        cookie = signed.headers["set-cookie"]
        assert "HttpOnly" in cookie
        seen = _crawl(http)
    run_page = "/xray/ui/runs/http:%2F%2Fa%2Fb%3Fc%23d"
    assert any(address.lower().startswith(run_page.lower()) or "http%3A%2F%2Fa%2Fb" in address for address in seen), (
        seen
    )
    assert any("/items/" in address for address in seen)
    assert any(address.startswith("/xray/static/xray.css") for address in seen)


def _crawl(http: httpx.Client) -> set[str]:
    """Follow every link from the runs on; all must work and none leave the path."""
    waiting, seen = ["/xray/ui"], set()
    while waiting and len(seen) < 80:
        address = waiting.pop()
        if address in seen:
            continue
        seen.add(address)
        page = http.get(address.removeprefix("/xray"))
        assert page.status_code == 200, (address, page.status_code)
        if page.headers["content-type"].startswith("text/html"):
            for link in re.findall(r'(?:href|src)="([^"]+)"', page.text):
                if link.startswith("/"):
                    assert link.startswith("/xray/"), (address, link)
                    waiting.append(link.split("#")[0].replace("&amp;", "&"))
    return seen


def test_the_proxys_header_signs_in_and_a_page_of_another_site_does_not_use_it(proxied: Proxied) -> None:
    with proxied.client() as http:
        assert http.get("/ui").status_code == 303
        direct = {"Authorization": f"Bearer {proxied.keys['ingest']}"}
        assert http.post("/runs", json={"run_id": "r", "pipeline": "p"}, headers=direct).status_code == 200
    with proxied.client(**{"X-Login": "grace"}) as http:
        assert http.get("/ui/runs/r").status_code == 200
        assert http.post("/ui/runs/r/mark", data={"mark": "good"}, headers={"Origin": "https://evil.example"}).status_code == 403  # fmt: skip
        own = {"Origin": proxied.url.removesuffix("/xray")}
        marked = http.post("/ui/runs/r/mark", data={"mark": "good"}, headers=own)
        assert (marked.status_code, marked.headers["location"]) == (303, "/xray/ui/runs/r")
    with proxied.client(**{"X-Login": "ada"}) as http:
        assert http.get("/ui/runs/r").status_code == 200
        assert http.delete("/runs/r", headers=own).status_code == 403
    with proxied.client(**{"X-Forwarded-User": "grace"}) as http:  # nginx overwrites what a browser sends
        assert http.get("/ui/runs/r").status_code == 303
