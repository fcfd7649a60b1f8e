"""`python execute.py JOB [MODULE]`: execute a job of processes.py, or of another module here, with its steps in processes of
their own. Holds no tests.
"""

import sys
from importlib import import_module

from dagster import DagsterInstance, execute_job, reconstructable


def main() -> None:
    name, module = (*sys.argv[1:], "processes")[:2]
    definitions = import_module(f"tests.integrations.dagster.{module}")
    with DagsterInstance.get() as instance:
        result = execute_job(reconstructable(getattr(definitions, name)), instance=instance)
        print(f"RUN {result.run_id} {'ok' if result.success else 'failed'}", flush=True)


if __name__ == "__main__":
    main()
