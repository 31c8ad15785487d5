"""ClickHouse's HTTP interface in front of chdb, which is ClickHouse's engine as a library.

It takes the file to write its port to, and serves what a Go driver needs: statements in the body, settings and
parameters in the address, a user with a password, answers in the Native format, and errors with ClickHouse's code.
"""

import os
import re
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from chdb import ChdbError
from chdb.session import Session

session = Session(tempfile.mkdtemp(dir="."))
one_at_a_time = threading.Lock()

# What the protocol says about a request beside the settings of its query.
PROTOCOL = {"database", "default_format", "client_protocol_version", "query", "query_id", "session_id", "wait_end_of_query"}


def hello():
    """Answer a driver's first question with protocol revision 0, the only one that the library writes.

    The driver cannot know that yet: it reads this first answer in its own newest revision, which adds a preamble to
    the block and a byte to every column.
    """
    columns = [
        ("displayName()", "String", b"\x04chdb"),
        ("version()", "String", session.query("SELECT version()", "Native").bytes().split(b"String", 1)[1]),
        ("revision()", "UInt32", bytes(4)),
        ("timezone()", "String", b"\x03UTC"),
    ]
    block = b"\x01\x00\x02\xff\xff\xff\xff\x00" + bytes([len(columns), 1])
    for name, kind, value in columns:
        block += bytes([len(name)]) + name.encode() + bytes([len(kind)]) + kind.encode() + b"\x00" + value
    return block


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        statement = parameters.get("query", "") + body
        try:
            self.authenticate()
            self.answer(200, self.run(statement, parameters))
        except ChdbError as error:
            code = re.search(r"Code: (\d+)", str(error))
            self.answer(500, str(error).encode(), {"X-ClickHouse-Exception-Code": code[1] if code else "1002"})

    def authenticate(self):
        if self.headers.get("Authorization") == "Basic c2lnaHRnbGFzczpjb3JyZWN0LWhvcnNl":
            return
        if (self.headers.get("X-ClickHouse-User"), self.headers.get("X-ClickHouse-Key")) == ("sightglass", "correct-horse"):
            return
        raise ChdbError("Code: 516. DB::Exception: Authentication failed: password is incorrect. (AUTHENTICATION_FAILED)")

    def run(self, statement, parameters):
        if statement.startswith("SELECT displayName()"):
            return hello()
        settings = {name: value for name, value in parameters.items() if name not in PROTOCOL}
        with one_at_a_time:
            try:
                for name, value in settings.items():
                    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
                    session.query(f"SET {name} = '{quoted}'")
                return session.query(statement, parameters.get("default_format", "TabSeparated")).bytes()
            finally:
                for name in settings:
                    if not name.startswith("param_"):
                        session.query(f"SET {name} = DEFAULT")

    def answer(self, status, body, headers={}):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(sys.argv[1] + ".new", "w") as file:
    file.write(str(server.server_port))
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
