import openai
import shared
from langchain_openai import ChatOpenAI
from openinference.instrumentation.langchain import LangChainInstrumentor

provider = shared.provider()
LangChainInstrumentor().instrument(tracer_provider=provider)
model = ChatOpenAI(model=shared.MODEL, max_retries=0, stream_usage=True)
for _ in range(2):
    model.invoke(shared.ASK)
for _ in model.stream(shared.ASK):
    pass
try:
    model.invoke(shared.REFUSE)
except openai.RateLimitError:
    pass
else:
    raise AssertionError("the refused call was answered")
provider.shutdown()
