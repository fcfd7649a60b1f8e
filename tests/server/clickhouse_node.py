"""One ClickHouse node, the engine of the `chdb-core` wheel made to listen, until it is killed: `python clickhouse_node.py DATA`.

Its configuration is `.clickhouse-local/config.xml` under `$HOME`. Run as a script by `tests/server/clickhouse.py`.
"""

import sys

_FOR_EVER = (
    "SELECT count() FROM system.numbers WHERE sleepEachRow(1) "
    "SETTINGS max_block_size=1, max_execution_time=0, function_sleep_max_microseconds_per_block=0"
)

if __name__ == "__main__":
    import chdb._chdb as engine

    engine.query(f"SYSTEM START LISTEN TCP; SYSTEM START LISTEN HTTP; {_FOR_EVER}", "TSV", path=sys.argv[1])
