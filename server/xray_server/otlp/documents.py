"""The documents that a span's attributes name: as flat attributes, as JSON, or as the text of Python objects.

Owns the spellings of all dialects and how a document without an id gets one. Knows nothing of what a span means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import xxhash

from xray_core.model import item_id_text

MAX_DOCUMENTS: Final = 10_000  # of one list; more are not judged
_MAX_JSON_CHARS: Final = 4_000_000
_MAX_REPR_CHARS: Final = 100_000
_SCORE_WITHIN_CHARS: Final = 1_000  # of the end: the pattern looks on from every score that it meets
_ID_FIELDS: Final = ("id", "id_", "doc_id", "document_id", "chunk_id", "node_id", "_id", "uuid")
_TEXT_FIELDS: Final = ("page_content", "content", "text", "document")
_SCORE_FIELDS: Final = ("score", "relevance_score", "similarity", "_score")
# a chunk is named by its file and its place in it: a file alone names many
_SOURCE_FIELDS: Final = ("source", "url", "file_path", "file_name")
_PLACE_FIELDS: Final = ("page", "row", "start_index", "chunk", "chunk_index", "seq_num", "split_id")
_LISTS: Final = (
    "documents",
    "nodes",
    "docs",
    "retrieved_documents",
    "chunks",
    "results",
    "inputs",
    "outputs",
    "output",
)
_METADATA: Final = ("metadata", "meta")

_NODE: Final = re.compile(r"<?NodeWithScore\(node=\w+\(id_=(?P<id>[^),]+)\), score=(?P<score>[-+\d.einfa]+|None)\)>?")
_HAYSTACK: Final = re.compile(r"Document\(id=(?P<id>[^,)]+)(?P<rest>.*)\)", re.DOTALL)
_HAYSTACK_SCORE: Final = re.compile(r"(?:^|, )score: (?P<score>[-+\d.e]+)(?:, [a-z_]+: [^']*)?$")


@dataclass(frozen=True, slots=True)
class Document:
    """One document as one span names it. `named` is False where the id had to be made of its text."""

    id: str
    score: float | None = None
    text: str | None = None
    metadata: Mapping[str, Any] | None = None
    named: bool = True


def flat_documents(attributes: Mapping[str, Any], prefix: str) -> tuple[list[Document], bool]:
    """Documents of attributes such as `retrieval.documents.0.document.id`, and whether none is missing in between."""
    fields: dict[int, dict[str, Any]] = {}
    for name, value in attributes.items():
        if not name.startswith(prefix):
            continue
        place, _, rest = name[len(prefix) + 1 :].partition(".")
        if place.isascii() and place.isdigit() and len(place) < 7 and rest.startswith("document."):
            fields.setdefault(int(place), {})[rest.removeprefix("document.")] = value
    places = sorted(fields)
    each_found = (_from_fields(fields[place]) for place in places)
    found: list[Document] = [each for each in each_found if each is not None]
    return _told_apart(found), places == list(range(len(places))) and len(found) == len(places)


def documents_in(value: Any) -> list[Document] | None:
    """The documents of an attribute's value, in order; None where it holds no list of documents."""
    value = read_json(value)
    if isinstance(value, dict):
        for name in _LISTS:
            if name in value:
                found = documents_in(value[name])
                if found is not None:
                    return found
        return None
    if not isinstance(value, list) or len(value) > MAX_DOCUMENTS:
        return None
    documents: list[Document] = []
    for each in value:
        document = _document(each)
        if document is None:
            return None
        documents.append(document)
    return _told_apart(documents)


def other_arguments(value: Any) -> dict[str, Any]:
    """What stands beside the documents in a value, as long as it is small: the parameters of the step."""
    value = read_json(value)
    if not isinstance(value, dict):
        return {}
    return {
        name: each
        for name, each in value.items()
        if isinstance(each, (int, float)) or (isinstance(each, str) and len(each) <= 200 and name not in _LISTS)
    }


def read_json(value: Any) -> Any:
    """A text of JSON as its value; any other value as it is, any other text as None."""
    if not isinstance(value, str):
        return value
    if len(value) > _MAX_JSON_CHARS or value[:1] not in ("[", "{"):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def aligned(came_in: Sequence[Document], came_out: Iterable[Document]) -> list[Document]:
    """What came out, under the ids of what came in where the texts alone are the same: the two lists of one span need not
    name their documents alike.
    """
    ids = {each.id for each in came_in}
    by_text: dict[str, str | None] = {}
    for each in came_in:
        if each.text:
            by_text[each.text] = None if each.text in by_text else each.id
    return [
        replace(each, id=by_text[each.text] or each.id)
        if each.id not in ids and each.text and by_text.get(each.text)
        else each
        for each in came_out
    ]


def _document(value: Any) -> Document | None:
    if isinstance(value, str):
        return _from_text(value)
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("kwargs"), dict) and value.get("type") == "constructor":  # LangChain's own serialisation
        value = value["kwargs"]
    if isinstance(value.get("node"), dict):  # LlamaIndex: the score stands beside the node
        value = {**value["node"], "score": value.get("score")}
    return None if "role" in value else _from_fields(value)  # messages of a chat have contents too


def _from_fields(fields: Mapping[str, Any]) -> Document | None:
    metadata = read_json(next((fields[name] for name in _METADATA if fields.get(name)), None))
    metadata = metadata if isinstance(metadata, dict) else {}
    text = next((fields[name] for name in _TEXT_FIELDS if isinstance(fields.get(name), str)), None)
    score = next(
        (
            number
            for at in (fields, metadata)
            for name in _SCORE_FIELDS
            if (number := _number(at.get(name))) is not None
        ),
        None,
    )
    item_id = _given_id(fields) or _given_id(metadata) or _source(metadata)
    if item_id is None and not text:
        return None
    return Document(
        id=item_id or f"text-{xxhash.xxh3_64_hexdigest((text or '').encode('utf-8', 'surrogatepass'))}",
        score=score,
        text=text,
        metadata=metadata or None,
        named=item_id is not None,
    )


def _given_id(fields: Mapping[str, Any]) -> str | None:
    for name in _ID_FIELDS:
        value = fields.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
            return item_id_text(value)
    return None


def _source(metadata: Mapping[str, Any]) -> str | None:
    source = next((metadata[name] for name in _SOURCE_FIELDS if isinstance(metadata.get(name), str)), None)
    if not source:
        return None
    place = [str(metadata[name]) for name in _PLACE_FIELDS if isinstance(metadata.get(name), (int, str))]
    return item_id_text(":".join([source, *place]))


def _told_apart(documents: list[Document]) -> list[Document]:
    """Chunks of one file that nothing but their texts tells apart get their texts' hash into their ids."""
    texts: dict[str, set[str | None]] = {}
    for each in documents:
        texts.setdefault(each.id, set()).add(each.text)
    return [
        replace(each, id=item_id_text(f"{each.id}#{xxhash.xxh3_64_hexdigest((each.text or '').encode())[:8]}"))
        if len(texts[each.id]) > 1 and each.text
        else each
        for each in documents
    ]


def _from_text(text: str) -> Document | None:
    """Of the text of an object, where its class is known."""
    if len(text) > _MAX_REPR_CHARS:
        return None
    node = _NODE.fullmatch(text)
    if node is not None:
        return Document(item_id_text(node["id"]), _number(node["score"]))
    haystack = _HAYSTACK.fullmatch(text)
    if haystack is None:
        return None
    score = _HAYSTACK_SCORE.search(haystack["rest"][-_SCORE_WITHIN_CHARS:])
    return Document(item_id_text(haystack["id"]), None if score is None else _number(score["score"]))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < 1e300 else None  # neither NaN nor infinite
