"""What tests of trust share: authorities and odd certificates, sites that have them, peers and origins behind TLS."""
import os
import ssl
import warnings

import harness
from harness import ask, ca, openssl, wait_until

warnings.filterwarnings('ignore', category=DeprecationWarning)     # old versions of TLS are tried on purpose
# Memory that is free is to look so in a sanitized build too.
os.environ['ASAN_OPTIONS'] = os.environ.get('ASAN_OPTIONS', '') + ':quarantine_size_mb=1'


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
