#!/usr/bin/python3
"""scopectl run: its local proxy with real tools, signals and the terminal, endpoints of --map."""
import base64
import contextlib
import json
import os
import pty
import select
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

from scopectl_bed import Base, clean_environment, free_port, main, SCOPECTL, scopectl, serve, TIMEOUT


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
        script = ("import signal, sys, time\n"
                  "got = []\n"
                  "signal.signal(signal.SIGINT, lambda *a: got.append(1))\n"
                  "print('ready', flush=True)\n"
                  "end = time.monotonic() + 20\n"
                  "while not got and time.monotonic() < end: time.sleep(0.05)\n"
                  "time.sleep(0.3)\n"
                  "print('got', len(got), flush=True)\n")
        # setsid makes the terminal the tool's own; pty.fork would run Python between fork and exec, which
        # may wait for ever for a lock that one of our threads held
        fd, terminal = pty.openpty()
        run = subprocess.Popen(["setsid", "-c", SCOPECTL, "run", "--scope", "image: dc1", "--", "/usr/bin/python3",
                                "-c", script], stdin=terminal, stdout=terminal, stderr=terminal,
                               env=clean_environment())
        os.close(terminal)
        out = self.read_until(fd, b"ready", b"")
        os.write(fd, b"\x03")
        out = self.read_until(fd, None, out)
        os.close(fd)
        self.assertIn(b"got 1", out)
        self.assertEqual(run.wait(TIMEOUT), 0)

    @staticmethod
    def read_until(fd, word, out):
        """What came, up to the word or (None) the end."""
        end = time.monotonic() + TIMEOUT
        with contextlib.suppress(OSError):  # EIO: nobody has the other side any more
            while not word or word not in out:
                if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
                    raise AssertionError("not within %d s; so far: %r" % (TIMEOUT, out))
                piece = os.read(fd, 4096)
                if not piece:
                    break
                out += piece
        return out


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


if __name__ == "__main__":
    sys.exit(main(__name__))
