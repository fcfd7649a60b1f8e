"""Signing in to the pages with a key, and out. Owns the form and the cookie; who may what is access/admission.py's."""

from __future__ import annotations

import re
from typing import Final

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from xray_server.access.admission import COOKIE, SIGN_IN, SIGN_OUT, Access, session_token
from xray_server.access.keys import SCOPES
from xray_server.access.sessions import SESSION_S
from xray_server.http.bodies import read_form
from xray_server.http.prefix import base
from xray_server.pages.rendering import Pages

_MAX_FORM_BYTES: Final = 8 * 1024
# A path of ours and nothing else: `//host` and `/\host` lead elsewhere, control characters split headers.
_OWN_PATH: Final = re.compile(r"/(ui|docs)([/?][!-\[\]-~]*)?")


def add_sign_in(app: FastAPI, access: Access, pages: Pages) -> None:
    """Mount the routes on the application."""

    def form(request: Request, target: str, wrong: str = "", status: int = 200) -> Response:
        return pages.page("sign_in.html", request, status, target=target, wrong=wrong)

    @app.get(SIGN_IN, include_in_schema=False)
    def ask(request: Request) -> Response:
        target = _own(request.query_params.get("next", ""))
        return RedirectResponse(target, 303) if access.open else form(request, target)

    @app.post(SIGN_IN, include_in_schema=False)
    async def sign_in(request: Request) -> Response:
        fields = await read_form(request, _MAX_FORM_BYTES)
        target = _own(fields.get("next", ""))
        key = access.keyring.find(fields.get("key", ""))
        if key is None:
            return form(request, target, "This is no key in use. It may have been revoked, or cut off in copying.", 401)
        if "read" not in SCOPES.get(key.scope, ()):
            return form(request, target, f"This key is for {key.scope} only. Sign in with one of scope read.", 403)
        answer = RedirectResponse(target, 303)
        answer.set_cookie(
            COOKIE,
            access.sessions.begin(key.key_id),
            max_age=SESSION_S,
            path=base() or "/",  # what else a proxy serves beside us is not to see it
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @app.post(SIGN_OUT, include_in_schema=False)
    def sign_out(request: Request) -> Response:
        access.sessions.end(session_token(request.headers.get("cookie", "")) or "")
        answer = RedirectResponse(SIGN_IN, 303)
        answer.delete_cookie(
            COOKIE, path=base() or "/", httponly=True, samesite="strict", secure=request.url.scheme == "https"
        )
        return answer


def _own(target: str) -> str:
    return target if len(target) <= 4_000 and _OWN_PATH.fullmatch(target) else "/ui"
