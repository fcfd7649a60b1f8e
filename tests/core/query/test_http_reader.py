"""Asking a server for JSON: what is sent, and what each kind of bad answer is turned into."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import responses

from tests.core.objects import made_up_secrets
from xray_core import ApiError, Client, NotFoundError, cli
from xray_core.objects.redaction import masked_item_id
from xray_core.query.http_reader import HttpReader
from xray_core.settings import load

URL = "http://server:1"


@pytest.fixture
def reader() -> Iterator[HttpReader]:
    with HttpReader(load({"api_url": URL, "api_key": "xray_key"}, {})) as made:
        yield made


@pytest.fixture
def http() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def test_paths_are_quoted_and_parameters_that_are_none_left_out(
    http: responses.RequestsMock, reader: HttpReader
) -> None:
    http.get(f"{URL}/runs/a%2Fb/items/x%20y", json={"ok": True})
    assert reader.get("runs", "a/b", "items", "x y", limit=3, cursor=None, exact=True) == {"ok": True}
    request = http.calls[0].request
    assert request.params == {"limit": "3", "exact": "true"}  # type: ignore[attr-defined]
    assert request.headers["Authorization"] == "Bearer xray_key"


def test_a_body_is_sent_as_json(http: responses.RequestsMock, reader: HttpReader) -> None:
    http.put(f"{URL}/alerts/rules/r", json={})
    reader.send("PUT", "alerts", "rules", "r", body={"name": "r"})
    assert http.calls[0].request.body == b'{"name": "r"}'


@pytest.mark.parametrize(
    ("status", "answer", "kind", "text"),
    [
        (404, {"error": "no such run"}, NotFoundError, "no such run"),
        (404, {}, ApiError, "not an X-Ray server's answer"),
        (401, {"error": "a key is needed"}, ApiError, "set XRAY_API_KEY"),
        (403, {"error": "the key may not"}, ApiError, "set XRAY_API_KEY"),
        (422, {"error": "limit must be a number"}, ApiError, "limit must be a number"),
        (500, {}, ApiError, "answered 500"),
        (200, ["a", "list"], ApiError, "not an X-Ray server's answer"),
    ],
)
def test_an_error_answer_says_what_to_do(
    http: responses.RequestsMock, reader: HttpReader, status: int, answer: Any, kind: type[ApiError], text: str
) -> None:
    http.get(f"{URL}/runs", json=answer, status=status)
    with pytest.raises(kind, match=text) as raised:
        reader.get("runs")
    assert raised.value.status == status


def test_a_page_that_is_no_json_is_not_taken_for_an_answer(http: responses.RequestsMock, reader: HttpReader) -> None:
    http.get(f"{URL}/runs", body="<html>sign in to this network</html>")
    with pytest.raises(ApiError, match="not an X-Ray server's answer"):
        reader.get("runs")


def test_a_server_that_is_away_is_named_with_what_to_do(http: responses.RequestsMock, reader: HttpReader) -> None:
    http.get(f"{URL}/runs", body=requests.ConnectionError(OSError(111, "Connection refused")))
    with pytest.raises(ApiError, match=f"cannot reach the X-Ray server at {URL}.*xray serve") as raised:
        reader.get("runs")
    assert raised.value.status is None


def test_an_item_whose_id_is_a_secret_stands_in_no_address(http: responses.RequestsMock, reader: HttpReader) -> None:
    secret = made_up_secrets.secret(0, 0)
    http.get(re.compile(f"{URL}/.*"), json={})
    for item_id in (secret, "o-17", 17):
        reader.get("items", reader.item(item_id))
    paths = [requests.utils.unquote(call.request.url or "") for call in http.calls]
    assert paths == [f"{URL}/items/{name}" for name in (masked_item_id(secret), "o-17", "17")]


@pytest.mark.parametrize("call", ["why", "items", "command line"])
def test_no_question_about_an_item_puts_a_secret_into_an_address(http: responses.RequestsMock, call: str) -> None:
    secret = made_up_secrets.secret(0, 0)
    http.get(re.compile(f"{URL}/.*"), json={"items": [], "runs": [], "error": "none"}, status=404)
    client = Client(api_url=URL)
    with contextlib.suppress(ApiError):
        if call == "why":
            client.why(secret, "r-1")
        elif call == "items":
            client.items(secret)
        else:
            cli.main(["why", secret, "--run", "r-1", "--api-url", URL])
    assert http.calls
    assert all(secret not in requests.utils.unquote(call.request.url or "") for call in http.calls)


def test_the_key_is_sent_though_netrc_has_an_entry_for_the_server(
    http: responses.RequestsMock, reader: HttpReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine server login ana password hunter2\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    http.get(f"{URL}/health", json={"ok": True})
    reader.get("health")
    assert http.calls[0].request.headers["Authorization"] == "Bearer xray_key"


def test_an_address_that_is_none_is_one_line() -> None:
    with HttpReader(load({"api_url": "http://a..b"}, {})) as reader, pytest.raises(ApiError, match="set XRAY_API_URL"):
        reader.get("health")
