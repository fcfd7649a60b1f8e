"""`xray doctor --redaction FILE` says what would be masked in a sample, and prints no secret."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tests.core.objects import made_up_secrets
from xray_core.cli import main

TOKEN = made_up_secrets.secret(0)


def shown(capsys: pytest.CaptureFixture[str], file: str) -> list[dict[str, object]]:
    assert main(["doctor", "--redaction", file, "--json"]) == 0
    text = capsys.readouterr().out
    assert TOKEN not in text
    assert "hunter2" not in text
    assert main(["doctor", "--redaction", file]) == 0
    plain = capsys.readouterr().out
    assert TOKEN not in plain
    assert "hunter2" not in plain
    found: list[dict[str, object]] = json.loads(text)["masked"]
    assert f"{len(found)} would be masked" in plain or not found
    return found


def test_in_json_it_says_where_and_by_which_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = {
        "user": {"db_password": "hunter2", "note": f"uses {TOKEN} since May"},
        "argv": ["x", "--token", "hunter2"],
        TOKEN: 1,
        "pin": 4711,
    }
    (tmp_path / "a.json").write_text(json.dumps(sample))
    found = shown(capsys, str(tmp_path / "a.json"))
    assert {(each["where"], each["rule"]) for each in found} == {
        ("$.user.db_password", "key db_password"),
        ("$.user.note", "github-token"),
        ("$.argv[2]", "after the flag --token"),
        ("$.[redacted]", "github-token"),
        ("$.pin", "key pin"),
    }
    assert next(each for each in found if each["where"] == "$.user.note")["text"] == "uses [redacted] since May"


def test_in_ndjson_and_text_it_says_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.ndjson").write_text('{"a": 1}\n{"b": "password=hunter2"}\nnot json: token=' + TOKEN + "\n")
    found = shown(capsys, str(tmp_path / "a.ndjson"))
    assert [(each["where"], each["rule"]) for each in found] == [
        ("line 2 $.b", "assignment of password"),
        ("line 3", "assignment of token"),
    ]
    (tmp_path / "a.log").write_text(f"all well\nlogin with password=hunter2\n\nGET /{TOKEN}\n")
    assert [each["where"] for each in shown(capsys, str(tmp_path / "a.log"))] == ["line 2", "line 4"]
    monkeypatch.setenv("XRAY_REDACT", r"text:EMP-\d+,^salary$")
    (tmp_path / "b.json").write_text('{"who": "EMP-1", "salary": 5}')
    assert [each["rule"] for each in shown(capsys, str(tmp_path / "b.json"))] == ["redact= of yours", "key salary"]


def test_it_reads_standard_input_and_says_when_there_is_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Input:
        buffer = io.BytesIO(b"the quick brown fox")

    monkeypatch.setattr(sys, "stdin", Input())
    assert main(["doctor", "--redaction", "-"]) == 0
    assert capsys.readouterr().out == "nothing would be masked\n"


def test_a_file_that_cannot_be_read_is_one_line_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--redaction", "/no/such/file"]) == 2
    assert capsys.readouterr().err == "xray: cannot read /no/such/file: No such file or directory\n"


def test_a_terminal_of_another_alphabet_shows_question_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_text(f"{'x' * 200} ключ = {TOKEN} {'x' * 200}", "utf-8")
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="latin-1"))
    assert main(["doctor", "--redaction", str(tmp_path / "a.txt")]) == 0
    assert b"???? = [redacted]" in shown.getvalue()
