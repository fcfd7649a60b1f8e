"""OTLP in: traces of applications that are instrumented already become runs, and verdicts are derived from their spans.

    spans       the two encodings of a request, as checked spans
    bounds      how much a request may become in memory
    documents   the documents that a span's attributes name, in each dialect's own spelling
    evidence    what one span tells about items: which came in, which came out, in which order, with which scores
    verdicts    from documents to sets, counts, scores and samples
    records     one span as the records that any client could have sent
    nested      what a retriever around other retrievers left out: the one thing that takes several spans to know
    echo        the spans in which X-Ray itself tells of a run (the `otel` extra)
    receive     a request from its bytes to its answer

A span's records depend on that span alone, but for `nested`, whose records are made of all that is stored of a trace and
carry the number of spans they rest on as their revision. So any order, resending and splitting give one state.
"""
