#!/usr/bin/python3
"""Expect: 100-continue by RFC 9110 10.1.1, end to end and between sites."""
import harness
from conform import (POST, Reader, answer, drained, echo, eq, get, group, is_own_error, scoped, stage, table,
                     wait_until)

group(globals(), 'Expect: 100-continue')

EXPECT = 'Expect: 100-continue\r\n'


def expect_serve(t, way, before, final=None, seen=None):
    """before: what the instance sends when it has the head; final: its answer, without the content being read."""
    def serve(sock, reader):
        m = reader.head()
        seen.append(m)
        sock.sendall(before)
        if final:
            sock.sendall(final)
            drained(sock)
            return
        body = reader.body(m)
        seen.append(body)
        sock.sendall(answer(b'got ' + body[:10]))
    t.raw(way, serve)


GO_ON = b'HTTP/1.1 100 Continue\r\n\r\n'


def expects(way, before, interim, framing, content, expect=EXPECT):
    """The client waits for 100, which comes from the instance itself."""
    t, seen = stage(), []
    expect_serve(t, way, before, seen=seen)
    with t.client() as c:
        c.send(scoped(POST, way) + expect + framing)
        for status in interim:
            eq(c.reader.head().status, status)
        eq([seen[0].get('expect'), len(seen)], ['100-continue', 1], 'what the instance saw before the content')
        c.send(content)
        r = c.reader.message('POST')
        eq((r.status, r.body, r.interim), (200, b'got 0123456789', []))


FIXED, CHUNKS = 'Content-Length: 10\r\n\r\n', 'Transfer-Encoding: chunked\r\n\r\n'
TEN_CHUNKS = 'a\r\n0123456789\r\n0\r\n\r\n'
table(globals(), 'expect', [
    ('100_comes_from_the_instance', GO_ON, [100], FIXED, '0123456789'),
    ('100_before_chunks', GO_ON, [100], CHUNKS, TEN_CHUNKS),
    ('100_before_bulk', GO_ON, [100], 'Content-Length: 1000000\r\n\r\n', '0123456789' * 100000),
    ('in_upper_case', GO_ON, [100], FIXED, '0123456789', 'EXPECT: 100-Continue\r\n'),
    ('103_before_100', b'HTTP/1.1 103 Early Hints\r\n\r\n' + GO_ON, [103, 100], FIXED, '0123456789'),
    ('100_with_fields', b'HTTP/1.1 100 Go\r\nX-A: b\r\n\r\n', [100], FIXED, '0123456789'),
    ('second_100_ends_here', GO_ON * 2, [100], FIXED, '0123456789'),
], expects)


def expect_final(way, status, framing, fields=''):
    """A final answer instead: no 100, and the content is never asked for."""
    t, seen = stage(), []
    expect_serve(t, way, b'', f'HTTP/1.1 {status}\r\n{fields}Content-Length: 2\r\n\r\nno'.encode(), seen)
    with t.client() as c:
        c.send(scoped(POST, way) + EXPECT + framing)
        r = c.reader.message('POST')
        eq((r.status, r.body, r.interim), (int(status[:3]), b'no', []))
        eq(c.reader.to_end(), b'', 'the connection ends: whether content follows is not known')
    eq(len(seen), 1)


table(globals(), 'expect_refused_by_the_instance', [
    ('417', '417 Expectation Failed', FIXED),
    ('401', '401 Unauthorized', FIXED),
    ('413_that_closes', '413 Too Large', FIXED, 'Connection: close\r\n'),
    ('401_to_chunks', '401 Unauthorized', CHUNKS),
    ('200', '200 OK', FIXED),
], expect_final)


def expect_not_waited(way, before, framing, content):
    t, seen = stage(), []
    expect_serve(t, way, before, seen=seen)
    with t.client() as c:
        c.send(scoped(POST, way) + EXPECT + framing)
        wait_until(lambda: seen, 'the head at the instance')
        c.send(content)
        r = c.reader.message('POST')
        eq((r.status, r.body), (200, b'got 0123456789'))
        eq([m.status for m in r.interim], [100] if before else [])


table(globals(), 'expect_of_a_client_that_does_not_wait', [
    ('for_the_100', GO_ON, FIXED, '0123456789'),
    ('and_an_instance_that_sends_none', b'', FIXED, '0123456789'),
    ('and_an_instance_that_sends_none_to_chunks', b'', CHUNKS, TEN_CHUNKS),
], expect_not_waited)


def expect_all_at_once(way, framing, content):
    """Content that is here already needs no leave."""
    t = stage(echo)
    with t.client() as c:
        c.send(scoped(POST, way) + EXPECT + framing + content)
        r = c.reader.message('POST')
        eq((r.status, r.body), (200, b'/ 0123456789'))
        eq(c.ask('GET', '/1').status, 200)


table(globals(), 'expect_with_its_content', [
    ('of_known_length', FIXED, '0123456789'),
    ('in_chunks', CHUNKS, TEN_CHUNKS),
], expect_all_at_once)


def expect_ignored(way, text):
    t = stage(echo)
    with t.client() as c:
        c.send(scoped(text, way))
        r = c.reader.message('POST')
        eq((r.status, r.interim), (200, []))
        eq(t.last(way).get('expect'), None)


table(globals(), 'expect_means_nothing', [
    ('in_http_1_0', 'POST / HTTP/1.0\r\nHost: x\r\n' + EXPECT + FIXED + '0123456789'),
    ('without_content', get('alone', EXPECT)),
    ('with_length_zero', POST + EXPECT + 'Content-Length: 0\r\n\r\n'),
], expect_ignored)


def test_expect_an_own_error_comes_instead_of_100(bed):
    t = stage()
    with t.client() as c:
        c.send(POST + 'X-Scope: image: nowhere\r\n' + EXPECT + FIXED)
        r = c.reader.message('POST')
        is_own_error(r, 400)
        eq((r.interim, r.get('connection')), ([], 'close'))
        eq(c.reader.to_end(), b'')
    eq(t.seen('alone'), [])


def test_expect_moves_on_to_the_site_that_has_an_instance(bed):
    """The first site's refusal comes before any content; 100 comes once, from where the content goes."""
    seen = []

    def serve(sock):
        reader = Reader(sock)
        m = reader.head()
        sock.sendall(GO_ON)
        seen.append((m.get('expect'), len(reader.body(m))))
        sock.sendall(answer('last'))
    o = harness.Server(serve)
    bed.servers.append(o)
    sites = bed.mesh({'dc1': {'image': {}}, 'dc2': {'image': {}},
                      'dc3': {'image': {'instances': ['http://' + o.addr]}}})
    for size in (10, 1 << 20):
        with harness.Client(sites['dc1'].addr('image')) as c:
            c.send(POST + f'X-Scope: image: dc2; dc3\r\n{EXPECT}Content-Length: {size}\r\n\r\n')
            eq(c.reader.head().status, 100)
            c.send(b'a' * size)
            r = c.reader.message('POST')
            eq((r.status, r.body, r.interim), (200, b'last', []))
    eq([n for _, n in seen], [10, 1 << 20])


if __name__ == '__main__':
    harness.main(globals())
