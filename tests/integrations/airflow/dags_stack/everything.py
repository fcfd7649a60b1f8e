"""One DAG with every case, run by a whole Airflow: scheduler, API server, DAG processor, triggerer."""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator, PythonOperator, ShortCircuitOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator, BaseSensorOperator, TaskGroup, task
from airflow.sdk.exceptions import AirflowSkipException

from xray_core import current_step


# Airflow itself fails a task that is queued again while its last process is still going: on a busy machine that takes
# seconds, with and without X-Ray, so what waits here waits long.
class Deferring(BaseOperator):
    def execute(self, context: Any) -> None:
        current_step().reject("before", "deferral")
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=20)), method_name="resumed")

    def resumed(self, context: Any, event: Any = None) -> list[int]:
        current_step().reject("after", "deferral")
        return [1, 2, 3]


class Poking(BaseSensorOperator):
    def poke(self, context: Any) -> bool:
        return bool(context["task_reschedule_count"] >= 1)


def fail() -> None:
    raise ValueError("the price is missing")


def skip_itself() -> None:
    raise AirflowSkipException("nothing to do today")


def die() -> None:
    current_step().reject("last", "before_death")
    time.sleep(1.5)  # the step is written down once a second while it is open
    os.kill(os.getpid(), signal.SIGKILL)


def sleep_long() -> None:
    time.sleep(600)


with DAG("child", schedule=None, is_paused_upon_creation=False):
    EmptyOperator(task_id="nothing")

with DAG(
    "everything", schedule=None, is_paused_upon_creation=False, default_args={"retries": 0}, tags=["stack"]
) as dag:

    @task
    def numbers() -> list[int]:
        return [1, 2, 3]

    @task
    def double(number: int) -> int:
        return number * 2

    @task
    def total(values: Any) -> int:
        return sum(values)

    @task(retries=1, retry_delay=timedelta(seconds=1))
    def second_time_lucky(ti: Any = None) -> None:
        if ti.try_number == 1:
            raise ValueError("not yet")

    given = numbers()
    total(double.expand(number=given))
    second_time_lucky()
    broken = PythonOperator(task_id="fails", python_callable=fail)
    broken >> PythonOperator(task_id="after_failure", python_callable=lambda: None)
    PythonOperator(task_id="skips_itself", python_callable=skip_itself)
    PythonOperator(task_id="dies", python_callable=die)
    PythonOperator(task_id="marked", python_callable=sleep_long)
    Deferring(task_id="defers")
    Poking(task_id="pokes", mode="reschedule", poke_interval=20)
    EmptyOperator(task_id="empty")
    with TaskGroup("group"):
        BashOperator(
            task_id="bash",
            bash_command=f"{sys.executable} -c \"from xray_core import current_step; current_step().reject('b', 'bash')\"",
        )
    choice = BranchPythonOperator(task_id="chooses", python_callable=lambda: "taken")
    not_taken = EmptyOperator(task_id="not_taken")
    choice >> [EmptyOperator(task_id="taken"), not_taken]
    not_taken >> EmptyOperator(task_id="after_not_taken")
    stop = ShortCircuitOperator(task_id="stops", python_callable=lambda: False)
    stop >> EmptyOperator(task_id="after_stop")
    TriggerDagRunOperator(task_id="triggers", trigger_dag_id="child", trigger_run_id="from_everything")
