"""The documentation site: every page is in its navigation, and the reference has every public name."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
PUBLIC: Final = (
    "xray_core",
    "xray_core.testing",
    "xray_prefect",
    "xray_dagster",
    "xray_otel",
    "xray_openlineage",
    "xray_dask",
    "xray_ray",
    "xray_spark",
)
SECTIONS: Final = ["Home", "Start", "How-to", "Explanation", "Reference", "Operate"]


def navigation() -> list[Any]:
    return list(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])


def pages_in(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    values = entry.values() if isinstance(entry, dict) else entry
    return [page for value in values for page in pages_in(value)]


def test_every_page_is_in_the_navigation_once_under_one_of_five_sections() -> None:
    assert [next(iter(section)) for section in navigation()] == SECTIONS
    assert sorted(pages_in(navigation())) == sorted(str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md"))


def documented() -> set[str]:
    """Names after `:::`, in full."""
    pages = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    return set(re.findall(r"^::: (\S+)$", pages, re.MULTILINE))


@pytest.mark.parametrize("module", PUBLIC)
def test_the_reference_has_every_public_name(module: str) -> None:
    names = {f"{module}.{name}" for name in import_module(module).__all__}
    elsewhere = {"xray_core.hookimpl", "xray_core.Client"}  # shown in use; with its results
    assert names - elsewhere <= documented()


def test_what_is_shown_of_each_public_name_says_what_it_does_and_what_it_takes() -> None:
    silent = []
    for full in sorted(documented()):
        module, _, name = full.rpartition(".")
        shown = getattr(import_module(module), name, None)
        if shown is None:
            import_module(full)  # a module, whose members are documented
            continue
        members = [shown, *(each for key, each in inspect.getmembers(shown) if not key.startswith("_"))]
        silent += [
            f"{full}: {getattr(each, '__name__', each)}"
            for each in members
            if inspect.isfunction(each) and each.__module__.startswith("xray_") and not inspect.getdoc(each)
        ]
    assert silent == []


def test_every_page_of_the_reference_begins_with_an_example() -> None:
    for page in (DOCS / "api").glob("*.md"):
        text = page.read_text()
        assert 0 < text.find("```python") < text.find(":::"), page.name


def test_the_reference_prints_commands_settings_and_metrics_as_the_code_has_them() -> None:
    made: dict[str, Any] = {}
    exec(compile((DOCS / "generated.py").read_text(), "generated.py", "exec"), made)
    for page, parts in {
        "cli.md": ["## xray why", "## xray keys create", "--trusted-header"],
        "settings.md": ["| `sample_rate` | `XRAY_SAMPLE_RATE` | `0.01` |"],
        "metrics.md": ["| `xray_store_up` | gauge |", "`method`, `route`, `status`"],
    }.items():
        text = made["on_page_markdown"]((DOCS / page).read_text())
        assert "<!-- generated" not in text
        for part in parts:
            assert part in text, page
