"""What the files of HTTP conformance tests share: two sites, and tables whose every row is a test.

A request goes one of two ways: 'alone' to the instance of the site that was asked, 'scoped' through the mesh to the
instance of another site, so that two proxies stand between.  The sites are started once for a file; a row sets the
handler of both instances.
"""
import os
import socket

import harness
from harness import Client, Reader, answer, eq, group, reset, wait_until    # noqa: F401 (re-exported)

WAYS = ('alone', 'scoped')
POST = 'POST / HTTP/1.1\r\nHost: x\r\n'
BULK = os.urandom(1 << 20)     # above all buffers of the daemon
SCOPE = {'alone': '', 'scoped': 'X-Scope: image: dc2\r\n'}


class Stage:
    """dc1, which clients ask, and dc2.  options: keys of the service; top: keys of the configuration."""

    def __init__(self, bed, options=None, **top):
        self.origins = {'alone': bed.origin('dc1'), 'scoped': bed.origin('dc2')}
        self.sites = bed.mesh({'dc1': {'image': {'instances': [self.origins['alone'].url], **(options or {})}},
                               'dc2': {'image': {'instances': [self.origins['scoped'].url], **(options or {})}}}, **top)
        self.addr = self.sites['dc1'].addr('image')

    def handle(self, handler=None):
        """Both instances answer so from now on; what they have seen is forgotten."""
        for name, o in (('dc1', self.origins['alone']), ('dc2', self.origins['scoped'])):
            if o.serve != o.converse:
                self.end_kept(o, o.converse)
            o.handler = handler or (lambda r, s, name=name: answer(name))
            o.requests.clear()
        return self

    def raw(self, way, serve):
        """New connections to that instance are serve(sock, reader)'s; kept ones have ended."""
        self.end_kept(self.origins[way], lambda sock: serve(sock, Reader(sock)))

    @staticmethod
    def end_kept(o, serve):
        o.serve = serve
        with o.lock:
            for sock in list(o.open):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        wait_until(lambda: not o.open, 'the end of kept connections')

    def client(self):
        return Client(self.addr)

    def seen(self, way):
        return self.origins[way].requests

    def last(self, way):
        return self.origins[way].requests[-1]


def stage(handler=None):
    return harness.shared(Stage).handle(handler)


def scoped(raw, way):
    """The request with the scope of that way behind its Host field."""
    assert way == 'alone' or 'Host: x\r\n' in raw, raw
    return raw.replace('Host: x\r\n', 'Host: x\r\n' + SCOPE[way], 1)


def get(way, fields='', method='GET', path='/', version='1.1'):
    return scoped(f'{method} {path} HTTP/{version}\r\nHost: x\r\n{fields}\r\n', way)


def then_close(raw):
    """A handler that sends raw and ends the connection."""
    return lambda request, sock: sock.sendall(raw)


def then_reset(raw):
    def handler(request, sock):
        sock.sendall(raw)
        harness.time.sleep(0.05)    # so that the bytes are read before the reset discards them
        reset(sock)
    return handler


def table(names, prefix, rows, check, ways=WAYS):
    """Puts test_PREFIX_KEY_WAY into names for every row (KEY, values ...): check(way, values ...)."""
    for key, *values in rows:
        for way in ways:
            name = '_'.join(['test', prefix, key] + ([way] if len(ways) > 1 else []))
            assert name not in names, name
            names[name] = lambda bed, way=way, values=values: check(way, *values)


def is_own_error(r, status, site='dc1'):
    """An answer that a proxy made: a problem document that says from where."""
    eq(r.status, status, 'status')
    assert r.get('content-type', '').startswith('application/problem+json'), r
    doc = r.json()
    eq(doc['status'], status)
    assert doc['type'].startswith('urn:scopemesh:'), doc
    assert r.get('proxy-status', '').startswith(site), r
    assert site in r.get('via', ''), r
    eq(r.get('x-scope-served-by'), site)
    return doc


def incomplete(reader, method='GET'):
    """Reads a message that must not end well; returns what came of it (its head, or None)."""
    head = None
    try:
        head = reader.head()
        reader.body(head, method)
    except TimeoutError as e:
        raise AssertionError(f'a message that was cut short has no end: {head}') from e
    except OSError:
        return head
    raise AssertionError(f'a message that was cut short looks whole: {head}')


def own_site(way):
    return 'dc1' if way == 'alone' else 'dc2'


def drained(sock):
    """Reads until the other side has ended; 'end' or 'reset'."""
    try:
        while sock.recv(65536):
            pass
        return 'end'
    except ConnectionError:
        return 'reset'


def echo(request, sock):
    """Path and content; the first even numbers are slow, so that an answer out of turn would show."""
    if request.path[1:].isdigit() and int(request.path[1:]) in (0, 2, 4):
        harness.time.sleep(0.002)
    return answer(request.path.encode() + b' ' + request.body)
