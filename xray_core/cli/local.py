"""The commands about this machine: run, sync, doctor."""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any, Final

from xray_core.capture.context import inherited_ids
from xray_core.cli import delivering, redaction, render
from xray_core.errors import ApiError, ConfigurationError
from xray_core.plurals import plural
from xray_core.query.http_reader import HttpReader

CONSTRAINTS: Final = ("server", "prefect", "airflow", "dagster")


def register(subparsers: Any) -> None:
    """Add the commands; each sets `run`, called with the parsed arguments."""
    parser = subparsers.add_parser(
        "run",
        help="run a command with Prefect, Airflow and Dagster captured",
        description="Run a command; each installed adapter is enabled when its framework is imported, there and in every "
        "child process. Exit code, signals and terminal are the command's own.",
        usage="xray run [-h] -- COMMAND ...",
        epilog="examples:\n  xray run -- python flow.py\n  xray run -- dagster dev -f defs.py",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the command and its arguments")
    parser.set_defaults(run=_run)

    parser = subparsers.add_parser(
        "constraints",
        help="the versions that were tested together, as a file for pip",
        description="Print where the file is that names, for one framework or the server, the versions that were tested together.",
        epilog="example:\n  pip install 'xray-pipelines[prefect]' --constraint \"$(xray constraints prefect)\"",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", choices=CONSTRAINTS, help="without one all files are named")
    parser.set_defaults(run=_constraints)

    parser = subparsers.add_parser(
        "sync",
        help="deliver what any process on this machine left behind",
        description="Deliver what any process on this machine left behind while the server was away.",
        epilog="examples:\n  xray sync\n  xray sync --from http://old:8000 --to http://new:8000\n  xray sync --watch    # an agent beside short-lived tasks",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print {synced, failed}")
    parser.add_argument("--from", dest="old", metavar="OLD", help="deliver what waits for this other address instead")
    parser.add_argument("--to", metavar="NEW", help="where to, with --from (default: the server of --api-url)")
    parser.add_argument("--yes", action="store_true", help="with --from: do not ask")
    parser.add_argument("--watch", action="store_true", help="go on until Ctrl-C: an agent beside short-lived tasks")
    parser.add_argument("--api-url", metavar="URL", help="the server (default: $XRAY_API_URL, else this machine's)")
    parser.set_defaults(run=delivering.sync)

    parser = subparsers.add_parser(
        "doctor",
        help="what is set up, what works, what to do about the rest",
        description="What is set up on this machine, what works, and what to do about the rest.",
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--api-url", metavar="URL", help="the server (default: $XRAY_API_URL, else this machine's)")
    parser.add_argument("--check", action="store_true", help="also import each framework, and try what can be captured")
    parser.add_argument(
        "--server",
        metavar="DB",
        nargs="?",
        const="",
        help="check a server's database instead: reads all of it (default: $XRAY_DATABASE_URL)",
    )
    parser.add_argument(
        "--redaction",
        metavar="FILE",
        help="say instead what would be masked in a sample of yours (JSON, NDJSON or text; - reads standard input)",
    )
    parser.set_defaults(run=_doctor)


def _run(arguments: argparse.Namespace) -> int:
    from xray_core import autoload

    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    return autoload.run(command)


def _constraints(arguments: argparse.Namespace) -> int:
    for name in [arguments.name] if arguments.name else CONSTRAINTS:
        print(Path(__file__).parents[1] / "constraints" / f"{name}.txt")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from xray_core import autoload
    from xray_core.plugins.host import PluginHost
    from xray_core.settings import load
    from xray_core.spool import spool_report

    if arguments.server is not None:
        return _check_store(arguments)
    if arguments.redaction is not None:
        return redaction.show(arguments.redaction, as_json=arguments.json)
    # first: a framework that is imported for the check may have settings for X-Ray in its own configuration
    integrations = autoload.report(check=arguments.check)
    settings = load({"api_url": arguments.api_url})
    spool = spool_report(settings)
    plugins = PluginHost(disabled=settings.disable_plugins)
    health: dict[str, Any] | None = None
    problem: str | None = None
    try:
        with HttpReader(settings) as server:
            health = server.get("health")
    except ApiError as error:
        problem = str(error)
    report: dict[str, Any] = {
        "xray": version("xray-pipelines"),
        "python": platform.python_version(),
        "server": {"api_url": settings.api_url, "health": health, "problem": problem},
        "spool": {
            "directory": str(spool.spool_dir),
            "waiting": spool.records,
            "problem": spool.problem,
            "destinations": [
                {
                    "api_url": each.api_url,
                    "name": each.name,
                    "current": each.current,
                    "records": dict(each.records),
                    "bytes": each.bytes,
                    "left_behind": each.left_behind,
                    "quarantined": dict(each.quarantined),
                    "dropped": dict(each.dropped),
                }
                for each in spool.waiting
            ],
        },
        "plugins": [
            {"name": each.name, "source": each.source, "hooks": list(each.hooks), "problem": each.problem}
            for each in plugins.states.values()
        ],
    }
    inside = inherited_ids()
    report["inside"] = None if inside is None else {"run_id": inside[0], "step_id": inside[1]}
    report["integrations"] = integrations
    if arguments.json:
        print(json.dumps(report, indent=2, default=str))
    else:
        _show_report(report)
    return 1 if any(each.n and not each.current for each in spool.waiting) else 0


def _check_store(arguments: argparse.Namespace) -> int:
    checks = [entry.load() for entry in entry_points(group="xray.checks", name="store")]
    if not checks:
        raise ConfigurationError("checking a database needs the server: pip install 'xray-pipelines[server]'")
    found: dict[str, Any] = checks[0](arguments.server)
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        for problem in found["problems"] or ["sound"]:
            render.console().print(f"{render.safe(found['location'])}: {render.safe(problem)}")
    return 1 if found["problems"] else 0


def _show_report(report: dict[str, Any]) -> None:
    out = render.console()

    def line(good: bool, text: str, todo: str | None = None) -> None:
        out.print(f"{'[green]ok [/]' if good else '[yellow]!  [/]'} {render.safe(text)}", soft_wrap=True)
        if todo:
            out.print(f"    {render.safe(todo)}", soft_wrap=True)

    line(True, f"xray {report['xray']} on Python {report['python']}")
    server, spool = report["server"], report["spool"]
    line(server["problem"] is None, f"server {server['api_url']}", server["problem"])
    waiting = plural(spool["waiting"], "record waits", "records wait") if spool["waiting"] else "nothing waits"
    line(spool["problem"] is None, f"spool {spool['directory']}: {waiting}", spool["problem"])
    for each in spool["destinations"]:
        n = sum(each["records"].values())
        if n:
            command = "`xray sync`" if each["current"] else f"`xray sync --from {each['name']} --to NEW`"
            line(
                False,
                f"  {plural(n, 'record')} for {each['name']}",
                f"{command} delivers {'it' if n == 1 else 'them'} when the server is back",
            )
        for kind, dropped in each["dropped"].items():
            lost = plural(dropped, "record was dropped", "records were dropped")
            line(False, f"  {lost} ({kind})", "the spool was full: raise XRAY_SPOOL_MAX_BYTES")
        for error, quarantined in each["quarantined"].items():
            line(False, f"  {plural(quarantined, 'record was', 'records were')} refused: {error}")
    for client in (server["health"] or {}).get("clients", ()):
        for kind, dropped in (client.get("counters") or {}).items():
            if kind.startswith("dropped_") and dropped:
                of = f"of {client.get('pipeline')}"
                lost = plural(dropped, f"record {of} was dropped", f"records {of} were dropped")
                line(False, f"  {lost} ({kind})")
    if not report["plugins"]:
        line(True, "no plugins")
    for plugin in report["plugins"]:
        line(plugin["problem"] is None, f"plugin {plugin['name']} ({plugin['source']})", plugin["problem"])
    if report["inside"] is not None:
        line(
            True,
            f"started by step {report['inside']['step_id']} of run {report['inside']['run_id']}: "
            "current_step() in this process is that step",
        )
    for each in report["integrations"]:
        version_ = each.get("installed")
        if version_ is None:
            line(True, f"{each['framework']}: not installed")
            continue
        supported = "" if each.get("supported") else f", not among the supported {each.get('supported_versions')}"
        enabled = "enabled" if each.get("enabled") else "not enabled here"
        line(
            each.get("supported") is not False, f"{each['framework']} {version_}{supported}: {enabled}", each.get("how")
        )
        for seam, why in (each.get("missing") or {}).items():
            line(False, f"  {seam}: {why}")
