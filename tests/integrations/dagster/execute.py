"""`python execute.py JOB`: execute a job of processes.py with its steps in processes of their own. Holds no tests."""

import sys

from dagster import DagsterInstance, execute_job, reconstructable

from tests.integrations.dagster import processes


def main() -> None:
    name = sys.argv[1]
    with DagsterInstance.get() as instance:
        result = execute_job(reconstructable(getattr(processes, name)), instance=instance)
        print(f"RUN {result.run_id} {'ok' if result.success else 'failed'}", flush=True)


if __name__ == "__main__":
    main()
