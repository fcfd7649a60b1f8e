"""Airflow's own register of secrets: the passwords of connections, variables with secret names, what was given to `mask_secret`.

Asked for every record, since a task may register one at any time. Only a masker that is already loaded is asked.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from typing import Any, Final

from xray_airflow import config
from xray_core.objects import redaction
from xray_core.objects.secret_keys import secrecy

# Several may be loaded, each with secrets of its own: the task SDK's, the core's, and those of Airflow 2.11 and 3.0.
_MODULES: Final = (
    "airflow.sdk._shared.secrets_masker.secrets_masker",
    "airflow.sdk._shared.secrets_masker",
    "airflow._shared.secrets_masker.secrets_masker",
    "airflow._shared.secrets_masker",
    "airflow.sdk.execution_time.secrets_masker",
    "airflow.utils.log.secrets_masker",
)

# Of Airflow's own names those that X-Ray does not hide by itself; should no masker be loaded yet.
_AIRFLOWS_NAMES: Final = ("keyfile_dict", "keyfile_json", "proxies", "proxy", "service_account")


def ask_airflow() -> None:
    """Have every client of this process mask what Airflow masks."""
    redaction.add_masker(masker)
    redaction.add_secret_names(is_secret_name, hints=_hints())


def masker() -> redaction.Masker | None:
    """Airflow's masking of a text; None while it knows no secret."""
    patterns = [each.replacer for each in _maskers() if each.replacer is not None]
    if not patterns:
        return None

    def mask(text: str) -> str:
        for pattern in patterns:
            text = pattern.sub(redaction.REDACTED, text)
        return text

    return mask


@functools.lru_cache(maxsize=4_096)
def is_secret_name(name: str) -> bool:
    """Whether Airflow hides values under this name: its own list, and `sensitive_var_conn_names`."""
    return any(each.should_hide_value_for_key(name) for each in _maskers())


def _hints() -> set[str]:
    """The longest word of each name that Airflow takes for secret and X-Ray does not."""
    own = str(config.configuration().get("core", "sensitive_var_conn_names", fallback="") or "").split(",")
    names = {*own, *(name for each in _maskers() for name in each.sensitive_variables_fields), *_AIRFLOWS_NAMES}
    found = {max(re.split(r"[\W_]+", name.lower()), key=len) for name in names if not secrecy(name.strip())}
    return {hint for hint in found if hint}


def _maskers() -> list[Any]:
    found = [one() for one in _sources(len(sys.modules))]
    return found if len(found) < 2 else list({id(each): each for each in found}.values())


@functools.lru_cache(maxsize=1)
def _sources(n_modules: int) -> list[Callable[[], Any]]:
    """What hands out each masker that is loaded; looked for again when modules were loaded since. Asked for several times a record."""
    loaded = [vars(sys.modules[name]).get("_secrets_masker") for name in _MODULES if name in sys.modules]
    return [one for one in loaded if one is not None]
