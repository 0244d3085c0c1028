#!/usr/bin/python3
"""The program from outside: options, exit codes, admin interface, access log, drain (spec section 6)."""
import os
import re
import signal
import socket
import stat
import subprocess
import threading
import time

import harness
from harness import Client, answer, ask, eq, run_program, wait_until


def minimal(bed):
    return bed.config('dc1', {'image': {}})


def test_check_accepts_a_good_file_and_touches_nothing(bed):
    path = bed.write('c.yaml', minimal(bed))
    for flag in ('--check', '-t'):
        p = run_program(harness.SCOPEMESHD, flag, '-c', path)
        eq(p.returncode, 0, p.stderr)
    eq(sorted(os.listdir(bed.dir)), ['c.yaml'])


def test_check_reports_every_error_at_once_with_place_and_nearest_word(bed):
    path = bed.write('c.yaml', 'site: dc1\nservices:\n  image:\n    listn: 127.0.0.1:0\n    prefix: v2\n'
                               'timeouts: {connect: 5 parsecs}\n')
    p = run_program(harness.SCOPEMESHD, '--check', '-c', path)
    eq(p.returncode, 1)
    for line, word in ((4, 'listen'), (5, ''), (6, '')):
        assert re.search(rf'c\.yaml:{line}:\d+: [^/]*{word}', p.stderr), f'line {line}: {p.stderr}'
    assert '^' in p.stderr, p.stderr


def test_a_refused_configuration_does_not_start(bed):
    path = bed.write('c.yaml', 'sites: dc1\n')
    p = run_program(harness.SCOPEMESHD, '-c', path)
    eq(p.returncode, 1)
    eq(os.listdir(bed.dir), ['c.yaml'], 'what a refused start left')


def test_print_shows_an_effective_configuration_that_checks(bed):
    path = bed.write('c.yaml', minimal(bed))
    p = run_program(harness.SCOPEMESHD, '--print', '-c', path)
    eq(p.returncode, 0, p.stderr)
    for word in ('timeouts:', 'connect: 2s', 'fail_after: 30s', 'carriers:', 'header_bytes: 64k'):
        assert word in p.stdout, f'{word} missing in {p.stdout}'
    again = bed.write('d.yaml', p.stdout)
    q = run_program(harness.SCOPEMESHD, '--check', '-c', again)
    eq(q.returncode, 0, q.stderr)
    eq(run_program(harness.SCOPEMESHD, '--print', '-c', again).stdout, p.stdout, 'printed again')


def test_what_cannot_be_printed_is_no_success(bed):
    for argv in (['--manual'], ['--print', '-c', bed.write('c.yaml', minimal(bed))]):
        with open('/dev/full', 'wb') as full:
            p = subprocess.run([harness.SCOPEMESHD, *argv], stdout=full, stderr=subprocess.PIPE, text=True,
                               timeout=harness.DEADLINE)
        eq((p.returncode, 'No space left' in p.stderr), (1, True), argv)


def test_wrong_usage_is_2(bed):
    for argv in (['--frob'], [], ['-c'], ['-c', 'a', 'b']):
        p = run_program(harness.SCOPEMESHD, *argv)
        eq(p.returncode, 2, argv)
        assert 'usage' in p.stderr, p.stderr


def test_address_in_use_is_3(bed):
    port = harness.Origin('o')
    bed.servers.append(port)
    path = bed.write('c.yaml', bed.config('dc1', {'image': {'listen': port.addr}}))
    p = run_program(harness.SCOPEMESHD, '-c', path)
    eq(p.returncode, 3, p.stderr)
    assert port.addr in p.stderr, p.stderr


def test_two_daemons_never_share_a_port_or_a_state_folder(bed):
    address = f'127.0.0.1:{harness.free_port()}'
    d = bed.daemon('dc1', {'image': {'listen': address}})
    other = bed.write('other/c.yaml', bed.config('dc1', {'image': {'listen': address}}))
    p = run_program(harness.SCOPEMESHD, '-c', other)
    eq(p.returncode, 3, p.stderr)
    same_state = bed.write('third/c.yaml', bed.config('dc1', {'image': {}}, state=os.path.join(d.dir, 'state')))
    p = run_program(harness.SCOPEMESHD, '-c', same_state)
    eq(p.returncode, 3, p.stderr)
    assert str(d.process.pid) in p.stderr, f'pid {d.process.pid} not named: {p.stderr}'


def test_a_state_folder_that_cannot_be_made_names_its_key(bed):
    path = bed.write('c.yaml', bed.config('dc1', {'image': {}}, state='/proc/none'))
    p = run_program(harness.SCOPEMESHD, '-c', path)
    eq(p.returncode, 3, p.stderr)
    assert re.search(r'/proc/none cannot be made: .* \(key state', p.stderr), p.stderr


def test_what_is_no_state_folder_is_left_alone(bed):
    """A mistyped key must not close /etc or a home to everybody else."""
    os.makedirs(os.path.join(bed.dir, 'home/photos'))
    bed.write('file', 'text')
    for name, why in (('home', 'holds other files'), ('file', 'is no folder')):
        path = os.path.join(bed.dir, name)
        mode = os.stat(path).st_mode
        p = run_program(harness.SCOPEMESHD, '-c', bed.write(f'{name}.yaml', bed.config('dc1', {'image': {}}, state=path)))
        eq(p.returncode, 3, p.stderr)
        assert why in p.stderr, p.stderr
        eq(os.stat(path).st_mode, mode)


def test_the_state_folder_is_private(bed):
    d = bed.daemon('dc1', {'image': {}})
    eq(stat.S_IMODE(os.stat(os.path.join(d.dir, 'state')).st_mode), 0o700)
    d.stop()
    os.chmod(os.path.join(d.dir, 'state'), 0o755)
    d.start()
    eq(stat.S_IMODE(os.stat(os.path.join(d.dir, 'state')).st_mode), 0o700)


def test_a_pipelined_post_that_the_client_cuts_short_ends_and_the_admin_interface_goes_on(bed):
    d = bed.daemon('dc1', {'image': {}})
    with Client(d.addr('admin')) as c:
        c.send('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nPOST /v1/reload HTTP/1.1\r\nHost: localhost\r\n'
               'Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{')
        c.sock.shutdown(socket.SHUT_WR)
        eq(c.reader.message('GET').status, 200)
        c.sock.settimeout(harness.DEADLINE)
        eq(c.sock.recv(1), b'')
    eq(ask(d.addr('admin'), 'GET', '/healthz').status, 200)


def test_sigterm_ends_at_once_when_only_idle_connections_are_open(bed):
    o = bed.origin('o')
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    with Client(d.addr('image')) as c, Client(d.addr('image')):
        eq(c.ask().status, 200)
        started = time.monotonic()
        eq(d.stop(), 0)
        assert time.monotonic() - started < 2, 'waited for idle connections'


def test_sigterm_lets_a_request_in_flight_end(bed):
    release = threading.Event()

    def slow(request, sock):
        release.wait(harness.DEADLINE)
        return answer('late')
    o = bed.origin('o', slow)
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}}, scope={'neighbours': ['127.0.0.9']})
    with Client(d.addr('image')) as c:
        c.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
        wait_until(lambda: o.requests, 'request at the instance')
        d.signal(signal.SIGTERM)
        wait_until(lambda: 'drain' in d.log(), 'word of the drain in the log')
        wait_until(lambda: ask(d.addr('image')).status == 503, 'no new requests')
        eq(d.process.poll(), None, 'ended with a request in flight')
        release.set()
        r = c.reader.message('GET')
        eq((r.status, r.body), (200, b'late'))
    eq(d.process.wait(harness.DEADLINE), 0)


def test_a_second_sigterm_stops_at_once(bed):
    hold = threading.Event()
    o = bed.origin('o', lambda r, s: hold.wait(harness.DEADLINE) and None)
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    with Client(d.addr('image')) as c:
        c.send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
        wait_until(lambda: o.requests, 'request at the instance')
        d.signal(signal.SIGTERM)
        wait_until(lambda: 'drain' in d.log() or d.process.poll() is not None, 'word of the drain in the log')
        eq(d.process.poll(), None, 'ended with a request in flight')
        started = time.monotonic()
        eq(d.stop(), 0)
        assert time.monotonic() - started < 2
    hold.set()


def test_sighup_takes_a_new_file_and_keeps_the_last_good_one(bed):
    a, b = bed.origin('a'), bed.origin('b')
    listen = f'127.0.0.1:{harness.free_port()}'
    d = bed.daemon('dc1', {'image': {'listen': listen, 'instances': [a.url]}})
    with Client(d.addr('image')) as c:
        eq(c.ask().body, b'a')
        bed.write('dc1/site.yaml', bed.config('dc1', {'image': {'listen': listen, 'instances': [b.url]}}))
        d.signal(signal.SIGHUP)
        wait_until(lambda: c.ask().body == b'b', 'the new instance on the same connection')
        bed.write('dc1/site.yaml', 'site: [\n')
        d.signal(signal.SIGHUP)
        wait_until(lambda: 'site.yaml:' in d.log(), 'word of the bad file in the log')
        eq(c.ask().body, b'b')


def test_health_ready_and_metrics(bed):
    o = bed.origin('o')
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    for _ in range(3):
        ask(d.addr('image'))
    ask(d.addr('image'), headers={'X-Scope': 'image &'})
    eq(ask(d.admin, path='/healthz').status, 200)
    eq(ask(d.admin, path='/readyz').status, 200)

    def text():
        return ask(d.admin, path='/metrics').body.decode()
    wait_until(lambda: re.search(r'^scopemesh_requests_total\{[^}]*service="image"[^}]*\} 3$', text(), re.M),
               'three requests counted')
    r = ask(d.admin, path='/metrics')
    assert r.get('content-type').startswith('text/plain'), r
    for line in r.body.decode().splitlines():
        assert re.fullmatch(r'#.*|[a-z_]+(\{([a-z_]+="([^"\\]|\\.)*",?)*\})? [-+0-9.eEInfNa]+', line), line
    for name in ('scopemesh_build_info', 'scopemesh_request_duration_seconds_bucket', 'scopemesh_scope_errors_total'):
        assert name in r.body.decode(), name


def test_sites_and_services(bed):
    sites, origins = bed.three(labels={'dc2': {'region': 'eu'}})

    def measured():
        doc = ask(sites['dc1'].admin, path='/v1/sites').json()
        return doc if all(s['rtt_ms'] is not None and s['services'] is not None for s in doc['sites']) else None
    doc = wait_until(measured, 'round trips to the others, and what they serve')
    eq(doc['site'], 'dc1')
    eq([s['name'] for s in doc['sites']], ['dc1', 'dc2', 'dc3'])
    eq({s['state'] for s in doc['sites']}, {'connected'})
    eq(doc['sites'][1]['labels'], {'region': 'eu'})
    eq(set(doc['sites'][1]) >= {'name', 'state', 'rtt_ms', 'labels', 'services', 'mesh', 'last_seen', 'queued',
                                'fenced_by'}, True)
    eq([s['services'] for s in doc['sites']], [['image']] * 3)
    text = ask(sites['dc1'].admin, path='/v1/sites').body.decode()
    assert not re.search(r'\d\.\d{7}', text), f'numbers for people: {text}'
    services = ask(sites['dc1'].admin, path='/v1/services').json()['services']
    mine = next(s for s in services if s['site'] == 'dc1' and s['service'] == 'image')
    eq(mine['instances'][0]['url'], origins['dc1'].url)
    assert mine['instances'][0]['health'] in ('up', 'unknown'), mine


def test_a_probed_instance_goes_down_and_up(bed):
    well = [True]
    o = bed.origin('o', lambda r, s: answer('o', '200 OK' if well[0] or r.path != '/healthcheck' else '500 No'))
    d = bed.daemon('dc1', {'image': {'instances': [o.url], 'health': {
        'path': '/healthcheck', 'interval': '50ms', 'timeout': '1s', 'rise': 2, 'fall': 2}}})

    def health():
        return ask(d.admin, path='/v1/services').json()['services'][0]['instances'][0]['health']
    wait_until(lambda: health() == 'up', 'up')
    well[0] = False
    wait_until(lambda: health() == 'down', 'down')
    eq(ask(d.addr('image')).status, 503)
    well[0] = True
    wait_until(lambda: health() == 'up', 'up again')
    eq(ask(d.addr('image')).status, 200)


def test_explain(bed):
    sites, _ = bed.three()
    r = ask(sites['dc1'].admin, path='/v1/scope/explain?scope=image%3Adc2%2Fdc1')
    eq(r.status, 200)
    doc = r.json()
    eq(doc['canonical'], 'image: dc2; dc1')
    eq([b['service'] for b in doc['bindings']], ['image'])
    eq(doc['bindings'][0]['location'], 'dc2; dc1')
    eq([s['site'] for s in doc['bindings'][0]['sites']], ['dc2', 'dc1'])
    eq(ask(sites['dc1'].admin, path='/v1/scope/explain?scope=image:dc1+dc2').json()['canonical'], 'image: dc1 & dc2')
    r = ask(sites['dc1'].admin, path='/v1/scope/explain?scope=image:dc9')
    eq(r.status, 400)
    r.problem('unknown-site')


def test_admin_errors_are_problem_documents(bed):
    d = bed.daemon('dc1', {'image': {}})
    r = ask(d.admin, path='/v1/nothing')
    eq(r.status, 404)
    assert 'problem+json' in r.get('content-type'), r
    eq(ask(d.admin, 'DELETE', '/v1/sites').status, 405)


def test_access_log_says_what_happened(bed):
    sites, _ = bed.three()
    trace = '4bf92f3577b34da6a3ce929d0e0e4736'
    ask(sites['dc1'].addr('image'), 'POST', '/v2/images?token=secret', body=b'12345', headers={
        'X-Scope': 'image: dc2; dc1', 'Authorization': 'Bearer secret', 'Cookie': 'secret', 'X-Auth-Token': 'secret',
        'traceparent': f'00-{trace}-00f067aa0ba902b7-01', 'x-request-id': 'req-1'})
    line = sites['dc1'].access_of('/v2/images')
    want = {'site': 'dc1', 'service': 'image', 'method': 'POST', 'status': 200, 'trace_id': trace, 'request_id': 'req-1',
            'scope': 'image: dc2; dc1', 'bytes_in': 5, 'bytes_out': 3}
    eq({k: line.get(k) for k in want}, want)
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z', line['ts']), line
    assert line['client'].startswith('127.0.0.1'), line
    assert line['op'] in ('forward', 'otherwise'), line
    eq([(t['site'], t['status']) for t in line['targets']], [('dc2', 200)])
    assert line['t_total_ms'] >= line['t_first_byte_ms'] > 0, line
    for d in sites.values():
        for path in (d.out_path, d.err_path):
            with open(path) as f:
                assert 'secret' not in f.read(), path


def test_an_ipv4_client_of_a_listener_for_both_is_known_by_its_ipv4_address(bed):
    o = bed.origin('o')
    port = harness.free_port()
    d = bed.daemon('dc1', {'image': {'listen': f':{port}', 'instances': [o.url], 'scope_from': ['127.0.0.0/8']}})
    eq(ask(f'127.0.0.1:{port}', path='/four', headers={'X-Scope': 'image: local'}).status, 200)
    eq(o.last.get('x-forwarded-for'), '127.0.0.1')
    assert d.access_of('/four')['client'].startswith('127.0.0.1:'), d.access_of('/four')


def test_the_access_log_counts_failed_attempts(bed):
    sites, origins = bed.three()
    origins['dc2'].stop()
    ask(sites['dc1'].addr('image'), path='/x', headers={'X-Scope': 'image: dc2; dc3'})
    line = sites['dc1'].access_of('/x')
    eq([t['site'] for t in line['targets']], ['dc2', 'dc3'])
    eq(line['op'], 'otherwise')


def test_the_start_is_quick_and_said_in_one_line(bed):
    d = bed.daemon('dc1', {'image': {}})
    assert set(d.listeners) >= {'image', 'admin'}, d.listeners
    assert d.ready_ms < 2000, d.ready_ms


if __name__ == '__main__':
    harness.main(globals())
