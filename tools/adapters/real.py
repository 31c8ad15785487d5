#!/usr/bin/env python3
"""Holds the adapters against real servers.

Each server is started with a trivial model and asked a known number of times: answers, slow answers, failures, callers who hang up, and where the
server streams, streams that are read to their end and streams that are left after their first part.
Its metrics are scraped once and become the input of promtool, which evaluates the rules of its adapter; what they record must be what the
caller counted and timed. With --save DIR the scrape is kept.

Input: the virtual environments that real.sh installs, the rules, promtool. Output: one line a server, exit status 1 if one differs. It leaves no
process behind, and sends nothing beyond this machine.
"""

import argparse
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
START_SECONDS = 180


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def call(port, path, body=None, hang_up_after=None, leave=False, timeout=30):
    """Returns the status and the seconds it took; a caller who hangs up, or leaves after the first part of a stream, has the status None."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=hang_up_after or timeout)
    try:
        headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-test"}
        connection.request("POST" if body is not None else "GET", path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        if leave and response.status == 200 and response.readline():
            return None, time.monotonic() - began
        response.read()
        return response.status, time.monotonic() - began
    except TimeoutError:
        return None, time.monotonic() - began
    finally:
        connection.close()


class Stub(http.server.BaseHTTPRequestHandler):
    """A provider with the interface of OpenAI: the prompt is the wanted behaviour as JSON."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        wanted = json.loads(asked["messages"][-1]["content"])
        time.sleep(wanted.get("seconds", 0))
        if chunks := wanted.get("stream"):
            return self.stream(chunks)
        failed = wanted.get("fail")
        answer = {"error": {"message": "asked to fail", "type": "server_error"}} if failed else {
            "id": "1", "object": "chat.completion", "created": 0, "model": "stub",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }
        body = json.dumps(answer).encode()
        with contextlib.suppress(ConnectionError):
            self.send_response(500 if failed else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def stream(self, chunks):
        head = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "stub"}
        with contextlib.suppress(ConnectionError):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for n in range(1, chunks + 1):
                choice = {"index": 0, "delta": {"role": "assistant", "content": "ok "}, "finish_reason": "stop" if n == chunks else None}
                self.wfile.write(f"data: {json.dumps(head | {'choices': [choice]})}\n\n".encode())
                self.wfile.flush()
                time.sleep(CHUNK_SECONDS)
            usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
            self.wfile.write(f"data: {json.dumps(head | {'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n".encode())
        self.close_connection = True

    def log_message(self, *_):
        pass


class Server:
    """One server: how it is started, asked and scraped, and what its adapter must record."""

    settle_seconds = 2
    metrics_path = "/metrics"
    adapter = metrics = model = package = ""
    # Whether the server stops when its caller hangs up, counts a stream that is left as cancelled, and times what does not succeed.
    stops = streams = counts_left = False
    times_failures = times_cancelled = True

    def __init__(self, folder, environment):
        self.folder, self.bin = folder, environment / "bin"
        self.port, self.metrics_port = free_port(), 0
        self.metrics_port = self.port

    def command(self):
        raise NotImplementedError

    def ready(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return call(self.port, self.ready_path, timeout=2)[0] == 200
        return False

    def environment(self):
        return {}

    def expected(self, seen, took):
        """What must be recorded: an expression, its value, and how far off it may be."""
        total = sum(seen.values())
        of_model = f'model="{self.model}"'
        left = seen.get("left", 0)
        timed = total - (0 if self.times_failures else seen["failed"]) - (0 if self.times_cancelled else seen["cancelled"])
        hung_up = left * CHUNK_SECONDS
        if self.times_cancelled:
            hung_up += seen["cancelled"] * (HANG_UP_SECONDS if self.stops else CANCELLED_SECONDS)
        cancelled = (seen["cancelled"] if self.stops else 0) + (left if self.counts_left else 0)
        yield f"300 * sum(model:ml_inference_requests:rate5m{{{of_model}}})", total, 0.001
        yield f'sum(model:ml_inference_failures:ratio_rate5m{{{of_model},outcome="error"}})', seen["failed"] / total, 1e-6
        yield f'sum(model:ml_inference_failures:ratio_rate5m{{{of_model},outcome!="error"}} or vector(0))', 0, 1e-6
        yield f"sum(model:ml_inference_cancelled:ratio_rate5m{{{of_model}}} or vector(0))", cancelled / total, 1e-6
        yield f"sum(model:ml_inference_duration_seconds:mean_5m{{{of_model}}})", (sum(took) + hung_up) / timed, 0.06
        # No other model, no probe: nothing else has traffic.
        yield "count(model:ml_inference_requests:rate5m > 0)", 1, 0


class LiteLLM(Server):
    package, stops, streams, times_failures, times_cancelled = "litellm", True, True, False, False
    adapter, metrics, model, ready_path = "litellm", "litellm_", "stub", "/health/liveliness"
    metrics_path = "/metrics/"

    def command(self):
        provider = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
        threading.Thread(target=provider.serve_forever, daemon=True).start()
        config = {
            "model_list": [{"model_name": "stub", "litellm_params": {
                "model": "openai/stub", "api_key": "none", "api_base": f"http://127.0.0.1:{provider.server_port}/v1"}}],
            "litellm_settings": {"callbacks": ["prometheus"], "num_retries": 0, "require_auth_for_metrics_endpoint": False},
            "general_settings": {"dangerously_permit_weak_or_unset_master_key": True, "cancel_on_disconnect": True},
            "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        }
        (self.folder / "config.yaml").write_text(json.dumps(config))
        return ["litellm", "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(self.port)]

    def environment(self):
        return {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}

    def ask(self, wanted, **kw):
        return call(self.port, "/v1/chat/completions", {"model": "stub", "stream": "stream" in wanted, "messages": [{"role": "user", "content": json.dumps(wanted)}]}, **kw)

    def expected(self, seen, took):
        yield from super().expected(seen, took)
        answered, left = seen["ok"] + seen["slow"] + seen["streamed"], seen["left"]
        # What a stream that is left has cost is counted by the proxy's own tokenizer.
        yield '300 * sum(model:ml_inference_tokens:rate5m{model="stub",direction="input"})', 10 * answered + 15 * left, 10 * left
        yield '300 * sum(model:ml_inference_tokens:rate5m{model="stub",direction="output"})', 5 * answered + 2.5 * left, 2.5 * left
        yield 'sum(model:ml_inference_time_to_first_token_seconds:p95_5m{model="stub"}) < bool 0.25', 1, 0
        yield 'sum(model:ml_inference_queue_wait_seconds:mean_5m{model="stub"}) < bool 1', 1, 0


class BentoML(Server):
    package = "bentoml"
    adapter, metrics, model, ready_path = "bentoml", "bentoml_service_", "Echo", "/readyz"

    def command(self):
        shutil.copy(HERE / "servers" / "bento_service.py", self.folder)
        return ["bentoml", "serve", "bento_service:Echo", "--host", "127.0.0.1", "--port", str(self.port)]

    def environment(self):
        return {"BENTOML_HOME": str(self.folder / "home"), "BENTOML_DO_NOT_TRACK": "True"}

    def ask(self, wanted, **kw):
        return call(self.port, "/predict", wanted, **kw)


class MLServer(Server):
    package = "mlserver"
    adapter, metrics, model, ready_path = "mlserver", "model_infer_", "echo", "/v2/models/echo/ready"

    def command(self):
        shutil.copy(HERE / "servers" / "mlserver_model.py", self.folder)
        self.metrics_port = free_port()
        settings = {"host": "127.0.0.1", "http_port": self.port, "grpc_port": free_port(), "metrics_port": self.metrics_port, "parallel_workers": 0}
        (self.folder / "settings.json").write_text(json.dumps(settings))
        (self.folder / "model-settings.json").write_text(json.dumps({"name": "echo", "implementation": "mlserver_model.Echo"}))
        return ["mlserver", "start", "."]

    def ask(self, wanted, **kw):
        return call(self.port, "/v2/models/echo/infer", {"parameters": wanted, "inputs": []}, **kw)


class Ray(Server):
    package, stops, streams, counts_left = "ray", True, True, True
    adapter, metrics, model, ready_path = "rayserve", "ray_serve_", "app/Echo", "/-/healthz"
    settle_seconds = 15

    def command(self):
        self.metrics_port = free_port()
        return ["python", str(HERE / "servers" / "ray_app.py"), str(self.port), str(self.metrics_port)]

    def environment(self):
        return {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}

    def ready(self):
        return super().ready() and b"serving" in (self.folder / "log").read_bytes()

    def ask(self, wanted, **kw):
        return call(self.port, "/", wanted, **kw)


class KServe(Server):
    package = "kserve"
    adapter, metrics, model, ready_path = "kserve", "request_(preprocess|predict|postprocess|explain)_seconds", "echo", "/v2/models/echo/ready"

    def command(self):
        return ["python", str(HERE / "servers" / "kserve_model.py"), str(self.port)]

    def ask(self, wanted, **kw):
        return call(self.port, "/v1/models/echo:predict", {"instances": [wanted]}, **kw)

    def expected(self, seen, took):
        yield from super().expected(seen, took)
        hung_up = seen["cancelled"] * CANCELLED_SECONDS
        yield 'sum(model:ml_inference_forward_pass_seconds:mean_5m{model="echo"})', (sum(took) + hung_up) / sum(seen.values()), 0.06


SERVERS = {"litellm": LiteLLM, "bentoml": BentoML, "mlserver": MLServer, "ray": Ray, "kserve": KServe}

HANG_UP_SECONDS, CANCELLED_SECONDS, CHUNK_SECONDS = 0.3, 2.0, 0.1
KINDS = (("ok", 12, {}), ("slow", 2, {"seconds": 0.6}), ("failed", 4, {"fail": True}), ("cancelled", 2, {"seconds": CANCELLED_SECONDS}))
STREAMED_KINDS = (("streamed", 3, {"stream": 3}), ("left", 3, {"stream": 30}))


def ask_all(server):
    """Returns how many of each kind were asked, and the seconds of those that were answered."""
    seen, took = {}, []
    for kind, count, wanted in KINDS + (STREAMED_KINDS if server.streams else ()):
        for _ in range(count):
            status, seconds = server.ask(wanted, hang_up_after=HANG_UP_SECONDS if kind == "cancelled" else None, leave=kind == "left")
            if not {"failed": status is not None and status >= 500, "cancelled": status is None, "left": status is None}.get(kind, status == 200):
                raise RuntimeError(f"a request meant to be {kind} ended with status {status}")
            if kind in ("ok", "slow", "streamed"):
                took.append(seconds)
            if kind == "cancelled":
                time.sleep(CANCELLED_SECONDS)  # It may run to its end, and the next one is not to wait for it.
            seen[kind] = seen.get(kind, 0) + 1
    return seen, took


def scrape(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.metrics_port, timeout=10)
    connection.request("GET", server.metrics_path)
    return connection.getresponse().read().decode()


def wanted_lines(text, prefix):
    """Keeps the families of the adapter, without what is made of them for other tools."""
    return [line for line in text.splitlines() if re.match(rf"(# (HELP|TYPE) )?{prefix}", line) and not re.search(r"_created(\{| |$)", line)]


def run(name, arguments):
    with tempfile.TemporaryDirectory(prefix=f"sightglass-{name}-") as folder:
        folder = pathlib.Path(folder)
        server = SERVERS[name](folder, arguments.environments / name)
        command = server.command()
        command[0] = str(server.bin / command[0])
        environment = os.environ | server.environment() | {"PATH": f"{server.bin}:{os.environ['PATH']}", "HOME": str(folder)}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not server.ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{name} did not start within {START_SECONDS} s:\n{(folder / 'log').read_text()[-3000:]}")
                time.sleep(0.5)
            seen, took = ask_all(server)
            time.sleep(server.settle_seconds)
            lines = wanted_lines(scrape(server), server.metrics)
        except Exception:
            print((folder / "log").read_text()[-2000:], file=sys.stderr)
            raise
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    version = (arguments.environments / name / "lib").glob(f"python*/site-packages/{server.package}-*.dist-info")
    head = [
        f"# server: {name} {next(version).name.split('-')[1].removesuffix('.dist')}",
        f"# defined in: the package {server.package} of PyPI",
        f"# origin: real capture, by make test-adapters-real: {', '.join(f'{count} {kind}' for kind, count in seen.items())}",
    ]
    if arguments.save:
        (arguments.save / f"{name}-real.prom").write_text("\n".join(head + lines) + "\n")
    return compare(name, server, seen, took, lines, arguments.promtool)


def series(lines):
    """Returns the scrape as promtool's input: what is counted grows by its value in five minutes, everything else stands still."""
    kinds, out = {}, []
    for line in lines:
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split()
            kinds[family] = kind
        if line.startswith("#"):
            continue
        sample, value = line.rsplit(" ", 1)
        name = sample.split("{")[0]
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        counts = kinds.get(name) == "counter" or kinds.get(family) in ("histogram", "summary")
        with contextlib.suppress(ValueError):
            number = float(value)
            if abs(number) < 1e15:
                out.append({"series": sample, "values": f"0+{number / 4:.12g}x20" if counts else f"{number:.12g}x20"})
    return out


def compare(name, server, seen, took, lines, promtool):
    """Evaluates the rules of the adapter, and returns whether what they record is what the caller saw."""
    tests = [{"expr": f"abs(({expression}) - {value!r}) <= bool {tolerance!r}", "eval_time": "10m", "exp_samples": [{"labels": "{}", "value": 1}]}
             for expression, value, tolerance in server.expected(seen, took)]
    test = {
        "rule_files": [str(ROOT / "rules" / "adapters" / f"{server.adapter}.yaml")],
        "evaluation_interval": "75s",
        "tests": [{"interval": "75s", "input_series": series(lines), "promql_expr_test": tests}],
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(test, file)  # JSON is YAML.
        file.flush()
        result = subprocess.run([promtool, "test", "rules", file.name], capture_output=True, text=True)
    same = result.returncode == 0
    print(f"{name}: {'the same' if same else 'DIFFERS'}: {', '.join(f'{count} {kind}' for kind, count in seen.items())}; {len(tests)} comparisons", flush=True)
    if not same:
        print(result.stdout + result.stderr, file=sys.stderr)
    return same


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=pathlib.Path, default=ROOT / "bin" / "adapters", help="where the servers are installed")
    parser.add_argument("--promtool", default=ROOT / "bin" / "tools" / "promtool")
    parser.add_argument("--save", type=pathlib.Path, help="folder for the scrapes")
    parser.add_argument("servers", nargs="*", help=f"of {', '.join(SERVERS)}; all by default")
    arguments = parser.parse_args()
    unknown = set(arguments.servers) - set(SERVERS)
    if unknown:
        parser.error(f"unknown servers {sorted(unknown)}; there are {list(SERVERS)}")
    results = [run(name, arguments) for name in arguments.servers or SERVERS]
    sys.exit(0 if all(results) else 1)
