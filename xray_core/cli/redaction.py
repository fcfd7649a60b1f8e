"""`xray doctor --redaction FILE`: what would be masked in a sample of the user's own, where, and by which rule. Prints no secret."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from xray_core.cli import render
from xray_core.errors import ConfigurationError
from xray_core.objects.redaction import Redactor
from xray_core.objects.sanitize import hides
from xray_core.settings import load


class Masked(NamedTuple):
    """One secret: where it stands, what found it, how long it is, and the text around it, masked."""

    where: str
    rule: str
    chars: int
    text: str


def show(file: str, *, as_json: bool) -> int:
    """Print what is masked in a file of JSON, NDJSON or text ("-": standard input).

    Raises:
        ConfigurationError: the file cannot be read, or a pattern of `redact` is wrong.
    """
    redactor = Redactor(load().redact)
    found = [each for where, value in _values(_read(file)) for each in _masked(redactor, value, where)]
    if as_json:
        print(json.dumps({"file": file, "masked": [each._asdict() for each in found]}, indent=2))
        return 0
    out = render.console()
    for each in found:
        out.print(
            f"{render.safe(each.where)}  [yellow]{render.safe(each.rule)}[/] ({each.chars} characters)", soft_wrap=True
        )
        out.print(f"    {render.safe(each.text)}", soft_wrap=True)
    out.print(f"{len(found)} would be masked" if found else "nothing would be masked", soft_wrap=True)
    return 0


def _read(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror or error}") from None
    return data.decode("utf-8", "backslashreplace")


def _values(text: str) -> Iterator[tuple[str, Any]]:
    """The file as one JSON value; else line by line, as JSON where a line is; else, for keys of several lines, as text."""
    try:
        yield "$", json.loads(text)
        return
    except ValueError:
        pass
    lines = [(f"line {n}", line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not any(line.lstrip().startswith(("{", "[")) for _, line in lines):
        yield "text", text
        return
    for where, line in lines:
        try:
            yield f"{where} $", json.loads(line)
        except ValueError:
            yield where, line


def _masked(redactor: Redactor, value: Any, where: str) -> Iterator[Masked]:
    if isinstance(value, str):
        masked = redactor.text(value)
        for each in redactor.find(value):
            place = f"line {value.count(chr(10), 0, each.start) + 1}" if where == "text" else where
            yield Masked(place, each.rule, each.end - each.start, _around(masked))
    elif isinstance(value, dict):
        for key, each in value.items():
            name = redactor.text(key)
            yield from _masked(redactor, key, f"{where}.{name}")
            if hides(redactor.secrecy(key), each):
                length = len(each) if isinstance(each, str) else len(json.dumps(each))
                yield Masked(f"{where}.{name}", f"key {name}", length, f"{name}: [redacted]")
            else:
                yield from _masked(redactor, each, f"{where}.{name}")
    elif isinstance(value, list):
        shown = redactor.json(value)
        for n, each in enumerate(value):
            if shown[n] == "[redacted]" and isinstance(each, str) and not redactor.find(each):
                yield Masked(f"{where}[{n}]", f"after the flag {value[n - 1]}", len(each), "[redacted]")
            yield from _masked(redactor, each, f"{where}[{n}]")


def _around(masked: str) -> str:
    at = masked.find("[redacted]")
    begin = max(0, at - 60)
    return " ".join(f"{'…' if begin else ''}{masked[begin : at + 100]}{'…' if len(masked) > at + 100 else ''}".split())
