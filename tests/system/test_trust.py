#!/usr/bin/python3
"""Who is believed: between sites, on both sides of a connection, and what a peer, a client or a site may do."""
import os
import random
import re
import socket
import ssl
import threading
import time

import harness
from harness import answer, ask, ca, eq, run_program, wait_until
from trusted import (SITES, PEER, TlsClient, TlsOrigin, authority, certificates, client_context, mesh_tls,
                     odd_certificate, reads_again, refused, scoped, server_context, states, trusted)


# --- between sites -------------------------------------------------------------------------------

def test_sites_share_over_mutual_tls(bed):
    _, daemons, origins = trusted(bed)
    for site in SITES:
        eq(scoped(daemons['dc1'], site).body, site.encode(), 'served by')
    eq(origins['dc2'].last.get('X-Forwarded-Proto'), 'http', 'how the client came')
    wait_until(lambda: 'connected' == states(daemons['dc1'])['dc2'], 'dc2 is connected')


def hammer(addr, scope, stop, method='GET'):
    """Requests one after the other on kept connections, until stop; returns the list of answers that were no 200."""
    bad, count = [], [0]

    def run():
        client = harness.Client(addr)
        while not stop.is_set():
            m = client.ask(method, headers={'X-Scope': f'image: {scope}'}, body=b'x' if method == 'POST' else None)
            count[0] += 1
            if m.status != 200:
                bad.append(m)
            if m.get('Connection') == 'close':
                client.close()
                client = harness.Client(addr)
        client.close()
    threads = [threading.Thread(target=run) for _ in range(4)]
    for t in threads:
        t.start()
    return threads, bad, count


def test_a_new_certificate_is_taken_under_load_without_a_failed_request(bed):
    d, daemons, _ = trusted(bed)
    stop = threading.Event()
    loads = [hammer(daemons['dc1'].addr('image'), 'dc2', stop, m) for m in ('GET', 'POST')]
    try:
        for site, days in (('dc1', 100), ('dc2', 90), ('dc1', 80)):
            reads_again(daemons[site])(lambda: ca('issue', site, '--dir', d, '--days', str(days)))
            counts = [c[0] for _, _, c in loads]
            wait_until(lambda: all(c[0] > n + 50 for (_, _, c), n in zip(loads, counts)), 'more requests')
            eq(certificates(daemons[site])[0]['mesh']['left_ms'] // 86400000, days - 1, 'days left')
    finally:
        stop.set()
        for threads, _, _ in loads:
            for t in threads:
                t.join()
    eq([m for _, bad, _ in loads for m in bad], [], 'answers that were no 200')
    assert 'certificate of mesh' in daemons['dc1'].log() and 'days left' in daemons['dc1'].log()


def test_an_authority_gives_way_to_another_without_a_failed_request(bed):
    d, new = authority(bed, *SITES), authority(bed, *SITES, name='new')
    ca('revoke', 'dc3', '--dir', d)     # a list of the old authority, none of the new one
    ca('issue', 'dc3', '--dir', d)
    d, daemons, _ = trusted(bed, d, tls=lambda s: {'crl': f'{d}/crl.pem'})
    stop = threading.Event()
    loads = [hammer(daemons['dc1'].addr('image'), 'dc2', stop, m) for m in ('GET', 'POST')]

    def put(target, text):
        bed.write('ca/fresh', text)
        os.chmod(f'{d}/fresh', 0o600)
        os.rename(f'{d}/fresh', f'{d}/{target}')

    def step(change):
        counts = {s: daemons[s].log().count('were read again') for s in SITES}
        change()
        for s, n in counts.items():
            wait_until(lambda: daemons[s].log().count('were read again') > n, f'{s} has read again')
        before = [c[0] for _, _, c in loads]
        wait_until(lambda: all(c[0] > n + 20 for (_, _, c), n in zip(loads, before)), 'more requests')

    def new_certificates():
        for site in SITES:
            for kind in ('key', 'pem'):
                put(f'{site}.{kind}', open(f'{new}/{site}.{kind}').read())
    try:
        step(lambda: put('ca.pem', open(f'{d}/ca.pem').read() + open(f'{new}/ca.pem').read()))
        step(new_certificates)
        step(lambda: put('ca.pem', open(f'{new}/ca.pem').read()))
    finally:
        stop.set()
        for threads, _, _ in loads:
            for t in threads:
                t.join()
    eq([m for _, bad, _ in loads for m in bad], [], 'answers that were no 200')
    eq([certificates(x)[1] for x in daemons.values()], [None] * 3, 'problems')
    for one, other in (('dc1', 'dc2'), ('dc2', 'dc3'), ('dc3', 'dc1')):
        eq(scoped(daemons[one], other).status, 200, f'{one} to {other}')


def test_what_is_of_no_use_leaves_the_last_good_pair(bed):
    d, daemons, _ = trusted(bed)
    one = daemons['dc1']
    good = open(f'{d}/dc1.pem').read()

    def stays(text, what):
        reads_again(one)(lambda: bed.write('ca/dc1.pem', text))
        assert what in one.log(), one.log()[-800:]
        assert what in certificates(one)[1], certificates(one)
        for target in ('dc2', 'dc3'):
            eq(scoped(one, target).status, 200, f'status after {what}')
        eq(scoped(daemons['dc2'], 'dc1').status, 200, f'the other way after {what}')
    stays('', 'no start line')
    stays(open(f'{d}/dc2.pem').read(), "the key is not this certificate's")
    stays(good[:300], '')
    reads_again(one)(lambda: bed.write('ca/dc1.pem', good))
    eq(certificates(one)[1], None, 'problem')
    reads_again(one)(lambda: os.chmod(f'{d}/dc1.key', 0o644))
    assert 'everybody on this machine may read it' in certificates(one)[1]
    eq(scoped(one, 'dc2').status, 200, 'status with a readable key')


# --- who may come in -----------------------------------------------------------------------------

def test_only_peers_come_in_at_the_mesh_listener(bed):
    d, daemons, origins = trusted(bed)
    other = authority(bed, 'dc1', name='other')
    mesh = daemons['dc2'].addr('mesh')
    odd_certificate(d, 'expired', 'URI:scopemesh:dc1', days=-1)
    odd_certificate(d, 'nameless', '')
    odd_certificate(d, 'host', 'DNS:dc1')
    odd_certificate(d, 'two', 'URI:scopemesh:dc1,URI:scopemesh:dc3')
    odd_certificate(d, 'empty', 'URI:scopemesh:')
    odd_certificate(d, 'control', 'URI:scopemesh:dc1%0a')
    odd_certificate(d, 'server', 'URI:scopemesh:dc1', uses='serverAuth')

    with TlsClient(mesh, client_context(d, 'dc1')) as c:
        eq(c.ask(headers=PEER).status, 200, 'a peer')
    served = len(origins['dc2'].requests)
    for site in ('expired', 'nameless', 'host', 'two', 'empty', 'control', 'server', None):
        eq(refused(mesh, client_context(d, site)), True, f'{site} is refused')
    eq(refused(mesh, client_context(other, 'dc1', ca_file=f'{d}/ca.pem')), True, 'another authority is refused')
    eq(refused(mesh, client_context(d, 'dc1', version=ssl.TLSVersion.TLSv1_2)), True, 'TLS 1.2 is refused')
    with harness.Client(mesh) as c:
        c.send('GET / HTTP/1.1\r\nHost: x\r\nX-Scopemesh-Service: image\r\n\r\n')
        try:
            got = c.sock.recv(1000)
        except ConnectionError:
            got = b''
        assert b'HTTP' not in got, got
    eq(len(origins['dc2'].requests), served, 'requests that went on')
    for text in ('certificate has expired', 'names no site', 'unable to get local issuer'):
        wait_until(lambda: text in daemons['dc2'].log() or refused(mesh, client_context(
            other if 'issuer' in text else d, 'dc1' if 'issuer' in text else 'expired' if 'expired' in text else 'host',
            ca_file=f'{d}/ca.pem')) and False or text in daemons['dc2'].log(), text)


def test_a_peer_speaks_for_its_own_site_only(bed):
    d, daemons, origins = trusted(bed)
    ca('issue', 'dc9', '--dir', d)
    mesh = daemons['dc2'].addr('mesh')
    with TlsClient(mesh, client_context(d, 'dc1')) as c:
        eq(c.ask(headers={**PEER, 'X-Scopemesh-Trace': 'dc3, dc1'}).status, 200, 'passed on by dc1')
        m = c.ask(headers={**PEER, 'X-Scopemesh-Trace': 'dc1, dc3'})
        eq(m.status, 403, 'status')
        m.problem('not-allowed')
    served = len(origins['dc2'].requests)
    with TlsClient(mesh, client_context(d, 'dc9')) as c:
        m = c.ask(headers=PEER)
        eq((m.status, m.get('Connection')), (503, 'close'), 'a site that the registry does not know')
        assert 'not in the registry' in m.problem('unreachable')['detail'], m
    with TlsClient(mesh, client_context(d, 'dc2')) as c:
        eq(c.ask(headers=PEER).status, 503, 'itself')
    eq(len(origins['dc2'].requests), served, 'requests that went on')


def test_a_kept_connection_ends_with_what_it_was_based_on(bed):
    d, daemons, _ = trusted(bed)
    two = daemons['dc2']
    with TlsClient(two.addr('mesh'), client_context(d, 'dc1')) as c:
        eq(c.ask(headers=PEER).status, 200, 'before')
        sites = open(f'{bed.dir}/sites.yaml').read()
        reads_again(two, 'registry file was read again')(
            lambda: bed.write('sites.yaml', re.sub(r'"dc1": \{[^}]*\}\}?, ', '', sites, 1)))
        m = c.ask(headers=PEER)
        eq((m.status, m.get('Connection')), (503, 'close'), 'once its site is gone from the registry')
        eq(c.sock.recv(1), b'', 'the end')
        reads_again(two, 'registry file was read again')(lambda: bed.write('sites.yaml', sites))
    eq(scoped(daemons['dc1'], 'dc2').status, 200, 'back again')


def test_a_fenced_site_is_turned_away_on_its_kept_connections(bed):
    d, daemons, origins = trusted(bed)
    one, two = daemons['dc1'], daemons['dc2']
    eq(scoped(one, 'dc2').status, 200, 'before')
    with TlsClient(two.addr('mesh'), client_context(d, 'dc1')) as kept:
        eq(kept.ask(headers=PEER).status, 200, 'before')
        eq(run_program(harness.SCOPECTL, '--admin', f'http://{two.admin}', 'site', 'fence', 'dc1').returncode, 0, 'fence')
        served = len(origins['dc2'].requests)
        m = kept.ask(headers=PEER)
        eq((m.status, m.get('Connection')), (503, 'close'), 'on a kept connection')
        assert 'fenced' in m.problem('unreachable')['detail'], m
    eq(scoped(one, 'dc2').status, 503, 'from the fenced site')
    eq(scoped(one, 'dc2; dc1').body, b'dc1', 'otherwise moves on')
    eq(len(origins['dc2'].requests), served, 'requests that went on')
    wait_until(lambda: next(s for s in ask(daemons['dc3'].admin, path='/v1/sites').json()['sites']
                            if s['name'] == 'dc1')['fenced_by'] == ['dc2'], 'others see who has fenced it')
    eq(run_program(harness.SCOPECTL, '--admin', f'http://{two.admin}', 'site', 'unfence', 'dc1').returncode, 0, 'unfence')
    wait_until(lambda: scoped(one, 'dc2').status == 200, 'dc1 is let in again')


def test_a_revoked_site_is_refused_on_old_and_new_connections(bed):
    d = authority(bed, *SITES)
    ca('issue', 'dc9', '--dir', d)
    ca('revoke', 'dc9', '--dir', d)     # a list to begin with
    d, daemons, origins = trusted(bed, d, tls=lambda s: {'crl': f'{d}/crl.pem'})
    one, two = daemons['dc1'], daemons['dc2']
    eq([scoped(one, 'dc2').status for _ in range(3)], [200] * 3, 'before')
    mesh, old = two.addr('mesh'), client_context(d, 'dc1')
    with TlsClient(mesh, old) as kept:
        eq(kept.ask(headers=PEER).status, 200, 'before')
        session = kept.sock.session
        reads_again(two)(lambda: ca('revoke', 'dc1', '--dir', d))
        served = len(origins['dc2'].requests)
        m = kept.ask(headers=PEER)
        eq((m.status, m.get('Connection')), (503, 'close'), 'on a kept connection')
        assert 'certificate revoked' in m.problem('unreachable')['detail'], m
        eq(refused(mesh, old), True, 'on a new one')
        eq(refused(mesh, old, session=session), True, 'with a session from before')
    m = scoped(one, 'dc2')
    eq(m.status, 503, 'from the revoked site')
    m.problem('unreachable')
    for method, body in (('GET', None), ('POST', b'once')):
        m = scoped(one, 'dc2; dc1', method=method, body=body)
        eq((m.status, m.body), (200, b'dc1'), f'otherwise moves on with {method}')
    eq(len(origins['dc2'].requests), served, 'requests that went on')
    ca('issue', 'dc1', '--dir', d)      # a new certificate is not on the list
    wait_until(lambda: scoped(one, 'dc2').status == 200, 'dc1 is accepted again')


# --- whom we talk to -----------------------------------------------------------------------------

def with_fake_dc2(bed, d, serve, **kw):
    """dc1 alone, which knows a dc2 at a server made by serve(host)."""
    fake = serve()
    bed.servers.append(fake)
    here = bed.origin('dc1')
    mesh = harness.mesh_addr()
    registry = bed.write('sites.yaml', harness.yaml_value({'sites': {
        'dc1': {'mesh': mesh}, 'dc2': {'mesh': fake.addr}}}))
    one = bed.daemon('dc1', {'image': {'instances': [here.url]}}, mesh=mesh, registry=registry,
                     mesh_tls=mesh_tls(d, 'dc1'), **kw)
    return one, fake


def falls_back(one, fake, what):
    for method, body in (('GET', None), ('POST', b'once')):
        m = scoped(one, 'dc2; dc1', method=method, body=body)
        eq((m.status, m.body), (200, b'dc1'), f'{what}: {method}')
    m = scoped(one, 'dc2')
    eq(m.status, 503, what)
    doc = m.problem('unreachable')
    eq([r for r in getattr(fake, 'requests', []) if r.path == '/'], [], f'{what}: requests there')
    return doc['detail']


def test_the_other_side_has_to_be_the_site_that_was_dialled(bed):
    d = authority(bed, 'dc1', 'dc2', 'dc3')
    other = authority(bed, 'dc2', name='other')
    odd_certificate(d, 'expired', 'URI:scopemesh:dc2', days=-1)
    odd_certificate(d, 'host', 'DNS:dc2')
    odd_certificate(d, 'client', 'URI:scopemesh:dc2', uses='clientAuth')
    good, fake = with_fake_dc2(bed, d, lambda: TlsOrigin('dc2', server_context(d, 'dc2', f'{d}/ca.pem')))
    eq(scoped(good, 'dc2').body, b'dc2', 'the right one')
    good.stop()
    for what, context in (('another site', server_context(d, 'dc3')), ('expired', server_context(d, 'expired')),
                          ('no site', server_context(d, 'host')), ('a client', server_context(d, 'client')),
                          ('another authority', server_context(other, 'dc2')),
                          ('TLS 1.2', server_context(d, 'dc2', version=ssl.TLSVersion.TLSv1_2))):
        one, fake = with_fake_dc2(bed, d, lambda c=context: TlsOrigin('dc2', c))
        assert 'certificate' in falls_back(one, fake, what), what
        one.stop()
    one, fake = with_fake_dc2(bed, d, lambda: harness.Origin('dc2'))
    falls_back(one, fake, 'no TLS at all')


def test_a_peer_that_refuses_our_certificate_late_has_executed_nothing(bed):
    d = authority(bed, 'dc1', 'dc2')
    other = authority(bed, 'dc2', name='other')
    one, fake = with_fake_dc2(bed, d, lambda: TlsOrigin('dc2', server_context(d, 'dc2', f'{other}/ca.pem')))
    falls_back(one, fake, 'it refuses ours')


def test_a_peer_that_does_not_shake_hands_costs_the_connect_timeout(bed):
    d = authority(bed, 'dc1', 'dc2')
    one, fake = with_fake_dc2(bed, d, lambda: harness.Server(lambda sock: sock.recv(1) and time.sleep(20)),
                              timeouts={'connect': '300ms'})
    began = time.monotonic()
    m = scoped(one, 'dc2; dc1')
    eq((m.status, m.body), (200, b'dc1'), 'answer')
    assert 0.2 < time.monotonic() - began < 3, time.monotonic() - began


def test_a_client_that_does_not_shake_hands_is_closed(bed):
    d, daemons, _ = trusted(bed, timeouts={'header': '300ms'})
    for first in (b'', b'\x16\x03\x01\x02\x00\x01'):
        with harness.Client(daemons['dc1'].addr('mesh')) as c:
            c.send(first)
            eq(c.reader.to_end(), b'', 'answer')


def test_garbage_instead_of_a_handshake_hurts_nobody(bed):
    d, daemons, _ = trusted(bed)
    mesh, rng = daemons['dc1'].addr('mesh'), random.Random(7)
    hello = b'\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03'
    for i in range(120):
        with harness.Client(mesh) as c:
            c.send((hello if i % 2 else b'') + rng.randbytes(rng.randrange(1, 400)))
            if i % 3 == 0:
                harness.reset(c.sock)
            elif i % 3 == 1:
                c.sock.shutdown(socket.SHUT_WR)
    raw = socket.create_connection(mesh.split(':'), 10)     # after the handshake, in the middle of a record
    tls = client_context(d, 'dc2').wrap_socket(raw, suppress_ragged_eofs=False)
    tls.sendall(b'GET /.scopemesh/x HTTP/1.1\r\n')
    with socket.socket(fileno=os.dup(tls.fileno())) as bare:
        bare.settimeout(harness.DEADLINE)
        bare.sendall(b'\x17\x03\x03\x00\x30' + b'z' * 0x30)
        try:
            got = bare.recv(4096)
            while bare.recv(4096):
                pass
        except ConnectionError:
            got = b''
        assert b'HTTP' not in got
    tls.close()
    eq(scoped(daemons['dc2'], 'dc1').body, b'dc1', 'the others are served')


def test_sessions_between_sites_are_resumed_until_certificates_change(bed):
    d = authority(bed, 'dc1', 'dc2')
    one, fake = with_fake_dc2(bed, d, lambda: TlsOrigin('dc2', server_context(d, 'dc2', f'{d}/ca.pem'), lambda r, s: (
        answer('dc2', headers=[('Connection', 'close')] if r.path == '/' else []))))
    scoped(one, 'dc2')
    wait_until(lambda: scoped(one, 'dc2').status == 200 and fake.sessions[-1], 'a resumed session')
    reads_again(one)(lambda: ca('issue', 'dc1', '--dir', d))
    before = len(fake.sessions)
    scoped(one, 'dc2')
    # the pinger's first connection after the change is in between
    assert False in fake.sessions[before:], fake.sessions
    mesh, context = one.addr('mesh'), client_context(d, 'dc2')
    with TlsClient(mesh, context) as c:
        eq(c.ask(headers=PEER).status, 200, 'in full')
        session = c.sock.session
    with TlsClient(mesh, context, session=session) as c:
        eq((c.ask(headers=PEER).status, c.sock.session_reused), (200, True), 'resumed')
    reads_again(one)(lambda: ca('issue', 'dc1', '--dir', d))
    with TlsClient(mesh, context, session=session) as c:
        eq((c.ask(headers=PEER).status, c.sock.session_reused), (200, False), 'in full again')


def test_mixed_versions_work_or_are_refused_clearly(bed):
    d, daemons, origins = trusted(bed)
    for value, status in (('1; least=1', 200), ('7; least=1; features=x', 200), ('7; least=2', 503), ('x', 400)):
        with TlsClient(daemons['dc2'].addr('mesh'), client_context(d, 'dc1')) as c:
            m = c.ask(headers={**PEER, 'X-Scopemesh-Version': value})
            eq(m.status, status, value)
            if status == 503:
                assert 'versions 1 to 1' in m.problem('version')['detail'], m
                eq(m.get('X-Scopemesh-Error'), 'version', 'error')
    assert not any(n.lower().startswith('x-scopemesh') for r in origins['dc2'].requests for n, _ in r.headers)
    daemons['dc1'].stop()
    one, fake = with_fake_dc2(bed, d, lambda: TlsOrigin('dc2', server_context(d, 'dc2', f'{d}/ca.pem')))
    eq([scoped(one, 'dc2').status for _ in range(2)], [200, 200], 'status')
    ours = [r.get('X-Scopemesh-Version') for r in fake.requests if r.path == '/']
    eq(ours, ['1; least=1', None], 'told once per connection')


# --- what may be said ----------------------------------------------------------------------------

INTERNAL = {'X-Scopemesh-Service': 'image', 'X-Scopemesh-Trace': 'dc2', 'X-Scopemesh-Scope': 'image: dc3',
            'X-Scopemesh-Hold': '1', 'X-Scopemesh-Error': 'no-instance', 'X-Scopemesh-Version': '99; least=99',
            'x-scopemesh-anything': 'x'}


def test_internal_fields_from_others_are_dropped(bed):
    def handler(site, r, sock):
        return answer(site, headers=[*INTERNAL.items(), ('X-Scope-Served-By', 'nowhere'), ('X-Scope-Meta-Id', 'x')])
    _, daemons, origins = trusted(bed, handler=handler)
    for target in ('dc1', 'dc2'):
        m = ask(daemons['dc1'].addr('image'), 'POST', headers={**INTERNAL, 'X-Scope': f'image: {target}'}, body=b'x')
        eq((m.status, m.body), (200, target.encode()), 'answer')
        seen = [n for n, _ in origins[target].last.headers if n.lower().startswith('x-scopemesh')]
        eq(seen, [], f'internal fields at the instance of {target}')
        eq([n for n, _ in m.headers if n.lower().startswith('x-scopemesh')], [], 'internal fields of the answer')
        eq((m.get('X-Scope-Served-By'), m.get('X-Scope-Meta-Id')), (target, None), 'what the instance said of us')
    with harness.Client(daemons['dc1'].addr('image')) as c:     # in trailers neither
        c.send(f'POST / HTTP/1.1\r\nHost: x\r\nX-Scope: image: dc2\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n'
               'X-Scopemesh-Trace: dc3\r\nX-Other: y\r\n\r\n')
        eq(c.reader.message('POST').status, 200, 'status')
    eq([n for n, _ in origins['dc2'].last.trailers if n.lower().startswith('x-scopemesh')], [], 'in trailers')


def test_scope_from_says_who_may_send_a_scope(bed):
    d = authority(bed, *SITES)
    origins = {s: bed.origin(s) for s in ('dc1', 'dc2')}
    for ranges, status in ((['127.0.0.0/8'], 200), (['10.0.0.0/8', '::1'], 403), ([], 200)):
        daemons = bed.mesh({s: {'image': {'instances': [o.url], 'scope_from': ranges if s == 'dc1' else []}}
                            for s, o in origins.items()}, mesh_tls=lambda s: mesh_tls(d, s))
        one = daemons['dc1'].addr('image')
        for headers in ({'X-Scope': 'image: dc2'}, {'baggage': 'scope=image%3Adc2'}, {'X-Scope': 'image: dc1'}):
            m = ask(one, headers=headers)
            eq(m.status, status, f'{ranges} {headers}')
            if status == 403:
                doc = m.problem('not-allowed')
                assert 'scope_from' in doc['detail'], doc
                eq((doc['service'], doc['from']), ('image', 'dc1'), 'members')
        eq(ask(one).body, b'dc1', 'without a scope everybody is served')
        for daemon in daemons.values():
            daemon.stop()


def test_sites_says_whose_requests_may_come_in(bed):
    d = authority(bed, *SITES)
    for rule, allowed in (('all', ('dc1', 'dc3')), (['dc3', 'dc2'], ('dc3',)), ('none', ())):
        daemons, origins = bed.three(mesh_tls=lambda s: mesh_tls(d, s), options={'sites': rule})
        for site in ('dc1', 'dc3'):
            m = scoped(daemons[site], 'dc2')
            eq(m.status, 200 if site in allowed else 403, f'{rule}: from {site}')
            if site not in allowed:
                doc = m.problem('not-allowed')
                assert site in doc['detail'] and 'sites' in doc['detail'], doc
                eq((doc['from'], doc['service']), ('dc2', 'image'), 'members')
        with TlsClient(daemons['dc2'].addr('mesh'), client_context(d, 'dc1')) as c:     # whatever it says of itself
            m = c.ask(headers={**PEER, 'X-Scopemesh-Trace': 'dc3'})
            eq(m.status, 403, f'{rule}: dc1 that says it is dc3')
        eq(scoped(daemons['dc2'], 'dc2').status, 200, f"{rule}: the site's own clients")
        eq(len(origins['dc2'].requests), 1 + len(allowed), 'requests that went on')
        for daemon in daemons.values():
            daemon.stop()


if __name__ == '__main__':
    harness.main(globals())
