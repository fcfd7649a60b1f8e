"""What a user sets: `XRAY_*` in the environment, then the section `[xray]` of airflow.cfg, then the defaults.

The section has the names of `xray_core.settings.Settings` (api_url, api_key, capture, ...) and, for this adapter,
`dag_allow` and `dag_deny`: comma separated patterns of dag ids. Must not load pydantic: every Airflow process reads this.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, Final

from xray_core.safety import guarded, log

_OURS: Final = ("dag_allow", "dag_deny")
_VARIABLE: Final = "AIRFLOW__XRAY__"
_COMMENT: Final = re.compile(r"(^|\s+)#.*$", re.MULTILINE)
_NO: Final = frozenset({"0", "false", "f", "no", "n", "off"})


@dataclass(frozen=True, slots=True)
class DagFilter:
    """Which dags are captured: those that a pattern of `allow` matches and none of `deny`; no `allow` means all."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def wants(self, dag_id: str) -> bool:
        """Whether this dag is captured; patterns as for `fnmatch`, case counts."""
        if any(fnmatchcase(dag_id, pattern) for pattern in self.deny):
            return False
        return not self.allow or any(fnmatchcase(dag_id, pattern) for pattern in self.allow)


def enabled() -> bool:
    """Whether X-Ray is on in this process: `XRAY_ENABLED`, then `[xray] enabled`, else yes."""
    value = os.environ.get("XRAY_ENABLED") or section().get("enabled")  # Airflow reads False, 0 and the like as such
    return value is None or value == "" or str(value).strip().lower() not in _NO


@lru_cache(maxsize=1)
def dag_filter() -> DagFilter:
    """The patterns in force; read once per process."""
    given = section()
    return DagFilter(*(_patterns(os.environ.get(f"XRAY_{name.upper()}") or given.get(name)) for name in _OURS))


def wants(dag_id: str) -> bool:
    """Whether this dag is captured."""
    return dag_filter().wants(dag_id)


@guarded("reading [xray] in airflow.cfg", default={})
def section() -> Mapping[str, Any]:
    """`[xray]` of airflow.cfg, with `AIRFLOW__XRAY__*` over it; empty where there is none."""
    given = configuration().getsection("xray") or {}
    found = {name: _without_comment(value) for name, value in given.items()}
    for name, value in os.environ.items():  # Airflow itself overlooks these where the file has no such section
        if name.startswith(_VARIABLE):
            found[name[len(_VARIABLE) :].lower()] = value
    return found


def export_settings(environ: MutableMapping[str, str] = os.environ) -> None:
    """Copy the settings of airflow.cfg into the environment, where the core, and the children of BashOperator, read them.

    What is set there already stays.
    """
    from xray_core.settings import Settings

    for name, value in section().items():
        if name in _OURS:
            continue
        if name not in Settings.model_fields:
            log.warning("X-Ray: [xray] %s in airflow.cfg is not a setting; see docs/airflow.md", name)
        elif not environ.get(f"XRAY_{name.upper()}") and str(value) != "":
            environ[f"XRAY_{name.upper()}"] = str(value)


def configuration() -> Any:
    """Airflow's configuration object."""
    try:
        from airflow.configuration import conf
    except ImportError:  # a worker with the task SDK alone
        from airflow.sdk.configuration import conf
    return conf


def _without_comment(value: Any) -> Any:
    """A value as Airflow reads its own numbers and booleans: what stands behind a `#` on its line is a comment."""
    return _COMMENT.sub("", value) if isinstance(value, str) else value


def _patterns(text: Any) -> tuple[str, ...]:
    return tuple(part.strip() for part in str(text or "").split(",") if part.strip())
