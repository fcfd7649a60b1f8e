"""Run by the Prefect of another environment, see test_versions.py: a flow with the common cases, and its outcome as JSON."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Iterator
from contextlib import nullcontext

from prefect import __version__, flow, task
from prefect.testing.utilities import prefect_test_harness

from xray_core import XRay, autoload, current_step
from xray_core.transport.memory import MemoryTransport
from xray_core.xray import set_default_client

tries: list[int] = []


@task(retries=1)
def flaky(x: list[int]) -> list[int]:
    tries.append(1)
    current_step().reject(f"try{len(tries)}", "r")
    if len(tries) == 1:
        raise ValueError("first")
    return x


@task
def fails() -> None:
    raise KeyError("no")


@task
def after(x: object) -> int:
    return 1


@task
def numbers() -> Iterator[int]:
    for n in range(2):
        current_step().reject(f"g{n}", "r")
        yield n


@task
async def awaits(n: int) -> int:
    await asyncio.sleep(0)
    current_step().reject(f"a{n}", "r")
    return n


@flow
def child(x: int) -> int:
    return after(x)


@flow
def parent(api_key: str) -> int:
    flaky([1, 2, 3])
    failed = fails.submit()
    failed.wait()
    after.submit(failed).wait()
    for future in after.map([1, 2]):
        future.wait()
    for _ in numbers():
        assert not current_step()
    return child(1)


@flow
async def coroutine() -> list[int]:
    return list(await asyncio.gather(*(awaits(n) for n in range(2))))


@flow
def crashes() -> None:
    raise SystemExit(2)


def main() -> None:
    transport = MemoryTransport()
    client = XRay("matrix", transport=transport)
    set_default_client(client)
    # harnesses that cannot be made patient give up after 30 s; Prefect starts a server of its own then, more patiently
    patient = "server_startup_timeout" in inspect.signature(prefect_test_harness).parameters
    with prefect_test_harness(server_startup_timeout=200) if patient else nullcontext():
        results = [parent("sk-secret"), asyncio.run(coroutine())]
        try:
            crashes()
        except SystemExit as error:
            results.append(error.code)
    assert client.flush(20)
    report = next(each for each in autoload.report() if each["framework"] == "prefect")
    print(json.dumps({"prefect": __version__, "results": results, "report": report, "records": transport.records}))


if __name__ == "__main__":
    main()
