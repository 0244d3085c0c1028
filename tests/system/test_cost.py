#!/usr/bin/python3
"""What a connection and a request cost (docs/memory.md), measured on the daemon's resident memory.  Structs are held by
static assertions; this finds what hangs on to them: a buffer that is not given back, an allocation more."""
import re
import resource
import socket
import threading

import harness
from harness import Skip, sanitized, wait_until

CLIENTS = 1500
IDLE_MOST, WAITING_MOST = 350, 10 << 10
HEAD = 'Host: image\r\nX-Auth-Token: ' + 'a' * 180 + '\r\nAccept: application/json\r\n\r\n'


class Origin(threading.Thread):
    """Answers at once, but for /wait, which it answers when released; a thread reads all connections."""

    def __init__(self):
        super().__init__(daemon=True)
        self.released, self.waiting = threading.Event(), []
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=1024)
        self.url = f'http://127.0.0.1:{self.listener.getsockname()[1]}'
        self.start()

    def run(self):
        while True:
            sock, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        while data := sock.recv(65536):
            if data.startswith(b'GET /wait'):
                self.waiting.append(sock)
                self.released.wait()
            sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')


def clients(d, count):
    host, port = d.addr('image').rsplit(':', 1)
    return [socket.create_connection((host, int(port)), harness.DEADLINE) for _ in range(count)]


def ask(socks, path):
    for s in socks:
        s.sendall(f'GET {path} HTTP/1.1\r\n{HEAD}'.encode())


def read_answers(socks):
    for s in socks:
        data = b''
        while not data.endswith(b'\r\n\r\nok'):
            piece = s.recv(4096)
            assert piece, data
            data += piece


def a_daemon(bed):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4 * CLIENTS:
        raise Skip(f'{hard} descriptors are too few')
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4 * CLIENTS), hard))
    o = Origin()
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}}, log={'access': 'off'}, workers=1)
    if sanitized():
        raise Skip('a sanitizer has memory of its own')
    # What is kept for reuse is there before it is measured.
    warm = clients(d, 128)
    ask(warm, '/')
    read_answers(warm)
    return d, o, warm


def each(d, before, count):
    return (d.rss_kib() - before) * 1024 / count


def test_an_idle_client_costs_a_few_hundred_bytes(bed):
    d, _, warm = a_daemon(bed)
    before = d.rss_kib()
    socks = []
    for _ in range(CLIENTS // 100):
        some = clients(d, 100)
        ask(some, '/')
        read_answers(some)
        socks += some
    cost = each(d, before, len(socks))
    # Pages are counted whole: allow for a few beside the clients'.
    assert cost <= IDLE_MOST + 64 * 1024 / len(socks), f'{cost:.0f} bytes for each idle client'
    assert warm


def test_a_request_that_waits_for_its_answer_costs_a_few_kilobytes(bed):
    d, o, warm = a_daemon(bed)
    before = d.rss_kib()
    socks = clients(d, 500)
    ask(socks, '/wait')
    wait_until(lambda: len(o.waiting) == len(socks), 'every request at the instance')
    cost = each(d, before, len(socks))
    o.released.set()
    read_answers(socks)
    assert cost <= WAITING_MOST, f'{cost:.0f} bytes for each request under way'
    assert warm


if __name__ == '__main__':
    harness.main(globals())
