"""One task that decides; run by `airflow dags test` beside Airflow's OpenLineage provider."""

from __future__ import annotations

from datetime import datetime, timezone

from airflow.sdk import dag, task


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), catchup=False)
def shop() -> None:
    @task
    def cut() -> list[int]:
        from xray_core import current_step

        step = current_step()
        step.reject("a", "too_dear")
        step.accept("b")
        return [1]

    cut()


shop()
