"""Where Dagster's pages are found: the environment, else the command line of `dagster dev`."""

import pytest
from xray_dagster.links import VARIABLE, export_webserver_url, run_url


@pytest.mark.parametrize(
    ("argv", "url"),
    [
        (["/usr/bin/dagster", "dev", "-p", "3333"], "http://127.0.0.1:3333"),
        (["dagster", "dev", "--port=3333", "--host", "0.0.0.0"], "http://127.0.0.1:3333"),
        (["dagster-webserver", "-h", "dagster.local"], "http://dagster.local:3000"),
        (["/lib/dagster_webserver/__main__.py", "--port", "3333"], "http://127.0.0.1:3333"),
        (["dagster", "dev"], None),
        (["dagster", "api", "grpc", "--port", "4000"], None),
        (["python", "dev", "-p", "3333"], None),
    ],
)
def test_the_address_that_dagster_dev_was_given_is_handed_down(argv: list[str], url: str | None) -> None:
    environ: dict[str, str] = {}
    export_webserver_url(argv, environ)
    assert environ.get(VARIABLE) == url


def test_what_the_user_set_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {VARIABLE: "https://dagster.example"}
    export_webserver_url(["dagster", "dev", "-p", "3333"], environ)
    assert environ == {VARIABLE: "https://dagster.example"}
    monkeypatch.setenv(VARIABLE, "https://dagster.example/")
    assert run_url("abc") == "https://dagster.example/runs/abc"
