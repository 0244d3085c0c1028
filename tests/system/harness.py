#!/usr/bin/python3
"""Black-box test bed: real scopemeshd processes, scripted origins, links that can be slowed and cut.

A test file defines functions test_*(bed) and ends in harness.main(globals()).  Each test gets a Bed of
its own: a folder, and everything it started (processes, origins, relays), all ended when it returns.
Nothing sleeps for luck: what must come to pass is waited for with a deadline (wait_until).

    python3 tests/system/test_forwarding.py [-v] [WORD ...]      only tests whose name holds a WORD
    SCOPEMESHD=./build/asan/scopemeshd                           which program (default: ./scopemeshd)
    TEST_LOGS=DIR                                                where folders of failed tests are kept
"""
import json
import os
import random
import re
import shutil
import signal
from signal import SIGTERM
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import shell_signals

shell_signals.restore()
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCOPEMESHD = os.path.abspath(os.environ.get('SCOPEMESHD') or os.path.join(ROOT, 'scopemeshd'))
SCOPECTL = os.path.abspath(os.environ.get('SCOPECTL') or
                           os.path.join(os.path.dirname(SCOPEMESHD), 'scopectl'))
DEADLINE = float(os.environ.get('TEST_DEADLINE', 10))   # seconds any single wait may take


class Skip(Exception):
    """Raised by a test that cannot run here; says why."""


def wait_until(condition, what, seconds=None):
    """Calls condition until it returns something true, and returns that.  what: the sentence, or what makes it."""
    end = time.monotonic() + (seconds or DEADLINE)
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f'not within {seconds or DEADLINE} s: {what() if callable(what) else what}')
        time.sleep(0.01)


def loopback():
    """An address of this machine that no other test uses.  Sites probe addresses that have gone, and a port
    of 127.0.0.1 may meanwhile be another test's."""
    return f'127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}'


def free_port(host='127.0.0.1'):
    with socket.socket() as s:
        s.bind((host, 0))
        return s.getsockname()[1]


def mesh_addr():
    host = loopback()
    return f'{host}:{free_port(host)}'


def eq(got, want, what=''):
    assert got == want, f'{what or "value"}: got {got!r}, want {want!r}'


# --- messages ------------------------------------------------------------------------------------

class Message:
    """A request or response as it was read: start line, header list, body."""

    def __init__(self, start, headers, body=b''):
        self.start, self.headers, self.body = start, headers, body
        self.interim = []       # heads of 1xx that came before it
        self.trailers = []

    @property
    def status(self):
        return int(self.start.split(' ')[1])

    @property
    def method(self):
        return self.start.split(' ')[0]

    @property
    def path(self):
        return self.start.split(' ')[1]

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name, default=None):
        return ', '.join(self.all(name)) if self.all(name) else default

    def json(self):
        return json.loads(self.body)

    def problem(self, kind):
        """Checks that this is a problem document of that kind and returns it."""
        assert (self.get('content-type') or '').startswith('application/problem+json'), self
        doc = self.json()
        eq(doc['type'], 'urn:scopemesh:' + kind, 'problem type')
        eq(doc['status'], self.status, 'status member')
        return doc

    def __repr__(self):
        head = '\n'.join([self.start] + [f'{n}: {v}' for n, v in self.headers])
        return f'<{head}\n\n{self.body[:600]!r}>'


class Reader:
    """Reads whole messages from a socket; keeps what came too much for the next one."""

    def __init__(self, sock):
        self.sock, self.rest, self.trailers = sock, b'', []

    def more(self):
        data = self.sock.recv(65536)
        self.rest += data
        return bool(data)

    def until(self, mark):
        while mark not in self.rest:
            if not self.more():
                raise ConnectionError(f'closed before {mark!r}, got {self.rest[:300]!r}')
        head, self.rest = self.rest.split(mark, 1)
        return head

    def exactly(self, n):
        while len(self.rest) < n:
            if not self.more():
                raise ConnectionError(f'closed after {len(self.rest)} of {n} bytes')
        data, self.rest = self.rest[:n], self.rest[n:]
        return data

    def to_end(self):
        while self.more():
            pass
        data, self.rest = self.rest, b''
        return data

    def head(self):
        lines = self.until(b'\r\n\r\n').decode('latin-1').split('\r\n')
        return Message(lines[0], [tuple(x.strip() for x in l.split(':', 1)) for l in lines[1:]])

    def body(self, m, request_method=None):
        """The body of m, by its framing; a response without one is read to the end."""
        is_response = m.start.startswith('HTTP/')
        if is_response and (request_method == 'HEAD' or m.status in (204, 304) or m.status < 200):
            return b''
        if 'chunked' in (m.get('transfer-encoding') or ''):
            return self.chunks()
        if m.get('content-length') is not None:
            return self.exactly(int(m.get('content-length')))
        return self.to_end() if is_response else b''

    def chunks(self):
        out, self.trailers = [], []
        while True:
            size = int(self.until(b'\r\n').split(b';')[0], 16)
            if size == 0:
                while line := self.until(b'\r\n').decode('latin-1'):
                    self.trailers.append(tuple(x.strip() for x in line.split(':', 1)))
                return b''.join(out)
            out.append(self.exactly(size))
            eq(self.exactly(2), b'\r\n', 'end of chunk')

    def message(self, request_method=None):
        m, interim, self.trailers = self.head(), [], []
        while request_method and 100 <= m.status < 200 and m.status != 101:
            interim.append(m)
            m = self.head()
        m.interim = interim
        m.body = self.body(m, request_method)
        m.trailers = self.trailers
        return m


class Client:
    """A kept connection that sends raw bytes."""

    def __init__(self, addr, timeout=None):
        host, port = addr.rsplit(':', 1)
        self.sock = socket.create_connection((host.strip('[]'), int(port)), timeout or DEADLINE)
        self.addr, self.reader = addr, Reader(self.sock)

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode('latin-1'))

    def ask(self, method='GET', path='/', headers=(), body=None, version='1.1'):
        items = list(headers.items()) if isinstance(headers, dict) else list(headers)
        names = [n.lower() for n, _ in items]
        if 'host' not in names:
            items.insert(0, ('Host', self.addr))
        if body is not None and 'transfer-encoding' not in names:
            items.append(('Content-Length', str(len(body))))
        head = f'{method} {path} HTTP/{version}\r\n' + ''.join(f'{n}: {v}\r\n' for n, v in items)
        self.send(head.encode('latin-1') + b'\r\n' + (body or b''))
        return self.reader.message(method)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def ask(addr, method='GET', path='/', headers=(), body=None, timeout=None):
    """One request on a connection of its own."""
    with Client(addr, timeout) as c:
        return c.ask(method, path, headers, body)


def answer(body=b'', status='200 OK', headers=()):
    """The bytes of a response with Content-Length."""
    body = body if isinstance(body, bytes) else body.encode()
    lines = ''.join(f'{n}: {v}\r\n' for n, v in headers)
    return f'HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\n\r\n'.encode('latin-1') + body


def reset(sock):
    """Ends the connection with RST: the peer cannot know what became of its request."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\x01\0\0\0\0\0\0\0')
    sock.close()


# --- what a bed starts ---------------------------------------------------------------------------

class Server:
    """Accepts on a port of its own and runs serve(sock) in a thread per connection."""

    def __init__(self, serve, host=None, port=0):
        self.serve, self.host, self.connections, self.open = serve, host or loopback(), 0, set()
        self.lock = threading.Lock()
        self.listen(port)

    def listen(self, port):
        self.sock = socket.create_server((self.host, port), backlog=1024)
        self.port = self.sock.getsockname()[1]
        self.addr = f'{self.host}:{self.port}'
        threading.Thread(target=self.accept, args=(self.sock,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                self.open.add(sock)
            threading.Thread(target=self.run, args=(sock,), daemon=True).start()

    def run(self, sock):
        try:
            self.serve(sock)
        except (OSError, ValueError):
            pass
        finally:
            sock.close()
            with self.lock:
                self.open.discard(sock)

    def stop(self):
        """No more connections, and the open ones end; the port can be listened on again."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        with self.lock:
            for sock in list(self.open):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def restart(self):
        self.listen(self.port)


class Origin(Server):
    """An application instance.  handler(request, sock) returns the bytes to answer with, or None when
    it has used the socket itself.  requests holds every request that came, whole."""

    def __init__(self, name, handler=None, **kw):
        self.name, self.requests = name, []
        self.handler = handler or (lambda r, s: answer(name))
        super().__init__(self.converse, **kw)

    @property
    def url(self):
        return 'http://' + self.addr

    @property
    def last(self):
        return self.requests[-1]

    def converse(self, sock):
        reader = Reader(sock)
        while True:
            try:
                request = reader.message()
            except ConnectionError:
                return
            self.requests.append(request)
            response = self.handler(request, sock)
            if response is None:
                return
            sock.sendall(response)


class Relay(Server):
    """A TCP link to target with a one-way delay in seconds.  cut() ends every connection and refuses
    new ones; pause() holds what comes (a dead link that nobody announces); one_way holds one side."""

    def __init__(self, target, delay=0.0, **kw):
        self.target, self.delay = target, delay
        self.flow = {'to': threading.Event(), 'from': threading.Event()}
        self.resume()
        super().__init__(self.join, **kw)

    def join(self, sock):
        host, port = self.target.rsplit(':', 1)
        with socket.create_connection((host, int(port)), 5) as far:
            far.settimeout(None)
            back = threading.Thread(target=self.pump, args=(far, sock, 'from'), daemon=True)
            back.start()
            self.pump(sock, far, 'to')
            back.join()

    def pump(self, source, sink, way):
        try:
            while data := source.recv(65536):
                self.passed(way, data)
                if self.delay:
                    time.sleep(self.delay)
                self.flow[way].wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for s in (source, sink):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def passed(self, way, data):
        """For those who watch the link."""

    def cut(self):
        self.stop()

    def heal(self):
        self.restart()

    def pause(self, *ways):
        for way in ways or ('to', 'from'):
            self.flow[way].clear()

    def resume(self):
        for event in self.flow.values():
            event.set()

    def stop(self):
        self.resume()
        super().stop()


class Daemon:
    """One scopemeshd with its configuration, its log and the addresses it listens on.  popen(arguments, **options)
    starts it."""

    def __init__(self, bed, site, config, wait=True, popen=subprocess.Popen):
        self.popen = popen
        self.bed, self.site, self.dir = bed, site, os.path.join(bed.dir, site)
        os.makedirs(self.dir, exist_ok=True)
        self.config_path = bed.write(f'{site}/site.yaml', config)
        self.listeners, self.process = {}, None
        self.start(wait)

    def start(self, wait=True):
        self.err_path = os.path.join(self.dir, 'stderr.log')
        self.out_path = os.path.join(self.dir, 'access.log')
        self.mark = os.path.getsize(self.err_path) if os.path.exists(self.err_path) else 0
        with open(self.err_path, 'ab') as err, open(self.out_path, 'ab') as out:
            self.process = self.popen([SCOPEMESHD, '-c', self.config_path], stdin=subprocess.DEVNULL, stdout=out,
                                      stderr=err, cwd=self.dir)
        self.bed.processes.append(self.process)
        if wait:
            self.ready()

    def ready(self):
        def line():
            if self.process.poll() is not None:
                raise AssertionError(f'{self.site} ended with {self.process.returncode}: {self.log()[-2000:]}')
            return re.search(r'scopemeshd \S+ \S+ ready in (\d+) ms: ([^"\n]*)', self.log())
        found = wait_until(line, f'start line of {self.site}')
        self.ready_ms = int(found[1])
        self.listeners = dict(item.strip().split(' ', 1) for item in found[2].split(',') if ' ' in item.strip())

    def addr(self, service):
        return self.listeners[service]

    @property
    def admin(self):
        return self.listeners['admin']

    def log(self):
        with open(self.err_path, 'rb') as f:
            f.seek(self.mark)
            return f.read().decode('utf-8', 'replace')

    def access(self):
        """Access log lines so far, as objects."""
        with open(self.out_path, 'rb') as f:
            data = f.read()
        return [json.loads(l) for l in data[:data.rfind(b'\n') + 1].splitlines() if l.startswith(b'{')]

    def access_of(self, path):
        return wait_until(lambda: next((l for l in self.access() if l['path'] == path), None),
                          f'access log line of {path}')

    def rss_kib(self):
        with open(f'/proc/{self.process.pid}/status') as f:
            return int(re.search(r'VmRSS:\s+(\d+)', f.read())[1])

    def signal(self, sig):
        self.process.send_signal(sig)

    def stop(self, sig=SIGTERM):
        """Exit status."""
        if self.process.poll() is None:
            self.signal(sig)
        return self.process.wait(DEADLINE)

    def kill(self):
        self.process.kill()
        self.process.wait()


def yaml_value(value):
    return json.dumps(value)    # JSON is YAML, and quotes names such as no


class Bed:
    """What one test works with."""

    def __init__(self, name):
        self.name = name
        self.dir = tempfile.mkdtemp(prefix=f'scopemesh-{name}-')
        self.processes, self.servers, self.reports = [], [], []

    def write(self, path, text):
        path = os.path.join(self.dir, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write(text)
        return path

    def origin(self, name, handler=None, **kw):
        self.servers.append(Origin(name, handler, **kw))
        return self.servers[-1]

    def relay(self, target, delay=0.0):
        self.servers.append(Relay(target, delay))
        return self.servers[-1]

    def config(self, site, services, mesh=None, registry=None, mesh_tls=None, **top):
        """The text of a configuration. services: {name: {key: value}}, listen: a free port by default."""
        doc = {'site': site, 'state': './state', 'workers': 1,
               'services': {n: {'listen': '127.0.0.1:0', 'instances': [], **s} for n, s in services.items()},
               'admin': {'listen': '127.0.0.1:0'}}
        if mesh:
            doc['mesh'] = {'listen': mesh, 'tls': mesh_tls or {'insecure': True}}
        if registry:
            doc['registry'] = {'file': registry}
        doc.update(top)
        return ''.join(f'{key}: {yaml_value(value)}\n' for key, value in doc.items())

    def daemon(self, site, services, popen=subprocess.Popen, **kw):
        return Daemon(self, site, self.config(site, services, **kw), popen=popen)

    def mesh(self, sites, links=None, labels=None, **top):
        """Starts one daemon per site: sites = {'dc1': {'image': {...}}}.  links(site, addr) may return another
        address that the others know the site by (a relay's).  top: keys for every site, or
        callables of the site's name.  Returns {name: Daemon}."""
        for attempt in range(3):
            mesh = {name: mesh_addr() for name in sites}
            known = {name: links(name, addr) if links else addr for name, addr in mesh.items()}
            registry = self.write('sites.yaml', yaml_value({'sites': {
                n: {'mesh': a, 'labels': (labels or {}).get(n, {})} for n, a in known.items()}}) + '\n')
            extra = {k: v for k, v in top.items() if not callable(v)}
            daemons = {name: Daemon(self, name, self.config(
                name, services, mesh=mesh[name], registry=registry, **extra,
                **{k: v(name) for k, v in top.items() if callable(v)}), wait=False)
                for name, services in sites.items()}
            try:
                for d in daemons.values():
                    d.ready()
                return daemons
            except AssertionError:
                # Another process may have taken a mesh port between our look and the daemon's bind.
                taken = any(d.process.poll() == 3 and 'in use' in d.log() for d in daemons.values())
                for d in daemons.values():
                    d.kill()
                if not taken or attempt == 2:
                    raise

    def three(self, service='image', handler=None, **kw):
        """Three sites with one service, an origin at each that answers with its site's name."""
        options = kw.pop('options', {})
        origins = {s: self.origin(s, (lambda r, k, s=s: handler(s, r, k)) if handler else None)
                   for s in ('dc1', 'dc2', 'dc3')}
        sites = {s: {service: {'instances': [o.url], **options}} for s, o in origins.items()}
        return self.mesh(sites, **kw), origins

    def close(self, failed):
        for p in self.processes:
            if p.poll() is None:
                p.terminate()
        for p in self.processes:
            try:
                p.wait(3)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        for s in self.servers:
            s.stop()
        problem = self.check_remains()
        if failed or problem:
            keep = os.environ.get('TEST_LOGS')
            if keep:
                os.makedirs(keep, exist_ok=True)
                target = os.path.join(keep, self.name)
                shutil.rmtree(target, ignore_errors=True)
                shutil.move(self.dir, target)
                self.dir = target
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        return problem

    def check_remains(self):
        """A daemon that crashed or a sanitizer that spoke fails the test, whatever it looked at."""
        for folder, _, files in os.walk(self.dir):
            for name in files:
                if name == 'stderr.log':
                    with open(os.path.join(folder, name), errors='replace') as f:
                        text = f.read()
                    report = re.search(r'ERROR: \w+Sanitizer|runtime error:|WARNING: ThreadSanitizer', text)
                    if report:
                        return 'sanitizer report:\n' + text[max(0, report.start() - 200):][:3000]
        for p in self.processes:
            if p.returncode in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS):
                return f'scopemeshd {p.pid} died of signal {-p.returncode}'
        return None


# --- running -------------------------------------------------------------------------------------

def sanitized():
    """A sanitizer's own memory is not the daemon's, and no limit to addresses suits it."""
    try:
        with open(SCOPEMESHD, 'rb') as f:
            return re.search(rb'__(asan|tsan)_init', f.read()) is not None
    except FileNotFoundError:
        return False    # main says it


def run_program(*argv, timeout=None, **kw):
    return subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=timeout or DEADLINE, **kw)


def ca(*args, status=0):
    """scopectl ca."""
    p = run_program(SCOPECTL, 'ca', *args)
    eq(p.returncode, status, f'exit status of ca {args}: {p.stderr}')
    return p


def openssl(*args):
    """What the openssl command prints; for certificates that scopectl does not make, and to judge those it does."""
    p = run_program('openssl', *args, timeout=30)
    eq(p.returncode, 0, f'openssl {args}: {p.stderr}')
    return p.stdout


def run_one(name, function):
    """'passed', 'failed' or 'skipped'."""
    started, bed, problem, text = time.monotonic(), Bed(name), None, ''
    try:
        function(bed)
        outcome = 'passed'
    except Skip as why:
        outcome, text = 'skipped', str(why)
    except Exception:
        outcome, text = 'failed', traceback.format_exc()
    problem = bed.close(outcome == 'failed') or dead_shared()
    if problem:
        outcome, text = 'failed', text + problem
    word = {'passed': 'ok  ', 'failed': 'FAIL', 'skipped': 'skip'}[outcome]
    print(f'{word} {name} {time.monotonic() - started:.2f}s', flush=True)
    if outcome == 'skipped':
        print(f'     {text}')
    if outcome == 'failed':
        print('     ' + text.strip().replace('\n', '\n     '))
        show_logs(bed)
    return outcome


def show_logs(bed):
    for folder, _, files in sorted(os.walk(bed.dir)):
        for name in sorted(files):
            if name.endswith('.log'):
                with open(os.path.join(folder, name), errors='replace') as f:
                    lines = f.read().splitlines()[-12:]
                for line in lines:
                    print(f'     | {os.path.relpath(os.path.join(folder, name), bed.dir)}: {line[:300]}')
    if not os.environ.get('TEST_LOGS'):
        shutil.rmtree(bed.dir, ignore_errors=True)
    else:
        print(f'     kept: {bed.dir}')


shared_beds = []


def shared(build):
    """What build(bed) returns, built once for all tests of a file that ask for it: for tables of many small
    cases.  Built anew when one of its processes has ended (the test that ended it fails)."""
    for bed, maker, value in shared_beds:
        if maker is build and all(p.poll() is None for p in bed.processes):
            return value
    bed = Bed(f'shared-{len(shared_beds)}')
    shared_beds.append((bed, build, None))
    value = build(bed)
    shared_beds[-1] = (bed, build, value)
    return value


def dead_shared():
    return next((f'scopemeshd {p.pid} ended with {p.poll()}' for bed, _, _ in shared_beds[-1:] for p in bed.processes
                 if p.poll() is not None), None)


def group(names, title):
    """The tests that names holds from here on are counted under this title."""
    names[f'group {title}'] = title


def show_groups(names, outcomes):
    counts, title = {}, None
    for name, value in names.items():
        if name.startswith('group '):
            title = value
        elif title and name in outcomes:
            counts.setdefault(title, []).append(outcomes[name] == 'passed')
    for title, passed in counts.items():
        print(f'     {title}: {sum(passed)} of {len(passed)}')


def main(names):
    words = [a for a in sys.argv[1:] if not a.startswith('-')]
    tests = [(n, f) for n, f in names.items() if n.startswith('test_') and callable(f)
             and (not words or any(w in n for w in words))]
    counts, outcomes = {'passed': 0, 'failed': 0, 'skipped': 0}, {}
    if not os.access(SCOPEMESHD, os.X_OK):
        sys.exit(f'{SCOPEMESHD} is not there: run ./bootstrap build first')
    for name, function in tests:
        outcomes[name] = run_one(name, function)
        counts[outcomes[name]] += 1
    for bed, _, _ in shared_beds:
        problem = bed.close(False)
        if problem:
            counts['failed'] += 1
            print(f'FAIL {bed.name}\n     {problem}')
    show_groups(names, outcomes)
    print(', '.join(f'{n} {word}' for word, n in counts.items()), flush=True)
    sys.exit(1 if counts['failed'] or not tests else 0)
