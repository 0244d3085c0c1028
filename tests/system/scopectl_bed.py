"""What the tests of scopectl share.

Everything it talks to is made here, on ports of their own: origins, and an admin interface that
answers in the contract's shapes.  SCOPECTL names the program (default: ./scopectl in the current
folder).
"""
import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import unittest
import urllib.parse

# Who runs us in the background of a script has these ignored, and what we start would inherit it.
for _number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

SCOPECTL = os.path.abspath(os.environ.get("SCOPECTL", "./scopectl"))
TIMEOUT = 60


class Handler(http.server.BaseHTTPRequestHandler):
    """Tells what it got; /status/N answers N, /bytes/N sends N bytes, /problem a problem document."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def read_body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while True:
                size = int(self.rfile.readline().strip(), 16)
                body += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def send(self, status, body, kind="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Scope-Served-By", "dc2")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer(self):
        body = self.read_body()
        self.server.seen.append((self.command, self.path, list(self.headers.items()), body))
        path = urllib.parse.urlsplit(self.path).path
        if path.startswith("/status/"):
            self.send(int(path[8:]), b"x\n", "text/plain")
        elif path == "/problem":
            self.send(503, json.dumps({"type": "urn:scopemesh:no-instance", "title": "No instance",
                                       "status": 503, "detail": "nobody is at home"}).encode(),
                      "application/problem+json")
        elif path.startswith("/bytes/"):
            self.send(200, b"\xa5" * int(path[7:]), "application/octet-stream")
        elif path == "/until-close":
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + b"z" * 100000)
            self.close_connection = True
        elif path == "/cut":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
            self.close_connection = True
        else:
            scopes = self.headers.get_all("X-Scope") or []
            self.send(200, json.dumps({"method": self.command, "path": self.path, "scopes": scopes,
                                       "host": self.headers.get("Host"),
                                       "length": len(body)}).encode())

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = answer


SITES = {"site": "dc1", "sites": [
    {"name": "dc1", "state": "connected", "rtt_ms": 0, "labels": {"region": "eu"},
     "services": ["image"], "mesh": "127.0.1.1:7400", "last_seen": None, "queued": 0,
     "fenced_by": None},
    {"name": "dc2", "state": "disconnected", "rtt_ms": None, "labels": {}, "services": [],
     "mesh": "127.0.2.1:7400", "last_seen": "2026-01-31T12:00:00.123Z", "queued": 2,
     "fenced_by": None}]}
SERVICES = {"services": [{"service": "image", "site": "dc1", "instances": [
    {"url": "http://127.0.1.1:19292", "health": "up", "load": 1, "since": None}]}]}


class AdminHandler(Handler):
    """GET answers of the admin interface."""

    def answer(self):
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
        self.server.seen.append((self.command, self.path, list(self.headers.items()), b""))
        if url.path == "/readyz":
            self.send(self.server.ready, json.dumps({"title": "not ready"}).encode())
        elif url.path == "/v1/sites":
            self.send(200, json.dumps(SITES).encode())
        elif url.path == "/v1/services":
            self.send(200, json.dumps(SERVICES).encode())
        elif url.path == "/v1/scope/explain":
            self.explain(query["scope"][0])
        else:
            self.send(404, b"{}")

    def explain(self, text):
        if "dc9" in text:
            self.send(400, json.dumps({
                "type": "urn:scopemesh:unknown-site", "title": "Unknown site", "status": 400,
                "detail": "no site dc9", "caret": [text, " " * text.index("dc9") + "^"],
                "known": ["dc1", "dc2"], "nearest": "dc1"}).encode(), "application/problem+json")
            return
        self.send(200, json.dumps({"canonical": text, "tree": {}, "bindings": [
            {"service": "image", "location": "dc1", "expansion": "dc1",
             "sites": [{"site": "dc1", "state": "connected", "rtt_ms": 0.25,
                        "addresses": ["127.0.1.1:7400"]}],
             "notes": ["a note for " + text]}]}).encode())

    do_GET = answer


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass


def serve(case, handler=Handler, context=None):
    server = Server(("127.0.0.1", 0), handler)
    server.seen = []
    server.ready = 200
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    case.addCleanup(server.server_close)
    case.addCleanup(server.shutdown)
    server.url = "http://127.0.0.1:%d" % server.server_address[1]
    return server


def free_port():
    with contextlib.closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def clean_environment(**more):
    drop = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "scopemesh_admin", "no_color", "baggage")
    env = {k: v for k, v in os.environ.items() if k.lower() not in drop}
    env.update(more)
    return env


def scopectl(*args, stdin=b"", text=True, **env):
    done = subprocess.run([SCOPECTL, *args], input=stdin, capture_output=True, timeout=TIMEOUT,
                          env=clean_environment(**env), check=False)
    if text:
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


class Base(unittest.TestCase):
    def expect(self, done, status):
        self.assertEqual(done.returncode, status, (done.stdout, done.stderr))
        return done


def main(module):
    """Runs the tests of the module, or those whose names hold a word of the command line."""
    loader = unittest.defaultTestLoader
    loader.testNamePatterns = ["*%s*" % word for word in sys.argv[1:]] or None
    suite = loader.loadTestsFromModule(sys.modules[module])
    result = unittest.TextTestRunner(verbosity=int(os.environ.get("VERBOSE", "1"))).run(suite)
    failed = len(result.failures) + len(result.errors)
    for _, reason in result.skipped:
        print("skipped: " + reason)
    print("%d passed, %d failed, %d skipped" % (
        result.testsRun - failed - len(result.skipped), failed, len(result.skipped)))
    return 1 if failed else 0
