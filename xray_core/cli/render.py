"""How answers look in a terminal: tables, a funnel of bars, sentences. Everything from the server is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from xray_core.cli.mapped import grouped, numbered
from xray_core.cli.trend import trend_lines
from xray_core.journey import uncaptured
from xray_core.markup import changes_text
from xray_core.plurals import plural

_BAR = 28
_STATUS = {"completed": "green", "failed": "red", "running": "yellow", "skipped": "dim"}
_OUTCOME = {"selected": "green", "accepted": "green", "rejected": "red", "not_selected": "yellow", "errored": "red"}


def console() -> Console:
    """A console as wide as the terminal; 120 columns, without colours, into a pipe."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=120)


def runs(answer: Mapping[str, Any]) -> None:
    """A table of runs."""
    if not answer["runs"]:
        console().print("no runs (start one, or widen the filters)")
        return
    table = new_table("run", "pipeline", "status", "started", "took", "steps", "flagged")
    for run_ in answer["runs"]:
        table.add_row(
            plain(run_["run_id"]),
            plain(run_.get("pipeline") or ""),
            _status(run_["status"]),
            ago(run_.get("started_at")),
            took(run_.get("duration_ms")),
            count(run_.get("step_count")),
            count(run_.get("flagged_steps")) if run_.get("flagged_steps") else "",
        )
    console().print(table)
    more(answer)


def steps(answer: Mapping[str, Any]) -> None:
    """A table of steps across runs."""
    if not answer["steps"]:
        console().print("no steps fit")
        return
    table = new_table("run", "pipeline", "step", "type", "status", "in", "out", "rejected", "started", "top reason")
    for step in answer["steps"]:
        ledger = step["ledger"]
        table.add_row(
            plain(step["run_id"][:13]),
            plain(step.get("pipeline") or ""),
            plain(step.get("name") or ""),
            plain(step.get("step_type") or ""),
            _status(step["status"]),
            _known(ledger["input"]),
            _known(ledger["accepted"]),
            percent(step.get("rejection_rate")),
            ago(step.get("started_at")),
            _reasons(step, 1),
        )
    console().print(table)
    more(answer)


def run(answer: Mapping[str, Any], *, each: bool = False) -> None:
    """One run: a head line, the funnel, what is odd. `each` draws every instance of a mapped task by itself, numbered."""
    out = console()
    steps = answer["steps"] if each else grouped(answer["steps"])
    out.print(
        f"[bold]{safe(answer.get('pipeline') or '?')}[/]  {_markup_status(answer['status'])}  "
        f"{ago(answer.get('started_at'))}  {took(answer.get('duration_ms'))}  [dim]{safe(answer['run_id'])}[/]"
    )
    if answer.get("error"):
        error = answer["error"]
        message = "\n".join(map(safe, str(error.get("message")).splitlines()))
        out.print(f"[red]{safe(error.get('type'))}: {message}[/]")
    largest = max((_widest(step["ledger"]) for step in steps), default=0)
    table = new_table("step", "", "in", "out", "", "why the others fell")
    for step in steps:
        ledger = step["ledger"]
        table.add_row(
            _label(step),
            _bar(ledger, largest),
            _known(ledger["input"]),
            _known(ledger["accepted"]),
            _change(ledger),
            _fallen(step),
        )
    out.print(table)
    if answer.get("next_cursor"):
        out.print(f"[dim]only the first {plural(len(answer['steps']), 'step is', 'steps are')} shown[/]")
    for step in steps:
        for flag in step["ledger"]["flags"]:
            if flag == "unaccounted":
                n = step["ledger"]["unaccounted"]
                what = f"{plural(n, 'item')} went in and nothing says what became of {'it' if n == 1 else 'them'}"
                out.print(f"[yellow]{safe(step['name'])}: {what}[/]")
            elif flag == "contradiction":
                out.print(f"[yellow]{safe(step['name'])}: the counts given and the verdicts contradict each other[/]")
        for what, n in (step.get("dropped") or {}).items():
            out.print(f"[yellow]{safe(step['name'])}: {n} x {safe(what)} could not be kept[/]")
    for what, n in (answer.get("dropped") or {}).items():
        out.print(plain(what if what.startswith("refused: ") else f"{n} x {what} could not be kept"), style="yellow")
    for missed in uncaptured(
        answer["steps"], metadata=answer.get("metadata"), step_count=answer.get("step_count") or 0
    ):
        out.print(plain(missed), style="yellow")
    for gap in answer.get("conservation") or ():
        out.print(plain(gap["sentence"]), style="yellow")


def _label(step: Mapping[str, Any]) -> Text:
    mapped = step.get("mapped")
    label = plain(step.get("name") or step["step_id"]) if mapped else plain(numbered(step))
    if mapped:
        label.append(f" ×{mapped['count']:,}", "dim")
    if step.get("attempt", 1) > 1:
        label.append(f" try {step['attempt']}", "dim")
    for status, n in (mapped["statuses"] if mapped else {step["status"]: 1}).items():
        if status != "completed":
            label.append(f" {f'{n:,} ' if mapped else ''}{status}", _STATUS.get(status, ""))
    return label


def _of_mapped(mapped: Mapping[str, Any]) -> str:
    """How the instances of a mapped task differ: "each 0 to 9, worst [3]"; nothing where they do not."""
    least, most = mapped["accepted"] or (None, None)
    worst = mapped["worst"]
    if least == most and len(mapped["statuses"]) < 2:
        return ""
    spread = [f"each {least:,} to {most:,}"] if least is not None and least != most else []
    return ", ".join([*spread, f"worst [{worst['map_index']}]"])


def trend(answer: Mapping[str, Any]) -> None:
    """A line per step: its rejection rate over time."""
    lines = trend_lines(answer)
    for line in lines or ["no steps in this time"]:
        console().print(plain(line), soft_wrap=True)


def answer(answer: Mapping[str, Any]) -> None:
    """The sentence alone."""
    console().print(plain(answer["sentence"]), style="bold")


def why(answer: Mapping[str, Any]) -> None:
    """The sentence, then the journey."""
    out = console()
    out.print(plain(answer["sentence"]), style="bold")
    changes = any(each.get("changed") for each in answer["journey"])
    names = ("step", "outcome", "reason", "details", *["changed"] * changes, "score", "rank", "certainty")
    table = new_table(*names)
    for each in answer["journey"]:
        label = plain(each["step"])
        if (each.get("attempt") or 1) > 1:
            label.append(f" try {each['attempt']}", "dim")
        outcome = "" if each["outcome"] is None else str(each["outcome"])
        table.add_row(
            label,
            Text(outcome, _OUTCOME.get(outcome, "dim")),
            plain(each.get("reason") or ""),
            plain(details(each.get("details"))),
            *[plain(changes_text(each.get("changed")))] * changes,
            plain(
                ""
                if each.get("score") is None
                else f"{each['score']:g}"
                if _is_number(each["score"])
                else str(each["score"])
            ),
            plain("" if each.get("rank") is None else str(each["rank"])),
            _certainty(each),
        )
    if answer["journey"]:
        out.print(table)


def parting(answer: Mapping[str, Any]) -> None:
    """Where two runs part, in a line or two."""
    out = console()
    if answer.get("sentence"):
        out.print(plain(answer["sentence"]), style="bold")
        return
    parted = answer.get("parted_at")
    order = ", in order alone" if parted and parted.get("reordered") else ""
    sentence = (
        f"the runs first differ at {parted['step']}: {parted['kind']}{order}"
        if parted
        else "nothing is known to differ"
    )
    out.print(plain(sentence), style="bold")


def marked(answer: Mapping[str, Any]) -> None:
    """What a run is marked now."""
    mark = f"marked {answer['mark']}" if answer["mark"] else "no longer marked"
    note = f": {answer['note']}" if answer.get("note") else ""
    console().print(plain(f"run {answer['run_id']} is {mark}{note}"))


def diff(answer: Mapping[str, Any]) -> None:
    """Where two runs part, the steps side by side, the items that flipped."""
    parting(answer)
    out = console()
    table = new_table("step", "inputs", "outputs", "items", "reasons")
    for each in answer["steps"]:
        table.add_row(
            plain(each.get("path") or each["name"]),
            _evidence(each.get("inputs"), each["inputs_equal"]),
            _evidence(each.get("outputs"), each["outputs_equal"]),
            plain(_figures(each)),
            plain(_reason_figures(each.get("reason_counts"))),
        )
    out.print(table)
    if answer.get("flipped"):
        out.print(f"{plural(answer['flipped_count'], 'item')} came out differently:")
        table = new_table("item", "step", "A", "B")
        for each in answer["flipped"][:20]:
            table.add_row(*(plain(_outcome(each[name])) for name in ("item_id", "step", "a", "b")))
        out.print(table)


def details(value: Any) -> str:
    """Details as "dest IAH; wanted LAX, BUR"."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {each}" for key, each in value.items())
    return "" if value is None else str(value)


def ago(moment: str | None) -> str:
    """How long ago an ISO 8601 time was."""
    if not moment:
        return ""
    try:
        then = datetime.fromisoformat(moment.replace("Z", "+00:00"))
    except ValueError:
        return safe(moment)
    seconds = (datetime.now(timezone.utc) - then).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return "just now" if seconds < 10 else f"{seconds:.0f} s ago"


def took(milliseconds: float | None) -> str:
    """A duration in the unit that reads best."""
    if milliseconds is None:
        return ""
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"
    return f"{milliseconds / 1_000:.2f} s" if milliseconds < 60_000 else f"{milliseconds / 60_000:.1f} min"


def count(n: int | None) -> str:
    """A number with thousands separated; nothing for None."""
    return "" if n is None else f"{n:,}"


def percent(rate: float | None) -> str:
    """A rate from 0 to 1 in percent; with two digits where one would read 100% or 0%."""
    if rate is None:
        return ""
    return f"{rate:.0%}" if rate in (0, 1) else f"{rate:.2%}" if rate > 0.99 or rate < 0.01 else f"{rate:.1%}"


def new_table(*headings: str) -> Table:
    """An empty table: figures stand to the right."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    numbers = {"in", "out", "took", "steps", "flagged", "rejected", "score", "rank", "value", "limit", "weight"}
    for heading in headings:
        table.add_column(plain(heading), justify="right" if heading in numbers else "left", overflow="fold")
    return table


def plain(text: str) -> Text:
    """Text that cannot steer the terminal: control characters are shown, not obeyed."""
    return Text("".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text)))


def safe(text: object) -> str:
    """As `plain`, for text within markup: it steers neither."""
    return escape(plain(str(text)).plain)


def _status(status: str) -> Text:
    return Text(status, _STATUS.get(status, ""))


def _markup_status(status: str) -> str:
    colour = _STATUS.get(status)
    return f"[{colour}]{status}[/]" if colour else safe(status)


def _bar(ledger: Mapping[str, Any], largest: int) -> Text:
    """One bar per step on a linear scale: kept solid, fallen light, unaccounted marked."""
    total = _widest(ledger)
    if ledger["accepted"] is None:
        return Text("")
    if not largest or not total:
        return Text("")
    width = max(1, round(_BAR * total / largest))
    kept = min(width, max(1 if ledger["accepted"] else 0, round(width * ledger["accepted"] / total)))
    lost = min(width - kept, round(width * max(0, ledger["unaccounted"] or 0) / total))
    text = Text("█" * kept, "green")
    text.append("░" * (width - kept - lost), "dim")
    return text.append("?" * lost, "yellow")


def _known(n: int | None) -> str:
    return "–" if n is None else count(n)


def _widest(ledger: Mapping[str, Any]) -> int:
    return max(ledger["input"] or 0, ledger["accepted"] or 0)


def _change(ledger: Mapping[str, Any]) -> Text:
    before, after = ledger["input"], ledger["accepted"]
    if not before or after is None or before == after:
        return Text("")
    change = (after - before) / before
    # 21 of 336,776 left is not -100%
    return Text(f"{change:+.2%}" if change < -0.99 and after else f"{change:+.1%}", "dim")


def _fallen(step: Mapping[str, Any]) -> Text:
    ledger = step["ledger"]
    text = Text(_reasons(step, 4))
    for name in ("not_selected", "errored"):
        if ledger[name]:
            text.append(f"{' · ' if text.plain else ''}{name} {ledger[name]:,}")
    for name, colour in (("unaccounted", "yellow"), ("undecided", "")):
        if (ledger.get(name) or 0) > 0:
            word = {"undecided": "not decided yet"}.get(name, "dropped, inferred" if ledger.get("inferred") else name)
            text.append(
                f"{' · ' if text.plain else ''}{word} {ledger[name]:,}", "" if ledger.get("inferred") else colour
            )
    differ = _of_mapped(step["mapped"]) if step.get("mapped") else ""
    if differ:
        text.append(f"{' · ' if text.plain else ''}{differ}", "dim")
    return text


def _reasons(step: Mapping[str, Any], most: int) -> str:
    ranked = sorted((step.get("rejection_counts") or {}).items(), key=lambda pair: -pair[1])
    shown = [f"{plain(reason).plain or '(no reason)'} {n:,}" for reason, n in ranked[:most]]
    if len(ranked) > most > 1:
        shown.append(f"{len(ranked) - most} more reasons")
    return " · ".join(shown)


def _certainty(each: Mapping[str, Any]) -> Text:
    certainty = str(each.get("certainty"))
    if certainty == "fingerprint" and each.get("p_false") is not None:
        return Text(f"fingerprint (wrong with p {each['p_false']:.0e})")
    return Text(certainty.replace("_", " "), "yellow" if certainty == "not_captured" else "")


def _equal(value: bool | None) -> Text:
    return Text("unknown", "dim") if value is None else Text("same", "dim") if value else Text("differ", "yellow")


def _evidence(known: Mapping[str, Any] | None, equal: bool | None) -> Text:
    """What is known of one side of a step: "same", "same items", "differ (values: price)", "unknown"."""
    state = (known or {}).get("state")
    if state == "same_items":
        return Text("same items, values not captured", "dim")
    text = _equal(equal if state != "same" else True)
    if known and state == "differs" and known.get("what"):
        columns = f": {', '.join(known['columns'])}" if known.get("columns") else ""
        text.append(f" ({', '.join(known['what'])}{columns})", "dim")
    if known and known.get("generated"):
        text.append(f" (but for {', '.join(known['generated'][:3])})", "dim")
    return text


def _figures(step: Mapping[str, Any]) -> str:
    """The ledgers of a step in both runs: what differs, and how many were accepted in any case."""
    a, b = ((step.get("ledger") or {}).get(side) or {} for side in ("a", "b"))
    delta = step.get("ledger_delta") or {}
    names = [name for name in ("accepted", *delta) if name == "accepted" or delta.get(name)]
    told = [(name.replace("_", " "), a.get(name), b.get(name)) for name in dict.fromkeys(names)]
    return ", ".join(f"{name} {_from_to(x, y)}" for name, x, y in told if _is_number(x) or _is_number(y))


def _reason_figures(counts: Mapping[str, Any] | None) -> str:
    """Reasons given more or less often, with both numbers; an outcome without a reason is among the figures."""
    found = [(reason, pair) for each in (counts or {}).values() for reason, pair in each.items() if reason]
    return ", ".join(f"{reason} {_from_to(*pair)}" for reason, pair in found)


def _from_to(a: Any, b: Any) -> str:
    if not (_is_number(a) and _is_number(b)):
        return f"{_or_unknown(a)} -> {_or_unknown(b)}"
    return f"{a:,} -> {b:,} ({b - a:+,})" if a != b else f"{a:,}"


def _or_unknown(n: Any) -> str:
    return f"{n:,}" if _is_number(n) else "not known"


def _outcome(value: Any) -> str:
    if isinstance(value, Mapping):
        reason = value.get("reason")
        return f"{value.get('outcome')}{f' ({reason})' if reason else ''}"
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def more(answer: Mapping[str, Any]) -> None:
    """How to go on, where there is a next page."""
    if answer.get("next_cursor"):
        console().print(f"[dim]there are more: --cursor {safe(answer['next_cursor'])}[/]")
