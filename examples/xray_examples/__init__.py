"""Pipelines to try X-Ray on: `xray demo` runs one, as a plain script or under Prefect, Airflow or Dagster."""
