"""Templates and static files: how a page is rendered. Knows nothing of what a page shows."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from xray_server.access.admission import SIGN_OUT, Identity
from xray_server.pages import charts as pages_charts
from xray_server.pages import formatting as pages_words

HERE: Final = Path(__file__).parent
LIVE_EVERY_MS: Final = 1_500


class Given(dict[str, Any]):
    """The parameters of the address; one that is not there is None."""

    def __missing__(self, name: str) -> None:
        return None


class Pages:
    """Renders templates: everything is escaped, unless a template says otherwise (none does)."""

    def __init__(self) -> None:
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(
            id=lambda text: quote(str(text), safe=""),
            count=pages_words.count,
            count_about=pages_words.count_about,
            percent=pages_words.percent,
            duration=pages_words.duration,
            ago=pages_words.ago,
            absolute=pages_words.absolute,
            short=pages_words.short,
            brief=pages_words.brief,
            scalar=pages_words.scalar,
            line=pages_words.line,
            measure=pages_words.measure,
            measured=pages_words.measured,
            pretty=pages_words.pretty,
            visible=pages_words.visible,
            web_link=pages_words.web_link,
            error_line=pages_words.error_line,
            joined=pages_words.joined,
        )
        self._templates.tests.update(flat=pages_words.is_flat)
        self._templates.globals.update(
            plural=pages_words.plural,
            ledger_warnings=pages_words.ledger_warnings,
            dropped_warnings=pages_words.dropped_warnings,
            sampling_words=pages_words.sampling_words,
            trouble=pages_words.trouble,
            trouble_words=pages_words.trouble_words,
            MAX_VALUE_CHARS=pages_words.MAX_VALUE_CHARS,
            LIVE_EVERY_MS=LIVE_EVERY_MS,
            NODE=(pages_charts.NODE_WIDTH, pages_charts.NODE_HEIGHT),
            asset=_assets(),
            SIGN_OUT=SIGN_OUT,
        )

    def page(self, name: str, request: Request, status: int = 200, /, **values: Any) -> Response:
        """A page from its template. Templates make links to themselves with `here(name=value)`."""
        query = Given(request.query_params)

        def here(**changes: Any) -> str:
            merged = {**{k: v for k, v in query.items() if k not in ("offset", "cursor")}, **changes}
            kept = {k: v for k, v in merged.items() if v is not None and v != ""}
            return f"?{urlencode(kept)}" if kept else "?"

        identity: Identity = request.state.identity
        asker = identity if identity.via == "session" else None
        text = self._templates.get_template(name).render(here=here, query=query, signed_in=asker, **values)
        return HTMLResponse(text, status, headers={"Cache-Control": "no-store"})


def _assets() -> dict[str, str]:
    """The addresses of the static files; they change when the files do, so that browsers may keep them."""
    files = sorted((HERE / "static").iterdir())
    return {
        file.name: f"/static/{file.name}?{hashlib.blake2b(file.read_bytes(), digest_size=6).hexdigest()}"
        for file in files
        if file.is_file()
    }
