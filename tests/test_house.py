"""What ruff, mypy and import-linter cannot keep: how long functions and files may be, and that every module's tests can be found."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
# Each package, and the folder in which its tests mirror it.
PACKAGES: Final = {
    ROOT / "xray_core": ROOT / "tests" / "core",
    ROOT / "integrations" / "xray_prefect": ROOT / "tests" / "integrations" / "prefect",
    ROOT / "integrations" / "xray_airflow": ROOT / "tests" / "integrations" / "airflow",
    ROOT / "integrations" / "xray_dagster": ROOT / "tests" / "integrations" / "dagster",
    ROOT / "integrations" / "xray_dask": ROOT / "tests" / "integrations" / "dask",
    ROOT / "integrations" / "xray_ray": ROOT / "tests" / "integrations" / "ray",
    ROOT / "integrations" / "xray_spark": ROOT / "tests" / "integrations" / "spark",
    ROOT / "integrations" / "xray_mcp": ROOT / "tests" / "server" / "mcp",
    ROOT / "integrations" / "xray_openlineage": ROOT / "tests" / "integrations" / "openlineage",
    ROOT / "integrations" / "xray_otel": ROOT / "tests" / "integrations" / "otel",
    ROOT / "server" / "xray_server": ROOT / "tests" / "server",
    ROOT / "examples" / "xray_examples": ROOT / "tests" / "examples",
}
MAX_FILE_LINES: Final = 500
MAX_FUNCTION_LINES: Final = 60  # ruff counts statements (PLR0915), and a long call with many arguments is one statement
_NAMED: Final = re.compile(r"^Tests .*?(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)
_MODULE: Final = re.compile(r"[\w/]+\.py")


def modules(package: Path) -> Iterator[Path]:
    """Every Python file of a package that we ship."""
    assert package.is_dir(), package
    yield from sorted(package.rglob("*.py"))


def test_every_package_is_looked_at() -> None:
    found = {
        path.parent for shelf in ("integrations", "server", "examples") for path in (ROOT / shelf).glob("*/__init__.py")
    }
    assert found | {ROOT / "xray_core"} == set(PACKAGES)


def test_no_function_is_longer_than_a_screen() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines"
        for package in PACKAGES
        for path in modules(package)
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert long == []


def test_no_file_is_longer_than_five_hundred_lines() -> None:
    written = [path for folder in (*PACKAGES, ROOT / "tests") for path in modules(folder)]
    assert [
        str(path.relative_to(ROOT)) for path in written if path.read_text("utf-8").count("\n") > MAX_FILE_LINES
    ] == []


def test_no_test_module_imports_what_changes_the_process_for_the_tests_after_it() -> None:
    """Airflow takes its home from the environment of its first import; eventlet warns of every fork; gevent patches."""
    importing = [
        str(test.relative_to(ROOT))
        for test in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in ast.parse(test.read_text("utf-8")).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
        if name.split(".")[0] in {"airflow", "eventlet", "gevent"}
    ]
    assert importing == []


def named_modules(test: Path, folder: Path) -> Iterator[str]:
    """The modules that a test's docstring names ("Tests run.py, cli/asking.py and render.py."), without ending.

    A name without a folder stands in the folder of the name before it, else in the one that the test's own mirrors.
    """
    for sentence in _NAMED.findall(ast.get_docstring(ast.parse(test.read_text("utf-8"))) or ""):
        inside = str(folder).removeprefix(".")
        for name in _MODULE.findall(sentence):
            path = name.removesuffix(".py")
            if "/" in path:
                inside = path.rpartition("/")[0]
                yield path
            else:
                yield f"{inside}/{path}".lstrip("/")
                if inside == str(folder):
                    yield path  # of the package's top


def test_every_module_has_a_test_file_of_its_name_or_is_named_where_it_is_tested() -> None:
    named_elsewhere = {
        name
        for test in (ROOT / "tests").rglob("test_*.py")
        for name in named_modules(test, Path("elsewhere"))
        if "/" in name
    }
    untested = []
    for package, tests in PACKAGES.items():
        named = {
            name for test in tests.rglob("test_*.py") for name in named_modules(test, test.parent.relative_to(tests))
        }
        for module in modules(package):
            path = module.relative_to(package).with_suffix("")
            if module.stem.startswith("__") or path.parts[0] == "_autoload":
                continue  # faces hold no logic; what stands on other processes' path is tested with autoload.py
            has_file = (tests / path.parent / f"test_{module.stem}.py").exists()
            if not has_file and {str(path), f"{package.name}/{path}"}.isdisjoint(named | named_elsewhere):
                untested.append(str(module.relative_to(ROOT)))
    assert untested == []
