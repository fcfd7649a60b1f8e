"""Items in chunks of verdicts: the chunks of a run, and the runs that hold an item."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from xray_core import verdicts
from xray_core.model import item_id_text
from xray_server.backends.clickhouse import parts
from xray_server.backends.clickhouse.cluster import Cluster, Shard
from xray_server.backends.clickhouse.places import make_place, newest_first, parse_place
from xray_server.backends.clickhouse.rows import LARGE
from xray_server.backends.clickhouse.sql import bind
from xray_server.backends.relational.database import Chunk
from xray_server.backends.relational.items import Sightings, hits
from xray_server.backends.relational.rows import place_us, run_state
from xray_server.records.documents import unpack
from xray_server.store import ItemRun, Page

MAX_LARGE: Final = 2_000  # runs with a large set that are looked into by one question, the newest first
_TRIES: Final = 20
_FURTHER: Final = 100  # suspects at once, where the first were not enough: each asking is four statements


def chunks(shard: Shard, project: str, run_id: str, step_id: str | None = None) -> Iterator[Chunk]:
    """The chunks of verdicts of a run, or of the attempts of one step, in the order in which they came."""
    test = bind("project = ? AND run_id = ?", project, run_id)
    if step_id is not None:
        test += bind(" AND step_id = ?", step_id)
    numbers: dict[tuple[str, int], int] = {}
    for _, step, attempt, part, head, data in _rows(shard, project, test):
        number = numbers.setdefault((step, attempt), len(numbers))
        yield Chunk(number, step, attempt, part, unpack(head), data)


def _rows(shard: Shard, project: str, test: str) -> Sequence[Any]:
    """(run id, step id, attempt, part, head, data) of each chunk that counts, the oldest first."""
    rows = shard.rows(
        "SELECT run_id, step_id, attempt, part, head, data FROM ("  # noqa: S608  # bound
        f"SELECT * FROM verdict WHERE {test} ORDER BY ver DESC LIMIT 1 BY project, run_id, step_id, attempt, part, chunk) "
        "ORDER BY received_us, place, step_id, attempt, part, chunk"
    )
    return parts.counting(shard, project, rows)


def item_runs(
    cluster: Cluster, project: str, item_id: str, *, pipeline: str | None, limit: int, cursor: str | None
) -> Page[ItemRun]:
    """The runs that hold an item, those whose verdicts arrived last first."""
    text = item_id_text(item_id)
    fingerprint = verdicts.fingerprint(text)
    after = None if cursor is None else parse_place(cursor, "is")
    found: list[ItemRun] = []
    for tries in range(_TRIES):
        wanted = max(limit - len(found) + 1, _FURTHER if tries else 0)
        places = _suspects(cluster, project, fingerprint, after, wanted)
        runs = _looked_into(cluster, project, [run_id for _, run_id in places], text, fingerprint)
        for place in places:
            if len(found) == limit:
                return Page(found, make_place(*after or ()))
            after = list(place)
            run = runs.get(place[1])
            if run is not None and (pipeline is None or run.pipeline == pipeline):
                found.append(run)
        if len(places) < wanted:
            return Page(found)
    return Page(found, make_place(*after or ()))


def _suspects(
    cluster: Cluster, project: str, fingerprint: int, after: Sequence[Any] | None, limit: int
) -> list[tuple[Any, ...]]:
    """(when its verdicts came, run id) of runs that may hold the item, newest first."""
    later = "" if after is None else bind("HAVING (came_us, run_id) < ?", tuple(after))
    selects = " UNION ALL ".join(
        "SELECT came_us, run_id FROM (SELECT run_id, max(received_us) AS came_us FROM item "  # noqa: S608  # bound
        f"WHERE {bind('project = ? AND fp = ?', project, fp)} GROUP BY run_id {later} "
        f"ORDER BY came_us DESC, run_id DESC LIMIT {most})"
        for fp, most in {fingerprint: limit, LARGE: min(limit, MAX_LARGE)}.items()
    )
    statement = f"SELECT max(came_us) AS at_us, run_id FROM ({selects}) GROUP BY run_id"  # noqa: S608
    rows = [row for of_shard in cluster.each(lambda shard: shard.rows(statement)) for row in of_shard]
    return newest_first(rows, limit)


def _looked_into(
    cluster: Cluster, project: str, run_ids: Sequence[str], text: str, fingerprint: int
) -> dict[str, ItemRun]:
    """Those of these runs that hold the item."""
    names: dict[int, list[tuple[str, str]]] = {}
    for run_id in run_ids:
        names.setdefault(cluster.number_of(run_id), []).append((project, run_id))

    def ask(shard: Shard) -> dict[str, ItemRun]:
        of = names.get(shard.number)
        return _of_shard(shard, project, of, text, fingerprint) if of else {}

    return {run_id: run for of_shard in cluster.each(ask) for run_id, run in of_shard.items()}


def _of_shard(
    shard: Shard, project: str, names: Sequence[tuple[str, str]], text: str, fingerprint: int
) -> dict[str, ItemRun]:
    held: dict[str, list[tuple[str, int, Any]]] = {}
    for run_id, step_id, attempt, _, head, data in _rows(shard, project, bind("(project, run_id) IN ?", names)):
        for hit in hits(unpack(head), data, text, fingerprint):
            held.setdefault(run_id, []).append((step_id, attempt, hit))
    holding = [name for name in names if name[1] in held]
    if not holding:
        return {}
    steps = {
        (run_id, step_id, attempt): ((at_us, position or 0), name)
        for run_id, step_id, attempt, at_us, position, name in shard.rows(
            bind(
                "SELECT run_id, step_id, attempt, at_us, position, name FROM step WHERE (project, run_id) IN ? "
                "ORDER BY known DESC, ver DESC LIMIT 1 BY project, run_id, step_id, attempt",
                holding,
            )
        )
    }
    found: dict[str, ItemRun] = {}
    for (_, run_id), stored in parts.stored_runs(shard, holding).items():
        sightings = Sightings()
        nowhere: tuple[tuple[int, int], str | None] = ((0, 0), None)
        for step_id, attempt, hit in sorted(held[run_id], key=lambda each: steps.get((run_id, *each[:2]), nowhere)[0]):
            sightings.add(steps.get((run_id, step_id, attempt), nowhere)[1], step_id, attempt, hit)
        state = run_state(stored.parts)
        found[run_id] = ItemRun(run_id, state["pipeline"], place_us(state, stored.received_us), sightings.all())
    return found
