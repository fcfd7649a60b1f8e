"""Programs on real engines, in environments of their own: what they print, and whether the server counted every item once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

from tests.integrations import judging
from tests.live import Live
from xray_core import verdicts

ROOT = Path(__file__).parents[2]
# one place a checkout: the environments hold it as it stands
_STEERS = ("XRAY_", "PREFECT_", "PYTHON", "PYTEST")
VENVS = Path(tempfile.gettempdir()) / f"xray-engines-{os.getuid()}-{zlib.crc32(os.fsencode(ROOT)):08x}"


def environment(*packages: str) -> Path:
    """The Python of an environment with these packages and this checkout; made once, and kept for the next time."""
    venv = VENVS / "-".join(each.partition("[")[0] for each in packages)
    python = venv / "bin" / "python"
    if not (venv / "complete").exists():
        run = [str(Path(sys.executable).parent / "uv")]
        settings = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
        subprocess.run([*run, "venv", "-q", "--clear", "--python", sys.executable, str(venv)], check=True, env=settings)
        subprocess.run(
            [*run, "pip", "install", "-q", "--python", str(python), *packages, "psutil", "-e", str(ROOT)],
            check=True,
            env=settings,
            timeout=900,
        )
        (venv / "complete").touch()
    return python


def printed(python: Path, program: Path, *arguments: str, live: Live, directory: Path, **more: str) -> list[str]:
    """The lines that a program prints.

    Args:
        directory: the machine's home, and where its processes leave word.
        more: of the environment.
    """
    home, word = directory / "home", directory / "word"
    for each in (home, word):
        each.mkdir(exist_ok=True)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(_STEERS)}
    variables |= {
        "HOME": str(home), "XRAY_API_URL": live.url, "JUDGED_DIR": str(word), "PYSPARK_PYTHON": str(python),
        "RAY_USAGE_STATS_ENABLED": "0", **more,
    }  # fmt: skip
    done = subprocess.run(
        [str(python), str(program), *arguments],
        env=variables, cwd=directory, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout[-2_000:], done.stderr[-4_000:])
    return done.stdout.splitlines()


def run(python: Path, program: Path, job: str, *, live: Live, directory: Path, items: int, chunks: int) -> Any:
    """What a program of judging.py says of a job over so many items in so many chunks."""
    of_items = {"JUDGED_ITEMS": str(items), "JUDGED_CHUNKS": str(chunks), "PYTHONPATH": str(ROOT)}
    return json.loads(printed(python, program, job, live=live, directory=directory, **of_items)[-1])


def every_item_counts_once(live: Live, found: Any, items: int, *, attempts: int) -> None:
    """The ledger is exact, the sets hold each item once, and one of a dead attempt is found as its retry judged it.

    Args:
        attempts: how many attempts of tasks the server has heard of, at least: so that the test is one.
    """
    kept, rejected, total = _expected(items)
    if found["kept"] >= 0:
        assert found["kept"] == kept, "the engine itself kept what it should"
    (step,) = [each for each in live.get(f"/runs/{found['run_id']}")["steps"] if each["name"] == "judge"]
    ledger = step["ledger"]
    assert (ledger["input"], ledger["accepted"], ledger["rejected"]) == (items, kept, rejected)
    assert (ledger["unaccounted"], ledger["flags"]) == (0, [])
    (stored,) = live.store.step("default", found["run_id"], found["step_id"])
    sums = [int(each, 16) for reasons in stored.state["sums"].values() for each in reasons.values()]
    assert f"{sum(sums) % 2**64:016x}" == total, "every item, and each once"
    in_sets = list(live.store.sets("default", found["run_id"]))
    assert sum(each.n for each in in_sets) == items
    prints = {
        fp
        for each in in_sets
        for fp in (verdicts.decode(each.fp40) if each.fp40 is not None else map(verdicts.fingerprint, each.ids or ()))
    }
    assert len(prints) > items - 10, "a few of a million fingerprints may be equal by chance"
    for item in (0, items // 2, items - 1):
        outcome = "rejected" if judging.price_of(item) > 700 else "accepted"
        assert live.why(found["run_id"], f"item-{item}")["journey"][0]["outcome"] == outcome
    assert attempts_heard_of(live, found) >= attempts


def attempts_heard_of(live: Live, found: Any) -> int:
    """How many attempts of tasks sent something of the step, whether they count or not."""
    (dumped,) = [each for each in live.store.dump(cursor=None, limit=1_000).items if each.run_id == found["run_id"]]
    parts = {each["part"] for each in dumped.records if each["kind"] == "step" and each.get("task")}
    return len({part.rpartition("~")[0] for part in parts})


def _expected(items: int) -> tuple[int, int, str]:
    kept = total = 0
    for item in range(items):
        kept += judging.price_of(item) <= 700
        total += verdicts.hash64(f"item-{item}")
    return kept, items - kept, f"{total % 2**64:016x}"
