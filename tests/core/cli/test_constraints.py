"""`xray constraints`: files of versions that were tested together, as the tests of this repository were."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xray_core.cli import main
from xray_core.cli.local import CONSTRAINTS

ROOT = Path(__file__).parents[3]


def lines_of(path: Path) -> set[str]:
    return set(path.read_text().splitlines())


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_file_pins_what_the_tests_run_with_for_every_python(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["constraints", name]) == 0
    pinned = lines_of(Path(capsys.readouterr().out.strip()))
    tested = lines_of(ROOT / "constraints.txt")

    def versions(lines: set[str]) -> set[str]:  # a marker may be wider where fewer packages ask for the version
        return {line.split(" ;")[0] for line in lines}

    assert versions(pinned) <= versions(tested)
    declared = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL | re.MULTILINE)
    assert declared is not None
    needed = set(re.findall(r'"([\w-]+)>=', declared[1])) | ({"uvicorn"} if name == "server" else {name})
    assert {each.replace("airflow", "apache-airflow") for each in needed} <= {line.split("==")[0] for line in pinned}


def test_without_a_name_all_files_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["constraints"]) == 0
    paths = capsys.readouterr().out.splitlines()
    assert [Path(path).stem for path in paths] == list(CONSTRAINTS)
    assert all(Path(path).is_file() for path in paths)
