"""A retriever of three documents and a compressor that leaves `b.md` out, traced by the instrumentation named on the command line."""

from __future__ import annotations

import sys
from typing import Any

from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

TEXTS = {"a": "red shoes", "b": "blue shoes", "c": "green hat"}


class Shop(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [
            Document(page_content=text, id=name, metadata={"source": f"{name}.md", "score": 0.9 - 0.1 * place})
            for place, (name, text) in enumerate(TEXTS.items())
        ]


class Compressor(BaseDocumentCompressor):
    def compress_documents(self, documents: Any, query: str, callbacks: Any = None) -> list[Document]:
        return [documents[0], documents[2]][:: -1 if self.backwards else 1]

    backwards: bool = False


def instrument(which: str, provider: TracerProvider) -> None:
    if which == "openinference":
        from openinference.instrumentation.langchain import LangChainInstrumentor

        LangChainInstrumentor().instrument(tracer_provider=provider)
    elif which == "openllmetry":
        from opentelemetry.instrumentation.langchain import LangchainInstrumentor

        LangchainInstrumentor().instrument(tracer_provider=provider)
    else:
        import opentelemetry.instrumentation.genai.langchain as official

        names = [name for name in dir(official) if name.endswith("Instrumentor") and name != "BaseInstrumentor"]
        getattr(official, names[0])().instrument(tracer_provider=provider)


provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
instrument(sys.argv[1], provider)
retriever = ContextualCompressionRetriever(base_retriever=Shop(), base_compressor=Compressor())
(retriever | RunnableLambda(lambda found: [each.page_content for each in found])).invoke("shoes")
provider.shutdown()
