"""A comparison as Markdown: what a CI job writes as a comment on a pull request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from xray_core.plurals import plural

_MAX_ROWS: Final = 20
_MAX_FLIPPED: Final = 10
_WORDS: Final = {"same": "same", "same_items": "same items", "differs": "**differs**", "unknown": "not known"}


def diff_markdown(answer: Mapping[str, Any]) -> str:
    """The answer of `GET /runs/{a}/diff/{b}`: the sentence, the steps that differ, what changed, items that flipped."""
    parted = answer.get("parted_at")
    head = f"first differs at `{_text(parted['path'])}`" if parted else "nothing is known to differ"
    lines = [f"### X-Ray: {head}", "", f"{_text(answer['sentence'])}.", ""]
    steps = [each for each in answer["steps"] if each.get("role")][:_MAX_ROWS]
    if steps:
        lines += ["| step | given | came out | accepted, before | after |", "|---|---|---|--:|--:|"]
        for each in steps:
            ledgers = each.get("ledger") or {}
            before, after = ((ledgers.get(side) or {}).get("accepted") for side in ("a", "b"))
            cells = [
                f"`{_text(each['path'])}`",
                _state(each.get("inputs")),
                _state(each.get("outputs")),
                _n(before),
                _n(after),
            ]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    changes = answer.get("changes") or []
    if changes:
        lines += ["| changed | before | after |", "|---|---|---|"]
        lines += [f"| `{_text(c['path'])}` | {_text(c['a'])} | {_text(c['b'])} |" for c in changes[:_MAX_ROWS]]
        lines.append("")
    flipped = answer.get("flipped") or []
    if flipped:
        n = answer["flipped_count"]
        lines += [f"{plural(n, 'item')} came out differently:", ""]
        for each in flipped[:_MAX_FLIPPED]:
            name = each["item_id"] if each["item_id"] is not None else f"fingerprint {each['fingerprint']}"
            lines.append(f"- `{_text(name)}` at `{_text(each['step'])}`: {_fate(each['a'])} -> {_fate(each['b'])}")
        lines.append("")
    return "\n".join(lines).rstrip()


def _state(known: Mapping[str, Any] | None) -> str:
    known = known or {}
    text = _WORDS.get(str(known.get("state")), "not known")
    return f"{text} ({', '.join(known['what'])})" if known.get("what") else text


def _fate(fate: Mapping[str, Any]) -> str:
    reason = fate.get("reason")
    return _text(f"{fate.get('outcome')}{f' ({reason})' if reason else ''}")


def _n(value: Any) -> str:
    return "" if value is None else f"{value:,}"


def _text(value: Any) -> str:
    """Text that cannot break out of its cell."""
    text = str(value).replace("\n", " ").replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
    return text if len(text) <= 1_500 else text[:1_499] + "…"
