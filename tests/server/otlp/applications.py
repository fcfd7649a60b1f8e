"""Real applications in environments of their own, as their authors would run them: only the exporter's address is ours.

`python -m tests.server.otlp.applications` runs each and writes what it sent to `recorded/`, for the tests without them.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
import threading
import zlib
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

HERE = Path(__file__).parent
RECORDED = HERE / "recorded"
ROOT = HERE.parents[2]
# one place a checkout, kept for the next time
VENVS = Path(tempfile.gettempdir()) / f"xray-otlp-apps-{os.getuid()}-{zlib.crc32(os.fsencode(ROOT)):08x}"
EXPORTER = "opentelemetry-exporter-otlp-proto-http"


@dataclass(frozen=True)
class Application:
    """One application, its packages, the document that it drops, and the step at which it does."""

    name: str
    script: str
    packages: Sequence[str]
    dropped: str
    at: str
    arguments: Sequence[str] = ()

    def python(self) -> Path:
        """The Python of this application's environment; made once."""
        venv = VENVS / self.name
        python = venv / "bin" / "python"
        if not (venv / "complete").exists():
            uv = str(Path(sys.executable).parent / "uv")
            settings = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
            make = [uv, "venv", "-q", "--clear", "--python", sys.executable, str(venv)]
            subprocess.run(make, check=True, env=settings)
            install = [uv, "pip", "install", "-q", "--python", str(python), EXPORTER, *self.packages]
            subprocess.run(install, check=True, env=settings, timeout=500)
            (venv / "complete").touch()
        return python

    def run(self, endpoint: str, **variables: str) -> None:
        """Run it with its spans going to `endpoint`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XRAY_", "OTEL_"))}
        environ = {
            **kept,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_SERVICE_NAME": self.name,
            "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "span_only",
            "OTEL_SEMCONV_STABILITY_OPT_IN": "gen_ai_latest_experimental",
            "HAYSTACK_TELEMETRY_ENABLED": "False",
            "HAYSTACK_CONTENT_TRACING_ENABLED": "true",
            "TRACELOOP_TRACE_CONTENT": "true",
            **variables,
        }
        command = [str(self.python()), str(HERE / "apps" / self.script), *self.arguments]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr[-3000:]


APPLICATIONS = [
    Application(
        "openinference-langchain", "langchain_app.py",
        ["openinference-instrumentation-langchain", "langchain-classic"],
        "b", "ContextualCompressionRetriever", ["openinference"],
    ),
    Application(
        "openinference-llama-index", "llama_index_app.py",
        ["openinference-instrumentation-llama-index", "llama-index-core"],
        "c", "SimilarityPostprocessor._postprocess_nodes",
    ),
    Application(
        "openinference-haystack", "haystack_app.py", ["openinference-instrumentation-haystack", "haystack-ai"],
        "a", "MetaFieldRanker.run",
    ),
    Application(
        "openllmetry-langchain", "langchain_app.py",
        ["opentelemetry-instrumentation-langchain", "langchain<2", "langchain-classic"],
        "b.md", "vector_db_retrieve ContextualCompressionRetriever", ["openllmetry"],
    ),
    Application(
        "genai-langchain", "langchain_app.py",
        ["opentelemetry-instrumentation-genai-langchain", "langchain<2", "langchain-classic"],
        "b", "retrieval", ["genai"],
    ),
]  # fmt: skip


def as_otlp_json(request: ExportTraceServiceRequest) -> dict[str, Any]:
    """A request in OTLP's JSON: protobuf's own, but for the ids, which are hex."""
    told: dict[str, Any] = MessageToDict(request, use_integers_for_enums=True)
    for of_resource in told.get("resourceSpans", ()):
        for of_scope in of_resource.get("scopeSpans", ()):
            for span in of_scope.get("spans", ()):
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = b64decode(span[name]).hex()
    return told


def record(application: Application) -> Path:
    """Run an application against a listener that keeps what it sends."""
    kept = ExportTraceServiceRequest()

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            kept.MergeFromString(body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        application.run(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
    path = RECORDED / f"{application.name}.json"
    path.write_text(json.dumps(as_otlp_json(kept), indent=1) + "\n")
    return path


if __name__ == "__main__":
    for each in APPLICATIONS:
        print(record(each))
