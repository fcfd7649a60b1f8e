"""Which Pythons this machine has, and environments of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SUPPORTED: Final = ("3.10", "3.11", "3.12", "3.13", "3.14")
UV: Final = Path(sys.executable).with_name("uv")


def interpreter(version: str) -> Path | None:
    """A CPython of that version ("3.10"): on PATH, else of pyenv; None where there is none."""
    found = shutil.which(f"python{version}")
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    several = [*([Path(found)] if found else []), *sorted(home.glob(f"versions/{version}.*/bin/python"))]
    for each in several:  # a shim of pyenv stands on PATH for versions that are switched off
        said = subprocess.run([each, "-c", "import sys; print(sys.executable)"], capture_output=True, text=True)
        if said.returncode == 0:
            return Path(said.stdout.strip())
    return None


def available(wanted: Sequence[str] = SUPPORTED) -> Iterator[tuple[str, Path]]:
    """(version, interpreter) of each that is here; says which are not."""
    for version in wanted:
        found = interpreter(version)
        if found is None:
            print(f"Python {version}: not on this machine, not tried", flush=True)
        else:
            yield version, found


def environment(directory: Path, python: Path, *options: str) -> Path:
    """A new empty environment; its Python. `options` are those of `uv venv`, as "--seed", which adds pip."""
    run(UV, "venv", "--quiet", "--clear", *options, "--python", python, directory)
    return directory / "bin" / "python"


def run(*command: object, **options: object) -> None:
    """A command that must succeed.

    Raises:
        SystemExit: it did not; what it said stands above.
    """
    if subprocess.run([str(each) for each in command], **options).returncode:  # type: ignore[call-overload]
        raise SystemExit(f"failed: {' '.join(map(str, command))}")
