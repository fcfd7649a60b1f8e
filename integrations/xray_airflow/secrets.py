"""Airflow's own register of secrets: the passwords of connections, variables with secret names, what was given to `mask_secret`.

Asked for every record, since a task may register one at any time. Only a masker that is already loaded is asked.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, Final

from xray_airflow import config
from xray_core.objects import redaction
from xray_core.objects.secret_keys import secrecy
from xray_core.safety import guarded

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
    return any(_of(module, made, "should_hide_value_for_key")(name) for module, made in _loaded())


@guarded("airflow: reading which names are secret", default=())  # then every text is looked through for them
def _hints() -> set[str]:
    """The longest word of each name that Airflow takes for secret and X-Ray does not."""
    own = str(config.configuration().get("core", "sensitive_var_conn_names", fallback="") or "").split(",")
    names = {*own, *(name for module, made in _loaded() for name in _hidden_names(module, made)), *_AIRFLOWS_NAMES}
    found = {max(re.split(r"[\W_]+", name.lower()), key=len) for name in names if not secrecy(name.strip())}
    return {hint for hint in found if hint}


def _hidden_names(module: ModuleType, made: Any) -> Iterable[str]:
    known: Iterable[str] | None = getattr(made, "sensitive_variables_fields", None)
    return known if known is not None else vars(module)["get_sensitive_variables_fields"]()


def _of(module: ModuleType, made: Any, name: str) -> Any:
    """A method of the masker, or what was a function of its module until Airflow 3.1."""
    return getattr(made, name, None) or vars(module)[name]


def _maskers() -> list[Any]:
    return [made for _, made in _loaded()]


def _loaded() -> list[tuple[ModuleType, Any]]:
    found = [(module, one()) for module, one in _sources(len(sys.modules))]
    return found if len(found) < 2 else list({id(made): (module, made) for module, made in found}.values())


@functools.lru_cache(maxsize=1)
def _sources(n_modules: int) -> list[tuple[ModuleType, Callable[[], Any]]]:
    """What hands out each masker that is loaded; looked for again when modules were loaded since. Asked for several times a record."""
    loaded = [sys.modules[name] for name in _MODULES if name in sys.modules]
    return [(module, one) for module in loaded if (one := vars(module).get("_secrets_masker")) is not None]
