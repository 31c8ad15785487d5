import shared
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

provider = shared.provider()
OpenAIInstrumentor().instrument()
shared.openai_calls()
provider.shutdown()
