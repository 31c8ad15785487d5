import asyncio

import shared
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
import openai

provider = shared.provider()
Agent.instrument_all()
client = openai.AsyncOpenAI(max_retries=0)
agent = Agent(OpenAIChatModel(shared.MODEL, provider=OpenAIProvider(openai_client=client)))


async def calls():
    for _ in range(2):
        await agent.run(shared.ASK)
    async with agent.run_stream(shared.ASK) as answer:
        async for _ in answer.stream_text():
            pass
    try:
        await agent.run(shared.REFUSE)
    except ModelHTTPError:
        return
    raise AssertionError("the refused call was answered")


asyncio.run(calls())
provider.shutdown()
