"""Answers as HTML for notebooks, and as text elsewhere: the funnel of a run, the journey of an item, two runs side by side.

Takes the answers by their attributes, so that it stands below all that makes them. Everything that a pipeline wrote is escaped;
nothing is loaded from anywhere. Bounded: a notebook is kept with its output.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

from xray_core.plurals import plural

MAX_ROWS: Final = 200
_MAX_TEXT_CHARS: Final = 200
_MAX_CHANGES: Final = 5
_MAX_VALUE_CHARS: Final = 60  # of what changed
_STYLE: Final = (
    "<style>.xray{font:13px system-ui,sans-serif}.xray table{border-collapse:collapse}.xray td,.xray th{padding:2px 8px;"
    "text-align:left;vertical-align:top;border-bottom:1px solid rgba(128,128,128,.3)}.xray .n{text-align:right;"
    "font-variant-numeric:tabular-nums}.xray .bar{display:inline-block;height:9px;background:#3a7d44}.xray .no{background:#c0392b}"
    ".xray .rest{background:#b8860b}.xray .mute{opacity:.65}.xray .yes{color:#3a7d44}.xray .neg{color:#c0392b}</style>"
)
_NEGATIVE: Final = frozenset({"rejected", "not_selected", "errored", "dropped"})


def run_html(run: Any) -> str:
    """A run as its funnel: for each step what went in, what became of it, and for which reasons."""
    most = max([_figure(step, "input") or 0 for step in run.steps], default=0) or 1
    rows = [
        [
            escape(_step_name(step)),
            escape(step.step_type or ""),
            _bar(step, most),
            *[
                _number(_figure(step, name))
                for name in ("input", "accepted", "rejected", "not_selected", "unaccounted")
            ],
            escape(_reasons(step.rejection_counts)),
        ]
        for step in run.steps[:MAX_ROWS]
    ]
    head = ["step", "type", "", "in", "accepted", "rejected", "not selected", "unaccounted", "reasons"]
    return _card(_run_title(run), _table(head, rows, numeric=range(3, 8)) + _rest(len(run.steps)))


def run_text(run: Any) -> str:
    """A run as lines of text."""
    lines = [_run_title(run)]
    for step in run.steps[:MAX_ROWS]:
        figures = [
            f"{name} {value:,}" for name in ("input", "accepted", "rejected", "not_selected", "unaccounted")
            if (value := _figure(step, name))
        ]  # fmt: skip
        reasons = _reasons(step.rejection_counts)
        lines.append(f"  {_step_name(step)}: {', '.join(figures) or 'no items'}{f' ({reasons})' if reasons else ''}")
    return "\n".join(lines)


def why_html(why: Any) -> str:
    """An answer to why: the sentence, and the item's journey."""
    rows = [
        [
            escape(entry.path or entry.step),
            f'<span class="{_tone(entry.outcome)}">{escape(entry.outcome or "not known")}</span>',
            escape(entry.reason or ""),
            _number(entry.score),
            escape(_short(entry.details)),
            escape(changes_text(entry.changed)),
            escape(_certainty(entry)),
        ]
        for entry in why.journey[:MAX_ROWS]
    ]
    table = _table(["step", "outcome", "reason", "score", "details", "changed", "certainty"], rows, numeric=[3])
    return _card(why.sentence, table + _rest(len(why.journey)))


def why_text(why: Any) -> str:
    """An answer to why as lines of text."""
    lines = [why.sentence]
    for entry in why.journey[:MAX_ROWS]:
        reason = f": {entry.reason}" if entry.reason else ""
        changes = f" ({changes_text(entry.changed)})" if entry.changed else ""
        lines.append(
            f"  {entry.path or entry.step}: {entry.outcome or 'not known'}{reason}{changes} [{_certainty(entry)}]"
        )
    return "\n".join(lines)


def diff_html(diff: Any) -> str:
    """Two runs compared: the sentence, the steps side by side, and the items that flipped."""
    parted = diff.parted_at.step if diff.parted_at is not None else None
    steps = [
        [
            f"<b>{escape(step.path)}</b>" if step.name == parted else escape(step.path),
            escape(_equal(step.inputs_equal)),
            escape(_equal(step.outputs_equal)),
            escape(", ".join(f"{name} {change:+,}" for name, change in step.ledger_delta.items() if change)),
        ]
        for step in diff.steps[:MAX_ROWS]
    ]
    flips = [
        [
            escape(flip.item_id or flip.fingerprint),
            escape(flip.step),
            escape(_verdict(flip.a)),
            escape(_verdict(flip.b)),
        ]
        for flip in diff.flipped[:MAX_ROWS]
    ]
    tables = _table(["step", "inputs", "outputs", "b - a"], steps, numeric=()) + _rest(len(diff.steps))
    if flips:
        tables += f"<p>{plural(round(diff.flipped_count), 'item')} flipped</p>" + _table(
            ["item", "step", "a", "b"], flips, numeric=()
        )
    return _card(diff.sentence, tables)


def diff_text(diff: Any) -> str:
    """Two runs compared as lines of text."""
    lines = [diff.sentence]
    lines += [
        f"  {step.path}: inputs {_equal(step.inputs_equal)}, outputs {_equal(step.outputs_equal)}"
        for step in diff.steps[:MAX_ROWS]
    ]
    lines += [
        f"  {flip.item_id or flip.fingerprint} at {flip.step}: {_verdict(flip.a)} -> {_verdict(flip.b)}"
        for flip in diff.flipped[:MAX_ROWS]
    ]
    return "\n".join(lines)


def _card(title: str, body: str) -> str:
    return f'{_STYLE}<div class="xray"><p><b>{escape(title)}</b></p>{body}</div>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Iterable[int]) -> str:
    right = set(numeric)

    def row(cells: Sequence[str], tag: str) -> str:
        kinds = [' class="n"' if place in right else "" for place in range(len(cells))]
        return f"<tr>{''.join(f'<{tag}{kind}>{cell}</{tag}>' for kind, cell in zip(kinds, cells))}</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    return f"<table><thead>{row(head, 'th')}</thead><tbody>{body}</tbody></table>"


def _bar(step: Any, most: int) -> str:
    """What came out, what was turned down and what nothing is known of, as a share of the largest step's input."""
    parts = [("", _figure(step, "accepted") or 0), ("no", sum(_figure(step, name) or 0 for name in ("rejected", "not_selected", "errored"))),
             ("rest", max(0, _figure(step, "unaccounted") or 0))]  # fmt: skip
    return "".join(
        f'<span class="bar {kind}" style="width:{max(1, round(160 * n / most))}px"></span>'
        for kind, n in parts
        if n > 0
    )


def _figure(step: Any, name: str) -> int | None:
    value = (step.ledger or {}).get(name)
    return value if isinstance(value, int) else None


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _step_name(step: Any) -> str:
    index = "" if step.map_index is None else f"[{step.map_index}]"
    return f"{step.name or step.step_id}{index}"


def _run_title(run: Any) -> str:
    took = "" if run.duration_ms is None else f", {run.duration_ms / 1000:,.3g} s"
    return f"{run.pipeline or 'run'} {run.run_id}: {run.status}{took}"


def _reasons(counts: Mapping[str, int] | None) -> str:
    ranked = sorted((counts or {}).items(), key=lambda pair: -pair[1])
    shown = ", ".join(f"{_short(reason)} {n:,}" for reason, n in ranked[:4])
    return shown if len(ranked) <= 4 else f"{shown}, {len(ranked) - 4} more"


def _certainty(entry: Any) -> str:
    return str(entry.certainty) if not entry.note else f"{entry.certainty}: {_short(entry.note)}"


def changes_text(changes: Mapping[str, Sequence[Any]] | None) -> str:
    """What changed of an item, name -> [before, after], as in "price 80 -> 150, country DE -> FR"."""
    pairs = list((changes or {}).items())
    shown = [f"{name} {_value(old)} -> {_value(new)}" for name, (old, new) in pairs[:_MAX_CHANGES]]
    return ", ".join(shown) + (f" and {len(pairs) - _MAX_CHANGES:,} more" if len(pairs) > _MAX_CHANGES else "")


def _tone(outcome: str | None) -> str:
    return "mute" if outcome is None or outcome == "never_entered" else "neg" if outcome in _NEGATIVE else "yes"


def _equal(equal: bool | None) -> str:
    return {True: "equal", False: "differ", None: "not known"}[equal]


def _verdict(fate: Mapping[str, Any]) -> str:
    reason = fate.get("reason")
    return f"{fate.get('outcome')}{f' ({_short(reason)})' if reason else ''}"


def _value(value: Any) -> str:
    return _short(value, _MAX_VALUE_CHARS, nothing="none")


def _short(value: Any, limit: int = _MAX_TEXT_CHARS, *, nothing: str = "") -> str:
    if value is None:
        return nothing
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _rest(n: int) -> str:
    return f'<p class="mute">and {n - MAX_ROWS:,} more</p>' if n > MAX_ROWS else ""
