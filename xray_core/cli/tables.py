"""Answers about many items and many runs as tables of the terminal. The other half of render.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from xray_core.cli.render import ago, console, count, details, more, new_table, percent, plain, took
from xray_core.cli.trend import sparkline
from xray_core.plurals import plural

_WIDTH: Final = 60  # buckets that are drawn
TREND_FIGURES: Final = ("rejected", "items", "duration", "failed", "score", "value")


def items(answer: Mapping[str, Any]) -> None:
    """The sentence, then a row an item."""
    out = console()
    out.print(plain(answer["sentence"]), style="bold", soft_wrap=True)
    rows = answer["items"]
    if not rows:
        return
    several = len({each["step_id"] for each in rows}) > 1
    valued = any(each["value"] is not None for each in rows)
    found = new_table("item", *(["step"] if several else []), "outcome", "reason", *(["value", "limit"] if valued else []),
                  "details")  # fmt: skip
    for each in rows:
        found.add_row(
            plain(each["item_id"] or f"fingerprint {each['fingerprint']}"),
            *([plain(each["step"] or each["step_id"])] if several else []),
            plain(each["outcome"].replace("_", " ")),
            plain(each["reason"] or ""),
            *([number(each["value"]), number(each["limit"])] if valued else []),
            plain(details(each["details"])),
        )
    out.print(found)
    more(answer)


def what_if(answer: Mapping[str, Any]) -> None:
    """The sentence, then who would change; without a new limit, what is near the present one."""
    out = console()
    out.print(plain(answer["sentence"]), style="bold", soft_wrap=True)
    if answer["changes"] is None:
        rows = [*reversed(answer["near"]["accepted"]), *answer["near"]["rejected"]]
        if rows:
            out.print("nearest to it:")
    else:
        rows = answer["items"]
    if not rows:
        return
    found = new_table("item", "value", "was", *(["would be"] if answer["changes"] is not None else []))
    for each in rows:
        found.add_row(
            plain(each["item_id"] or f"fingerprint {each['fingerprint']}"),
            number(each["value"]),
            plain(each["was"]),
            *([plain(each["now"] or "not known")] if answer["changes"] is not None else []),
        )
    out.print(found)
    more(answer)


def groups(answer: Mapping[str, Any]) -> None:
    """The sentence, the steps side by side, what else changed."""
    out = console()
    out.print(plain(answer["sentence"]), style="bold", soft_wrap=True)
    for side in ("a", "b"):
        group = answer[side]
        more_runs = "" if group["complete"] else ", the newest of more"
        first, last = (str(group[at] or "")[:16].replace("T", " ") for at in ("first_at", "last_at"))
        span = f", {first} to {last}" if group["runs"] else ""
        out.print(
            plain(f"{side.upper()}: {group['where']}: {plural(group['runs'], 'run')}{more_runs}{span}"), style="dim"
        )
    if not answer["a"]["runs"] or not answer["b"]["runs"]:
        return
    found = new_table("step", "in", "rejected", "", "p", "reasons, more and less than before")
    for step in answer["steps"]:
        rate = step["rejected"]
        reasons = [each for each in step["reasons"] if each.get("changed")]
        found.add_row(
            plain(step["step"]),
            plain(f"{count(step['ledger']['a'].get('input'))} -> {count(step['ledger']['b'].get('input'))}"),
            plain(f"{percent(rate['rate_a']) or '-'} -> {percent(rate['rate_b']) or '-'}"),
            plain("changed" if rate["changed"] or reasons else ""),
            plain("" if rate["p"] is None else "< 1e-6" if rate["p"] < 1e-6 else f"{rate['p']:.1g}"),
            plain(", ".join(f"{each['reason'] or '(no reason)'} {each['excess']:+,.0f}" for each in reasons[:4])),
        )
    out.print(found)
    for step in answer["steps"]:
        for what, words in (("items_in", "items a run"), ("duration", "time taken")):
            if step[what].get("changed"):
                out.print(plain(f"{step['step']}: {words} x {step[what]['factor']:.2f}"))
    for each in answer["changes"]:
        at = f"{each['step']}: " if each["step"] else ""
        out.print(
            plain(
                f"{at}{each['what']} was {each['a']}, is {each['b']} ({each['share_a']:.0%} -> {each['share_b']:.0%})"
            )
        )


def stability(answer: Mapping[str, Any]) -> None:
    """The sentence, a row a step, then the items that flip most."""
    out = console()
    out.print(plain(answer["sentence"]), style="bold", soft_wrap=True)
    if not answer["steps"]:
        return
    found = new_table("step", "runs", "items", "flip", "flip rate", "certainty")
    for each in answer["steps"]:
        error = f" ± {each['error']:.1%}" if each["error"] else ""
        found.add_row(
            plain(each["step"]), count(each["runs"]), count(each["items"]), count(each["flipped"]),
            plain(f"{percent(each['flip_rate'])}{error}"), plain(each["certainty"]),
        )  # fmt: skip
    out.print(found)
    if answer["items"]:
        found = new_table("item", "step", "runs", "yes", "no", "flip rate")
        for each in answer["items"][:20]:
            found.add_row(
                plain(each["item_id"] or f"fingerprint {each['fingerprint']}"), plain(each["step"]), count(each["runs"]),
                count(each["yes"]), count(each["no"]), percent(each["flip_rate"]),
            )  # fmt: skip
        out.print(found)


def separates(answer: Mapping[str, Any]) -> None:
    """The sentence, then a row a rule."""
    out = console()
    out.print(plain(answer["sentence"]), style="bold", soft_wrap=True)
    if not answer["rules"]:
        return
    found = new_table("rule", "covers", "wrong for")
    for each in answer["rules"]:
        found.add_row(
            plain(each["words"]),
            plain(f"{each['coverage']:.0%} ± {2 * each['coverage_error']:.0%} of the rejected"),
            plain(f"{each['error']:.0%} ± {2 * each['error_error']:.0%} of what it covers"),
        )
    out.print(found)
    sampled = answer["samples"]
    out.print(plain(f"from {sampled['rejected']:,} and {sampled['let_through']:,} samples; not a cause"), style="dim")


def above(answer: Mapping[str, Any]) -> None:
    """The sentence, then the steps that know either item."""
    out = console()
    out.print(plain(answer["sentence"]), style="bold", soft_wrap=True)
    if not answer["steps"]:
        return
    found = new_table("step", answer["a"], answer["b"], "components")
    for step in answer["steps"]:
        shown = [f"{each['name']} {each['a']:g} | {each['b']:g}" for each in step["components"][:4]]
        found.add_row(plain(step["step"]), plain(_side(step["a"])), plain(_side(step["b"])), plain(", ".join(shown)))
    out.print(found)


def _side(side: Mapping[str, Any] | None) -> str:
    if side is None:
        return "-"
    said = str(side["outcome"] or "no verdict").replace("_", " ") + (f" ({side['reason']})" if side["reason"] else "")
    return " ".join([said, *(f"{name} {side[name]}" for name in ("score", "rank") if side[name] is not None)])


def side_by_side(answer: Mapping[str, Any]) -> None:
    """The sentence, then steps as rows and runs as columns; what is unlike most is marked."""
    out = console()
    out.print(plain(answer["sentence"]), style="bold", soft_wrap=True)
    found = new_table("step", *(run["run_id"][-13:] for run in answer["runs"]))
    for row in answer["steps"]:
        cells = []
        for place, run in enumerate(row["runs"]):
            text = plain(
                "-" if run is None else f"{_known(run['ledger']['input'])} -> {_known(run['ledger']['accepted'])}"
            )
            text.stylize("yellow" if place in row["odd"] else "")
            cells.append(text.append(" odd", "yellow") if place in row["odd"] else text)
        found.add_row(plain(row["step"]), *cells)
    out.print(found)


def _known(n: int | None) -> str:
    return "?" if n is None else count(n)


def item(answer: Mapping[str, Any]) -> None:
    """A row a run: what became of the item in it."""
    if not answer["runs"]:
        console().print(plain(f"no run that fits holds {answer['item_id']}"))
        return
    found = new_table("run", "pipeline", "started", "outcome", "step", "reason", "certainty")
    for run in answer["runs"]:
        said = next(
            (
                each
                for each in run["steps"]
                if (each["step"], each["outcome"], each["reason"]) == (run["step"], run["outcome"], run["reason"])
            ),
            None,
        )
        found.add_row(
            plain(run["run_id"]),
            plain(run["pipeline"] or ""),
            plain(ago(run["started_at"])),
            plain((run["outcome"] or "took part").replace("_", " ")),
            plain(run["step"] or ""),
            plain(run["reason"] or ""),
            plain("" if said is None else said["certainty"]),
        )
    console().print(found)
    more(answer)


def decisions(answer: Mapping[str, Any]) -> None:
    """How many items match in truth, then a row a sample."""
    out = console()
    estimate = answer.get("estimate")
    if estimate is not None and answer["decisions"]:
        out.print(plain(_estimated(estimate)), style="bold")
    if not answer["decisions"]:
        out.print("no samples match")
        return
    found = new_table("item", "run", "step", "outcome", "reason", "details", "score", "weight")
    for each in answer["decisions"]:
        found.add_row(
            plain(each["item_id"]),
            plain(each["run_id"][:13]),
            plain(each["step"] or each["step_id"]),
            plain(each["outcome"].replace("_", " ")),
            plain(each["reason"] or ""),
            plain(details(each["details"])),
            number(each["score"]),
            number(each["weight"]),
        )
    out.print(found)
    more(answer)


def _estimated(estimate: Mapping[str, Any]) -> str:
    total, error = estimate["total"], 2 * estimate["standard_error"]
    seen = plural(estimate["sampled"], "sample matches", "samples match")
    if not error:
        said = f"{seen}; they are all: {plural(round(total), 'item')}"
    else:
        said = f"{seen}; they stand for about {plural(round(total), 'item')}, give or take {error:,.0f}"
    return said if estimate["complete"] else f"{said}, in the steps looked at (there are more)"


def trends(answer: Mapping[str, Any], *, by: str, figure: str) -> None:
    """A line per step, or per reason of a step: the figure in each bucket, and the last one in words."""
    points = answer["trends"]
    if not points:
        console().print("no steps in this time")
        return
    buckets = sorted({point["at"] for point in points})[-_WIDTH:]
    lines: dict[str, dict[str, float | None]] = {}
    words: dict[str, str] = {}
    for point in points:
        for name, value, said in _figures(point, by, figure):
            lines.setdefault(name, {})[point["at"]] = value
            words[name] = said
    width = max(len(name) for name in lines)
    for name, values in sorted(lines.items()):
        drawn = [values.get(at) for at in buckets]
        top = 1.0 if figure == "rejected" else max((each for each in drawn if each), default=0.0) or 1.0
        line = sparkline([None if each is None else each / top for each in drawn])
        console().print(plain(f"{name:{width}}  {line}  {words[name]}"), soft_wrap=True)


def _figures(point: Mapping[str, Any], by: str, figure: str) -> list[tuple[str, float | None, str]]:
    """(name of the line, the figure, the figure in words) of one bucket of a step."""
    name, entered = f"{point['pipeline']}/{point['step']}", point["items_in"]
    if figure in ("score", "value"):
        return _numbers(name, point, figure)
    if by == "reason":
        return [
            (
                f"{name} {reason or '(no reason)'}",
                n / entered if figure == "rejected" and entered else float(n),
                f"{count(n)}{f', {percent(n / entered)} of {count(entered)}' if entered else ''}",
            )
            for reason, n in point["reasons"].items()
        ]
    if figure == "items":
        return [(name, float(entered), f"{count(entered)} in, {count(point['ledger']['accepted'])} out")]
    if figure == "duration":
        mean = point["mean_duration_ms"]
        return [(name, mean, f"{took(mean)} on average of {count(point['steps'])}")]
    if figure == "failed":
        return [(name, float(point["failed"]), f"{count(point['failed'])} of {count(point['steps'])} failed")]
    rate = point["rejection_rate"]
    return [(name, rate, f"{percent(rate) or '-'} of {count(entered)}")]


def _numbers(name: str, point: Mapping[str, Any], figure: str) -> list[tuple[str, float | None, str]]:
    """The mean score of each outcome, or the mean declared value of each reason."""
    if figure == "score":
        told = dict(point.get("scores") or {})
    else:
        told = {
            f"{outcome} {reason}".strip(): sums
            for outcome, reasons in (point.get("values") or {}).items()
            for reason, sums in reasons.items()
        }
    return [
        (
            f"{name} {what}",
            sums["mean"],
            f"{sums['mean']:g} on average of {count(sums['n'])}, {sums['min']:g} to {sums['max']:g}",
        )
        for what, sums in told.items()
        if sums["mean"] is not None
    ]


def number(value: Any) -> Any:
    """A number as it is best read; nothing for None."""
    return plain("" if value is None else f"{value:g}" if isinstance(value, float) else str(value))
