"""A model for MLServer whose delay and failure the caller chooses."""

import asyncio

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceResponse


class Echo(MLModel):
    async def load(self) -> bool:
        return True

    async def predict(self, payload):
        wanted = payload.parameters.model_dump() if payload.parameters else {}
        await asyncio.sleep(float(wanted.get("seconds", 0)))
        if wanted.get("fail"):
            raise RuntimeError("asked to fail")
        return InferenceResponse(model_name=self.name, outputs=[StringCodec.encode_output("answer", ["ok"])])
