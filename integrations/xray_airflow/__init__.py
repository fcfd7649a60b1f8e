"""X-Ray for Airflow: every task instance a step, every dag run a run, no DAG changed.

Airflow loads `xray_airflow.plugin` through its `airflow.plugins` entry point. Importing this package loads nothing.

    plugin    what Airflow loads: the listener, if X-Ray is on
    listener  which hooks the installed Airflow knows; each guarded, nothing else loaded until one is called
    config    XRAY_* in the environment, then [xray] in airflow.cfg; which dags are captured
    lifecycle hooks of both kinds of process: a task ended, a component stops
    task      the task's own process: the step, and execute() with its output observed
    dagruns   the scheduler and the API server: runs, and states set from outside
    sweep     after a dag run: the tasks that never had a process, and those that died without writing an end
    client    the X-Ray client of this process
    fields    what is captured of a task and a dag run, and under which ids
    pulled    what a task pulls out of the lazy results of mapped tasks
    secrets   what Airflow masks, asked for every record
    macros    for templates: a task's step, handed to a pod or another host
    instrument what `xray doctor` says of this process
    origin    where a run that starts by hand inside a task belongs
"""
