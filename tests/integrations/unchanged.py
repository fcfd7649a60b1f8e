"""Three pipelines as people write them, without a word about X-Ray: functions that each framework's suite makes its tasks of.

And what `why` has to answer: for each item that is lost the step that lost it, for the others no step.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from xray_core.testing import Captured

# An ETL: load, filter, dedupe, join, filter, load elsewhere.


def load_orders(n: int) -> pd.DataFrame:
    rows = [
        {"order_id": f"o{i}", "customer_id": f"c{i % 7}", "amount": i * 10 - 20, "country": ["DE", "FR", "US"][i % 3]}
        for i in range(n)
    ]
    return pd.DataFrame([*rows, *rows[-2:]])


def load_customers(n: int) -> pd.DataFrame:
    return pd.DataFrame([{"customer_id": f"c{i}", "segment": "vip" if i % 5 == 0 else "std"} for i in range(n)])


def drop_invalid(df: pd.DataFrame, minimum: float) -> pd.DataFrame:
    return df[df["amount"] > minimum]


def dedupe(df: pd.DataFrame) -> pd.DataFrame:
    return df.drop_duplicates("order_id")


def enrich(orders: pd.DataFrame, customers: pd.DataFrame) -> pd.DataFrame:
    return orders.merge(customers, on="customer_id", how="inner")


def only_eu(df: pd.DataFrame) -> pd.DataFrame:
    return df[df["country"].isin(["DE", "FR"])].reset_index(drop=True)


def write(df: pd.DataFrame) -> int:
    return len(df)


ETL_LOST = {
    "o0": "drop_invalid",
    "o1": "drop_invalid",
    "o2": "drop_invalid",
    "o5": "enrich",
    "o6": "enrich",
    "o8": "only_eu",
}
ETL_KEPT = ("o3", "o4", "o7", "o9", "c0", "c3")

# Retrieve, filter, rerank, prompt, model.


def retrieve(question: str, k: int) -> list[dict[str, Any]]:
    return [
        {"doc_id": f"d{i}", "text": f"about {question}", "score": 1 / (i + 1), "lang": "de" if i % 4 == 3 else "en"}
        for i in range(k)
    ]


def in_english(docs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [doc for doc in docs if doc["lang"] == "en"]


def rerank(question: str, docs: list[dict[str, Any]], top: int) -> list[dict[str, Any]]:
    return sorted(docs, key=lambda doc: str(doc["doc_id"]), reverse=True)[:top]


def prompt(question: str, docs: list[dict[str, Any]]) -> str:
    return question + "\n".join(doc["text"] for doc in docs)


def model(text: str) -> dict[str, Any]:
    return {"answer": text.upper(), "tokens": len(text), "sources": []}


RAG_LOST = {"d3": "in_english", "d7": "in_english", "d0": "rerank", "d1": "rerank"}
RAG_KEPT = ("d6", "d5", "d4")

# Batch scoring with one record for each mapped task.


def load_users(n: int) -> list[dict[str, Any]]:
    return [{"id": f"u{i}", "age": 20 + i} for i in range(n)]


def score(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": row["id"], "p": row["age"] / 100}


def above(rows: list[dict[str, Any]], limit: float) -> list[dict[str, Any]]:
    return [row for row in rows if row["p"] > limit]


def notify(rows: list[dict[str, Any]]) -> None:
    return None


BATCH_LOST = {"u0": "above", "u1": "above"}
BATCH_KEPT = ("u2", "u3")


def check(captured: Captured, lost: dict[str, str], kept: tuple[str, ...]) -> None:
    """What `why` answers, and that no step of the run is flagged."""
    for item, step in lost.items():
        why = captured.why(item)
        assert (why.outcome, why.step, why.inferred) == ("dropped", step, True), why.sentence
    for item in kept:
        why = captured.why(item)
        assert why.outcome not in ("dropped", "rejected", "never_entered", "not_selected"), why.sentence
    assert [gap for gap in captured.gaps() if gap.kind == "lost_between"] == []


def check_figures(captured: Captured, steps: dict[str, tuple[int | None, int | None, int | None]]) -> None:
    """(went in, came out, did not come out) of each step; nothing is a fault."""
    for name, figures in steps.items():
        ledger = captured.ledger(name)
        assert (ledger.input, ledger.accepted, ledger.unaccounted) == figures, name
        assert not {"unaccounted", "contradiction"} & set(ledger.flags), name


ETL_FIGURES: dict[str, tuple[int | None, int | None, int | None]] = {
    "load_orders": (None, 12, None), "drop_invalid": (12, 9, 3), "dedupe": (9, 7, 0), "enrich": (7, 5, 2), "only_eu": (5, 4, 1),
    "write": (4, None, None),
}  # fmt: skip
RAG_FIGURES: dict[str, tuple[int | None, int | None, int | None]] = {
    "retrieve": (None, 8, None), "in_english": (8, 6, 2), "rerank": (6, 3, 3), "prompt": (3, None, None), "model": (None, None, None),
}  # fmt: skip
