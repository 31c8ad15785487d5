import os
import time

import litellm
import shared

litellm.callbacks = ["otel"]
asked = {"model": "openai/" + shared.MODEL, "api_base": os.environ["OPENAI_BASE_URL"], "max_retries": 0, "num_retries": 0}
for _ in range(2):
    litellm.completion(messages=shared.says(shared.ASK), **asked)
for _ in litellm.completion(messages=shared.says(shared.ASK), stream=True, stream_options={"include_usage": True}, **asked):
    pass
try:
    litellm.completion(messages=shared.says(shared.REFUSE), **asked)
except litellm.RateLimitError:
    pass
else:
    raise AssertionError("the refused call was answered")
time.sleep(2)  # Its callbacks run in threads of their own.
shared.trace.get_tracer_provider().force_flush()
