"""Where secrets stand that have no form of their own: after a name, in an address, in a header, on a command line. As data.

Each row's pattern has a group "secret", which is masked, and may have a group "key": then it is a secret only where that name
promises one (`secret_keys.secrecy`). `hints` are lower-case literals; without one of them the row's pattern is not tried.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Context(NamedTuple):
    """One kind of place. Attributes as in the module; `source`: where the notation is documented."""

    name: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    source: str


# A value: quoted with escaped quotes (JSON inside JSON), quoted, or up to what ends one in any of the notations.
_VALUE: Final = (
    r"""(?:\\+"(?P<escaped>(?:(?!\\+").)+)|"(?P<double>(?:[^"\\]|\\.)+)|'(?P<single>(?:[^'\\]|\\.)+)"""
    r"""|(?P<bare>(?:bearer|basic|token|digest|apikey)\s+[^\s"',;\\]+|[^\s"'`,;&<>{}()\[\]|\\]+))"""
)
_NAME: Final = r"(?<![\w.$-])(?P<key>[\w.$-]{1,64})"


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.ASCII | re.DOTALL)


CONTEXTS: Final[tuple[Context, ...]] = (
    Context(
        "private-key",
        ("private key",),
        _compile(r"-----BEGIN[A-Z0-9 _-]{0,60}PRIVATE KEY(?: BLOCK)?-----(?P<secret>.*?)(?:-----END|\Z)"),
        "https://www.rfc-editor.org/rfc/rfc7468",
    ),
    Context(  # the password may hold any character but space and quotes; a port and a path are no password
        "url-password",
        ("://",),
        _compile(r"[a-z][a-z0-9+.-]{1,30}://[^\s/:@\"'<>]*:(?!\d{1,5}[/?#])(?P<secret>(?:(?!://)[^\s\"'<>])+)@"),
        "https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1",
    ),
    Context(
        "url-user-token",
        ("://",),
        _compile(r"[a-z][a-z0-9+.-]{1,30}://(?P<secret>[\w.~-]{16,})@"),
        "https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1",
    ),
    Context(
        "cookie",
        ("cookie",),
        _compile(r"\b(?:set-)?cookie[\"'\\]*\s*[:=]\s*[\"'\\]*(?P<secret>[^\s\"'\\=]+=[^\r\n\"'\\]+)"),
        "https://www.rfc-editor.org/rfc/rfc6265",
    ),
    Context(
        "authorization",
        ("bearer", "basic"),
        _compile(
            r"\b(?:bearer|basic)\s+(?P<secret>(?=[^\s\"']{0,80}[\d=])[A-Za-z0-9._~+/=-]{8,}|[A-Za-z0-9._~+/=-]{24,})"
        ),
        "https://www.rfc-editor.org/rfc/rfc9110#section-11.4",
    ),
    Context(  # zero-width, so that what is found in a value that is no secret is found too: url=https://x/?token=...
        "assignment",
        ("=", ":"),
        _compile(
            rf"{_NAME}(?:\\*[\"']?\s{{0,3}}(?:=>|:=|==?|:(?!//|:)(?P<prose>\s(?=\w))?)\s{{0,3}}(?:[rbfu](?=[\"']))?)(?={_VALUE})"
        ),
        "https://12factor.net/config, https://www.rfc-editor.org/rfc/rfc6749, libpq and ODBC connection strings",
    ),
    Context(
        "signature",
        ("sig",),
        _compile(r"[?&;\s\"'](?:x-amz-|x-goog-)?sig(?:nature)?=(?P<secret>[^\s&\"'<>\\;]{8,})"),
        "https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html, https://learn.microsoft.com/en-us/rest/api/storageservices/create-service-sas",
    ),
    Context(
        "flag",
        ("--",),
        _compile(rf"(?<![\w-])--(?P<key>[\w-]{{2,40}})\s+(?![-])(?={_VALUE})"),
        "https://www.gnu.org/software/libc/manual/html_node/Argument-Syntax.html",
    ),
    Context(
        "curl-user",
        ("curl", "wget", "http "),
        _compile(
            r"\b(?:curl|wget|http)\b[^\n|;&]*?\s(?:-u|--user|-a|--auth|--proxy-user)[\s=]*[\"']?[^\s:\"']+:(?P<secret>[^\s\"']+)"
        ),
        "https://curl.se/docs/manpage.html#-u",
    ),
    Context(
        "mysql-password",
        ("mysql", "mariadb"),
        _compile(r"\b(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\n|;&]*?\s-p(?P<secret>[^\s\"']+)"),
        "https://dev.mysql.com/doc/refman/en/connecting.html",
    ),
    Context(
        "sshpass",
        ("sshpass",),
        _compile(r"\bsshpass\s+-p\s*[\"']?(?P<secret>[^\s\"']+)"),
        "https://linux.die.net/man/1/sshpass",
    ),
    Context(
        "netrc",
        ("login",),
        _compile(r"\blogin\s+\S+\s+password\s+(?P<secret>\S+)"),
        "https://www.gnu.org/software/inetutils/manual/html_node/The-_002enetrc-file.html",
    ),
    Context(
        "element",
        ("</",),
        _compile(r"<(?:\w{1,20}:)?(?P<key>[\w.-]{1,64})(?:\s[^<>]*)?>(?P<secret>[^<>]{3,})</"),
        "https://www.w3.org/TR/xml/",
    ),
)
