// A service that writes the spans of its calls itself, over the protocol that the first argument names.
import { SpanStatusCode } from "@opentelemetry/api";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";

const packages = { "http/json": "http", "http/protobuf": "proto", grpc: "grpc" };
const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-" + packages[process.argv[2]]);
const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())] });
const tracer = provider.getTracer("assistant");

async function call(content, stream = false) {
  const span = tracer.startSpan("chat");
  span.setAttributes({ "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o" });
  try {
    const answer = await fetch(process.env.OPENAI_BASE_URL + "/chat/completions", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content }], stream, stream_options: { include_usage: true } }),
    });
    if (!answer.ok) throw Object.assign(new Error("refused"), { name: answer.status === 429 ? "RateLimitError" : "Error" });
    let last;
    if (stream) {
      let text = "";
      for await (const part of answer.body) {
        if (!text) span.addEvent("first_token");
        text += Buffer.from(part).toString();
      }
      const chunks = text.split("\n\n").filter((c) => c.startsWith("data: {"));
      last = JSON.parse(chunks.at(-1).slice("data: ".length));
    } else {
      last = await answer.json();
    }
    span.setAttributes({
      "gen_ai.response.model": last.model,
      "gen_ai.usage.input_tokens": last.usage.prompt_tokens,
      "gen_ai.usage.output_tokens": last.usage.completion_tokens,
    });
  } catch (error) {
    span.recordException(error);
    span.setStatus({ code: SpanStatusCode.ERROR });
  } finally {
    span.end();
  }
}

await call("What is the capital of France?");
await call("What is the capital of France?");
await call("What is the capital of France?", true);
await call("refuse this call");
await provider.shutdown();
