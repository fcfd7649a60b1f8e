"""Templates and static files: how a page is rendered. Knows nothing of what a page shows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from xray_core.addresses import path_segment
from xray_core.plurals import plural
from xray_server.access.admission import SIGN_OUT, Identity
from xray_server.errors import HTTPError
from xray_server.http.prefix import base
from xray_server.pages import charts, formatting
from xray_server.store.incomplete import left_out

HERE: Final = Path(__file__).parent
LIVE_EVERY_MS: Final = 1_500
_HEADINGS: Final = {
    404: "There is no such page",
    405: "This page takes no such request",
    422: "This address asks for something that is not there",
    503: "The store cannot answer just now",
}


class Given(dict[str, Any]):
    """The parameters of an address, or the fields of what was captured; one that is not there is None."""

    @classmethod
    def of_list(cls, request: Request) -> Given:
        """The filters of a list: all that is not empty, but for what pages through it."""
        return cls((k, v) for k, v in request.query_params.items() if k not in ("cursor", "limit", "sort") and v)

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
            segment=path_segment,
            count=formatting.count,
            count_about=formatting.count_about,
            percent=formatting.percent,
            duration=formatting.duration,
            ago=formatting.ago,
            absolute=formatting.absolute,
            short=formatting.short,
            brief=formatting.brief,
            sentence=formatting.sentence,
            scalar=formatting.scalar,
            line=formatting.line,
            measure=formatting.measure,
            measured=formatting.measured,
            pretty=formatting.pretty,
            visible=formatting.visible,
            web_link=formatting.web_link,
            error_line=formatting.error_line,
            joined=formatting.joined,
            size_words=formatting.size_words,
            fields=lambda value: Given(value) if isinstance(value, Mapping) else Given(),
        )
        self._templates.tests.update(flat=formatting.is_flat)
        self._templates.globals.update(
            base=base,
            left_out=left_out,
            completeness=formatting.completeness,
            plural=plural,
            ledger_warnings=formatting.ledger_warnings,
            dropped_warnings=formatting.dropped_warnings,
            sampling_words=formatting.sampling_words,
            trouble=formatting.trouble,
            trouble_words=formatting.trouble_words,
            MAX_VALUE_CHARS=formatting.MAX_VALUE_CHARS,
            LIVE_EVERY_MS=LIVE_EVERY_MS,
            NODE=(charts.NODE_WIDTH, charts.NODE_HEIGHT),
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

    def missing(self, request: Request, kind: str, name: str) -> Response:
        """The page (404) that says that there is no run or step of that id."""
        return self.page("missing.html", request, 404, kind=kind, name=name)

    def error(self, request: Request, error: HTTPError) -> Response:
        """The page of any other error, with the error's status and headers."""
        heading = _HEADINGS.get(error.status, "This page cannot be shown")
        answer = self.page("error.html", request, error.status, heading=heading, message=error.message)
        answer.headers.update(error.headers)
        if error.retry_after_s is not None:
            answer.headers["Retry-After"] = str(error.retry_after_s)
        return answer


def _assets() -> dict[str, str]:
    """The addresses of the static files; they change when the files do, so that browsers may keep them."""
    files = sorted((HERE / "static").iterdir())
    return {
        file.name: f"/static/{file.name}?{hashlib.blake2b(file.read_bytes(), digest_size=6).hexdigest()}"
        for file in files
        if file.is_file()
    }
