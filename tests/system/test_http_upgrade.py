#!/usr/bin/python3
"""Upgrade by RFC 9110 7.8: tunnels after 101, and offers that are declined."""
import socket
import threading

import harness
from conform import BULK, answer, drained, eq, get, group, own_site, reset, stage, table

group(globals(), 'Upgrade and tunnels')

UPGRADE = 'Connection: keep-alive, Upgrade\r\nUpgrade: chat\r\n'
SWITCH = b'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n'


def tunnel(way, talk, fields=UPGRADE, switch=SWITCH + b'X-A: b\r\n\r\n', before='', method='GET'):
    """talk: (client's side, instance's side), each called with (sock, reader) once the protocol has changed."""
    t, fault, seen, done = stage(), [], [], threading.Event()

    def serve(sock, reader):
        try:
            seen.append(reader.message())
            sock.sendall(switch)
            talk[1](sock, reader)
        except Exception as e:
            fault.append(e)
        finally:
            done.set()
    t.raw(way, serve)
    with t.client() as c:
        c.send(get(way, fields, method) + before)
        r = c.reader.head()
        while r.status == 103:
            r = c.reader.head()
        eq((r.status, r.get('connection'), r.get('upgrade'), r.get('content-length'), r.get('transfer-encoding')),
           (101, 'upgrade', 'chat', None, None))
        eq(own_site('alone') in r.get('via'), True)
        talk[0](c.sock, c.reader)
        assert done.wait(harness.DEADLINE), 'the instance still waits'
    eq(fault, [], 'on the side of the instance')
    eq((seen[0].get('connection'), seen[0].get('upgrade')), ('upgrade', 'chat'))
    t.handle()
    with t.client() as c:
        c.send(get(way))
        eq(c.reader.message('GET').body, own_site(way).encode())
    return seen[0]


def says(*steps):
    """A side that sends (bytes) and expects (a list with bytes), 'end's its own side, or expects the 'ended' other."""
    def side(sock, reader):
        for step in steps:
            if isinstance(step, bytes):
                sock.sendall(step)
            elif isinstance(step, list):
                got = reader.exactly(len(step[0]))
                assert got == step[0], (got[:100], step[0][:100])
            elif step == 'end':
                sock.shutdown(socket.SHUT_WR)
            elif step == 'reset':
                reset(sock)
            elif step == 'ended':
                eq(reader.to_end(), b'')
            elif step == 'broken':
                try:
                    reader.to_end()
                    sock.sendall(b'x')
                    eq(drained(sock), 'reset')
                except ConnectionError:
                    pass
    return side


def bulk_both_ways(sock, reader):
    writer = threading.Thread(target=lambda: (sock.sendall(BULK * 8), sock.shutdown(socket.SHUT_WR)), daemon=True)
    writer.start()
    eq(reader.to_end() == BULK * 8, True)
    writer.join()


table(globals(), 'tunnel', [
    ('both_ways', (says(b'ping', [b'pong'], b'again', 'end', [b'bye'], 'ended'),
                   says([b'ping'], b'pong', [b'again'], 'ended', b'bye'))),
    ('client_ends_first', (says(b'all', 'end', [b'still coming'], 'ended'), says([b'all'], 'ended', b'still coming'))),
    ('instance_ends_first', (says(['bye'.encode()], 'ended', b'still coming', 'end'),
                             says(b'bye', 'end', [b'still coming'], 'ended'))),
    ('client_ends_at_once', (says('end', [b'alone'], 'ended'), says('ended', b'alone'))),
    ('instance_closes', (says([b'bye'], 'ended', 'end'), says(b'bye'))),
    ('client_resets', (says(b'a', 'reset'), says([b'a'], 'broken'))),
    ('instance_resets', (says([b'a'], 'broken'), says(b'a', [b''], 'reset'))),
    ('bulk_both_ways_at_once', (bulk_both_ways, bulk_both_ways)),
    ('looks_like_http_and_is_not_read', (says(b'GET /x HTTP/1.1\r\n\r\n', [b'HTTP/1.1 2 \n\n'], 'end', 'ended'),
                                         says([b'GET /x HTTP/1.1\r\n\r\n'], b'HTTP/1.1 2 \n\n', 'ended'))),
    ('bytes_with_the_101', (says([b'first'], b'x', 'end', 'ended'), says([b'x'], 'ended')), UPGRADE,
     SWITCH + b'\r\nfirst'),
    ('bytes_with_the_request', (says([b'pong'], 'end', 'ended'), says([b'early'], b'pong', 'ended')), UPGRADE,
     SWITCH + b'\r\n', 'early'),
    ('103_before_the_101', (says(b'a', 'end', 'ended'), says([b'a'], 'ended')), UPGRADE,
     b'HTTP/1.1 103 Early Hints\r\n\r\n' + SWITCH + b'\r\n'),
    ('behind_a_request_with_content', (says(b'a', 'end', 'ended'), says([b'a'], 'ended')),
     UPGRADE + 'Content-Length: 3\r\n', SWITCH + b'\r\n', 'abc', 'POST'),
    ('h2c_is_not_offered', (says(b'a', 'end', 'ended'), says([b'a'], 'ended')),
     'Connection: Upgrade\r\nUpgrade: h2c, chat\r\n'),
    ('two_upgrade_fields', (says(b'a', 'end', 'ended'), says([b'a'], 'ended')),
     'Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: chat\r\n'),
    ('websocket_fields_pass', (says(b'a', 'end', 'ended'), says([b'a'], 'ended')),
     UPGRADE + 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'),
], tunnel)


def declined(way, raw, status, fields=UPGRADE, offered='chat'):
    """The answer is an ordinary one, what follows is HTTP, and the offer does not stick to the connection."""
    t, seen = stage(), []

    def serve(sock, reader):
        while True:
            seen.append(reader.message())
            sock.sendall(raw if len(seen) == 1 else answer('next'))
    t.raw(way, serve)
    with t.client() as c:
        c.send(get(way, fields) + get(way, path='/next'))
        r = c.reader.message('GET')
        eq((r.status, r.body, r.get('connection'), r.get('upgrade')), (status, b'no', None, None))
        eq(c.reader.message('GET').body, b'next')
    eq([m.path for m in seen], ['/', '/next'])
    eq([m.get('upgrade') for m in seen], [offered, None])


table(globals(), 'upgrade_declined', [
    ('200', answer('no'), 200),
    ('426', answer('no', '426 Upgrade Required', [('Upgrade', 'other'), ('Connection', 'upgrade')]), 426),
    ('chunked', b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n', 200),
    ('after_103', b'HTTP/1.1 103 Early Hints\r\n\r\n' + answer('no'), 200),
    ('h2c_ends_here', answer('no'), 200,
     'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n', None),
    ('without_connection_option_ends_here', answer('no'), 200, 'Upgrade: chat\r\n', None),
    ('connection_option_alone_ends_here', answer('no'), 200, 'Connection: upgrade\r\n', None),
], declined)


def test_upgrade_in_http_1_0_means_nothing(bed):
    t = stage()
    with t.client() as c:
        c.send(get('alone', UPGRADE, version='1.0'))
        eq(c.reader.message('GET').status, 200)
    eq((t.last('alone').get('upgrade'), t.last('alone').get('connection')), (None, None))


if __name__ == '__main__':
    harness.main(globals())
