"""Tests open.py."""

from __future__ import annotations

import pytest
from xray_server.backends import open_store

from xray_core.errors import ConfigurationError


@pytest.mark.parametrize(
    "url",
    [
        "host=localhost password=sesame",
        "mysql://app:sesame@db/xray",
        "postgresql://app:ses/sesame@db:port/xray?connect_timeout=x",
        "postgresql://app:sesame@127.0.0.1:1/xray?password=sesame&connect_timeout=1",
        "app:sesame@db",
    ],
)
def test_the_error_about_an_address_does_not_show_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="XRAY_DATABASE_URL") as refused:
        open_store(url)
    assert "sesame" not in str(refused.value)
