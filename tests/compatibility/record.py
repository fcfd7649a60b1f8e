"""`python -m tests.compatibility.record`: makes what recorded/0.1 holds, out of the repository's history. Run once; kept for who asks how.

spool.tar.gz    what waited on disk for a server that was away
ingest.ndjson   what the client sent, a record a line, as its bodies held it
xray.db.gz      the SQLite file of a server that took it
answers.json    path -> what that server answered
"""

from __future__ import annotations

import gzip
import json
import tarfile
import tempfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Final
from urllib.request import urlopen

from tests.compatibility.old import NOWHERE, capture, code_of_0_1, serving

RECORDED: Final = Path(__file__).parent / "recorded" / "0.1"
PATHS: Final = (
    "/runs?pipeline=offers", "/runs/good", "/steps?step_type=filter", "/runs/good/items/p79", "/runs/good/items/x7",
    "/items/p79", "/runs/good/diff/bad", "/decisions?reason=price_too_high&limit=2", "/trends?pipeline=offers", "/health",
)  # fmt: skip


def main() -> None:
    """Record everything anew."""
    RECORDED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        at = Path(temporary)
        (at / "code").mkdir()
        code = code_of_0_1(at / "code")
        away = {"XRAY_API_URL": NOWHERE, "XRAY_SPOOL_DIR": str(at / "away"), "XRAY_SHUTDOWN_TIMEOUT_S": "0"}
        capture(code, "waiting", "good", away)
        with tarfile.open(RECORDED / "spool.tar.gz", "w:gz") as archive:
            archive.add(at / "away", "spool")
        (RECORDED / "ingest.ndjson").write_bytes(b"".join(_sent(code, at / "sent")))
        with serving(code, at / "xray.db") as url:
            for kind in ("good", "bad"):
                capture(code, kind, kind, {"XRAY_API_URL": url, "XRAY_SPOOL_DIR": str(at / "spool")})
            answers = {}
            for path in PATHS:
                with urlopen(url + path, timeout=20) as answer:
                    answers[path] = json.load(answer)
        (RECORDED / "answers.json").write_text(json.dumps(answers, ensure_ascii=False, indent=1) + "\n")
        (RECORDED / "xray.db.gz").write_bytes(gzip.compress((at / "xray.db").read_bytes(), mtime=0))


def _sent(code: Path, spool: Path) -> list[bytes]:
    """The bodies that a client of 0.1 sends, unpacked."""
    bodies: list[bytes] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body if body.endswith(b"\n") else body + b"\n")
            answer = json.dumps({"accepted": body.count(b"\n"), "refused": []}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Taking) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        capture(code, "sent", "good", {"XRAY_API_URL": address, "XRAY_SPOOL_DIR": str(spool)})
        server.shutdown()
    return bodies


if __name__ == "__main__":
    main()
