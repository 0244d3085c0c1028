#!/usr/bin/python3
"""Connections by RFC 9110 and 9112: order, persistence, half-close, aborts, requests that are sent again and those that
never are, answers that come early."""
import os
import socket
import threading

import harness
from conform import (BULK, POST, WAYS, Stage, answer, drained, echo, eq, get, group, is_own_error, own_site,
                     reset, scoped, stage, table, wait_until)

# --- pipelining (RFC 9112 9.3.2) ------------------------------------------------------------------------------------
group(globals(), 'pipelining')


def chunked(body):
    return 'Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n' % (len(body), body)


def pipelined(way, requests, want, pieces=0):
    """requests: (method, start of the fields, content); want: statuses and bodies."""
    t = stage(echo)
    text = ''.join(get(w, fields, method, path).removesuffix('\r\n') + rest
                   for w, method, path, fields, rest in requests)
    with t.client() as c:
        if pieces:
            for at in range(0, len(text), pieces):
                c.send(text[at:at + pieces])
        else:
            c.send(text)
        got = []
        for _, method, *_ in requests:
            r = c.reader.message(method)
            got.append((r.status, r.body.decode()))
        eq(got, want)
        eq(c.ask('GET', '/9').body, b'/9 ')


def some(way, kinds, n=12):
    rows, want = [], []
    for i in range(n):
        kind = kinds[i % len(kinds)]
        path = f'/{i}'
        w = WAYS[i % 2] if way == 'mixed' else way
        rows.append({'get': (w, 'GET', path, '', '\r\n'), 'head': (w, 'HEAD', path, '', '\r\n'),
                     'post': (w, 'POST', path, '', 'Content-Length: 3\r\n\r\nabc'),
                     'post_and_line': (w, 'POST', path, '', 'Content-Length: 3\r\n\r\nabc\r\n'),
                     'chunked': (w, 'PUT', path, '', chunked('abc'))}[kind])
        want.append((200, '' if kind == 'head' else path + (' ' if kind == 'get' else ' abc')))
    return rows, want


table(globals(), 'pipelined', [
    ('get', ['get']),
    ('post', ['post']),
    ('chunked', ['chunked']),
    ('of_all_kinds', ['get', 'chunked', 'head', 'post']),
    ('in_pieces_of_7', ['get', 'chunked', 'head', 'post'], 12, 7),
    ('byte_by_byte', ['post', 'get'], 4, 1),
    ('with_empty_lines_behind_content', ['post_and_line', 'get']),
    ('more_than_a_buffer_holds', ['get', 'post'], 800),
], lambda way, kinds, n=12, pieces=0: pipelined(way, *some(way, kinds, n), pieces))
table(globals(), 'pipelined', [('to_two_sites_in_turn', ['get', 'post'])],
      lambda _, kinds: pipelined('mixed', *some('mixed', kinds)), ways=('alone',))


def not_run(way, first, status, fields=''):
    """What stands behind the last request of a connection is neither answered nor run."""
    t = stage(echo)
    with t.client() as c:
        c.send(scoped(first, way) + get(way, path='/behind'))
        eq(c.reader.message(first.split(' ')[0]).status, status)
        eq(c.reader.to_end(), b'')
    eq([m.path for o in t.origins.values() for m in o.requests if m.path == '/behind'], [])


table(globals(), 'nothing_runs_behind', [
    ('connection_close', get('alone', 'Connection: close\r\n'), 200),
    ('connection_close_of_a_post', POST + 'Connection: close\r\nContent-Length: 3\r\n\r\nabc', 200),
    ('http_1_0', get('alone', version='1.0'), 200),
    ('a_bad_request', get('alone', 'X-A : b\r\n'), 400),
    ('a_bad_chunk', POST + 'Transfer-Encoding: chunked\r\n\r\nx\r\n\r\n', 400),
    ('an_unknown_method', get('alone', method='FROBNICATE'), 501),
    ('an_expectation_nobody_meets', get('alone', 'Expect: tea\r\n'), 417),
    ('connect', 'CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n', 501),
], lambda way, first, status: not_run('alone' if 'Host: x\r\n' not in first else way, first, status))


def test_nothing_runs_behind_a_body_that_is_too_long(bed):
    t = harness.shared(small).handle(echo)
    with t.client() as c:
        c.send(POST + 'Content-Length: 5000\r\n\r\n' + get('alone', path='/behind') + 'a' * 4900)
        is_own_error(c.reader.message('POST'), 413)
        eq(c.reader.to_end(), b'')
    eq(t.seen('alone'), [])


# --- persistence (RFC 9112 9.3) -------------------------------------------------------------------------------------
group(globals(), 'persistence')

def persists(way, version, fields, kept, says):
    t = stage()
    with t.client() as c:
        for _ in range(3 if kept else 1):
            c.send(get(way, fields, version=version))
            r = c.reader.message('GET')
            eq((r.status, r.get('connection')), (200, says))
        if not kept:
            eq(c.reader.to_end(), b'')
    eq(t.last(way).get('connection'), None)
    # What the client says of its connection is not said to the instance, which keeps its own.
    before = t.origins[way].connections
    with t.client() as c:
        c.send(get(way))
        eq(c.reader.message('GET').status, 200)
    eq(t.origins[way].connections, before)


table(globals(), 'client_connection', [
    ('http_1_1_is_kept', '1.1', '', True, None),
    ('http_1_1_keep_alive_is_kept', '1.1', 'Connection: keep-alive\r\n', True, None),
    ('http_1_1_close_ends', '1.1', 'Connection: close\r\n', False, 'close'),
    ('http_1_1_close_upper_case_ends', '1.1', 'Connection: Close\r\n', False, 'close'),
    ('http_1_1_close_in_a_list_ends', '1.1', 'Connection: x-a,\tclose\r\n', False, 'close'),
    ('http_1_1_close_with_tab_behind_ends', '1.1', 'Connection: close\t\r\n', False, 'close'),
    ('http_1_1_close_in_a_second_field_ends', '1.1', 'Connection: x-a\r\nConnection: close\r\n', False, 'close'),
    ('http_1_1_close_and_keep_alive_ends', '1.1', 'Connection: keep-alive, close\r\n', False, 'close'),
    ('http_1_1_closed_as_a_word_is_kept', '1.1', 'Connection: closed\r\n', True, None),
    ('http_1_0_ends', '1.0', '', False, 'close'),
    ('http_1_0_keep_alive_is_kept', '1.0', 'Connection: keep-alive\r\n', True, 'keep-alive'),
    ('http_1_0_keep_alive_upper_case_is_kept', '1.0', 'Connection: Keep-Alive\r\n', True, 'keep-alive'),
    ('http_1_0_keep_alive_and_close_ends', '1.0', 'Connection: keep-alive, close\r\n', False, 'close'),
    ('http_1_0_proxy_connection_ends', '1.0', 'Proxy-Connection: keep-alive\r\n', False, 'close'),
], persists)


# --- a client that ends its side (RFC 9112 9.6) ---------------------------------------------------------------------
group(globals(), 'half-close and aborts of clients')

def half_closed(way, text, want):
    """Its whole requests are answered, then the connection ends in order."""
    t, go = stage(), threading.Event()

    def slow(request, sock):
        assert go.wait(harness.DEADLINE)
        return echo(request, sock)
    t.origins[way].handler = slow
    with t.client() as c:
        c.send(text)
        c.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: t.seen(way), 'the request at the instance')
        go.set()
        eq([c.reader.message('GET').body for _ in want], want)
        eq(c.reader.to_end(), b'')


table(globals(), 'client_ends_its_side_after', [
    ('a_request', lambda w: get(w, path='/1'), [b'/1 ']),
    ('a_request_of_http_1_0', lambda w: get(w, path='/1', version='1.0'), [b'/1 ']),
    ('content', lambda w: scoped(POST, w) + 'Content-Length: 3\r\n\r\nabc', [b'/ abc']),
    ('chunks', lambda w: scoped(POST, w) + chunked('abc'), [b'/ abc']),
    ('three_requests', lambda w: get(w, path='/1') + get(w, path='/2') + get(w, path='/3'), [b'/1 ', b'/2 ', b'/3 ']),
    ('a_request_and_half_of_one', lambda w: get(w, path='/1') + 'GET /2 HT', [b'/1 ']),
], lambda way, text, want: half_closed(way, text(way), want))


def half_closed_bulk(way):
    t = stage(lambda r, s: answer(BULK * 4))
    with t.client() as c:
        c.send(get(way))
        c.sock.shutdown(socket.SHUT_WR)
        eq(c.reader.message('GET').body == BULK * 4, True)


table(globals(), 'client_ends_its_side_after', [('a_request_for_bulk',)], half_closed_bulk)


def gives_up(way, text, how):
    """A request that will never be whole: the instance's connection ends too, and nothing of the request counts."""
    t, ends, begun = stage(), [], threading.Event()

    def serve(sock, reader):
        reader.head()
        begun.set()
        ends.append(drained(sock))
    t.raw(way, serve)
    with t.client() as c:
        c.send(scoped(POST, way) + text)
        assert begun.wait(harness.DEADLINE), 'the head at the instance'
        how(c.sock)
        wait_until(lambda: ends, 'the end of the connection to the instance')
    eq(ends, ['reset'], 'how the instance learns of it')


table(globals(), 'client_that_leaves_within', [
    (f'{what}_{word}', text, how) for what, text in (
        ('content', 'Content-Length: 10\r\n\r\nabc'),
        ('bulk', 'Content-Length: 9000000\r\n\r\n' + 'a' * 500000),
        ('chunks', 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'),
        ('a_chunk', 'Transfer-Encoding: chunked\r\n\r\n9\r\nabc'),
    ) for word, how in (('ends', lambda s: s.shutdown(socket.SHUT_WR)), ('closes', lambda s: s.close()),
                        ('resets', reset))
], gives_up)


def leaves_early(way, begun, how):
    """While the answer is awaited or comes, the instance is told by the end of its connection."""
    t, ends, here = stage(), [], threading.Event()

    def serve(sock, reader):
        reader.message()
        if begun:
            sock.sendall(begun)
        here.set()
        try:
            while begun and len(begun) > 1000:
                sock.sendall(begun)
            ends.append(drained(sock))
        except ConnectionError:
            ends.append('reset')
    t.raw(way, serve)
    with t.client() as c:
        c.send(get(way))
        assert here.wait(harness.DEADLINE)
        if begun:
            c.reader.head()
        how(c.sock)
        wait_until(lambda: ends, 'the end of the connection to the instance')


HEAD = b'HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n'
table(globals(), 'client_that_leaves_while', [
    ('the_answer_is_awaited', b'', reset),
    ('the_answer_comes', HEAD, reset),
    ('bulk_comes', HEAD + b'a' * 100000, reset),
    ('bulk_comes_and_closes', HEAD + b'a' * 100000, lambda s: s.close()),
    ('chunks_come', b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' + b'3\r\nabc\r\n' * 400, reset),
], leaves_early)


def test_client_that_leaves_within_the_head_leaves_nothing_behind(bed):
    t = stage()
    for how in (lambda s: s.shutdown(socket.SHUT_WR), reset):
        with t.client() as c:
            c.send('GET / HTTP/1.1\r\nHost: x\r\nX-A')
            how(c.sock)
            if c.sock.fileno() >= 0:
                eq(c.reader.to_end(), b'')
    eq(t.seen('alone'), [])


# --- a kept connection that dies as a request is sent ---------------------------------------------------------------
group(globals(), 'kept connections that die under a request')

class Mortal:
    """The first `healthy` requests of a connection are answered, the next arrives and kills it; a fresh connection
    after that lives, unless deadly."""

    def __init__(self, t, way, end, deadly=False, healthy=3):
        self.end, self.deadly, self.healthy, self.killed = end, deadly, healthy, False
        self.arrived = []
        t.raw(way, self.serve)

    def serve(self, sock, reader):
        served = 0
        while True:
            try:
                m = reader.message()
            except ConnectionError:
                return
            self.arrived.append((m.method, m.path, m.body, m.trailers))
            if (self.deadly and self.killed) or (served >= self.healthy and not self.killed):
                self.killed = True
                self.end(sock)
                return
            served += 1
            sock.sendall(answer(m.body or 'fine'))

    def of(self, path):
        return [a for a in self.arrived if a[1] == path]


def dies(way, end, method, fields, content, status, times, deadly=False):
    t = stage()
    m = Mortal(t, way, end, deadly)
    with t.client() as c:
        for _ in range(3):
            c.send(get(way, path='/warm'))
            eq(c.reader.message('GET').status, 200)
        c.send(get(way, fields, method, '/x') + content)
        r = c.reader.message(method)
        eq(r.status, status)
        if status == 504:
            eq(r.problem('outcome-unknown')['status'], 504)
    eq(len(m.of('/x')), times, f'times {method} arrived')
    for a in m.of('/x'):
        eq(a[2].decode(), content)


ENDS = (('ends', lambda s: None), ('resets', reset))
TEN = ('Content-Length: 10\r\n', '0123456789')
KEY = 'Idempotency-Key: 1\r\n'
table(globals(), 'kept_connection', [
    (f'{word}_under_{key}', end, *row) for word, end in ENDS for key, *row in (
        ('get_which_is_sent_once_more', 'GET', '', '', 200, 2),
        ('head_which_is_sent_once_more', 'HEAD', '', '', 200, 2),
        ('options_which_is_sent_once_more', 'OPTIONS', '', '', 200, 2),
        ('put_which_is_sent_once_more', 'PUT', *TEN, 200, 2),
        ('delete_which_is_sent_once_more', 'DELETE', '', '', 200, 2),
        ('propfind_which_is_sent_once_more', 'PROPFIND', *TEN, 200, 2),
        ('post_which_is_never_sent_again', 'POST', *TEN, 504, 1),
        ('post_without_content_which_is_never_sent_again', 'POST', 'Content-Length: 0\r\n', '', 504, 1),
        ('patch_which_is_never_sent_again', 'PATCH', *TEN, 504, 1),
        ('lock_which_is_never_sent_again', 'LOCK', *TEN, 504, 1),
        ('post_with_a_key_which_is_sent_once_more', 'POST', KEY + TEN[0], TEN[1], 200, 2),
        ('patch_with_a_key_which_is_sent_once_more', 'PATCH', KEY + TEN[0], TEN[1], 200, 2),
        ('get_whose_next_connection_dies_too', 'GET', '', '', 502, 2, True),
        ('post_whose_next_connection_would_die_too', 'POST', *TEN, 504, 1, True),
    )], dies)


def chunks_again(way):
    """Content that came in chunks is sent again in chunks, with its trailers."""
    t = stage()
    m = Mortal(t, way, reset)
    with t.client() as c:
        for _ in range(3):
            c.send(get(way, path='/warm'))
            eq(c.reader.message('GET').status, 200)
        c.send(get(way, '', 'PUT', '/x').removesuffix('\r\n') +
               chunked('0123456789').removesuffix('\r\n') + 'X-Sum: 1\r\n\r\n')
        r = c.reader.message('PUT')
        eq((r.status, r.body), (200, b'0123456789'))
    eq(m.of('/x'), [('PUT', '/x', b'0123456789', [('X-Sum', '1')])] * 2)


table(globals(), 'kept_connection_resets_under', [('chunks_which_are_sent_once_more',)], chunks_again)


def silent_close(way, method, content, times):
    """Servers that end each connection after its answer without saying so (uwsgi) cost no POST."""
    t, arrived = stage(), []

    def serve(sock, reader):
        m = reader.message()
        arrived.append(m.path)
        sock.sendall(answer('fine'))
    t.raw(way, serve)
    with t.client() as c:
        for i in range(times):
            c.send(get(way, f'Content-Length: {len(content)}\r\n', method, f'/{i}') + content)
            eq(c.reader.message(method).status, 200)
    for i in range(times):
        eq(arrived.count(f'/{i}'), 1, f'times /{i} arrived')


table(globals(), 'server_that_closes_without_a_word_costs_no', [
    ('post', 'POST', 'abc', 30),
    ('patch', 'PATCH', 'abc', 30),
    ('get', 'GET', '', 30),
], silent_close)


def is_stopped(pid):
    """Every thread has taken its SIGSTOP."""
    for task in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{task}/stat') as f:
            if f.read().rsplit(')', 1)[1].split()[0] != 'T':
                return False
    return True


def end_unseen(way, method, raw):
    """The end of a kept connection, or bytes nobody asked for, arrive while the proxy looks elsewhere, and the next
    request is read before them: it is not sent there."""
    t, arrived, socks = stage(), [], []

    def serve(sock, reader):
        socks.append(sock)
        while True:
            m = reader.message()
            arrived.append(m.path)
            sock.sendall(answer('fine'))
    t.raw(way, serve)
    daemon = t.sites[own_site(way)]
    with t.client() as c:
        for _ in range(3):
            c.send(get(way, path='/warm'))
            eq(c.reader.message('GET').status, 200)
        daemon.signal(harness.signal.SIGSTOP)
        try:
            wait_until(lambda: is_stopped(daemon.process.pid), 'the proxy to stand still')
            c.send(get(way, 'Content-Length: 3\r\n', method, '/x') + 'abc')
            if way == 'scoped':     # until the other proxy has passed it on
                harness.time.sleep(0.05)
            if raw:
                socks[-1].sendall(raw)
            socks[-1].shutdown(socket.SHUT_WR)
        finally:
            daemon.signal(harness.signal.SIGCONT)
        r = c.reader.message(method)
        eq((r.status, r.body, r.get('x-smuggled')), (200, b'fine', None))
    eq((arrived.count('/x'), len(socks)), (1, 2), 'times it arrived, and connections')


UNASKED = b'HTTP/1.1 200 OK\r\nX-Smuggled: 1\r\nContent-Length: 0\r\n\r\n'
table(globals(), 'kept_connection_whose_end_is_not_seen_yet_costs_no', [
    ('post', 'POST', b''),
    ('patch', 'PATCH', b''),
    ('get', 'GET', b''),
], end_unseen)
table(globals(), 'answer_nobody_asked_for_that_is_not_seen_yet_answers_no', [
    ('post', 'POST', UNASKED),
    ('get', 'GET', UNASKED),
], end_unseen)


def test_a_peer_that_was_restarted_costs_no_post(bed):
    o = bed.origin('o', echo)
    sites = bed.mesh({'dc1': {'image': {}}, 'dc2': {'image': {'instances': [o.url]}}})
    with harness.Client(sites['dc1'].addr('image')) as c:
        for i in range(3):
            eq(c.ask('POST', f'/{i}', {'X-Scope': 'image: dc2'}, b'abc').status, 200)
            if i < 2:
                sites['dc2'].stop()
                sites['dc2'].start()
    eq([m.path for m in o.requests], ['/0', '/1', '/2'])


# --- answers that come before the request is whole ------------------------------------------------------------------
group(globals(), 'early answers')

def early(way, status, fields, framing, then):
    """The answer reaches the client while its content is still to come."""
    t, ends = stage(), []

    def serve(sock, reader):
        reader.head()
        sock.sendall(f'HTTP/1.1 {status}\r\n{fields}Content-Length: 5\r\n\r\nearly'.encode())
        if then == 'close':
            sock.shutdown(socket.SHUT_WR)
        ends.append(drained(sock))
    t.raw(way, serve)
    with t.client() as c:
        c.send(scoped(POST, way) + framing)
        r = c.reader.message('POST')
        eq((r.status, r.body), (int(status[:3]), b'early'))
        wait_until(lambda: ends, 'the end of the connection to the instance')
    t.handle()
    with t.client() as c:
        c.send(get(way))
        eq(c.reader.message('GET').body, own_site(way).encode())


LENGTH_OPEN = 'Content-Length: 1000\r\n\r\nabc'
CHUNKS_OPEN = 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'
table(globals(), 'early_answer', [
    (f'{word}_to_{kind}', status, fields, framing, then)
    for word, status, fields, then in (('413_that_closes', '413 Too Large', 'Connection: close\r\n', 'close'),
                                       ('401', '401 Unauthorized', '', 'stay'),
                                       ('200', '200 OK', '', 'stay'))
    for kind, framing in (('content', LENGTH_OPEN), ('chunks', CHUNKS_OPEN), ('content_not_begun', LENGTH_OPEN[:-3]))
], early)


def early_head(way):
    """An answer may begin before the content has ended, and both go on."""
    t = stage()

    def serve(sock, reader):
        m = reader.head()
        sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nbegin ')
        while True:
            sock.sendall(reader.body(m)[-5:])
            m = reader.message()
            sock.sendall(answer('second'))
            return
    t.raw(way, serve)
    with t.client() as c:
        c.send(scoped(POST, way) + 'Content-Length: 10\r\n\r\n01234')
        r = c.reader.head()
        eq((r.status, c.reader.exactly(6)), (200, b'begin '))
        c.send('56789')
        eq(c.reader.exactly(5), b'56789')
        c.send(get(way))
        eq(c.reader.message('GET').body, b'second')


table(globals(), 'answer_that_begins_early', [('goes_on_with_the_request',)], early_head)


def early_while_sending(way, framing, linger):
    """A client that sends and sends without listening still finds the answer."""
    t = stage()

    def serve(sock, reader):
        reader.head()
        sock.sendall(b'HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nearly')
        if linger:
            sock.shutdown(socket.SHUT_WR)
            drained(sock)
    t.raw(way, serve)
    with t.client() as c:
        c.send(scoped(POST, way) + framing)
        for _ in range(8):
            c.send(BULK)
        r = c.reader.message('POST')
        eq((r.status, r.body), (413, b'early'))


table(globals(), 'early_answer_to_a_client_that_sends', [
    (f'{kind}_{word}', framing, linger)
    for kind, framing in (('content', f'Content-Length: {len(BULK) * 8}\r\n\r\n'),
                          ('a_chunk', f'Transfer-Encoding: chunked\r\n\r\n{len(BULK) * 8:x}\r\n'))
    for word, linger in (('and_is_heard_out', True), ('and_is_cut_off', False))], early_while_sending)


# --- own errors while the client sends (RFC 9112 9.6: the close lingers) --------------------------------------------
group(globals(), 'lingering close')

def small(bed):
    return Stage(bed, limits={'header_bytes': 4096, 'body_bytes': 1000})


def test_own_error_reaches_a_client_that_sends_on(bed):
    t = harness.shared(small).handle()
    for status, head in ((413, POST + f'Content-Length: {len(BULK) * 8}\r\n\r\n'),
                         (413, POST + f'Transfer-Encoding: chunked\r\n\r\n{len(BULK) * 8:x}\r\n'),
                         (400, POST + 'X-A : b\r\n\r\n'),
                         (400, POST + f'X-Scope: image: nowhere\r\nContent-Length: {len(BULK) * 8}\r\n\r\n'),
                         (431, POST + 'X-A: ' + 'a' * 5000),
                         (501, POST.replace('POST', 'FROBNICATE') + f'Content-Length: {len(BULK) * 8}\r\n\r\n')):
        with t.client() as c:
            c.send(head)
            for _ in range(8):
                c.send(b'a' * len(BULK))
            r = c.reader.message('POST')
            is_own_error(r, status)
            eq(r.get('connection'), 'close')
            eq(c.reader.to_end(), b'')
    eq(t.seen('alone'), [])


def test_own_503_reaches_a_client_that_sends_on(bed):
    d = bed.daemon('dc1', {'image': {'instances': []}})
    with harness.Client(d.addr('image')) as c:
        c.send(POST + f'Content-Length: {len(BULK) * 8}\r\n\r\n')
        for _ in range(8):
            c.send(BULK)
        is_own_error(c.reader.message('POST'), 503)
        eq(c.reader.to_end(), b'')


# --- who the client is (RFC 7239, X-Forwarded-*) --------------------------------------------------------------------
group(globals(), 'forwarded fields')

def far_trust(bed):
    return Stage(bed, forwarded={'trust': ['192.0.2.0/24']})


def ipv6(bed):
    return Stage(bed, {'listen': '[::1]:0'}, forwarded={'trust': ['::1/128']})


def forwarded(way, build, fields, want):
    try:
        t = harness.shared(build).handle()
    except AssertionError as e:
        if build is ipv6 and not has_ipv6():
            raise harness.Skip('no IPv6 here') from e
        raise
    with t.client() as c:
        c.send(get(way, fields))
        eq(c.reader.message('GET').status, 200)
    eq({n: t.last(way).get(n) for n in want}, want)


def has_ipv6():
    try:
        socket.create_server(('::1', 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


CLAIMS = 'X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: y\r\n'
table(globals(), 'forwarded', [
    ('claims_of_an_address_outside_the_trusted_ones', far_trust, CLAIMS,
     {'x-forwarded-for': '127.0.0.1', 'forwarded': None, 'x-forwarded-proto': 'http', 'x-forwarded-host': 'x'}),
    ('ipv6', ipv6, '', {'x-forwarded-for': '::1', 'forwarded': None}),
    ('ipv6_trusted', ipv6, CLAIMS,
     {'x-forwarded-for': '192.0.2.1, ::1', 'forwarded': 'for=192.0.2.1, for="[::1]";proto=http'}),
    ('claim_for_only', ipv6, 'X-Forwarded-For: 192.0.2.1\r\n',
     {'x-forwarded-for': '192.0.2.1, ::1', 'forwarded': None, 'x-forwarded-proto': 'http', 'x-forwarded-host': 'x'}),
], forwarded)


if __name__ == '__main__':
    harness.main(globals())
