"""A Ray Serve application whose delay and failure the caller chooses. Arguments: the HTTP port, the port of the metrics."""

import asyncio
import signal
import sys

import ray
from ray import serve
from starlette.responses import StreamingResponse


@serve.deployment
class Echo:
    async def __call__(self, request):
        wanted = await request.json()
        await asyncio.sleep(wanted.get("seconds", 0))
        if wanted.get("fail"):
            raise RuntimeError("asked to fail")
        if chunks := wanted.get("stream"):
            return StreamingResponse(self.stream(chunks))
        return "ok"

    async def stream(self, chunks):
        for _ in range(chunks):
            yield "ok\n"
            await asyncio.sleep(0.1)


http_port, metrics_port = int(sys.argv[1]), int(sys.argv[2])
ray.init(num_cpus=2, include_dashboard=False, _metrics_export_port=metrics_port, _system_config={"metrics_report_interval_ms": 1000})
serve.start(http_options={"host": "127.0.0.1", "port": http_port})
serve.run(Echo.bind(), name="app", route_prefix="/")
print("serving", flush=True)
signal.pause()
