#!/usr/bin/python3
"""Requests by RFC 9110 and 9112: what is refused, what passes on and in which form, what ends at the proxy."""
import harness
from conform import POST, Stage, answer, eq, get, group, is_own_error, scoped, stage, table

SMUGGLED = '0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'


# --- refused: a head that could be read in two ways -----------------------------------------------------------------
group(globals(), 'heads refused')

def refused(way, status, raw, rest=''):
    """An own error, the connection ends, and the instance has seen nothing."""
    t = stage()
    with t.client() as c:
        c.send(scoped(raw, way) + rest)
        r = c.reader.message('GET')
        is_own_error(r, status)
        eq(r.get('connection'), 'close')
        eq(c.reader.to_end(), b'', 'bytes after the refusal')
    eq([m.start for o in t.origins.values() for m in o.requests], [], 'what came to the instances')


def lines(*fields, start='POST / HTTP/1.1'):
    return start + '\r\nHost: x\r\n' + ''.join(f + '\r\n' for f in fields) + '\r\n'


table(globals(), 'refused', [
    # The rows of the table of what llhttp lets through ...
    ('bare_cr_that_hides_a_field', 400, lines('X-Abc:\rxTransfer-Encoding: chunked'), SMUGGLED),
    ('bare_cr_in_a_value', 400, lines('X-Abc: a\rb')),
    ('bare_cr_in_the_request_line', 400, lines(start='GET /\r HTTP/1.1')),
    ('folded_field_line', 400, lines('X-Abc: a\r\n b')),
    ('folded_field_line_with_tab', 400, lines('X-Abc: a\r\n\tb')),
    ('folded_transfer_encoding', 400, lines('Transfer-Encoding:\r\n chunked'), SMUGGLED),
    ('blank_line_of_blanks_first', 400, 'GET / HTTP/1.1\r\n \r\nHost: x\r\n\r\n'),
    ('blank_before_the_colon', 400, lines('X-Abc : a')),
    ('tab_before_the_colon', 400, lines('X-Abc\t: a')),
    ('blank_before_the_colon_of_host', 400, 'GET / HTTP/1.1\r\nHost : x\r\n\r\n'),
    ('blank_before_the_colon_of_content_length', 400, lines('Content-Length : 5'), SMUGGLED),
    ('blank_before_the_colon_of_transfer_encoding', 400, lines('Transfer-Encoding : chunked'), SMUGGLED),
    ('http_1_0_with_transfer_encoding', 400, lines('Transfer-Encoding: chunked', start='POST / HTTP/1.0'), SMUGGLED),
    ('http_0_9', 400, 'GET /\r\n\r\n'),
    ('no_host', 400, 'GET / HTTP/1.1\r\nX-A: b\r\n\r\n'),
    ('two_hosts', 400, lines('Host: y')),
    ('two_equal_hosts', 400, lines('Host: x')),
    ('content_length_with_transfer_encoding', 400, lines('Content-Length: 5', 'Transfer-Encoding: chunked'), SMUGGLED),
    ('transfer_encoding_with_content_length', 400, lines('Transfer-Encoding: chunked', 'Content-Length: 5'), SMUGGLED),
    ('two_content_lengths', 400, lines('Content-Length: 5', 'Content-Length: 6'), SMUGGLED),
    ('two_equal_content_lengths', 400, lines('Content-Length: 5', 'Content-Length: 5'), '12345'),
    ('content_length_list', 400, lines('Content-Length: 4, 4'), '1234'),
    ('content_length_plus', 400, lines('Content-Length: +4'), '1234'),
    ('content_length_minus', 400, lines('Content-Length: -4'), '1234'),
    ('content_length_hex', 400, lines('Content-Length: 0x4'), '1234'),
    ('content_length_blank_inside', 400, lines('Content-Length: 1 2'), '1234'),
    ('content_length_empty', 400, lines('Content-Length:'), SMUGGLED),
    ('content_length_2_63', 400, lines('Content-Length: 9223372036854775808'), SMUGGLED),
    ('content_length_2_64', 400, lines('Content-Length: 18446744073709551616'), SMUGGLED),
    ('content_length_2_64_and_5', 400, lines('Content-Length: 18446744073709551621'), SMUGGLED),
    ('xchunked', 400, lines('Transfer-Encoding: xchunked'), SMUGGLED),
    ('chunked_gzip', 400, lines('Transfer-Encoding: chunked, gzip'), SMUGGLED),
    ('bare_lf_line_end', 400, 'GET / HTTP/1.1\nHost: x\n\n'),
    ('bare_lf_in_the_head', 400, lines('X-Abc: a\nContent-Length: 5'), SMUGGLED),
    # ... what strict mode still lets through ...
    ('empty_field_name', 400, lines(': a')),
    ('request_line_ended_by_lf', 400, 'GET / HTTP/1.1\nHost: x\r\n\r\n'),
    ('head_ended_by_crlf_lf', 400, 'GET / HTTP/1.1\r\nHost: x\r\n\n'),
    ('double_blank_after_the_method', 400, lines(start='GET  / HTTP/1.1')),
    ('double_blank_before_the_version', 400, lines(start='GET /  HTTP/1.1')),
    ('blank_after_the_version', 400, lines(start='GET / HTTP/1.1 ')),
    ('blank_before_the_method', 400, lines(start=' GET / HTTP/1.1')),
    ('tab_in_the_request_line', 400, lines(start='GET\t/ HTTP/1.1')),
    ('nul_in_a_value', 400, lines('X-Abc: a\0b')),
    ('nul_in_a_name', 400, lines('X-A\0bc: a')),
    ('nul_in_the_target', 400, lines(start='GET /\0 HTTP/1.1')),
    ('control_in_a_value', 400, lines('X-Abc: a\x01b')),
    ('del_in_a_value', 400, lines('X-Abc: a\x7fb')),
    ('line_without_colon', 400, lines('X-Abc')),
    ('byte_no_name_may_hold', 400, lines('X(Abc): a')),
    ('utf8_in_a_name', 400, lines('X-\xc3\xa4: a')),
    # ... and the numbered points.
    ('transfer_encoding_comma_chunked', 400, lines('Transfer-Encoding: ,chunked'), SMUGGLED),
    ('transfer_encoding_chunked_comma', 400, lines('Transfer-Encoding: chunked,'), SMUGGLED),
    ('transfer_encoding_gzip_chunked', 501, lines('Transfer-Encoding: gzip, chunked'), SMUGGLED),
    ('transfer_encoding_gzip', 400, lines('Transfer-Encoding: gzip'), SMUGGLED),
    ('transfer_encoding_identity', 400, lines('Transfer-Encoding: identity'), SMUGGLED),
    ('transfer_encoding_empty', 400, lines('Transfer-Encoding:'), SMUGGLED),
    ('transfer_encoding_empty_with_content_length', 400, lines('Transfer-Encoding:', 'Content-Length: 5'), SMUGGLED),
    ('transfer_encoding_chunked_chunked', 400, lines('Transfer-Encoding: chunked, chunked'), SMUGGLED),
    ('transfer_encoding_twice', 400, lines('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'), SMUGGLED),
    ('transfer_encoding_quoted', 400, lines('Transfer-Encoding: "chunked"'), SMUGGLED),
    ('transfer_encoding_with_parameter', 400, lines('Transfer-Encoding: chunked;q=1'), SMUGGLED),
    ('transfer_encoding_vertical_tab', 400, lines('Transfer-Encoding: \x0bchunked'), SMUGGLED),
    ('fragment_in_the_target', 400, lines(start='GET /a#b HTTP/1.1')),
    ('get_asterisk', 400, lines(start='GET * HTTP/1.1')),
    ('target_that_is_no_path', 400, lines(start='GET a/b HTTP/1.1')),
    ('target_of_another_scheme', 400, lines(start='GET ftp://x/ HTTP/1.1')),
    ('userinfo_in_an_absolute_target', 400, lines(start='GET http://u:p@x/ HTTP/1.1')),
    ('absolute_target_without_host', 400, lines(start='GET http:///a HTTP/1.1')),
    ('absolute_target_with_bad_port', 400, lines(start='GET http://x:99999/ HTTP/1.1')),
    ('host_with_userinfo', 400, 'GET / HTTP/1.1\r\nHost: u@x\r\n\r\n'),
    ('host_with_path', 400, 'GET / HTTP/1.1\r\nHost: x/a\r\n\r\n'),
    ('host_with_two_values', 400, 'GET / HTTP/1.1\r\nHost: x, y\r\n\r\n'),
    ('host_with_blank', 400, 'GET / HTTP/1.1\r\nHost: x y\r\n\r\n'),
    ('host_with_bad_port', 400, 'GET / HTTP/1.1\r\nHost: x:y\r\n\r\n'),
    ('host_with_bad_ipv6', 400, 'GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n'),
    ('host_empty', 400, 'GET / HTTP/1.1\r\nHost:\r\n\r\n'),
    ('lower_case_version', 400, lines(start='GET / http/1.1')),
    ('version_with_two_digits', 400, lines(start='GET / HTTP/1.10')),
    ('version_1_2', 505, lines(start='GET / HTTP/1.2')),
    ('version_2_0', 505, lines(start='GET / HTTP/2.0')),
    ('version_3_0', 505, lines(start='GET / HTTP/3.0')),
    ('http_2_preface', 505, 'PRI * HTTP/2.0\r\n\r\n', 'SM\r\n\r\n'),
    ('unknown_method', 501, lines(start='FROBNICATE / HTTP/1.1')),
    ('lower_case_method', 501, lines(start='get / HTTP/1.1')),
    ('rtsp_method', 501, lines(start='DESCRIBE / HTTP/1.1')),
    ('connect', 501, 'CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n'),
    ('connect_with_content', 400, 'CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\nContent-Length: 3\r\n\r\nabc'),
    ('unknown_expectation', 417, lines('Expect: tea', 'Content-Length: 0')),
    ('max_forwards_no_number', 400, lines('Max-Forwards: many', start='TRACE / HTTP/1.1')),
    ('max_forwards_twice', 400, lines('Max-Forwards: 1', 'Max-Forwards: 2', start='OPTIONS / HTTP/1.1')),
], refused, ways=('alone',))


group(globals(), 'bad chunks')
# A chunked body is checked as it streams: the proxies in between have sent the head on already, so the instance may
# have seen the beginning of a request, never the end of one and never what stood behind it.
def bad_chunks(way, body):
    t = stage()
    with t.client() as c:
        c.send(scoped(POST + 'Transfer-Encoding: chunked\r\n\r\n', way) + body)
        is_own_error(c.reader.message('POST'), 400)
        eq(c.reader.to_end(), b'', 'bytes after the refusal')
    eq([m.start for o in t.origins.values() for m in o.requests], [], 'whole requests at the instances')


table(globals(), 'bad_chunks', [
    ('data_without_crlf', '3\r\nabcXX0\r\n\r\n'),
    ('data_longer_than_said', '3\r\nabcd\r\n0\r\n\r\n'),
    ('size_no_number', 'x\r\nabc\r\n0\r\n\r\n'),
    ('size_with_0x', '0x3\r\nabc\r\n0\r\n\r\n'),
    ('size_with_sign', '+3\r\nabc\r\n0\r\n\r\n'),
    ('size_with_blank_first', ' 3\r\nabc\r\n0\r\n\r\n'),
    ('size_empty', '\r\nabc\r\n0\r\n\r\n'),
    ('size_2_63', '8000000000000000\r\nabc'),
    ('size_2_64_and_3', '10000000000000003\r\nabc\r\n0\r\n\r\n'),
    ('size_ended_by_lf', '3\nabc\r\n0\r\n\r\n'),
    ('size_ended_by_cr', '3\rabc\r\n0\r\n\r\n'),
    ('extension_with_lf', '3;a\nabc\r\n0\r\n\r\n'),
    ('extension_with_bare_cr', '3;a\rb\r\nabc\r\n0\r\n\r\n'),
    ('extension_too_long', '3;' + 'a' * 5000 + '\r\nabc\r\n0\r\n\r\n'),
    ('last_chunk_ended_by_lf', '3\r\nabc\r\n0\r\n\n'),
    ('trailer_folded', '3\r\nabc\r\n0\r\nX-A: b\r\n c\r\n\r\n'),
    ('trailer_with_bare_cr', '3\r\nabc\r\n0\r\nX-A: b\rc\r\n\r\n'),
    ('trailer_with_bare_lf', '3\r\nabc\r\n0\r\nX-A: b\nX-B: c\r\n\r\n'),
    ('trailer_with_nul', '3\r\nabc\r\n0\r\nX-A: b\0\r\n\r\n'),
    ('trailer_blank_before_colon', '3\r\nabc\r\n0\r\nX-A : b\r\n\r\n'),
    ('trailer_without_colon', '3\r\nabc\r\n0\r\nX-A\r\n\r\n'),
    ('trailers_too_long', '3\r\nabc\r\n0\r\n' + ('X-A: ' + 'b' * 1000 + '\r\n') * 20 + '\r\n'),
], bad_chunks)


# --- passes: what looks odd and is right ----------------------------------------------------------------------------
group(globals(), 'odd and right')

def passes(way, raw, check=None):
    """The request arrives, and the connection carries another one."""
    t = stage()
    with t.client() as c:
        c.send(scoped(raw, way))
        r = c.reader.message(raw.split(' ')[0].strip())
        eq(r.status, 200, r)
        seen = t.last(way)
        if check:
            check(seen)
        eq(c.ask('GET', '/next', {'X-Scope': 'image: dc2'} if way == 'scoped' else {}).status, 200)
        eq((t.last(way).path, t.last(way).body), ('/next', b''))


def has(body=b'', **fields):
    def check(m):
        eq(m.body, body)
        for name, value in fields.items():
            eq(m.get(name.replace('_', '-')), value, name)
    return check


CHUNKED = POST + 'Transfer-Encoding: chunked\r\n\r\n'
table(globals(), 'passes', [
    ('empty_line_before_the_request', '\r\n' + get('alone'), has()),
    ('no_blank_after_the_colon', get('alone', 'X-A:b\r\n'), has(x_a='b')),
    ('blanks_around_a_value', get('alone', 'X-A: \t b \t\r\n'), has(x_a='b')),
    ('empty_value', get('alone', 'X-A:\r\n'), has(x_a='')),
    ('long_head', get('alone', 'X-A: ' + 'a' * 65400 + '\r\n'), has(x_a='a' * 65400)),
    ('latin1_value', get('alone', 'X-A: \xe4\r\n'), has(x_a='\xe4')),
    ('repeated_field_in_order', get('alone', 'X-A: 1\r\nX-B: 2\r\nX-A: 3\r\n'),
     lambda m: eq((m.all('x-a'), m.get('x-b')), (['1', '3'], '2'))),
    ('content_length_zero', POST + 'Content-Length: 0\r\n\r\n', has(content_length='0')),
    ('content_length_leading_zeros', POST + 'Content-Length: 003\r\n\r\nabc', has(b'abc', content_length='3')),
    ('post_without_content', POST + '\r\n', has()),
    ('get_with_content', get('alone', 'Content-Length: 3\r\n') + 'abc', has(b'abc')),
    ('delete_with_content', get('alone', 'Content-Length: 3\r\n', method='DELETE') + 'abc', has(b'abc')),
    ('chunked_upper_case', POST + 'Transfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
     has(b'abc', transfer_encoding='chunked', content_length=None)),
    ('chunked_empty', CHUNKED + '0\r\n\r\n', has(b'', transfer_encoding='chunked')),
    ('chunk_size_leading_zeros', CHUNKED + '0003\r\nabc\r\n000\r\n\r\n', has(b'abc')),
    ('chunk_size_upper_hex', CHUNKED + 'A\r\n0123456789\r\n0\r\n\r\n', has(b'0123456789')),
    ('chunk_extensions', CHUNKED + '3;a=b;c="d\\";e"\r\nabc\r\n0;z\r\n\r\n', has(b'abc')),
    ('chunk_extension_with_blanks', CHUNKED + '3 ; a = b\r\nabc\r\n0\r\n\r\n', has(b'abc')),
    ('many_small_chunks', CHUNKED + '1\r\nx\r\n' * 300 + '0\r\n\r\n', has(b'x' * 300)),
    ('trailers', CHUNKED + '3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-B: 2\r\n\r\n',
     lambda m: eq((m.body, m.trailers), (b'abc', [('X-Sum', '1'), ('X-B', '2')]))),
    ('trailers_that_must_not_be_trailers_end_here',
     CHUNKED + '3\r\nabc\r\n0\r\nContent-Length: 9\r\nX-Sum: 1\r\nHost: y\r\nX-Scope: image: dc9\r\n'
     'Transfer-Encoding: x\r\nAuthorization: z\r\n\r\n', lambda m: eq((m.body, m.trailers), (b'abc', [('X-Sum', '1')]))),
    ('absolute_target', get('alone', path='http://real.example:81/a?b'),
     lambda m: eq((m.path, m.get('host')), ('/a?b', 'real.example:81'))),
    ('absolute_target_without_path', get('alone', path='http://real.example'),
     lambda m: eq((m.path, m.get('host')), ('/', 'real.example'))),
    ('absolute_target_with_query_only', get('alone', path='http://real.example?q'),
     lambda m: eq((m.path, m.get('host')), ('/?q', 'real.example'))),
    ('absolute_target_in_upper_case', get('alone', path='HTTP://real.example/a'),
     lambda m: eq((m.path, m.get('host')), ('/a', 'real.example'))),
    ('options_asterisk', get('alone', method='OPTIONS', path='*'), lambda m: eq(m.start, 'OPTIONS * HTTP/1.1')),
    ('options_absolute_without_path', get('alone', method='OPTIONS', path='http://real.example'),
     lambda m: eq((m.start, m.get('host')), ('OPTIONS * HTTP/1.1', 'real.example'))),
    ('path_is_not_normalised', get('alone', path='/a/../b//c/%2e%2E/%41;x?y=%20&z=/..'),
     lambda m: eq(m.path, '/a/../b//c/%2e%2E/%41;x?y=%20&z=/..')),
], passes)

table(globals(), 'passes', [
    ('host_with_port', 'GET / HTTP/1.1\r\nHost: x:8080\r\n\r\n', lambda m: eq(m.get('host'), 'x:8080')),
    ('host_ipv6', 'GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n', lambda m: eq(m.get('host'), '[::1]:8080')),
], passes, ways=('alone',))

table(globals(), 'method', [(m.lower().replace('-', '_'), m) for m in (
    'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE', 'PROPFIND', 'PROPPATCH', 'MKCOL', 'COPY', 'MOVE',
    'LOCK', 'UNLOCK', 'SEARCH', 'REPORT', 'MKACTIVITY', 'CHECKOUT', 'MERGE', 'M-SEARCH', 'NOTIFY', 'SUBSCRIBE',
    'UNSUBSCRIBE', 'PURGE', 'MKCALENDAR', 'LINK', 'UNLINK', 'ACL', 'BIND', 'REBIND', 'UNBIND')],
    lambda way, method: passes(way, get('alone', method=method), lambda m: eq(m.method, method)))


# --- what ends at the proxy -----------------------------------------------------------------------------------------
group(globals(), 'fields that end here or are added')

def gone(way, fields, *names):
    t = stage()
    with t.client() as c:
        c.send(get(way, fields))
        eq(c.reader.message('GET').status, 200)
    for name in names:
        eq(t.last(way).get(name), None, name)
    eq(t.last(way).get('x-stays'), '1')


STAYS = 'X-Stays: 1\r\n'
table(globals(), 'hop_by_hop_request_field', [
    ('named_in_connection', STAYS + 'Connection: X-Mine, x-other\r\nX-Mine: 1\r\nX-Other: 2\r\n', 'x-mine', 'x-other'),
    ('named_in_a_second_connection', STAYS + 'Connection: a\r\nConnection: ,\tX-Mine ,\r\nX-Mine: 1\r\n', 'x-mine'),
    ('named_before_it_comes', 'X-Mine: 1\r\nConnection: x-mine\r\n' + STAYS, 'x-mine', 'connection'),
    ('known_name_in_connection', STAYS + 'Connection: accept-encoding, if-none-match, date, cache-control\r\n'
     'Accept-Encoding: gzip\r\nIf-None-Match: 1\r\nDate: x\r\nCache-Control: no-store\r\n',
     'accept-encoding', 'if-none-match', 'date', 'cache-control'),
    ('keep_alive', STAYS + 'Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n', 'keep-alive', 'connection'),
    ('keep_alive_unnamed', STAYS + 'Keep-Alive: timeout=5\r\n', 'keep-alive'),
    ('proxy_connection', STAYS + 'Proxy-Connection: keep-alive\r\n', 'proxy-connection'),
    ('te', STAYS + 'TE: trailers\r\nConnection: te\r\n', 'te', 'connection'),
    ('trailer', STAYS + 'Trailer: X-A\r\n', 'trailer'),
    ('upgrade_unnamed', STAYS + 'Upgrade: websocket\r\n', 'upgrade', 'connection'),
    ('proxy_authorization', STAYS + 'Proxy-Authorization: Basic eDp5\r\n', 'proxy-authorization'),
    ('scopemesh_fields_of_a_client', STAYS + 'X-Scopemesh-Service: y\r\nX-Scopemesh-Trace: dc1\r\nX-Scopemesh-Hold: 1\r\n'
     'X-Scopemesh-Scope: a\r\nX-Scopemesh-Error: a\r\nX-Scopemesh-Else: a\r\n', 'x-scopemesh-service',
     'x-scopemesh-trace', 'x-scopemesh-hold', 'x-scopemesh-scope', 'x-scopemesh-error', 'x-scopemesh-else'),
], gone)


def stays(way, fields, **values):
    t = stage()
    with t.client() as c:
        c.send(get(way, fields))
        eq(c.reader.message('GET').status, 200)
    for name, value in values.items():
        eq(t.last(way).get(name.replace('_', '-')), value, name)


table(globals(), 'connection_cannot_strip', [
    ('host', 'Connection: Host\r\n', 'host', 'x'),
    ('content_type', 'Connection: Content-Type\r\nContent-Type: a/b\r\n', 'content-type', 'a/b'),
    ('authorization', 'Connection: Authorization\r\nAuthorization: z\r\n', 'authorization', 'z'),
    ('cookie', 'Connection: Cookie\r\nCookie: z=1\r\n', 'cookie', 'z=1'),
    ('x_forwarded_for', 'Connection: X-Forwarded-For\r\n', 'x-forwarded-for', '127.0.0.1'),
], lambda way, fields, name, value: stays(way, fields, **{name.replace('-', '_'): value}))


def via(way, version, want_alone, want_scoped):
    t = stage()
    with t.client() as c:
        c.send(get(way, 'Via: 1.1 before\r\n', version=version))
        r = c.reader.message('GET')
    eq(t.last(way).get('via'), want_alone if way == 'alone' else want_scoped)
    eq(r.get('via'), '1.1 dc1' if way == 'alone' else '1.1 dc2, 1.1 dc1')


table(globals(), 'via_is_appended', [
    ('http_1_1', '1.1', '1.1 before, 1.1 dc1', '1.1 before, 1.1 dc1, 1.1 dc2'),
    ('http_1_0', '1.0', '1.1 before, 1.1 dc1', '1.1 before, 1.1 dc1, 1.1 dc2'),
], via)


def forwarded(way, trust, fields, want):
    t = harness.shared(trusting if trust else Stage).handle()
    with t.client() as c:
        c.send(get(way, fields))
        eq(c.reader.message('GET').status, 200)
    m = t.last(way)
    eq({n: m.get(n) for n in want}, want)


def trusting(bed):
    return Stage(bed, forwarded={'trust': ['127.0.0.0/8']})


CLAIMS = ('X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: outer.example\r\n'
          'Forwarded: for=192.0.2.1;proto=https\r\n')
OURS = {'x-forwarded-for': '127.0.0.1', 'x-forwarded-proto': 'http', 'x-forwarded-host': 'x', 'forwarded': None}
table(globals(), 'forwarded', [
    ('fields_are_added', False, '', OURS),
    ('claims_are_not_believed_by_default', False, CLAIMS, OURS),
    ('claims_of_a_trusted_address_are_kept_and_extended', True, CLAIMS,
     {'x-forwarded-for': '192.0.2.1, 127.0.0.1', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'outer.example',
      'forwarded': 'for=192.0.2.1;proto=https, for=127.0.0.1;proto=http'}),
    ('trusted_address_without_claims', True, '', OURS),
    ('two_fields_of_a_trusted_address', True, 'X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\n',
     {'x-forwarded-for': '192.0.2.1, 192.0.2.2, 127.0.0.1'}),
], forwarded)


# --- TRACE, OPTIONS and Max-Forwards (RFC 9110 7.6.2, 9.3.8) --------------------------------------------------------
group(globals(), 'TRACE, OPTIONS and Max-Forwards')

def max_forwards(way, method, n, alone, through):
    """alone, through: what the instance sees; an int: the status of the proxy's own answer."""
    t, want = stage(), alone if way == 'alone' else through
    with t.client() as c:
        c.send(get(way, f'Max-Forwards: {n}\r\n', method=method))
        r = c.reader.message(method)
        eq(r.status, want if isinstance(want, int) else 200)
        eq(r.body == way.replace('alone', 'dc1').replace('scoped', 'dc2').encode(), not isinstance(want, int))
        eq(c.ask('GET').status, 200, 'the connection goes on')
    eq([m.get('max-forwards') for m in t.seen(way) if m.get('max-forwards')], [] if isinstance(want, int) else [want])


table(globals(), 'max_forwards', [
    ('trace_5', 'TRACE', 5, '4', '3'),
    ('trace_0', 'TRACE', 0, 200, 200),
    ('trace_1', 'TRACE', 1, '0', 200),
    ('options_5', 'OPTIONS', 5, '4', '3'),
    ('options_0', 'OPTIONS', 0, 204, 204),
    ('options_1', 'OPTIONS', 1, '0', 204),
    ('of_other_methods_passes_as_it_came', 'GET', 0, '0', '0'),
], max_forwards)


def test_trace_that_ends_here_shows_the_request_without_its_secrets(bed):
    with stage().client() as c:
        c.send(get('alone', 'Max-Forwards: 0\r\nX-A: b\r\nAuthorization: s3cret\r\nCookie: s3cret\r\n'
                   'X-Auth-Token: s3cret\r\nProxy-Authorization: s3cret\r\n', method='TRACE', path='/a?b'))
        r = c.reader.message('TRACE')
    eq((r.status, r.get('content-type')), (200, 'message/http'))
    assert r.body.startswith(b'TRACE /a?b HTTP/1.1\r\n') and b'X-A: b\r\n' in r.body and b'Host: x\r\n' in r.body, r
    assert b's3cret' not in r.body, r


# --- limits ---------------------------------------------------------------------------------------------------------
group(globals(), 'limits')

def small(bed):
    return Stage(bed, limits={'header_bytes': 4096, 'body_bytes': 1000})


def limited(way, status, raw, key=None):
    t = harness.shared(small).handle()
    with t.client() as c:
        c.send(scoped(raw, way))
        r = c.reader.message('POST')
        if status == 200:
            eq(r.status, 200)
            return
        detail = is_own_error(r, status)['detail']
        assert key in detail, detail
        eq(r.get('connection'), 'close')
    eq(t.seen(way), [])


table(globals(), 'limit', [
    ('header_section_within', 200, get('alone', 'X-A: ' + 'a' * 3000 + '\r\n')),
    ('header_section_too_long', 431, get('alone', 'X-A: ' + 'a' * 4096 + '\r\n'), 'limits.header_bytes'),
    ('header_section_of_many_fields_too_long', 431, get('alone', 'X-A: a\r\n' * 600), 'limits.header_bytes'),
    ('header_section_without_end_too_long', 431, POST + 'X-A: ' + 'a' * 5000, 'limits.header_bytes'),
    ('request_line_within', 200, get('alone', path='/' + 'a' * 1900)),
    ('request_line_too_long', 414, get('alone', path='/' + 'a' * 2100), 'limits.header_bytes'),
    ('content_length_within', 200, POST + 'Content-Length: 1000\r\n\r\n' + 'a' * 1000),
    ('content_length_too_long', 413, POST + 'Content-Length: 1001\r\n\r\n', 'limits.body_bytes'),
    ('chunked_within', 200, CHUNKED + '3e8\r\n' + 'a' * 1000 + '\r\n0\r\n\r\n'),
    ('chunked_too_long', 413, CHUNKED + '3e8\r\n' + 'a' * 1000 + '\r\n1\r\na\r\n0\r\n\r\n', 'limits.body_bytes'),
    ('chunk_size_too_long', 413, CHUNKED + 'ffffff\r\n' + 'a' * 1001, 'limits.body_bytes'),
], limited)

table(globals(), 'limit', [('request_line_without_end_too_long', 414, 'GET /' + 'a' * 5000, 'limits.header_bytes')],
      limited, ways=('alone',))


def test_limit_of_fields(bed):
    with stage().client() as c:
        c.send(get('alone', 'X-A: a\r\n' * 600))
        is_own_error(c.reader.message('GET'), 431)


def test_body_too_long_that_is_announced_is_refused_before_it_is_sent_and_after_an_expectation(bed):
    t = harness.shared(small).handle()
    with t.client() as c:
        c.send(POST + 'Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n')
        r = c.reader.message('POST')
        is_own_error(r, 413)
        eq(r.interim, [])


# --- own errors -----------------------------------------------------------------------------------------------------
group(globals(), 'own errors')

def own_error(way, status, raw):
    """Where the request was read whole the connection goes on."""
    t = stage()
    with t.client() as c:
        c.send(raw)
        is_own_error(c.reader.message(raw.split(' ')[0]), status)
        eq(c.ask('GET').body, b'dc1')


table(globals(), 'the_connection_goes_on_after', [
    ('an_unknown_site', 400, get('alone', 'X-Scope: image: nowhere\r\n')),
    ('a_scope_that_is_wrong', 400, get('alone', 'X-Scope: image: (\r\n')),
    ('two_scopes', 400, get('alone', 'X-Scope: image: dc1\r\nX-Scope: image: dc1\r\n')),
    ('an_error_to_a_post_with_content', 400, POST + 'X-Scope: image: nowhere\r\nContent-Length: 3\r\n\r\nabc'),
    ('an_error_to_a_post_with_chunks', 400, POST + 'X-Scope: image: nowhere\r\nTransfer-Encoding: chunked\r\n\r\n'
     '3\r\nabc\r\n0\r\n\r\n'),
], own_error, ways=('alone',))


def test_an_own_error_to_head_has_no_content(bed):
    with stage().client() as c:
        c.send(get('alone', 'X-Scope: image: nowhere\r\n', method='HEAD'))
        r = c.reader.message('HEAD')
        eq(r.status, 400)
        assert int(r.get('content-length')) > 0, r
        eq(c.ask('GET').body, b'dc1')


def test_an_own_error_while_the_content_still_comes_ends_the_connection(bed):
    with stage().client() as c:
        c.send(POST + 'X-Scope: image: nowhere\r\nContent-Length: 10\r\n\r\nabc')
        r = c.reader.message('POST')
        is_own_error(r, 400)
        eq(r.get('connection'), 'close')
        eq(c.reader.to_end(), b'')


if __name__ == '__main__':
    harness.main(globals())
