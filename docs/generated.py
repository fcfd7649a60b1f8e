"""What the reference prints of the code itself, made while the site is built: commands, settings, metrics.

MkDocs calls `on_page_markdown` for each page (mkdocs.yml: hooks). A page names what it wants: `<!-- generated: commands -->`.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, Final


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with what it names in place of each name."""
    return re.sub(r"<!-- generated: (.+?) -->", lambda found: MADE[found[1]](), markdown)


def commands() -> str:
    """Every command with its help, those of installed extras too."""
    from xray_core.cli import make_parser

    os.environ["COLUMNS"] = "110"  # argparse asks the terminal otherwise
    pieces = []
    for parser in _parsers(make_parser()):
        pieces.append(f"## {parser.prog}\n\n```text\n{parser.format_help().rstrip()}\n```\n")
    return "\n".join(pieces)


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of commands, depth first, each once."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in dict.fromkeys(action.choices.values()):
                yield each
                yield from _parsers(each)


def settings() -> str:
    """The client's settings as a table."""
    from xray_core.settings import Settings

    rows = ["| setting | environment | default | |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "`~/.xray/spool`" if name == "spool_dir" else _shown(field.default)
        what = (field.description or "").replace("|", "\\|").replace("*", "\\*")
        rows.append(f"| `{name}` | `XRAY_{name.upper()}` | {default} | {what} |")
    return "\n".join(rows)


def _shown(default: object) -> str:
    return "none" if default in (None, "", ()) else f"`{default}`"


def metrics() -> str:
    """The server's metrics as a table: name, kind, labels, what it says."""
    from xray_server.http.metrics import _STORE_FIGURES, Metrics
    from xray_server.http.probe import Probe
    from xray_server.ingest.committer import CommitCounters
    from xray_server.store import StoreHealth

    nothing = CommitCounters(0, 0, 0.0, 0, 0, 0, 0, 0, 0.0)
    health = StoreHealth("sqlite", "xray.db", 0, None, {"bytes": 0, **dict.fromkeys(_STORE_FIGURES, 0)})
    made = Metrics(lambda: nothing, Probe(lambda: health))
    made.observe(method="GET", route="/runs", status=200, duration_s=0.01)
    made.refuse("no_key")
    text = made.render().decode()
    rows = ["| metric | kind | labels | |", "|---|---|---|---|"]
    for name, what, kind in re.findall(r"^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)$", text, re.MULTILINE):
        found = re.search(rf"^{name}(?:_\w+)?{{(.*)}}", text, re.MULTILINE)
        labels = re.findall(r"(\w+)=", found[1]) if found else []
        rows.append(f"| `{name}` | {kind} | {', '.join(f'`{each}`' for each in labels if each != 'le')} | {what} |")
    return "\n".join(rows)


MADE: Final[dict[str, Callable[[], str]]] = {"commands": commands, "client settings": settings, "metrics": metrics}
