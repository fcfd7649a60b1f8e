"""What a user can set: arguments > `XRAY_*` environment > defaults. A bad value is an error at start-up that says what to do.

The only module that loads pydantic, and it is loaded when the first client is made, not by `import xray_core`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from xray_core.addresses import without_password
from xray_core.errors import ConfigurationError
from xray_core.item_keys import ItemKeys

DEFAULT_API_URL: Final = "http://127.0.0.1:8000"


class Settings(BaseModel):
    """Everything configurable of a client. Each field `name` is also read from the environment as `XRAY_NAME`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(True, description="XRAY_ENABLED=0 turns capture into no-ops")
    api_url: str = Field(DEFAULT_API_URL, description="where the X-Ray server is")
    api_key: str | None = Field(None, description="sent as `Authorization: Bearer`; never logged", repr=False)
    offline_mode: Literal["buffer", "drop", "strict"] = Field(
        "buffer", description="the server cannot be reached: keep on disk, drop, or raise at run end"
    )
    capture: Literal["minimal", "sample", "full"] = Field("sample", description="how much each step keeps")
    sample_rate: float = Field(0.01, ge=0, le=1, description="share of items whose details are kept")
    samples_per_reason: int = Field(20, ge=0, le=10_000, description="details kept at least, per reason")
    max_samples_per_step: int = Field(1_000, ge=0, le=1_000_000, description="details kept at most, per step")
    code_version: str | None = Field(None, description="as a git commit; tells changed code from a changed answer")
    redact: tuple[str, ...] = Field(
        (),
        description='further secrets, as regular expressions: of keys, or of texts ("text:..."); comma separated or a JSON list',
    )
    max_value_bytes: int = Field(
        16_384, ge=256, le=1_048_576, description="size of one stored input, output or details"
    )
    spool_dir: Path = Field(default_factory=lambda: _default_spool_dir(), description="where unsent records wait")
    spool_max_bytes: int = Field(256 * 1024 * 1024, ge=1024 * 1024, le=1 << 50, description="size cap of the spool")
    durability: Literal["process", "fsync"] = Field(
        "process", description="survive the death of the process, or a power cut too (160 us a record)"
    )
    timeout_s: float = Field(10.0, gt=0, le=300, description="of one HTTP request")
    shutdown_timeout_s: float = Field(2.0, ge=0, le=60, description="total budget at exit")
    snapshot_interval_s: float = Field(1.0, ge=0.05, le=60, description="how often an open step is written down")
    items: Literal["auto", "hashed", "off"] = Field(
        "auto", description="items found in arguments and results: auto, hashed (none kept by name), or off"
    )
    item_key: str = Field("", description="the field that names items, as in order_id; nightly/load=sku; */*=id,line")
    item_fields: str = Field(
        "",
        description="fields kept of sampled items as they went in and came out: price,country; nightly/reprice=price; *",
    )
    dimensions: str = Field(
        "",
        description="fields of details whose values are counted for every item: carrier,country; nightly/slots=carrier",
    )
    disable_plugins: tuple[str, ...] = Field((), description="names of plugins not to load, comma separated; * for all")

    @field_validator("redact", "disable_plugins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:  # a pattern may hold a comma: "text:\\d{3,4}"
            listed = json.loads(value) if value.lstrip().startswith('["') else None
        except ValueError:
            listed = None
        return listed if listed is not None else tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator("redact")
    @classmethod
    def _compiles(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        import re

        for pattern in value:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
        return value

    @field_validator("item_key", "item_fields", "dimensions")
    @classmethod
    def _is_spelled(cls, value: str) -> str:
        ItemKeys(value)
        return value

    @field_validator("api_key")
    @classmethod
    def _is_sendable(cls, value: str | None) -> str | None:
        value = value.strip() if value is not None else None  # as of a file that ends in a line break
        if value and not (value.isascii() and value.isprintable()):
            raise ValueError("holds what no HTTP header can: it is made of ASCII's letters, digits and signs")
        return value or None

    @field_validator("api_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        value = value.strip()
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or any(char.isspace() for char in value):
            shown = without_password(value) if "@" in value else value
            raise ValueError(f"{shown!r} is not an http(s) address such as {DEFAULT_API_URL}")
        return value.rstrip("/")

    @field_validator("spool_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        try:
            return value.expanduser().absolute()
        except (RuntimeError, OSError) as error:  # "~" of a user without a home; a working directory that is gone
            raise ValueError(f"{str(value)!r} cannot be made a whole path: {error}") from None


def _default_spool_dir() -> Path:
    """In the user's home. Where there is none (no HOME, no passwd entry) no directory can be made, and records wait in memory."""
    try:
        return Path.home() / ".xray" / "spool"
    except (RuntimeError, OSError):
        return Path(os.devnull) / "no-home"


def load(arguments: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from arguments (None means not given) over the environment over defaults.

    Raises:
        ConfigurationError: naming the argument or variable, what was wrong and what is accepted.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    source: dict[str, str] = {}
    for name in Settings.model_fields:
        variable = f"XRAY_{name.upper()}"
        if environ.get(variable, "") != "":
            values[name], source[name] = environ[variable], variable
    for name, value in (arguments or {}).items():
        if value is not None:
            values[name], source[name] = value, f"{name}="
    try:
        return Settings(**values)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        field = str(problem["loc"][0]) if problem["loc"] else "settings"
        if problem["type"] == "extra_forbidden":
            raise ConfigurationError(
                f"X-Ray has no setting {field!r}; it has: {', '.join(Settings.model_fields)}"
            ) from None
        hint = Settings.model_fields[field].description
        words = str(problem["msg"]).removeprefix("Value error, ")
        raise ConfigurationError(f"X-Ray: {source.get(field, field)} {words} ({hint})") from None
