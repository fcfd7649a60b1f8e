"""The documentation site: every page is in its navigation, and the reference has every public name."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.docs.follow import blocks

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
# What adapters of this repository need of the core, and nobody else.
INSIDE: Final = {"attach_task_run", "attached", "part", "reset_after_fork", "snapshot", "task_attempt"}
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


def entries() -> dict[str, dict[str, Any]]:
    """Names after `:::`, in full, with their options."""
    pages = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    found = re.findall(r"^::: (\S+)\n((?: {4}.*\n)*)", pages, re.MULTILINE)
    return {name: (yaml.safe_load(body) or {}).get("options", {}) for name, body in found}


def documented() -> set[str]:
    return set(entries())


def members(shown: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The methods, properties and functions of a class or module that the reference prints, by name."""
    if not (inspect.isclass(shown) or inspect.ismodule(shown)) or options.get("members") is False:
        return {}
    found = {}
    for name, each in inspect.getmembers(shown):
        code = each.fget if isinstance(each, property) else each
        at = getattr(code, "__module__", None) or ""
        ours = at == shown.__name__ if inspect.ismodule(shown) else at.startswith("xray_")
        is_shown = (inspect.isfunction(code) or inspect.isclass(code)) and ours and kept(name, options)
        if is_shown and not (inspect.isclass(code) and inspect.isclass(shown)):
            found[name] = each
    return found


def kept(name: str, options: dict[str, Any]) -> bool:
    """As mkdocstrings reads its filters: "!pattern" leaves out, and where one keeps, it must."""
    patterns = options.get("filters", ["!^_"])
    wanted = [each for each in patterns if not each.startswith("!")]
    return not any(re.search(each[1:], name) for each in patterns if each.startswith("!")) and (
        not wanted or any(re.search(each, name) for each in wanted)
    )


@pytest.mark.parametrize("module", PUBLIC)
def test_the_reference_has_every_public_name(module: str) -> None:
    names = {f"{module}.{name}" for name in import_module(module).__all__}
    elsewhere = {"xray_core.hookimpl", "xray_core.Client"}  # shown in use; with its results
    assert names - elsewhere <= documented()


def everything_shown() -> list[tuple[str, Any]]:
    """(name in full, what it is) of all that the reference prints: names after `:::`, and their members."""
    found = []
    for full, options in entries().items():
        module, _, name = full.rpartition(".")
        shown = getattr(import_module(module), name, None)
        shown = import_module(full) if shown is None else shown
        found += [(full, shown), *((f"{full}.{name}", each) for name, each in members(shown, options).items())]
    return found


def test_what_is_shown_of_each_public_name_says_what_it_does_and_what_it_takes() -> None:
    shown = everything_shown()
    assert len(shown) > 150
    assert [full for full, each in shown if not inspect.getdoc(each)] == []


def test_every_public_name_and_method_of_the_reference_stands_in_an_example_of_it() -> None:
    pages = [page.read_text() for page in (DOCS / "api").glob("*.md")]
    examples = "\n".join(block.text for page in pages for block in blocks(page) if block.language == "python")
    without = [
        full for full, each in everything_shown()
        if not inspect.ismodule(each) and not re.search(rf"\b{full.rpartition('.')[2]}\b", examples)
    ]  # fmt: skip
    assert without == []


def test_what_the_reference_leaves_out_is_for_adapters_and_stands_in_their_example() -> None:
    example = (DOCS / "api" / "plugins.md").read_text().partition("## For adapters")[2]
    for full in ("xray_core.XRay", "xray_core.Run", "xray_core.Step"):
        module, _, name = full.rpartition(".")
        shown = getattr(import_module(module), name)
        left_out = members(shown, {}).keys() - members(shown, entries()[full]).keys()
        silent = {each for each in left_out if not re.search(rf"\.{each}\b", example)}
        assert silent <= INSIDE, full


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
