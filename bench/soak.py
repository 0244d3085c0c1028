#!/usr/bin/python3
"""A soak: two sites under full load for as long as is asked, everything going wrong that may go wrong around it.

    bench/soak.py --build BUILD --seconds 600          exit status 0: nothing failed, nothing grew

What runs:
  dc1, dc2     scopemeshd, two workers each, between them a mesh with mutual TLS (--plain: without); --program chooses
               another build (ASan)
  image        three instances at dc1 (origin.c), one of them killed and started again every second or so
  files        at both sites an instance of ours with threads (below) that is never killed: large bodies
  load         wrk at full speed on dc1's image: no request of it may fail
  honest       processes that download and upload, with Content-Length and chunked, kept connections and new ones,
               at dc1 and by a scope at dc2, some of them slowly; every byte is checked by MD5. None may fail
  abusers      processes that leave at every phase of a request, in order or by a reset, send garbage, or trickle
  reloads      SIGHUP to both sites, each time with another configuration: instances, listeners and limits change

What is judged, after a warm-up of a quarter of the time (a minute at most):
  growth       of resident memory and of descriptors of both daemons: the median of the last third of the samples against
               that of the first, more than MEMORY_SLACK or DESCRIPTOR_SLACK is too much
               The memory of correlations (scope.carriers, correlate:) is off: by design it fills for a quarter of an hour,
               up to its bound, which would hide or feign a growth
  the end      when all have left, no connection and no descriptor stays that was not there at the beginning
  the log      no error, no sanitizer's report, both daemons end in 0
"""
import argparse
import hashlib
import http.client
import http.server
import multiprocessing
import os
import queue
import random
import re
import signal
import socket
import socketserver
import statistics
import struct
import subprocess
import sys
import threading
import time

from rig import HERE, Process, Rig, free_port, wait_for_port

MEMORY_SLACK = 2 << 20       # bytes
DESCRIPTOR_SLACK = 40        # kept connections and pipes come and go
WAIT = 30                    # seconds an honest client is ready to wait
SIZES = [1, 1000, 16384, 70_000, 200_000, 1 << 20, 5 << 20, 12_345_678]
BLOCK = 1 << 16


# --- content ----------------------------------------------------------------------------------------

def content(seed, size):
    """Pieces of size bytes that no other seed and no other place has."""
    block = random.Random(seed).randbytes(BLOCK - 8)
    for i in range(0, size, BLOCK):
        yield (struct.pack('>Q', i) + block)[:min(BLOCK, size - i)]


def digest(pieces):
    md5 = hashlib.md5()
    for piece in pieces:
        md5.update(piece)
    return md5.hexdigest()


class Files(http.server.BaseHTTPRequestHandler):
    """GET /SEED/SIZE[/chunked]: that content.  PUT, POST: the MD5 of what came."""

    protocol_version = 'HTTP/1.1'
    wbufsize = 1 << 16

    def do_GET(self):
        seed, size, *form = self.path.strip('/').split('/')
        chunked = form == ['chunked']
        self.send_response(200)
        self.send_header('Transfer-Encoding' if chunked else 'Content-Length', 'chunked' if chunked else size)
        self.end_headers()
        for piece in content(int(seed), int(size)):
            self.wfile.write(b'%x\r\n%s\r\n' % (len(piece), piece) if chunked else piece)
        if chunked:
            self.wfile.write(b'0\r\n\r\n')

    def pieces(self):
        if 'Content-Length' in self.headers:
            left = int(self.headers['Content-Length'])
            while left:
                piece = self.rfile.read(min(left, BLOCK))
                if not piece:
                    raise ConnectionError
                left -= len(piece)
                yield piece
            return
        while True:
            line = self.rfile.readline()
            if not line:
                raise ConnectionError
            n = int(line, 16)
            if n:
                yield self.rfile.read(n)
            self.rfile.readline()
            if not n:
                return

    def do_PUT(self):
        text = digest(self.pieces()).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_PUT

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass    # an abuser's request, cut


class FilesServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request, client_address):
        pass


def serve_files(port):
    FilesServer(('127.0.0.1', port), Files).serve_forever()


# --- honest clients ------------------------------------------------------------------------------------

class Honest:
    """One kept connection, request after request."""

    def __init__(self, port, rng):
        self.port, self.rng, self.conn = port, rng, None

    def connection(self):
        if self.conn and self.rng.random() < 0.2:
            self.conn.close()
            self.conn = None
        if not self.conn:
            self.conn = http.client.HTTPConnection('127.0.0.1', self.port, timeout=WAIT)
        return self.conn

    def headers(self):
        return {'X-Scope': 'files: dc2'} if self.rng.random() < 0.4 else {}

    def answer(self, what):
        r = self.conn.getresponse()
        if r.status != 200:
            raise AssertionError(f'{what}: {r.status} {r.read(2000)!r}')
        return r

    def download(self):
        seed, size, slow = self.rng.randrange(1 << 30), self.rng.choice(SIZES), self.rng.random() < 0.1
        path = f'/{seed}/{size}' + ('/chunked' if self.rng.random() < 0.4 else '')
        self.connection().request('GET', path, headers=self.headers())
        r, got = self.answer(path), hashlib.md5()
        while piece := r.read(BLOCK):
            got.update(piece)
            if slow:
                time.sleep(0.005)
        if got.hexdigest() != digest(content(seed, size)):
            raise AssertionError(f'{path}: other content')

    def upload(self):
        seed, size, slow = self.rng.randrange(1 << 30), self.rng.choice(SIZES), self.rng.random() < 0.1
        method, chunked = self.rng.choice(['PUT', 'POST']), self.rng.random() < 0.4

        def pieces():
            for piece in content(seed, size):
                if slow:
                    time.sleep(0.005)
                yield piece
        headers = self.headers()
        if not chunked:
            headers['Content-Length'] = str(size)
        what = f'{method} of {size} bytes{", chunked" if chunked else ""}'
        self.connection().request(method, '/', pieces(), headers, encode_chunked=chunked)
        if self.answer(what).read().decode() != digest(content(seed, size)):
            raise AssertionError(f'{what}: other content arrived')


def be_honest(port, until, seed, results):
    """Requests without end; (requests, [what failed])."""
    rng = random.Random(seed)
    client, count, failed = Honest(port, rng), 0, []
    while time.time() < until and len(failed) < 20:
        try:
            (client.download if rng.random() < 0.6 else client.upload)()
        except (OSError, http.client.HTTPException, AssertionError) as e:
            failed.append(f'{type(e).__name__}: {e}')
            client = Honest(port, rng)
        count += 1
    results.put(('honest', count, failed))


# --- abusers ------------------------------------------------------------------------------------------

HEAD = b'Host: x\r\nX-Scope: files: %s\r\n'


def chunked_part(rng):
    return b'Transfer-Encoding: chunked\r\n\r\n' + rng.choice([b'', b'5', b'5\r\n', b'5\r\nhel', b'5\r\nhello\r\n', b'x'])


def abuses(rng):
    """(bytes to send, bytes to read before leaving)."""
    head = HEAD % rng.choice([b'dc1', b'dc2'])
    get = b'GET /%d/%d HTTP/1.1\r\n' % (rng.randrange(1 << 30), rng.choice(SIZES)) + head + b'\r\n'
    put = b'%s / HTTP/1.1\r\n' % rng.choice([b'PUT', b'POST']) + head
    return rng.choice([
        lambda: (b'', 0),                                                     # connects only
        lambda: (get[:rng.randrange(len(get))], 0),                           # within the head
        lambda: (get, 0),                                                     # the answer is not waited for
        lambda: (get, rng.randrange(1, 1 << 20)),                             # within the answer
        lambda: (get * rng.randrange(2, 30), rng.randrange(1, 1 << 18)),      # pipelined
        lambda: (put + b'Content-Length: 300000\r\n\r\n' + bytes(rng.randrange(300000)), 0),
        lambda: (put + b'Content-Length: 9000000\r\n\r\n' + bytes(rng.randrange(1 << 20)), 0),
        lambda: (put + chunked_part(rng), 0),
        lambda: (put + b'Expect: 100-continue\r\nContent-Length: 100\r\n\r\n', rng.randrange(100)),
        lambda: (get.replace(b'\r\n\r\n', b'\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'), 100),
        lambda: (rng.randbytes(rng.randrange(1, 3000)), 100),                 # garbage
        lambda: (get.replace(b'\r\n', b'\n'), 100),
        lambda: (b'GET / HTTP/1.1\r\n' + b'X: y\r\n' * rng.randrange(20000), 100),
    ])()


def abuse(port, rng):
    send, read = abuses(rng)
    with socket.create_connection(('127.0.0.1', port), 5) as s:
        s.settimeout(0.3)
        if rng.random() < 0.03:
            for i in range(min(len(send), 40)):
                s.sendall(send[i:i + 1])
                time.sleep(0.02)
        else:
            s.sendall(send)
        if rng.random() < 0.3:
            s.shutdown(socket.SHUT_WR)
        while read > 0:
            piece = s.recv(min(read, BLOCK))
            if not piece:
                break
            read -= len(piece)
        if rng.random() < 0.5:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))


def be_abusive(ports, until, seed, results):
    rng, count = random.Random(seed), 0
    while time.time() < until:
        try:
            abuse(rng.choice(ports), rng)
        except OSError:
            pass    # refused, cut: as it should be
        count += 1
        time.sleep(rng.random() * 0.01)
    results.put(('abusers', count, []))


# --- the daemons -----------------------------------------------------------------------------------------

class Site:
    """One scopemeshd and its configuration, which every reload changes."""

    def __init__(self, rig, name, files):
        self.rig, self.name, self.files = rig, name, files
        self.tls = f'cert: {name}.pem, key: {name}.key, ca: ca.pem' if rig.options.tls else 'insecure: true'
        self.image_port, self.files_port, self.admin_port, self.mesh_port, self.extra_port = (free_port() for _ in range(5))
        self.instances, self.turn, self.process = [], 0, None

    def text(self, sites):
        n = self.turn
        images = self.instances[n % 2:] + ([self.instances[0]] if n % 2 and n % 3 else [])
        extra = f', extra: {{listen: "127.0.0.1:{self.extra_port}", prefix: /{n}, instances: []}}' if n % 2 else ''
        images = ', '.join(f'"http://127.0.0.1:{p}"' for p in images)
        return f'''site: {self.name}
state: ./{self.name}.state
workers: 2
services:
  {{image: {{listen: "127.0.0.1:{self.image_port}", instances: [{images}]}},
   files: {{listen: "127.0.0.1:{self.files_port}", instances: ["http://127.0.0.1:{self.files}"]}}{extra}}}
mesh: {{listen: "127.0.0.1:{self.mesh_port}", tls: {{{self.tls}}}}}
registry: {{file: {sites}}}
admin: {{listen: "127.0.0.1:{self.admin_port}"}}
limits: {{connections: {10000 + n % 3}}}
timeouts: {{header: {5 + n % 2}s}}
scope: {{carriers: [header, baggage]}}
log: {{access: "off", level: warn}}
'''

    def start(self, program, sites):
        self.sites = sites
        path = self.rig.write(f'{self.name}.yaml', self.text(sites))
        # Of a sanitized build: what it holds back of freed memory is no growth.
        env = {'ASAN_OPTIONS': 'quarantine_size_mb=2:thread_local_quarantine_size_kb=64', **os.environ}
        self.process = Process(self.rig, self.name, [program, '-c', path], '0,1', env)
        wait_for_port(self.admin_port, self.process)

    def reload(self):
        self.turn += 1
        path = self.rig.write(f'{self.name}.yaml.new', self.text(self.sites))
        os.rename(path, path[:-len('.new')])
        self.process.popen.send_signal(signal.SIGHUP)

    def metrics(self):
        c = http.client.HTTPConnection('127.0.0.1', self.admin_port, timeout=WAIT)
        c.request('GET', '/metrics')
        text = c.getresponse().read().decode()
        c.close()
        return {m[1]: float(m[2]) for m in re.finditer(r'^(\w+(?:\{[^}]*\})?) ([\d.eE+-]+)$', text, re.M)}

    def clients(self):
        return sum(v for k, v in self.metrics().items() if k.startswith('scopemesh_connections{') and 'client' in k)

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.process.pid}/fd'))

    def sample(self):
        return self.process.rss(), self.descriptors()


# --- what goes wrong --------------------------------------------------------------------------------------

def kill_and_restart(rig, image, until):
    """One instance at a time is gone."""
    while time.time() < until:
        i = random.randrange(len(image.instances))
        victim = next(p for p in rig.processes if p.name == f'image-{i}' and p.popen.poll() is None)
        victim.popen.kill()
        victim.popen.wait()
        rig.processes.remove(victim)
        time.sleep(random.random() * 0.5)
        wait_for_port(image.instances[i], Process(rig, f'image-{i}', [rig.origin, str(image.instances[i])], '0,1'))
        time.sleep(0.5 + random.random())


def reload_all(sites, until):
    while time.time() < until:
        time.sleep(1 + random.random() * 2)
        for s in sites:
            s.reload()


# --- verdict ------------------------------------------------------------------------------------------------

def growth(samples):
    """Last third less first third, by medians."""
    third = max(len(samples) // 3, 1)
    return statistics.median(samples[-third:]) - statistics.median(samples[:third])


def sixths(values):
    """How it went: medians of six parts."""
    n = max(len(values) // 6, 1)
    return ', '.join(f'{statistics.median(values[i:i + n]) / 2**20:.2f}' for i in range(0, n * 6, n) if values[i:i + n])


def check_growth(name, samples, complaints):
    rss, fds = [s[0] for s in samples], [s[1] for s in samples]
    print(f'soak: {name}: memory over time, MiB: {sixths(rss)}')
    print(f'soak: {name}: memory {statistics.median(rss) / 2**20:.1f} MiB, most {max(rss) / 2**20:.1f}, '
          f'growth {growth(rss) / 1024:+.0f} KiB; descriptors {statistics.median(fds):.0f}, most {max(fds)}, '
          f'growth {growth(fds):+.0f}')
    if growth(rss) > MEMORY_SLACK:
        complaints.append(f'{name}: resident memory grows by {growth(rss) / 1024:.0f} KiB')
    if growth(fds) > DESCRIPTOR_SLACK:
        complaints.append(f'{name}: descriptors grow by {growth(fds):.0f}')


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def check_end(site, before, complaints):
    """All have left: idle upstream connections go within seconds, half heads by their timeout.  Two clients are the
    other site's probe and the one that asks."""
    if not wait_for(lambda: site.clients() <= 2, 40):
        complaints.append(f'{site.name}: {site.clients():.0f} clients stay')
    if not wait_for(lambda: site.descriptors() <= before + 4, 40):
        complaints.append(f'{site.name}: {site.descriptors()} descriptors stay, {before} were there')
    site.process.popen.send_signal(signal.SIGTERM)
    try:
        status = site.process.popen.wait(40)
    except subprocess.TimeoutExpired:
        complaints.append(f'{site.name}: does not end')
        return
    if status:
        complaints.append(f'{site.name}: exit status {status}')


def check_log(rig, name, complaints):
    with open(os.path.join(rig.dir, name + '.log'), errors='replace') as f:
        text = f.read()
    bad = [line for line in text.splitlines() if re.search(r'"level": ?"error"|\berror\b|ERROR: |runtime error|Sanitizer', line)]
    if bad:
        complaints.append(f'{name}: its log says: {bad[0][:300]} ({len(bad)} such lines)')


def read_wrk(popen, complaints):
    out, _ = popen.communicate()
    found = re.search(r'REPORT (\d+) (\d+) (\d+)', out)
    if not found:
        complaints.append(f'wrk said: {out[-500:]}')
        return
    n, us, errors = map(int, found.groups())
    print(f'soak: load: {n} requests, {n * 1e6 / us:.0f} each second, {errors} failed')
    if errors:
        lines = [x.strip() for x in out.splitlines() if 'errors' in x or 'Non-2xx' in x]
        complaints.append(f'load: {errors} requests of {n} failed: {"; ".join(lines)}')


# --- the run ------------------------------------------------------------------------------------------------

def start_everything(rig, options):
    rig.origin = rig.compile('origin')
    files = {name: free_port() for name in ('dc1', 'dc2')}
    servers = [multiprocessing.Process(target=serve_files, args=(p,), daemon=True) for p in files.values()]
    for s in servers:
        s.start()
    sites = [Site(rig, name, port) for name, port in files.items()]
    if options.tls:
        for verb in (['init'], *(['issue', s.name] for s in sites)):
            subprocess.run([os.path.join(rig.build, 'scopectl'), 'ca', *verb, '--dir', rig.dir], check=True,
                           stdout=subprocess.DEVNULL)
    table = rig.write('sites.yaml', 'sites:\n' + ''.join(
        f'  {s.name}: {{mesh: "127.0.0.1:{s.mesh_port}"}}\n' for s in sites))
    ports = [free_port() for _ in range(3)]
    for i, port in enumerate(ports):
        wait_for_port(port, Process(rig, f'image-{i}', [rig.origin, str(port)], '0,1'))
    for s in sites:
        s.instances = ports
        s.start(options.program or os.path.join(rig.build, 'scopemeshd'), table)
    return sites


def start_clients(options, sites, until, results):
    first, make = sites[0], multiprocessing.Process
    clients = [make(target=be_honest, args=(first.files_port, until, options.seed + i, results))
               for i in range(options.honest)]
    ports = [first.files_port, first.image_port, first.mesh_port, sites[1].files_port, first.admin_port]
    clients += [make(target=be_abusive, args=(ports, until, options.seed + 100 + i, results))
                for i in range(options.abusers)]
    for c in clients:
        c.start()
    return clients


def start_load(rig, options, port):
    argv = [rig.peer('wrk'), '-t1', f'-c{options.connections}', f'-d{options.seconds}s', f'--timeout={WAIT}s', '-s',
            os.path.join(HERE, 'report.lua'), f'http://127.0.0.1:{port}/v2/images']
    return subprocess.Popen(argv, env=rig.peer_env, stdout=subprocess.PIPE, text=True)


def watch(sites, until, warm):
    """Samples of each second after the warm-up; ends early when a daemon does."""
    samples = {s.name: [] for s in sites}
    began = time.time()
    while time.time() < until:
        time.sleep(1)
        for s in sites:
            if s.process.popen.poll() is not None:
                return samples, f'{s.name} ended with {s.process.popen.returncode} after {time.time() - began:.0f} s'
            if time.time() - began >= warm:
                samples[s.name].append(s.sample())
    return samples, None


def gather(clients, results, complaints):
    for c in clients:
        try:
            kind, count, failed = results.get(timeout=WAIT * 3)
        except queue.Empty:
            complaints.append('a client hangs')
            break
        print(f'soak: {kind}: {count} requests' + (f', {len(failed)} failed' if kind == 'honest' else ''))
        complaints += [f'honest request failed: {f}' for f in failed[:5]]


def soak(rig, options):
    complaints, results = [], multiprocessing.Queue()
    sites = start_everything(rig, options)
    before = {s.name: s.descriptors() for s in sites}
    until = time.time() + options.seconds
    load = start_load(rig, options, sites[0].image_port)
    clients = start_clients(options, sites, until, results)
    for target, args in ((kill_and_restart, (rig, sites[0], until)), (reload_all, (sites, until))):
        threading.Thread(target=target, args=args, daemon=True).start()
    samples, ended = watch(sites, until, min(options.seconds / 4, 60))
    if ended:
        complaints.append(ended)
    gather(clients, results, complaints)
    read_wrk(load, complaints)
    for s in sites:
        print(f'soak: {s.name}: {s.turn} reloads')
        if not ended:
            check_growth(s.name, samples[s.name], complaints)
            check_end(s, before[s.name], complaints)
        check_log(rig, s.name, complaints)
    return complaints


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--build', default='.', help='build folder (default: here)')
    p.add_argument('--program', help='another scopemeshd than the one of the build folder')
    p.add_argument('--plain', dest='tls', action='store_false', help='no TLS between the sites')
    p.add_argument('--seconds', type=int, default=600)
    p.add_argument('--connections', type=int, default=64, help='of wrk')
    p.add_argument('--honest', type=int, default=4, help='processes')
    p.add_argument('--abusers', type=int, default=3, help='processes')
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--folder', default='soak.d', help='below BUILD/bench, for two at a time')
    options = p.parse_args()
    options.load_core = options.proxy_core = '0,1'
    rig = Rig(options, options.folder)
    try:
        complaints = soak(rig, options)
    finally:
        rig.close()
    for c in complaints:
        print(f'soak: {c}')
    print('soak: FAILED' if complaints else 'soak: passed: no honest request failed, nothing grew, nothing stayed')
    sys.exit(1 if complaints else 0)


if __name__ == '__main__':
    main()
