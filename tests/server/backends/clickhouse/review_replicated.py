"""The replicated tables, held against an old server that is at hand where no new one with a Keeper is: run by hand.

    python -m tests.server.backends.clickhouse.review_replicated --root DIR

DIR is where Debian's packages `clickhouse-server` (18.16) and `zookeeper` were unpacked with what they depend on (`dpkg -x`).
Starts a ZooKeeper and two servers on loopback, makes every table of the migrations in its replicated form, and asks of each:
does a row that was inserted on one come to the other, is the same block taken once, does the greater version replace the
smaller. Types that 18.16 does not know are spelled as their nearest (`older`), codecs and settings are left out: what is
reviewed is engines, paths, macros, partitions and keys.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from importlib import resources
from pathlib import Path

import httpx
from xray_server.backends.clickhouse.migrate import statements

_VALUES = {"String": "'x'", "UInt8": "1", "UInt32": "2", "UInt64": "3", "Int64": "4", "Float64": "0.5"}
_SERVER = """<yandex><logger><level>warning</level><log>{home}/log</log><errorlog>{home}/err</errorlog></logger>
<http_port>{http}</http_port><tcp_port>{tcp}</tcp_port><interserver_http_port>{inter}</interserver_http_port>
<interserver_http_host>127.0.0.1</interserver_http_host><listen_host>127.0.0.1</listen_host><path>{home}/data/</path><tmp_path>{home}/tmp/</tmp_path>
<mark_cache_size>5368709120</mark_cache_size><users_config>{home}/users.xml</users_config><default_profile>default</default_profile>
<default_database>default</default_database><zookeeper><node><host>127.0.0.1</host><port>{zookeeper}</port></node></zookeeper>
<macros><shard>1</shard><replica>{replica}</replica></macros></yandex>"""
_USERS = """<yandex><profiles><default/></profiles><quotas><default/></quotas><users><default><password/><networks><ip>127.0.0.1</ip></networks>
<profile>default</profile><quota>default</quota></default></users></yandex>"""


def older(statement: str) -> str:
    """A statement as 18.16 can read it."""
    text = re.sub(r" CODEC\((?:[^()]|\([^()]*\))*\)", "", statement)
    text = re.sub(r"\sSETTINGS .*$", "", text, flags=re.DOTALL)
    text = re.sub(r"SimpleAggregateFunction\(\w+, (\w+)\)", r"\1", text)
    text = re.sub(r"LowCardinality\((Nullable\(String\)|String)\)", r"\1", text)
    text = re.sub(r"Map\([^()]*(?:\([^()]*\))?[^()]*\)", "String", text)
    text = text.replace("UInt128", "UInt64").replace("{database}", "xray")
    return re.sub(r"\{table\}", re.findall(r"EXISTS (\w+)", text)[0], text)


def columns_of(statement: str) -> list[tuple[str, str]]:
    """(name, type) of each column of a statement that `older` gave."""
    body = statement[statement.index("(") + 1 : statement.index(") ENGINE")]
    return [tuple(each.split(maxsplit=1)) for each in re.split(r",\s+(?![^()]*\))", body.strip())]  # type: ignore[misc]


def row(columns: list[tuple[str, str]], version: str | None, greater: bool) -> str:
    """A row of values; with a greater version also another last value."""
    values = []
    for n, (name, kind) in enumerate(columns):
        value = "NULL" if kind.startswith("Nullable") else _VALUES[kind]
        if greater and (name == version or n == len(columns) - 1):
            value = "9" if kind != "String" else "'y'"
        values.append(value)
    return f"({', '.join(values)})"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on {port}"
            time.sleep(0.1)  # between two looks, up to the deadline


def ask(port: int, statement: str) -> str:
    answer = httpx.post(f"http://127.0.0.1:{port}/?database=xray", content=statement.encode(), timeout=60)
    if answer.status_code != 200:
        raise SystemExit(f"{statement}\n{answer.text[:500]}")
    return answer.text.strip()


def start(root: Path, home: Path, opened: ExitStack) -> list[int]:
    """A ZooKeeper and two servers; the servers' ports."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(root / "usr/lib/x86_64-linux-gnu")}
    zookeeper = free_port()
    (home / "zoo.cfg").write_text(
        f"tickTime=2000\ndataDir={home}/zoo\nclientPort={zookeeper}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
    )
    jars = root / "usr/share/java"
    commands = [
        ["java", "-cp", f"{jars}/*", "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(home / "zoo.cfg")]
    ]
    ports = []
    for replica in ("a", "b"):
        own = home / replica
        (own / "data").mkdir(parents=True)
        (own / "tmp").mkdir()
        http = free_port()
        ports.append(http)
        text = _SERVER.format(
            home=own, http=http, tcp=free_port(), inter=free_port(), zookeeper=zookeeper, replica=replica
        )
        (own / "config.xml").write_text(text)
        (own / "users.xml").write_text(_USERS)
        commands.append([str(root / "usr/sbin/clickhouse-server"), f"--config-file={own}/config.xml"])
    for n, command in enumerate(commands):
        output = opened.enter_context((home / f"output-{n}").open("wb"))
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        opened.callback(process.wait, 30)
        opened.callback(process.kill)
        if n == 0:
            wait_for(zookeeper)
    for port in ports:
        wait_for(port)
    return ports


def review(ports: list[int], statement: str) -> str:
    """What was found of one table; ends the program where something is not as it should be."""
    text = older(statement)
    table = re.findall(r"EXISTS (\w+)", text)[0]
    for port in ports:
        ask(port, text)
    engine = re.findall(r"ENGINE = (\w+)\((.*?)\)\s*(?:PARTITION|ORDER)", text, flags=re.DOTALL)[0]
    version = engine[1].rpartition(", ")[2] if "Replacing" in engine[0] else None
    columns = columns_of(text)
    first, second = row(columns, version, False), row(columns, version, True)
    for _ in range(2):
        ask(ports[0], f"INSERT INTO {table} VALUES {first}")
    deadline = time.monotonic() + 30
    while ask(ports[1], f"SELECT count() FROM {table}") != "1":
        assert time.monotonic() < deadline, f"{table}: the row did not come to the other replica, or came twice"
        time.sleep(0.1)  # between two looks, up to the deadline
    if version is None:
        return f"{table}: replicated, a block is taken once"
    ask(ports[1], f"INSERT INTO {table} VALUES {second}")
    found = ""
    while found != "1\t9":  # merges are the leader's, and come to the other in their time
        assert time.monotonic() < deadline, f"{table}: {found} instead of one row of version 9"
        ask(ports[0], f"OPTIMIZE TABLE {table} FINAL")
        found = ask(ports[1], f"SELECT count(), any({version}) FROM {table}")
    return f"{table}: replicated, a block is taken once, the greater {version} replaces the smaller"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="where the packages were unpacked")
    root = parser.parse_args().root.absolute()
    with ExitStack() as opened:
        home = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="xray-review-")))
        ports = start(root, home, opened)
        for port in ports:
            httpx.post(f"http://127.0.0.1:{port}/", content=b"CREATE DATABASE xray").raise_for_status()
        folder = resources.files("xray_server.backends.clickhouse").joinpath("migrations")
        for file in sorted(folder.iterdir(), key=lambda each: each.name):
            for statement in statements(file.read_text(encoding="utf-8"), replicated=True):
                if statement.startswith("CREATE TABLE"):  # a view holds no rows
                    print(review(ports, statement), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
