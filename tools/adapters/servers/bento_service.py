"""A Bento whose answer, delay and failure the caller chooses."""

import time

import bentoml


@bentoml.service(workers=1)
class Echo:
    @bentoml.api
    def predict(self, seconds: float = 0.0, fail: bool = False) -> str:
        time.sleep(seconds)
        if fail:
            raise RuntimeError("asked to fail")
        return "ok"
