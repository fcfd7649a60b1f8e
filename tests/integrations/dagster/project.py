"""Writes a project of `dg`: `definitions.py`, a folder `defs/` with assets, a script component and a component of its own.

Holds no tests.
"""

from __future__ import annotations

from pathlib import Path

FILES = {
    "pyproject.toml": '[tool.dg]\ndirectory_type = "project"\n\n[tool.dg.project]\nroot_module = "{module}"\n',
    "src/{module}/__init__.py": "",
    "src/{module}/definitions.py": """
from pathlib import Path

from dagster import definitions, load_from_defs_folder


@definitions
def defs():
    return load_from_defs_folder(path_within_project=Path(__file__).parent)
""",
    "src/{module}/defs/__init__.py": "",
    "src/{module}/defs/in_process.py": "import dagster\n\ndefs = dagster.Definitions(executor=dagster.in_process_executor)\n",
    "src/{module}/defs/offers.py": """
from dagster import asset
from xray_core import current_step


@asset
def offers() -> list[dict]:
    return [{{"id": f"o{{n}}", "price": 30 * n}} for n in range(1, 6)]


@asset
def affordable(offers: list[dict]) -> list[dict]:
    for each in offers:
        if each["price"] > 100:
            current_step().reject(each["id"], "price_too_high")
    return [each for each in offers if each["price"] <= 100]
""",
    "src/{module}/defs/scores/defs.yaml": """
type: dagster.PythonScriptComponent
attributes:
  execution:
    path: scores.py
  assets:
    - key: scores
      deps: [affordable]
""",
    "src/{module}/defs/scores/scores.py": """
from dagster_pipes import open_dagster_pipes
from xray_core import current_step

with open_dagster_pipes() as pipes:
    current_step().reject("o1", "score_too_low", {{"score": 0.1}})
    pipes.report_asset_materialization(metadata={{"dagster/row_count": 2}})
""",
    "src/{module}/components/__init__.py": "",
    "src/{module}/components/table.py": """
import dagster as dg
from xray_core import current_step


class Table(dg.Component, dg.Model, dg.Resolvable):
    name: str
    most: int

    def build_defs(self, context):
        @dg.asset(name=self.name)
        def table() -> list[int]:
            step = current_step()
            for n in range(self.most, self.most + 3):
                step.reject(f"row-{{n}}", "too_many")
            return list(range(self.most))

        return dg.Definitions(assets=[table])
""",
    "src/{module}/defs/table/defs.yaml": """
type: {module}.components.table.Table
attributes:
  name: table
  most: 4
""",
}  # fmt: skip


def write(place: Path, module: str, *, dg_toml: bool = False) -> Path:
    """The folder of the project, whose root module is `module`; its configuration in `dg.toml` or `pyproject.toml`."""
    for name, text in FILES.items():
        file = place / name.format(module=module)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(module=module))
    if dg_toml:
        (place / "pyproject.toml").write_text(f'[project]\nname = "{module}"\n')  # Dagster looks for the file
        (place / "dg.toml").write_text(
            f'directory_type = "project"\n\n[project]\nroot_module = "{module}"\ncode_location_name = "the-{module}"\n'
        )
    return place
