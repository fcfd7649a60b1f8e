"""What Dagster's pages call the code location of a run, however the run was started.

A run that Dagster's webserver or daemon launches says it. One that a command executes in its own process (`dg launch`,
`dagster asset materialize`, `dagster job execute`) says only what its definitions were loaded from: it gets the name that
`dg dev` or `dagster dev` would give them, so that both are runs of one pipeline. Knows nothing of Dagster's classes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

_MOST_FOLDERS: Final = 6


def location_of(dagster_run: Any) -> str | None:
    """The name of a run's code location; None for a job that a script made and executes by itself."""
    origin = getattr(dagster_run, "remote_job_origin", None) or getattr(dagster_run, "external_job_origin", None)
    if origin is None:
        return _location_of_code(dagster_run)
    repository = getattr(origin, "repository_origin", None) or getattr(origin, "external_repository_origin", None)
    location = getattr(repository, "code_location_origin", None)
    name = getattr(location, "location_name", None)
    return str(name) if name else None


def _location_of_code(dagster_run: Any) -> str | None:
    origin = getattr(dagster_run, "job_code_origin", None)
    pointer = getattr(getattr(origin, "repository_origin", None), "code_pointer", None)
    module = getattr(pointer, "module", None)
    if module:
        return _project_of(str(module)) or str(module)
    file = getattr(pointer, "python_file", None)
    return os.path.basename(str(file)) if file else None


def _project_of(module: str) -> str | None:
    """The name of the `dg` project that a module is of; None where it is of none."""
    for folder in _folders_around(module):
        project = _project_in(folder)
        if project is not None and project.get("root_module") == module.partition(".")[0]:
            return str(project.get("code_location_name") or folder.name)
    return None


def _folders_around(module: str) -> Iterator[Path]:
    loaded = sys.modules.get(module)
    places = [*getattr(loaded, "__path__", ()), getattr(loaded, "__file__", None)]
    first = next((Path(str(place)) for place in places if place), None)
    if first is not None:
        yield from [first, *first.parents][:_MOST_FOLDERS]


def _project_in(folder: Path) -> Mapping[str, Any] | None:
    """The table `project` of a `dg` project's configuration in this folder; None where there is none that can be read."""
    project = _table(folder / "dg.toml", "project")
    return project if project is not None else _table(folder / "pyproject.toml", "tool", "dg", "project")


def _table(path: Path, *names: str) -> Mapping[str, Any] | None:
    try:
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib  # Dagster needs it there
        table: Mapping[str, Any] = tomllib.loads(path.read_text())
    except (OSError, ValueError, ImportError):
        return None
    for name in names:
        inner = table.get(name)
        if not isinstance(inner, Mapping):
            return None
        table = inner
    return table
