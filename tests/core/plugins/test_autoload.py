"""`xray run`: real child processes, with a framework and an adapter installed beside them.

Tests autoload.py and _autoload/sitecustomize.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.missing import missing
from xray_core import autoload

RUN = "import sys; from xray_core import autoload; sys.exit(autoload.run(sys.argv[1:]))"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory on PYTHONPATH with a framework, an adapter for it and the adapter's entry point."""
    site = tmp_path / "site"
    info = site / "toy_adapter-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-adapter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[xray.plugins]\ntoy = toy_adapter\n")
    (site / "toy_framework.py").write_text("steps = ['the framework']\n")
    (site / "toy_adapter.py").write_text(
        "from xray_core.plugins.hookspecs import hookimpl\n"
        "def enable():\n"
        "    import toy_framework\n"
        "    toy_framework.steps.append('enabled')\n"
        "@hookimpl\n"
        "def xray_instruments():\n"
        "    return {'toy_framework': enable}\n"
    )
    return site


def start(site: Path, *command: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *command],
        env={**os.environ, "PYTHONPATH": str(site), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def xray_run(site: Path, *command: str, **environment: str) -> tuple[int, str, str]:
    process = start(site, *command, **environment)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def python(site: Path, code: str, **environment: str) -> tuple[int, str, str]:
    return xray_run(site, sys.executable, "-c", code, **environment)


def test_an_adapter_is_enabled_when_its_framework_is_imported(site: Path) -> None:
    assert python(site, "import toy_framework; print(toy_framework.steps)") == (
        0,
        "['the framework', 'enabled']\n",
        "",
    )


def test_it_is_enabled_in_the_children_of_the_command_too(site: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'import toy_framework; print(toy_framework.steps)'], check=True)"
    )
    assert python(site, code)[1] == "['the framework', 'enabled']\n"


def test_a_process_without_a_framework_does_not_load_x_ray(site: Path) -> None:
    assert python(site, "import sys; print('xray_core' in sys.modules)")[1] == "False\n"


def test_a_sitecustomize_of_the_users_still_runs(site: Path) -> None:
    (site / "sitecustomize.py").write_text("import builtins; builtins.customized = __name__\n")
    code = "import builtins, sitecustomize; print(builtins.customized, sitecustomize.__file__)"
    assert python(site, code)[1].split() == ["sitecustomize", str(site / "sitecustomize.py")]


def test_the_path_that_the_program_sees_is_its_own(site: Path) -> None:
    out = python(site, "import sys; print(*sys.path)")[1].split()
    assert str(site) in out
    assert str(autoload.SITE_DIR) not in out


def test_the_exit_code_is_the_commands(site: Path) -> None:
    assert python(site, "raise SystemExit(7)")[0] == 7


def test_a_signal_reaches_the_command_itself(site: Path) -> None:
    process = start(site, sys.executable, "-c", "print('up', flush=True); import signal; signal.pause()")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM


def test_a_command_that_does_not_exist_is_said_so(site: Path) -> None:
    code, _, err = xray_run(site, "no-such-command-anywhere")
    assert code == autoload.NOT_FOUND
    assert "no-such-command-anywhere: not found" in err


def test_a_broken_adapter_is_one_warning_and_the_program_goes_on(site: Path) -> None:
    (site / "toy_adapter.py").write_text(
        "from xray_core.plugins.hookspecs import hookimpl\n"
        "def enable():\n"
        "    raise RuntimeError('broken adapter')\n"
        "@hookimpl\n"
        "def xray_instruments():\n"
        "    return {'toy_framework': enable}\n"
    )
    code, out, err = python(site, "import toy_framework; print(toy_framework.steps)")
    assert (code, out) == (0, "['the framework']\n")
    assert len(err.splitlines()) == 1
    assert "broken adapter" in err


def test_a_python_without_x_ray_says_so_once_and_goes_on(site: Path) -> None:
    hide = "import sys; sys.modules['xray_core'] = None\n"
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import sys; sys.modules[\"xray_core\"] = None; import toy_framework'])\n"
    code, out, err = python(site, hide + "import toy_framework; print(toy_framework.steps)\n" + child)
    assert (code, out) == (0, "['the framework']\n")
    assert len(err.splitlines()) == 1
    assert "cannot be loaded" in err


def test_xray_enabled_0_enables_nothing(site: Path) -> None:
    assert (
        python(site, "import toy_framework; print(toy_framework.steps)", XRAY_ENABLED="0")[1] == "['the framework']\n"
    )


def test_xray_run_inside_xray_run_puts_its_directory_on_the_path_once() -> None:
    once = autoload.environment_for_children({"PYTHONPATH": "/users/own"})
    assert autoload.environment_for_children(once) == once
    assert once["PYTHONPATH"].split(os.pathsep) == [str(autoload.SITE_DIR), "/users/own"]


def test_the_report_names_each_installed_adapter_and_how_to_enable_it() -> None:
    by_name = {each["framework"]: each for each in autoload.report()}
    prefect = by_name["prefect"]
    if find_spec("prefect") is None:
        missing("prefect: pip install 'xray-pipelines[prefect]'")
    assert prefect["supported"] is True
    assert prefect["supported_versions"] == ">=3.0,<4"
    assert "PREFECT_PLUGINS_ENABLED" in prefect["how"]
