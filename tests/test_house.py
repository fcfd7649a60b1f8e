"""What ruff, mypy and import-linter cannot keep: how long a function may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = (
    ROOT / "xray_core",
    ROOT / "integrations" / "xray_prefect",
    ROOT / "integrations" / "xray_airflow",
    ROOT / "integrations" / "xray_dagster",
    ROOT / "server" / "xray_server",
)
MAX_FUNCTION_LINES: Final = 60  # ruff counts statements (PLR0915), and a long call with many arguments is one statement


def modules() -> Iterator[Path]:
    """Every Python file of the packages that we ship."""
    for package in PACKAGES:
        assert package.is_dir(), package
        yield from sorted(package.rglob("*.py"))


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert long == []
