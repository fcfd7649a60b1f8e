"""Which names promise a secret value: "db_password", "X-Auth-Token", "apiKeys", "pin".

One rule for the keys of mappings, for `name=value` inside texts and for command-line flags. Words are what camelCase,
snake_case and kebab-case separate.
"""

from __future__ import annotations

import re
from typing import Final, Literal

Secrecy = Literal[0, 1, 2]
"""0: not secret. 1: secret unless it is a number ("session": 3 counts). 2: secret whatever it is ("pin": 1234)."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

# Anywhere in the name.
_ALWAYS: Final = _words(
    "password passwords passwd passwds passphrase passphrases passcode passcodes pwd pwds secret secrets ssn ssns cvv cvvs cvc "
    "otp totp iban ibans mnemonic pgpass"
)
_UNLESS_NUMBER: Final = _words(
    "token auth authorization authorisation cookie cookies cred creds credential credentials jwt jwts bearer session sessid "
    "csrf xsrf apikey apikeys"
)
# At the end of the name, where they are no other word's ("pin_color", "first_pass_results" are harmless).
_LAST: Final = _words("pin pw otp")
_LAST_UNLESS_NUMBER: Final = _words("pass pins otps dsn dsns sid sids sas")
# In the words written together: "apiKey", "private-key".
_PARTS: Final = re.compile(
    r"password|passwd|secretkey|creditcard|cardnumber|cardno|cardpan|ccnum|accountnumber|routingnumber|socialsecurity|passport"
    r"number|passportno|taxid|pincode|pinnumber|securitycode|securityanswer|recoverycode|backupcode|seedphrase"
)
_PARTS_UNLESS_NUMBER: Final = re.compile(
    r"apikey|sessid|appkey|accesskey|accountkey|privatekey|signingkey|encryptionkey|sharedkey|masterkey|storagekey|sshkey|licensekey|"
    r"servicekey|authkey|hmackey|setcookie|(?:access|refresh|auth|api|id|bearer|session|bot|user|csrf)tokens|connectionstr|"
    r"(?:db|database|redis|broker|amqp|rabbitmq|mongo|mongodb|postgres|postgresql|mysql|jdbc|sqlalchemy|sqlalchemydatabase|"
    r"webhook)ur[il]s?$"
)
# What is said *about* a secret is none: "password_length", "token_count", "session_timeout_s".
_ABOUT: Final = _words(
    "count counts counter length len size limit limits usage budget cost costs price rate ratio type types kind method methods "
    "name names policy policies expiry expires expiration ttl age duration timeout attempts retries index indexes position "
    "total ms s seconds enabled required present valid version created updated at per used left remaining status state url "
    "endpoint provider scheme mode color colour"
)
_NOT_A_PASSWORD: Final = _words(
    "first second third last next one two single multi full per forward backward test tests"
)
_ABOUT_TOKENS: Final = frozenset({"ids", "probs", "logprobs", "embedding", "embeddings", "text", "texts"})


def secrecy(key: str) -> Secrecy:
    """How secret a value under this name is."""
    words = [word.lower() for word in _WORDS.findall(key)]
    while words and words[-1].isdigit():  # "password2"
        words.pop()
    if not words:
        return 0
    last, joined = words[-1], "".join(words)
    if last == "url" and _PARTS_UNLESS_NUMBER.search(joined):
        return 1
    if last == "pass" and not _NOT_A_PASSWORD.isdisjoint(words):
        return 0
    if last in _ABOUT or (last in _ABOUT_TOKENS and "token" in words):
        return 0
    if last in _LAST or _PARTS.search(joined) or not _ALWAYS.isdisjoint(words):
        return 2
    if last in _LAST_UNLESS_NUMBER or _PARTS_UNLESS_NUMBER.search(joined) or not _UNLESS_NUMBER.isdisjoint(words):
        return 1
    return 0
