#!/usr/bin/python3
"""TLS as a stream: content through it, to clients, to instances; what the configuration says of it; the days that
certificates have left."""
import hashlib
import os
import re
import socket
import ssl
import time

import harness
from harness import answer, ask, ca, eq, openssl, run_program, wait_until
from trusted import (SITES, TlsClient, TlsOrigin, authority, certificates, client_context, logged, mesh_tls,
                     odd_certificate, reads_again, refused, scoped, server_context, trusted)


# --- content through TLS -------------------------------------------------------------------------

def test_bulk_content_arrives_whole_through_two_proxies(bed):
    size = 8 << 20
    down = os.urandom(1 << 16) * (size >> 16)

    def handler(site, r, sock):
        return answer(hashlib.sha256(r.body).hexdigest()) if r.method == 'POST' else answer(down)
    _, daemons, _ = trusted(bed, handler=handler)
    m = scoped(daemons['dc1'], 'dc2', timeout=30)
    eq(hashlib.sha256(m.body).digest(), hashlib.sha256(down).digest(), 'download')
    m = scoped(daemons['dc1'], 'dc2', method='POST', body=down, timeout=30)
    eq(m.body.decode(), hashlib.sha256(down).hexdigest(), 'upload')
    before = daemons['dc1'].rss_kib()
    with harness.Client(daemons['dc1'].addr('image'), timeout=30) as c:     # a reader that is slow
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        c.send(f'GET / HTTP/1.1\r\nHost: {c.addr}\r\nX-Scope: image: dc3\r\n\r\n')
        head = c.reader.head()
        got = hashlib.sha256()
        left = int(head.get('Content-Length'))
        while left:
            piece = c.reader.exactly(min(left, 200000))
            got.update(piece)
            left -= len(piece)
            time.sleep(0.002)
        eq(got.digest(), hashlib.sha256(down).digest(), 'download of a slow reader')
    assert daemons['dc1'].rss_kib() - before < 4 << 10, daemons['dc1'].rss_kib() - before


# --- to clients and to instances -----------------------------------------------------------------

def host_certificate(bed, name, san):
    """The folder of an authority with NAME.pem and .key for a host."""
    d = f'{bed.dir}/hosts'
    if not os.path.exists(d):
        ca('init', '--dir', d)
    odd_certificate(d, name, san)
    return d


def test_clients_are_served_over_tls(bed):
    d = host_certificate(bed, 'front', 'DNS:image.example')
    origin = bed.origin('dc1', lambda r, s: answer(r.body or b'hello'))
    tls = {'cert': f'{d}/front.pem', 'key': f'{d}/front.key'}
    one = bed.daemon('dc1', {'image': {'instances': [origin.url], 'tls': tls}})
    addr = one.addr('image')
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = client_context(d, version=version)
        context.check_hostname = True
        context.set_alpn_protocols(['h2', 'http/1.1'])
        with TlsClient(addr, context, name='image.example') as c:
            eq(c.sock.selected_alpn_protocol(), 'http/1.1', 'ALPN')
            eq([c.ask('POST', body=b'x' * n).body for n in (1, 16384, 100000)], [b'x' * 1, b'x' * 16384, b'x' * 100000],
               'bodies on one connection')
            c.send(b'GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
            eq([c.reader.message('GET').body for _ in range(2)], [b'hello'] * 2, 'pipelined')
            eq(c.sock.recv(1), b'', 'an orderly end')   # without close_notify Python raises
    eq(origin.last.get('X-Forwarded-Proto'), 'https', 'how the client came')
    context.set_alpn_protocols(['h2'])
    eq(refused(addr, context, name='image.example'), True, 'a client that speaks HTTP/2 only')
    context = client_context(d, version=ssl.TLSVersion.TLSv1_2)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers('ALL:@SECLEVEL=0')
    eq(refused(addr, context), True, 'TLS 1.1')
    with harness.Client(addr) as c:
        c.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
        assert b'HTTP/' not in c.reader.to_end(), 'an answer in the clear'


def test_a_client_too_many_costs_no_handshake(bed):
    d = host_certificate(bed, 'front', 'DNS:image.example')
    one = bed.daemon('dc1', {'image': {'instances': [bed.origin('dc1').url], 'tls': {
        'cert': f'{d}/front.pem', 'key': f'{d}/front.key'}}}, limits={'per_client': 1})
    with TlsClient(one.addr('image'), client_context(d)) as c:
        eq(c.ask().status, 200, 'the first')
        eq(refused(one.addr('image'), client_context(d)), True, 'the second is closed')
        eq(c.ask().status, 200, 'the first again')


def test_services_at_one_address_have_the_same_tls(bed):
    d = host_certificate(bed, 'front', 'DNS:image.example')
    tls = {'cert': f'{d}/front.pem', 'key': f'{d}/front.key'}
    origins = {n: bed.origin(n) for n in 'ab'}
    addr = harness.mesh_addr()
    services = {n: {'listen': addr, 'prefix': f'/{n}', 'instances': [o.url], 'tls': tls} for n, o in origins.items()}
    one = bed.daemon('dc1', services)
    for n in 'ab':
        with TlsClient(addr, client_context(d)) as c:
            eq(c.ask(path=f'/{n}').body, n.encode(), 'served by')
    del services['b']['tls']
    path = bed.write('other.yaml', bed.config('dc1', services))
    p = run_program(harness.SCOPEMESHD, '--check', '-c', path)
    eq(p.returncode, 1, 'exit status')
    assert 'has this address and another tls' in p.stderr, p.stderr
    assert one.process.poll() is None


def test_a_certificate_for_clients_is_read_again(bed):
    d = host_certificate(bed, 'front', 'DNS:one.example')
    odd_certificate(d, 'second', 'DNS:two.example')
    one = bed.daemon('dc1', {'image': {'instances': [bed.origin('dc1').url],
                                       'tls': {'cert': f'{d}/front.pem', 'key': f'{d}/front.key'}}})

    def names():
        context = client_context(d)
        with TlsClient(one.addr('image'), context) as c:
            eq(c.ask().body, b'dc1', 'answer')
            return c.sock.getpeercert()['subjectAltName']
    eq(names(), (('DNS', 'one.example'),), 'before')

    def replace():
        for kind in ('key', 'pem'):
            os.rename(f'{d}/second.{kind}', f'{d}/front.{kind}')
    with TlsClient(one.addr('image'), client_context(d)) as kept:
        eq(kept.ask().status, 200, 'before')
        reads_again(one)(replace)
        eq(kept.ask().status, 200, 'a kept connection stays')
    eq(names(), (('DNS', 'two.example'),), 'after')


def test_instances_are_reached_over_tls(bed):
    d = host_certificate(bed, 'back', 'DNS:image.internal')
    odd_certificate(d, 'address', 'IP:127.0.0.9')
    other = authority(bed, name='other')
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        origin = TlsOrigin('dc1', server_context(d, 'back', version=version))
        bed.servers.append(origin)
        for upstream, status in (({'ca': f'{d}/ca.pem', 'name': 'image.internal'}, 200),
                                 ({'ca': f'{d}/ca.pem', 'name': 'other.internal'}, 503),
                                 ({'ca': f'{d}/ca.pem'}, 503), ({'name': 'image.internal'}, 503),
                                 ({'ca': f'{other}/ca.pem', 'name': 'image.internal'}, 503),
                                 ({'verify': False}, 200)):
            one = bed.daemon('dc1', {'image': {'instances': [f'https://{origin.addr}'], 'upstream_tls': upstream}})
            served = len(origin.requests)
            m = ask(one.addr('image'), 'POST', body=b'x' * 70000)
            eq(m.status, status, upstream)
            if status == 503:
                assert 'certificate' in m.problem('no-instance')['detail'], m
            eq(len(origin.requests) - served, status == 200, 'requests that went on')
            eq('are not verified' in one.log(), upstream == {'verify': False}, 'a warning')
            one.stop()
    origin = TlsOrigin('dc1', server_context(d, 'address'), host='127.0.0.9')
    bed.servers.append(origin)
    one = bed.daemon('dc1', {'image': {'instances': [f'https://{origin.addr}'], 'upstream_tls': {'ca': f'{d}/ca.pem'},
                                       'health': {'path': '/health', 'interval': '100ms', 'rise': 1}}})
    wait_until(lambda: 'up' in ask(one.admin, path='/v1/services').body.decode(), 'the probe finds it up')
    eq(ask(one.addr('image')).status, 200, 'by its address')


def test_services_with_other_tls_keep_their_connections_to_one_instance(bed):
    d = host_certificate(bed, 'back', 'DNS:image.internal')
    origin = TlsOrigin('dc1', server_context(d, 'back'))
    bed.servers.append(origin)
    one = bed.daemon('dc1', {'a': {'instances': [f'https://{origin.addr}'], 'upstream_tls': {'verify': False}},
                             'b': {'instances': [f'https://{origin.addr}'],
                                   'upstream_tls': {'ca': f'{d}/ca.pem', 'name': 'image.internal'}}}, workers=1)
    for _ in range(4):
        eq([ask(one.addr(s)).status for s in 'ab'], [200, 200], 'statuses')
    eq(len(origin.sessions), 2, 'connections')


def test_a_body_that_ends_with_the_stream_is_whole_only_with_close_notify(bed):
    d = host_certificate(bed, 'back', 'DNS:image.internal')

    def handler(r, sock):
        sock.sendall(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n' + b'x' * 50000)
        if r.path == '/whole':
            sock.unwrap()
        else:
            socket.socket(fileno=os.dup(sock.fileno())).shutdown(socket.SHUT_RDWR)
    origin = TlsOrigin('dc1', server_context(d, 'back'), handler)
    bed.servers.append(origin)
    one = bed.daemon('dc1', {'image': {'instances': [f'https://{origin.addr}'], 'upstream_tls': {'verify': False}}})
    eq(ask(one.addr('image'), path='/whole').body, b'x' * 50000, 'a whole body')
    try:
        m = ask(one.addr('image'), path='/cut')
    except (ConnectionError, ValueError):
        m = None
    eq(m, None, 'a cut body that ended as if whole')


def test_bytes_nobody_asked_for_are_no_answer_over_tls(bed):
    """Two records in one packet: the second one is inside OpenSSL when the first has been read."""
    d = host_certificate(bed, 'back', 'DNS:image.internal')
    forged = answer(b'forged')

    def handler(r, sock):
        if r.path != '/first':
            return answer(r.path.encode())
        raw = socket.socket(fileno=os.dup(sock.fileno()))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        sock.sendall(answer(b'first'))
        sock.sendall(forged)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        return b''
    origin = TlsOrigin('dc1', server_context(d, 'back'), handler)
    bed.servers.append(origin)
    one = bed.daemon('dc1', {'image': {'instances': [f'https://{origin.addr}'], 'upstream_tls': {'verify': False}}},
                     workers=1)
    for _ in range(10):
        with harness.Client(one.addr('image')) as c:    # the second request is looked at in the same turn of the loop
            c.send('GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\n\r\n')
            eq([c.reader.message('GET').body for _ in range(2)], [b'first', b'/second'], 'answers')


# --- configuration and dates ---------------------------------------------------------------------

def test_check_says_what_is_wrong_with_certificates(bed):
    d = authority(bed, 'dc1', 'dc2')
    other = authority(bed, 'dc1', name='other')
    odd_certificate(d, 'host', 'DNS:dc1')
    ca('issue', 'dc3', '--dir', d)
    ca('revoke', 'dc3', '--dir', d)
    openssl('ec', '-aes128', '-in', f'{d}/dc1.key', '-passout', 'pass:x', '-out', f'{d}/locked.key')
    os.chmod(f'{d}/dc2.key', 0o644)
    bed.write('ca/text', 'hello\n')
    for site, tls, wanted in (
            ('dc1', {}, None), ('dc1', {'crl': ''}, None), ('dc1', {'crl': f'{d}/crl.pem'}, None),
            ('dc1', {'cert': f'{d}/none.pem'}, ['cert: ', 'none.pem: No such file or directory']),
            ('dc1', {'cert': f'{d}/text'}, ['cert: ', 'hint: a certificate in PEM form']),
            ('dc1', {'cert': d}, ['cert: ', 'it is no file']),
            ('dc1', {'key': f'{d}/none.key'}, ['key: ', 'No such file']),
            ('dc1', {'key': f'{d}/locked.key'}, ['key: ', 'without a passphrase']),
            ('dc1', {'key': f'{other}/dc1.key'}, ["the key is not this certificate's"]),
            ('dc2', {}, ['everybody on this machine may read it (mode 644)', 'hint: chmod 600']),
            ('dc1', {'cert': f'{d}/dc2.pem', 'key': f'{d}/dc2.key'}, ['it is the certificate of site "dc2", not of "dc1"',
                                                                       'everybody']),
            ('dc1', {'cert': f'{d}/host.pem', 'key': f'{d}/host.key'}, ['it names no site', 'hint: scopectl ca issue']),
            ('dc1', {'ca': f'{other}/ca.pem'}, ['other sites would refuse it: unable to get local issuer']),
            ('dc3', {'crl': f'{d}/crl.pem'}, ['other sites would refuse it: certificate revoked']),
            ('dc1', {'ca': f'{d}/text'}, ['ca: ', 'a certificate in PEM form']),
            ('dc1', {'crl': f'{d}/text'}, ['crl: ', 'hint: a list of revoked certificates']),
            ('dc1', {'insecure': True}, ['insecure: there are certificates'])):
        path = bed.write('site.yaml', bed.config(site, {}, mesh='127.0.0.1:7400', mesh_tls={**mesh_tls(d, site), **tls}))
        p = run_program(harness.SCOPEMESHD, '--check', '-c', path)
        eq(p.returncode, 0 if wanted is None else 1, f'{tls}: {p.stderr}')
        for text in wanted or ():
            assert text in p.stderr, (text, p.stderr)
        assert wanted is None or re.match(r'\S+/site.yaml:\d+:\d+: ', p.stderr), p.stderr
    path = bed.write('site.yaml', bed.config('dc1', {}, mesh='10.1.2.3:7400'))
    p = run_program(harness.SCOPEMESHD, '--check', '-c', path)
    eq(p.returncode, 1, 'insecure off loopback')
    assert 'an insecure mesh may only listen on loopback' in p.stderr and 'scopectl ca' in p.stderr, p.stderr


def test_without_certificates_nobody_off_loopback_is_called(bed):
    registry = bed.write('sites.yaml', 'sites: {dc1: {}, dc2: {mesh: "192.0.2.1:7400"}}\n')
    one = bed.daemon('dc1', {'image': {'instances': [bed.origin('dc1').url]}}, mesh=harness.mesh_addr(),
                     registry=registry)
    m = scoped(one, 'dc2; dc1')
    eq((m.status, m.body), (200, b'dc1'), 'otherwise')
    assert 'certificate' in scoped(one, 'dc2').problem('unreachable')['detail']


def test_days_left_are_told(bed):
    d = authority(bed, *SITES)
    ca('issue', 'dc1', '--dir', d, '--days', '5')
    _, daemons, _ = trusted(bed, d)
    one = daemons['dc1']
    logged(one, '/dc1.pem: 4 days left')
    mesh = certificates(one)[0]['mesh']
    eq(mesh['left_ms'] // 86400000, 4, 'days left')
    eq((mesh['service'], mesh['path']), (None, f'{d}/dc1.pem'), 'which')
    text = ask(one.admin, path='/metrics').body.decode()
    seconds = re.search(r'^scopemesh_certificate_expiry_seconds\{use="mesh",service=""\} (\d+)$', text, re.M)[1]
    assert 4 * 86400 < int(seconds) <= 5 * 86400, seconds
    assert 'use="mesh-ca"' in text
    # What has expired is no better than what there is; at the start it is told, and the site works on its own.
    good = open(f'{d}/dc1.pem').read()
    odd_certificate(d, 'expired', 'URI:scopemesh:dc1', days=-1)

    def expire():
        for kind in ('key', 'pem'):
            os.rename(f'{d}/expired.{kind}', f'{d}/dc1.{kind}')
    reads_again(one)(expire)
    assert 'it has expired' in certificates(one)[1], certificates(one)
    eq(scoped(one, 'dc2').status, 200, 'with the last good one')
    assert good != open(f'{d}/dc1.pem').read()
    one.stop()
    one.start()
    logged(one, 'it has expired')
    eq(ask(one.addr('image')).body, b'dc1', 'its own clients')
    eq(scoped(one, 'dc2; dc1').body, b'dc1', 'others refuse it')


if __name__ == '__main__':
    harness.main(globals())
