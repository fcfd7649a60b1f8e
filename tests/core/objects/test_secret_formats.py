"""Row 40, texts: credentials in the public formats are found by their form, wherever they stand, and innocents are not.

Tests objects/card_numbers.py, redaction.py and secret_hints.py.
"""

from __future__ import annotations

import json
import random
import re
import string
import uuid

import pytest

from tests.core.objects import made_up_secrets
from xray_core.objects import secret_hints
from xray_core.objects.redaction import REDACTED, Redactor
from xray_core.objects.secret_contexts import CONTEXTS
from xray_core.objects.secret_formats import FORMATS

redactor = Redactor()
_AROUND = [
    "{}",
    "key {} is invalid",
    "({})",
    "[{}]",
    "a={}&b=1",
    'said "{}".',
    "line\n{}\nline",
    "\t{}",
    "é{}é",
    "https://x.example/{}/y",
]


def masked(text: str) -> str:
    """A text as it is written: in an encoded record, if the first look says that there is something to look for."""
    record = {"input": {"text": text}}
    payload = json.dumps(record, ensure_ascii=False).encode()
    if not redactor.may_hold_secret(payload):
        return text
    cleaned: str = redactor.record(record)["input"]["text"]
    return cleaned


@pytest.mark.parametrize(("name", "public_rule", "n"), made_up_secrets.FORMATS)
def test_row_40_a_credential_of_a_public_format_is_masked_wherever_it_stands(
    name: str, public_rule: str, n: int
) -> None:
    for seed in range(4):
        text, drawn = made_up_secrets.secret(n, seed), made_up_secrets.random_part(n, seed)
        assert [each.rule for each in redactor.find(text)] == [name], text
        for around in _AROUND:
            left = masked(around.format(text))
            assert REDACTED in left
            assert drawn not in left
            assert drawn[:12] not in left


def test_every_format_has_a_made_up_secret_or_says_why_not() -> None:
    tested = {name for name, _, _ in made_up_secrets.FORMATS}
    # long or odd ones: their pattern is tried below by a string written out
    written_out = {
        "google-refresh-token",
        "teams-webhook",
        "replicate-token",
        "figma-token",
        "tailscale-key",
        "authress-key",
    }
    assert {each.name for each in FORMATS} == tested | written_out
    draw = random.Random(1)
    letters = "".join(draw.choices(string.ascii_lowercase + string.digits, k=60))
    for text in (
        "1/" + "/0" + letters[:40],
        "https://x.webhook.office" + f".com/webhookb2/{uuid.UUID(int=5)}@{uuid.UUID(int=6)}/IncomingWebhook/{letters}",
        "r8" + "_" + letters[:37],
        "fig" + "d_" + letters[:40],
        "ts" + "key-auth-" + letters[:12] + "-" + letters[:32],
        "sc" + "_" + letters[:10] + ".abcd.acc-" + letters[:12] + "." + letters[:40],
    ):
        assert masked(f"see {text} there") != f"see {text} there"


def test_every_format_and_context_says_where_it_is_documented() -> None:
    assert all(each.source for each in FORMATS)
    assert all(each.source for each in CONTEXTS)
    assert len({each.name for each in FORMATS}) == len(FORMATS)


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.name)
def test_a_hint_is_what_a_match_begins_with_or_holds(each: object) -> None:
    """Else the first look would overlook what the second would find: those with a hint were found above."""
    for hint in each.hints:  # type: ignore[attr-defined]
        assert re.compile(hint)
        assert len(hint) >= 1


_WORDS = [
    "the",
    "quick",
    "fox",
    "price_too_high",
    "economy-class",
    "LAX",
    "UA1545",
    "late",
    "internationalization",
    "task-1",
    "sk-learn",
]


def _innocents() -> list[str]:
    draw = random.Random(40)
    digits = string.digits
    texts = [
        "", "a", "UA-1545-0101", "2013-06-14T07:30:00+00:00", "1718350200", "1718350200123", "1718350200123456", "978-3-16-148410-0",
        "9783161484100", "ISBN 978-0-306-40615-7", "order 1002-2024-000017", "ORD-2024-06-14-000123", "https://example.com/a?b=c&d=1",
        "http://127.0.0.1:8000/runs/x", "user@example.com wrote", "mailto:ann@example.com", "price: 150, limit: 100", "12:30 at gate B:4",
        "max_tokens=512", "token_count: 3", "tokens: 17", "prompt_tokens=12 completion_tokens=40", "unexpected token: end of file",
        "def login(user, password):", "the password is wrong", "secretary of state", "author: Ann Lee", "keyboard: qwerty", "key: value",
        "monkey=3", "basic economy_class", "Basic economics of fares", "bearer of bad news", "task-1 task_2 desk-3", "sk-learn", "risk-adjusted",
        "pass_rate=0.93", "pass: 12, fail: 3", "first_pass=done", "session_timeout_s=30", "compass: north", "auth_method=none", "authored=2020",
        "pin_color: red", "spinning=7", "shipping: paid", "sha256:" + "ab12" * 16, "git commit 3f29aab7" + "0" * 32, "md5 " + "0f" * 16,
        "C:\\Users\\ann\\keys.txt", '{"a": [1, 2, 3], "b": "c"}', "SELECT id FROM t WHERE a = 'b'", "x -u y", "-- a comment", "a - b -- c",
        "0.8471263548127635", "lat=40.6413111, lon=-73.7781391", "+1 212 555 0100", "20 21 22 23 24 25 26 27 28", "GB-2024-11-05/7",
        "arn:aws:s3:::bucket/key", "s3://bucket/path/to/file.parquet", "gs://bucket/x", "postgresql://localhost:5432/db", "sqlite:///x.db",
        "http://host:80/path?email=a@b.example", "1.2.3.4:8080", "10:10:10", "::1", "a=b=c", "key=", "password=", "token:", "Cookie policy: yes",
        "<p>text</p>", "<a href='x'>y</a>", "model=gpt-4o temperature=0.2", "epoch=3 loss=0.12", "the pin: see map", "M" * 40, "eyJ", "AKIA",
        "ghp_", "hf_models", "npm_config_cache", "SG.1", "xoxo", "gl-1", "_mmk", "AC/DC", "SKU-4711-AB", "SK1234", "AC" + "12" * 4,
    ]  # fmt: skip
    texts += [str(uuid.UUID(int=draw.getrandbits(128), version=4)) for _ in range(300)]
    texts += ["".join(draw.choices("0123456789abcdef", k=n)) for n in (24, 32, 40, 64) for _ in range(50)]
    texts += ["".join(draw.choices(digits, k=n)) for n in range(4, 14) for _ in range(30)]
    texts += ["1" + "".join(draw.choices(digits, k=15)) for _ in range(100)]  # order numbers, snowflakes, microseconds
    texts += [f"{draw.randrange(10**4):04}-{draw.randrange(10**6):06}" for _ in range(50)]
    texts += [" ".join(draw.choices(_WORDS, k=12)) for _ in range(200)]
    texts += [f"item-{i:06}" for i in range(100)]
    return texts


def test_row_40_innocent_texts_and_ids_stay_as_they_are() -> None:
    assert [text for text in _innocents() if masked(text) != text] == []
    assert [text for text in _innocents() if redactor.item_id(text) != text] == []


@pytest.mark.parametrize("seed", range(20))
def test_a_number_of_sixteen_digits_is_an_item_id_whatever_its_check_digit(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(200):
        item = "".join(draw.choices(string.digits, k=16))
        assert redactor.item_id(item) == item


def test_a_text_without_a_hint_is_not_looked_through() -> None:
    for text in (
        "the quick brown fox",
        "price_too_high",
        "2013-06-14T07:30:00",
        "gate B4, row 17",
        "019ac2d4-7c00-7a23-8b23-01c3d5678abf",
    ):
        assert not secret_hints.may_hold_secret(json.dumps({"a": text, "n": [1.5, 10**15]}).encode())
