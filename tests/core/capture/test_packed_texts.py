"""Texts that lie in one buffer are hashed as each by itself would be, whatever their lengths, alphabets and libraries."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from xray_core.capture.columns import hash_all, ids_in, spell
from xray_core.capture.packed_texts import MANY, PackedTexts


def packed(texts: list[bytes]) -> PackedTexts:
    lengths = np.array(list(map(len, texts)), dtype=np.int64)
    return PackedTexts(b"".join(texts), np.cumsum(lengths) - lengths, lengths)


def one_by_one(texts: list[bytes], seed: int = 0) -> list[int]:
    return [xxhash.xxh3_64_intdigest(each, seed) for each in texts]


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=60), st.integers(0, 2**64 - 1))
@settings(max_examples=150)
def test_hashes_are_those_of_each_text(texts: list[bytes], seed: int) -> None:
    held = packed(texts)
    for given_seed in (0, 1, seed):
        assert held.hashes(given_seed).tolist() == one_by_one(texts, given_seed)
    assert (list(held), held[:3], held[-1], len(held)) == (texts, texts[:3], texts[-1], len(texts))
    assert PackedTexts.joined([held, packed(texts[:1]), held]).hashes().tolist() == one_by_one(
        [*texts, texts[0], *texts]
    )


def test_blocks_of_one_length_and_of_many_are_hashed_alike() -> None:
    chance = random.Random(5)
    for lengths in ((1, 3), (4, 8), (9, 16), (12, 12), (0, 25)):
        texts = [chance.randbytes(chance.randint(*lengths)) for _ in range(40_000)]
        assert packed(texts).hashes(7).tolist() == one_by_one(texts, 7)


COLUMNS: dict[str, Callable[[list[Any]], Any]] = {
    "polars": pl.Series, "pyarrow": pa.array, "a slice of pyarrow": lambda ids: pa.array(["before", *ids, "after"]).slice(1, len(ids)),
    "chunks": lambda ids: pa.chunked_array([ids[:1_000], ids[1_000:]]), "large": lambda ids: pa.array(ids, pa.large_string()),
    "pandas on pyarrow": lambda ids: pd.Series(ids, dtype="string[pyarrow]"),
    "a slice of polars": lambda ids: pl.Series(["before", *ids, "after"]).slice(1, len(ids)),
}  # fmt: skip
IDS: dict[str, list[Any]] = {
    "short": [f"i{n}" for n in range(MANY)], "with umlauts": [f"ö{n}" for n in range(MANY)], "numbers of texts": [str(n) for n in range(MANY)],
    "empty ones too": ["" if n % 7 == 0 else f"i{n}" for n in range(MANY)], "nulls too": [None if n % 7 == 0 else f"i{n}" for n in range(MANY)],
    "long": [f"{'x' * 60}{n}" for n in range(MANY)], "one that is too long": [*(f"i{n}" for n in range(MANY)), "x" * 3_000],
    "few": ["a", "b"],
}  # fmt: skip


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("name", COLUMNS)
def test_the_ids_of_a_column_are_those_of_a_list_of_its_values(name: str, kind: str) -> None:
    ids = IDS[kind]
    found, wanted = ids_in([COLUMNS[name](ids)]), spell(ids)
    assert (list(found.texts), found.nulls, found.odd) == (list(wanted.texts), wanted.nulls, wanted.odd)
    assert found.rows == wanted.rows
    assert hash_all(found.texts, 3) == hash_all(wanted.texts, 3)
    if kind in ("short", "with umlauts", "numbers of texts"):
        assert type(found.texts) is PackedTexts
    elif kind in ("few", "long"):
        assert type(found.texts) is list


def test_whole_numbers_of_polars_are_packed_and_without_numpy_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    column = pl.Series(range(-2_000, MANY))
    wanted = spell(list(range(-2_000, MANY)))
    assert type(ids_in([column]).texts) is PackedTexts
    assert hash_all(ids_in([column]).texts) == hash_all(wanted.texts)
    monkeypatch.delitem(sys.modules, "numpy")
    assert ids_in([column]).texts == wanted.texts
