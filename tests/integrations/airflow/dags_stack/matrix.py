"""What every supported Airflow can run, 2.11 included: the same file in all of them."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import Any

from airflow.exceptions import AirflowSkipException
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator

try:
    from airflow.sdk import DAG, task
except ImportError:  # 2.11
    from airflow import DAG
    from airflow.decorators import task

from xray_core import current_step


def fail() -> None:
    raise ValueError("the price is missing")


def skip_itself() -> None:
    raise AirflowSkipException("nothing to do today")


with DAG("matrix", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False) as dag:

    @task
    def keep_even(numbers: list[int]) -> list[int]:
        for number in numbers:
            if number % 2:
                current_step().reject(str(number), "odd")
        return [number for number in numbers if number % 2 == 0]

    @task
    def double(number: int) -> int:
        return number * 2

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def second_time_lucky(ti: Any = None) -> None:
        if ti.try_number == 1:
            raise ValueError("not yet")

    double.expand(number=keep_even([1, 2, 3, 4, 5]))
    second_time_lucky()
    PythonOperator(task_id="fails", python_callable=fail) >> EmptyOperator(task_id="after_failure")
    PythonOperator(task_id="skips_itself", python_callable=skip_itself)
    BashOperator(
        task_id="bash",
        bash_command=f"{sys.executable} -c \"from xray_core import current_step; current_step().reject('b', 'bash')\"",
    )
    choice = BranchPythonOperator(task_id="chooses", python_callable=lambda: "taken")
    choice >> [EmptyOperator(task_id="taken"), EmptyOperator(task_id="not_taken")]
