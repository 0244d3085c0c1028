#!/usr/bin/python3
"""scopectl as a person or script meets it: exit statuses, explain, request, run.

Everything it talks to is made here, on ports of their own: origins, a TLS origin, and an admin
interface that answers in the contract's shapes.  SCOPECTL names the program (default: ./scopectl
in the current folder).
"""
import base64
import contextlib
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

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


class Verbs(Base):
    def test_help_lists_the_verbs_of_this_version_only(self):
        for args in (["help"], ["--help"]):
            out = self.expect(scopectl(*args), 0).stdout
            for verb in ("status", "sites", "services", "explain", "request", "run"):
                self.assertRegex(out, r"(?m)^  %s " % verb)
            self.assertNotIn("doctor", out)
        self.assertIn("--map", self.expect(scopectl("run", "--help"), 0).stdout)
        self.assertIn("--map", self.expect(scopectl("help", "run"), 0).stdout)

    def test_version(self):
        self.assertRegex(self.expect(scopectl("--version"), 0).stdout, r"^scopectl \d+\.\d+")

    def test_wrong_usage(self):
        self.expect(scopectl(), 2)
        self.assertIn("did you mean sites?", self.expect(scopectl("stes"), 2).stderr)
        for verb in ("doctor", "replicas", "queue", "watch", "ca", "completion"):
            self.assertIn("not in this version", self.expect(scopectl(verb), 2).stderr)
        self.assertIn("--admin", self.expect(scopectl("sites", "--admn", "x"), 2).stderr)
        self.assertIn("-q", self.expect(scopectl("sites", "-q"), 2).stderr)
        self.expect(scopectl("sites", "extra"), 2)
        self.expect(scopectl("sites", "--admin"), 2)
        self.expect(scopectl("explain"), 2)


class Admin(Base):
    def test_tables_from_the_environment_or_the_option(self):
        admin = serve(self, AdminHandler)
        out = self.expect(scopectl("sites", SCOPEMESH_ADMIN=admin.url), 0).stdout
        self.assertRegex(out, r"(?m)^dc1\* +connected +0\.0 ms +image +region=eu +127\.0\.1\.1:7400")
        self.assertRegex(out, r"(?m)^dc2 +disconnected +- ")
        self.assertNotIn("\033", out)
        out = self.expect(scopectl("--admin", admin.url, "services"), 0).stdout
        self.assertRegex(out, r"(?m)^image +dc1 +http://127\.0\.1\.1:19292 +up +1 ")
        out = self.expect(scopectl("status", "--admin", admin.url + "/"), 0).stdout
        self.assertRegex(out, r"(?m)^sites +2 \(1 connected, 1 disconnected\)$")
        self.assertRegex(out, r"(?m)^ready +yes$")

    def test_json_is_printed_as_it_came(self):
        admin = serve(self, AdminHandler)
        out = self.expect(scopectl("--json", "sites", SCOPEMESH_ADMIN=admin.url), 0).stdout
        self.assertEqual(out, json.dumps(SITES))
        out = self.expect(scopectl("status", "--json", SCOPEMESH_ADMIN=admin.url), 0).stdout
        self.assertEqual(json.loads(out), {"ready": True, "sites": SITES, "services": SERVICES})

    def test_a_daemon_that_is_not_ready_fails(self):
        admin = serve(self, AdminHandler)
        admin.ready = 503
        self.assertIn("no", self.expect(scopectl("status", SCOPEMESH_ADMIN=admin.url), 1).stdout)

    def test_no_daemon(self):
        nobody = "http://127.0.0.1:%d" % free_port()
        for verb in ("status", "sites", "services"):
            done = self.expect(scopectl(verb, SCOPEMESH_ADMIN=nobody), 3)
            self.assertIn(nobody, done.stderr)

    def test_a_socket_that_is_not_there(self):
        done = self.expect(scopectl("sites", SCOPEMESH_ADMIN="unix:/nonexistent/admin.sock"), 3)
        self.assertIn("unix:/nonexistent/admin.sock: No such file or directory\n", done.stderr)

    def test_something_else_listens_there(self):
        other = serve(self)
        for args in (["explain", "image: dc1"], ["sites"], ["services"], ["status"]):
            done = self.expect(scopectl(*args, SCOPEMESH_ADMIN=other.url), 1)
            self.assertIn("not as the admin interface", done.stderr)
        self.expect(scopectl("sites", SCOPEMESH_ADMIN="ftp://127.0.0.1"), 2)


class Explain(Base):
    def test_bad_text_needs_no_daemon(self):
        done = self.expect(scopectl("explain", "image: dc1 &", SCOPEMESH_ADMIN="http://127.0.0.1:1"), 2)
        self.assertRegex(done.stderr, r"(?m)^  image: dc1 &\n +\^$")
        self.assertEqual(done.stdout, "")

    def test_an_unknown_function_shows_those_there_are(self):
        done = self.expect(scopectl("explain", "image: AROUND(dc1, 1ms)", SCOPEMESH_ADMIN="http://127.0.0.1:1"), 2)
        self.assertIn("known: around, all, any, eventual, quorum, strong, weak\nnearest: around\n", done.stderr)

    def test_without_daemon_the_text_and_its_tree(self):
        done = self.expect(scopectl("explain", "image:", "dc1", "and", "dc2",
                                    SCOPEMESH_ADMIN="http://127.0.0.1:%d" % free_port()), 3)
        self.assertIn("image: dc1 & dc2\n", done.stdout)
        self.assertIn("cannot be reached", done.stderr)

    def test_with_daemon(self):
        admin = serve(self, AdminHandler)
        done = self.expect(scopectl("explain", "image: dc1+dc2", SCOPEMESH_ADMIN=admin.url), 0)
        self.assertRegex(done.stdout, r"(?m)^canonical image: dc1 & dc2$")
        self.assertRegex(done.stdout, r"(?m)^  dc1 +connected +0\.2 ms +127\.0\.1\.1:7400$")
        self.assertIn("note: a note for image: dc1+dc2\n", done.stdout)

    def test_unknown_site(self):
        admin = serve(self, AdminHandler)
        done = self.expect(scopectl("explain", "image: dc9", SCOPEMESH_ADMIN=admin.url), 2)
        self.assertIn("no site dc9", done.stderr)
        self.assertRegex(done.stderr, r"(?m)^  image: dc9\n         \^$")
        self.assertIn("known: dc1, dc2\nnearest: dc1\n", done.stderr)


class Request(Base):
    def setUp(self):
        self.origin = serve(self)

    def test_scope_in_words_before_the_url(self):
        for args in (["--scope", "image:", "dc1", "+", "dc2", self.origin.url + "/a"],
                     ["--scope", "image: dc1 & dc2", self.origin.url + "/a"],
                     [self.origin.url + "/a", "--scope", "{", "image:", "dc1", "and", "dc2", "}"],
                     ["--scope", "image:", "dc1", "+", "dc2", "-X", "GET", self.origin.url + "/a"]):
            out = json.loads(self.expect(scopectl("request", *args), 0).stdout)
            self.assertEqual(out["scopes"], ["image: dc1 & dc2"])
            self.assertEqual(out["path"], "/a")

    def test_statuses(self):
        for status, code in ((204, 0), (301, 0), (404, 1), (500, 1)):
            self.expect(scopectl("request", "%s/status/%d" % (self.origin.url, status)), code)
        self.expect(scopectl("request", "http://127.0.0.1:%d/" % free_port()), 1)

    def test_usage_is_found_before_sending(self):
        url = self.origin.url + "/"
        for args in (["--scope", "image: dc1 &", url], ["--scope", "image: dc1", "-X", "GET"],
                     ["--scope", "image: dc1", url, url], [], ["nothing"], ["ftp://127.0.0.1/"],
                     ["--scope", "image: dc1", "-H", "x-scope: image: dc2", url],
                     ["-H", "X-Scope: image: dc2", "--scope", "image: dc1", url],
                     ["-H", "nocolon", url], ["--max-time", "x", url], ["-d", "a", "-T", "b", url]):
            self.expect(scopectl("request", *args), 2)
        self.assertEqual(self.origin.seen, [])

    def test_problem_documents(self):
        done = self.expect(scopectl("request", self.origin.url + "/problem"), 1)
        self.assertEqual(json.loads(done.stdout)["status"], 503)
        self.assertEqual(done.stderr, "scopectl: 503 No instance: nobody is at home\n")
        self.assertEqual(self.expect(scopectl("request", "-s", self.origin.url + "/problem"), 1).stderr, "")

    def test_data(self):
        url = self.origin.url + "/d"
        self.expect(scopectl("request", "-d", "a=1", "-d", "b=2", url), 0)
        self.expect(scopectl("request", "-X", "PATCH", "-d", "@-", url, stdin=b"from\r\nstdin\0"), 0)
        with tempfile.NamedTemporaryFile() as f:
            data = os.urandom(3 << 20)
            f.write(data)
            f.flush()
            self.expect(scopectl("request", "--scope", "image: dc1", "-X", "POST", "-d", "@" + f.name,
                                 "-H", "Content-Type: application/octet-stream", url), 0)
            self.expect(scopectl("request", "-T", f.name, url), 0)
        got = [(method, body) for method, _, _, body in self.origin.seen]
        self.assertEqual(got, [("POST", b"a=1&b=2"), ("PATCH", b"from\r\nstdin\0"), ("POST", data),
                               ("PUT", data)])
        headers = dict(self.origin.seen[2][2])
        self.assertEqual(headers["X-Scope"], "image: dc1")
        self.assertEqual(headers["Content-Length"], str(len(data)))
        self.assertEqual(headers["Content-Type"], "application/octet-stream")
        self.expect(scopectl("request", "-d", "@/nonexistent", url), 1)

    def test_output(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "out")
            done = self.expect(scopectl("request", "-o", path, self.origin.url + "/bytes/100000"), 0)
            self.assertEqual(done.stdout, "")
            with open(path, "rb") as f:
                self.assertEqual(f.read(), b"\xa5" * 100000)
        out = self.expect(scopectl("request", "-i", self.origin.url + "/x"), 0).stdout
        self.assertTrue(out.startswith("HTTP/1.1 200"))
        out = self.expect(scopectl("request", "-I", self.origin.url + "/x"), 0).stdout
        self.assertIn("X-Scope-Served-By: dc2", out)
        done = self.expect(scopectl("request", "-v", self.origin.url + "/x"), 0)
        self.assertIn("* served by dc2\n", done.stderr)

    def test_time_limit(self):
        with contextlib.closing(socket.socket()) as s:
            s.bind(("127.0.0.1", 0))
            s.listen()
            begun = time.monotonic()
            self.expect(scopectl("request", "--max-time", "0.3",
                                 "http://127.0.0.1:%d/" % s.getsockname()[1]), 1)
            self.assertLess(time.monotonic() - begun, 10)


URLLIB = """
import sys, urllib.request
data = sys.stdin.buffer.read() or None
with urllib.request.urlopen(urllib.request.Request(sys.argv[1], data=data)) as answer:
    sys.stdout.buffer.write(answer.read())
"""

# Speaks to the proxy of its environment by hand: argv[1] is sent, "TOKEN" in it replaced by the credentials.
RAW = """
import base64, os, socket, sys, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["http_proxy"])
user = base64.b64encode(("%s:%s" % (proxy.username, proxy.password)).encode()).decode()
with socket.create_connection((proxy.hostname, proxy.port)) as s:
    s.sendall(sys.argv[1].encode().decode("unicode_escape").replace("TOKEN", user).encode())
    if len(sys.argv) > 2:
        s.shutdown(socket.SHUT_WR)
    while True:
        piece = s.recv(65536)
        if not piece:
            break
        sys.stdout.write(piece.decode())
"""
AUTH = "Proxy-Authorization: Basic TOKEN\\r\\n"


class Run(Base):
    def setUp(self):
        self.origin = serve(self)

    def python(self, *args, options=(), scope="image: dc1", stdin=b"", text=True, **env):
        return scopectl("run", "--scope", scope, *options, "--", "/usr/bin/python3", "-c", *args,
                        stdin=stdin, text=text, **env)

    def test_exit_statuses(self):
        run = ["run", "--scope", "image: dc1", "--", "/bin/sh", "-c"]
        for script, status in (("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill -INT $$", 130)):
            self.expect(scopectl(*run, script), status)
        self.expect(scopectl("run", "--scope", "image: dc1", "--", "/nonexistent/tool"), 127)
        self.expect(scopectl("run", "--scope", "image: dc1", "--", "no-such-tool-anywhere"), 127)
        self.expect(scopectl("run", "--scope", "image: dc1", "--", "/etc/passwd"), 126)

    def test_usage(self):
        for args in (["--scope", "image: dc1 &", "--", "true"], ["--", "true"],
                     ["--scope", "image: dc1"], ["--scope", "image: dc1", "--"],
                     ["--scope", "image: dc1", "--to", "a/b", "--", "true"],
                     ["--scope", "image: dc1", "--map", "https://x", "--", "true"],
                     ["--scope", "image: dc1", "--map", "1X=https://x", "--", "true"],
                     ["--scope", "image: dc1", "--map", "X=https://x?q", "--", "true"]):
            self.expect(scopectl("run", *args), 2)

    def test_environment(self):
        done = self.expect(self.python("import json, os; print(json.dumps(dict(os.environ)))",
                                       scope="image: dc1, compute: dc2", no_proxy="*", NO_PROXY="*",
                                       BAGGAGE="k=v"), 0)
        env = json.loads(done.stdout)
        self.assertEqual(env["SCOPE"], "image: dc1, compute: dc2")
        self.assertEqual(env["OS_SCOPE"], env["SCOPE"])
        self.assertEqual(env["BAGGAGE"], "scope=image:%20dc1%2C%20compute:%20dc2,k=v")
        self.assertRegex(env["http_proxy"], r"^http://scope:[0-9a-f]{32}@127\.0\.0\.1:\d+$")
        self.assertEqual(env["HTTP_PROXY"], env["http_proxy"])
        self.assertNotIn("no_proxy", env)
        self.assertNotIn("NO_PROXY", env)

    def test_scope_as_words_up_to_the_dashes(self):
        done = self.expect(scopectl("run", "--scope", "{", "image:", "DC", "1", "}", "--", "sh", "-c",
                                    "echo $SCOPE"), 0)
        self.assertEqual(done.stdout, "image: DC 1\n")

    def test_python_urllib(self):
        done = self.expect(self.python(URLLIB, self.origin.url + "/p?q=1"), 0)
        out = json.loads(done.stdout)
        self.assertEqual((out["scopes"], out["path"]), (["image: dc1"], "/p?q=1"))
        self.assertEqual(out["host"], self.origin.url[7:])
        self.assertEqual(done.stderr, "")
        names = [name.lower() for name, _ in self.origin.seen[0][2]]
        self.assertFalse([n for n in names if n.startswith("proxy-")])

    def test_curl_by_name(self):
        curl = shutil.which("curl")
        if not curl:
            self.skipTest("curl is missing")
        url = "http://localhost:%d/c" % self.origin.server_address[1]
        done = self.expect(scopectl("run", "--scope", "image: dc1", "--", curl, "-sS", url, url), 0)
        self.assertEqual(done.stdout.count('"scopes": ["image: dc1"]'), 2)
        done = self.expect(scopectl("run", "--scope", "image: dc1", "--", curl, "-sS", "-H",
                                    "X-Scope: image: dc7", url), 0)
        self.assertEqual(json.loads(done.stdout)["scopes"], ["image: dc7"])

    def test_to_scopes_only_these_hosts(self):
        port = self.origin.server_address[1]
        url = "http://localhost:%d/c" % port
        for to, scopes in (("localhost", ["image: dc1"]), ("localhost:%d" % port, ["image: dc1"]),
                           ("localhost:1", []), ("elsewhere", [])):
            done = self.expect(self.python(URLLIB, url, options=["--to", to]), 0)
            self.assertEqual(json.loads(done.stdout)["scopes"], scopes)
            self.assertEqual("--to" in done.stderr, not scopes)

    def test_large_bodies_both_ways(self):
        data = os.urandom(1 << 20) * 24
        done = self.expect(self.python(URLLIB, self.origin.url + "/up", stdin=data), 0)
        self.assertEqual(json.loads(done.stdout)["length"], len(data))
        self.assertEqual(self.origin.seen[0][3], data)
        done = self.expect(self.python(URLLIB, self.origin.url + "/bytes/%d" % (24 << 20), text=False), 0)
        self.assertEqual(done.stdout, b"\xa5" * (24 << 20))

    def test_a_tool_that_does_not_read_fills_no_memory(self):
        code = ("import os, socket, sys, time, urllib.request\n"
                "def peak():\n"
                "    with open('/proc/%d/status' % os.getppid()) as f:\n"
                "        return int([l for l in f if l.startswith('VmHWM')][0].split()[1])\n"
                "urllib.request.urlopen(sys.argv[1] + '/bytes/1').read()\n"
                "before = peak()\n"
                "answer = urllib.request.urlopen(sys.argv[1] + '/bytes/%d' % (64 << 20))\n"
                "time.sleep(1)\n"
                "print(peak() - before, len(answer.read()))\n")
        grown, size = self.expect(self.python(code, self.origin.url), 0).stdout.split()
        self.assertEqual(int(size), 64 << 20)
        self.assertLess(int(grown), 8 << 10, "KiB")

    def test_many_requests_at_once(self):
        code = ("import sys, threading, urllib.request\n"
                "got = []\n"
                "def fetch(n):\n"
                "    with urllib.request.urlopen(sys.argv[1] + '/bytes/%d' % n) as answer:\n"
                "        got.append(len(answer.read()) == n)\n"
                "threads = [threading.Thread(target=fetch, args=(i * 7919,)) for i in range(60)]\n"
                "[t.start() for t in threads]\n"
                "[t.join() for t in threads]\n"
                "print(got.count(True))\n")
        self.assertEqual(self.expect(self.python(code, self.origin.url), 0).stdout, "60\n")

    def test_answers_that_end_by_close_and_too_early(self):
        done = self.expect(self.python(URLLIB, self.origin.url + "/until-close"), 0)
        self.assertEqual(len(done.stdout), 100000)
        self.assertNotEqual(self.python(URLLIB, self.origin.url + "/cut").returncode, 0)

    def test_chunked_request(self):
        request = ("POST %s/ch HTTP/1.1\\r\\nHost: x\\r\\n" + AUTH + "Transfer-Encoding: chunked\\r\\n\\r\\n"
                   "3\\r\\nabc\\r\\n0\\r\\n\\r\\n") % self.origin.url
        out = self.expect(self.python(RAW, request), 0).stdout
        self.assertIn('"length": 3', out)
        self.assertIn("Connection: close", out)

    def test_half_closed_tool_still_gets_its_answer(self):
        request = ("GET %s/h HTTP/1.1\\r\\nHost: x\\r\\n" + AUTH + "\\r\\n") % self.origin.url
        self.assertIn("image: dc1", self.expect(self.python(RAW, request, "shut"), 0).stdout)

    def test_without_the_token_407(self):
        for line in ("GET %s/ HTTP/1.1" % self.origin.url, "CONNECT 127.0.0.1:1 HTTP/1.1"):
            out = self.expect(self.python(RAW, line + "\\r\\nHost: x\\r\\n\\r\\n"), 0).stdout
            self.assertTrue(out.startswith("HTTP/1.1 407 "), out)
            self.assertIn("Proxy-Authenticate: Basic", out)
        wrong = base64.b64encode(b"scope:" + b"0" * 32).decode()
        out = self.python(RAW, "GET %s/ HTTP/1.1\\r\\nHost: x\\r\\nProxy-Authorization: Basic %s\\r\\n\\r\\n"
                          % (self.origin.url, wrong)).stdout
        self.assertTrue(out.startswith("HTTP/1.1 407 "), out)
        self.assertEqual(self.origin.seen, [])

    def test_bad_requests(self):
        for head in ("GET / HTTP/1.1\\r\\nHost: x\\r\\n" + AUTH, "GET http://x/ HTTP/1.1\\r\\n Host: x\\r\\n"):
            out = self.python(RAW, head + "\\r\\n").stdout
            self.assertTrue(out.startswith("HTTP/1.1 400 "), out)
            self.assertIn("application/problem+json", out)

    def test_unreachable_origins_are_named(self):
        port = free_port()
        request = ("GET http://127.0.0.1:%d/ HTTP/1.1\\r\\nHost: x\\r\\n" + AUTH + "\\r\\n") % port
        out = self.python(RAW, request).stdout
        self.assertTrue(out.startswith("HTTP/1.1 502 "), out)
        self.assertIn("127.0.0.1 port %d: Connection refused" % port, out)
        request = "GET http://no-such-host.invalid/ HTTP/1.1\\r\\nHost: x\\r\\n" + AUTH + "\\r\\n"
        out = self.python(RAW, request).stdout
        self.assertTrue(out.startswith("HTTP/1.1 502 "), out)
        self.assertIn("no-such-host.invalid", out)

    def test_connect_is_a_tunnel(self):
        inner = "GET /t HTTP/1.1\\r\\nHost: t\\r\\nConnection: close\\r\\n\\r\\n"
        request = ("CONNECT 127.0.0.1:%d HTTP/1.1\\r\\nHost: x\\r\\n" + AUTH + "\\r\\n") % \
            self.origin.server_address[1]
        done = self.expect(self.python(RAW, request + inner), 0)
        self.assertTrue(done.stdout.startswith("HTTP/1.1 200 Connection established\r\n\r\n")
                        or done.stdout.startswith("HTTP/1.1 200 Connection established\n\n"), done.stdout)
        self.assertIn('"scopes": []', done.stdout)
        self.assertIn("--map", done.stderr)

    def test_upgrade_becomes_a_tunnel(self):
        with contextlib.closing(socket.socket()) as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()

            def echo():
                peer, _ = listener.accept()
                with peer:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += peer.recv(4096)
                    peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n"
                                 b"Connection: upgrade\r\n\r\n")
                    rest = head.split(b"\r\n\r\n", 1)[1]
                    while len(rest) < 5:
                        rest += peer.recv(4096)
                    peer.sendall(rest.upper())
            thread = threading.Thread(target=echo, daemon=True)
            thread.start()
            out = self.python(RAW, ("GET http://127.0.0.1:%d/ HTTP/1.1\\r\\nHost: x\\r\\nUpgrade: echo\\r\\n"
                                    "Connection: upgrade\\r\\n" + AUTH + "\\r\\nhello")
                              % listener.getsockname()[1]).stdout
            thread.join(TIMEOUT)
        self.assertTrue(out.startswith("HTTP/1.1 101 "), out)
        self.assertTrue(out.endswith("HELLO"), out)

    def test_a_tool_that_made_no_request_is_reported(self):
        done = self.expect(scopectl("run", "--scope", "image: dc1", "--", "true"), 0)
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertIn("made no request", done.stderr)

    def test_stdin_and_stdout_are_the_tools(self):
        done = self.expect(scopectl("run", "--scope", "image: dc1", "--", "cat", stdin=b"through"), 0)
        self.assertEqual(done.stdout, "through")

    def test_signals_to_scopectl_reach_the_tool_once(self):
        script = ("import os, signal, sys, time\n"
                  "got = []\n"
                  "signal.signal(signal.%s, lambda *a: got.append(1))\n"
                  "print('ready', flush=True)\n"
                  "end = time.monotonic() + 20\n"
                  "while not got and time.monotonic() < end: time.sleep(0.05)\n"
                  "time.sleep(0.3)\n"
                  "print(len(got), flush=True)\n"
                  "sys.exit(9)\n")
        for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"):
            with subprocess.Popen([SCOPECTL, "run", "--scope", "image: dc1", "--", "/usr/bin/python3", "-c",
                                   script % name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  env=clean_environment(), text=True) as run:
                self.assertEqual(run.stdout.readline(), "ready\n")
                run.send_signal(getattr(signal, name))
                self.assertEqual(run.stdout.readline(), "1\n", name)
                self.assertEqual(run.wait(TIMEOUT), 9)

    def test_ctrl_c_on_the_terminal_comes_once(self):
        import pty
        script = ("import signal, sys, time\n"
                  "got = []\n"
                  "signal.signal(signal.SIGINT, lambda *a: got.append(1))\n"
                  "print('ready', flush=True)\n"
                  "end = time.monotonic() + 20\n"
                  "while not got and time.monotonic() < end: time.sleep(0.05)\n"
                  "time.sleep(0.3)\n"
                  "print('got', len(got), flush=True)\n")
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(SCOPECTL, [SCOPECTL, "run", "--scope", "image: dc1", "--", "/usr/bin/python3", "-c",
                                 script], clean_environment())
        out = b""
        with contextlib.suppress(OSError):
            while b"ready" not in out:
                out += os.read(fd, 4096)
            os.write(fd, b"\x03")
            while True:
                piece = os.read(fd, 4096)
                if not piece:
                    break
                out += piece
        os.close(fd)
        self.assertIn(b"got 1", out)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0)


class Map(Base):
    @classmethod
    def setUpClass(cls):
        openssl = shutil.which("openssl")
        if not openssl:
            raise unittest.SkipTest("openssl is missing")
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.cert = os.path.join(cls.folder.name, "cert.pem")
        cls.key = os.path.join(cls.folder.name, "key.pem")
        subprocess.run([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-keyout", cls.key, "-out", cls.cert, "-days", "2", "-subj",
                        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                       check=True, capture_output=True, timeout=TIMEOUT)

    def setUp(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        self.origin = serve(self, context=context)
        self.port = self.origin.server_address[1]

    def fetch(self, host, script="curl_or_python", stdin=b"", path="/base", text=True, **env):
        code = ("import os, sys\nsys.argv[1] = os.environ['IMAGES'] + sys.argv[1]\n" + URLLIB)
        return scopectl("run", "--scope", "image: dc1", "--map",
                        "IMAGES=https://%s:%d%s" % (host, self.port, path), "--", "/usr/bin/python3", "-c",
                        code, script, stdin=stdin, text=text, **env)

    def test_tls_endpoint(self):
        out = json.loads(self.expect(self.fetch("localhost", "/x", SSL_CERT_FILE=self.cert), 0).stdout)
        self.assertEqual(out["scopes"], ["image: dc1"])
        self.assertEqual(out["path"], "/base/x")
        self.assertEqual(out["host"], "localhost:%d" % self.port)

    def test_large_bodies_over_tls(self):
        data = os.urandom(1 << 20) * 8
        done = self.expect(self.fetch("localhost", "/up", stdin=data, SSL_CERT_FILE=self.cert), 0)
        self.assertEqual(json.loads(done.stdout)["length"], len(data))
        self.assertEqual(self.origin.seen[0][3], data)
        done = self.expect(self.fetch("localhost", "/bytes/%d" % (8 << 20), path="", text=False,
                                      SSL_CERT_FILE=self.cert), 0)
        self.assertEqual(done.stdout, b"\xa5" * (8 << 20))

    def test_certificate_and_name_are_verified(self):
        self.assertIn("502", self.expect(self.fetch("localhost", "/x"), 1).stderr)
        self.assertIn("502", self.expect(self.fetch("127.0.0.1", "/x", SSL_CERT_FILE=self.cert), 1).stderr)
        self.assertEqual(self.origin.seen, [])

    def test_plain_endpoint_without_proxy_variables(self):
        plain = serve(self)
        code = ("import os, sys, urllib.request\n"
                "del os.environ['http_proxy'], os.environ['HTTP_PROXY']\n"
                "print(urllib.request.urlopen(os.environ['URL'] + '/y').read().decode())\n")
        done = scopectl("run", "--scope", "image: dc1", "--map", "URL=" + plain.url, "--", "/usr/bin/python3",
                        "-c", code)
        self.assertEqual(json.loads(self.expect(done, 0).stdout)["scopes"], ["image: dc1"])


def main():
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__])
    result = unittest.TextTestRunner(verbosity=int(os.environ.get("VERBOSE", "1"))).run(suite)
    failed = len(result.failures) + len(result.errors)
    for _, reason in result.skipped:
        print("skipped: " + reason)
    print("%d passed, %d failed, %d skipped" % (
        result.testsRun - failed - len(result.skipped), failed, len(result.skipped)))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
