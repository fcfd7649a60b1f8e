"""Targets of Apprise (Slack, mail, ...): each message is sent by a process of its own, under guard.

Apprise and its services open connections in their own ways, so what they may reach is decided where no library can pass it
by: an audit hook of the child's interpreter sees every connect and refuses addresses that are not public. The child also
bounds time: a service that hangs is killed. Run as `python -m xray_server.alerts.apprise_target`, which reads
{"target", "title", "text", "allow_private"} on stdin; its exit code is the answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any, Final

from xray_server.alerts.targets import ALLOW_PRIVATE, is_public
from xray_server.errors import NotDeliveredError, TargetRefusedError

TIMEOUT_S: Final = 30.0
_SENT, _FAILED, _UNKNOWN, _REFUSED = 0, 3, 4, 5
_NO_SUCH: Final = "Apprise knows no such address; https://github.com/caronc/apprise/wiki lists them"
_NEEDED: Final = "Apprise is not installed on the server: pip install 'xray-pipelines[alerts]'"


def installed() -> bool:
    """Whether Apprise is there (the extra `alerts`)."""
    return find_spec("apprise") is not None


def send(target: str, title: str, text: str, *, allow_private: bool, timeout_s: float = TIMEOUT_S) -> None:
    """Deliver through Apprise. Blocks for up to `timeout_s`.

    Raises:
        TargetRefusedError: not an address Apprise knows, or it leads to an address that is not public.
        NotDeliveredError: the service did not take it, or Apprise is not installed.
    """
    if not installed():
        raise NotDeliveredError(_NEEDED)
    asked = json.dumps({"target": target, "title": title, "text": text, "allow_private": allow_private})
    try:
        code = _child(asked, timeout_s)
    except subprocess.TimeoutExpired:
        raise NotDeliveredError(f"took longer than {timeout_s:g} s") from None
    if code == _UNKNOWN:
        raise TargetRefusedError(_NO_SUCH)
    if code == _REFUSED:
        raise TargetRefusedError(
            f"it leads to an address that is not public; {ALLOW_PRIVATE}=1 on the server allows it"
        )
    if code != _SENT:
        raise NotDeliveredError("the service did not take the message")


def check(target: str) -> None:
    """Refuse an address that Apprise does not know. Starts a process, for about a second; asks no network.

    Raises:
        TargetRefusedError: no such kind of address, or Apprise is not installed.
    """
    if not installed():
        raise TargetRefusedError(f"this server delivers to http(s) webhooks alone. {_NEEDED}")
    asked = json.dumps({"target": target, "check": True, "allow_private": False})
    try:
        code = _child(asked, TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return  # not known: the first message tells
    if code == _UNKNOWN:
        raise TargetRefusedError(_NO_SUCH)


def _child(asked: str, timeout_s: float) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "xray_server.alerts.apprise_target"],
        input=asked.encode(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=timeout_s, check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith("XRAY_")},
    )  # fmt: skip
    return done.returncode


def main() -> int:
    """The child. What it prints is dropped: Apprise's logs hold what a target keeps secret."""
    asked = json.loads(sys.stdin.buffer.read())
    import apprise

    service = apprise.Apprise()
    if not service.add(asked["target"]):
        return _UNKNOWN
    if asked.get("check"):
        return _SENT
    refused: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            address = arguments[1]
            if address is not None and not _allowed(address):
                refused.append(event)
                raise PermissionError("not a public address")
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork"):
            refused.append(event)
            raise PermissionError("a message starts no program")

    if not asked["allow_private"]:
        sys.addaudithook(watch)
    sent = service.notify(title=asked["title"], body=asked["text"])
    return _REFUSED if refused and not sent else _SENT if sent else _FAILED


def _allowed(address: Any) -> bool:
    try:
        return isinstance(address, tuple) and is_public(str(address[0]))
    except ValueError:
        return False  # a name that is not resolved yet, or a local socket


if __name__ == "__main__":
    raise SystemExit(main())
