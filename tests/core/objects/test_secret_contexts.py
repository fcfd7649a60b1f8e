"""Row 40, texts: secrets that are told by where they stand: after a name, in an address, a header, on a command line."""

from __future__ import annotations

import json

import pytest

from tests.core.objects import made_up_secrets
from tests.core.objects.test_secret_formats import masked
from xray_core.objects.redaction import REDACTED, Redactor

PASSWORD = "hun" + "ter2"  # what must not be left

_TEXTS = [
    "postgresql://app:{}@db/x", "postgres://app:{}@db:5432/x?sslmode=require", "redis://:{}@cache:6379/0", "amqp://guest:{}@mq//",
    "mongodb+srv://u:{}@c.example.net/db?retryWrites=true", "https://user:{}@example.com/a?b=c", "jdbc:postgresql://u:{}@h/db",
    "https://{}{}{}@example.com/x",
    "could not connect to 'mysql://root:{}@127.0.0.1/x'", "snowflake://u:{}@acct/db", "ftp://u:{}@h", "smtp://u:{}@h:25",
    "401 for Authorization: Bearer {}.abc.def", "Authorization: Basic {}", '"Authorization": "Bearer {}"', "authorization=Token {}",
    "headers: {{'Authorization': 'Bearer {}'}}", "Proxy-Authorization: Basic {}", "X-Api-Key: {}", "x-auth-token: {}",
    "login failed (password={})", "password: {}", "Password:{}", "password = '{}'", 'password="{} and more"', "passwd={}", "pwd={};",
    "PGPASSWORD={} psql", "export DB_PASSWORD={}", "DB_PASS={}", "SECRET_KEY={}", "secret: {}", "token={}", "access_token={}&x=1",
    "https://x.example/cb?access_token={}&state=1", "https://x.example/?api_key={}", "?sig={}long&se=2024", "&X-Amz-Signature={}0123456789",
    "https://b.s3.amazonaws.com/k?X-Amz-Credential=a&X-Amz-Security-Token={}", "https://a.blob.core.windows.net/c/b?sv=2022&sig={}%2Babc%3D",
    "https://storage.googleapis.com/b/k?X-Goog-Signature={}abcdef", "GoogleAccessId=x&Signature={}abcdef",
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey={}==;EndpointSuffix=core.windows.net",
    "Endpoint=sb://x.example/;SharedAccessKeyName=n;SharedAccessKey={}=", "SharedAccessSignature=sv=2022&sig={}abcdef",
    "Server=db;Database=x;User Id=sa;Password={};Encrypt=true", "Driver=x;UID=sa;PWD={}", "host=db user=app password={} dbname=x",
    '{{"password": "{}", "n": 1}}', '{{"user": {{"apiKey": "{}"}}}}', '{{\\"password\\": \\"{}\\"}}', '"{{\\\\"token\\\\": \\\\"{}\\\\"}}"',
    "{{'password': '{}'}}", "dict(password='{}')", "connect(host='x', password=b'{}')", "password => '{}'", "password := {}",
    "--password {}", "--password={}", "--password '{} x'", "mysql --user root --password {} db", "--api-key {}", "--db-password {}", "--token {}",
    "curl -u bob:{} https://x.example", "curl --user bob:{} https://x.example", "curl -ubob:{} x", "curl -H 'X-Api-Key: {}' x",
    "mysql -u root -p{} db", "mysqldump -p{} db", "sshpass -p {} ssh host", "machine h login bob password {}",
    "Cookie: sid={}; theme=dark", "Set-Cookie: session={}; Path=/; HttpOnly", "'Cookie': 'sid={}'", "cookie: a=1; csrftoken={}",
    "<password>{}</password>", "<ns:apiKey type='x'>{}</ns:apiKey>", "<add key=\"Password\" value=\"x\" password=\"{}\"/>",
    "line\npassword={}\nline", "a\tpassword:\t{}", "api_key:{}", "client_secret={}", "my.secret.token={}", "spring.datasource.password={}",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE{}\n-----END RSA PRIVATE KEY-----", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl{}",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\n{}\n-----END PGP PRIVATE KEY BLOCK-----", "-----BEGIN PRIVATE KEY-----\\nMII{}\\n",
]  # fmt: skip


@pytest.mark.parametrize("text", _TEXTS)
def test_row_40_a_secret_is_masked_by_where_it_stands(text: str) -> None:
    left = masked(text.replace("{}", PASSWORD).replace("{{", "{").replace("}}", "}"))
    assert PASSWORD not in left
    assert REDACTED in left


@pytest.mark.parametrize(
    "password", ["p@ss", "a/b", "a:b", "p@ss:w/rd", "a#b?c", "100%25", "ünïcode", "a,b;c", "a&b=c", "x@y@z"]
)
def test_row_40_the_password_of_an_address_may_hold_any_character(password: str) -> None:
    assert (
        masked(f"to postgresql://app:{password}@db.example/x failed")
        == f"to postgresql://app:{REDACTED}@db.example/x failed"
    )


def test_what_stands_around_a_secret_stays() -> None:
    assert masked("password=hunter2, retry in 5 s") == f"password={REDACTED}, retry in 5 s"
    assert masked('{"password": "two words", "n": 3}') == f'{{"password": "{REDACTED}", "n": 3}}'
    assert masked("url=https://x.example/?token=abc1&page=2") == f"url=https://x.example/?token={REDACTED}&page=2"


def test_a_command_as_a_list_is_masked_after_its_flag() -> None:
    record = {"input": {"argv": ["mysql", "--password", PASSWORD, "-h", "db"]}}
    redactor = Redactor()
    assert redactor.may_hold_secret(json.dumps(record).encode())
    assert redactor.record(record)["input"]["argv"] == ["mysql", "--password", REDACTED, "-h", "db"]


@pytest.mark.parametrize("card", ["4111 1111 1111 1111", "4111-1111-1111-1111", "4111111111111111", "5555 5555 5555 4444", "378282246310005",
                                  "3782 822463 10005", "6011111111111117", "30569309025904", "3530111333300000"])  # fmt: skip
def test_row_40_card_numbers_are_masked(card: str) -> None:
    """The numbers that networks publish for tests."""
    for text in ("{}", "paid with {} today", "card: {}.", '"{}"', "line\n{}\nline", "a,{},b"):
        assert masked(text.format(card)) == text.format(REDACTED)


@pytest.mark.parametrize("number", ["4111 1111 1111 1112", "4111111111111112", "1234567890123456", "9780306406157", "1718350200123456",
                                    "0.4111111111111111", "4111111111111111.5", "x4111111111111111", "41111111111111111111111"])  # fmt: skip
def test_numbers_that_are_no_cards_stay(number: str) -> None:
    assert masked(f"no {number} here") == f"no {number} here"


def test_a_secret_is_not_cut_in_half() -> None:
    from xray_core.objects.sanitize import Sanitizer

    secret = made_up_secrets.secret(0)
    for before in range(60):
        text = "x " * 28 + "y" * (before % 2) + " " * before + secret + " tail " * 20
        kept = Sanitizer().masked(text, 100)
        assert secret[:8] not in kept
