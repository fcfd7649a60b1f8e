"""A search and a ranker that keeps one document, so that `a` is left out, traced by OpenInference."""

from __future__ import annotations

from haystack import Document, Pipeline
from haystack.components.rankers import MetaFieldRanker
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.document_stores.in_memory import InMemoryDocumentStore
from openinference.instrumentation.haystack import HaystackInstrumentor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

TEXTS = {"a": "red shoes", "b": "blue shoes", "c": "green hat"}

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
HaystackInstrumentor().instrument(tracer_provider=provider)
store = InMemoryDocumentStore()
store.write_documents(
    [Document(id=name, content=text, meta={"rating": place}) for place, (name, text) in enumerate(TEXTS.items())]
)
pipeline = Pipeline()
pipeline.add_component("retriever", InMemoryBM25Retriever(store, top_k=3))
pipeline.add_component("ranker", MetaFieldRanker(meta_field="rating", top_k=1))
pipeline.connect("retriever.documents", "ranker.documents")
pipeline.run({"retriever": {"query": "shoes"}, "ranker": {}})
provider.shutdown()
