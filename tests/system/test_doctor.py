#!/usr/bin/python3
"""scopectl doctor: every check, when all is well and when it is not, of real daemons (spec section 6)."""
import os
import re
import shutil
import signal
import subprocess
import threading
import time

import harness
from harness import Daemon, Skip, answer, ask, ca, eq, run_program, wait_until, yaml_value
from pairs import Pairs
from trusted import SITES, authority, mesh_tls, odd_certificate, trusted


def doctor(daemon, *args, admin=None):
    p = run_program(harness.SCOPECTL, '--admin', admin or f'http://{daemon.admin}', 'doctor', *args, timeout=30)
    return p.returncode, p.stdout + p.stderr


def finds(daemon, mark, check, text, hint='', code=1, seconds=None, **kw):
    """Waits for a line of the table, and for the exit status that goes with it."""
    line = re.compile(rf'^{mark} {re.escape(check)} +.*{re.escape(text)}.*' + (rf'\n +hint: .*{re.escape(hint)}' if hint else ''),
                      re.M)
    last = []

    def look():
        last[:] = doctor(daemon, **kw)
        return line.search(last[1])
    try:
        wait_until(look, f'{mark} {check} {text}', seconds)
    except AssertionError as e:
        raise AssertionError(f'{e}\n{last[1]}') from e
    eq(last[0], code, last[1])
    return last[1]


def test_all_is_well(bed):
    d, daemons, _ = trusted(bed)
    for site in ('dc2', 'dc3'):
        finds(daemons['dc1'], '✓', f'clock of {site}', ' ms', code=0)
    out = finds(daemons['dc1'], '✓', 'site dc2', 'connected', code=0)
    for line in ('way from dc2 +it reaches this site', 'daemon +ready; scopemeshd .* of site dc1', 'configuration .*site.yaml, in force', r'listening .*\(mesh\)',
                 r'listening .*\(services\)', r'listening .*\(admin\)', 'certificate +mesh: .*dc1.pem, for site dc1: 82[45] days left',
                 r'certificate +mesh-ca: .*ca.pem: \d+ days left', r'key .*dc1.key, mode 600', 'site dc1 +here',
                 r'site dc2 +connected, \d+\.\d ms, scopemeshd \d', r'clock of dc2 +[+-]\d+ ms',
                 r'service image +1 instance \(not probed', r'state .*/state: \d+ MiB free', 'access log +-',
                 r'descriptors +\d+ of \d+ in use', 'carriers '):
        assert re.search(f'^✓ {line}', out, re.M), (line, out)
    assert '✗' not in out, out
    doc = harness.json.loads(doctor(daemons['dc1'], '--json')[1])
    eq((doc['good'], {f['outcome'] for f in doc['findings']}), (True, {'good'}))
    own = ask(daemons['dc1'].admin, path='/v1/doctor').json()
    eq((own['site'], own['good'], sorted(own['findings'][0])), ('dc1', True, ['check', 'hint', 'outcome', 'text']))


def test_no_daemon_is_3(bed):
    eq(doctor(None, admin=f'http://127.0.0.1:{harness.free_port()}')[0], 3)


def test_a_daemon_that_is_about_to_stop(bed):
    go_on = threading.Event()
    o = bed.origin('o', lambda r, s: go_on.wait(harness.DEADLINE) and answer('late'))
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    client = threading.Thread(target=lambda: ask(d.addr('image')), daemon=True)
    client.start()
    wait_until(lambda: o.requests, 'the request is under way')
    d.signal(signal.SIGTERM)
    finds(d, '✗', 'daemon', 'draining')
    go_on.set()


def test_the_configuration_as_a_reload_would_find_it(bed):
    registry = bed.write('dc1/sites.yaml', yaml_value({'sites': {'dc1': {}}}))
    d = bed.daemon('dc1', {'image': {}}, registry=registry)
    with open(d.config_path) as f:
        good = f.read()
    bed.write('dc1/site.yaml', good + 'lables: {}\n')
    out = finds(d, '✗', 'configuration', 'site.yaml:', 'scopemeshd --check')
    assert 'lables' in out, out
    bed.write('dc1/site.yaml', good + 'timeouts: {connect: 1s}\n')
    finds(d, '·', 'configuration', 'has changed since it was read; a reload would take 1 option', code=0)
    bed.write('dc1/site.yaml', good.replace('"./state"', '"./state2"'))
    finds(d, '✗', 'configuration', 'waits for a restart: state', 'restart the daemon')
    taken = harness.Server(lambda s: None)
    bed.servers.append(taken)
    bed.write('dc1/site.yaml', good.replace('127.0.0.1:0', taken.addr, 1))
    finds(d, '✗', 'configuration', f'cannot listen on {taken.addr}')
    bed.write('dc1/site.yaml', good)
    finds(d, '✓', 'configuration', 'in force', code=0)
    bed.write('dc1/sites.yaml', 'sites: [')
    finds(d, '✗', 'configuration', 'sites.yaml:2:1: ')
    assert 'changed:' not in d.log() and 'reload' not in d.log(), 'asking changes nothing\n' + d.log()


def test_certificates_and_keys(bed):
    d = authority(bed, *SITES)
    ca('issue', 'dc1', '--dir', d, '--days', 5)
    ca('issue', 'dc2', '--dir', d, '--days', 20)
    _, daemons, _ = trusted(bed, d)
    one, two = daemons['dc1'], daemons['dc2']
    finds(one, '✗', 'certificate', 'days left', 'scopectl ca issue')
    finds(two, '·', 'certificate', 'days left', code=0)
    ca('issue', 'dc1', '--dir', d)
    finds(one, '✓', 'certificate', 'mesh: ', code=0)
    os.chmod(f'{d}/dc1.key', 0o644)
    finds(one, '✗', 'key', 'everybody on this machine may read it (mode 644)', 'chmod 600')
    os.chmod(f'{d}/dc1.key', 0o600)
    finds(one, '✓', 'key', 'mode 600', code=0)
    shutil.copy(f'{d}/dc2.pem', f'{d}/dc1.pem')
    finds(one, '✗', 'certificates', 'dc1.pem', 'what is in force stays')
    os.unlink(f'{d}/dc1.key')
    finds(one, '✗', 'key', 'is not there any more')


def test_a_certificate_for_clients(bed):
    d = authority(bed)
    odd_certificate(d, 'front', 'DNS:image.example,IP:192.0.2.1,URI:https://no.host', days=20)
    odd_certificate(d, 'nobody', None, days=400)
    tls = {n: {'tls': {'cert': f'{d}/{f}.pem', 'key': f'{d}/{f}.key'}} for n, f in (('image', 'front'), ('compute', 'nobody'))}
    one = bed.daemon('dc1', tls)
    finds(one, '·', 'certificate', 'service image: ' + f'{d}/front.pem, for image.example, 192.0.2.1: 19 days left', code=0)
    finds(one, '✓', 'certificate', 'nobody.pem, for no host by name', code=0)


def test_a_site_that_is_not_reached(bed):
    _, daemons, _ = trusted(bed)
    finds(daemons['dc1'], '✓', 'site dc2', 'connected', code=0)
    daemons['dc2'].kill()
    finds(daemons['dc1'], '✗', 'site dc2', 'refused', 'is its daemon running')


def test_a_site_with_another_authority(bed):
    """Neither end believes the other."""
    d, stranger = authority(bed, *SITES), authority(bed, 'dc2', name='stranger')
    _, daemons, _ = trusted(bed, d, tls=lambda s: mesh_tls(stranger, s) if s == 'dc2' else {})
    finds(daemons['dc1'], '✗', 'site dc2', 'untrusted')


def test_a_site_that_does_not_reach_us(bed):
    pairs = Pairs(bed, ('dc1', 'dc2'))
    pairs.wait_connected()
    pairs.links['dc2', 'dc1'].cut()
    finds(pairs.sites['dc1'], '✗', 'way from dc2', 'it says that it does not reach this site', "this site's mesh address")
    assert re.search('^✓ site dc2', doctor(pairs.sites['dc1'])[1], re.M)


def test_marks_of_operators_are_no_failure(bed):
    pairs = Pairs(bed, ('dc1', 'dc2', 'dc3'))
    pairs.wait_connected()
    eq(pairs.post('dc1', 'dc2', 'fence').status, 200)
    finds(pairs.sites['dc1'], '·', 'site dc2', 'fenced by an operator here', code=0)
    finds(pairs.sites['dc2'], '✗', 'site dc1', 'barred')
    eq(pairs.post('dc1', 'dc3', 'autonomous').status, 200)
    pairs.links['dc1', 'dc3'].cut()
    finds(pairs.sites['dc1'], '·', 'site dc3', 'autonomous: not reached at present', code=0)


def test_ones_own_link_that_is_down(bed):
    pairs = Pairs(bed, ('dc1', 'dc2', 'dc3'))
    pairs.wait_connected()
    for pair, link in pairs.links.items():
        if 'dc1' in pair:
            link.pause()
    finds(pairs.sites['dc1'], '✗', 'sites', 'most sites were lost together', "this site's own link", seconds=20)


class Peer:
    """Answers pings as a site dc2 of another release, or with another clock."""

    def __init__(self, bed):
        self.late_ms, self.refuses = 0, False
        self.origin = bed.origin('dc2', self.answer)
        registry = bed.write('dc1/sites.yaml', yaml_value({'sites': {'dc1': {}, 'dc2': {'mesh': self.origin.addr}, 'dc9': {}}}))
        self.site = bed.daemon('dc1', {'image': {}}, mesh=harness.mesh_addr(), registry=registry)

    def answer(self, request, _):
        if self.refuses:
            doc = {'type': 'urn:scopemesh:version', 'title': 'Version', 'status': 503}
            return answer(harness.json.dumps(doc), '503 Service Unavailable', [('Content-Type', 'application/problem+json')])
        if not request.path.startswith('/.scopemesh/ping'):
            return answer('', '404 Not Found')
        return answer(harness.json.dumps({'site': 'dc2', 'epoch': 1, 'generation': 1, 'heard_ms': 10, 'release': '99.1',
                                          'time_ms': int(time.time() * 1000) - self.late_ms}))


def test_clocks(bed):
    peer = Peer(bed)
    finds(peer.site, '✓', 'clock of dc2', 'ms to this', code=0)
    peer.late_ms = 90_500
    finds(peer.site, '✗', 'clock of dc2', "90 s behind this site's", 'NTP')
    peer.late_ms = -3_600_500
    finds(peer.site, '✗', 'clock of dc2', "3600 s ahead of this site's")
    peer.late_ms = 50_000
    finds(peer.site, '✓', 'clock of dc2', '-', code=0)


def test_releases_and_versions(bed):
    peer = Peer(bed)
    finds(peer.site, '·', 'release of dc2', '99.1 there', code=0)
    finds(peer.site, '·', 'site dc9', 'no mesh address', code=0)
    peer.refuses = True
    finds(peer.site, '✗', 'site dc2', 'speaks no version', 'upgrade the one')
    peer.refuses = False
    finds(peer.site, '✓', 'site dc2', 'scopemeshd 99.1', code=0)


def test_the_state_folder(bed):
    d = bed.daemon('dc1', {'image': {}})
    state = f'{d.dir}/state'
    os.chmod(state, 0o755)
    finds(d, '✗', 'state', 'is open to others (mode 755)', 'chmod 700')
    os.chmod(state, 0o700)
    finds(d, '✓', 'state', 'MiB free', code=0)
    os.rename(state, f'{d.dir}/elsewhere')
    finds(d, '✗', 'state', 'No such file', "operators' marks cannot be stored")


def namespaced(kind, before):
    """Starts a daemon in a namespace of its own, after the commands of before."""
    if os.geteuid() != 0 or run_program('unshare', kind, 'true').returncode != 0:
        raise Skip(f'no right to make a namespace (unshare {kind})')

    def popen(argv, **kw):
        return subprocess.Popen(['unshare', kind, 'sh', '-ec', before + '\nexec "$@"', 'sh', *argv], **kw)
    return popen


def test_a_disk_that_is_full(bed):
    for site, size, text in (('dc1', 'size=1m', ' MiB free'), ('dc2', 'size=200m,nr_inodes=30', ' files can be made')):
        os.makedirs(f'{bed.dir}/{site}/state')
        d = bed.daemon(site, {'image': {}},
                       popen=namespaced('-m', f'mount -t tmpfs -o {size},mode=700 none {bed.dir}/{site}/state'))
        finds(d, '✗', 'state', text, 'make room')


def test_an_address_that_is_gone(bed):
    socket = f'{bed.dir}/admin.sock'
    if not shutil.which('ip'):
        raise harness.Skip('no ip command')
    popen = namespaced('-n', 'ip link set lo up; ip address add 192.0.2.1/32 dev lo')
    d = Daemon(bed, 'dc1', bed.config('dc1', {'image': {'listen': '192.0.2.1:80'}}).replace('127.0.0.1:0', f'unix:{socket}'),
               popen=popen)
    finds(d, '✓', 'listening', '192.0.2.1:80 (services)', code=0, admin=f'unix:{socket}')
    run_program('nsenter', '-t', d.process.pid, '-n', 'ip', 'address', 'del', '192.0.2.1/32', 'dev', 'lo')
    finds(d, '✗', 'listening', '192.0.2.1:80 (services): nobody can reach it', 'put the address back', admin=f'unix:{socket}')


def test_instances(bed):
    a, b = bed.origin('a'), bed.origin('b')
    d = bed.daemon('dc1', {'image': {'instances': [a.url, b.url], 'health': {
        'path': '/', 'interval': '50ms', 'timeout': '1s', 'rise': 1, 'fall': 1}}})
    finds(d, '✓', 'service image', '2 instances', code=0)
    a.stop()
    finds(d, '✗', 'service image', '1 of 2 instances are down', 'scopectl services')
    b.stop()
    finds(d, '✗', 'service image', 'all 2 instances are down', 'is the service running')


def test_the_access_log(bed):
    log = f'{bed.dir}/a.log'
    d = bed.daemon('dc1', {'image': {}}, log={'access': log})
    finds(d, '✓', 'access log', log, code=0)
    os.rename(log, log + '.1')
    finds(d, '✗', 'access log', 'is not the file that is written', 'scopectl reload')
    d.signal(signal.SIGUSR1)
    finds(d, '✓', 'access log', log, code=0)
    full = bed.daemon('dc2', {'image': {}}, log={'access': '/dev/full'})
    ask(full.addr('image'))
    finds(full, '✗', 'access log', 'cannot be written', 'their lines are lost')


def test_descriptors(bed):
    d = bed.daemon('dc1', {'image': {}},
                   popen=lambda argv, **kw: subprocess.Popen(['prlimit', '--nofile=256', *argv], **kw))
    finds(d, '✗', 'descriptors', '256 are too few for limits.connections (10000)', 'LimitNOFILE')


if __name__ == '__main__':
    harness.main(globals())
