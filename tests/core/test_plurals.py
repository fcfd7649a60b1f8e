from __future__ import annotations

import pytest

from xray_core.plurals import plural


@pytest.mark.parametrize(
    ("n", "words", "said"),
    [
        (0, ("record",), "0 records"),
        (1, ("record",), "1 record"),
        (2_000, ("record",), "2,000 records"),
        (1, ("breach", "breaches"), "1 breach"),
        (2, ("breach", "breaches"), "2 breaches"),
        (1, ("record waits", "records wait"), "1 record waits"),
    ],
)
def test_one_is_one_and_every_other_number_is_many(n: int, words: tuple[str, ...], said: str) -> None:
    assert plural(n, *words) == said
