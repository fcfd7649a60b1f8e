"""Row 40, keys: which names promise a secret, in mappings as in texts; numbers under them count too."""

from __future__ import annotations

import pytest

from xray_core.errors import ConfigurationError
from xray_core.objects.redaction import REDACTED, Redactor
from xray_core.objects.sanitize import Sanitizer
from xray_core.settings import load

clean = Sanitizer().clean

_SECRET = """
    password passwords PASSWORD db_password dbPassword DB-PASSWORD userPassword password2 passwd passwds pwd pw dbPW pass db_pass
    smtpPass passphrase passcode secret secrets clientSecret client_secret AWS_SECRET_ACCESS_KEY secretKey token tokens_secret
    access_token accessTokens refreshToken idToken api_tokens X-Auth-Token bot_tokens auth authorization Authorization
    Proxy-Authorization X-Api-Key apiKey api_keys APIKEY appKey x-api-keys access_key accessKeys accountKey AccountKey privateKey
    private_keys signingKey encryption_keys ssh_key masterKey cookie cookies Set-Cookie session sessionId session_id sessionToken
    sid PHPSESSID creds cred credentials userCredentials db_url databaseUrl DATABASE_URL redis_url mongo_uri
    SQLALCHEMY_DATABASE_URI broker_url jdbcUrl connection_string connectionStrings dsn dsns sentry_dsn jwt jwts csrf xsrfToken
    bearer iban IBAN ibans card_number cardNumber creditCard credit_cards cc_number ccNum account_number routingNumber ssn
    social_security_number taxId passport_number cvv cvc pin PIN user_pin pinCode otp totp otps securityCode recovery_codes
    seedPhrase mnemonic webhook_url PGPASSWORD sas
""".split()  # noqa: SIM905  # read as words

_HARMLESS = """
    author authors authored authority monkey keyboard key keys key_id name tokens max_tokens token_count tokenCount prompt_tokens
    tokens_per_second token_ids token_type tokenizer session_count session_timeout_s sessionDuration pass_rate passes first_pass
    second_pass compass bypass passenger passengers password_length password_policy secret_name auth_method authType cookie_policy
    pin_color pinned spinning shipping url urls callback_url api_url card cards cardinality discard account accounts id ids item_id
    run_id side inside sidecar secretary description seed seeds connection connections conn_timeout signature dest carrier
    pwdx opinion otpauth_hint tokenized key_count primary_key foreign_key sort_key partition_key cache_key
""".split()  # noqa: SIM905


@pytest.mark.parametrize("key", sorted(set(_SECRET)))
def test_row_40_a_text_under_the_name_of_a_secret_is_hidden(key: str) -> None:
    assert clean({key: "hunter"}) == {key: REDACTED}
    assert clean([{"a": {key: ["hunter"]}}]) == [{"a": {key: REDACTED}}]


@pytest.mark.parametrize("key", sorted(set(_HARMLESS)))
def test_row_40_a_harmless_name_hides_nothing(key: str) -> None:
    assert clean({key: "hunter", "x": 1}) == {key: "hunter", "x": 1}


@pytest.mark.parametrize(
    "key", ["pin", "userPin", "otp", "cvv", "ssn", "password", "passwords", "card_number", "iban", "pincode"]
)
def test_row_40_a_number_under_the_name_of_a_secret_is_hidden(key: str) -> None:
    assert clean({key: 4711}) == {key: REDACTED}
    assert clean({key: 47.11}) == {key: REDACTED}


@pytest.mark.parametrize(
    "key", ["session", "sessions", "pass", "tokens", "token", "auth", "cookies", "pins", "password_length"]
)
def test_a_number_that_counts_stays(key: str) -> None:
    assert clean({key: 12}) == {key: 12}


def test_what_says_nothing_stays() -> None:
    assert clean({"password": None, "token": True}) == {"password": None, "token": True}


def test_patterns_of_the_users_name_further_keys() -> None:
    sanitizer = Sanitizer(["^employee$", "key:badge"])
    assert sanitizer.clean({"Employee": 7, "badge_no": "b", "x": 1}) == {
        "Employee": REDACTED,
        "badge_no": REDACTED,
        "x": 1,
    }


def test_patterns_of_the_users_find_further_texts() -> None:
    redactor = Redactor([r"text:EMP-\d{4}", r"text:patient (\w+)"])
    assert redactor.text("EMP-1234 saw patient Miller") == f"{REDACTED} saw patient {REDACTED}"
    assert redactor.may_hold_secret(b'{"a":"nothing to see"}')
    assert [each.rule for each in redactor.find("emp-1234")] == ["redact= of yours"]


def test_redact_from_the_environment_is_a_list_of_patterns() -> None:
    assert load({}, {"XRAY_REDACT": r"^iban$, text:EMP-\d+"}).redact == ("^iban$", r"text:EMP-\d+")
    assert load({}, {"XRAY_REDACT": r'["text:EMP-\\d{3,4}", "[a-z]+_no"]'}).redact == (r"text:EMP-\d{3,4}", "[a-z]+_no")
    assert load({}, {"XRAY_REDACT": r"[xy]_no"}).redact == ("[xy]_no",)
    with pytest.raises(ConfigurationError, match=r"XRAY_REDACT.*not a regular expression"):
        load({}, {"XRAY_REDACT": "text:(unclosed"})
