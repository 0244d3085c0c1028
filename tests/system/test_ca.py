#!/usr/bin/python3
"""The authority of `scopectl ca`: what it makes, what it keeps, what it refuses."""
import os
import stat
import subprocess

import harness
from harness import ca, eq, openssl


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


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


if __name__ == '__main__':
    harness.main(globals())
