"""Migrations of ClickHouse: brings the tables of one node up to date when the store is opened.

Each file is a number of statements; ClickHouse has no transaction over them, so each must be one that may be begun again:
the number is written down after the last.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from importlib import resources
from typing import Final

from xray_core.errors import ConfigurationError
from xray_server.backends.clickhouse.node import Node
from xray_server.backends.relational.migrations import log_migration

_COMMENT: Final = re.compile(r"^\s*--.*$", re.MULTILINE)
_CREATE: Final = re.compile(r"^CREATE (TABLE|VIEW) ")
_DURABLE: Final = "fsync_after_insert = 1, fsync_part_directory = 1"  # what was acknowledged survives a power cut
# A third less work for each insert and its merges, of servers that know them: no statistics of columns, which none of our
# questions asks for; one stream a text; no merge of fewer than eight parts.
_LESS_WORK: Final = {
    "auto_statistics_types": "''",
    "string_serialization_version": "'single_stream'",
    "min_parts_to_merge_at_once": "8",
}
_PATH: Final = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'"


def statements(text: str, *, replicated: bool, settings: Collection[str] = ()) -> list[str]:
    """The statements of a migration, with the engines written out.

    Args:
        settings: the names of the tables' settings that the server knows.
    """
    engine = f"ReplicatedReplacingMergeTree({_PATH}, " if replicated else "ReplacingMergeTree("
    text = text.replace("{replacing}(", engine)
    known = [f"{name} = {value}" for name, value in _LESS_WORK.items() if name in settings]
    text = _COMMENT.sub("", text.replace("{durable}", ", ".join([_DURABLE, *known])))
    found = [each.strip() for each in text.split(";")]
    return [_CREATE.sub(r"\g<0>IF NOT EXISTS ", each) for each in found if each]


def migrate(node: Node, location: str, *, replicated: bool) -> None:
    """Bring the tables of a node up to date.

    Raises:
        ConfigurationError: the database was written by a newer X-Ray.
    """
    files = sorted(
        (int(file.name.split("_", 1)[0]), file)
        for file in resources.files("xray_server.backends.clickhouse").joinpath("migrations").iterdir()
        if file.name.endswith(".sql")
    )
    node.command(
        "CREATE TABLE IF NOT EXISTS schema_version (number UInt32, at DateTime DEFAULT now()) "
        "ENGINE = MergeTree ORDER BY number"
    )
    ((version,),) = node.rows("SELECT max(number) FROM schema_version")
    if version > files[-1][0]:
        raise ConfigurationError(
            f"XRAY_DATABASE_URL: {location} was written by a newer X-Ray (schema {version}; this one knows "
            f"{files[-1][0]}): upgrade X-Ray, or name another database"
        )
    log_migration(location, version, files[-1][0])
    settings = {name for (name,) in node.rows("SELECT name FROM system.merge_tree_settings")}
    for number, file in files:
        if number > version:
            for statement in statements(file.read_text(encoding="utf-8"), replicated=replicated, settings=settings):
                node.command(statement)
            node.command(f"INSERT INTO schema_version (number) VALUES ({number})")  # noqa: S608  # a number
