"""A KServe model whose delay and failure the caller chooses. Arguments: the HTTP port."""

import asyncio
import sys

from kserve import Model, ModelServer


class Echo(Model):
    def __init__(self):
        super().__init__("echo")
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        wanted = payload["instances"][0]
        await asyncio.sleep(wanted.get("seconds", 0))
        if wanted.get("fail"):
            raise RuntimeError("asked to fail")
        return {"predictions": ["ok"]}


ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1).start([Echo()])
