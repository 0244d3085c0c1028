#!/usr/bin/python3
"""The exit in the right order: not ready, no strangers, requests in flight finish, the calls that the application
makes for them still work, and none of it lasts for ever (spec section 6, SIGTERM)."""
import signal
import threading
import time

import harness
from harness import Client, answer, ask, eq, wait_until

NEIGHBOUR, STRANGER = '127.0.0.7', '127.0.0.8'
POLITE = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'


class From(Client):
    """A client at an address of its own."""

    def __init__(self, addr, source, timeout=None):
        host, port = addr.rsplit(':', 1)
        self.sock = harness.socket.create_connection((host, int(port)), timeout or harness.DEADLINE, (source, 0))
        self.addr, self.reader = addr, harness.Reader(self.sock)


class Slow:
    """An origin whose answers to /slow wait for release; everything else is answered at once."""

    def __init__(self, bed, **config):
        self.release = threading.Event()
        self.origin = bed.origin('o', self.handle)
        config.setdefault('scope', {'neighbours': [NEIGHBOUR]})
        self.daemon = bed.daemon('dc1', {'image': {'instances': [self.origin.url]}}, **config)
        self.addr = self.daemon.addr('image')

    def handle(self, request, sock):
        if request.path.startswith('/slow'):
            self.release.wait(3 * harness.DEADLINE)
        if request.path.startswith('/busy'):
            time.sleep(0.1)
        return answer('done')

    def begin(self, source=STRANGER, path='/slow'):
        """A client whose request has reached the origin."""
        before = len(self.origin.requests)
        c = From(self.addr, source)
        c.send(POLITE.replace(' / ', f' {path} '))
        wait_until(lambda: len(self.origin.requests) > before, 'request at the instance')
        return c

    def drain(self):
        self.daemon.signal(signal.SIGTERM)
        wait_until(lambda: ask(self.daemon.admin, path='/readyz').status == 503, 'not ready')

    def ends_within(self, seconds):
        eq(self.daemon.process.wait(seconds), 0, 'exit status')


def finish(client):
    r = client.reader.message('GET')
    eq((r.status, r.body), (200, b'done'))
    client.close()
    return r


def test_readiness_goes_first_and_says_why(bed):
    s = Slow(bed)
    c = s.begin()
    eq(ask(s.daemon.admin, path='/readyz').status, 200)
    s.drain()
    r = ask(s.daemon.admin, path='/readyz')
    assert 'drain' in r.problem('not-ready')['detail'], r
    eq(ask(s.daemon.admin, path='/healthz').status, 200, 'alive meanwhile')
    s.release.set()
    eq(finish(c).get('connection'), 'close')
    s.ends_within(3)


def test_strangers_are_refused_while_requests_in_flight_finish(bed):
    s = Slow(bed)
    c = s.begin()
    s.drain()

    def answered():
        with From(s.addr, STRANGER) as other:
            return other.ask()
    r = wait_until(lambda: (lambda r: r if r.status == 503 else None)(answered()), 'refusal')
    r.problem('not-ready')
    eq(r.get('connection'), 'close')
    eq(len(s.origin.requests), 1, 'requests at the instance')
    s.release.set()
    finish(c)
    s.ends_within(3)


def test_calls_of_the_application_still_work(bed):
    """The instance calls the proxy for the request it works on, on new and on kept connections."""
    s = Slow(bed)
    kept = From(s.addr, NEIGHBOUR)
    eq(kept.ask(path='/a').status, 200)
    c = s.begin()
    s.drain()
    r = kept.ask(path='/kept')
    eq((r.status, r.get('connection')), (200, 'close'))
    for i in range(20):
        with From(s.addr, NEIGHBOUR) as call:
            r = call.ask(path=f'/new{i}')
            eq((r.status, r.get('connection')), (200, 'close'))
    eq(s.daemon.process.poll(), None, 'ended with a request in flight')
    s.release.set()
    finish(c)
    s.ends_within(3)


def test_calls_of_the_application_reach_other_sites(bed):
    release = threading.Event()
    sites, origins = bed.three(handler=lambda site, r, k: (
        release.wait(2 * harness.DEADLINE) if r.path == '/slow' else None, answer(site))[1])
    d = sites['dc1']
    c = Client(d.addr('image'))
    c.send('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n')
    wait_until(lambda: origins['dc1'].requests, 'request at the instance')
    d.signal(signal.SIGTERM)
    wait_until(lambda: ask(d.admin, path='/readyz').status == 503, 'not ready')
    r = ask(d.addr('image'), headers={'X-Scope': 'image: dc2'})
    eq((r.status, r.body), (200, b'dc2'))
    # To the others it is gone: otherwise moves on.
    r = ask(sites['dc2'].addr('image'), headers={'X-Scope': 'image: dc1; dc3'})
    eq((r.status, r.body), (200, b'dc3'))
    release.set()
    eq(c.reader.message('GET').body, b'dc1')
    eq(d.process.wait(3), 0)


def test_idle_connections_do_not_count(bed):
    s = Slow(bed)
    clients = [From(s.addr, a) for a in (STRANGER, NEIGHBOUR) * 5]
    for c in clients:
        eq(c.ask().status, 200)
    started = time.monotonic()
    s.daemon.signal(signal.SIGTERM)
    s.ends_within(3)
    assert time.monotonic() - started < 1, 'waited for idle connections'
    for c in clients:
        eq(c.reader.to_end(), b'', 'an orderly end')


def test_a_drain_among_busy_loopback_clients_ends(bed):
    """Clients on loopback cannot be told from a loopback instance; they must not keep the drain alive."""
    s = Slow(bed, scope={})
    stop, cut = threading.Event(), []

    def hammer():
        while not stop.is_set():
            try:
                with Client(s.addr) as c:
                    c.send(POLITE.replace(' / ', ' /busy '))
                    r = c.reader.message('GET')
                    if r.status != 200:
                        cut.append(r.status)
            except ConnectionRefusedError:
                return
            except OSError:
                pass
    threads = [threading.Thread(target=hammer, daemon=True) for _ in range(8)]
    for t in threads:
        t.start()
    wait_until(lambda: len(s.origin.requests) > 50, 'load')
    started = time.monotonic()
    s.daemon.signal(signal.SIGTERM)
    s.ends_within(5)
    assert time.monotonic() - started < 4, 'went on too long'
    stop.set()
    for t in threads:
        t.join(harness.DEADLINE)
    eq(cut, [], 'answers that were no 200')


def test_the_hard_limit_cuts(bed):
    s = Slow(bed, timeouts={'drain': '300ms'})
    c = s.begin()
    started = time.monotonic()
    s.daemon.signal(signal.SIGTERM)
    s.ends_within(3)
    assert 0.25 < time.monotonic() - started < 2, time.monotonic() - started
    assert 'timeouts.drain' in s.daemon.log()
    try:
        eq(c.reader.to_end(), b'', 'half an answer')
    except ConnectionResetError:
        pass
    s.release.set()


def test_a_second_sigterm_or_sigint_stops_at_once(bed):
    for sig in (signal.SIGTERM, signal.SIGINT):
        s = Slow(bed)
        s.begin()
        s.drain()
        eq(s.daemon.process.poll(), None)
        started = time.monotonic()
        s.daemon.signal(sig)
        s.ends_within(3)
        assert time.monotonic() - started < 1
        s.release.set()


def test_a_long_body_in_flight_arrives_whole(bed):
    size, go = 4 << 20, threading.Event()

    def handle(request, sock):
        sock.sendall(f'HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n'.encode() + b'x' * 1000)
        go.wait(harness.DEADLINE)
        sock.sendall(b'x' * (size - 1000))
    o = bed.origin('o', handle)
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    with Client(d.addr('image')) as c:
        c.send(POLITE)
        m = c.reader.head()
        d.signal(signal.SIGTERM)
        wait_until(lambda: ask(d.admin, path='/readyz').status == 503, 'not ready')
        go.set()
        eq(len(c.reader.body(m)), size)
    eq(d.process.wait(harness.DEADLINE), 0)


def test_no_reload_while_draining(bed):
    s = Slow(bed)
    c = s.begin()
    s.drain()
    r = ask(s.daemon.admin, 'POST', '/v1/reload', {'Content-Type': 'application/json'}, b'{}')
    eq(r.status, 503)
    s.release.set()
    finish(c)
    s.ends_within(3)


if __name__ == '__main__':
    harness.main(globals())
