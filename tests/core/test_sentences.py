"""The tables of sentences in docs/why.md are those of the code, and each has an example that was really answered."""

from __future__ import annotations

from pathlib import Path

from tests.core.sentences import tables
from xray_core.compare.sentences import TEMPLATES as DIFF
from xray_core.journey.sentences import TEMPLATES as WHY

DOCS = Path(__file__).parents[2] / "docs" / "why.md"


def test_every_template_has_its_row_in_the_docs_with_an_example() -> None:
    between = DOCS.read_text(encoding="utf-8").partition("<!-- sentences -->")[2].partition("<!-- /sentences -->")[0]
    assert between.strip() == tables(), "print the tables with `python -m tests.core.sentences`"
    assert "| None |" not in between
    assert between.count("\n| `") == len(WHY) + len(DIFF) + 2
