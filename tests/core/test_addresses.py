from __future__ import annotations

import pytest

from xray_core.addresses import without_password


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://somebody:secret@xray.example:8000/team", "http://xray.example:8000/team"),
        ("http://token@xray.example", "http://xray.example"),
        ("HTTPS://xray.example/", "https://xray.example/"),
        ("postgresql://app:secret@db:5432/xray", "postgresql://db:5432/xray"),
        ("postgresql://app:secret@[::1]:5432/xray", "postgresql://[::1]:5432/xray"),
        ("postgresql://app:secret@one:5432,two:5432/xray", "postgresql://one:5432,two:5432/xray"),
        ("postgresql:///xray?host=/run/postgresql&password=secret", "postgresql:///xray"),
        ("postgresql://db/xray#secret", "postgresql://db/xray"),
        ("sqlite:///xray.db", "sqlite:///xray.db"),
        ("sqlite:////home/me@work/xray.db", "sqlite:////home/me@work/xray.db"),
        ("http://xray.example:8000/team@work", "http://xray.example:8000/team@work"),
    ],
)
def test_an_address_is_shown_without_user_password_and_parameters(address: str, shown: str) -> None:
    assert without_password(address) == shown


@pytest.mark.parametrize("password", ["se/cret", "se?cret", "se#cret", "se@cret", "se:cret", "s/e@c?r#et", "secret?"])
def test_no_part_of_a_password_is_shown_that_was_not_escaped(password: str) -> None:
    shown = without_password(f"postgresql://app:{password}@db/xray")
    assert shown == "postgresql://db/xray"


def test_what_is_no_address_is_not_shown_at_all() -> None:
    assert without_password("host=db password=secret") == ""
    assert without_password("") == ""
