"""Serves the wine model. What it says of each inference is said by the code of docs/instrumentation.md."""

import json
import os
import sys
import warnings
from http.server import BaseHTTPRequestHandler, HTTPServer

import joblib
from instrumented import infer, judge

port, folder = sys.argv[1:]
model = joblib.load(os.path.join(folder, "wine.joblib"))
warnings.simplefilter("error", UserWarning)  # such as that X does not have valid feature names


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer([])

    def do_POST(self):
        """Takes a list of rows, and answers with the class and the trace of each."""
        answers = []
        for row in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
            wine, context = infer(model, "wine", "1", row)
            judge(context, "wine", "1", "groundedness", 0.95)
            answers.append({"class": int(wine), "trace": format(context.trace_id, "032x")})
        self.answer(answers)

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
