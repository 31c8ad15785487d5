"""What the programs have in common: the SDK, set up as its documentation does, and the calls that each makes."""

import os

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

MODEL = "gpt-4o"
ASK, REFUSE = "What is the capital of France?", "refuse this call"


def provider():
    """Sets the global provider up, which sends what is left when the process ends."""
    p = TracerProvider()
    p.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(p)
    return p


def says(content):
    return [{"role": "user", "content": content}]


def openai_calls():
    """Two answers, a stream, and a call that the provider refuses with 429."""
    import openai

    client = openai.OpenAI(max_retries=0)
    for _ in range(2):
        client.chat.completions.create(model=MODEL, messages=says(ASK))
    for _ in client.chat.completions.create(model=MODEL, messages=says(ASK), stream=True, stream_options={"include_usage": True}):
        pass
    try:
        client.chat.completions.create(model=MODEL, messages=says(REFUSE))
    except openai.RateLimitError:
        return
    raise AssertionError("the refused call was answered")
