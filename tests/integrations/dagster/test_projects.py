"""Projects of `dg`: their assets, script components and own components are steps; their runs go by the project's name.

Runs them by the commands that `dg launch` itself calls.

Tests locations.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster
import pytest
from click.testing import CliRunner
from xray_dagster import locations

from tests.integrations.dagster import project
from tests.integrations.dagster.capturing import Captured, steps_of
from xray_core.transport.memory import MemoryTransport
from xray_core.xray import XRay

if not hasattr(dagster, "load_from_defs_folder"):
    # nothing is missing: older versions of Dagster, which know no `dg`, are tested too (test_versions.py)
    pytest.skip("this version of Dagster has no projects of `dg`", allow_module_level=True)


@pytest.fixture
def launch(dagster_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Materializes assets of a module in this process, as `dg launch --assets SELECTION` does."""
    from dagster._cli.asset import asset_materialize_command

    before = set(sys.modules)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

    def materialize(place: Path, module: str, selection: str, *, by: str = "-m") -> None:
        monkeypatch.chdir(place)
        monkeypatch.setattr(sys, "path", [*sys.path, str(place / "src")])  # Dagster takes the first one out
        done = CliRunner().invoke(asset_materialize_command, ["--select", selection, by, module])
        assert done.exit_code == 0, (done.output, done.exception)

    yield materialize
    for name in set(sys.modules) - before:
        if name.startswith("shop"):
            del sys.modules[name]


def test_assets_and_components_of_a_project_are_steps_and_a_script_component_is_in_its_step(
    xray: Captured, launch: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    monkeypatch.setenv("XRAY_SPOOL_DIR", str(spool))
    monkeypatch.setenv("XRAY_API_URL", "http://127.0.0.1:9")
    place = project.write(tmp_path / "corner-shop", "shop")
    launch(place, "shop.definitions", "*")
    run, steps = xray.run, xray.steps
    assert (run["pipeline"], run["status"]) == ("corner-shop/assets", "completed")
    assert run["origin"]["ids"]["code_location"] == "corner-shop"
    assert {key for key, _ in steps} == {"offers", "affordable", "scores", "table"}
    assert xray.rejected("affordable") == ["o4", "o5"]
    assert xray.rejected("table") == ["row-4", "row-5", "row-6"]
    transport = MemoryTransport()
    with XRay("reader", transport=transport, spool_dir=spool, api_url="http://127.0.0.1:9") as reader:
        reader.sync_offline()
    scores = steps_of([*xray.records, *transport.records])["scores", 1]
    assert scores["reasons"]["rejected"] == {"score_too_low": 1}
    assert (scores["step_id"], scores["output"]["size"]) == (xray.step("scores")["step_id"], 2)


def test_a_project_that_loads_its_definitions_by_itself_goes_by_the_name_in_dg_toml(
    xray: Captured, launch: Callable[..., None], tmp_path: Path
) -> None:
    from dagster._cli.asset import asset_materialize_command

    if not any("--autoload-defs-module-name" in option.opts for option in asset_materialize_command.params):
        # as above: an older Dagster that is tested on purpose
        pytest.skip("this version of Dagster loads no definitions by itself")
    place = project.write(tmp_path / "shop", "shop_by_itself", dg_toml=True)
    (place / "src" / "shop_by_itself" / "definitions.py").unlink()
    launch(place, "shop_by_itself.defs", "offers", by="--autoload-defs-module-name")
    assert xray.run["pipeline"] == "the-shop_by_itself/assets"


@pytest.mark.parametrize(("by", "target", "pipeline"), [("-m", "shop_alone", "shop_alone/assets"), ("-f", "shop_alone.py", "shop_alone.py/assets")])  # fmt: skip
def test_a_run_that_a_command_executes_goes_by_the_name_that_dagster_dev_gives_the_same_definitions(
    xray: Captured, launch: Callable[..., None], tmp_path: Path, by: str, target: str, pipeline: str
) -> None:
    (tmp_path / "src").mkdir()
    text = "import dagster\n\n\n@dagster.asset\ndef one() -> int:\n    return 1\n\n\ndefs = dagster.Definitions(assets=[one], executor=dagster.in_process_executor)\n"
    for place in (tmp_path, tmp_path / "src"):
        (place / "shop_alone.py").write_text(text)
    launch(tmp_path, target, "one", by=by)
    assert xray.run["pipeline"] == pipeline


@pytest.mark.parametrize("text", ["", "not toml at all [", '[project]\nname = "other"\n', '[tool.dg]\nproject = "no table"\n', '[tool.dg.project]\nroot_module = "another"\n'])  # fmt: skip
def test_a_configuration_that_is_of_no_project_or_cannot_be_read_names_nothing(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    module = type(sys)("shop_unnamed")
    module.__file__ = str(tmp_path / "shop_unnamed.py")
    monkeypatch.setitem(sys.modules, "shop_unnamed", module)

    class Pointer:
        module = "shop_unnamed"

    assert locations.location_of(_run_of(Pointer)) == "shop_unnamed"


def test_a_job_that_a_script_made_is_of_no_location() -> None:
    assert locations.location_of(_run_of(None)) is None
    assert locations.location_of(object()) is None


def _run_of(pointer: Any) -> Any:
    class Repository:
        code_pointer = pointer

    class Origin:
        repository_origin = Repository

    class Run:
        remote_job_origin = None
        job_code_origin = Origin if pointer is not None else None

    return Run
