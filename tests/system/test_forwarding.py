#!/usr/bin/python3
"""Forwarding as such: choice of service, streams, kept connections, loops (spec section 3)."""
import hashlib
import threading

import harness
from harness import Client, Reader, answer, ask, eq, wait_until

BIG = 24 << 20          # bytes; far above any buffer of the daemon
UPLOAD = 160 << 20      # far above what the sockets on the way hold: up to 32 MiB each where the kernel tunes freely
RSS_ROOM_KIB = 12 << 10


def test_method_path_headers_and_body_arrive_as_sent(bed):
    o = bed.origin('o', lambda r, s: answer(b'done', '201 Created', [('Location', '/v2/x'), ('Set-Cookie', 'a=1'),
                                                                     ('Set-Cookie', 'b=2')]))
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    r = ask(d.addr('image'), 'POST', '/v2/images//a%2Fb?q=%20&q', {'Host': 'image.example', 'X-A': 'ä '}, b'\0body\xff')
    eq((r.start, r.body), ('HTTP/1.1 201 Created', b'done'))
    eq((r.get('location'), r.all('set-cookie')), ('/v2/x', ['a=1', 'b=2']))
    q = o.last
    eq((q.method, q.path, q.get('host'), q.body), ('POST', '/v2/images//a%2Fb?q=%20&q', 'image.example', b'\0body\xff'))
    eq(q.get('x-a'), 'ä')


def test_absolute_target_becomes_host(bed):
    o = bed.origin('o')
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    r = ask(d.addr('image'), path='http://real.example:81/x?y', headers={'Host': 'other'})
    eq((r.status, o.last.path, o.last.get('host')), (200, '/x?y', 'real.example:81'))
    eq(ask(d.addr('image'), path='http://user@real.example/x').status, 400)


def test_the_longest_prefix_at_a_segment_border_chooses_the_service(bed):
    a, b, c = bed.origin('root'), bed.origin('v2'), bed.origin('images')
    port = f'127.0.0.1:{harness.free_port()}'
    d = bed.daemon('dc1', {'root': {'listen': port, 'instances': [a.url]},
                           'v2': {'listen': port, 'prefix': '/v2', 'instances': [b.url]},
                           'images': {'listen': port, 'prefix': '/v2/images', 'instances': [c.url]}})
    for path, want in (('/', 'root'), ('/v2', 'v2'), ('/v2/', 'v2'), ('/v2?x', 'v2'), ('/v20', 'root'), ('/v2/a', 'v2'),
                       ('/v2/images', 'images'), ('/v2/images/1', 'images'), ('/v2/imagesx', 'v2')):
        eq(ask(d.addr('root'), path=path).body.decode(), want, path)


def test_no_service_for_the_path_is_404(bed):
    o = bed.origin('o')
    d = bed.daemon('dc1', {'image': {'prefix': '/v2', 'instances': [o.url]}})
    r = ask(d.addr('image'), path='/v1')
    eq(r.status, 404)
    r.problem('no-service')
    eq(len(o.requests), 0)


def test_no_instance_is_503_and_says_from_where(bed):
    d = bed.daemon('dc1', {'image': {'instances': []}})
    r = ask(d.addr('image'))
    eq(r.status, 503)
    doc = r.problem('no-instance')
    eq((doc['service'], doc['site']), ('image', 'dc1'))
    assert r.get('proxy-status'), r


def test_a_site_without_the_service_answers_503_no_instance(bed):
    o = bed.origin('o')
    sites = bed.mesh({'dc1': {'image': {'instances': [o.url]}}, 'dc2': {'other': {'instances': [o.url]}}})
    r = ask(sites['dc1'].addr('image'), headers={'X-Scope': 'image: dc2'})
    eq(r.status, 503)
    r.problem('no-instance')


def test_the_least_loaded_instance_is_chosen(bed):
    release = threading.Event()

    def slow(request, sock):
        release.wait(harness.DEADLINE)
        return answer('slow')
    a, b = bed.origin('a', slow), bed.origin('b', slow)
    d = bed.daemon('dc1', {'image': {'instances': [a.url, b.url]}})
    clients = [Client(d.addr('image')) for _ in range(4)]
    for c in clients:
        c.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    wait_until(lambda: len(a.requests) + len(b.requests) == 4, 'four requests at the instances')
    release.set()
    eq((len(a.requests), len(b.requests)), (2, 2))
    for c in clients:
        eq(c.reader.message('GET').status, 200)


def test_connections_to_instances_and_sites_are_kept(bed):
    sites, origins = bed.three()
    with Client(sites['dc1'].addr('image')) as c:
        for site in ('dc1', 'dc2') * 10:
            eq(c.ask(headers={'X-Scope': f'image: {site}'}).body, site.encode())
    eq((len(origins['dc1'].requests), origins['dc1'].connections), (10, 1))
    eq((len(origins['dc2'].requests), origins['dc2'].connections), (10, 1))


def test_pipelined_requests_are_answered_in_order(bed):
    o = bed.origin('o', lambda r, s: answer(r.path))
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    with Client(d.addr('image')) as c:
        c.send(''.join(f'GET /{i} HTTP/1.1\r\nHost: x\r\n\r\n' for i in range(20)))
        eq([c.reader.message('GET').body for _ in range(20)], [b'/%d' % i for i in range(20)])


def test_http_1_0_and_connection_close_end_the_connection(bed):
    o = bed.origin('o')
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    for version, headers in (('1.0', {}), ('1.1', {'Connection': 'close'})):
        with Client(d.addr('image')) as c:
            eq(c.ask(headers=headers, version=version).body, b'o')
            eq(c.reader.to_end(), b'')


def test_http_2_gets_505(bed):
    d = bed.daemon('dc1', {'image': {'instances': []}})
    with Client(d.addr('image')) as c:
        c.send('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
        eq(c.reader.message('GET').status, 505)


def test_head_answers_without_a_body_and_the_connection_goes_on(bed):
    o = bed.origin('o', lambda r, s: b'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n' if r.method == 'HEAD'
                   else answer('get'))
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    with Client(d.addr('image')) as c:
        eq(c.ask('HEAD').get('content-length'), '999')
        eq(c.ask('GET').body, b'get')


def test_chunked_bodies_both_ways(bed):
    o = bed.origin('o', lambda r, s: b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' +
                   b'%x\r\n%s\r\n0\r\n\r\n' % (len(r.body), r.body))
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    with Client(d.addr('image')) as c:
        for _ in range(2):
            r = c.ask('POST', headers={'Transfer-Encoding': 'chunked'}, body=b'3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n')
            eq((r.status, r.body), (200, b'abcde'))


def test_a_body_that_ends_with_the_connection_arrives_whole(bed):
    o = bed.origin('o', lambda r, s: s.sendall(b'HTTP/1.1 200 OK\r\n\r\n' + b'x' * 100000))
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    eq(len(ask(d.addr('image')).body), 100000)


def test_a_truncated_response_is_never_made_to_look_whole(bed):
    for head in (b'Content-Length: 1000', b'Transfer-Encoding: chunked'):
        part = b'x' * 10 if b'Length' in head else b'a\r\n' + b'x' * 10 + b'\r\n'
        o = bed.origin('o', lambda r, s, h=head, p=part: s.sendall(b'HTTP/1.1 200 OK\r\n' + h + b'\r\n\r\n' + p))
        d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
        try:
            r = ask(d.addr('image'))
            assert r.status == 502, f'{head}: {r}'
        except ConnectionError:
            pass
        d.stop()


def big_answer(request, sock):
    sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % BIG)
    block = bytes(range(256)) * 256
    for _ in range(BIG // len(block)):
        sock.sendall(block)


def test_a_large_download_to_a_slow_reader_needs_bounded_memory(bed):
    sites, _ = bed.three(handler=lambda site, r, s: big_answer(r, s))
    for goal in ('dc1', 'dc2'):
        with Client(sites['dc1'].addr('image')) as c:
            c.send(f'GET / HTTP/1.1\r\nHost: x\r\nX-Scope: image: {goal}\r\n\r\n')
            eq(c.reader.head().status, 200)
            before = {n: d.rss_kib() for n, d in sites.items()}
            held = [0]

            def settled():      # nothing is read: the daemon's memory must stop growing
                now = sum(d.rss_kib() for d in sites.values())
                held[0], old = now, held[0]
                threading.Event().wait(0.1)
                return now == old
            wait_until(settled, 'memory at rest')
            for name, d in sites.items():
                assert d.rss_kib() - before[name] < RSS_ROOM_KIB, f'{name} grew to {d.rss_kib()} KiB'
            digest, n = hashlib.md5(), 0
            while n < BIG:
                part = c.reader.exactly(min(1 << 16, BIG - n))
                digest.update(part)
                n += len(part)
        want = hashlib.md5()
        for _ in range(BIG // 65536):
            want.update(bytes(range(256)) * 256)
        eq(digest.hexdigest(), want.hexdigest(), 'digest of the body')


def test_a_large_upload_streams_and_waits_for_a_slow_instance(bed):
    go = threading.Event()
    seen = []

    def swallow(sock):
        reader = Reader(sock)
        m = reader.head()
        seen.append(m)
        go.wait(harness.DEADLINE)
        digest = hashlib.md5()
        left = int(m.get('content-length'))
        while left:
            part = reader.exactly(min(left, 65536))
            digest.update(part)
            left -= len(part)
        sock.sendall(answer(digest.hexdigest()))
    slow = harness.Server(swallow)
    bed.servers.append(slow)
    sites = bed.mesh({'dc1': {'image': {'instances': []}}, 'dc2': {'image': {'instances': ['http://' + slow.addr]}}})
    block = bytes(reversed(range(256))) * 256
    with Client(sites['dc1'].addr('image')) as c:
        c.send(f'PUT /f HTTP/1.1\r\nHost: x\r\nX-Scope: image: dc2\r\nContent-Length: {UPLOAD}\r\n\r\n')
        before = {n: d.rss_kib() for n, d in sites.items()}
        sent = [0]

        def push():
            for _ in range(UPLOAD // len(block)):
                c.sock.sendall(block)
                sent[0] += len(block)
        c.sock.settimeout(None)
        writer = threading.Thread(target=push, daemon=True)
        writer.start()
        wait_until(lambda: seen, 'head at the instance before the body is complete')
        last = [-1]

        def stalled():
            old, last[0] = last[0], sent[0]
            threading.Event().wait(0.2)
            return old == last[0] and sent[0]
        wait_until(stalled, 'the upload to wait for its reader')
        assert sent[0] < UPLOAD, 'the daemon swallowed everything'
        for name, d in sites.items():
            assert d.rss_kib() - before[name] < RSS_ROOM_KIB, f'{name} grew to {d.rss_kib()} KiB'
        go.set()
        writer.join()
        c.sock.settimeout(harness.DEADLINE)
        r = c.reader.message('PUT')
    want = hashlib.md5(block * (UPLOAD // len(block))).hexdigest()
    eq((r.status, r.body.decode()), (200, want))


def test_a_loop_through_another_proxy_ends_in_508(bed):
    """An instance that is a relay to the listener of its own service: not an equal address, still a loop."""
    port = f'127.0.0.1:{harness.free_port()}'
    relay = bed.relay(port)
    d = bed.daemon('dc1', {'image': {'listen': port, 'instances': ['http://' + relay.addr]}})
    r = ask(d.addr('image'))
    eq(r.status, 508)
    r.problem('loop')
    assert relay.connections < 20, relay.connections


def test_an_instance_that_disconnects_at_once_is_502_or_504_and_never_hangs(bed):
    o = bed.origin('o', lambda r, s: None)
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    r = ask(d.addr('image'), 'POST', body=b'x')
    assert r.status in (502, 504), r
    eq(len(o.requests), 1, 'times the POST was sent')


def test_ambiguous_framing_is_refused(bed):
    o = bed.origin('o')
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    for lines in ('Content-Length: 4\r\nTransfer-Encoding: chunked', 'Content-Length: 4\r\nContent-Length: 5',
                  'Transfer-Encoding: gzip, chunked', 'Transfer-Encoding: ,chunked', 'X-A: 1\r\n folded', 'X-A : 1',
                  'X-A: 1\rTransfer-Encoding: chunked', 'Host: y', 'Content-Length: +4',
                  'Content-Length: 18446744073709551616'):
        with Client(d.addr('image')) as c:
            c.send(f'POST / HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n0\r\n\r\n')
            r = c.reader.message('POST')
            assert r.status in (400, 501), (lines, r)
            eq(c.reader.to_end(), b'', 'bytes after the refusal')
    eq(len(o.requests), 0)


if __name__ == '__main__':
    harness.main(globals())
