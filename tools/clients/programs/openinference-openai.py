import shared
from openinference.instrumentation.openai import OpenAIInstrumentor

provider = shared.provider()
OpenAIInstrumentor().instrument(tracer_provider=provider)
shared.openai_calls()
provider.shutdown()
