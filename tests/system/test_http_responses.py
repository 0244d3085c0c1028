#!/usr/bin/python3
"""Responses by RFC 9110 and 9112: what is refused with 502, what is cut, what passes on and in which form."""
import threading

import harness
from conform import (BULK, WAYS, answer, eq, get, group, incomplete, is_own_error, own_site, stage, table, then_close,
                     then_reset, wait_until)

SMUGGLED = '0\r\n\r\nHTTP/1.1 200 OK\r\nX-Smuggled: 1\r\nContent-Length: 0\r\n\r\n'
NEXT = b'the next answer'


def serve(t, way, raw, end=None):
    """The instance sends raw, then leaves the connection open (end None), closes it or resets it; '/next' it answers as
    ever.  Returns the sockets that requests came on, by path."""
    raw = raw if isinstance(raw, bytes) else raw.encode('latin-1')
    sockets = []

    def handler(request, sock):
        sockets.append((request.path, sock))
        if request.path != '/':
            return answer(NEXT)
        if end:
            return end(raw)(request, sock)
        sock.sendall(raw)
        return b''
    t.origins[way].handler = handler
    return sockets


def next_is_answered(c, way, sockets, kept):
    """The client's connection goes on; kept: whether the instance's does."""
    c.send(get(way, path='/next'))
    r = c.reader.message('GET')
    eq((r.status, r.body), (200, NEXT))
    fresh = [s for p, s in sockets if p == '/next'][-1] not in [s for p, s in sockets if p == '/']
    eq(not fresh, kept, 'the connection to the instance was kept')


# --- refused: a head that could be read in two ways -----------------------------------------------------------------
group(globals(), 'heads refused with 502')

def refused(way, raw, end=None, method='GET', fields=''):
    """An own 502, nothing of the bad response in it; the client's connection goes on, the instance's does not."""
    t = stage()
    sockets = serve(t, way, raw, end)
    with t.client() as c:
        c.send(get(way, fields, method))
        r = c.reader.message(method)
        site = own_site(way)
        is_own_error(r, 502, site)
        eq(r.get('x-smuggled'), None)
        next_is_answered(c, way, sockets, kept=False)


def lines(*fields, start='HTTP/1.1 200 OK'):
    return start + '\r\n' + ''.join(f + '\r\n' for f in fields) + '\r\n'


OK5 = 'Content-Length: 5'
table(globals(), 'refused', [
    # The rows of the table of what llhttp lets through ...
    ('bare_cr_that_hides_a_field', lines('X-Abc:\rxTransfer-Encoding: chunked') + SMUGGLED),
    ('bare_cr_in_a_value', lines('X-Abc: a\rb', OK5) + '12345'),
    ('bare_cr_in_the_status_line', lines(OK5, start='HTTP/1.1 200 O\rK') + '12345'),
    ('folded_field_line', lines('X-Abc: a\r\n b', OK5) + '12345'),
    ('folded_field_line_with_tab', lines('X-Abc: a\r\n\tb', OK5) + '12345'),
    ('folded_transfer_encoding', lines('Transfer-Encoding:\r\n chunked') + SMUGGLED),
    ('blank_line_of_blanks_first', 'HTTP/1.1 200 OK\r\n \r\nContent-Length: 0\r\n\r\n'),
    ('blank_before_the_colon', lines('X-Abc : a', OK5) + '12345'),
    ('tab_before_the_colon', lines('X-Abc\t: a', OK5) + '12345'),
    ('blank_before_the_colon_of_content_length', lines('Content-Length : 5') + SMUGGLED),
    ('blank_before_the_colon_of_transfer_encoding', lines('Transfer-Encoding : chunked') + SMUGGLED),
    ('http_1_0_with_transfer_encoding', lines('Transfer-Encoding: chunked', start='HTTP/1.0 200 OK') + SMUGGLED),
    ('http_1_0_with_transfer_encoding_that_closes',
     lines('Transfer-Encoding: chunked', start='HTTP/1.0 200 OK') + SMUGGLED, then_close),
    ('content_length_with_transfer_encoding', lines(OK5, 'Transfer-Encoding: chunked') + SMUGGLED),
    ('transfer_encoding_with_content_length', lines('Transfer-Encoding: chunked', OK5) + SMUGGLED),
    ('two_content_lengths', lines(OK5, 'Content-Length: 6') + SMUGGLED),
    ('two_content_lengths_that_close', lines('Content-Length: 6', OK5) + '123456', then_close),
    ('two_equal_content_lengths', lines(OK5, OK5) + '12345'),
    ('content_length_list', lines('Content-Length: 4, 4') + '1234'),
    ('content_length_list_that_differs', lines('Content-Length: 4, 5') + '12345'),
    ('content_length_plus', lines('Content-Length: +4') + '1234'),
    ('content_length_minus', lines('Content-Length: -4') + '1234'),
    ('content_length_hex', lines('Content-Length: 0x4') + '1234'),
    ('content_length_blank_inside', lines('Content-Length: 1 2') + '1234'),
    ('content_length_empty', lines('Content-Length:') + SMUGGLED),
    ('content_length_2_63', lines('Content-Length: 9223372036854775808') + SMUGGLED),
    ('content_length_2_64', lines('Content-Length: 18446744073709551616') + SMUGGLED),
    ('content_length_2_64_and_5', lines('Content-Length: 18446744073709551621') + SMUGGLED),
    ('xchunked', lines('Transfer-Encoding: xchunked') + SMUGGLED),
    ('chunked_gzip', lines('Transfer-Encoding: chunked, gzip') + SMUGGLED),
    ('bare_lf_line_end', 'HTTP/1.1 200 OK\nContent-Length: 5\n\n12345'),
    ('bare_lf_in_the_head', lines('X-Abc: a\nContent-Length: 5') + SMUGGLED),
    # ... what strict mode still lets through ...
    ('empty_field_name', lines(': a', OK5) + '12345'),
    ('status_line_ended_by_lf', 'HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n12345'),
    ('head_ended_by_crlf_lf', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\n12345'),
    ('nul_in_a_value', lines('X-Abc: a\0b', OK5) + '12345'),
    ('nul_in_a_name', lines('X-A\0bc: a', OK5) + '12345'),
    ('control_in_a_value', lines('X-Abc: a\x01b', OK5) + '12345'),
    ('del_in_a_value', lines('X-Abc: a\x7fb', OK5) + '12345'),
    ('line_without_colon', lines('X-Abc', OK5) + '12345'),
    ('byte_no_name_may_hold', lines('X(Abc): a', OK5) + '12345'),
    ('utf8_in_a_name', lines('X-\xc3\xa4: a', OK5) + '12345'),
    # ... and the numbered points.
    ('transfer_encoding_comma_chunked', lines('Transfer-Encoding: ,chunked') + SMUGGLED),
    ('transfer_encoding_chunked_comma', lines('Transfer-Encoding: chunked,') + SMUGGLED),
    ('transfer_encoding_gzip_chunked', lines('Transfer-Encoding: gzip, chunked') + SMUGGLED),
    ('transfer_encoding_gzip', lines('Transfer-Encoding: gzip') + SMUGGLED, then_close),
    ('transfer_encoding_identity', lines('Transfer-Encoding: identity') + SMUGGLED, then_close),
    ('transfer_encoding_empty', lines('Transfer-Encoding:') + SMUGGLED),
    ('transfer_encoding_empty_with_content_length', lines('Transfer-Encoding:', OK5) + SMUGGLED),
    ('transfer_encoding_chunked_chunked', lines('Transfer-Encoding: chunked, chunked') + SMUGGLED),
    ('transfer_encoding_twice', lines('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked') + SMUGGLED),
    ('transfer_encoding_quoted', lines('Transfer-Encoding: "chunked"') + SMUGGLED),
    ('transfer_encoding_with_parameter', lines('Transfer-Encoding: chunked;q=1') + SMUGGLED),
    ('transfer_encoding_vertical_tab', lines('Transfer-Encoding: \x0bchunked') + SMUGGLED),
    ('status_of_no_digit', lines(OK5, start='HTTP/1.1 OK') + '12345'),
    ('status_of_nothing', lines(OK5, start='HTTP/1.1 ') + '12345'),
    ('status_of_one_digit', lines(OK5, start='HTTP/1.1 2 OK') + '12345'),
    ('status_of_two_digits', lines(OK5, start='HTTP/1.1 20 OK') + '12345'),
    ('status_of_four_digits', lines(OK5, start='HTTP/1.1 2000 OK') + '12345'),
    ('status_with_sign', lines(OK5, start='HTTP/1.1 +20 OK') + '12345'),
    ('status_with_letter', lines(OK5, start='HTTP/1.1 2x0 OK') + '12345'),
    ('status_run_into_the_reason', lines(OK5, start='HTTP/1.1 200OK') + '12345'),
    ('status_below_100', lines(OK5, start='HTTP/1.1 099 OK') + '12345'),
    ('status_above_599', lines(OK5, start='HTTP/1.1 600 OK') + '12345'),
    ('nul_in_the_reason', lines(OK5, start='HTTP/1.1 200 O\0K') + '12345'),
    ('control_in_the_reason', lines(OK5, start='HTTP/1.1 200 O\x01K') + '12345'),
    ('two_blanks_before_the_status', lines(OK5, start='HTTP/1.1  200 OK') + '12345'),
    ('tab_before_the_status', lines(OK5, start='HTTP/1.1\t200 OK') + '12345'),
    ('no_blank_before_the_status', lines(OK5, start='HTTP/1.1200 OK') + '12345'),
    ('blank_before_the_version', lines(OK5, start=' HTTP/1.1 200 OK') + '12345'),
    ('empty_line_first', '\r\n' + lines(OK5) + '12345'),
    ('lower_case_version', lines(OK5, start='http/1.1 200 OK') + '12345'),
    ('version_1_2', lines(OK5, start='HTTP/1.2 200 OK') + '12345'),
    ('version_2_0', lines(OK5, start='HTTP/2.0 200 OK') + '12345'),
    ('version_0_9', lines(OK5, start='HTTP/0.9 200 OK') + '12345'),
    ('version_with_two_digits', lines(OK5, start='HTTP/1.10 200 OK') + '12345'),
    ('version_without_number', lines(OK5, start='HTTP/ 200 OK') + '12345'),
    ('protocol_of_another_name', lines(OK5, start='ICY 200 OK') + '12345'),
    ('garbage', '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03'),
    ('garbage_that_closes', 'hello, world\n', then_close),
    ('page_without_head', '<html>\r\n<body>hello</body>\r\n</html>\r\n\r\n', then_close),
    ('a_request_for_an_answer', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
    ('interim_with_content_length', lines(OK5, start='HTTP/1.1 103 Early Hints') + '12345' + lines(OK5)),
    ('interim_with_transfer_encoding',
     lines('Transfer-Encoding: chunked', start='HTTP/1.1 103 Early Hints') + SMUGGLED),
    ('interim_and_a_bad_head', lines(start='HTTP/1.1 100 Continue') + lines('X-Abc : a', OK5) + '12345'),
    ('switch_unasked', lines('Connection: upgrade', 'Upgrade: x', start='HTTP/1.1 101 Switching Protocols') + 'tunnel'),
    ('switch_unasked_without_fields', lines(start='HTTP/1.1 101 Switching Protocols') + 'tunnel'),
    ('head_too_long', lines('X-A: ' + 'a' * 70000, OK5) + '12345'),
    ('head_a_little_too_long', lines('X-A: ' + 'a' * 65500, OK5) + '12345'),
    ('head_of_many_fields_too_long', lines(*['X-Abcdefgh: ' + 'a' * 200] * 400, OK5) + '12345'),
    ('head_without_end_too_long', 'HTTP/1.1 200 OK\r\nX-A: ' + 'a' * 90000),
    ('status_line_without_end_too_long', 'HTTP/1.1 200 ' + 'a' * 90000),
    ('too_many_fields', lines(*['X-A: a'] * 600, OK5) + '12345'),
    ('head_that_ends_early', 'HTTP/1.1 200 OK\r\nContent-Le', then_close),
    ('head_that_breaks_off', 'HTTP/1.1 200 OK\r\nContent-Le', then_reset),
    ('head_without_last_line', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n', then_close),
    ('status_line_only', 'HTTP/1.1 200 OK\r\n', then_close),
    ('nothing', '', then_close),
    ('reset', '', then_reset),
    ('interim_and_nothing', lines(start='HTTP/1.1 100 Continue'), then_close),
], refused)

table(globals(), 'refused', [
    ('switch_without_upgrade_field', lines(start='HTTP/1.1 101 Switching Protocols')),
    ('switch_without_connection_field', lines('Upgrade: chat', start='HTTP/1.1 101 Switching Protocols')),
    ('switch_to_what_was_not_asked_for',
     lines('Connection: upgrade', 'Upgrade: other', start='HTTP/1.1 101 Switching Protocols')),
], lambda way, raw: refused(way, raw, fields='Connection: upgrade\r\nUpgrade: chat\r\n'))


def refused_once(way, method, fields, content=''):
    """A bad answer is an answer: nothing is sent again because of it, whatever the method would allow."""
    t, seen = stage(), []

    def serve(sock, reader):
        seen.append(reader.message())
        sock.sendall((lines(OK5, 'Content-Length: 6') + '12345').encode())
        reader.message()
    t.raw(way, serve)
    with t.client() as c:
        c.send(get(way, fields, method) + content)
        r = c.reader.message(method)
        is_own_error(r, 502, own_site(way))
        assert 'Content-Length came twice' in r.problem('bad-response')['detail'], r
    eq(len(seen), 1, f'times {method} was sent')


ONE = ('Content-Length: 1\r\n', 'x')
table(globals(), 'refused_answer_is_final_to', [
    ('get', 'GET', ''),
    ('put', 'PUT', *ONE),
    ('delete', 'DELETE', ''),
    ('post', 'POST', *ONE),
    ('post_with_a_key', 'POST', 'Idempotency-Key: 1\r\n' + ONE[0], ONE[1]),
    ('patch', 'PATCH', *ONE),
], refused_once)


def refused_banner(way, banner):
    """An instance that speaks another protocol speaks first."""
    t = stage()

    def serve(sock, reader):
        sock.sendall(banner)
        reader.message()
    t.raw(way, serve)
    with t.client() as c:
        c.send(get(way))
        is_own_error(c.reader.message('GET'), 502, own_site(way))


table(globals(), 'refused_banner_of', [
    ('ssh', b'SSH-2.0-OpenSSH_9.2p1\r\n'),
    ('smtp', b'220 mail.example ESMTP\r\n'),
    ('mysql', b'J\0\0\0\n8.0.36\0'),
    ('http_2', b'\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0d'),
], refused_banner)


# --- cut: content that is bad, or ends too early --------------------------------------------------------------------
group(globals(), 'bad or incomplete content is cut')

CHUNKED = lines('Transfer-Encoding: chunked')


def cut(way, version, raw, end=None):
    """The head may be out: the message is never made to look whole, to HTTP/1.0 least of all, and the connection to the
    instance is not used again."""
    t = stage()
    sockets = serve(t, way, raw, end)
    with t.client() as c:
        c.send(get(way, version=version))
        head = incomplete(c.reader)
        eq(head and head.status, head and 200)
    with t.client() as c:
        next_is_answered(c, way, sockets, kept=False)
    eq(len([p for p, _ in sockets if p == '/']), 1, 'times the request was sent')


def both_versions(prefix, rows):
    for version in ('1.1', '1.0'):
        table(globals(), f'{prefix}_to_http_{version.replace(".", "_")}',
              [(key, version, *values) for key, *values in rows], cut)


both_versions('bad_chunks', [
    ('data_without_crlf', CHUNKED + '3\r\nabcXX0\r\n\r\n'),
    ('data_longer_than_said', CHUNKED + '3\r\nabcd\r\n0\r\n\r\n'),
    ('size_no_number', CHUNKED + 'x\r\nabc\r\n0\r\n\r\n'),
    ('size_with_0x', CHUNKED + '0x3\r\nabc\r\n0\r\n\r\n'),
    ('size_with_sign', CHUNKED + '+3\r\nabc\r\n0\r\n\r\n'),
    ('size_negative', CHUNKED + '-1\r\nabc\r\n0\r\n\r\n'),
    ('size_with_blank_first', CHUNKED + ' 3\r\nabc\r\n0\r\n\r\n'),
    ('size_empty', CHUNKED + '\r\nabc\r\n0\r\n\r\n'),
    ('size_2_63', CHUNKED + '8000000000000000\r\nabc'),
    ('size_2_64_and_3', CHUNKED + '10000000000000003\r\nabc\r\n0\r\n\r\n'),
    ('size_ended_by_lf', CHUNKED + '3\nabc\r\n0\r\n\r\n'),
    ('size_ended_by_cr', CHUNKED + '3\rabc\r\n0\r\n\r\n'),
    ('extension_with_lf', CHUNKED + '3;a\nabc\r\n0\r\n\r\n'),
    ('extension_with_bare_cr', CHUNKED + '3;a\rb\r\nabc\r\n0\r\n\r\n'),
    ('extension_too_long', CHUNKED + '3;' + 'a' * 5000 + '\r\nabc\r\n0\r\n\r\n'),
    ('last_chunk_ended_by_lf', CHUNKED + '3\r\nabc\r\n0\r\n\n'),
    ('trailer_folded', CHUNKED + '3\r\nabc\r\n0\r\nX-A: b\r\n c\r\n\r\n'),
    ('trailer_with_bare_cr', CHUNKED + '3\r\nabc\r\n0\r\nX-A: b\rc\r\n\r\n'),
    ('trailer_with_bare_lf', CHUNKED + '3\r\nabc\r\n0\r\nX-A: b\nX-B: c\r\n\r\n'),
    ('trailer_with_nul', CHUNKED + '3\r\nabc\r\n0\r\nX-A: b\0\r\n\r\n'),
    ('trailer_blank_before_colon', CHUNKED + '3\r\nabc\r\n0\r\nX-A : b\r\n\r\n'),
    ('trailer_without_colon', CHUNKED + '3\r\nabc\r\n0\r\nX-A\r\n\r\n'),
    ('trailer_without_name', CHUNKED + '3\r\nabc\r\n0\r\n: b\r\n\r\n'),
    ('trailers_too_long', CHUNKED + '3\r\nabc\r\n0\r\n' + ('X-A: ' + 'b' * 1000 + '\r\n') * 20 + '\r\n'),
])

LONG = lines('Content-Length: 1000000') + 'a' * 900000      # long enough to go from socket to socket
both_versions('incomplete', [
    (f'{key}_{word}', raw, end) for key, raw in (
        ('content_length', lines('Content-Length: 10') + '12345'),
        ('content_length_without_any', lines('Content-Length: 10')),
        ('bulk', LONG),
        ('chunk_data', CHUNKED + '5\r\n123'),
        ('chunk_line', CHUNKED + '5\r\n12345\r\n1'),
        ('chunked_without_last_chunk', CHUNKED + '5\r\n12345\r\n'),
        ('chunked_without_any', CHUNKED),
        ('last_chunk', CHUNKED + '5\r\n12345\r\n0\r\n'),
        ('trailers', CHUNKED + '5\r\n12345\r\n0\r\nX-A: b\r\n'),
    ) for word, end in (('that_ends', then_close), ('that_breaks_off', then_reset))
] + [
    ('body_until_close_that_breaks_off', lines() + '12345', then_reset),
    ('long_body_until_close_that_breaks_off', lines() + 'a' * 300000, then_reset),
    ('body_of_http_1_0_that_breaks_off', lines(start='HTTP/1.0 200 OK') + '12345', then_reset),
])


# --- passes: what looks odd and is right ----------------------------------------------------------------------------
group(globals(), 'odd and right')

def passes(way, raw, check, end=None, kept=True, method='GET', fields=''):
    """The answer arrives; the client's connection carries another request, and the instance's does if kept."""
    t = stage()
    sockets = serve(t, way, raw, end)
    with t.client() as c:
        c.send(get(way, fields, method))
        r = c.reader.message(method)
        check(r)
        next_is_answered(c, way, sockets, kept)


def has(status=200, body=b'', **fields):
    def check(m):
        eq((m.status, m.body), (status, body), m.start)
        for name, value in fields.items():
            eq(m.get(name.replace('_', '-')), value, name)
    return check


def start(line):
    return lambda m: eq(m.start, line)


BULK_TEXT = BULK.decode('latin-1')
table(globals(), 'passes', [
    ('no_reason', lines(OK5, start='HTTP/1.1 200 ') + '12345', start('HTTP/1.1 200 ')),
    ('no_reason_and_no_blank', lines(OK5, start='HTTP/1.1 200') + '12345', start('HTTP/1.1 200 ')),
    ('reason_with_tab_and_latin1',
     lines(OK5, start='HTTP/1.1 200 a\tb \xe4') + '12345', start('HTTP/1.1 200 a\tb \xe4')),
    ('status_nobody_knows', lines(OK5, start='HTTP/1.1 299 Fine') + '12345', has(299, b'12345')),
    ('status_599', lines(OK5, start='HTTP/1.1 599 Odd') + '12345', has(599, b'12345')),
    ('error_of_the_instance', lines(OK5, start='HTTP/1.1 500 Oops') + '12345', has(500, b'12345', proxy_status=None)),
    ('no_blank_after_the_colon', lines('X-A:b', OK5) + '12345', has(body=b'12345', x_a='b')),
    ('blanks_around_a_value', lines('X-A: \t b \t', OK5) + '12345', has(body=b'12345', x_a='b')),
    ('empty_value', lines('X-A:', OK5) + '12345', has(body=b'12345', x_a='')),
    ('latin1_value', lines('X-A: \xe4', OK5) + '12345', has(body=b'12345', x_a='\xe4')),
    ('tab_inside_a_value', lines('X-A: a\tb', OK5) + '12345', has(body=b'12345', x_a='a\tb')),
    ('repeated_field_in_order', lines('Set-Cookie: 1', 'X-B: 2', 'Set-Cookie: 3', OK5) + '12345',
     lambda m: eq((m.all('set-cookie'), m.get('x-b')), (['1', '3'], '2'))),
    ('content_length_zero', lines('Content-Length: 0'), has(content_length='0')),
    ('content_length_leading_zeros', lines('Content-Length: 005') + '12345', has(body=b'12345', content_length='5')),
    ('chunked', CHUNKED + '5\r\n12345\r\n0\r\n\r\n',
     has(body=b'12345', transfer_encoding='chunked', content_length=None)),
    ('chunked_upper_case', lines('Transfer-Encoding: CHUNKED') + '5\r\n12345\r\n0\r\n\r\n',
     has(body=b'12345', transfer_encoding='chunked')),
    ('chunked_empty', CHUNKED + '0\r\n\r\n', has(transfer_encoding='chunked')),
    ('chunk_size_leading_zeros', CHUNKED + '0005\r\n12345\r\n000\r\n\r\n', has(body=b'12345')),
    ('chunk_size_upper_hex', CHUNKED + 'A\r\n0123456789\r\n0\r\n\r\n', has(body=b'0123456789')),
    ('chunk_extensions', CHUNKED + '5;a=b;c="d\\";e"\r\n12345\r\n0;z\r\n\r\n', has(body=b'12345')),
    ('many_small_chunks', CHUNKED + '1\r\nx\r\n' * 3000 + '0\r\n\r\n', has(body=b'x' * 3000)),
    ('bulk_of_known_length', lines('Content-Length: 1048576') + BULK_TEXT, has(body=BULK)),
    ('bulk_in_one_chunk', CHUNKED + '100000\r\n' + BULK_TEXT + '\r\n0\r\n\r\n', has(body=BULK)),
    ('long_head', lines('X-A: ' + 'a' * 65400, OK5) + '12345', has(body=b'12345', x_a='a' * 65400)),
    ('not_found', lines(OK5, start='HTTP/1.1 404 Not Found') + '12345', has(404, b'12345')),
    ('authentication_of_the_instance',
     lines('WWW-Authenticate: Basic', OK5, start='HTTP/1.1 401 Unauthorized') + '12345',
     has(401, b'12345', www_authenticate='Basic')),
], passes)

table(globals(), 'passes', [
    ('body_until_close', lines() + '12345', has(body=b'12345', transfer_encoding='chunked', content_length=None)),
    ('body_until_close_empty', lines(), has(transfer_encoding='chunked')),
    ('bulk_until_close', lines() + BULK_TEXT, has(body=BULK)),
    ('http_1_0_until_close', lines(start='HTTP/1.0 200 OK') + '12345', has(body=b'12345', transfer_encoding='chunked')),
], lambda way, raw, check: passes(way, raw, check, then_close, kept=False))


def test_passes_a_response_that_comes_byte_by_byte(bed):
    raw = HINTS + CHUNKED + '5;a="b"\r\n12345\r\n0\r\nX-Sum: 1\r\n\r\n'
    for way in WAYS:
        t = stage()

        def handler(request, sock):
            for byte in raw.encode():
                sock.sendall(bytes([byte]))
            return b''
        t.origins[way].handler = handler
        with t.client() as c:
            c.send(get(way))
            r = c.reader.message('GET')
            eq((r.body, r.trailers, len(r.interim)), (b'12345', [('X-Sum', '1')], 1))


# --- without content, whatever the head says (RFC 9112 6.3) ---------------------------------------------------------
group(globals(), 'without content')

def bare(way, method, raw, fields=None, kept=True):
    """No content arrives, fields are as given (None: absent)."""
    def check(r):
        for name, value in (fields or {}).items():
            eq(r.get(name), value, name)
        eq(r.body, b'')
    passes(way, raw, check, method=method, kept=kept)


LENGTH = {'content-length': '5', 'transfer-encoding': None}
NONE = {'content-length': None, 'transfer-encoding': None}
table(globals(), 'without_content', [
    ('head_with_length', 'HEAD', lines(OK5), LENGTH),
    ('head_with_length_zero', 'HEAD', lines('Content-Length: 0'), {'content-length': '0'}),
    ('head_with_leading_zeros', 'HEAD', lines('Content-Length: 005'), LENGTH),
    ('head_chunked', 'HEAD', lines('Transfer-Encoding: chunked'), {'content-length': None}),
    ('head_without_framing', 'HEAD', lines(), NONE),
    ('head_with_an_error', 'HEAD', lines(OK5, start='HTTP/1.1 404 Not Found'), LENGTH),
    ('head_of_http_1_0', 'HEAD', lines(OK5, 'Connection: keep-alive', start='HTTP/1.0 200 OK'), LENGTH),
    ('head_not_modified', 'HEAD', lines(OK5, start='HTTP/1.1 304 Not Modified'), LENGTH),
    ('status_204', 'GET', lines(start='HTTP/1.1 204 No Content'), NONE),
    ('status_204_to_post', 'POST', lines(start='HTTP/1.1 204 No Content'), NONE),
    ('status_204_to_head', 'HEAD', lines(start='HTTP/1.1 204 No Content'), NONE),
    ('status_204_with_length_zero', 'GET', lines('Content-Length: 0', start='HTTP/1.1 204 No Content'), NONE),
    ('status_304', 'GET', lines('ETag: "1"', start='HTTP/1.1 304 Not Modified'), {**NONE, 'etag': '"1"'}),
    ('status_304_with_length', 'GET', lines(OK5, start='HTTP/1.1 304 Not Modified'), LENGTH),
    ('status_304_chunked', 'GET', lines('Transfer-Encoding: chunked', start='HTTP/1.1 304 Not Modified'),
     {'content-length': None}),
    ('status_205_with_length_zero', 'GET', lines('Content-Length: 0', start='HTTP/1.1 205 Reset Content'),
     {'content-length': '0'}),
], bare)

# Content that comes all the same is nobody's: the connection it came on ends.
table(globals(), 'content_that_must_not_come_is_dropped', [
    ('head', 'HEAD', lines(OK5) + '12345', LENGTH, False),
    ('head_chunked', 'HEAD', CHUNKED + '5\r\n12345\r\n0\r\n\r\n', {'content-length': None}, False),
    ('status_204', 'GET', lines(start='HTTP/1.1 204 No Content') + '12345', NONE, False),
    ('status_204_with_length', 'GET', lines(OK5, start='HTTP/1.1 204 No Content') + '12345', NONE, False),
    ('status_204_with_length_and_without_content', 'GET', lines(OK5, start='HTTP/1.1 204 No Content'), NONE, False),
    ('status_204_chunked', 'GET', lines('Transfer-Encoding: chunked', start='HTTP/1.1 204 No Content') +
     '5\r\n12345\r\n0\r\n\r\n', NONE, False),
    ('status_304', 'GET', lines(OK5, start='HTTP/1.1 304 Not Modified') + '12345', LENGTH, False),
    ('a_second_response', 'GET', lines('Content-Length: 0') + lines('X-Smuggled: 1', 'Content-Length: 0'),
     {'x-smuggled': None}, False),
    ('a_blank_line', 'GET', lines('Content-Length: 0') + '\r\n', {}, False),
    ('bytes_behind_the_last_chunk', 'GET', CHUNKED + '0\r\n\r\nX', {}, False),
], bare)


def test_a_second_response_behind_bulk_content_is_dropped(bed):
    """Content that went from socket to socket leaves what stands behind it unread."""
    for way in WAYS:
        for size in (16384, 1 << 18, 1 << 20):
            t = stage()
            head = lines(f'Content-Length: {size}')
            sockets = serve(t, way, head + 'a' * size + lines('X-Smuggled: 1', 'Content-Length: 3') + 'bad')
            with t.client() as c:
                c.send(get(way) + get(way, path='/next'))
                eq(len(c.reader.message('GET').body), size)
                r = c.reader.message('GET')
                eq((r.body, r.get('x-smuggled')), (NEXT, None))
            eq(len({s for _, s in sockets}), 2, 'connections to the instance')


# --- interim responses (RFC 9110 15.2) ------------------------------------------------------------------------------
group(globals(), 'interim responses')

def interim(way, raws, want, version='1.1', fields='', raw_end=lines(OK5) + '12345'):
    """want: the statuses the client sees before the answer."""
    t = stage()
    sockets = serve(t, way, ''.join(raws) + raw_end)
    with t.client() as c:
        c.send(get(way, fields, version=version))
        r = c.reader.message('GET')
        eq((r.status, r.body), (200, b'12345'))
        eq([m.status for m in r.interim], want)
        if version == '1.1':
            next_is_answered(c, way, sockets, kept=True)
        return r


HINTS = lines('Link: </a>; rel=preload', start='HTTP/1.1 103 Early Hints')
table(globals(), 'interim', [
    ('100_nobody_expects_ends_here', [lines(start='HTTP/1.1 100 Continue')], []),
    ('two_100_nobody_expects_end_here', [lines(start='HTTP/1.1 100 Continue')] * 2, []),
    ('102_passes_on', [lines(start='HTTP/1.1 102 Processing')], [102]),
    ('103_passes_on', [HINTS], [103]),
    ('several_103_pass_on', [HINTS, HINTS, HINTS], [103, 103, 103]),
    ('100_and_103', [lines(start='HTTP/1.1 100 Continue'), HINTS], [103]),
    ('status_nobody_knows_passes_on', [lines(start='HTTP/1.1 199 Odd')], [199]),
    ('104_with_fields_passes_on', [lines('Upload-Offset: 5', start='HTTP/1.1 104 Upload Resumption')], [104]),
    ('60_of_them_pass_on', [lines(start='HTTP/1.1 102 Processing')] * 60, [102] * 60),
], interim)
table(globals(), 'interim_to_http_1_0', [
    ('100_ends_here', [lines(start='HTTP/1.1 100 Continue')], [], '1.0'),
    ('103_ends_here', [HINTS], [], '1.0'),
], interim)


def interim_fields(way):
    r = interim(way, [lines('Link: </a>; rel=preload', 'Connection: X-Mine', 'X-Mine: 1', 'Keep-Alive: timeout=5',
                            'X-Scope-Forged: 1', 'X-Scopemesh-Error: timeout',
                            start='HTTP/1.1 103 Early Hints')], [103])
    m = r.interim[0]
    eq(m.get('link'), '</a>; rel=preload')
    for name in ('connection', 'x-mine', 'keep-alive', 'x-scope-forged', 'x-scopemesh-error', 'content-length'):
        eq(m.get(name), None, name)


table(globals(), 'interim', [('fields_of_the_connection_end_here',)], interim_fields)


def interim_comes_at_once(way):
    """Hints are worth nothing when they wait for the answer."""
    t, go = stage(), threading.Event()

    def handler(request, sock):
        sock.sendall(HINTS.encode())
        assert go.wait(harness.DEADLINE)
        return answer('late')
    t.origins[way].handler = handler
    with t.client() as c:
        c.send(get(way))
        eq(c.reader.head().status, 103)
        go.set()
        eq(c.reader.message('GET').body, b'late')


table(globals(), 'interim', [('103_does_not_wait_for_the_answer',)], interim_comes_at_once)


def interim_without_end(way, raw):
    """An instance that sends nothing else is given up; memory of a request is bounded."""
    t = stage()

    def flood(request, sock):
        if request.path != '/':
            return answer(NEXT)
        for _ in range(1000):
            sock.sendall(raw.encode() * 100)
        return b''
    t.origins[way].handler = flood
    with t.client() as c:
        c.send(get(way, method='POST'))
        r = c.reader.message('POST')
        is_own_error(r, 502, own_site(way))
        assert len(r.interim) < 2000, len(r.interim)
        c.send(get(way, path='/next'))
        eq(c.reader.message('GET').body, NEXT)


table(globals(), 'interim_without_end', [
    ('100', lines(start='HTTP/1.1 100 Continue')),
    ('103', HINTS),
    ('103_with_much', lines('X-A: ' + 'a' * 4000, start='HTTP/1.1 103 Early Hints')),
], interim_without_end)


# --- HTTP/1.0 on either side ----------------------------------------------------------------------------------------
group(globals(), 'HTTP/1.0 on either side')

def to_http_1_0(way, raw, body, keep, fields='', end=None, length=None):
    """keep: the client asked for it and gets it; else the end of the connection ends the content."""
    t = stage()
    serve(t, way, raw, end)
    with t.client() as c:
        c.send(get(way, fields, version='1.0'))
        r = c.reader.message('GET')
        eq((r.start, r.body, r.get('transfer-encoding')), ('HTTP/1.1 200 OK', body, None))
        eq(r.get('content-length'), length)
        eq(r.get('connection'), 'keep-alive' if keep else 'close')
        eq(r.trailers, [])
        if keep:
            c.send(get(way, fields, version='1.0', path='/next'))
            eq(c.reader.message('GET').body, NEXT)
        else:
            eq(c.reader.to_end(), b'')


KEEP = 'Connection: keep-alive\r\n'
TRAILED = CHUNKED + '5\r\n12345\r\n0\r\nX-Sum: 1\r\n\r\n'
table(globals(), 'to_http_1_0', [
    ('content_length', lines(OK5) + '12345', b'12345', False, '', None, '5'),
    ('content_length_kept', lines(OK5) + '12345', b'12345', True, KEEP, None, '5'),
    ('chunked', TRAILED, b'12345', False),
    ('chunked_cannot_be_kept', TRAILED, b'12345', False, KEEP),
    ('chunked_bulk', CHUNKED + '100000\r\n' + BULK_TEXT + '\r\n0\r\n\r\n', BULK, False),
    ('until_close', lines() + '12345', b'12345', False, '', then_close),
    ('until_close_cannot_be_kept', lines() + '12345', b'12345', False, KEEP, then_close),
    ('empty_kept', lines('Content-Length: 0'), b'', True, KEEP, None, '0'),
], to_http_1_0)

table(globals(), 'from_http_1_0', [
    ('content_length', lines(OK5, start='HTTP/1.0 200 OK') + '12345', has(body=b'12345'), None, False),
    ('content_length_kept', lines(OK5, 'Connection: keep-alive', start='HTTP/1.0 200 OK') + '12345',
     has(body=b'12345')),
    ('content_length_keep_alive_upper_case', lines(OK5, 'Connection: Keep-Alive', start='HTTP/1.0 200 OK') + '12345',
     has(body=b'12345')),
    ('keep_alive_and_close', lines(OK5, 'Connection: keep-alive, close', start='HTTP/1.0 200 OK') + '12345',
     has(body=b'12345'), None, False),
    ('version_is_written_anew', lines(OK5, start='HTTP/1.0 200 OK') + '12345', start('HTTP/1.1 200 OK'), None, False),
], passes)


# --- the connection to the instance ---------------------------------------------------------------------------------
group(globals(), 'the connection to the instance')

table(globals(), 'connection_of_the_instance_ends_after', [
    ('close', lines('Connection: close', OK5) + '12345', has(body=b'12345', connection=None), None, False),
    ('close_upper_case', lines('Connection: CLOSE', OK5) + '12345', has(body=b'12345'), None, False),
    ('close_in_a_list', lines('Connection: x-a ,\tclose', OK5) + '12345', has(body=b'12345'), None, False),
    ('close_with_tab_behind', lines('Connection: close\t', OK5) + '12345', has(body=b'12345'), None, False),
    ('close_in_a_second_field', lines('Connection: x-a', 'Connection: close', OK5) + '12345', has(body=b'12345'), None,
     False),
    ('close_to_a_chunked_answer', lines('Connection: close', 'Transfer-Encoding: chunked') + '5\r\n12345\r\n0\r\n\r\n',
     has(body=b'12345'), None, False),
    ('close_to_204', lines('Connection: close', start='HTTP/1.1 204 No Content'), has(204), None, False),
], passes)
table(globals(), 'connection_of_the_instance_is_kept_after', [
    ('keep_alive', lines('Connection: keep-alive', OK5) + '12345', has(body=b'12345', connection=None)),
    ('closed_as_part_of_a_word', lines('Connection: closed', OK5) + '12345', has(body=b'12345')),
    ('an_error', lines(OK5, start='HTTP/1.1 503 Busy') + '12345', has(503, b'12345')),
], passes)


def unsolicited(way, raw):
    """Bytes on an idle connection throw it away; they are never the answer to the next request."""
    t, first = stage(), []

    def handler(request, sock):
        first.append(sock)
        return answer('%d' % len(first))
    t.origins[way].handler = handler
    with t.client() as c:
        c.send(get(way))
        eq(c.reader.message('GET').body, b'1')
        before = t.origins[way].connections
        first[0].sendall(raw.encode('latin-1'))
        wait_until(lambda: first[0] not in t.origins[way].open, 'the connection to be thrown away')
        c.send(get(way))
        eq(c.reader.message('GET').body, b'2')
        eq(t.origins[way].connections, before + 1)


table(globals(), 'unsolicited_bytes_on_an_idle_connection', [
    ('a_response', lines('X-Smuggled: 1', 'Content-Length: 3') + 'bad'),
    ('a_timeout_as_some_servers_say_it', lines('Connection: close', 'Content-Length: 0', start='HTTP/1.1 408 Timeout')),
    ('a_line_end', '\r\n'),
    ('a_byte', '\0'),
], unsolicited)


# --- trailers -------------------------------------------------------------------------------------------------------
group(globals(), 'trailers')

def trailers(way, section, want, fields=''):
    def check(r):
        eq((r.body, r.trailers), (b'12345', want))
    passes(way, CHUNKED + '5\r\n12345\r\n0\r\n' + section + '\r\n', check, fields=fields)


table(globals(), 'trailers', [
    ('pass_on', 'X-Sum: 1\r\nX-B: \r\n', [('X-Sum', '1'), ('X-B', '')]),
    ('pass_on_twice_the_same', 'X-A: 1\r\nX-A: 2\r\n', [('X-A', '1'), ('X-A', '2')]),
    ('for_framing_end_here', 'Content-Length: 9\r\nX-Sum: 1\r\nTransfer-Encoding: chunked\r\n', [('X-Sum', '1')]),
    ('for_routing_and_secrets_end_here',
     'Host: y\r\nSet-Cookie: a=1\r\nX-Sum: 1\r\nAuthorization: a\r\n', [('X-Sum', '1')]),
    ('of_the_content_end_here', 'Content-Type: a/b\r\nContent-Encoding: gzip\r\nX-Sum: 1\r\n', [('X-Sum', '1')]),
    ('in_our_name_end_here', 'X-Scope-Served-By: y\r\nX-Scopemesh-Error: timeout\r\nVia: 1.1 y\r\nX-Sum: 1\r\n',
     [('X-Sum', '1')]),
    ('for_the_connection_end_here',
     'Connection: close\r\nKeep-Alive: 1\r\nUpgrade: x\r\nX-Sum: 1\r\n', [('X-Sum', '1')]),
    ('pass_on_to_a_client_that_asks', 'X-Sum: 1\r\n', [('X-Sum', '1')], 'TE: trailers\r\nConnection: TE\r\n'),
], trailers)


# --- fields ---------------------------------------------------------------------------------------------------------
group(globals(), 'fields that end here or are added')

def gone(way, fields, *names):
    def check(r):
        for name in names:
            eq(r.get(name), None, name)
        eq(r.get('x-stays'), '1')
    passes(way, lines('X-Stays: 1', *fields, OK5) + '12345', check)


table(globals(), 'hop_by_hop_response_field', [
    ('named_in_connection', ['Connection: X-Mine, x-other', 'X-Mine: 1', 'X-Other: 2'],
     'x-mine', 'x-other', 'connection'),
    ('named_in_a_second_connection', ['Connection: a', 'Connection: ,\tX-Mine ,', 'X-Mine: 1'], 'x-mine'),
    ('named_before_it_comes', ['X-Mine: 1', 'Connection: x-mine'], 'x-mine', 'connection'),
    ('known_name_in_connection', ['Connection: date, location, server, retry-after', 'Location: /', 'Server: x',
                                  'Retry-After: 1'], 'location', 'server', 'retry-after'),
    ('keep_alive', ['Connection: keep-alive', 'Keep-Alive: timeout=5'], 'keep-alive', 'connection'),
    ('keep_alive_unnamed', ['Keep-Alive: timeout=5'], 'keep-alive'),
    ('proxy_connection', ['Proxy-Connection: keep-alive'], 'proxy-connection'),
    ('te', ['TE: trailers'], 'te'),
    ('upgrade_unnamed', ['Upgrade: h2c'], 'upgrade', 'connection'),
    ('upgrade_named', ['Connection: upgrade', 'Upgrade: h2c'], 'upgrade', 'connection'),
    ('proxy_authenticate', ['Proxy-Authenticate: Basic'], 'proxy-authenticate'),
    ('in_our_name', ['X-Scope: image: dc1', 'X-Scope-Replicas: dc1=200', 'X-Scope-Meta-Id: 1',
                     'X-Scopemesh-Error: timeout', 'X-Scopemesh-Else: 1'],
     'x-scope', 'x-scope-replicas', 'x-scope-meta-id', 'x-scopemesh-error', 'x-scopemesh-else'),
], gone)

table(globals(), 'connection_cannot_strip_from_a_response', [
    ('content_type', ['Content-Type: a/b'], 'content-type', 'a/b'),
    ('content_encoding', ['Content-Encoding: x'], 'content-encoding', 'x'),
    ('content_length', [], 'content-length', '5'),
], lambda way, fields, name, value: passes(way, lines(f'Connection: {name}', *fields, OK5) + '12345',
                                           has(body=b'12345', **{name.replace('-', '_'): value})))


def via(way, fields, want):
    def check(r):
        eq(r.get('via'), want + ('1.1 dc1' if way == 'alone' else '1.1 dc2, 1.1 dc1'))
    passes(way, lines(*fields, OK5) + '12345', check)


table(globals(), 'via_on_responses', [
    ('is_added', [], ''),
    ('is_appended', ['Via: 1.1 before'], '1.1 before, '),
    ('is_appended_to_two', ['Via: 1.1 a', 'Via: 1.0 b'], '1.1 a, 1.0 b, '),
    ('cannot_be_stripped', ['Via: 1.1 before', 'Connection: via'], '1.1 before, '),
    ('of_our_own_name_is_no_loop', ['Via: 1.1 dc1'], '1.1 dc1, '),
], via)


def served_by(way, claim):
    passes(way, lines(*claim, OK5) + '12345', has(body=b'12345', x_scope_served_by=own_site(way)))


table(globals(), 'served_by', [
    ('is_added', []),
    ('of_an_instance_is_not_believed', ['X-Scope-Served-By: dc9']),
], served_by)


def dated(way, fields, want=None):
    def check(r):
        eq(len(r.all('date')), 1, 'Date fields')
        if want:
            eq(r.get('date'), want)
        else:
            harness.time.strptime(r.get('date'), '%a, %d %b %Y %H:%M:%S GMT')
    passes(way, lines(*fields, OK5) + '12345', check)


table(globals(), 'date', [
    ('of_the_instance_stays', ['Date: Tue, 15 Nov 1994 08:12:31 GMT'], 'Tue, 15 Nov 1994 08:12:31 GMT'),
    ('is_added_where_there_is_none', []),
], dated)


if __name__ == '__main__':
    harness.main(globals())
