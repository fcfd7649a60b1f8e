"""How figures, times, values and warnings are written on the pages: one spelling of each, and words that say what to do.

Pure functions over plain values; the templates call them as filters. Knows no HTTP and no HTML.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from xray_core.model import Ledger
from xray_core.plurals import plural
from xray_server.times import parse_iso

MAX_VALUE_CHARS: Final = 6_000
MAX_LINE_CHARS: Final = 120
_AGES: Final = ((60, 1, "s"), (3_600, 60, "min"), (86_400, 3_600, "h"), (86_400 * 14, 86_400, "days"))
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")

# What was dropped: of one, of several, and the rest of the sentence; or the sentence alone.
_DROPPED: Final = {
    "decisions": ("decision", "decisions", " beyond the first 100 of a step"),
    "metadata": ("metadata entry", "metadata entries", " beyond the first 100 of a step"),
    "reasons": (
        "item",
        "items",
        " whose reason was one too many (a reason is a short code; put values into details)",
    ),
    "verdicts_without_id": ("item id", "item ids", ": no str, int or UUID"),
}
_NOT_LOOKED_AT: Final = {
    "items_in": "the items that went in (an iterator cannot be read without taking it away; give a list)",
    "items_out": "the items that came out (an iterator cannot be read without taking it away; give a list)",
}


_FIRST_RUN: Final = """\
from xray_core import XRay

with XRay("my_first_pipeline", api_url={address!r}) as xray:
    with xray.run(input={"budget": 100}) as run:
        with run.step("filter", step_type="filter") as step:
            for item, price in {"p1": 80, "p2": 150, "p3": 95}.items():
                if price > 100:
                    step.reject(item, "price_too_high", {"price": price, "threshold": 100})
                else:
                    step.accept(item, details={"price": price})
        with run.step("select", step_type="select") as step:
            step.decide("cheapest", selected="p1", reason="lowest_price", alternatives=["p3"])
"""


def first_run(address: str) -> str:
    """A program that sends a first run to the server at an address."""
    return _FIRST_RUN.replace("{address!r}", json.dumps(address))


def count(n: float | None) -> str:
    """As in 336,776."""
    return "–" if n is None else f"{n:,.0f}" if n == int(n) else f"{n:,.2f}"


def count_about(n: float) -> str:
    """A large number with two digits that count, as in "1,600,000"."""
    digits = max(0, len(str(int(n))) - 2)
    return f"{round(n, -digits):,.0f}"


def percent(share: float | None) -> str:
    """A share of 1 with as many digits as tell it from 0 and from 100%."""
    if share is None:
        return "–"
    value = share * 100
    if value in (0, 100) or value > 1000:
        return f"{value:,.0f}%"
    if 99.9 < value < 100:  # never rounded up to 100%: that would hide the one that got through
        return f"{int(value * 10_000) / 10_000:g}%"
    if value >= 10:
        return f"{value:.1f}%"
    return f"{value:.2g}%" if value >= 0.0001 else "<0.0001%"


def duration(ms: float | None) -> str:
    """As in "0.4 ms", "480 ms", "1.31 s", "2 min 5 s", "3 h 12 min"."""
    if ms is None:
        return "–"
    if ms < 1:
        return f"{ms:.2g} ms"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days {hours % 24} h"


def ago(iso: str, now_s: float | None = None) -> str:
    """How long since a time, as in "2 min ago", or until it, as in "in 3 days"; what is two weeks off by its date.

    static/xray.js says the same on pages that are open.
    """
    age_s = (time.time() if now_s is None else now_s) - parse_iso(iso) / 1e6
    if -60 < age_s < 3:
        return "just now"
    for limit_s, unit_s, unit in _AGES:
        if abs(age_s) < limit_s:
            n = int(abs(age_s) // unit_s)
            words = f"{n} {'day' if unit == 'days' and n == 1 else unit}"
            return f"in {words}" if age_s < 0 else f"{words} ago"
    return iso[:10]


def absolute(iso: str) -> str:
    """As in 2026-01-31 09:30:00 UTC."""
    return f"{iso[:10]} {iso[11:19]} UTC"


def visible(value: Any) -> str:
    """Text with control and direction characters made visible, so that none can reorder or hide what stands around it."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", str(value))


def short(value: Any, limit: int = MAX_LINE_CHARS) -> str:
    """One line of at most `limit` characters."""
    text = visible(value).replace("\n", " ")
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def sentence(text: str) -> str:
    """An answer as a sentence of its own: with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def brief(run_id: str) -> str:
    """A run id as it is shown in lists: the telling part of a UUID, other ids nearly whole."""
    return run_id[:13] if _UUID.fullmatch(run_id) else short(run_id, 40)


def scalar(value: Any, limit: int = MAX_LINE_CHARS) -> str:
    """A value in one cell: text as it stands, numbers with separators, everything else as JSON."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return short(value, limit)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return (
            f"{value:,}"
            if isinstance(value, int) and abs(value) >= 10_000
            else f"{value:.6g}"
            if isinstance(value, float)
            else str(value)
        )
    if isinstance(value, list) and value and all(isinstance(each, (str, int)) for each in value):
        return short(", ".join(map(str, value)), limit)
    return short(json.dumps(value, ensure_ascii=False), limit)


def measure(name: str) -> str:
    """The name of a figure without its unit: `oldest_waiting_s` is "oldest waiting"."""
    return name.removesuffix("_s").removesuffix("_bytes").removesuffix("_at").replace("_", " ") or name


def measured(value: Any, name: str) -> str:
    """A figure with the unit that its name says."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if name.endswith("_s"):
            return duration(value * 1000) if value else "0 s"
        if name.endswith("bytes"):
            return size(value)
        return count(value)
    return scalar(value, 200)


def size(n: float) -> str:
    """Bytes as in 12.5 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "bytes" or n >= 100 else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


def line(value: Any, limit: int = MAX_LINE_CHARS) -> str:
    """A whole input or output in one line: the values of a mapping one after the other."""
    if isinstance(value, Mapping):
        parts = [f"{name} {scalar(each, 60)}" for name, each in value.items() if each is not None]
        return short(", ".join(parts), limit)
    return scalar(value, limit)


def pretty(value: Any) -> str:
    """A value as indented JSON."""
    return visible(json.dumps(value, indent=2, ensure_ascii=False))


def is_flat(value: Any) -> bool:
    """Whether a value is best shown as a short list of names and values."""
    return (
        isinstance(value, Mapping)
        and 0 < len(value) <= 24
        and all(not isinstance(each, (Mapping, list)) or len(str(each)) < 100 for each in value.values())
        and all(len(str(each)) <= 200 for each in value.values())
    )


def web_link(url: Any) -> str | None:
    """The address, if it is one that a page may lead to: no `javascript:` and the like."""
    if not isinstance(url, str) or _CONTROL.search(url) or any(c.isspace() for c in url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.hostname else None


def error_line(error: Any) -> str:
    """An error in one line, as in "ValueError: no such airport"."""
    if not isinstance(error, Mapping):
        return short(error, 400)
    kind, message = error.get("type"), error.get("message")
    return short(": ".join(str(part) for part in (kind, message) if part) or "failed without a message", 400)


def size_words(row: Any) -> str:
    """What is known of a step of whose items nothing is known: the sizes of what went in and came out, as in
    "DataFrame of 124 in, int out".
    """
    state = row.step.state if row.step is not None else {}
    given = state.get("input")
    named = given.values() if isinstance(given, Mapping) and "$type" not in given else [given]
    sized = [words for each in named if (words := _size(each, sized_only=True))]
    out = _size(state.get("output"))
    sizes = [f"{', '.join(sized[:3])} in"] if sized else []
    return ", ".join([*sizes, f"{out} out"] if out and (sized or " of " in out) else sizes)


def _size(value: Any, *, sized_only: bool = False) -> str | None:
    if not isinstance(value, Mapping) or not isinstance(value.get("$type"), str):
        return None
    size = value.get("size")
    if isinstance(size, int) and not isinstance(size, bool):
        return f"{short(value['$type'], 40)} of {size:,}"
    return None if sized_only else short(value["$type"], 40)


_LOSSES: Final = ("refused: ", "clamped.counts", "clamped.reasons", "clamped.items", "verdicts")


def completeness(*states: tuple[str, Mapping[str, int] | None]) -> tuple[str, str]:
    """How far counts can be believed: a mark ("exact", "so far", "until it failed", "incomplete") and what it means.

    Args:
        states: (status, what was dropped) of all that the counts are of.
    """
    if any(str(what).startswith(_LOSSES) for _, dropped in states for what, n in (dropped or {}).items() if n):
        return "incomplete", "Something of it was not kept: see the warnings"
    statuses = {status for status, _ in states}
    if "running" in statuses:
        return "so far", "It is still running"
    if "failed" in statuses:
        return "until it failed", "What was counted before it failed"
    return "exact", "Every item was counted"


def ledger_warnings(ledger: Ledger, *, capture: str | None = None) -> list[str]:
    """What does not add up in a step, each with what to do about it."""
    found = []
    if "unaccounted" in ledger.flags:
        lost = ledger.unaccounted or 0
        one = lost == 1
        found.append(
            f"{plural(lost, 'item')} went in and nothing says what became of {'it' if one else 'them'}. "
            "Tell the step: step.reject(id, reason) for what it drops, step.accept(id) or step.set_output_items(...) for what it keeps."
        )
    if "contradiction" in ledger.flags:
        parts = (ledger.accepted or 0) + (ledger.rejected or 0) + (ledger.not_selected or 0) + (ledger.errored or 0)
        found.append(
            f"The counts cannot both be right: {count(ledger.input)} went in, yet the verdicts and outputs add up to {parts:,}. "
            "Look for items that are judged twice, or for a set_input_count / set_output_count that counts something else; "
            "without them the counts follow from the verdicts."
        )
    return found


def dropped_warnings(dropped: Mapping[str, int] | None) -> list[str]:
    """What could not be kept of a run or a step: what its client dropped, and the records that this server refused."""
    return [_dropped_warning(what, n) for what, n in (dropped or {}).items() if n]


def _dropped_warning(what: str, n: int) -> str:
    if what.startswith("refused: "):
        return f"A record was {what}. What it held is missing here; it lies in the client's spool, see `xray doctor` there."
    if what.startswith("clamped."):
        field = what.removeprefix("clamped.").replace("_", " ")
        return f"Not kept: {n:,} × {field}, out of the bounds of what can be stored (docs/operations.md, Limits)."
    if what in _NOT_LOOKED_AT:
        return f"Not kept: {_NOT_LOOKED_AT[what]}."
    if what in _DROPPED:
        one, many, rest = _DROPPED[what]
        return f"Not kept: {plural(n, one, many)}{rest}."
    return f"Not kept: {n:,} × {what.replace('_', ' ')}."


_GOES_WELL: Final = ("sent", "retried", "adopted", "synced")  # counters of clients that tell of no loss


def trouble(counters: Mapping[str, Any]) -> dict[str, Any]:
    """The counters of a client that tell of something lost, refused or swallowed."""
    return {name: n for name, n in sorted(counters.items()) if n and name not in _GOES_WELL}


def trouble_words(names: Sequence[str]) -> list[str]:
    """What to do about the trouble that clients report."""
    found = []
    if "quarantined" in names:
        found.append(
            "Quarantined: this server refused a record; it lies in the client's spool, and `xray doctor` there says why."
        )
    if any(name.startswith("dropped") for name in names):
        found.append(
            "Dropped: the spool was full while the server was away. Raise XRAY_SPOOL_MAX_BYTES, or run `xray sync --watch` there."
        )
    if "damaged" in names:
        found.append(
            'Damaged: bytes in the spool could not be read, as after a power cut; durability="fsync" prevents that.'
        )
    if any(name.startswith("swallowed") for name in names):
        found.append(
            "Swallowed: X-Ray failed at its own work and let the pipeline go on; the client's log has the first of each."
        )
    return found


def sampling_words(sampling: Mapping[str, Any] | None, capture: str | None, kept: int) -> str:
    """What the samples shown stand for."""
    if capture == "full" or (sampling and sampling.get("rate") == 1):
        return f"All details were captured: {plural(kept, 'record')}."
    rate = (sampling or {}).get("rate")
    if sampling is None or isinstance(rate, bool) or not isinstance(rate, (int, float)):
        return f"A sample of unknown rate: {plural(kept, 'record')}. Do not count in it; the counts above are complete."
    return (
        f"A weighted sample: {plural(kept, 'record')}, {percent(rate)} of the items and at least "
        f"{sampling.get('per_reason')} of every reason. A weight says how many items a row stands for."
    )


def joined(words: Sequence[str]) -> str:
    """As in "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""
