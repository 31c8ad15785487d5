import shared
from opentelemetry.instrumentation.openai import OpenAIInstrumentor

provider = shared.provider()
OpenAIInstrumentor().instrument()
shared.openai_calls()
provider.shutdown()
