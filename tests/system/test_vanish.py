#!/usr/bin/python3
"""Upstreams that vanish without a word: connections are not made, or what was made falls silent.  Requests end in time
(timeouts.connect, timeouts.response), others are not held up, and all is well again when the upstream is."""
import os
import socket
import subprocess
import time

import harness
from harness import Client, answer, ask, eq, wait_until

CONNECT, RESPONSE = 0.3, 0.6
LIMITS = {'connect': f'{int(CONNECT * 1000)}ms', 'response': f'{int(RESPONSE * 1000)}ms'}


class Deaf:
    """Listens, but its queue is full: the kernel drops whoever knocks, as when the machine has gone."""

    def __init__(self, bed, port=0, host=None):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((host or harness.loopback(), port))
        self.sock.listen(0)
        self.host, self.port = self.sock.getsockname()
        self.addr = f'{self.host}:{self.port}'
        self.fill = []
        while True:
            s = socket.socket()
            s.settimeout(0.2)
            self.fill.append(s)
            try:
                s.connect((self.host, self.port))
            except socket.timeout:
                break
            assert len(self.fill) < 100, 'the queue never fills'
        bed.servers.append(self)

    def stop(self):
        for s in self.fill:
            s.close()
        self.sock.close()

    def replaced(self, bed, name):
        """An origin at the same address, which hears."""
        self.stop()
        return bed.origin(name, host=self.host, port=self.port)


def timed(*args, **kw):
    started = time.monotonic()
    r = ask(*args, **kw)
    return r, time.monotonic() - started


def in_time(seconds, limit):
    assert limit - 0.02 <= seconds < limit + 0.4, f'{seconds:.3f} s, limit {limit} s'


def test_an_instance_that_cannot_be_connected_to_gives_503_in_time(bed):
    deaf = Deaf(bed)
    d = bed.daemon('dc1', {'image': {'instances': [f'http://{deaf.addr}']}}, timeouts=LIMITS)
    for method in ('GET', 'POST'):
        r, seconds = timed(d.addr('image'), method, body=b'x')
        eq(r.status, 503)
        r.problem('no-instance')
        in_time(seconds, CONNECT)
    eq(d.log().count('cannot be connected to'), 1)
    deaf.replaced(bed, 'o')
    eq(ask(d.addr('image')).body, b'o', 'back at once')
    wait_until(lambda: 'answers again' in d.log(), 'a line')


def test_requests_to_others_are_not_held_up(bed):
    deaf, o = Deaf(bed), bed.origin('o')
    d = bed.daemon('dc1', {'image': {'instances': [f'http://{deaf.addr}']}, 'key': {'instances': [o.url]}})
    waiting = [Client(d.addr('image')) for _ in range(50)]
    for c in waiting:
        c.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    for _ in range(50):
        r, seconds = timed(d.addr('key'))
        eq(r.status, 200)
        assert seconds < 0.5, seconds
    for c in waiting:
        c.close()


def test_of_two_instances_one_that_has_gone_costs_time_once(bed):
    deaf, o = Deaf(bed), bed.origin('o')
    d = bed.daemon('dc1', {'image': {'instances': [f'http://{deaf.addr}', o.url]}}, timeouts=LIMITS)
    late = 0
    for i in range(40):
        r, seconds = timed(d.addr('image'), ('GET', 'POST')[i % 2], body=b'x')
        eq(r.status, 200)
        late += seconds > CONNECT / 2
    eq(late, 1, 'requests that waited')
    assert 'passed over for 0.5 s' in d.log()
    back = deaf.replaced(bed, 'back')
    wait_until(lambda: ask(d.addr('image')).body == b'back', 'the one that is back')
    assert back.requests


def test_an_instance_that_falls_silent_gives_504_in_time(bed):
    """Its kept connection is there still, as far as anyone here can know."""
    o = bed.origin('o')
    link = bed.relay(o.addr)
    d = bed.daemon('dc1', {'image': {'instances': [f'http://{link.addr}']}}, timeouts=LIMITS)
    eq(ask(d.addr('image')).status, 200)
    link.pause()
    r, seconds = timed(d.addr('image'))
    eq(r.status, 504)
    in_time(seconds, RESPONSE)
    r, seconds = timed(d.addr('image'), 'POST', body=b'x')
    eq(r.status, 504)
    r.problem('outcome-unknown')
    in_time(seconds, RESPONSE)
    link.resume()
    eq(ask(d.addr('image')).status, 200, 'back at once')


def test_of_two_instances_one_that_falls_silent_is_passed_over(bed):
    o, other = bed.origin('o'), bed.origin('other')
    link = bed.relay(o.addr)
    d = bed.daemon('dc1', {'image': {'instances': [f'http://{link.addr}', other.url]}}, timeouts=LIMITS)
    wait_until(lambda: ask(d.addr('image')).body == b'o', 'it is used')
    link.pause()
    wait_until(lambda: eq(ask(d.addr('image')).status, 200) or 'fails, passed over' in d.log(), 'it is passed over', 20)
    r, seconds = timed(d.addr('image'))
    assert r.body == b'other' and seconds < RESPONSE / 2, (r, seconds)
    link.resume()
    wait_until(lambda: ask(d.addr('image')).body == b'o', 'it is used again')


def test_a_site_that_has_gone_gives_503_in_time_and_otherwise_moves_on(bed):
    deaf, o = Deaf(bed), bed.origin('dc1')
    registry = bed.write('sites.yaml', harness.yaml_value({'sites': {
        'dc1': {'mesh': (mesh := harness.mesh_addr())}, 'dc2': {'mesh': deaf.addr}}}))
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}}, mesh=mesh, registry=registry, timeouts=LIMITS)
    r, seconds = timed(d.addr('image'), headers={'X-Scope': 'image: dc2'})
    eq(r.status, 503)
    r.problem('unreachable')
    in_time(seconds, CONNECT)
    r, seconds = timed(d.addr('image'), 'POST', headers={'X-Scope': 'image: dc2; dc1'}, body=b'x')
    eq((r.status, r.body), (200, b'dc1'))
    r, seconds = timed(d.addr('image'))
    assert r.status == 200 and seconds < CONNECT / 2, 'local-first'


# --- a cable that is pulled ----------------------------------------------------------------------------------

class Cable:
    """An origin in a network namespace of its own; pull() takes its link down, so that packets go nowhere."""

    def __init__(self, bed):
        if os.geteuid() or not all(subprocess.run(['sh', '-c', f'command -v {tool}'], capture_output=True).returncode == 0
                                   for tool in ('ip', 'unshare', 'nsenter')):
            raise harness.Skip('network namespaces need rights, ip, unshare and nsenter')
        tag = f'{os.getpid() % 10000}{id(bed) % 1000}'
        self.here, self.there = f'sm{tag}a', f'sm{tag}b'
        self.net = f'10.{203 + os.getpid() % 50}.{os.getpid() // 50 % 250}'
        script = ('import http.server\n'
                  'class H(http.server.BaseHTTPRequestHandler):\n'
                  '    protocol_version = "HTTP/1.1"\n'
                  '    def do_GET(self):\n'
                  '        self.send_response(200); self.send_header("Content-Length", "2"); self.end_headers()\n'
                  '        self.wfile.write(b"ok")\n'
                  '    def log_message(self, *a): pass\n'
                  'import sys; sys.stdin.readline()\n'
                  f'http.server.ThreadingHTTPServer(("{self.net}.2", 8080), H).serve_forever()\n')
        self.process = subprocess.Popen(['unshare', '--net', 'python3', '-c', script], stdin=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)
        bed.servers.append(self)
        wait_until(lambda: os.readlink(f'/proc/{self.process.pid}/ns/net') != os.readlink('/proc/self/ns/net'), 'namespace')
        try:
            self.run('ip', 'link', 'add', self.here, 'type', 'veth', 'peer', 'name', self.there)
            self.run('ip', 'link', 'set', self.there, 'netns', str(self.process.pid))
            self.run('ip', 'addr', 'add', f'{self.net}.1/24', 'dev', self.here)
            self.run('ip', 'link', 'set', self.here, 'up')
            self.inside('ip', 'addr', 'add', f'{self.net}.2/24', 'dev', self.there)
            self.inside('ip', 'link', 'set', self.there, 'up')
        except subprocess.CalledProcessError as e:
            raise harness.Skip(f'no network namespace with a link: {e.stderr.decode().strip()}')
        self.process.stdin.write(b'go\n')
        self.process.stdin.flush()
        self.url = f'http://{self.net}.2:8080'

    @staticmethod
    def run(*argv):
        subprocess.run(argv, check=True, capture_output=True)

    def inside(self, *argv):
        self.run('nsenter', '--net', '-t', str(self.process.pid), *argv)

    def pull(self):
        self.inside('ip', 'link', 'set', self.there, 'down')

    def plug(self):
        self.inside('ip', 'link', 'set', self.there, 'up')

    def stop(self):
        self.process.kill()
        self.process.wait()
        subprocess.run(['ip', 'link', 'del', self.here], capture_output=True)


def test_a_pulled_cable(bed):
    cable, o = Cable(bed), bed.origin('o')
    d = bed.daemon('dc1', {'image': {'instances': [cable.url]}, 'key': {'instances': [o.url]}}, timeouts=LIMITS)
    wait_until(lambda: ask(d.addr('image')).status == 200, 'it is there')
    cable.pull()
    for _ in range(4):
        r, seconds = timed(d.addr('image'))
        assert r.status in (503, 504), r
        assert seconds < RESPONSE + CONNECT + 0.4, seconds
        eq(ask(d.addr('key')).status, 200)
    cable.plug()
    wait_until(lambda: ask(d.addr('image')).status == 200, 'back')


if __name__ == '__main__':
    harness.main(globals())
