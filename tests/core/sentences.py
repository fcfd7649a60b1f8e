"""Small pipelines whose answers use every template of `why` and `diff`, and the tables of docs/why.md made of them.

`python -m tests.core.sentences` prints the tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from xray_core import compare, journey
from xray_core.compare.sentences import TEMPLATES as DIFF
from xray_core.journey.sentences import TEMPLATES as WHY
from xray_core.model import HANDED_OVER, NOT_REACHED, Origin
from xray_core.testing import Captured, capture

ITEMS = [f"p{n}" for n in range(6)]


def why_sentences() -> Iterator[str]:
    """Answers of `why`, and what is said of a run's conservation."""
    with capture() as result:
        _shop(result)
        for item in ("p1", "p2", "p3", "p4", "x"):
            yield result.why(item, "shop").sentence
        yield from _gaps(result)
        yield from _uncertain(result)
        yield from _not_captured(result)
        yield from _settled(result)
        yield from _fingerprints(result)
        yield from _attempts(result)
        yield _changed(result)
        yield from _routes(result)
    alone = {"name": "load", "status": "completed", "metadata": {NOT_REACHED: "X-Ray was not enabled there"}}
    steps = [alone, {"name": "store", "status": "completed", "metadata": {}}]
    handed_over = {"n": 3, "to": "DaskTaskRunner", "own": 1, "note": "`xray run -- CMD` starts workers that are"}
    yield from journey.uncaptured(steps, metadata={HANDED_OVER: handed_over})
    known = journey.with_known_run(
        _why("p9 never entered: it is not among the items of filter"), "0199f2a1", "2026-01-31"
    )
    yield known.sentence
    yield journey.say("waits_in_part", run="0199f2a1")
    yield journey.say("newer_waits", runs="2 runs", wait="wait")
    inner = _why("p9 was rejected at check: too_old", step="check", outcome="rejected", run="0199f2b7")
    inside = [(journey.ChildRun("0199f2b7", "call"), inner)]
    yield journey.with_child_runs(_why("p9 never entered"), inside, []).sentence
    passed = _why("p9 was accepted at load", step="load", outcome="accepted")
    yield journey.with_child_runs(passed, inside, []).sentence


def _routes(result: Captured) -> Iterator[str]:
    offers = [{"id": item} for item in ITEMS]
    with result.xray.run(run_id="routes") as run:
        load = run.open_step("load")
        load.observe_output(offers)
        load.close()
        for name, kept in (("domestic", offers[:2]), ("abroad", offers[2:4])):
            step = run.open_step(name, upstream=[load.step_id])
            step.observe_inputs({"offers": offers})
            step.observe_output(kept)
            step.close()
    yield result.why("p5", "routes").sentence


def _why(sentence: str, *, step: str | None = None, outcome: str = "never_entered", run: str = "r") -> journey.Why:
    return journey.Why(run_id=run, item_id="p9", outcome=outcome, sentence=sentence, step=step)


def _shop(result: Captured) -> None:
    with result.xray.run(run_id="shop") as run:
        with run.step("retrieve", "retrieve") as step:
            step.set_output_items(ITEMS)
        with run.step("filter") as step:
            step.set_input_items(ITEMS)
            step.reject("p1", "price_too_high", {"price": 150, "limit": 100})
            step.errored("p2", "no_price")
            step.accept_many(["p0", "p4", "p5"])
            step.set_output_items(["p0", "p4", "p5"])
        with run.step("select") as step:
            step.decide("best", selected="p0", score=0.9, alternatives=[{"id": "p4", "score": 0.7}, {"id": "p5"}])


def _gaps(result: Captured) -> Iterator[str]:
    with result.xray.run(run_id="gaps") as run:
        with run.step("fetch") as step:
            step.set_output_items(ITEMS)
        with run.step("sum") as step:
            step.set_input_items([*ITEMS[:4], "p0", "p1"])
            step.set_output_items(ITEMS[:4])
    yield from (gap.sentence for gap in result.gaps("gaps"))
    yield result.why("p5", "gaps").sentence
    yield result.why("p0", "gaps").sentence
    yield journey.Gap(kind="lost_between", step="load", next="join", n=3, of=40, inferred=True).sentence


def _uncertain(result: Captured) -> Iterator[str]:
    with result.xray.run(run_id="silent") as run:
        with run.step("load"):
            pass
        with run.step("clean") as step:
            step.set_input_items(ITEMS)
        with run.step("notify"):
            pass
        with run.step("check") as step:
            step.set_input_items(["p1", "p2", "p3", "p4"])
            step.accept_many(["p1", "p2", "p3", "p4"])
        with run.step("log"):
            pass
        with run.step("vote", capture="minimal") as step:
            step.accept_many(["p1"])
        with run.step("send") as step:
            step.set_input_items(["p1"])
            step.accept("p1")
        with run.step("mail"):
            pass
    for item in ("p0", "p1", "p2", "x"):
        yield result.why(item, "silent").sentence
    with result.xray.run(run_id="between") as run:
        with run.step("load") as step:
            step.accept_many(ITEMS)
        with run.step("notify"):
            pass
        with run.step("send") as step:
            step.set_input_items(["p0"])
    yield result.why("p1", "between").sentence
    with result.xray.run(run_id="minimal") as run:
        with run.step("vote", capture="minimal") as step:
            step.set_input_items(["p0", "p1"])
            step.reject("p0", "bad")
        with run.step("send") as step:
            step.set_input_items(["p1"])
    yield result.why("x", "minimal").sentence
    with result.xray.run(run_id="failed") as run:
        parse = run.open_step("parse")
        parse.set_input_items(["p0", "p1"])
        parse.accept("p1")
        parse.close("failed", error=ValueError("p0 is not JSON"))
        with run.step("send") as step:
            step.set_input_items(["p1"])
    yield result.why("p0", "failed").sentence


def _not_captured(result: Captured) -> Iterator[str]:
    with result.xray.run(run_id="voted") as run:
        with run.step("vote", capture="minimal") as step:
            step.reject("p0", "bad")
        with run.step("send") as step:
            step.set_input_items(["p1"])
            step.accept("p1")
        with run.step("late") as step:
            step.reject("p1", "late")
    yield from (result.why(item, "voted").sentence for item in ("p0", "p1"))
    with result.xray.run(run_id="open") as run:
        with run.step("load") as step:
            step.accept_many(["p0", "p1"])
        with run.step("vote", capture="minimal") as step:
            step.reject("p0", "bad")
    yield result.why("p0", "open").sentence
    with result.xray.run(run_id="asked") as run, run.step("filter") as step:
        step.reject("p0", "bad")
    yield result.why("p1", "asked").sentence
    with result.xray.run(run_id="inside") as run, run.step("filter") as step:
        step.set_input_items(["p0", "p1"])
        step.reject("p0", "bad")
    yield result.why("p1", "inside").sentence


def _settled(result: Captured) -> Iterator[str]:
    with result.xray.run(run_id="nothing") as run, run.step("load"):
        pass
    yield result.why("p1", "nothing").sentence
    with result.xray.run(run_id="dropped") as run, run.step("dedupe") as step:
        step.set_input_items(["p0", "p1"])
        step.set_output_items(["p0"])
    yield result.why("p1", "dropped").sentence
    with result.xray.run(run_id="source") as run, run.step("retrieve", "retrieve") as step:
        step.set_output_items(["p0"])
    yield result.why("p1", "source").sentence
    with result.xray.run(run_id="checks") as run:
        with run.step("safety") as step:
            step.reject("p0", "unsafe")
        with run.step("language") as step:
            step.accept_many(["p0", "p1"])
        with run.step("send") as step:
            step.set_input_items(["p1"])
    yield result.why("p0", "checks").sentence
    with result.xray.run(run_id="branches") as run:
        split = run.open_step("split")
        split.set_output_items(["p0", "p1"])
        split.close()
        check, rest = (run.open_step(name, upstream=[split.step_id]) for name in ("check", "rest"))
        check.set_input_items(["p0"])
        check.close()
        rest.close("skipped")
    yield result.why("p1", "branches").sentence


def _fingerprints(result: Captured) -> Iterator[str]:
    with result.xray.run(run_id="many") as run, run.step("filter") as step:
        for n in range(3_000):
            step.reject(f"i{n}", "too_old")
    yield result.why("i2999", "many").sentence


def _attempts(result: Captured) -> Iterator[str]:
    with result.xray.run(run_id="again") as run:
        first = run.open_step("check", step_id="again-1", attempt=1)
        first.reject("p0", "too_old")
        first.close("failed", error=TimeoutError("no answer"))
        run.open_step("check", step_id="again-1", attempt=2).close()
    yield result.why("p0", "again").sentence


def _changed(result: Captured) -> str:
    with result.xray.run(run_id="changed") as run:
        with run.step("reprice") as step:
            step.set_input_items([{"id": "p0", "price": 80}], key="id", fields=["price"])
            step.set_output_items([{"id": "p0", "price": 150}], key="id", fields=["price"])
        with run.step("filter") as step:
            step.reject("p0", "price_too_high")
    return result.why("p0", "changed").sentence


def diff_sentences() -> Iterator[str]:
    """Answers of `diff`."""
    yield _diff({}, {})
    yield _diff({}, {"given": {"to": "SFO"}})
    yield _diff({"silent": True}, {"silent": True})
    yield _diff({"output": "yes"}, {"output": "no"})
    yield _diff({}, {"limit": 2, "said": True})
    yield _diff({"code": None}, {"code": None, "limit": 2})
    yield _diff({"values": True}, {"values": True, "limit": 2})
    yield _diff({"load": ITEMS}, {"load": ITEMS[1:], "given": {"to": "SFO"}})
    yield _diff({"load": ITEMS}, {"load": ITEMS, "lost": 2})
    yield _diff({}, {"left_out": True})
    yield _diff({"ranked": ITEMS}, {"ranked": ITEMS[::-1]})
    yield _diff({"values": True}, {"values": True, "limit": 2, "given": {"to": "SFO"}, "said": True})
    yield _diff({"values": True, "output": "a"}, {"values": True, "limit": 2, "output": "b", "last": "no"})
    yield _diff({"values": True, "output": "a"}, {"values": True, "limit": 2, "output": "b"})
    yield _diff({"values": True, "output": "a"}, {"values": True, "limit": 2, "output": "a"})
    yield _diff({"silent": True, "unseen": True}, {"silent": True, "unseen": True, "limit": 2})
    yield _new_data(said=False)
    yield _new_data(said=True)
    yield _two_faults(masked=True)
    yield _two_faults(masked=False)
    yield _told_less()
    yield _told_nearly(0.3, 0.1 + 0.2)
    yield _told_nearly(0.3, 0.1 + 0.2, asked="is it above the limit of a third?")
    yield _told_nearly(1, 1.0)
    yield _told_a_request()
    yield _told_ids()
    yield _told_in_place()
    yield _told_nothing()
    yield _told_a_path()
    yield _told_a_stream()
    yield _told_of_a_subflow()
    yield compare.say("waits_in_part", run="0199f2a1")
    yield compare.say("baseline_waits", runs="1 run", wait="waits")
    yield compare.say("baseline", run="0199f2a1", why='the last run marked good, "as ordered"')


def _diff(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    with capture() as result:
        for name, options in (("a", a), ("b", b)):
            _run(result, name, options)
        return result.diff("a", "b").sentence


def _run(result: Captured, name: str, options: Mapping[str, Any]) -> None:
    limit = options.get("limit", 4)
    with result.xray.run(input=options.get("given", {"to": "LAX"}), run_id=name) as run:
        if "load" in options:
            with run.step("load") as step:
                step.accept_many(options["load"])
        items = list(options.get("load", ITEMS))[options.get("lost", 0) :]
        if options.get("silent"):
            with run.step("train") as step:
                step.set_input(1)
        if not options.get("left_out"):
            with run.step("filter", code_version=options.get("code", "v1")) as step:
                if options.get("code", "v1") is None:
                    step._head.code_version = None  # as an adapter that knows none
                if options.get("said"):
                    step.set_metadata("limit", limit)
                if options.get("values"):
                    step.set_input(items)
                elif not options.get("unseen"):
                    step.set_input_items(items)
                for n, item in enumerate(items):
                    if n >= limit:
                        step.reject(item, "too_many")
                    elif not options.get("unseen"):
                        step.accept(item)
        if "ranked" in options:
            with run.step("rank", "rank") as step:
                step.set_input_items(ITEMS)
                step.set_output_items(options["ranked"])
        if "output" in options:
            with run.step("answer", "generate") as step:
                step.set_input("the same")
                step.set_output(options.get("last", "yes"))
            run.set_output(options.get("last", options["output"]))


def _told_of_a_subflow() -> str:
    with capture() as result:
        for name, child in (("a", "0199f2b7"), ("b", "0199f2c8")):
            with result.xray.run(input=1, run_id=name) as run:
                origin = Origin("prefect", "flow_run", {"flow_run_id": child})
                step = run.open_step("region", step_type="subflow", origin=origin, code_version="v1")
                step.set_input(1)
                step.set_output(name)
                step.close()
                run.set_output(name)
        return result.diff("a", "b").sentence


def _new_data(*, said: bool) -> str:
    with capture() as result:
        for name, items, limit in (("a", ITEMS, 3), ("b", ITEMS[1:], 2)):
            with result.xray.run(input={"day": name}, run_id=name) as run:
                with run.step("load", "retrieve") as step:
                    step.set_output_items(items)
                with run.step("filter") as step:
                    step.set_input_items(items)
                    if said:
                        step.set_metadata("limit", limit)
                    for item in items:
                        step.accept(item) if int(item[1:]) < limit else step.reject(item, "too_many")
        return result.diff("a", "b").sentence


def _two_faults(*, masked: bool) -> str:
    with capture() as result:
        for name, log, limit in (("a", 3, 3), ("b", 4, 2)):
            with result.xray.run(input=1, run_id=name) as run:
                with run.step("log") as step:
                    step.set_input(1)
                    step.set_output(log)
                with run.step("filter", metadata={"limit": limit}) as step:
                    step.set_input(log if masked else 1)
                    step.set_output(limit)
                run.set_output(limit)
        return result.diff("a", "b").sentence


def _told_less() -> str:
    with capture() as result:
        for name, limit in (("a", 3), ("b", 2)):
            with result.xray.run(input=1, run_id=name) as run:
                with run.step("load") as step:
                    step.set_output({f"p{n}": n for n in range(6)})
                with run.step("filter", metadata={"limit": limit}) as step:
                    step.set_input({"rows": 6})
                    for n, item in enumerate(ITEMS):
                        step.accept(item) if n < limit else step.reject(item, "too_many")
        return result.diff("a", "b").sentence


def _told_nearly(a: float, b: float, *, asked: str = "") -> str:
    with capture() as result:
        for name, score in (("a", a), ("b", b)):
            with result.xray.run(input=1, run_id=name) as run:
                with run.step("load") as step:
                    step.set_output({"score": score})
                with run.step("check") as step:
                    step.set_input(asked or {"score": score})
                    step.set_output(f"it is {score}")
        return result.diff("a", "b").sentence


def _told_a_request() -> str:
    with capture() as result:
        for name in ("a", "b"):
            with result.xray.run(input=1, run_id=name) as run:
                answer = {"score": 1, "request_id": f"of-{name}"}
                with run.step("load") as step:
                    step.set_output(answer)
                with run.step("check") as step:
                    step.set_input(answer)
                    step.set_output(name)
        return result.diff("a", "b").sentence


def _told_ids() -> str:
    with capture() as result:
        for n, name in enumerate("ab"):
            with result.xray.run(input=1, run_id=name) as run, run.step("order") as step:
                step.set_output({"order": f"c9bf9e57-1685-4c89-bafb-ff5af830be8{n}"})
        return result.diff("a", "b").sentence


def _told_in_place() -> str:
    with capture() as result:
        for name, factor in (("a", 1.0), ("b", 1.61)):
            rows = [{"id": item, "price": 10.0 * n} for n, item in enumerate(ITEMS)]
            with result.xray.run(input=1, run_id=name) as run:
                with run.step("reprice") as step:
                    step.set_input_items(rows, key="id")
                    rows = [{**row, "price": row["price"] * factor} for row in rows]
                with run.step("cheap", "filter") as step:
                    step.set_input_items(rows, key="id")
                    for row in rows:
                        step.accept(row["id"]) if row["price"] < 35 else step.reject(row["id"], "price_too_high")
        return result.diff("a", "b").sentence


def _told_nothing() -> str:
    with capture() as result:
        for name in ("a", "b"):
            with result.xray.run(run_id=name) as run, run.step("load") as step:
                step.set_output(f"rows of {name}")
        return result.diff("a", "b").sentence


def _told_a_path() -> str:
    with capture() as result:
        for name, n in (("a", 3), ("b", 4)):
            with result.xray.run(input=1, run_id=name) as run:
                with run.step("load") as step:
                    step.set_output("orders.csv")
                with run.step("sum") as step:
                    step.set_input("orders.csv")
                    step.set_output(n)
        return result.diff("a", "b").sentence


def _told_a_stream() -> str:
    with capture() as result:
        for name, size in (("a", 8), ("b", 3)):
            with result.xray.run(input=1, run_id=name) as run:
                run.step("window", metadata={"size": size}).open().close()
                with run.step("sum") as step:
                    step.set_input([size])
                    step.set_output(size)
                run.set_output(size)
        return result.diff("a", "b").sentence


# Where the words of a template alone would be found anywhere.
_SHOWN_BY: dict[str, str] = {
    WHY["details"]: "(price 150",
    WHY["reason"]: ": too_old",
    DIFF["changes"]: "(limit: ",
    DIFF["lost"]: "; 2 of 6 items",
    DIFF["inputs_differ"]: "not certain: the runs were",
}


def example(template: str, sentences: list[str]) -> str | None:
    """The shortest of the sentences that a template is a part of."""
    sentences = [each for each in sentences if _SHOWN_BY.get(template, "") in each]
    words = re.split(r"\{\w+\}", template)
    expression = re.compile(".+?".join(re.escape(word) for word in words))
    return min((each for each in sentences if expression.search(each)), key=len, default=None)


def tables() -> str:
    """The tables of docs/why.md."""
    lines = []
    for title, templates, sentences in (("why", WHY, list(why_sentences())), ("diff", DIFF, list(diff_sentences()))):
        lines += [f"| `{title}` says | for example |", "|---|---|"]
        lines += [f"| `{template}` | {example(template, sentences)} |" for template in templates.values()]
        lines.append("")
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    print(tables())
