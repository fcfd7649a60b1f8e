"""A job whose steps run in processes that share nothing but Dagster's database, as containers do. Holds no tests."""

import os
import subprocess
import sys

import xray_dagster
from dagster import executor, job, multiple_process_executor_requirements
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepDelegatingExecutor, StepHandler

from tests.integrations.dagster.processes import add_up, double, fan_out

IN_A_CONTAINER = "XRAY_TEST_CONTAINER" in os.environ
if not IN_A_CONTAINER or os.environ["XRAY_TEST_CONTAINER"] == "with X-Ray":
    xray_dagster.enable()


class Containers(StepHandler):
    """Starts a process for each step, with a disk of its own as far as X-Ray can see."""

    def __init__(self) -> None:
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def name(self) -> str:
        return "Containers"

    def launch_step(self, step_handler_context):
        arguments = step_handler_context.execute_step_args
        (key,) = arguments.step_keys_to_execute
        environment = {
            **os.environ, "XRAY_TEST_CONTAINER": os.environ["XRAY_TEST_CONTAINERS"],
            "XRAY_SPOOL_DIR": f"{os.environ['XRAY_SPOOL_DIR']}-{key}",
        }  # fmt: skip
        command = [sys.executable, "-m", *arguments.get_command_args()]
        self.started[key] = subprocess.Popen(command, env=environment)
        yield from ()

    def check_step_health(self, step_handler_context):
        (key,) = step_handler_context.execute_step_args.step_keys_to_execute
        ended = self.started[key].poll()
        return CheckStepHealthResult.healthy() if not ended else CheckStepHealthResult.unhealthy(f"exited with {ended}")

    def terminate_step(self, step_handler_context):
        for process in self.started.values():
            process.kill()
        yield from ()


@executor(name="containers", requirements=multiple_process_executor_requirements())
def containers(_):
    return StepDelegatingExecutor(
        Containers(), retries=RetryMode.ENABLED, sleep_seconds=0.2, check_step_health_interval_seconds=1
    )


@job(executor_def=containers)
def delegated():
    add_up(fan_out().map(double).collect())
