"""A step's token: the text by which `xray_core.attach` finds the step in any process, on any machine.

Holds what a worker needs to capture as the step's own process does: whose step it is, and those settings that decide what is
kept, masked and sent where. Never a key: workers have their own (`XRAY_API_KEY`).
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import msgspec

from xray_core.addresses import without_password

if TYPE_CHECKING:
    from xray_core.settings import Settings

_MARK: Final = "xray1."
CARRIED: Final = frozenset({
    "enabled", "api_url", "sample_rate", "samples_per_reason", "max_samples_per_step", "redact", "max_value_bytes", "items",
    "item_key", "item_fields", "dimensions",
})  # fmt: skip
"""The settings that a token carries where they are not the defaults; what workers set themselves wins, but for `redact`."""


class Token(msgspec.Struct, array_like=True, frozen=True):
    """What a token says of a step."""

    run_id: str
    step_id: str
    attempt: int
    pipeline: str
    name: str
    index: int | None
    capture: str
    settings: dict[str, Any]
    client: str  # which client of which process made it

    def spell(self) -> str:
        """As text: letters, digits, `.`, `-` and `_`."""
        return _MARK + base64.urlsafe_b64encode(_encode(self)).rstrip(b"=").decode()


_encode: Final = msgspec.json.Encoder(order="sorted").encode
_decode: Final = msgspec.json.Decoder(Token).decode


def carried(settings: Settings) -> dict[str, Any]:
    """Those settings that a token of a client carries."""
    kept = settings.model_dump(mode="json", include=set(CARRIED), exclude_defaults=True)
    if "api_url" in kept:
        kept["api_url"] = without_password(kept["api_url"])
    return kept


def read_token(text: object) -> Token:
    """What a token says.

    Raises:
        ValueError: it is none, or from a newer X-Ray.
    """
    if not isinstance(text, str) or not text.startswith(_MARK):
        raise ValueError("not a token of a step: pass on what step.token() gives")
    packed = text[len(_MARK) :].encode("ascii", "replace")
    try:
        return _decode(base64.urlsafe_b64decode(packed + b"=" * (-len(packed) % 4)))
    except (ValueError, msgspec.DecodeError):
        raise ValueError("a token of a step that is damaged, or from a newer X-Ray") from None
