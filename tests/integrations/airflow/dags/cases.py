"""Every case of an Airflow task that X-Ray has to get right. Nothing in here knows that it is watched, but for the two
places where a user tells of decisions."""

from __future__ import annotations

import asyncio
import enum
import os
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import (
    BranchPythonOperator,
    ExternalPythonOperator,
    PythonOperator,
    ShortCircuitOperator,
)
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, Asset, BaseOperator, BaseSensorOperator, Connection, TaskGroup, task
from airflow.sdk.exceptions import AirflowSkipException
from airflow.sdk.log import mask_secret

from xray_core import XRay, current_run, current_step


class Deferring(BaseOperator):
    """Waits in the triggerer, then goes on in `resumed`."""

    def execute(self, context: Any) -> None:
        current_step().reject_many(["a1", "a2", "a3"], "first")
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=1)), method_name="resumed")

    def resumed(self, context: Any, event: Any = None) -> list[int]:
        current_step().reject("b1", "second")
        return [1, 2, 3]


class Poking(BaseSensorOperator):
    """Succeeds at its third poke."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(mode="reschedule", poke_interval=60, **kwargs)

    def poke(self, context: Any) -> bool:
        return bool(context["task_reschedule_count"] >= 2)


class Choosy(Poking):
    """Rejects something at each of its three pokes, in three processes."""

    def poke(self, context: Any) -> bool:
        count = context["task_reschedule_count"]
        current_step().reject_many([f"p{count}-{n}" for n in range(count + 1)], f"poke {count}")
        return super().poke(context)


class Copied(BaseOperator):
    """Copies itself while it runs, as some operators do."""

    def execute(self, context: Any) -> str:
        import copy

        assert "execute" not in vars(self)
        return type(copy.copy(self)).__name__


class Unready(BaseOperator):
    """Has a template field that can be read once, as one that opens a connection, and others of its attributes not at all."""

    template_fields = ("query", "host")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.query = "{{ ds }}"

    @property
    def host(self) -> str:
        if self.__dict__.pop("asked", False):  # Airflow has read it by then
            raise ConnectionError("no host yet")
        self.__dict__["asked"] = "_rendered" in self.__dict__
        return "example"

    @host.setter
    def host(self, value: str) -> None:
        self.__dict__["_rendered"] = True

    def execute(self, context: Any) -> list[int]:
        current_step().reject("a", "unready")
        return [1]


class Name(str, enum.Enum):
    """Task ids as an enum of texts, as some teams keep them."""

    FIRST = "by_enum"
    SECOND = "after_enum"


@task
def keep_even(numbers: list[int]) -> list[int]:
    step = current_step()
    for number in numbers:
        if number % 2:
            step.reject(str(number), "odd", {"number": number})
    current_run().set_metadata("who", "keep_even")
    return [number for number in numbers if number % 2 == 0]


def fail() -> None:
    raise ValueError("the price is missing")


def skip_itself() -> None:
    raise AirflowSkipException("nothing to do today")


def skip_silently() -> None:
    raise AirflowSkipException()


def fail_oddly() -> None:
    raise ValueError("half a character: \udc80")


def in_a_thread() -> None:
    """A thread carries no context variables; one process runs one task, so the step is found all the same."""
    thread = threading.Thread(target=lambda: current_step().reject("t", "in_thread"))
    thread.start()
    thread.join()


def run_by_hand() -> None:
    with XRay("by_hand") as xray, xray.run():
        pass


def reject_elsewhere() -> list[int]:
    """In another interpreter, which has X-Ray installed and knows nothing of Airflow's plugin."""
    from xray_core import current_step

    current_step().reject("e", "elsewhere")
    return [1, 2]


def ask_doctor() -> None:
    from xray_core.autoload import report

    found = next(each for each in report() if each["framework"] == "airflow")
    for name in ("enabled", "how"):
        current_step().set_metadata(name, found[name])


async def reject_while_waiting() -> list[int]:
    current_step().reject("w0", "before")
    await asyncio.gather(*(_reject_one(n) for n in (1, 2)))
    return [1, 2, 3]


async def _reject_one(n: int) -> None:
    await asyncio.sleep(0)
    current_step().reject(f"w{n}", "in_a_coroutine")


def run_out_of_time() -> None:
    current_step().reject("late", "before_the_end")
    time.sleep(30)  # Airflow ends it after its execution_timeout, which is what is tested


def split_in_two(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Several outputs, each an XCom of its own."""
    return {"kept": [row for row in rows if row["n"] < 3], "others": [row for row in rows if row["n"] == 3], "count": 4}


def sleep_long() -> None:
    current_step().reject("s", "slept")
    time.sleep(120)


def secret_word() -> str:
    """As a template finds a connection's password: Airflow registers it as it hands it out."""
    mask_secret("Winter in Boston")
    return "Winter in Boston"


def log_in() -> None:
    password = Connection.get("shop_db").password
    current_step().reject("row", "refused", {"tried": f"as user with {password}"})
    raise RuntimeError(f"login failed: user with {password}")


def use_secret(word: str) -> None:
    step = current_step()
    step.reject("a", "r", {"tried": f"with {word}", "proxy": "direct"})
    step.set_metadata("note", word)
    raise ValueError(f"login refused: {word}")


with DAG(
    "cases", schedule=None, default_args={"retries": 0}, tags=["demo"], user_defined_macros={"secret_word": secret_word}
) as cases:
    PythonOperator(task_id="secretive", python_callable=use_secret, op_kwargs={"word": "{{ secret_word() }}"})
    evens = keep_even(numbers=[1, 2, 3, 4, 5])
    classic = PythonOperator(task_id="classic", python_callable=lambda rows: {"n": len(rows)}, op_args=[[1, 2]])
    PythonOperator(task_id="tagged", python_callable=lambda: [{"id": 1, "sku": "a"}], params={"xray/id": "sku"})
    PythonOperator(task_id="untagged", python_callable=lambda: [{"id": 1, "sku": "a"}])
    PythonOperator(task_id="fails", python_callable=fail)
    PythonOperator(task_id="skips_itself", python_callable=skip_itself)
    PythonOperator(task_id="skips_silently", python_callable=skip_silently)
    PythonOperator(task_id="fails_oddly", python_callable=fail_oddly)
    Unready(task_id="unready")
    by_enum = PythonOperator(task_id=Name.FIRST, python_callable=lambda: [1])
    by_enum >> PythonOperator(task_id=Name.SECOND, python_callable=lambda: [2])
    TriggerDagRunOperator(task_id="triggers", trigger_dag_id="another", trigger_run_id="t1")
    TriggerDagRunOperator(
        task_id="triggers_and_waits",
        trigger_dag_id="another",
        trigger_run_id="t2",
        wait_for_completion=True,
        deferrable=True,
    )
    ExternalPythonOperator(
        task_id="external_python",
        python=sys.executable,
        python_callable=reject_elsewhere,
        expect_airflow=False,
    )
    BashOperator(
        task_id="like_a_pod",  # inherits nothing: what it has is in its `env`
        bash_command=f"{sys.executable} -c \"from xray_core import current_step; current_step().reject('p', 'in_pod')\"",
        env={
            "XRAY_RUN_ID": "{{ macros.xray.run_id(ti) }}",
            "XRAY_STEP_ID": "{{ macros.xray.step_id(ti) }}",
            "XRAY_STEP_ATTEMPT": "{{ macros.xray.attempt(ti) }}",
            "XRAY_SPOOL_DIR": os.environ.get("XRAY_SPOOL_DIR", ""),
            "XRAY_API_URL": os.environ.get("XRAY_API_URL", ""),
        },
    )
    PythonOperator(task_id="logs_in", python_callable=log_in)
    PythonOperator(task_id="asks_doctor", python_callable=ask_doctor)
    BashOperator(
        task_id="runs_doctor", bash_command=f"{Path(sys.executable).with_name('xray')} doctor --json | tr -d '\\n'"
    )
    PythonOperator(task_id="in_thread", python_callable=in_a_thread)
    PythonOperator(task_id="by_hand", python_callable=run_by_hand)
    PythonOperator(task_id="sleeps", python_callable=sleep_long)
    PythonOperator(task_id="waits", python_callable=reject_while_waiting)
    PythonOperator(
        task_id="runs_out_of_time", python_callable=run_out_of_time, execution_timeout=timedelta(seconds=0.3)
    )
    task(multiple_outputs=True, task_id="splits")(split_in_two)([{"id": f"r{n}", "n": n} for n in range(5)])
    task(multiple_outputs=True, task_id="one_record")(lambda: {"id": "r1", "lines": [{"id": "l1"}, {"id": "l2"}]})()
    Deferring(task_id="defers")
    Poking(task_id="pokes")
    Choosy(task_id="pokes_choosily")
    Copied(task_id="copies")
    with TaskGroup("group"):
        inner = BashOperator(
            task_id="bash",
            bash_command=(
                "{{ params.python }} -c \"from xray_core import current_step; current_step().reject('b', 'from_bash')\""
                " && echo {{ ds }}"
            ),
            params={"python": "python"},
            outlets=[Asset("s3://bucket/out")],
        )
    classic >> inner
    choice = BranchPythonOperator(task_id="chooses", python_callable=lambda: "taken")
    choice >> [EmptyOperator(task_id="taken"), EmptyOperator(task_id="not_taken")]
    stop = ShortCircuitOperator(task_id="stops", python_callable=lambda: False)
    stop >> EmptyOperator(task_id="after_stop")

    @task
    def double(number: int) -> int:
        return number * 2

    doubled = double.expand(number=[1, 2, 3])


with DAG("in_trigger", schedule=None):
    DateTimeSensorAsync(task_id="ends_in_trigger", target_time="2024-01-01T00:00:00+00:00", end_from_trigger=True)
    PythonOperator(task_id="beside", python_callable=lambda: [1, 2])
