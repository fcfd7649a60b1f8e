"""`xray show` of a run with mapped tasks: one line for all instances, or each by its number.

Tests cli/mapped.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from xray_server.backends.sqlite.store import SQLiteStore

from tests.server.conftest import LoopbackServer
from xray_core import XRay
from xray_core.cli import main
from xray_core.cli.mapped import grouped, numbered


@pytest.fixture(scope="module")
def api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a run of two mapped tasks: of one, instance 2 fails at its first try; the other's are all alike."""
    place: Path = tmp_path_factory.mktemp("server")
    store = SQLiteStore(place / "xray.db")
    server = LoopbackServer(store)
    client = XRay("mapped", api_url=server.url, spool_dir=str(place / "spool"))
    with client.run() as run:
        run.open_step("load").close()
        for n in range(12):
            step = run.open_step("pick", map_index=n)
            step.reject_many([f"{n}-{k}" for k in range(n % 3)], "dear")
            step.accept_many([f"{n}-kept-{k}" for k in range(2)])
            step.close("failed" if n == 2 else "completed", error={"type": "E", "message": "m"} if n == 2 else None)
        again = run.open_step("pick", map_index=2, attempt=2)
        again.accept_many(["2-kept-0"])
        again.close()
        for n in range(3):
            run.open_step("store", map_index=n).close()
    assert client.flush(10)
    client.close()
    yield server.url
    server.stop()
    store.close()


@pytest.fixture(autouse=True)
def _server(api_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_API_URL", api_url)


def _lines(capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    assert main(["show", "last", *options]) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    return [line for line in shown if line.startswith(("load", "pick", "store"))]


def test_show_draws_the_instances_of_a_mapped_task_as_one_line_with_their_count_range_and_worst(
    capsys: pytest.CaptureFixture[str],
) -> None:
    load, pick, again, store = _lines(capsys)
    assert load.startswith("load ")
    assert pick.startswith("pick ×12 1 failed ")
    assert " 36 24 " in pick  # in, out
    assert pick.endswith("dear 12 · worst [2]")
    assert again.startswith("pick[2] try 2 ")
    assert store.split() == ["store", "×3", "–", "–"]  # all alike, and nothing is known of items


def test_show_each_numbers_them(capsys: pytest.CaptureFixture[str]) -> None:
    lines = _lines(capsys, "--each")
    assert len(lines) == 17
    assert {f"pick[{n}]" for n in range(12)} <= {line.split()[0] for line in lines}
    assert any(line.startswith("pick[2] failed ") for line in lines)


def test_the_worst_instance_is_the_one_that_failed_then_the_one_that_lost_most() -> None:
    def step(
        name: str, n: int | None, before: int | None, after: int | None, status: str = "completed"
    ) -> dict[str, object]:
        ledger = {"input": before, "accepted": after, "unaccounted": None, "flags": []}
        return {"step_id": f"{name}{n}", "name": name, "map_index": n, "status": status, "ledger": ledger}

    steps = [step("a", 0, 10, 9), step("b", None, 5, 5), step("a", 1, 10, 2), step("a", 2, None, None)]
    together, other = grouped(steps)
    assert together["mapped"]["worst"]["map_index"] == 1
    assert (together["mapped"]["count"], together["mapped"]["accepted"]) == (3, (2, 9))
    assert (together["ledger"]["input"], together["ledger"]["accepted"]) == (20, 11)
    assert (numbered(other), numbered(steps[2])) == ("b", "a[1]")
    (failing,) = grouped([*steps[:1], step("a", 5, 10, 10, "failed")])
    assert (failing["mapped"]["worst"]["map_index"], failing["status"]) == (5, "failed")
