#!/usr/bin/python3
"""The registry of real processes: what sites tell each other, the file that is watched, the marks of operators."""
import json
import os
import shutil
import stat
import time

import harness
from harness import answer, ask, eq, wait_until, yaml_value
from pairs import Load, Pairs
from trusted import SITES, TlsClient, authority, client_context, logged, mesh_tls, scoped, states, trusted


def services(pairs, here):
    """{(site, service): [instances]} as here shows it."""
    doc = ask(pairs.sites[here].admin, path='/v1/services').json()
    return {(s['site'], s['service']): s['instances'] for s in doc['services']}


# --- what sites tell each other --------------------------------------------------------------------

def test_services_and_health_of_others_are_shown(bed):
    pairs = Pairs(bed, ('dc1', 'dc2', 'dc3'), options={
        'health': {'path': '/health', 'interval': '100ms', 'timeout': '500ms', 'rise': 1, 'fall': 1}})
    pairs.wait_connected()
    want = {(n, 'image') for n in pairs.names}
    for here in pairs.names:
        wait_until(lambda h=here: set(services(pairs, h)) == want, f'services of all at {here}')

    def health(here, of):
        return [i['health'] for i in services(pairs, here)[of, 'image']]
    wait_until(lambda: health('dc1', 'dc2') == ['up'], 'health of another site')
    eq(services(pairs, 'dc1')['dc2', 'image'][0]['url'], pairs.origins['dc2'].url)
    eq(pairs.seen('dc1', 'dc2')['services'], ['image'])
    pairs.origins['dc2'].handler = lambda r, s: answer('no', '500 Internal Server Error')
    wait_until(lambda: health('dc2', 'dc2') == ['down'], 'health at its own site')
    started = time.monotonic()
    wait_until(lambda: health('dc1', 'dc2') == ['down'], 'the change of health is told')
    told = time.monotonic() - started
    since = services(pairs, 'dc1')['dc2', 'image'][0]['since']
    assert since and since.endswith('Z'), since
    # a service that is taken away, by a reload
    d = pairs.sites['dc3']
    with open(d.config_path) as f:
        text = f.read()
    with open(d.config_path, 'w') as f:
        f.write(text.replace('image', 'picture'))
    eq(ask(d.admin, 'POST', '/v1/reload', headers={'Content-Type': 'application/json'}, body=b'{}').status, 200)
    started = time.monotonic()
    wait_until(lambda: ('dc3', 'picture') in services(pairs, 'dc1') and ('dc3', 'image') not in services(pairs, 'dc1'),
               'the change of services is told')
    print(f'     a change of health is told after {told:.1f} s, of services after {time.monotonic() - started:.1f} s')


def test_load_is_told(bed):
    pairs = Pairs(bed, ('dc1', 'dc2'))
    pairs.wait_connected()
    held = []
    pairs.origins['dc2'].handler = lambda r, s: held.append(s) or time.sleep(9) or answer('late')
    clients = [harness.Client(pairs.sites['dc2'].addr('image')) for _ in range(5)]
    for c in clients:
        c.send('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n')
    wait_until(lambda: len(held) == 5, 'requests are outstanding')
    wait_until(lambda: services(pairs, 'dc1')[('dc2', 'image')][0]['load'] == 8, 'load, in powers of two, is told')
    for c in clients:
        c.close()


def test_what_only_others_reach_comes_through_them(bed):
    pairs = Pairs(bed, ('dc1', 'dc2', 'dc3'), without=[('dc1', 'dc3')])
    wait_until(lambda: ('dc3', 'image') in services(pairs, 'dc1'), 'services of a site that cannot be asked', 15)
    eq(pairs.state('dc1', 'dc3'), 'disconnected')
    # and its distance from dc2, so that around another site works as well
    wait_until(lambda: pairs.expansion('dc1', 'image:around(dc2, 30ms)')[-1] == 'dc3', 'dc3 is near dc2', 15)


def test_a_site_that_lost_its_state_is_believed_again(bed):
    pairs = Pairs(bed, ('dc1', 'dc2'))
    pairs.wait_connected()
    wait_until(lambda: ('dc2', 'image') in services(pairs, 'dc1'), 'services')
    d = pairs.sites['dc2']
    identity = os.path.join(d.dir, 'state', 'identity.json')
    with open(identity) as f:
        before = json.load(f)
    d.stop()
    # an epoch of tomorrow, as after a clock that was wrong
    with open(identity, 'w') as f:
        json.dump({**before, 'epoch': before['epoch'] + 86400000}, f)
    d.start()
    pairs.wait_connected()
    with open(identity) as f:
        eq(json.load(f)['epoch'], before['epoch'] + 86400001, 'an epoch only grows')
    wait_until(lambda: ('dc2', 'image') in services(pairs, 'dc1'), 'services')
    time.sleep(1.5)
    d.stop()
    os.unlink(identity)
    with open(d.config_path) as f:
        text = f.read()
    with open(d.config_path, 'w') as f:
        f.write(text.replace('image', 'picture'))
    d.start()
    wait_until(lambda: ('dc2', 'picture') in services(pairs, 'dc1'), 'what it announces after the loss', 15)
    with open(identity) as f:
        assert json.load(f)['epoch'] > before['epoch'] + 86400001
    assert 'newer than its own' in d.log()


def test_no_claim_of_a_peer_uses_up_a_sites_epochs(bed):
    pairs = Pairs(bed, ('dc1', 'dc2'))
    pairs.wait_connected()
    d, mesh = pairs.sites['dc1'], pairs.mesh['dc1']

    def ping(epoch):
        return ask(mesh, path=f'/.scopemesh/ping?from=dc2&epoch={epoch}&generation=1').json()['epoch']
    first = ping(0)
    for too_great in (2 ** 53 + 1, 2 ** 53, 2 ** 52 + 1):
        eq(ping(too_great), first)
    time.sleep(1.2)     # two turns of what would act on it
    eq(ping(0), first, 'what no site can have been told')
    ping(2 ** 52)
    wait_until(lambda: ping(0) == 2 ** 52 + 1, 'the greatest one that is believed is outdone')
    said = d.log().count('newer than its own')
    end = time.monotonic() + 2
    while time.monotonic() < end:
        ping(2 ** 52 + 1)
        ping(2 ** 52)
        time.sleep(0.1)
    eq(d.log().count('newer than its own'), said, 'lines in the log')
    wait_until(lambda: ('dc1', 'image') in services(pairs, 'dc2') and pairs.seen('dc2', 'dc1')['state'] == 'connected',
               'the others believe it still')


def test_who_is_not_in_the_registry_is_told_nothing(bed):
    pairs = Pairs(bed, ('dc1', 'dc2'))
    pairs.wait_connected()
    mesh = pairs.mesh['dc1']
    for path in ('ping', 'announcement', 'digest'):
        eq(ask(mesh, path=f'/.scopemesh/{path}?from=nobody').problem('not-allowed')['status'], 403)
        eq(ask(mesh, path=f'/.scopemesh/{path}?from=dc1').status, 403, 'nor is who says that he is the site itself')
        eq(ask(mesh, path=f'/.scopemesh/{path}?from=dc2').status, 200)
        eq(ask(mesh, path=f'/.scopemesh/{path}').status, 204)
    eq(ask(mesh, path='/.scopemesh/other?from=dc2').status, 404)
    eq(ask(mesh, path='/.scopemesh/announcement?from=dc2&site=dc9').status, 404)
    doc = ask(mesh, path='/.scopemesh/announcement?from=dc2').json()
    eq(doc['site'], 'dc1')
    eq([s['name'] for s in doc['services']], ['image'])
    assert not any('.scopemesh' in line for line in pairs.sites['dc1'].access()), 'pings are no requests'


def test_another_site_at_the_address_is_a_stranger(bed):
    pairs = Pairs(bed, ('dc1', 'dc2', 'dc3'))
    pairs.wait_connected()
    pairs.links['dc1', 'dc2'].target = pairs.mesh['dc3']
    pairs.links['dc1', 'dc2'].cut()
    pairs.links['dc1', 'dc2'].heal()
    pairs.wait_state('dc1', 'dc2', 'disconnected')
    assert 'stranger' in pairs.seen('dc1', 'dc2')['reason'], pairs.seen('dc1', 'dc2')


# --- the file --------------------------------------------------------------------------------------

def test_edits_of_the_file_under_load(bed):
    pairs = Pairs(bed, ('dc1', 'dc2', 'dc3'))
    pairs.wait_connected()
    d, path = pairs.sites['dc1'], os.path.join(pairs.sites['dc1'].dir, 'sites.yaml')
    whole = pairs.registry('dc1')
    load = Load(pairs, 'dc1', 'image: dc2')
    wait_until(lambda: len(load.answers) > 20, 'requests get through')

    def edit(text):
        with open(path + '.new', 'w') as f:
            f.write(text)
        os.rename(path + '.new', path)
        return time.monotonic()
    # bad: said with its place, and the last good table stays
    edit('sites:\n  dc2: {msh: "127.0.0.1:1"}\n')
    wait_until(lambda: 'sites.yaml:2:9: unknown key "msh"' in d.log(), 'the place of the mistake')
    edit(pairs.registry('dc1', dc2={'mesh': pairs.links['dc1', 'dc3'].addr}))
    wait_until(lambda: 'has the same address as' in d.log(), 'the second mistake')
    eq(pairs.get('dc1', 'image: dc3').body, b'dc3')
    # a site that is known and reached by nobody
    edit(pairs.registry('dc1', dc8={}))
    wait_until(lambda: pairs.get('dc1', 'image: dc8').status == 503, 'a site without an address')
    eq(pairs.state('dc1', 'dc8'), 'unknown')
    eq(pairs.post('dc1', 'dc8', 'fence').json()['state'], 'fenced')
    # emptied and put back, in one breath and one after the other
    edit('')
    eq(pairs.get('dc1', 'image: dc2').body, b'dc2', 'a file that is being written is not read half')
    edit(whole)
    # good: a site of another name, at an address of its own
    at = edit(pairs.registry('dc1', dc9={'mesh': pairs.address()}))
    wait_until(lambda: pairs.get('dc1', 'image: dc9').status == 503, 'the new site is known')
    took = time.monotonic() - at
    edit(whole)
    wait_until(lambda: pairs.get('dc1', 'image: dc9').status == 400, 'and gone again')
    load.stop()
    eq(load.failures, [], 'requests that failed')
    print(f'     from the edit to the first request that uses it: {took:.2f} s; {len(load.answers)} requests meanwhile')


def test_a_site_that_moves_is_followed(bed):
    pairs = Pairs(bed, ('dc1', 'dc2'))
    pairs.wait_connected()
    path = os.path.join(pairs.sites['dc1'].dir, 'sites.yaml')
    other = bed.relay(pairs.mesh['dc2'])
    with open(path, 'w') as f:
        f.write(pairs.registry('dc1', dc2={'mesh': other.addr}))
    pairs.links['dc1', 'dc2'].cut()
    wait_until(lambda: pairs.seen('dc1', 'dc2')['mesh'] == other.addr and pairs.state('dc1', 'dc2') == 'connected',
               'the site at its new address')
    eq(pairs.get('dc1', 'image: dc2').body, b'dc2')


# --- marks of operators ------------------------------------------------------------------------------

def test_a_fence_forbids_all_traffic_and_survives_a_kill(bed):
    pairs = Pairs(bed, ('dc1', 'dc2', 'dc3'), labels={n: {'zone': 'a'} for n in ('dc1', 'dc2', 'dc3')})
    pairs.wait_connected()
    doc = pairs.post('dc1', 'dc2', 'fence').json()
    eq((doc['name'], doc['state'], doc['fenced_by'], doc['marks']), ('dc2', 'fenced', ['dc1'], ['fenced']))
    p = pairs.get('dc1', 'image: dc2').problem('unreachable')
    eq((p['status'], p['site']), (503, 'dc2'))
    eq(pairs.get('dc1', 'image: dc2; dc3').body, b'dc3', '; moves on')
    eq(set(pairs.expansion('dc1', 'image:any(zone=a)')), {'dc1', 'dc3'})
    eq(pairs.expansion('dc1', 'image:around(dc1, 1s)').count('dc2'), 0)
    # what it asks of us is refused, and it moves on as well
    pairs.get('dc2', 'image: dc1').problem('unreachable')
    eq(pairs.get('dc2', 'image: dc1; dc3').body, b'dc3')
    # the others see it; the one that is fenced learns why nobody answers
    wait_until(lambda: pairs.seen('dc3', 'dc2')['fenced_by'] == ['dc1'], 'others see who fenced it')
    eq(pairs.state('dc3', 'dc2'), 'connected')
    wait_until(lambda: 'barred' in (pairs.seen('dc2', 'dc1')['reason'] or ''), 'the fenced site sees that it is')
    before = len(pairs.origins['dc2'].requests)
    d = pairs.sites['dc1']
    d.kill()
    d.start()
    eq(pairs.get('dc1', 'image: dc2').problem('unreachable')['status'], 503, 'in force from the first request on')
    eq(pairs.state('dc1', 'dc2'), 'fenced')
    eq(len(pairs.origins['dc2'].requests), before)
    path = os.path.join(d.dir, 'state', 'marks.json')
    eq(stat.S_IMODE(os.stat(path).st_mode), 0o600)
    assert not os.path.exists(path + '.new')
    pairs.post('dc1', 'dc2', 'unfence')
    pairs.wait_state('dc1', 'dc2', 'connected')
    eq(pairs.get('dc1', 'image: dc2').body, b'dc2')
    wait_until(lambda: pairs.seen('dc3', 'dc2')['fenced_by'] == [], 'others see that it is over')
    pairs.wait_state('dc2', 'dc1', 'connected')


def test_an_autonomous_site_never_fails(bed):
    pairs = Pairs(bed, ('dc1', 'dc2', 'dc3'), timeouts={'fail_after': '3s'})
    pairs.wait_connected()
    eq(pairs.post('dc1', 'dc2', 'autonomous').json()['state'], 'autonomous')
    eq(pairs.get('dc1', 'image: dc2').body, b'dc2', 'traffic goes on')
    for pair, link in pairs.links.items():
        if 'dc2' in pair:
            link.pause()
    pairs.wait_state('dc3', 'dc2', 'failed', 20)
    eq((pairs.state('dc1', 'dc2'), pairs.seen('dc1', 'dc2')['reachable']), ('autonomous', False))
    pairs.post('dc1', 'dc2', 'attended')
    pairs.wait_state('dc1', 'dc2', 'failed', 20)


def test_a_detached_site_returns_as_an_empty_one(bed):
    pairs = Pairs(bed, ('dc1', 'dc2'))
    pairs.wait_connected()
    wait_until(lambda: ('dc2', 'image') in services(pairs, 'dc1'), 'its incarnation is known')
    doc = pairs.post('dc1', 'dc2', 'detach').json()
    eq((doc['state'], doc['marks']), ('failed', ['detached']))
    pairs.get('dc1', 'image: dc2').problem('unreachable')
    d = pairs.sites['dc2']
    d.stop()
    d.start()
    time.sleep(2.5)
    eq(pairs.state('dc1', 'dc2'), 'failed', 'the same one stays out')
    d.stop()
    shutil.rmtree(os.path.join(d.dir, 'state'))
    d.start()
    pairs.wait_state('dc1', 'dc2', 'connected')
    assert 'come back as an empty one' in pairs.sites['dc1'].log()
    eq(pairs.get('dc1', 'image: dc2').body, b'dc2')


def test_who_may_set_a_mark_and_on_whom(bed):
    pairs = Pairs(bed, ('dc1', 'dc2'))
    p = pairs.post('dc1', 'dc3', 'fence').problem('unknown-site')
    eq((p['status'], p['known']), (404, ['dc2']))
    eq(pairs.post('dc1', 'dc1', 'fence').problem('bad-request')['status'], 400)
    eq(pairs.post('dc1', 'dc2', 'burn').status, 404)
    eq(pairs.post('dc1', '', 'fence').status, 404)
    eq(pairs.post('dc1', 'dc%zz', 'fence').status, 400)
    eq(ask(pairs.sites['dc1'].admin, path='/v1/sites/dc2/fence').status, 405)
    for headers in ({'Content-Type': 'text/plain'}, {'Content-Type': 'application/json', 'Origin': 'http://evil'},
                    {'Content-Type': 'application/json', 'Host': 'evil'}):
        eq(pairs.post('dc1', 'dc2', 'fence', headers).problem('not-allowed')['status'], 403)
    assert pairs.state('dc1', 'dc2') != 'fenced'
    # a mark that cannot be stored is not in force
    state = os.path.join(pairs.sites['dc1'].dir, 'state')
    os.mkdir(os.path.join(state, 'marks.json.new'))
    r = pairs.post('dc1', 'dc2', 'fence')
    eq(r.problem('internal')['status'], 500)
    assert 'marks.json' in r.problem('internal')['detail']
    assert pairs.state('dc1', 'dc2') != 'fenced'
    os.rmdir(os.path.join(state, 'marks.json.new'))


def test_damaged_marks_stop_the_start(bed):
    pairs = Pairs(bed, ('dc1', 'dc2'))
    d = pairs.sites['dc1']
    pairs.post('dc1', 'dc2', 'fence')
    d.stop()
    path = os.path.join(d.dir, 'state', 'marks.json')
    with open(path, 'w') as f:
        f.write('{"sites": ')
    d.start(wait=False)
    eq(d.process.wait(harness.DEADLINE), 3, 'exit status')
    assert 'marks.json:1:' in d.log(), d.log()


# --- over TLS ------------------------------------------------------------------------------------------

def test_a_peer_asks_in_its_own_name_only(bed):
    """What sites tell each other: dc2's certificate gets nothing for a question in the name of dc3."""
    d, daemons, _ = trusted(bed)
    mesh = daemons['dc1'].listeners['mesh']

    def asks(path, site='dc2'):
        with TlsClient(mesh, client_context(d, site)) as c:
            return c.ask(path='/.scopemesh/' + path)
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
    wait_until(lambda: states(daemons['dc1'])['dc2'] == 'connected', 'the one with a good certificate')


def sites_of(daemon):
    return {s['name']: s for s in ask(daemon.admin, path='/v1/sites').json()['sites']}


if __name__ == '__main__':
    harness.main(globals())
