"""What is in deploy/ can be deployed: it keeps the schemas of Compose and Kubernetes, and its addresses name what it declares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from xray_server.backends.clickhouse.address import Address, parse_address

DEPLOY = Path(__file__).parent.parent / "deploy" / "clickhouse"
COMPOSE, MANIFESTS = DEPLOY / "compose.yaml", DEPLOY / "kubernetes.yaml"
BIN = Path(sys.executable).parent


def hosts(address: Address) -> list[str]:
    return [host for shard in address.shards for host, _ in shard]


def test_the_compose_file_keeps_its_schema() -> None:
    command = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_manifests_keep_the_schemas_of_their_kinds() -> None:
    checked = subprocess.run([BIN / "kubernetes-validate", MANIFESTS], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stderr.count("passed") + checked.stdout.count("passed") == 5


def test_the_address_of_the_compose_file_names_its_services() -> None:
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    for name in ("xray-1", "xray-2"):
        address = parse_address(
            services[name]["environment"]["XRAY_DATABASE_URL"].replace("${XRAY_PASSWORD}", "secret")
        )
        assert (address.user, address.password, address.database) == ("xray", "secret", "xray")
        assert sorted(hosts(address)) == [each for each in sorted(services) if each.startswith("clickhouse-")]
        assert address.control == "postgresql://xray:secret@postgres/xray"


def test_the_address_of_the_manifests_names_the_pods_of_its_sets() -> None:
    kinds: dict[str, list[dict[str, Any]]] = {}
    for manifest in yaml.safe_load_all(MANIFESTS.read_text()):
        kinds.setdefault(manifest["kind"], []).append(manifest)
    pods = [
        f"{each['metadata']['name']}-{n}.{each['spec']['serviceName']}"
        for each in kinds["StatefulSet"]
        for n in range(each["spec"]["replicas"])
    ]
    (deployment,) = kinds["Deployment"]
    given = {each["name"]: each.get("value") for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert hosts(parse_address(given["XRAY_DATABASE_URL"])) == pods
    assert {each["metadata"]["name"] for each in kinds["Service"]} == {"clickhouse", "xray"}
