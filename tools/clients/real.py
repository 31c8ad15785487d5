#!/usr/bin/env python3
"""Holds the model-quality exporter against the clients that people run.

Each client is its newest version from a package registry and asks a stub with the interface of OpenAI: two answers, a stream, and a call
that the stub refuses with 429. It sends its spans as it does by default. What the exporter then counts must be what the stub served, and is
compared, client by client, with the table in docs/instrumentation.md, which --write writes. --show prints the exporter's metrics.

Input: the environments that real.sh installs, bin/modelquality-exporter. Output: one line a client, exit status 1 if the table differs. It
leaves no process behind, and sends nothing beyond this machine.
"""

import argparse
import contextlib
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "instrumentation.md"
BEGIN, END = "<!-- clients: written by make test-clients -->\n", "<!-- end of clients -->\n"
START_SECONDS, RUN_SECONDS, SETTLE_SECONDS = 30, 120, 15
REQUESTED, ANSWERED = "gpt-4o", "gpt-4o-2024-08-06"
FIRST_TOKEN_SECONDS = 0.2


class Client:
    """A program, the environment that it runs in, the package whose version is shown, and the protocol."""

    def __init__(self, name, program, environment, package, *arguments, protocol="http/protobuf", variables=None):
        self.name, self.program, self.environment, self.package = name, program, environment, package
        self.arguments, self.protocol, self.variables = arguments, protocol, variables or {}

    def version(self):
        if self.environment == "js":
            lock = json.loads((HERE / "js" / "package-lock.json").read_text())
            return lock["packages"]["node_modules/" + self.package]["version"]
        found = re.search(rf"^{re.escape(self.package)}==(\S+)", (HERE / f"requirements-{self.environment}.txt").read_text(), re.M)
        return found[1]

    def command(self, environments):
        program = HERE / "programs" / self.program
        if self.environment != "js":
            return [environments / self.environment / "bin" / "python", program, *self.arguments]
        # Node looks for packages beside the program.
        copy = environments / "js" / self.program
        shutil.copy(program, copy)
        return ["node", copy, *self.arguments]


CLIENTS = [
    Client("OpenTelemetry, OpenAI v2", "otel-openai-v2.py", "otel", "opentelemetry-instrumentation-openai-v2"),
    Client("OpenTelemetry, GenAI OpenAI", "otel-genai-openai.py", "genai", "opentelemetry-instrumentation-genai-openai"),
    Client("OpenLLMetry", "openllmetry.py", "openllmetry", "opentelemetry-instrumentation-openai"),
    Client("OpenInference, OpenAI", "openinference-openai.py", "openinference", "openinference-instrumentation-openai"),
    Client("OpenInference, LangChain", "openinference-langchain.py", "openinference", "openinference-instrumentation-langchain"),
    Client("MLflow 3 autologging", "mlflow-autolog.py", "mlflow3", "mlflow-skinny"),
    Client("MLflow 2 autologging", "mlflow-autolog.py", "mlflow2", "mlflow-skinny"),
    Client("Pydantic AI", "pydantic-ai.py", "pydantic", "pydantic-ai-slim"),
    Client("LiteLLM callback", "litellm-callback.py", "litellm", "litellm", variables={"OTEL_EXPORTER": "otlp_http", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}),
    Client("Vercel AI SDK", "vercel-ai-sdk.mjs", "js", "ai"),
    Client("OpenTelemetry JS, http/json", "js-sdk.mjs", "js", "@opentelemetry/exporter-trace-otlp-http", "http/json"),
    Client("OpenTelemetry JS, http/protobuf", "js-sdk.mjs", "js", "@opentelemetry/exporter-trace-otlp-proto", "http/protobuf"),
    Client("OpenTelemetry JS, grpc", "js-sdk.mjs", "js", "@opentelemetry/exporter-trace-otlp-grpc", "grpc", protocol="grpc"),
]


class Provider(http.server.ThreadingHTTPServer):
    """A provider of models. No two answers have the same number of tokens, so that no sum is right by chance."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Call)
        self.lock = threading.Lock()
        self.reset()

    def reset(self):
        self.answered = self.streamed = self.refused = self.input = self.output = 0

    def usage(self, streams):
        with self.lock:
            self.streamed += streams
            self.answered += not streams
            n = 2 ** (self.answered + self.streamed)
            self.input, self.output = self.input + 100 + n, self.output + 10 + n
            return {"prompt_tokens": 100 + n, "completion_tokens": 10 + n, "total_tokens": 110 + 2 * n}


class Call(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        head = {"id": f"chatcmpl-{time.monotonic_ns()}", "created": int(time.time()), "model": ANSWERED}
        if "refuse" in json.dumps(asked["messages"]):
            self.server.refused += 1
            return self.answer(429, {"error": {"message": "slow down", "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}})
        if not asked.get("stream"):
            choice = {"index": 0, "finish_reason": "stop", "logprobs": None, "message": {"role": "assistant", "content": "Paris", "refusal": None}}
            return self.answer(200, {**head, "object": "chat.completion", "choices": [choice], "usage": self.server.usage(False)})
        time.sleep(FIRST_TOKEN_SECONDS)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        head["object"] = "chat.completion.chunk"

        def send(delta, finish=None):
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            self.event(json.dumps({**head, "choices": [choice], "usage": None}))

        send({"role": "assistant", "content": ""})
        send({"content": "Pa"})
        send({"content": "ris"})
        send({}, "stop")
        usage = self.server.usage(True)
        if (asked.get("stream_options") or {}).get("include_usage"):
            self.event(json.dumps({**head, "choices": [], "usage": usage}))
        self.event("[DONE]")
        self.close_connection = True

    def event(self, text):
        self.wfile.write(f"data: {text}\n\n".encode())
        self.wfile.flush()

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Exporter:
    """A model-quality exporter, which begins with every client."""

    def __init__(self, binary, folder):
        self.http, self.grpc, self.web = free_port(), free_port(), free_port()
        config = folder / "sightglass.yaml"
        config.write_text(
            f"otlp: {{grpc: '127.0.0.1:{self.grpc}', http: '127.0.0.1:{self.http}'}}\n"
            f"baseline_store: {{type: FILESYSTEM, config: {{directory: {folder}/baselines}}}}\n"
        )
        self.log = open(folder / "exporter.log", "w+", encoding="utf-8")
        command = [binary, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{self.web}"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT, cwd=folder)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                self.metrics()
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                self.log.seek(0)
                raise SystemExit("the exporter does not start:\n" + self.log.read())
            time.sleep(0.1)

    def metrics(self):
        """What a scrape says of models: a list of name, labels and value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.findall(r"^(ml_\w+|sightglass_otlp_\w+)\{(.*)\} (\S+)", text, re.M)
        return [(name, dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels)), float(value)) for name, labels, value in found]

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=START_SECONDS)


def total(metrics, name, **labels):
    """The sum of the series with those labels, or None where there is none."""
    values = [v for n, of, v in metrics if n == name and all(of.get(k) == want for k, want in labels.items())]
    return sum(values) if values else None


ASPECTS = ["calls", "streamed call", "refused call", "tokens", "first token", "model and version"]


def compare(metrics, served):
    """Says of each aspect whether it is as the provider saw it, or how it differs."""
    requests = {o: total(metrics, "ml_inference_requests_total", outcome=o) or 0 for o in ("ok", "error", "timeout", "fallback", "rejected", "cancelled")}
    tokens = [total(metrics, "ml_inference_tokens_total", direction=d) for d in ("input", "output")]
    first, seconds = (total(metrics, "ml_inference_time_to_first_token_seconds_" + x) for x in ("count", "sum"))
    names = {(of["model"], of["version"]) for n, of, v in metrics if n == "ml_inference_requests_total" and v}
    ok = served.answered + served.streamed
    yes = "✓"
    return {
        "calls": yes if requests["ok"] >= served.answered and sum(requests.values()) <= ok + served.refused else f"{requests['ok']:.0f} of {ok}",
        "streamed call": yes if requests["ok"] == ok else f"{requests['ok'] - served.answered:.0f} of {served.streamed}",
        "refused call": yes if requests["rejected"] == served.refused else ", ".join(o for o in requests if o != "ok" and requests[o]) or "not sent",
        "tokens": yes if tokens == [served.input, served.output] else "not sent" if tokens == [None, None]
        else "not of a stream" if tokens == [102 + 104, 12 + 14] else f"{tokens} of {[served.input, served.output]}",
        "first token": yes if first == served.streamed and FIRST_TOKEN_SECONDS <= seconds < 20 * FIRST_TOKEN_SECONDS else "not sent" if first is None else f"{first:.0f} calls, {seconds:.3f} s",
        "model and version": named(names),
    }


def named(names):
    """Says which models and versions the calls were counted under. One whose answer's name was not sent has no version."""
    if {model for model, _ in names} == {REQUESTED} and {version for _, version in names} <= {ANSWERED, ""}:
        return {1: "version not sent", 2: "version of some calls not sent"}[len(names)] if (REQUESTED, "") in names else "✓"
    return ", ".join(f"{model} {version}".rstrip() for model, version in sorted(names)) or "none"


def run(client, binary, environments, provider, show):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        exporter = Exporter(binary, folder)
        try:
            provider.reset()
            endpoint = f"http://127.0.0.1:{exporter.grpc if client.protocol == 'grpc' else exporter.http}"
            environment = {
                "PATH": os.environ["PATH"], "HOME": name, "OTEL_SERVICE_NAME": "assistant", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint + ("" if client.protocol == "grpc" else "/v1/traces"),
                "OTEL_EXPORTER_OTLP_PROTOCOL": client.protocol, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": client.protocol, "OPENAI_API_KEY": "sk-test",
                "OPENAI_BASE_URL": f"http://127.0.0.1:{provider.server_port}/v1", "NO_PROXY": "127.0.0.1", "MLFLOW_TRACKING_URI": f"file://{name}/mlruns",
                "OTEL_EXPORTER_OTLP_INSECURE": "true", "PYTHONDONTWRITEBYTECODE": "1", "DO_NOT_TRACK": "1", "MLFLOW_DISABLE_TELEMETRY": "true", **client.variables,
            }
            done = subprocess.run(client.command(environments), env=environment, cwd=folder, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
            if done.returncode:
                raise SystemExit(f"{client.name} failed:\n{done.stdout}{done.stderr}")
            if (provider.answered, provider.streamed, provider.refused) != (2, 1, 1):
                raise SystemExit(f"{client.name} asked for {provider.answered} answers, {provider.streamed} streams and {provider.refused} refusals, expected 2, 1 and 1")
            before, deadline = None, time.monotonic() + SETTLE_SECONDS
            while (metrics := exporter.metrics()) != before or not total(metrics, "ml_inference_requests_total"):
                if time.monotonic() > deadline:
                    break
                before = metrics
                time.sleep(0.5)
            if show:
                print(done.stdout, done.stderr, *(f"{n}{of} {v}" for n, of, v in metrics if "bucket" not in n), sep="\n")
            return compare(metrics, provider)
        finally:
            exporter.stop()


def row(client, found):
    return "| " + " | ".join([client.name, f"`{client.package}` {client.version()}", *(found[a] for a in ASPECTS)]) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exporter", type=pathlib.Path, default=ROOT / "bin" / "modelquality-exporter")
    parser.add_argument("--environments", type=pathlib.Path, default=ROOT / "bin" / "clients")
    parser.add_argument("--environment", action="append", help="of the clients in this environment; may be given again")
    parser.add_argument("--only", help="of the clients with this text in their name")
    parser.add_argument("--show", action="store_true", help="print what the clients and the exporter say")
    parser.add_argument("--write", action="store_true", help="write the table of docs/instrumentation.md")
    o = parser.parse_args()
    provider = Provider()
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    page = PAGE.read_text()
    head, rest = page.split(BEGIN)
    table, tail = rest.split(END)
    rows = ["| client | package | " + " | ".join(ASPECTS) + " |", "|---|---|" + "---|" * len(ASPECTS)]
    differs = left_out = False
    for client in CLIENTS:
        if o.only and o.only.lower() not in client.name.lower() or o.environment and client.environment not in o.environment:
            left_out = True
            continue
        began = time.monotonic()
        line = row(client, run(client, o.exporter, o.environments, provider, o.show))
        rows.append(line)
        documented = line in table.splitlines()
        differs = differs or not documented
        print(f"{'same' if documented else 'DIFFERS'} ({time.monotonic() - began:.1f} s): {line}", flush=True)
    if o.write and not left_out:
        PAGE.write_text(head + BEGIN + "\n".join(rows) + "\n" + END + tail)
        return 0
    if differs:
        print("docs/instrumentation.md says otherwise: make test-clients ARGS=--write writes its table anew", file=sys.stderr)
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())
