import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";

const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())] });
provider.register();
const openai = createOpenAICompatible({ name: "openai", baseURL: process.env.OPENAI_BASE_URL, apiKey: process.env.OPENAI_API_KEY, includeUsage: true });
const asked = { model: openai("gpt-4o"), maxRetries: 0, experimental_telemetry: { isEnabled: true } };
for (let i = 0; i < 2; i++) await generateText({ ...asked, prompt: "What is the capital of France?" });
for await (const _ of streamText({ ...asked, prompt: "What is the capital of France?" }).textStream);
let refused = false;
try {
  await generateText({ ...asked, prompt: "refuse this call" });
} catch {
  refused = true;
}
if (!refused) throw new Error("the refused call was answered");
await provider.shutdown();
