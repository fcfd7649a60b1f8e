from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from xray_core.errors import TransportError
from xray_core.transport import Reply
from xray_core.transport.surrounded import Surrounded


class Inner:
    """A transport that says when it was asked, and fails where it shall."""

    def __init__(self, seen: list[str], error: Exception | None = None) -> None:
        self.seen, self.error = seen, error

    def send(self, body: bytes, *, timeout_s: float) -> Reply:
        self.seen.append(f"send {body.decode()} {timeout_s}")
        if self.error is not None:
            raise self.error
        return Reply(200)

    def close(self) -> None:
        self.seen.append("close")


@contextmanager
def around(seen: list[str], name: str, error: Exception | None = None) -> Iterator[None]:
    if error is not None:
        raise error
    seen.append(f"enter {name}")
    try:
        yield
    finally:
        seen.append(f"leave {name}")


def test_each_request_is_sent_inside_of_all_that_surround_it() -> None:
    seen: list[str] = []
    transport = Surrounded(Inner(seen), lambda: [around(seen, "a"), around(seen, "b")])
    for _ in range(2):
        assert transport.send(b"x", timeout_s=1.5).status == 200
    assert seen == ["enter a", "enter b", "send x 1.5", "leave b", "leave a"] * 2
    transport.close()
    assert seen[-1] == "close"


def test_a_failed_request_leaves_what_surrounds_it_and_fails_as_it_would_alone() -> None:
    seen: list[str] = []
    transport = Surrounded(Inner(seen, TransportError("refused")), lambda: [around(seen, "a")])
    with pytest.raises(TransportError, match="refused"):
        transport.send(b"x", timeout_s=1)
    assert seen == ["enter a", "send x 1", "leave a"]


@pytest.mark.swallows
def test_what_cannot_be_entered_is_left_out_and_the_request_is_sent(
    no_swallowed_errors: list[tuple[str, Exception]],
) -> None:
    seen: list[str] = []
    several: list[AbstractContextManager[Any]] = [around(seen, "bad", ValueError("no")), around(seen, "good")]
    assert Surrounded(Inner(seen), lambda: several).send(b"x", timeout_s=1).status == 200
    assert seen == ["enter good", "send x 1", "leave good"]
    assert [site for site, _ in no_swallowed_errors] == ["a plugin's xray_sending"]


class Meddling:
    """What surrounds a request, and fails as it is left, or says that there was no error."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.told: Any = None

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        self.told = error
        if self.error is not None:
            raise self.error
        return True


@pytest.mark.swallows
@pytest.mark.parametrize("raised", [ValueError("bad"), None])
def test_what_is_left_badly_changes_neither_an_answer_nor_an_error(raised: Exception | None) -> None:
    meddling, refused = Meddling(raised), TransportError("refused")
    assert Surrounded(Inner([]), lambda: [meddling]).send(b"x", timeout_s=1).status == 200
    with pytest.raises(TransportError, match="refused"):
        Surrounded(Inner([], refused), lambda: [meddling]).send(b"x", timeout_s=1)
    assert meddling.told is refused
