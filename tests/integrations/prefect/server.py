"""Prefect's API with an empty database, until it is ended: `python server.py DATABASE PORT`.

A process of its own, so that the tests need not import what a server needs; and without the hundred migrations that lead to
its tables, which take longer than all else at its start.
"""

from __future__ import annotations

import os
import sys


def create_tables(path: str) -> None:
    """The tables of Prefect's server, as its models say."""
    from prefect.server.database import provide_database_interface
    from sqlalchemy import create_engine
    from sqlalchemy.schema import CreateIndex, CreateTable

    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        for table in provide_database_interface().Base.metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))
    engine.dispose()


def main(database: str, port: int) -> None:
    """Listen on the loopback."""
    os.environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = f"sqlite+aiosqlite:///{database}"
    import uvicorn
    from prefect.server.api.server import create_app

    create_tables(database)
    uvicorn.run(create_app(), host="127.0.0.1", port=port, log_level="error")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
