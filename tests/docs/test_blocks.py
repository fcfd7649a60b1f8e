"""Every block of code in the documentation: what can be run is run, and what cannot says why.

Tests follow.py of this folder. XRAY_TEST_PYTHON names another Python, with X-Ray installed, to follow the pages in.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.docs.follow import RUN, Block, as_script, blocks
from tests.missing import missing
from xray_core.cli import make_parser

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLLOWED: Final = [page for page in PAGES if any(b.language in RUN and b.why is None for b in blocks(page.read_text()))]
EXTRAS: Final = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT).with_suffix(""))


def every_block(*languages: str) -> list[tuple[Path, Block]]:
    return [(page, block) for page in PAGES for block in blocks(page.read_text()) if block.language in languages]


def test_every_block_says_in_which_language_it_is() -> None:
    assert [f"{page.name}:{block.line}" for page, block in every_block("")] == []


def test_what_stands_in_blocks_is_well_formed_whether_it_is_run_or_not() -> None:
    for page, block in every_block("python", "setup"):
        compile(block.text, f"{page}:{block.line}", "exec")
    for page, block in every_block("sh"):
        checked = subprocess.run(["bash", "-n", "-c", as_script(block.text)], capture_output=True, text=True)
        assert checked.returncode == 0, f"{page.name}:{block.line} {checked.stderr}"
    for _, block in every_block("json"):
        json.loads(block.text)
    for _, block in every_block("ini"):
        configparser.ConfigParser(inline_comment_prefixes="#").read_string(block.text)


def test_every_command_of_x_ray_in_a_block_exists_with_its_options() -> None:
    parser, wrong = make_parser(), []
    for page, block in every_block("sh"):
        joined = re.sub(r"\\\n", " ", block.text)
        for command in re.findall(r"(?:^|\| |&& |; )(xray .*)$", joined, re.MULTILINE):
            words = shlex.split(re.split(r" (?:[|>;]|&&?)(?: |$)", command)[0], comments=True)
            try:
                parser.parse_args(words[1:])
            except SystemExit as exit:
                if exit.code:
                    wrong.append(f"{page.name}:{block.line} {command}")
    assert wrong == []


def test_every_extra_that_the_documentation_installs_exists() -> None:
    named = {
        (page.name, extra)
        for page in PAGES
        for extras in re.findall(r"xray-pipelines\[([\w,]+)\]", page.read_text())
        for extra in extras.split(",")
    }
    assert {each for each in named if each[1] not in EXTRAS} == set()


def followed(page: Path, directory: Path, *, timeout_s: float = 380) -> subprocess.CompletedProcess[str]:
    """Follow a page in an empty home, in a network of its own, so that its server's port is free."""
    python = os.environ.get("XRAY_TEST_PYTHON", sys.executable)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XRAY_", "PYTHON"))}
    environment |= {"HOME": str(directory / "home"), "COLUMNS": "120"}
    environment["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "120"  # 20 s by default
    (directory / "home").mkdir(exist_ok=True)
    command = [python, str(ROOT / "tests" / "docs" / "follow.py"), str(page), str(directory)]
    if shutil.which("unshare") and subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode == 0:
        command = ["unshare", "-rn", "bash", "-c", 'ip link set lo up; exec "$@"', "-", *command]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, timeout=timeout_s)


@pytest.mark.stack
@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", FOLLOWED, ids=name_of)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    python = os.environ.get("XRAY_TEST_PYTHON", sys.executable)
    if (
        page.stem in ("prefect", "airflow", "dagster")
        and subprocess.run([python, "-c", f"import {page.stem}"]).returncode
    ):
        missing(f"{page.stem}: pip install 'xray-pipelines[{page.stem}]'")
    place = tmp_path / "reader"
    place.mkdir()
    done = followed(page, place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["run"] > 0


def test_what_is_not_run_says_why_and_is_the_smaller_part(capsys: pytest.CaptureFixture[str]) -> None:
    runnable = every_block(*RUN)
    left_out: dict[str, int] = {}
    for _, block in runnable:
        if block.why is not None:
            left_out[block.why] = left_out.get(block.why, 0) + 1
    with capsys.disabled():
        print(
            f"\ndocumentation: {len(runnable)} blocks, {len(runnable) - sum(left_out.values())} run by test-stack, not run:"
        )
        for why, n in sorted(left_out.items(), key=lambda each: -each[1]):
            print(f"  {n:3} {why}")
    assert sum(left_out.values()) < len(runnable) / 3
