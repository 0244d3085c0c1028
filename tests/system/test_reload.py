#!/usr/bin/python3
"""A reload takes everything but what needs a restart, drops nothing, and changes nothing when it is refused
(spec section 6: SIGHUP, POST /v1/reload; who may call the admin interface)."""
import json
import os
import re
import signal
import threading
import time

import harness
from harness import Client, answer, ask, eq, free_port, wait_until

JSON = {'Content-Type': 'application/json'}


def reload(d, headers=None, body=b'{}'):
    return ask(d.admin, 'POST', '/v1/reload', headers if headers is not None else JSON, body)


def good(d):
    r = reload(d)
    eq(r.status, 200, r)
    return r.json()


class Site:
    """A daemon whose configuration is written anew before each reload."""

    def __init__(self, bed, services, **top):
        self.bed, self.admin = bed, f'127.0.0.1:{free_port()}'
        self.d = bed.daemon('dc1', services, **self.fixed(top))

    def fixed(self, top):
        return {'admin': {'listen': self.admin}, **top}

    def write(self, services, **top):
        self.bed.write('dc1/site.yaml', self.bed.config('dc1', services, **self.fixed(top)))

    def take(self, services, **top):
        self.write(services, **top)
        return good(self.d)


def at(port, **more):
    return {'listen': f'127.0.0.1:{port}', **more}


def refused(addr):
    try:
        Client(addr, 1).close()
    except OSError:
        return True


# --- what changes ----------------------------------------------------------------------------------

def test_a_service_and_its_listener_come_and_go(bed):
    a, b = bed.origin('a'), bed.origin('b')
    p, q = free_port(), free_port()
    image, compute = at(p, instances=[a.url]), at(q, instances=[b.url])
    s = Site(bed, {'image': image})
    doc = s.take({'image': image, 'compute': compute})
    eq((doc['opened'], doc['closed'], doc['restart']), ([f'127.0.0.1:{q}'], [], []))
    eq(doc['changed'], ['services.compute: added'])
    eq(ask(f'127.0.0.1:{q}').body, b'b')
    with Client(f'127.0.0.1:{q}') as kept:
        eq(kept.ask().body, b'b')
        doc = s.take({'image': image})
        eq((doc['opened'], doc['closed']), ([], [f'127.0.0.1:{q}']))
        assert refused(f'127.0.0.1:{q}'), 'the listener is still there'
        r = kept.ask()
        eq((r.status, r.body, r.get('connection')), (200, b'b', 'close'), 'a kept connection is told')
        eq(kept.reader.to_end(), b'')
    eq(ask(f'127.0.0.1:{p}').body, b'a')


def test_an_exchange_on_a_listener_that_goes_is_finished(bed):
    go = threading.Event()
    o = bed.origin('o', lambda r, k: (go.wait(harness.DEADLINE), answer('whole'))[1])
    p = free_port()
    s = Site(bed, {'image': at(p, instances=[o.url])})
    with Client(f'127.0.0.1:{p}') as c:
        c.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
        wait_until(lambda: o.requests, 'request at the instance')
        s.take({'image': at(free_port(), instances=[])})
        assert refused(f'127.0.0.1:{p}')
        go.set()
        r = c.reader.message('GET')
        eq((r.status, r.body, r.get('connection')), (200, b'whole', 'close'))


def test_prefixes_instances_and_limits_change_in_place(bed):
    a, b = bed.origin('a'), bed.origin('b')
    p = free_port()
    s = Site(bed, {'image': at(p, instances=[a.url])})
    with Client(f'127.0.0.1:{p}') as c:
        eq(c.ask(path='/v2/x').body, b'a')
        doc = s.take({'image': at(p, instances=[a.url]), 'other': at(p, prefix='/v2', instances=[b.url])})
        eq((doc['opened'], doc['closed']), ([], []))
        eq(c.ask(path='/v2/x').body, b'b')
        eq(c.ask(path='/v1').body, b'a')
        s.take({'image': at(p, instances=[b.url])}, limits={'body_bytes': 10}, timeouts={'idle': '5s'})
        eq(c.ask(path='/v1').body, b'b')
        eq(c.ask('POST', '/', body=b'x' * 11).status, 413)


def test_one_address_becomes_all_and_back(bed):
    o = bed.origin('o')
    p = free_port()
    s = Site(bed, {'image': at(p, instances=[o.url])})
    doc = s.take({'image': {'listen': f':{p}', 'instances': [o.url]}})
    eq(len(doc['opened']), 1, doc)
    eq(ask(f'127.0.0.1:{p}').body, b'o')
    eq(ask(f'127.0.0.2:{p}').body, b'o')
    s.take({'image': at(p, instances=[o.url])})
    eq(ask(f'127.0.0.1:{p}').body, b'o')
    assert refused(f'127.0.0.2:{p}')


def test_port_0_keeps_the_port_it_got(bed):
    o = bed.origin('o')
    s = Site(bed, {'image': {'instances': [o.url]}})
    doc = s.take({'image': {'instances': [o.url], 'listen': ['127.0.0.1:0', '127.0.0.2:0']}})
    eq((len(doc['opened']), doc['closed']), (1, []))
    eq(ask(s.d.addr('image')).body, b'o')
    eq(ask(doc['opened'][0]).body, b'o')


def test_mesh_and_admin_move(bed):
    s = Site(bed, {'image': {}})
    mesh, admin = f'127.0.0.1:{free_port()}', f'127.0.0.1:{free_port()}'
    doc = s.take({'image': {}}, mesh=mesh)
    eq(doc['opened'], [mesh])
    with Client(mesh):
        pass
    s.write({'image': {}}, admin={'listen': admin})
    doc = good(s.d)
    eq((doc['opened'], sorted(doc['closed'])), ([admin], sorted([mesh, s.admin])))
    eq(ask(admin, path='/readyz').status, 200)
    assert refused(mesh) and refused(s.admin)


def test_a_unix_admin_socket_comes_and_goes(bed):
    s = Site(bed, {'image': {}})
    path = os.path.join(bed.dir, 'dc1', 'admin.sock')
    s.write({'image': {}}, admin={'listen': 'unix:admin.sock'})
    good(s.d)
    with harness.socket.socket(harness.socket.AF_UNIX) as u:
        u.connect(path)
        u.sendall(b'POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
                  b'Content-Length: 2\r\n\r\n{}')
        eq(harness.Reader(u).message('POST').status, 200)
    s.write({'image': {}})
    s.d.signal(signal.SIGHUP)
    wait_until(lambda: not refused(s.admin), 'the address again')
    wait_until(lambda: not os.path.exists(path), 'the socket file gone')


def test_the_registry_file_is_read_again(bed):
    sites, _ = bed.three()
    d = sites['dc1']
    names = [s['name'] for s in ask(d.admin, path='/v1/sites').json()['sites']]
    eq(names, ['dc1', 'dc2', 'dc3'])
    path = os.path.join(bed.dir, 'sites.yaml')
    with open(path) as f:
        doc = json.load(f)
    del doc['sites']['dc2']
    bed.write('sites.yaml', json.dumps(doc) + '\n')
    good(d)
    eq(ask(d.addr('image'), headers={'X-Scope': 'image: dc2'}).status, 400)
    eq(ask(d.addr('image'), headers={'X-Scope': 'image: dc3'}).body, b'dc3')
    bed.write('sites.yaml', '{"sites": {"dc1": {"mesh": 5 5}}}\n')
    r = reload(d)
    eq(r.status, 400)
    assert any(re.search(r'sites\.yaml:1:\d+: ', e) for e in r.json()['errors']), r
    eq(ask(d.addr('image'), headers={'X-Scope': 'image: dc3'}).body, b'dc3', 'as it was')


def test_the_registry_file_is_watched(bed):
    sites, _ = bed.three()
    d = sites['dc1']
    path = os.path.join(bed.dir, 'sites.yaml')
    with open(path) as f:
        whole = f.read()
    doc = json.loads(whole)
    del doc['sites']['dc2']

    def names():
        return [s['name'] for s in ask(d.admin, path='/v1/sites').json()['sites']]
    with Client(d.addr('image')) as c:
        eq(c.ask(headers={'X-Scope': 'image: dc3'}).body, b'dc3')
        bed.write('new.yaml', json.dumps(doc) + '\n')
        os.rename(os.path.join(bed.dir, 'new.yaml'), path)
        wait_until(lambda: names() == ['dc1', 'dc3'], 'the site gone')
        eq(c.ask(headers={'X-Scope': 'image: dc2'}).status, 400)
        bed.write('sites.yaml', 'sites: [\n')
        wait_until(lambda: re.search(r'sites\.yaml:\d+:\d+: ', d.log()), 'word of the bad file')
        eq(names(), ['dc1', 'dc3'])
        time.sleep(1.2)
        eq(len(re.findall('the registry file is refused', d.log())), 1, 'said once')
        bed.write('sites.yaml', whole)
        wait_until(lambda: names() == ['dc1', 'dc2', 'dc3'], 'the site back')
        eq(c.ask(headers={'X-Scope': 'image: dc2'}).body, b'dc2')


def test_the_access_log_moves(bed):
    p = free_port()
    s = Site(bed, {'image': at(p)})
    path = os.path.join(bed.dir, 'other.log')
    s.take({'image': at(p)}, log={'access': path, 'format': 'text'})
    ask(f'127.0.0.1:{p}', path='/moved')

    def lines():
        if os.path.exists(path):
            with open(path) as f:
                return ' /moved ' in f.read()
    wait_until(lines, 'line in the new log')
    s.take({'image': at(p)}, log={'access': 'off'})
    s.take({'image': at(p)})
    ask(f'127.0.0.1:{p}', path='/back')
    s.d.access_of('/back')


def test_what_needs_a_restart_is_named_and_stays(bed):
    p = free_port()
    s = Site(bed, {'image': at(p)})
    threads = len(os.listdir(f'/proc/{s.d.process.pid}/task'))
    text = bed.config('dc9', {'image': at(p)}, **s.fixed({'state': './elsewhere', 'timeouts': {'idle': '7s'}}))
    bed.write('dc1/site.yaml', text.replace('workers: 1', 'workers: 3'))
    doc = good(s.d)
    eq(sorted(l.split(':')[0] for l in doc['restart']), ['site', 'state', 'workers'])
    assert all('needs a restart' in l for l in doc['restart']), doc
    eq(doc['changed'], ['timeouts.idle: from 1m to 7s'])
    for word in ('site', 'state', 'workers'):
        assert re.search(rf'warn +{word}: changing it .* needs a restart', s.d.log()), word
    assert not os.path.exists(os.path.join(s.d.dir, 'elsewhere'))
    eq(ask(s.admin, path='/v1/sites').json()['site'], 'dc1')
    eq(len(os.listdir(f'/proc/{s.d.process.pid}/task')), threads, 'threads')


# --- what is refused -------------------------------------------------------------------------------

def test_a_bad_file_changes_nothing_and_is_told_with_its_places(bed):
    o = bed.origin('o')
    p = free_port()
    s = Site(bed, {'image': at(p, instances=[o.url])})
    bed.write('dc1/site.yaml', f'site: dc1\nservices:\n  image:\n    listn: 127.0.0.1:{p}\n'
                               'timeouts: {connect: 5 parsecs}\n')
    r = reload(s.d)
    eq(r.status, 400)
    errors = r.problem('configuration')['errors']
    assert len(errors) >= 2, errors
    for line, word in ((4, 'listen'), (5, 'parsecs')):
        found = [e for e in errors if re.match(rf'\S*site\.yaml:{line}:\d+: ', e)]
        assert found and word in found[0] and '^' in found[0], (line, errors)
        assert re.search(rf'site\.yaml:{line}:\d+: ', s.d.log()), line
    eq(ask(f'127.0.0.1:{p}').body, b'o')
    os.remove(os.path.join(s.d.dir, 'site.yaml'))
    r = reload(s.d)
    eq(r.status, 400)
    assert 'site.yaml' in r.json()['errors'][0], r
    text = ask(s.admin, path='/metrics').body.decode()
    assert re.search(r'^scopemesh_config_last_reload_success 0$', text, re.M), text
    s.take({'image': at(p, instances=[o.url])})
    text = ask(s.admin, path='/metrics').body.decode()
    assert re.search(r'^scopemesh_config_last_reload_success 1$', text, re.M), text


def test_an_address_in_use_refuses_the_whole(bed):
    o, other = bed.origin('o'), bed.origin('other')
    p, q = free_port(), free_port()
    s = Site(bed, {'image': at(p, instances=[o.url])})
    s.write({'image': at(q, instances=[o.url]), 'compute': {'listen': other.addr}}, limits={'body_bytes': 5})
    r = reload(s.d)
    eq(r.status, 400)
    errors = r.problem('configuration')['errors']
    assert len(errors) == 1 and other.addr in errors[0] and 'in use' in errors[0], errors
    assert str(os.getpid()) in errors[0], f'the owner is not named: {errors}'
    assert refused(f'127.0.0.1:{q}'), 'half of it was taken'
    eq(ask(f'127.0.0.1:{p}', 'POST', body=b'x' * 9).body, b'o', 'as it was')
    other.stop()
    doc = good(s.d)
    eq(len(doc['opened']), 2, doc)


def test_who_may_post(bed):
    s = Site(bed, {'image': {}}, admin={'listen': f'127.0.0.1:{free_port()}', 'hosts': ['mesh.example']})
    d = s.d
    port = d.admin.rsplit(':', 1)[1]
    allowed = [{}, {'Host': f'localhost:{port}'}, {'Host': 'LOCALHOST'}, {'Host': f'[::1]:{port}'},
               {'Host': '127.8.9.1'}, {'Host': 'mesh.example:1'}, {'Origin': 'http://' + d.admin},
               {'Content-Type': 'Application/JSON; charset=utf-8'}]
    denied = [{'Host': 'evil.example'}, {'Host': 'localhost.evil.example'}, {'Host': '10.0.0.1'},
              {'Host': '127.0.0.1.evil.example'}, {'Host': 'mesh.example.evil'},
              {'Origin': 'http://evil.example'}, {'Origin': 'null'}, {'Origin': 'https://' + d.admin},
              {'Origin': 'http://127.0.0.1:1'}, {'Content-Type': 'text/plain'}, {'Content-Type': 'application/jsonx'},
              {'Content-Type': 'application/x-www-form-urlencoded'}, {'Content-Type': ''}]
    for h in allowed:
        eq(reload(d, {**JSON, **h}).status, 200, h)
    for h in denied:
        r = reload(d, {**JSON, **h})
        eq(r.status, 403, h)
        r.problem('not-allowed')
    eq(reload(d, {}).status, 403, 'no content type')
    eq(reload(d, body=None).status, 200, 'no content at all')
    eq(len(re.findall(r'reloaded ', d.log())), len(allowed) + 1)
    eq(ask(d.admin, path='/v1/sites', headers={'Host': 'evil.example'}).status, 403)
    eq(ask(d.admin, path='/healthz', headers={'Host': 'evil.example'}).status, 200)
    eq(ask(d.admin, path='/v1/reload').status, 405)


def test_content_that_comes_in_pieces_or_not_at_all(bed):
    s = Site(bed, {'image': {}}, timeouts={'body': '200ms'})
    head = f'PUT /v1/log HTTP/1.1\r\nHost: {s.admin}\r\nContent-Type: application/json\r\n'
    with Client(s.admin) as c:
        c.send(head + 'Transfer-Encoding: chunked\r\n\r\n')
        for piece in ('4\r\n{"le', '\r\n', 'e\r\nvel": "debug"}\r\n'):
            time.sleep(0.02)
            c.send(piece)
        c.send('0\r\n\r\n')
        r = c.reader.message('PUT')
        eq((r.status, r.json()), (200, {'level': 'debug', 'was': 'info'}))
        c.send(head + 'Content-Length: 18\r\nExpect: 100-continue\r\n\r\n')
        eq(c.reader.head().status, 100)
        c.send('{"level": "error"}')
        eq(c.reader.message('PUT').json(), {'level': 'error', 'was': 'debug'})
    with Client(s.admin) as c:
        c.send(head + 'Content-Length: 18\r\n\r\n{')
        eq(c.reader.message('PUT').status, 408)
    eq(ask(s.admin, 'PUT', '/v1/log', JSON, b' ' * 70000).status, 413)
    for bad in (b'', b'[]', b'{"level": "loud"}', b'{"level": 1}', b'{"level": "info", "x": 1}'):
        r = ask(s.admin, 'PUT', '/v1/log', JSON, bad)
        eq(r.status, 400, bad)
        r.problem('bad-request')
    eq(ask(s.admin, 'PUT', '/v1/log', {}, b'{"level": "info"}').status, 403)


# --- scopectl --------------------------------------------------------------------------------------

def scopectl(s, *words):
    return harness.run_program(harness.SCOPECTL, '--admin', 'http://' + s.admin, *words)


def test_scopectl_reload(bed):
    p, q = free_port(), free_port()
    s = Site(bed, {'image': at(p)})
    s.write({'image': at(q)}, limits={'body_bytes': 7})
    c = scopectl(s, 'reload')
    eq(c.returncode, 0, c.stderr)
    for line in ('reloaded ', 'changed: limits.body_bytes: from 0 to 7', f'listening on 127.0.0.1:{q}',
                 f'no longer listening on 127.0.0.1:{p}'):
        assert line in c.stdout, (line, c.stdout)
    bed.write('dc1/site.yaml', 'site: dc1\nservices: {}\nfrob: 1\n')
    c = scopectl(s, 'reload')
    eq(c.returncode, 1)
    assert re.search(r'site\.yaml:3:1: .*frob.*\nfrob: 1\n\^', c.stderr), c.stderr
    eq(json.loads(scopectl(s, '--json', 'reload').stdout)['status'], 400)
    eq(harness.run_program(harness.SCOPECTL, '--admin', f'http://127.0.0.1:{free_port()}', 'reload').returncode, 3)


def test_scopectl_loglevel(bed):
    s = Site(bed, {'image': {}})
    c = scopectl(s, 'loglevel', 'debug')
    eq((c.returncode, c.stdout), (0, 'log level: debug (was info)\n'), c.stderr)
    c = scopectl(s, 'loglevel', 'debog')
    eq(c.returncode, 2)
    assert 'nearest: debug' in c.stderr, c.stderr
    eq(scopectl(s, 'loglevel').returncode, 2)
    eq(scopectl(s, 'loglevel', 'info', 'warn').returncode, 2)


# --- under load ------------------------------------------------------------------------------------

class Hammer:
    """Clients that go on until stopped, half on kept connections and half on new ones; bad: what went wrong."""

    def __init__(self, addr, count=6):
        self.addr, self.stop_now, self.bad, self.done = addr, threading.Event(), [], 0
        self.threads = [threading.Thread(target=self.run, args=(i % 2 == 0,), daemon=True) for i in range(count)]
        for t in self.threads:
            t.start()

    def run(self, keep):
        client = None
        while not self.stop_now.is_set():
            try:
                client = client or Client(self.addr)
                r = client.ask('POST', '/', body=b'x' * 100)
                if r.status != 200 or r.body not in (b'a', b'b'):
                    self.bad.append(r)
                self.done += 1
                if not keep or r.get('connection') == 'close':
                    client.close()
                    client = None
            except OSError as e:
                self.bad.append(e)
                client = None

    def stop(self):
        self.stop_now.set()
        for t in self.threads:
            t.join(harness.DEADLINE)
        eq(self.bad[:3], [], f'{len(self.bad)} bad of {self.done}')


def test_thirty_reloads_under_load_fail_no_request(bed):
    a, b = bed.origin('a'), bed.origin('b')
    p, extra = free_port(), [free_port() for _ in range(3)]
    addr = f'127.0.0.1:{p}'
    s = Site(bed, {'image': at(p, instances=[a.url])}, workers=2)
    h = Hammer(addr)
    wait_until(lambda: h.done > 50, 'load')
    fds = None
    for i in range(30):
        services = {'image': at(p, instances=[(a, b)[i % 2].url])}
        if i % 3:
            services['extra'] = at(extra[i % 3], instances=[b.url])
        if i % 5 == 4:
            bed.write('dc1/site.yaml', 'site: [\n')
            eq(reload(s.d).status, 400)
        elif i % 2:
            s.take(services, workers=2, limits={'header_bytes': 8192 + i})
        else:
            s.write(services, workers=2)
            before = s.d.log().count('reloaded ')
            s.d.signal(signal.SIGHUP)
            wait_until(lambda: s.d.log().count('reloaded ') > before, 'reload')
        before = h.done
        wait_until(lambda: h.done > before + 5, 'requests between reloads')
        if i == 5:
            fds = len(os.listdir(f'/proc/{s.d.process.pid}/fd'))
    h.stop()
    wait_until(lambda: len(os.listdir(f'/proc/{s.d.process.pid}/fd')) <= fds, 'no descriptor left over')


def test_a_kept_tunnel_survives_reloads(bed):
    def handle(request, sock):
        sock.sendall(b'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n')
        while data := sock.recv(1000):
            sock.sendall(data)
    o = bed.origin('o', handle)
    p = free_port()
    s = Site(bed, {'image': at(p, instances=[o.url])})
    with Client(f'127.0.0.1:{p}') as c:
        c.send('GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n')
        eq(c.reader.head().status, 101)
        for services in ({'image': at(p)}, {'image': at(free_port())}, {}):
            s.take(services) if services else None
            c.send('ping')
            eq(c.reader.exactly(4), b'ping')


if __name__ == '__main__':
    harness.main(globals())
