"""What a user can set: arguments over the environment over defaults, and a wrong value is named with what is accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xray_core import ConfigurationError
from xray_core.settings import Settings, load


def test_arguments_count_before_the_environment_and_that_before_the_defaults() -> None:
    environ = {"XRAY_API_URL": "http://from-environment:1/", "XRAY_SAMPLE_RATE": "0.5", "XRAY_CAPTURE": ""}
    settings = load({"api_url": "http://from-argument:2", "capture": None}, environ)
    assert settings.api_url == "http://from-argument:2"
    assert settings.sample_rate == 0.5
    assert settings.capture == "sample"  # an empty variable and a None argument are not given
    assert load({}, environ).api_url == "http://from-environment:1"  # without the slash


@pytest.mark.parametrize("name", [name for name, field in Settings.model_fields.items() if field.annotation is bool])
@pytest.mark.parametrize(("text", "value"), [("0", False), ("false", False), ("1", True), ("yes", True)])
def test_switches_are_read_in_the_usual_spellings(name: str, text: str, value: bool) -> None:
    assert getattr(load({}, {f"XRAY_{name.upper()}": text}), name) is value


@pytest.mark.parametrize(
    ("arguments", "environ", "named"),
    [
        ({"sample_rate": 2}, {}, "sample_rate="),
        ({}, {"XRAY_SAMPLE_RATE": "often"}, "XRAY_SAMPLE_RATE"),
        ({}, {"XRAY_API_URL": "ftp://server"}, "XRAY_API_URL"),
        ({"redact": ("(",)}, {}, "redact="),
        ({"offline_mode": "later"}, {}, "'buffer', 'drop' or 'strict'"),
        ({"api_uri": "x"}, {}, "it has: "),
    ],
)
def test_a_wrong_value_is_named_by_where_it_came_from(
    arguments: dict[str, Any], environ: dict[str, str], named: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load(arguments, environ)
    assert named in str(raised.value)


def test_lists_are_comma_separated_and_paths_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load({}, {"XRAY_REDACT": "iban, ^card ,", "XRAY_SPOOL_DIR": "~/spool", "XRAY_DISABLE_PLUGINS": "*"})
    assert settings.redact == ("iban", "^card")
    assert settings.spool_dir == tmp_path / "spool"
    assert settings.disable_plugins == ("*",)


def test_a_key_is_shown_in_no_text_of_the_settings() -> None:
    assert "xray_secret" not in repr(load({"api_key": "xray_secret"}, {}))


def test_a_key_may_end_in_a_line_break_and_one_that_no_header_can_hold_is_named_and_not_shown() -> None:
    assert load({}, {"XRAY_API_KEY": " xray_1234\n"}).api_key == "xray_1234"
    assert load({}, {"XRAY_API_KEY": " \n"}).api_key is None
    for key in ("xray_12\n34", "xray_1234é"):
        with pytest.raises(ConfigurationError) as raised:
            load({}, {"XRAY_API_KEY": key})
        assert str(raised.value).startswith("X-Ray: XRAY_API_KEY holds what no HTTP header can")
        assert "xray_12" not in str(raised.value)
