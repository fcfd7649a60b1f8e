"""A task whose limit stands in the environment of its worker, where nobody sees it change."""

from __future__ import annotations

import os
from typing import Any

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

ROWS = [{"id": f"r{i}", "price": 10 * i} for i in range(10)]


def keep(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["price"] <= int(os.environ["KEEP_LIMIT"])]


with DAG("diagnosis", schedule=None):
    PythonOperator(task_id="keep", python_callable=keep, op_kwargs={"rows": ROWS})
