"""What one span tells about items: which documents came in and which came out, by the conventions of its dialect.

Owns what a span means in OpenInference, OpenLLMetry and the GenAI conventions of OpenTelemetry. Nobody said a verdict in any
of them: all that follows from here is inferred, and marked so. What a dialect cannot tell, `unknown_because` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from xray_server.otlp.documents import (
    MAX_DOCUMENTS,
    Document,
    aligned,
    documents_in,
    flat_documents,
    other_arguments,
)
from xray_server.otlp.spans import Span

Kind = Literal["retrieve", "rank", "filter"]
_RETRIEVALS: Final = frozenset({"retrieval", "vector_db_retrieve"})
_CHAINS: Final = frozenset({"CHAIN", "workflow", "task", "tool", "execute_task", "invoke_workflow"})
_INPUTS: Final = ("input.value", "gen_ai.task.input", "traceloop.entity.input")
_OUTPUTS: Final = ("output.value", "gen_ai.task.output", "traceloop.entity.output")
_RESULTS: Final = ("gen_ai.retrieval.documents", *_OUTPUTS)
_REMOVERS: Final = ("postprocess", "filter", "rank", "compress", "select", "prune", "cutoff")

NO_DOCUMENTS: Final = "the span names no documents; their capture may be switched off in the instrumentation"
CUT_OFF: Final = "the application's OpenTelemetry limits cut this span, so documents may be missing"
RESULTS_ONLY: Final = "OpenTelemetry's GenAI conventions name what a retrieval returned, not what it left out inside"
NAMED_APART: Final = "what came in and what came out are named differently, so nobody can tell which is which"
HASHED: Final = "the documents have no ids here, so they are named by a hash of their text"
AT_MOST: Final = f"more than {MAX_DOCUMENTS} documents in one span; they are not judged"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a span tells about items.

    Attributes:
        came_in: None where that is not known.
        complete: nothing is known to be missing from the lists.
        parameters: what the step was given beside the documents.
    """

    kind: Kind
    came_out: Sequence[Document]
    came_in: Sequence[Document] | None = None
    complete: bool = True
    unknown_because: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dropped(self) -> list[Document]:
        """What came in and did not come out; each once."""
        left = {each.id for each in self.came_out}
        return list({each.id: each for each in self.came_in or () if each.id not in left}.values())


def dialect_kind(span: Span) -> str:
    """The dialect's own word for what the span did, or "" where it is none of the three dialects."""
    attributes = span.attributes
    for name in ("openinference.span.kind", "gen_ai.operation.name", "traceloop.span.kind"):
        word = attributes.get(name)
        if isinstance(word, str) and word:
            return word
    return ""


def evidence_of(span: Span) -> Evidence | None:
    """What the span tells about items; None where it tells nothing, and is not a span that should."""
    kind = dialect_kind(span)
    found: Evidence | None
    if kind == "RERANKER":
        found = _reranked(span)
    elif kind == "RETRIEVER" or kind in _RETRIEVALS:
        found = _retrieved(span)
    elif kind in _CHAINS:
        found = _filtered(span)
    else:
        found = _queried(span)
    if found is None:
        return None
    documents = [*found.came_out, *(found.came_in or ())]
    unknown_because = found.unknown_because
    if len(documents) > 2 * MAX_DOCUMENTS:
        return Evidence(found.kind, (), complete=False, unknown_because=AT_MOST)
    if span.dropped:
        return replace(found, complete=False, unknown_because=CUT_OFF)
    if unknown_because is None and documents and not all(each.named for each in documents):
        unknown_because = HASHED
    return replace(found, unknown_because=unknown_because)


def _reranked(span: Span) -> Evidence:
    came_in, whole_in = flat_documents(span.attributes, "reranker.input_documents")
    came_out, whole_out = flat_documents(span.attributes, "reranker.output_documents")
    came_out = aligned(came_in, came_out)
    parameters = other_arguments(span.attributes.get("input.value"))
    if not came_in:
        return Evidence("rank", came_out, complete=False, unknown_because=NO_DOCUMENTS, parameters=parameters)
    if came_out and not {each.id for each in came_out} & {each.id for each in came_in}:
        return Evidence("rank", came_out, complete=False, unknown_because=NAMED_APART, parameters=parameters)
    return Evidence("rank", came_out, came_in, complete=whole_in and whole_out, parameters=parameters)


def _retrieved(span: Span) -> Evidence:
    attributes = span.attributes
    flat, whole = flat_documents(attributes, "retrieval.documents")
    rich = next((found for name in _RESULTS if (found := documents_in(attributes.get(name))) is not None), None)
    if flat:
        # LangChain's ids stand in the output alone; it has the same documents in the same order
        if rich is not None and len(rich) == len(flat):
            flat = [
                replace(each, id=more.id, named=True) if more.named and each.text in (None, more.text) else each
                for each, more in zip(flat, rich)
            ]
        return Evidence("retrieve", flat, complete=whole)
    if rich is not None:
        opaque = "gen_ai.retrieval.documents" in attributes
        return Evidence("retrieve", rich, unknown_because=RESULTS_ONLY if opaque else None)
    return Evidence("retrieve", (), complete=False, unknown_because=NO_DOCUMENTS)


def _filtered(span: Span) -> Evidence | None:
    """A chain whose outputs are a subset of its inputs."""
    attributes = span.attributes
    came_in = next((found for name in _INPUTS if (found := documents_in(attributes.get(name)))), None)
    if not came_in:
        return None
    came_out = next((found for name in _OUTPUTS if (found := documents_in(attributes.get(name))) is not None), None)
    if came_out is None or (not came_out and not any(word in span.name.lower() for word in _REMOVERS)):
        return None  # an empty list need not be a list of documents
    came_out = aligned(came_in, came_out)
    ids_in, ids_out = [each.id for each in came_in], [each.id for each in came_out]
    if not set(ids_out) <= set(ids_in):
        return None
    in_order = ids_out == [each for each in ids_in if each in set(ids_out)]
    parameters = next((other_arguments(attributes[name]) for name in _INPUTS if name in attributes), {})
    return Evidence("filter" if in_order else "rank", came_out, came_in, parameters=parameters)


def _queried(span: Span) -> Evidence | None:
    """A query to a vector database as OpenLLMetry tells it: an event for each result."""
    results = [event.attributes for event in span.events if event.name == "db.query.result"]
    if not results:
        return None
    prefix = "db.query.result."
    fields = [{name.removeprefix(prefix): value for name, value in each.items()} for each in results]
    found = documents_in(fields[: MAX_DOCUMENTS + 1])
    return None if not found else Evidence("retrieve", found, complete=len(found) == len(results))
