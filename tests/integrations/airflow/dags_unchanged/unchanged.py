"""Three DAGs of the functions that every framework's suite makes its tasks of, without a line of X-Ray."""

from __future__ import annotations

from airflow.sdk import dag, task

from tests.integrations import unchanged as work


@dag(schedule=None)
def etl() -> None:
    good = task(work.dedupe)(task(work.drop_invalid)(task(work.load_orders)(10), 0.0))
    task(work.write)(task(work.only_eu)(task(work.enrich)(good, task(work.load_customers)(5))))


@dag(schedule=None)
def answer() -> None:
    best = task(work.rerank)("why?", task(work.in_english)(task(work.retrieve)("why?", 8)), 3)
    task(work.model)(task(work.prompt)("why?", best))


@dag(schedule=None)
def batch() -> None:
    scored = task(work.score).expand(row=task(work.load_users)(4))
    task(work.notify)(task(work.above)(scored, 0.215))  # pulls the mapped results lazily


ETL, ANSWER, BATCH = etl(), answer(), batch()
