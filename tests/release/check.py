"""`make release-check`: what would be published, built and used as its users will, on the lowest and the highest Python.

Builds sdist and wheel, reads them as an index does, installs the wheel into empty environments, tells the demo's story, with each
framework too, follows the documentation, and lists what comes along (build/sbom.cdx.json, build/licences.md). Needs the package index.

PYTHONS="3.12" and FRAMEWORKS="prefect" (or none) in the environment choose other Pythons and frameworks.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Final

from tests.release.pythons import ROOT, UV, available, environment, run

DIST: Final = ROOT / "build" / "dist"
PYTHONS: Final = tuple(os.environ.get("PYTHONS", "3.10 3.13").split())
FRAMEWORKS: Final = tuple(os.environ.get("FRAMEWORKS", "prefect airflow dagster").split())
MINUTE_S: Final = 60.0
BIN: Final = Path(sys.executable).parent
SHELVES: Final = ("xray_core", "integrations", "server", "examples")
# Beside the server: what blocks of the documentation import.
FOR_THE_PAGES: Final = ("demo", "otel")
PACKAGES_FOR_THE_PAGES: Final = ("structlog", "polars", "pandas")


def main() -> int:
    """Every check; exits at the first that fails."""
    wheel = build()
    everything_is_in(wheel)
    for version, python in available(PYTHONS):
        with tempfile.TemporaryDirectory(prefix="xray-release-") as directory:
            use(wheel, version, python, Path(directory))
    print(f"release-check: {wheel.name} on Python {', '.join(PYTHONS)}: built, read, installed, followed")
    return 0


def build() -> Path:
    """Sdist, and the wheel out of it; both as an index wants them."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(UV, "build", "--quiet", "--out-dir", DIST, ROOT)
    (wheel,) = DIST.glob("*.whl")
    run(BIN / "twine", "check", "--strict", *DIST.glob("*.whl"), *DIST.glob("*.tar.gz"))
    run(BIN / "check-wheel-contents", "--toplevel", ",".join(packages()), wheel)
    return wheel


def packages() -> list[str]:
    """The top-level packages that are shipped."""
    shelves = [ROOT / shelf for shelf in SHELVES[1:]]
    return ["xray_core", *sorted(path.parent.name for shelf in shelves for path in shelf.glob("*/__init__.py"))]


def everything_is_in(wheel: Path) -> None:
    """The wheel has every file of the packages that is in the repository, and no other; the sdist has them too."""
    tracked = subprocess.run(["git", "ls-files", *SHELVES], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = {name.split("/", 1)[1] if name.split("/")[0] in SHELVES[1:] else name for name in tracked.split()}
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    if inside != wanted:
        raise SystemExit(f"the wheel lacks {sorted(wanted - inside)} and has {sorted(inside - wanted)}")
    (sdist,) = DIST.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        kept = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    if not set(tracked.split()) <= kept:
        raise SystemExit(f"the sdist lacks {sorted(set(tracked.split()) - kept)}")


def use(wheel: Path, version: str, python: Path, place: Path) -> None:
    """What a user does first, in an empty environment and an empty home; then every page, as it is printed."""
    made = environment(place / "venv", python, "--seed")
    install = Timed("pip install")
    run(made, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{wheel}[demo]")
    install.end()
    if version == PYTHONS[-1]:
        brought_along(made)
    commands = Commands(made, place / "home")
    demo = Timed("xray demo")
    commands.tells_the_story()
    demo.end()
    print(f"Python {version}: {install}, {demo}", flush=True)
    if install.wall_s + demo.wall_s > MINUTE_S:
        raise SystemExit("the README says one minute; a machine that does much else beside takes longer")
    for command in (["--version"], ["constraints"], ["doctor", "--json"]):
        commands.xray(*command)
    run(
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        made,
        f"{wheel}[{','.join(FOR_THE_PAGES)}]",
        *PACKAGES_FOR_THE_PAGES,
    )
    follow(made)
    for framework in FRAMEWORKS:
        with_framework(wheel, framework, python, place / framework)


def with_framework(wheel: Path, framework: str, python: Path, place: Path) -> None:
    """The same story as the framework's tasks, and its page, in an environment of the versions of its shipped constraint file."""
    made = environment(place / "venv", python)
    run(UV, "pip", "install", "--quiet", "--python", made, wheel)
    commands = Commands(made, place / "home")
    constraints = commands.xray("constraints", framework).strip()
    wanted = f"{wheel}[demo,{framework}]"
    run(UV, "pip", "install", "--quiet", "--python", made, "--constraint", constraints, wanted)
    commands.tells_the_story(f"--{framework}")
    follow(made, "-k", f"docs/{framework}")


def follow(python: Path, *chosen: str) -> None:
    """The pages of the documentation, as they are printed; those of frameworks where they are installed."""
    run(sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-m", "stack", *chosen, "tests/docs/test_blocks.py", cwd=ROOT,
        env={**os.environ, "XRAY_TEST_PYTHON": str(python), "CI": ""})  # fmt: skip


class Timed:
    """How long something took that this process waited for: by the clock, and of it computing."""

    def __init__(self, what: str) -> None:
        self.what, self.wall_s, self.cpu_s = what, -time.monotonic(), -_cpu_s()

    def end(self) -> None:
        """It has ended."""
        self.wall_s += time.monotonic()
        self.cpu_s += _cpu_s()

    def __str__(self) -> str:
        return f"{self.what} {self.wall_s:.0f} s ({self.cpu_s:.0f} s of CPU)"


def _cpu_s() -> float:
    """Of the processes that this one has waited for."""
    used = os.times()
    return used.children_user + used.children_system


class Commands:
    """`xray` of an environment, as it runs in an empty home."""

    def __init__(self, python: Path, home: Path) -> None:
        home.mkdir()
        self.home, self.bin = home, python.parent
        self.own = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8", "COLUMNS": "120"}

    def xray(self, *arguments: str) -> str:
        """What it prints; exits where it fails."""
        print(f"$ xray {' '.join(arguments)}", flush=True)
        done = subprocess.run(
            [self.bin / "xray", *arguments], cwd=self.home, env=self.own, capture_output=True, text=True
        )
        if done.returncode:
            logs = "".join(log.read_text()[-3000:] for log in self.home.glob("xray-demo/*.log"))
            raise SystemExit(f"exit code {done.returncode}\n{done.stdout}{done.stderr}{logs}")
        return done.stdout

    def tells_the_story(self, *options: str) -> None:
        """The demo, and the sentence that it is about."""
        said = self.xray("demo", "--once", "--port", "0", *options)
        if "EV-4240-0614 was selected at select" not in " ".join(said.split()):
            raise SystemExit(said)


def brought_along(python: Path) -> None:
    """What `pip install 'xray-pipelines[demo]'` brings: a bill of materials, and under which terms each of them comes."""
    out = ROOT / "build"
    run(BIN / "cyclonedx-py", "environment", python, "--output-file", out / "sbom.cdx.json")
    listed = subprocess.run(
        [BIN / "pip-licenses", f"--python={python}", "--format=json", "--from=mixed"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = sorted(json.loads(listed.stdout), key=lambda each: each["Name"].lower())
    rows = [f"| {each['Name']} | {each['Version']} | {each['License']} |" for each in found]
    (out / "licences.md").write_text("\n".join(["| package | version | licence |", "|---|---|---|", *rows]) + "\n")
    unknown = [each["Name"] for each in found if each["License"] == "UNKNOWN"]
    strict = [each["Name"] for each in found if "GPL" in each["License"] and "LGPL" not in each["License"]]
    if unknown or strict:
        raise SystemExit(f"licences to look at: unknown {unknown}, strict {strict}")
    print(f"{len(found)} packages come along: build/licences.md, build/sbom.cdx.json")


if __name__ == "__main__":
    raise SystemExit(main())
