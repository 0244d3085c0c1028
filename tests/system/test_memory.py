#!/usr/bin/python3
"""Memory is bounded whatever passes through, and want of memory ends requests and not the process (spec section 3; limits
of one connection: proxy/conn.h, io_pipe.h)."""
import os
import re
import resource
import subprocess
import time

import harness
from harness import Client, ask, eq, sanitized, wait_until

MIB = 1 << 20
SLOW = 64 * MIB     # the consumer takes its time for this much
BULK = (64 if sanitized() else 1024) * MIB
PEAK = 4 * MIB      # pipes are the kernel's; buffers, on either side of one connection, are some 100 KiB


def status(daemon, key):
    with open(f'/proc/{daemon.process.pid}/status') as f:
        return int(re.search(rf'{key}:\s+(\d+) kB', f.read())[1]) * 1024


class Peak:
    """How far resident memory rises within."""

    def __init__(self, daemon):
        self.daemon = daemon

    def __enter__(self):
        with open(f'/proc/{self.daemon.process.pid}/clear_refs', 'w') as f:
            f.write('5')    # the peak begins anew
        self.before = status(self.daemon, 'VmRSS')
        return self

    def __exit__(self, *_):
        self.bytes = status(self.daemon, 'VmHWM') - self.before


def swallow(sock, size):
    """Reads size bytes; the first of them at some 64 MiB a second in small pieces, with a pause now and then."""
    room, got, paused = bytearray(MIB), 0, 0
    while got < size:
        n = sock.recv_into(room, min(len(room), size - got, 65536 if got < SLOW else len(room)))
        if not n:
            raise ConnectionError(f'ended after {got} of {size} bytes')
        got += n
        if got < SLOW and got // (4 * MIB) > paused:
            paused = got // (4 * MIB)
            time.sleep(0.06)
    return got


def pour(sock, size, chunked=False):
    block = bytes(MIB)
    head = f'{len(block):x}\r\n'.encode()
    for _ in range(size // len(block)):
        if chunked:
            sock.sendall(head)
        sock.sendall(block)
        if chunked:
            sock.sendall(b'\r\n')
    if chunked:
        sock.sendall(b'0\r\n\r\n')


class Bulk(harness.Server):
    """An origin that pours out what is asked for, or swallows what comes; knows no more of HTTP."""

    def __init__(self, chunked=False, slow=False):
        self.chunked, self.slow, self.got = chunked, slow, None
        super().__init__(self.converse)

    def converse(self, sock):
        reader = harness.Reader(sock)
        m = reader.head()
        if m.method == 'GET':
            framing = 'Transfer-Encoding: chunked' if self.chunked else f'Content-Length: {BULK}'
            sock.sendall(f'HTTP/1.1 200 OK\r\n{framing}\r\n\r\n'.encode())
            pour(sock, BULK, self.chunked)
            sock.recv(1)
            return
        if self.chunked:
            got = 0
            while size := int(reader.until(b'\r\n'), 16):
                reader.exactly(size + 2)
                got += size
            self.got = got
        else:
            self.got = len(reader.rest) + swallow(sock, BULK - len(reader.rest))
        sock.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n')


def bulk(bed, **kw):
    origin = Bulk(**kw)
    bed.servers.append(origin)
    return bed.daemon('dc1', {'image': {'instances': [f'http://{origin.addr}']}}), origin


def check_down(bed, chunked):
    d, _ = bulk(bed, chunked=chunked)
    with Client(d.addr('image')) as c, Peak(d) as peak:
        c.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
        c.reader.head()
        if chunked:
            got = 0
            while size := int(c.reader.until(b'\r\n'), 16):
                c.reader.exactly(size + 2)
                got += size
            eq(got, BULK)
        else:
            got = len(c.reader.rest)
            swallow(c.sock, BULK - got)
    assert peak.bytes <= PEAK or sanitized(), f'memory rose by {peak.bytes >> 10} KiB'
    print(f'     {BULK >> 20} MiB down: {peak.bytes >> 10} KiB at the peak')


def check_up(bed, chunked):
    d, origin = bulk(bed, chunked=chunked)
    framing = 'Transfer-Encoding: chunked' if chunked else f'Content-Length: {BULK}'
    with Client(d.addr('image')) as c, Peak(d) as peak:
        c.send(f'POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n')
        pour(c.sock, BULK, chunked)
        eq(c.reader.message('POST').status, 201)
    eq(origin.got, BULK)
    assert peak.bytes <= PEAK or sanitized(), f'memory rose by {peak.bytes >> 10} KiB'
    print(f'     {BULK >> 20} MiB up: {peak.bytes >> 10} KiB at the peak')


def test_bulk_down_to_a_slow_client_at_constant_memory(bed):
    check_down(bed, False)


def test_bulk_up_to_a_slow_instance_at_constant_memory(bed):
    check_up(bed, False)


def test_bulk_down_in_chunks_at_constant_memory(bed):
    check_down(bed, True)


def test_bulk_up_in_chunks_at_constant_memory(bed):
    check_up(bed, True)


def test_stopped_clients_cost_bounded_memory(bed):
    """A hundred that take nothing of their answers: what was read for them is bounded, and is given back."""
    d, _ = bulk(bed)
    clients = []
    with Peak(d) as peak:
        for _ in range(100):
            c = Client(d.addr('image'))
            c.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
            c.reader.head()
            clients.append(c)
        time.sleep(0.5)     # the kernel's buffers fill
    assert peak.bytes / 100 < 65536 or sanitized(), f'{peak.bytes // 100} bytes each'
    print(f'     {peak.bytes // 100} bytes for a client that takes nothing')
    for c in clients:
        c.close()
    wait_until(lambda: len(os.listdir(f'/proc/{d.process.pid}/fd')) < 40, 'descriptors come back')


# --- want of memory ------------------------------------------------------------------------------------------

BIG_HEAD = 'GET /big HTTP/1.1\r\nHost: x\r\n' + ''.join(f'X-{i}: {"v" * 1000}\r\n' for i in range(50))


def crowd(addr, count):
    """Each sends most of a large head and holds it there; then all finish.  What each got: a status, or None."""
    clients = []
    for _ in range(count):
        c = Client(addr)
        try:
            c.send(BIG_HEAD)
        except OSError:
            pass
        clients.append(c)
    statuses = []
    for c in clients:
        try:
            c.send('\r\n')
            statuses.append(c.reader.message('GET').status)
        except OSError:
            statuses.append(answered_early(c))
        c.close()
    return statuses


def answered_early(c):
    """The answer came and the connection was closed before the request was whole."""
    try:
        return c.reader.message('GET').status
    except OSError:
        return None


def test_out_of_memory_ends_requests_with_503_and_not_the_process(bed):
    if sanitized():
        raise harness.Skip('sanitizers need the addresses themselves')
    o = bed.origin('o')
    # One arena, since each reserves addresses that it may use later.
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}},
                   popen=lambda args, **kw: subprocess.Popen(args, env={**os.environ, 'MALLOC_ARENA_MAX': '1'}, **kw))
    eq(ask(d.addr('image')).status, 200)
    everything = resource.prlimit(d.process.pid, resource.RLIMIT_AS)
    resource.prlimit(d.process.pid, resource.RLIMIT_AS, (status(d, 'VmSize') + 4 * MIB, everything[1]))
    for _ in range(3):
        statuses = crowd(d.addr('image'), 500)
        eq(d.process.poll(), None, 'the process')
        told = {s: statuses.count(s) for s in set(statuses)}
        # Without memory for the kernel's part it may be closed without a word.
        assert set(told) <= {200, 503, None} and told.get(None, 0) <= 5, told
        assert statuses.count(503) > 20, 'memory was enough'
        # It recovers while the limit is still there: what was refused holds nothing.
        for i in range(16):
            eq(ask(d.addr('image'), path=f'/{i}').status, 200)
    print(f'     of 500 clients with heads of 50 KiB: {statuses.count(200)} served, {statuses.count(503)} answered 503')
    resource.prlimit(d.process.pid, resource.RLIMIT_AS, everything)
    eq(set(crowd(d.addr('image'), 500)), {200}, 'with memory again')


if __name__ == '__main__':
    harness.main(globals())
