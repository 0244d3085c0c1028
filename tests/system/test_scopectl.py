#!/usr/bin/python3
"""scopectl as a person or script meets it: exit statuses, the tables, explain, request."""
import contextlib
import json
import os
import socket
import sys
import tempfile
import time

from scopectl_bed import AdminHandler, Base, SERVICES, SITES, free_port, main, scopectl, serve


class Verbs(Base):
    def test_help_lists_the_verbs_of_this_version_only(self):
        for args in (["help"], ["--help"]):
            out = self.expect(scopectl(*args), 0).stdout
            for verb in ("status", "sites", "services", "explain", "request", "run"):
                self.assertRegex(out, r"(?m)^  %s " % verb)
            self.assertNotIn("completion", out)
        self.assertIn("--map", self.expect(scopectl("run", "--help"), 0).stdout)
        self.assertIn("--map", self.expect(scopectl("help", "run"), 0).stdout)

    def test_version(self):
        self.assertRegex(self.expect(scopectl("--version"), 0).stdout, r"^scopectl \d+\.\d+")

    def test_wrong_usage(self):
        self.expect(scopectl(), 2)
        self.assertIn("did you mean sites?", self.expect(scopectl("stes"), 2).stderr)
        for verb in ("conflicts", "tap", "completion"):
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


if __name__ == "__main__":
    sys.exit(main(__name__))
