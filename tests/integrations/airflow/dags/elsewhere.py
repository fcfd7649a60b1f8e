"""A task in a virtual environment that it makes for itself; its requirement stands in the environment of the test."""

from __future__ import annotations

import os

from airflow.providers.standard.operators.python import PythonVirtualenvOperator
from airflow.sdk import DAG


def reject_in_its_own_environment(numbers: list[int]) -> list[int]:
    from xray_core import current_step

    for number in numbers:
        if number > 2:
            current_step().reject(f"n{number}", "too_large", {"number": number})
    return [number for number in numbers if number <= 2]


with DAG("elsewhere", schedule=None):
    PythonVirtualenvOperator(
        task_id="virtualenv",
        python_callable=reject_in_its_own_environment,
        op_args=[[1, 2, 3, 4]],
        requirements=[os.environ.get("XRAY_TEST_WHEEL", "xray-pipelines")],
        system_site_packages=False,
    )
