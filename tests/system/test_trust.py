#!/usr/bin/python3
"""Who is believed: the authority of `scopectl ca`, TLS between sites, to clients and to instances, and what a peer,
a client or a site may do.  Certificates come from `scopectl ca`; only odd ones from the openssl command."""
import os
import stat
import subprocess
import threading

import harness
from harness import eq, run_program


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
    return harness.ask(daemon.addr('image'), headers={'X-Scope': f'image: {scope}'}, **kw)


def test_sites_share_over_mutual_tls(bed):
    _, daemons, origins = trusted(bed)
    for site in SITES:
        eq(scoped(daemons['dc1'], site).body, site.encode(), 'served by')
    eq(origins['dc2'].last.get('X-Forwarded-Proto'), 'http', 'how the client came')
    harness.wait_until(lambda: 'connected' == states(daemons['dc1'])['dc2'], 'dc2 is connected')


def states(daemon):
    return {s['name']: s['state'] for s in harness.ask(daemon.admin, path='/v1/sites').json()['sites']}


def logged(daemon, text):
    harness.wait_until(lambda: text in daemon.log(), f'{text!r} in the log of {daemon.site}')


def certificates(daemon):
    doc = harness.ask(daemon.admin, path='/v1/certificates').json()
    return {c['use']: c for c in doc['certificates']}, doc['problem']


def reads_again(daemon, text='were read again'):
    """Calls what it is given and waits until the daemon says that it took it."""
    def run(change):
        before = daemon.log().count(text)
        change()
        harness.wait_until(lambda: daemon.log().count(text) > before, f'{text!r} in the log of {daemon.site}')
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
            harness.wait_until(lambda: all(c[0] > n + 50 for (_, _, c), n in zip(loads, counts)), 'more requests')
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


if __name__ == '__main__':
    harness.main(globals())
