"""A query engine whose similarity cut-off of 0.6 leaves document `c` out, traced by OpenInference."""

from __future__ import annotations

from llama_index.core import get_response_synthesizer
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from openinference.instrumentation.llama_index import LlamaIndexInstrumentor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

TEXTS = {"a": "red shoes", "b": "blue shoes", "c": "green hat"}


class Shop(BaseRetriever):
    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [
            NodeWithScore(node=TextNode(id_=name, text=text), score=0.9 - 0.2 * place)
            for place, (name, text) in enumerate(TEXTS.items())
        ]


provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
LlamaIndexInstrumentor().instrument(tracer_provider=provider)
engine = RetrieverQueryEngine(
    retriever=Shop(),
    node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=0.6)],
    response_synthesizer=get_response_synthesizer(llm=MockLLM(max_tokens=5)),
)
engine.query("shoes")
provider.shutdown()
