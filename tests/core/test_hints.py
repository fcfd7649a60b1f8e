"""A user's script under a strict type checker: what the runtime takes is accepted, wrong calls are not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.missing import need_command, need_modules

SCRIPT = """
import decimal
import enum
import uuid
from collections.abc import AsyncIterator, Iterator

from xray_core import XRay, current_step


class Why(enum.Enum):
    LATE = "late"


xray = XRay("p", api_url="http://127.0.0.1:8000", sample_rate=0.5)


@xray.step
def cheap(prices: list[int], *, limit: int = 100) -> list[int]:
    step = current_step()
    step.reject(7, "late")
    return [price for price in prices if price < limit]


@xray.step("named", step_type="filter", capture="full")
async def fetch(url: str) -> bytes:
    return url.encode()


@xray.step(step_type="generate")
def numbers(n: int) -> Iterator[int]:
    yield n


@xray.step
async def pages(n: int) -> AsyncIterator[str]:
    yield str(n)


class Ranker:
    @xray.step(step_type="rank")
    def rank(self, items: list[str]) -> str:
        return items[0]


async def main() -> None:
    found: list[int] = cheap([1, 2], limit=3)
    body: bytes = await fetch("x")
    first: str = Ranker().rank(["a"])
    for n in numbers(3):
        print(n + 1)
    async for page in pages(2):
        print(page.upper(), found, body, first)
    with xray.run(input={"q": 1}, run_id=uuid.uuid4(), tags=["a"], metadata={"m": 1}) as run:
        with run.step("filter", step_type="filter", capture="sample") as step:
            step.set_input_items([1, 2], key=lambda n: str(n))
            step.reject("a", Why.LATE, {"price": 1}, score=decimal.Decimal("0.1"), rank=2)
            step.accept(uuid.uuid4(), score=1)
            step.accept(("a", 1), details=object())
            step.decide("best", selected="a", reason=Why.LATE, alternatives=[("b", 0.5)], score=0.9)
        run.set_tag("team", "fares")


cheap("no list")  # wrong
cheap([1], limits=3)  # wrong
fetch(3)  # wrong
Ranker().rank([1])  # wrong
with xray.run(capture="everything") as run:  # wrong
    with run.step("s") as step:
        step.reject("a")  # wrong
        step.reject("a", 3)  # wrong
        step.reject("a", "r", score="high")  # wrong
        step.reject(["a"], "r")  # wrong
        step.accept("a", "fits", {}, 0.5, 3)  # wrong
        step.set_input_counts(3)  # wrong
        step.set_output_count("many")  # wrong
"""
WRONG = {number for number, line in enumerate(SCRIPT.splitlines(), 1) if line.endswith("# wrong")}


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "users_script.py"
    path.write_text(SCRIPT)
    return path


def test_mypy_strict_accepts_a_users_script_and_finds_each_wrong_call(script: Path) -> None:
    cache = Path(__file__).parents[2] / ".mypy_cache" / "users_script"
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(cache), str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=script.parent)
    found = {int(number) for number in re.findall(r"users_script\.py:(\d+): error", done.stdout)}
    assert found == WRONG, done.stdout


@pytest.mark.stack
def test_pyright_strict_accepts_a_users_script_and_finds_each_wrong_call(script: Path) -> None:
    need_modules("pyright")
    need_command("node")  # which pyright runs on
    (script.parent / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, cwd=script.parent)
    found = {int(number) for number in re.findall(r"users_script\.py:(\d+):\d+ - error", done.stdout)}
    assert found == WRONG, done.stdout
