"""The shapes of the API's answers, for the OpenAPI document: what a generated client knows. docs/http-api.md says more.

Answers are made in `xray_server.read` and not checked against these while they are served: tests do. More fields may come.
"""

from xray_server.http.models.operating import *  # noqa: F403
from xray_server.http.models.reading import *  # noqa: F403
