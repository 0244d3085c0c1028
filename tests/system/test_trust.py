#!/usr/bin/python3
"""Who is believed: the authority of `scopectl ca`, TLS between sites, to clients and to instances, and what a peer,
a client or a site may do.  Certificates come from `scopectl ca`; only odd ones from the openssl command."""
import hashlib
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import threading
import time
import warnings

import harness
from harness import answer, ask, eq, run_program, wait_until


warnings.filterwarnings('ignore', category=DeprecationWarning)     # old versions of TLS are tried on purpose


def ca(*args, status=0):
    p = run_program(harness.SCOPECTL, 'ca', *args)
    eq(p.returncode, status, f'exit status of ca {args}: {p.stderr}')
    return p


def openssl(*args, text=None):
    p = subprocess.run(['openssl', *map(str, args)], input=text, capture_output=True, text=True, timeout=30)
    eq(p.returncode, 0, f'openssl {args}: {p.stderr}')
    return p.stdout


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


# --- the authority -------------------------------------------------------------------------------

def test_an_authority_issues_what_openssl_accepts(bed):
    d = f'{bed.dir}/ca'
    ca('init', '--dir', d)
    ca('issue', 'dc1', '--dir', d)
    ca('issue', 'DC 2', '--dir', d)
    for site, uri in (('dc1', 'scopemesh:dc1'), ('DC 2', 'scopemesh:DC%202')):
        for purpose in ('sslserver', 'sslclient'):
            openssl('verify', '-x509_strict', '-purpose', purpose, '-CAfile', f'{d}/ca.pem', f'{d}/{site}.pem')
        text = openssl('x509', '-noout', '-text', '-in', f'{d}/{site}.pem')
        assert f'URI:{uri}\n' in text and 'prime256v1' in text and 'CA:FALSE' in text, text
        eq(openssl('x509', '-noout', '-pubkey', '-in', f'{d}/{site}.pem'),
           openssl('pkey', '-pubout', '-in', f'{d}/{site}.key'), 'key of the certificate')
    eq([mode(f'{d}/{f}') for f in ('', 'ca.key', 'dc1.key', 'ca.pem', 'dc1.pem')],
       [0o700, 0o600, 0o600, 0o644, 0o644], 'modes')


def test_an_authority_is_never_overwritten(bed):
    d = f'{bed.dir}/ca'
    ca('init', '--dir', d)
    before = {f: open(f'{d}/{f}').read() for f in ('ca.pem', 'ca.key')}
    assert 'exists already' in ca('init', '--dir', d, status=1).stderr
    os.unlink(f'{d}/ca.pem')    # half of one counts too
    assert 'exists already' in ca('init', '--dir', d, status=1).stderr
    eq(open(f'{d}/ca.key').read(), before['ca.key'], 'key')
    assert 'holds no authority' in ca('issue', 'dc1', '--dir', f'{bed.dir}', status=1).stderr


def test_a_site_is_issued_anew_and_days_are_kept_to(bed):
    d = f'{bed.dir}/ca'
    ca('init', '--dir', d)
    ca('issue', 'dc1', '--dir', d, '--days', '3')
    openssl('x509', '-noout', '-checkend', 3 * 86400 - 60, '-in', f'{d}/dc1.pem')
    first = open(f'{d}/dc1.pem').read()
    assert 'were replaced' in ca('issue', 'dc1', '--dir', d).stderr
    assert open(f'{d}/dc1.pem').read() != first
    assert 'ends with the authority' in ca('issue', 'dc2', '--dir', d, '--days', '3660').stderr
    openssl('verify', '-CAfile', f'{d}/ca.pem', f'{d}/dc1.pem')
    eq(len(open(f'{d}/issued').read().splitlines()), 3, 'lines of issued')


def test_words_that_are_no_use_to_ca_exit_2(bed):
    d = f'{bed.dir}/ca'
    ca('init', '--dir', d)
    for args in ([], ['isue', 'dc1'], ['issue'], ['issue', 'a', 'b'], ['issue', 'dc1', '--days', '0'],
                 ['issue', 'dc1', '--days', 'x'], ['init', 'dc1'], ['issue', 'a/b'], ['issue', '../x'], ['issue', 'ca'],
                 ['issue', 'crl'], ['issue', ''], ['issue', 'x' * 65], ['issue', 'a\nb'], ['revoke']):
        ca(*args, '--dir', d, status=2)
    eq(sorted(os.listdir(d)), ['ca.key', 'ca.pem'], 'files')


def test_all_certificates_of_a_site_are_revoked_and_those_issued_later_are_not(bed):
    d = f'{bed.dir}/ca'
    ca('init', '--dir', d)
    assert 'issued nothing' in ca('revoke', 'dc1', '--dir', d, status=1).stderr
    olds = []
    for _ in range(2):
        ca('issue', 'dc1', '--dir', d)
        olds.append(bed.write(f'old{len(olds)}.pem', open(f'{d}/dc1.pem').read()))
    ca('issue', 'dc2', '--dir', d)
    ca('revoke', 'dc1', '--dir', d)
    ca('issue', 'dc1', '--dir', d)

    def verify(path):
        return subprocess.run(['openssl', 'verify', '-crl_check', '-CAfile', f'{d}/ca.pem', '-CRLfile', f'{d}/crl.pem',
                               path], capture_output=True, timeout=30).returncode == 0
    eq([verify(p) for p in olds + [f'{d}/dc1.pem', f'{d}/dc2.pem']], [False, False, True, True], 'accepted')
    ca('revoke', 'dc2', '--dir', d)     # the list grows, and its number too
    eq([verify(p) for p in olds + [f'{d}/dc1.pem', f'{d}/dc2.pem']], [False, False, True, False], 'accepted')
    numbers = [int(x, 16) for x in openssl('crl', '-noout', '-crlnumber', '-in', f'{d}/crl.pem').split('=')[1:]]
    assert numbers[0] >= 1, numbers


# --- between sites -------------------------------------------------------------------------------

SITES = ('dc1', 'dc2', 'dc3')


def authority(bed, *sites, name='ca'):
    """The folder of an authority that has issued to these sites."""
    d = f'{bed.dir}/{name}'
    ca('init', '--dir', d)
    for site in sites:
        ca('issue', site, '--dir', d)
    return d


def mesh_tls(d, site, **more):
    return {'cert': f'{d}/{site}.pem', 'key': f'{d}/{site}.key', 'ca': f'{d}/ca.pem', **more}


def trusted(bed, d=None, handler=None, tls=None, options=None, **kw):
    """Three sites with certificates; tls(site): keys of mesh.tls beside, or instead of, the usual ones."""
    d = d or authority(bed, *SITES)
    daemons, origins = bed.three(handler=handler, options=options or {}, mesh_tls=lambda s: {
        **mesh_tls(d, s), **(tls(s) if tls else {})}, **kw)
    return d, daemons, origins


def scoped(daemon, scope, **kw):
    return ask(daemon.addr('image'), headers={'X-Scope': f'image: {scope}'}, **kw)


def test_sites_share_over_mutual_tls(bed):
    _, daemons, origins = trusted(bed)
    for site in SITES:
        eq(scoped(daemons['dc1'], site).body, site.encode(), 'served by')
    eq(origins['dc2'].last.get('X-Forwarded-Proto'), 'http', 'how the client came')
    wait_until(lambda: 'connected' == states(daemons['dc1'])['dc2'], 'dc2 is connected')


def states(daemon):
    return {s['name']: s['state'] for s in ask(daemon.admin, path='/v1/sites').json()['sites']}


def logged(daemon, text):
    wait_until(lambda: text in daemon.log(), f'{text!r} in the log of {daemon.site}')


def certificates(daemon):
    doc = ask(daemon.admin, path='/v1/certificates').json()
    return {c['use']: c for c in doc['certificates']}, doc['problem']


def reads_again(daemon, text='were read again'):
    """Calls what it is given and waits until the daemon says that it took it."""
    def run(change):
        before = daemon.log().count(text)
        change()
        wait_until(lambda: daemon.log().count(text) > before, f'{text!r} in the log of {daemon.site}')
    return run


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

def client_context(d, site=None, ca_file=None, version=ssl.TLSVersion.TLSv1_3):
    """As a peer that does not care whom it talks to; site: shows this certificate of d."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(ca_file or f'{d}/ca.pem')
    context.minimum_version = context.maximum_version = version
    if site:
        context.load_cert_chain(f'{d}/{site}.pem', f'{d}/{site}.key')
    return context


class TlsClient(harness.Client):
    def __init__(self, addr, context, session=None, name=None):
        super().__init__(addr)
        self.sock = context.wrap_socket(self.sock, session=session, server_hostname=name, suppress_ragged_eofs=False)
        self.reader = harness.Reader(self.sock)


PEER = {'X-Scopemesh-Service': 'image'}


def odd_certificate(d, name, san, days=10, uses='serverAuth,clientAuth'):
    """D/NAME.pem and .key, signed by the authority of d as the openssl command can."""
    ext = f'{d}/{name}.ext'
    with open(ext, 'w') as f:
        f.write(f'basicConstraints=critical,CA:FALSE\nextendedKeyUsage={uses}\n' +
                (f'subjectAltName={san}\n' if san else ''))
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', f'/CN={name}',
            '-keyout', f'{d}/{name}.key', '-out', f'{d}/{name}.csr')
    openssl('x509', '-req', '-in', f'{d}/{name}.csr', '-CA', f'{d}/ca.pem', '-CAkey', f'{d}/ca.key', '-days', days,
            '-extfile', ext, '-out', f'{d}/{name}.pem')


def refused(addr, context, **kw):
    """Whether a peer with this context gets no answer at all."""
    try:
        with TlsClient(addr, context, **kw) as c:
            c.ask(headers=PEER)
    except (OSError, ssl.SSLError, ConnectionError):
        return True
    return False


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

class TlsOrigin(harness.Origin):
    """An origin, or a peer, behind TLS; sessions: for each connection whether it was resumed."""

    def __init__(self, name, context, handler=None, **kw):
        self.context, self.sessions = context, []
        super().__init__(name, handler, **kw)

    def converse(self, sock):
        try:
            sock = self.context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False)
        except (ssl.SSLError, OSError):
            return
        self.sessions.append(sock.session_reused)
        super().converse(sock)


def server_context(d, name, ca_file=None, version=ssl.TLSVersion.TLSv1_3):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(f'{d}/{name}.pem', f'{d}/{name}.key')
    if ca_file:
        context.load_verify_locations(ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


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


def test_a_peer_asks_in_its_own_name_only(bed):
    """What sites tell each other: dc2's certificate gets nothing for a question in the name of dc3."""
    d, daemons, _ = trusted(bed)
    mesh = daemons['dc1'].listeners['mesh']

    def asks(path, site='dc2'):
        raw = socket.create_connection(mesh.rsplit(':', 1), 5)
        with client_context(d, site).wrap_socket(raw) as s:
            s.sendall(f'GET /.scopemesh/{path} HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
            return harness.Reader(s).message('GET')
    eq(asks('announcement?from=dc2').json()['site'], 'dc1')
    eq(asks('announcement?from=dc3').problem('not-allowed')['status'], 403)
    eq(asks('ping?from=dc3').status, 403)
    eq(asks('digest?from=dc1').status, 403)
    # fenced, with or without a certificate
    eq(ask(daemons['dc1'].admin, 'POST', '/v1/sites/dc2/fence', {'Content-Type': 'application/json'}, b'{}').status, 200)
    eq(asks('ping?from=dc2').status, 403)
    scoped(daemons['dc2'], 'dc1').problem('unreachable')
    eq(scoped(daemons['dc2'], 'dc1; dc3').status, 200, 'otherwise moves on')
    wait_until(lambda: 'barred' in str(sites_of(daemons['dc2'])['dc1']['reason']), 'dc2 learns that it is fenced')
    eq(ask(daemons['dc1'].admin, 'POST', '/v1/sites/dc2/unfence', {'Content-Type': 'application/json'}, b'{}').status, 200)
    wait_until(lambda: states(daemons['dc2'])['dc1'] == 'connected', 'the way is open again')


def test_a_certificate_that_is_refused_has_a_reason_of_its_own(bed):
    d = authority(bed, *SITES)
    other = authority(bed, 'dc3', name='other')
    _, daemons, _ = trusted(bed, d, tls=lambda s: mesh_tls(other, 'dc3') if s == 'dc3' else {})
    wait_until(lambda: states(daemons['dc1'])['dc3'] == 'disconnected', 'dc3 is not believed')
    assert 'untrusted' in sites_of(daemons['dc1'])['dc3']['reason'], sites_of(daemons['dc1'])['dc3']
    logged(daemons['dc1'], 'site dc3: no TLS connection')
    eq(states(daemons['dc1'])['dc2'], 'connected')


def sites_of(daemon):
    return {s['name']: s for s in ask(daemon.admin, path='/v1/sites').json()['sites']}


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
            one.stop()
    origin = TlsOrigin('dc1', server_context(d, 'address'), host='127.0.0.9')
    bed.servers.append(origin)
    one = bed.daemon('dc1', {'image': {'instances': [f'https://{origin.addr}'], 'upstream_tls': {'ca': f'{d}/ca.pem'},
                                       'health': {'path': '/health', 'interval': '100ms', 'rise': 1}}})
    wait_until(lambda: 'up' in ask(one.admin, path='/v1/services').body.decode(), 'the probe finds it up')
    eq(ask(one.addr('image')).status, 200, 'by its address')


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
