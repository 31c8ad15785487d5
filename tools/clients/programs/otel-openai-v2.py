import shared
from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor

provider = shared.provider()
OpenAIInstrumentor().instrument()
shared.openai_calls()
provider.shutdown()
