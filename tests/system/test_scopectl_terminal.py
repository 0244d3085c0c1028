#!/usr/bin/python3
"""scopectl on a terminal: job control and window size of the tool it runs, how far a request is."""
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

from scopectl_bed import Base, Handler, SCOPECTL, TIMEOUT, clean_environment, main, serve

TICKS = ("import os, sys, time\n"
         "print('pid', os.getpid(), flush=True)\n"
         "while not os.path.exists(sys.argv[1]): time.sleep(0.02)\n"
         "print('end', 'reached', flush=True)\n"
         "sys.exit(7)\n")


class SlowHandler(Handler):
    """/slow/BYTES sends them in pieces over about a second; PUT waits before it reads."""

    def answer(self):
        if self.command == "PUT":
            time.sleep(0.9)
        if not self.path.startswith("/slow/") or self.command == "PUT":
            super().answer()
            return
        size = int(self.path[6:])
        self.send_response(200)
        if "chunked" not in self.headers.get("X-As", ""):
            self.send_header("Content-Length", str(size))
        else:
            self.close_connection = True
        self.end_headers()
        for _ in range(10):
            self.wfile.write(b"z" * (size // 10))
            self.wfile.flush()
            time.sleep(0.1)

    do_GET = do_PUT = answer


class Terminal:
    """A pseudo terminal of 80 columns and what runs on it as its session leader."""

    def __init__(self, case, *argv, stdout=None):
        self.fd, far = pty.openpty()
        self.resize(80)
        self.out = b""
        # setsid, not pty.fork: no Python between fork and exec
        self.process = subprocess.Popen(["setsid", "-c", *argv], stdin=far, stdout=stdout or far, stderr=far,
                                        env=clean_environment(TERM="dumb", PS1="$ "))
        os.close(far)
        case.addCleanup(self.close)

    def resize(self, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def type(self, text):
        os.write(self.fd, text.encode())

    def read_until(self, pattern):
        """The match in what came since the last call; None as pattern: all that is left."""
        end = time.monotonic() + TIMEOUT
        with contextlib.suppress(OSError):   # EIO: nobody has the other side any more
            while True:
                found = pattern and re.search(pattern, self.out.decode("utf-8", "replace"))
                if found:
                    self.out = self.out.decode("utf-8", "replace")[found.end():].encode()
                    return found
                if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                    raise AssertionError("not within %d s: %s; so far %r" % (TIMEOUT, pattern, self.out))
                piece = os.read(self.fd, 4096)
                if not piece:
                    break
                self.out += piece
        if pattern:
            raise AssertionError("ended before %s: %r" % (pattern, self.out))
        return self.out.decode("utf-8", "replace")

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self.fd)


def state_of(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as f:
        return f.read().rpartition(") ")[2][0]


class Run(Base):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.mark = os.path.join(self.folder.name, "mark")

    def until(self, condition, what):
        end = time.monotonic() + TIMEOUT
        while not condition():
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)

    def shell(self):
        """A shell with job control that has started a tool through scopectl; the tool's pid."""
        script = os.path.join(self.folder.name, "ticks.py")
        with open(script, "w", encoding="ascii") as f:
            f.write(TICKS)
        t = Terminal(self, "bash", "--norc", "--noprofile", "-i")
        t.type("%s run --scope 'image: dc1' -- /usr/bin/python3 %s %s\n" % (SCOPECTL, script, self.mark))
        return t, int(t.read_until(r"pid (\d+)\r").group(1))

    def finish(self, t):
        with open(self.mark, "w", encoding="ascii"):
            pass
        t.read_until("end reached")
        t.type("echo status $?\n")
        t.read_until("status 7\r")
        t.type("exit\n")
        self.assertEqual(t.process.wait(TIMEOUT), 0)

    def test_ctrl_z_gives_the_terminal_back_and_fg_goes_on(self):
        t, pid = self.shell()
        for _ in range(3):
            t.type("\x1a")
            t.read_until(r"Stopped.*scopectl")
            self.assertEqual(state_of(pid), "T")
            t.type("fg\n")
            self.until(lambda: state_of(pid) != "T", "the tool goes on")
        self.finish(t)

    def test_a_tool_that_stops_by_itself_gives_the_terminal_back(self):
        t, pid = self.shell()
        os.kill(pid, signal.SIGSTOP)
        t.read_until(r"Stopped.*scopectl")
        t.type("fg\n")
        self.until(lambda: state_of(pid) != "T", "the tool goes on")
        self.finish(t)

    def test_a_stop_sent_to_scopectl_alone_stops_the_tool(self):
        t, pid = self.shell()
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as f:
            parent = int(f.read().rpartition(") ")[2].split()[1])
        os.kill(parent, signal.SIGTSTP)
        t.read_until(r"Stopped.*scopectl")
        self.assertEqual(state_of(pid), "T")
        os.kill(parent, signal.SIGCONT)
        self.until(lambda: state_of(pid) != "T", "the tool goes on")
        with open(self.mark, "w", encoding="ascii"):
            pass
        t.read_until("end reached")

    def test_the_tool_sees_the_window_and_its_changes(self):
        script = ("import os, signal, time\n"
                  "got = []\n"
                  "signal.signal(signal.SIGWINCH, lambda *a: got.append(1))\n"
                  "print('width', os.get_terminal_size().columns, flush=True)\n"
                  "while not got: time.sleep(0.02)\n"
                  "time.sleep(0.2)\n"
                  "print('width', os.get_terminal_size().columns, 'after', len(got), flush=True)\n")
        t = Terminal(self, SCOPECTL, "run", "--scope", "image: dc1", "--", "/usr/bin/python3", "-c", script)
        t.read_until("width 80\r")
        t.resize(132)
        t.read_until("width 132 after 1\r")
        self.assertEqual(t.process.wait(TIMEOUT), 0)

    def test_the_tools_output_is_a_terminal_and_its_end_by_a_signal_is_told(self):
        script = "import os, sys, signal\nprint([os.isatty(i) for i in range(3)])\nos.kill(os.getpid(), signal.SIGKILL)\n"
        t = Terminal(self, SCOPECTL, "run", "--scope", "image: dc1", "--", "/usr/bin/python3", "-u", "-c", script)
        t.read_until(r"\[True, True, True\]")
        self.assertEqual(t.process.wait(TIMEOUT), 128 + signal.SIGKILL)

    def test_curl_wget_and_python(self):
        origin = serve(self)
        url = origin.url.replace("127.0.0.1", "localhost") + "/x"
        python = "import urllib.request as u; u.urlopen(%r).read()" % url
        for tool in (["curl", "-sSf", url], ["wget", "-q", "-O", "-", url], ["/usr/bin/python3", "-c", python]):
            if subprocess.run(["which", tool[0]], stdout=subprocess.DEVNULL, check=False).returncode:
                continue
            del origin.seen[:]
            t = Terminal(self, SCOPECTL, "run", "--scope", "image: dc1", "--", *tool)
            out = t.read_until(None)
            self.assertEqual(t.process.wait(TIMEOUT), 0, out)
            self.assertEqual(dict(origin.seen[0][2]).get("X-Scope"), "image: dc1", tool)


class Request(Base):
    def setUp(self):
        self.url = serve(self, SlowHandler).url
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.file = os.path.join(self.folder.name, "file")

    def ask(self, *args, stdout=None, status=0):
        t = Terminal(self, SCOPECTL, "request", *args, stdout=stdout)
        out = t.read_until(None)
        self.assertEqual(t.process.wait(TIMEOUT), status, out)
        return out

    def test_a_download_into_a_file_shows_how_far_it_is(self):
        out = self.ask("-o", self.file, self.url + "/slow/200000")
        self.assertEqual(os.path.getsize(self.file), 200000)
        self.assertRegex(out, r"\r\[#+ *\] +\d\d%  1\d\d\.\dk of 195\.3k  \d+\.\dk/s  0:0\d left")
        self.assertRegex(out, r"\[#+\] 100%  195\.3k of 195\.3k  [^\r\n]*\r?\n$")
        for line in re.split(r"[\r\n]", out):
            self.assertLess(len(line.replace("\033[K", "")), 80)

    def test_a_body_of_unknown_length_shows_bytes(self):
        out = self.ask("-o", self.file, "-H", "X-As: chunked", self.url + "/slow/200000")
        self.assertRegex(out, r"\r195\.3k  \d+\.\dk/s")
        self.assertNotIn("%", out)

    def test_a_redirected_body_too(self):
        with open(self.file, "wb") as f:
            self.assertIn("100%", self.ask(self.url + "/slow/200000", stdout=f))

    def test_an_upload_shows_how_far_it_is(self):
        size = 24 << 20
        with open(self.file, "wb") as f:
            f.truncate(size)
        out = self.ask("-T", self.file, "-o", os.devnull, self.url + "/up")
        self.assertRegex(out, r"\[#* *\] +\d+%  \d+\.\dM of 24\.0M")

    def test_an_error_stands_on_a_line_of_its_own(self):
        out = self.ask("-o", self.file, "--max-time", "0.8", self.url + "/slow/200000", status=1)
        self.assertRegex(out, r"%[^\r\n]*\r?\nscopectl: ")

    def test_silence_short_requests_and_a_body_on_the_terminal_show_nothing(self):
        self.assertEqual(self.ask("-s", "-o", self.file, self.url + "/slow/200000"), "")
        self.assertEqual(self.ask("-o", self.file, self.url + "/bytes/100"), "")
        self.assertEqual(self.ask(self.url + "/slow/1000").replace("z", ""), "")

    def test_without_a_terminal_nothing_is_shown(self):
        done = subprocess.run([SCOPECTL, "request", "-o", self.file, self.url + "/slow/200000"], capture_output=True,
                              timeout=TIMEOUT, env=clean_environment(), check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))


if __name__ == "__main__":
    sys.exit(main(__name__))
