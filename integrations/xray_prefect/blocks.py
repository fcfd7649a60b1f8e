"""Prefect's secret blocks, wrapped: what they hand out is a secret from then on."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from xray_core.objects.redaction import learn
from xray_core.plugins.instrument import Instrument
from xray_prefect.wrapping import find_class, replace, safely


def wrap_secret_blocks(module: ModuleType, instrument: Instrument) -> None:
    """What a `Secret` block hands out is masked wherever it turns up in this process from then on."""
    block = find_class(module, "Secret", instrument)
    if block is not None:
        replace(block, "get", _handing_out, instrument)


def _handing_out(original: Callable[..., Any]) -> Callable[..., Any]:
    def get(self: Any) -> Any:
        value = original(self)
        safely(_learn, value)
        return value

    return get


def _learn(value: Any) -> None:
    for each in value.values() if type(value) is dict else [value]:
        learn(each)
