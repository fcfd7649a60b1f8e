"""The command line against a real server: what it prints, what it answers to pipes, how it ends.

Tests cli/asking.py, local.py, markdown.py and render.py.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from xray_server.backends.sqlite.store import SQLiteStore

from tests.server.conftest import LoopbackServer
from xray_core import XRay
from xray_core.cli import main


@pytest.fixture(scope="module")
def api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with one run in it."""
    place = tmp_path_factory.mktemp("server")
    store = SQLiteStore(place / "xray.db")
    server = LoopbackServer(store)
    client = XRay("nightly", api_url=server.url, spool_dir=str(place / "spool"))
    with client.run(run_id="0199aaaa-0000-7000-8000-000000000001", input={"q": 1}) as run:
        with run.step("filter", "filter") as step:
            step.set_input_count(4)
            step.reject("p1", "price_too_high", {"price": 150})
            step.reject("p2", "price_too_high")
            step.accept("p3")
    assert client.flush(10)
    client.close()
    yield server.url
    server.stop()
    store.close()


@pytest.fixture(autouse=True)
def _server(api_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_API_URL", api_url)


def test_runs_and_steps_are_tables_on_a_terminal_and_json_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--pipeline", "nightly"]) == 0
    assert "nightly" in capsys.readouterr().out
    assert main(["runs", "--json", "--since", "1h", "--pipeline", "nightly"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["pipeline"] == "nightly"
    assert main(["steps", "--step-type", "filter", "--rejection-rate-gt", "0.4", "--pipeline", "nightly"]) == 0
    assert "price_too_high 2" in capsys.readouterr().out
    assert main(["steps", "--rejection-rate-gt", "0.9", "--pipeline", "nightly"]) == 0
    assert "no steps fit" in capsys.readouterr().out


def test_the_trend_of_a_step_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["steps", "--trend", "--pipeline", "nightly", "--since", "2h"]) == 0
    assert "nightly/filter" in capsys.readouterr().out
    assert main(["steps", "--trend", "--reason", "x"]) == 2


@pytest.mark.parametrize("run_id", ["last", "0199aaaa", "0199aaaa-0000-7000-8000-000000000001"])
def test_show_draws_the_funnel_and_says_what_is_unaccounted(run_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", run_id, "--pipeline", "nightly"]) == 0
    shown = capsys.readouterr().out
    assert "price_too_high 2" in shown
    assert "filter: 1 item went in and nothing says what became of it" in shown


def test_show_says_that_a_record_of_the_run_was_refused(api_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = '{"v": 1, "kind": "run", "run_id": "r-9", "part": "a", "rev": 1, "pipeline": "p", "status": "completed"}'
    bad = '{"v": 1, "kind": "step", "run_id": "r-9", "step_id": "s", "name": "filter", "counts": {"accepted": -1}}'
    assert httpx.post(f"{api_url}/ingest", content=f"{run}\n{bad}").json()["accepted"] == 1
    assert main(["show", "r-9"]) == 0
    assert "refused: step filter: counts[...]: Expected int >= 0" in capsys.readouterr().out


def test_exit_code_1_says_that_there_is_no_such_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "no-such-run"]) == 1
    assert "no-such-run" in capsys.readouterr().err
    assert main(["show", "last", "--pipeline", "nothing"]) == 1


def test_exit_code_2_with_one_line_when_there_is_no_server(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("XRAY_API_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        assert main(["runs"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "xray serve" in told


def test_exit_code_2_for_bad_usage_names_the_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--since", "yesterday"]) == 2
    assert "since" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["steps", "--rejection-rate-gt", "much"])
    assert ended.value.code == 2


def test_hostile_text_cannot_steer_the_terminal(
    api_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    client = XRay("hostile\x1b[2J", api_url=api_url, spool_dir=str(tmp_path))
    with pytest.raises(ValueError, match="two"), client.run() as run, run.step("\x1b[2J[red]step[/]") as step:
        step.set_input_count(5)
        step.set_output_count(1)
        step.accept_many(["a", "b"])
        step.reject("[/c]", "\x1b]0;title\x07[bold]")
        raise ValueError("two\n\x1b[2Jlines")
    assert client.flush(10)
    client.close()
    assert main(["show", run.run_id]) == 0
    shown = capsys.readouterr().out
    assert "\x1b[2J" not in shown
    assert "hostile\\x1b[2J" in shown
    assert "[red]step[/]" in shown
    assert "ValueError: two\n\\x1b[2Jlines" in shown
    assert "contradict each other" in shown
    main(["why", "[/c]", "--over", "\x1b[2J", "--run", run.run_id])
    assert "\x1b[2J" not in capsys.readouterr().out


def test_doctor_says_what_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["server"]["problem"] is None
    assert report["spool"]["waiting"] == 0
    assert main(["doctor"]) == 0
    assert "nothing waits" in capsys.readouterr().out


def test_sync_delivers_what_a_dead_process_left_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import os\nfrom xray_core import XRay\nrun = XRay('left behind', timeout_s=1).run()\n"
        "run.__enter__().__exit__(None, None, None)\nos._exit(0)"
    )
    monkeypatch.setenv("XRAY_SPOOL_DIR", str(tmp_path / "spool"))
    subprocess.run([sys.executable, "-c", code], env=os.environ, check=True)
    assert main(["sync", "--json"]) == 0
    synced = json.loads(capsys.readouterr().out)
    assert synced["failed"] == 0
    assert main(["runs", "--pipeline", "left behind", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 1


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "xray why UA-1545-0101" in capsys.readouterr().out


def test_a_run_is_marked_and_diff_compares_with_it_for_ci(
    api_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = XRay("pull-request", api_url=api_url, spool_dir=str(tmp_path / "spool"))
    for limit in (3, 3, 1):
        with client.run(input={"q": 1}) as run, run.step("filter", "filter", metadata={"limit": limit}) as step:
            for n in range(4):
                step.accept(f"p{n}") if n < limit else step.reject(f"p{n}", "too_big")
    assert client.flush(10)
    client.close()
    main(["runs", "--pipeline", "pull-request", "--json"])
    bad, same, good = (run["run_id"] for run in json.loads(capsys.readouterr().out)["runs"])
    assert main(["mark", good, "good", "--note", "release 1"]) == 0
    assert capsys.readouterr().out.strip() == f"run {good} is marked good: release 1"
    assert main(["diff", same, "--baseline", "good", "--exit-code"]) == 0
    assert "the last run marked good" in " ".join(capsys.readouterr().out.split())
    assert main(["diff", bad, "--baseline", "good", "--exit-code", "--markdown"]) == 3
    told = capsys.readouterr().out
    assert told.startswith("### X-Ray: first differs at `filter`")
    assert "| `steps.filter.metadata.limit` | 3 | 1 |" in told
    assert "- `p1` at `filter`: accepted -> rejected (too_big)" in told
    assert main(["diff", bad, "--baseline", "good"]) == 0
    table = capsys.readouterr().out
    for figures in ("accepted 3 -> 1 (-2)", "rejected 1 -> 3", "too_big 1 -> 3 (+2)"):
        assert figures in table, table
    assert main(["diff", bad, "--baseline", good[:30], "--brief", "--tolerance", "1e-3", "--ignore", "input.q"]) == 0
    assert "that was asked for" in " ".join(capsys.readouterr().out.split())
    assert main(["diff", bad]) == 2
