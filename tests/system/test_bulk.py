#!/usr/bin/python3
"""Bodies so large that they go from socket to socket without being read (exchange_splice.c): they must be what a copied
body is, whole or recognisably cut."""
import hashlib
import os
import threading

import harness
from harness import Client, Reader, answer, eq, wait_until

SIZE = (8 << 20) + 12345
BLOCK = bytes(range(256)) * 257    # does not divide any buffer


def content(size):
    return (BLOCK * (size // len(BLOCK) + 1))[:size]


def descriptors(d):
    return len(os.listdir(f'/proc/{d.process.pid}/fd'))


def no_descriptor_stays(d, before):
    wait_until(lambda: descriptors(d) <= before, f'{descriptors(d)} descriptors to become {before}')


def test_a_bulk_answer_arrives_whole_and_the_connection_goes_on(bed):
    body = content(SIZE)
    o = bed.origin('o', lambda r, s: answer(body if r.path == '/big' else b'small'))
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    with Client(d.addr('image')) as c:
        for path, want in (('/big', body), ('/small', b'small'), ('/big', body), ('/small', b'small')):
            c.send(f'GET {path} HTTP/1.1\r\nHost: x\r\n\r\n')
            r = c.reader.message('GET')
            eq((r.status, len(r.body), hashlib.md5(r.body).hexdigest()),
               (200, len(want), hashlib.md5(want).hexdigest()))


def test_a_bulk_upload_arrives_whole_and_a_pipelined_request_follows_it(bed):
    body = content(SIZE)
    o = bed.origin('o', lambda r, s: answer(hashlib.md5(r.body).hexdigest() if r.body else b'next'))
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    with Client(d.addr('image')) as c:
        for method in ('POST', 'PUT'):
            c.send(f'{method} /f HTTP/1.1\r\nHost: x\r\nContent-Length: {SIZE}\r\n\r\n')
            c.sock.settimeout(harness.DEADLINE)
            c.sock.sendall(body + b'GET /next HTTP/1.1\r\nHost: x\r\n\r\n')
            eq(c.reader.message(method).body.decode(), hashlib.md5(body).hexdigest())
            eq(c.reader.message('GET').body, b'next')


def test_a_bulk_answer_that_ends_early_is_cut_for_the_client(bed):
    def short(sock):
        reader = Reader(sock)
        reader.head()
        sock.sendall(f'HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n'.encode() + content(SIZE - 1))
    bad = harness.Server(short)
    bed.servers.append(bad)
    d = bed.daemon('dc1', {'image': {'instances': ['http://' + bad.addr]}})
    before = descriptors(d)
    with Client(d.addr('image')) as c:
        c.send('GET /big HTTP/1.1\r\nHost: x\r\n\r\n')
        c.sock.settimeout(harness.DEADLINE)
        got = b''
        try:
            while piece := c.sock.recv(1 << 16):
                got += piece
            raise AssertionError('an orderly end after a body that was cut short')
        except ConnectionResetError:
            pass
        assert len(got.partition(b'\r\n\r\n')[2]) < SIZE
    eq(d.access_of('/big')['reason'], 'incomplete-response')
    no_descriptor_stays(d, before)


def test_a_client_that_leaves_within_a_bulk_upload_leaves_nothing_behind(bed):
    ended = threading.Event()

    def swallow(sock):
        reader = Reader(sock)
        reader.head()
        try:
            while sock.recv(1 << 16):
                pass
        except OSError:
            pass
        ended.set()
    o = harness.Server(swallow)
    bed.servers.append(o)
    d = bed.daemon('dc1', {'image': {'instances': ['http://' + o.addr]}})
    before = descriptors(d)
    with Client(d.addr('image')) as c:
        c.send(f'POST /f HTTP/1.1\r\nHost: x\r\nContent-Length: {SIZE}\r\n\r\n')
        c.sock.settimeout(harness.DEADLINE)
        c.sock.sendall(content(SIZE // 2))
    assert ended.wait(harness.DEADLINE), 'the instance still waits for a body that will not come'
    eq(d.access_of('/f')['reason'], 'client-gone')
    no_descriptor_stays(d, before)


def test_an_instance_that_dies_within_a_bulk_upload_is_never_asked_twice(bed):
    asked = []

    def die(sock):
        reader = Reader(sock)
        asked.append(reader.head())
        reader.exactly(1 << 20)
    o = harness.Server(die)
    bed.servers.append(o)
    d = bed.daemon('dc1', {'image': {'instances': ['http://' + o.addr]}})
    before = descriptors(d)
    with Client(d.addr('image')) as c:
        c.send(f'PUT /f HTTP/1.1\r\nHost: x\r\nContent-Length: {SIZE}\r\n\r\n')
        c.sock.settimeout(harness.DEADLINE)
        try:
            c.sock.sendall(content(SIZE))
        except OSError:
            pass
        try:
            eq(c.reader.message('PUT').status, 504)
        except OSError:
            pass    # the answer was lost with the reset that our unread bytes caused
    eq((len(asked), d.access_of('/f')['status']), (1, 504))
    no_descriptor_stays(d, before)


def test_a_slow_reader_stops_a_bulk_answer_and_gets_it_whole(bed):
    body = content(SIZE * 3)
    o = bed.origin('o', lambda r, s: answer(body))
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    before = d.rss_kib()
    with Client(d.addr('image')) as c:
        c.send('GET /big HTTP/1.1\r\nHost: x\r\n\r\n')
        threading.Event().wait(0.5)
        spent = cpu_ticks(d)
        threading.Event().wait(0.5)
        assert cpu_ticks(d) - spent <= 10, 'the daemon spins while its client does not read'
        c.sock.settimeout(harness.DEADLINE)
        eq(hashlib.md5(c.reader.message('GET').body).hexdigest(), hashlib.md5(body).hexdigest())
    assert d.rss_kib() - before < 4 << 10


def cpu_ticks(d):
    with open(f'/proc/{d.process.pid}/stat') as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return int(fields[11]) + int(fields[12])


if __name__ == '__main__':
    harness.main(globals())
