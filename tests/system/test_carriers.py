#!/usr/bin/python3
"""How a scope follows the calls that services make: applications that hand on one header only, across two sites and
two services (spec section 2, "How a scope travels on")."""
import re
import socket
import threading
from urllib.parse import quote

import harness
from harness import Client, answer, ask, eq, wait_until

ALL = ['header', 'baggage', 'piggyback:x-auth-token', 'piggyback:x-subject-token', 'correlate:traceparent',
       'correlate:x-request-id']
TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
PARENT = '00f067aa0ba902b7'
UUID = r'[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'


def traceparent(trace=TRACE, parent=PARENT):
    return f'00-{trace}-{parent}-01'


class Workflow:
    """compute at every site calls its own site's image for each request, and hands on only the headers that keep()
    chooses; it answers with what image said.  image answers with its site's name.  sites[...] are daemons."""

    def __init__(self, bed, keep, sites=('dc1', 'dc2'), later=None, **top):
        self.keep, self.later, self.sites, self.calls = keep, later, {}, []
        self.image = {s: bed.origin(s) for s in sites}
        self.compute = {s: bed.origin(s, lambda r, k, s=s: self.serve(s, r)) for s in sites}
        options = top.pop('options', {})
        self.sites = bed.mesh({s: {'compute': {'instances': [self.compute[s].url], **options.get('compute', {})},
                                   'image': {'instances': [self.image[s].url], **options.get('image', {})}}
                               for s in sites}, **{'scope': {'carriers': ALL}, **top})

    def serve(self, site, request):
        headers = [(n, v) for n, v in request.headers if n.lower() in self.keep]
        if self.later:
            self.later(lambda: self.calls.append(self.call(site, headers)))
            return answer(b'later', '202 Accepted')
        return answer(self.call(site, headers).body)

    def call(self, site, headers):
        return ask(self.sites[site].addr('image'), path='/v2/images', headers=headers)

    def ask(self, scope=None, site='dc1', headers=(), **kw):
        items = list(headers) + ([('X-Scope', scope)] if scope else [])
        return ask(self.sites[site].addr('compute'), headers=items, **kw)


def carrier_of(daemon, path):
    return daemon.access_of(path)['carrier']


def metric(daemon, name):
    text = ask(daemon.admin, path='/metrics').body.decode()
    found = re.search(r'^scopemesh_' + re.escape(name) + r' (\S+)$', text, re.M)
    assert found, f'no metric {name}'
    return float(found[1])


# --- one header is enough ------------------------------------------------------------------------

def check_survives(bed, *keep, headers=(), carrier=None):
    """The scope reaches image through a compute that hands on only these headers, at the site where the client
    comes in and at another one that compute was sent to."""
    w = Workflow(bed, keep)
    eq(w.ask('compute: dc1, image: dc2', headers=headers).body, b'dc2', 'compute here, image there')
    eq(w.ask('compute: dc2, image: dc1', headers=headers).body, b'dc1', 'compute there, image here')
    eq(w.ask('compute: dc2, image: dc2', headers=headers).body, b'dc2', 'both there')
    if carrier:
        eq(carrier_of(w.sites['dc1'], '/v2/images'), carrier)
    return w


def test_an_application_that_hands_on_the_header(bed):
    check_survives(bed, 'x-scope', carrier='header')


def test_an_application_that_hands_on_baggage(bed):
    check_survives(bed, 'baggage', carrier='baggage')


def test_an_application_that_hands_on_the_token(bed):
    w = check_survives(bed, 'x-auth-token', headers=[('X-Auth-Token', 'secret-token')],
                       carrier='piggyback:x-auth-token')
    eq(w.image['dc2'].last.get('x-auth-token'), 'secret-token!SCOPE!compute: dc2, image: dc2')


def test_an_application_that_hands_on_the_trace(bed):
    w = check_survives(bed, 'traceparent', carrier='correlate:traceparent')
    assert re.fullmatch(r'00-[0-9a-f]{32}-[0-9a-f]{16}-01', w.compute['dc1'].last.get('traceparent')), w.compute['dc1'].last


def test_an_application_that_hands_on_the_request_id(bed):
    w = check_survives(bed, 'x-request-id', carrier='correlate:x-request-id')
    assert re.fullmatch(UUID, w.compute['dc1'].last.get('x-request-id')), w.compute['dc1'].last


def test_an_application_that_hands_on_nothing_calls_locally(bed):
    w = Workflow(bed, ())
    eq(w.ask('compute: dc1, image: dc2').body, b'dc1')
    eq(w.ask('compute: dc2, image: dc1').body, b'dc2')
    eq(len(w.image['dc1'].requests), 1)


def test_a_tracing_library_that_makes_new_spans(bed):
    """OpenTelemetry: the trace-id stays, the parent-id is a new one."""
    w = Workflow(bed, ())
    w.serve = lambda site, r: answer(w.call(site, [('traceparent', traceparent(
        r.get('traceparent').split('-')[1], 'abcdefabcdefabcd'))]).body)
    eq(w.ask('compute: dc2, image: dc1').body, b'dc1')
    eq(w.ask('compute: dc1, image: dc2', headers=[('traceparent', traceparent())]).body, b'dc2')


def test_b3_in_one_header_and_in_several(bed):
    carriers = {'carriers': ['correlate:b3', 'correlate:x-b3-traceid']}
    w = Workflow(bed, ('b3',), scope={'carriers': ['header', 'correlate:b3']})
    eq(w.ask('image: dc2').body, b'dc2')
    assert re.fullmatch(r'[0-9a-f]{32}-[0-9a-f]{16}', w.compute['dc1'].last.get('b3')), w.compute['dc1'].last
    eq(w.ask('image: dc2', headers=[('b3', '0')]).body, b'dc2', 'a sampling decision alone')
    assert w.compute['dc1'].last.get('b3').endswith('-0'), w.compute['dc1'].last
    w.keep = ('x-b3-traceid',)
    eq(w.ask('image: dc2', headers=[('b3', f'{TRACE}-{PARENT}-1')]).body, b'dc1', 'not switched on')
    scope = {'carriers': ['header', *carriers['carriers']]}
    for site in w.sites.values():
        site.stop()
    w = Workflow(bed, ('x-b3-traceid',), scope=scope)
    eq(w.ask('image: dc2', headers=[('b3', f'{TRACE}-{PARENT}-1')]).body, b'dc2', 'one trace in two headers')
    last = w.compute['dc1'].last
    eq(last.get('x-b3-traceid'), TRACE)
    assert re.fullmatch(r'[0-9a-f]{16}', last.get('x-b3-spanid')), last


def test_openstacks_request_id_is_made_in_its_form(bed):
    w = Workflow(bed, ('x-openstack-request-id',), scope={'carriers': ['header', 'correlate:x-openstack-request-id']})
    eq(w.ask('image: dc2').body, b'dc2')
    assert re.fullmatch('req-' + UUID, w.compute['dc1'].last.get('x-openstack-request-id')), w.compute['dc1'].last
    for wrong in ('mine', 'req-6D3C2B1A-5A58-4B2E-8A39-5E6C7F1F6B1C'):
        eq(w.ask('image: dc2', headers=[('X-Openstack-Request-Id', wrong)]).body, b'dc2')
        got = w.compute['dc1'].last.all('x-openstack-request-id')
        assert len(got) == 1 and re.fullmatch('req-' + UUID, got[0]), got
    own = 'req-6d3c2b1a-5a58-4b2e-8a39-5e6c7f1f6b1c'
    eq(w.ask('image: dc2', headers=[('X-Openstack-Request-Id', own)]).body, b'dc2')
    eq(w.compute['dc1'].last.get('x-openstack-request-id'), own)


# --- what is added, and to whom ------------------------------------------------------------------

def test_a_request_without_a_scope_gets_nothing_added(bed):
    w = Workflow(bed, ('x-request-id', 'traceparent'))
    w.ask()
    got = w.compute['dc1'].last
    for name in ('traceparent', 'x-request-id', 'baggage', 'x-scope'):
        eq(got.all(name), [], name)


def test_ids_that_are_there_stay_and_the_log_tells_those_that_were_added(bed):
    w = Workflow(bed, ())
    w.ask('image: dc2', path='/kept', headers=[('traceparent', traceparent()), ('X-Request-Id', 'my id')])
    got = w.compute['dc1'].last
    eq((got.all('traceparent'), got.all('x-request-id')), ([traceparent()], ['my id']))
    w.ask('image: dc2', path='/made')
    line, got = w.sites['dc1'].access_of('/made'), w.compute['dc1'].last
    eq((line['request_id'], line['trace_id']), (got.get('x-request-id'), got.get('traceparent').split('-')[1]))


def test_a_trace_that_is_invalid_is_begun_anew_without_its_state(bed):
    w = Workflow(bed, ('traceparent',))
    eq(w.ask('image: dc2', headers=[('traceparent', '00-zz'), ('tracestate', 'a=b')]).body, b'dc2')
    got = w.compute['dc1'].last
    eq(len(got.all('traceparent')), 1)
    eq(got.all('tracestate'), [])
    w.ask('image: dc2', headers=[('traceparent', traceparent()), ('tracestate', 'a=b')])
    eq(w.compute['dc1'].last.get('tracestate'), 'a=b')


def test_values_are_the_same_at_both_sites(bed):
    w = Workflow(bed, ('x-request-id',))
    w.ask('compute: dc2, image: dc1')
    there, back = w.compute['dc2'].last, w.image['dc1'].last
    assert there.get('x-request-id') and there.get('x-request-id') == back.get('x-request-id'), (there, back)


def test_what_a_local_attempt_wrote_anew_reaches_the_next_site_as_it_came(bed):
    """The token and foreign baggage survive an attempt here that failed."""
    w = Workflow(bed, ())
    w.image['dc1'].stop()
    r = ask(w.sites['dc1'].addr('image'), headers={'X-Scope': 'image: dc1; dc2', 'X-Auth-Token': 'secret',
                                                   'baggage': 'user=7'})
    eq(r.body, b'dc2')
    got = w.image['dc2'].last
    eq(got.all('x-auth-token'), ['secret!SCOPE!image: dc1; dc2'])
    assert 'user=7' in got.get('baggage').split(','), got


# --- precedence ------------------------------------------------------------------------------------

def test_carriers_outrank_each_other_in_their_fixed_order(bed):
    w = Workflow(bed, (), sites=('dc1', 'dc2', 'dc3'), options={'image': {'scope': 'image: dc1'}},
                 scope={'carriers': ALL[::-1]})
    eq(w.call('dc1', [('X-Scope', 'image: dc3')]).body, b'dc3')
    # the scope of a traceparent: image at dc3
    w.ask('compute: dc1, image: dc3', headers=[('traceparent', traceparent())])
    trace = ('traceparent', traceparent())
    token = ('X-Auth-Token', 't!SCOPE!image: dc2')
    baggage = ('baggage', 'scope=' + quote('image: dc3'))
    eq(w.call('dc1', []).body, b'dc1', 'the fixed scope')
    eq(w.call('dc1', [trace]).body, b'dc3', 'correlation before the fixed scope')
    eq(w.call('dc1', [trace, token]).body, b'dc2', 'piggyback before correlation')
    eq(w.call('dc1', [trace, token, baggage]).body, b'dc3', 'baggage before piggyback')
    eq(w.call('dc1', [trace, token, baggage, ('X-Scope', 'image: dc1')]).body, b'dc1', 'the header before all')
    eq(w.call('dc1', [trace, ('X-Scope', '{}')]).body, b'dc1', 'an empty one asks no other')


def test_an_empty_scope_travels_on_by_correlation_too(bed):
    w = Workflow(bed, ('x-request-id',), options={'image': {'scope': 'image: dc2'}})
    eq(w.ask().body, b'dc2', 'the fixed scope of image')
    eq(w.ask('{}').body, b'dc1', 'no scope at all')


# --- told apart ------------------------------------------------------------------------------------

def together(tasks):
    failures = []

    def run(task):
        try:
            task()
        except Exception as e:
            failures.append(e)
    threads = [threading.Thread(target=run, args=(t,)) for t in tasks]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


def test_eight_at_once_with_one_token_and_two_scopes_are_told_apart(bed):
    w = Workflow(bed, ('x-request-id',))
    barrier, serve = threading.Barrier(8), w.serve

    def all_at_once(site, request):
        barrier.wait(harness.DEADLINE)
        return serve(site, request)
    w.serve = all_at_once

    def one(goal):
        eq(w.ask(f'compute: dc1, image: {goal}', headers=[('X-Auth-Token', 'one for all')]).body, goal.encode())
    together([lambda g=g: one(g) for g in ['dc1', 'dc2'] * 4])
    eq(metric(w.sites['dc1'], 'correlation_conflicts_total'), 0)


def test_calls_after_the_answer_have_their_scope(bed):
    waiting = []
    w = Workflow(bed, ('x-request-id',), later=waiting.append)
    eq(w.ask('compute: dc1, image: dc2').status, 202)
    eq(w.ask('compute: dc1, image: dc1').status, 202)
    for call in waiting:
        call()
    eq([c.body for c in w.calls], [b'dc2', b'dc1'])


def test_one_trace_with_two_scopes_is_told_apart_by_its_parents_and_by_other_ids(bed):
    w = Workflow(bed, ())
    spans = {'dc1': '1111111111111111', 'dc2': '2222222222222222'}
    for goal, span in spans.items():
        w.ask(f'image: {goal}', headers=[('traceparent', traceparent(TRACE, span)), ('X-Request-Id', 'id of ' + goal)])
    for goal, span in spans.items():
        eq(w.call('dc1', [('traceparent', traceparent(TRACE, span))]).body, goal.encode(), 'handed on as it is')
        span = goal.encode().hex().rjust(16, 'e')
        eq(w.call('dc1', [('traceparent', traceparent(TRACE, span)), ('X-Request-Id', 'id of ' + goal)]).body,
           goal.encode(), 'by another id')
    eq(w.call('dc1', [('traceparent', traceparent(TRACE, spans['dc2'])), ('X-Request-Id', 'id of dc1')]).body, b'dc1',
       'the ids of two requests: local')
    eq(metric(w.sites['dc1'], 'correlation_lookups_total{outcome="ambiguous"}'), 1)


def test_what_cannot_be_told_apart_is_local_and_reported(bed):
    w = Workflow(bed, ())
    dc1 = w.sites['dc1']
    for goal in ('dc2', 'dc1'):
        w.ask(f'image: {goal}', headers=[('X-Request-Id', 'the same'), ('traceparent', traceparent())])
    r = ask(dc1.addr('image'), path='/ambiguous', headers={'X-Request-Id': 'the same'})
    eq(r.body, b'dc1')
    line = dc1.access_of('/ambiguous')
    eq((line['reason'], line['scope'], line['carrier']), ('ambiguous-scope', None, None))
    wait_until(lambda: 'came in with two scopes (correlate:x-request-id)' in dc1.log(), 'the warning')
    eq(metric(dc1, 'correlation_lookups_total{outcome="ambiguous"}'), 1)
    assert metric(dc1, 'correlation_conflicts_total') >= 2
    for _ in range(50):
        ask(dc1.addr('image'), headers={'X-Request-Id': 'the same'})
    eq(dc1.log().count('came in with two scopes'), 1, 'lines for one problem')


def test_two_spellings_are_one_scope(bed):
    w = Workflow(bed, ())
    for text in ('image=dc2', '{ image : dc2 }', '{"image": "dc2"}'):
        w.ask(text, headers=[('X-Request-Id', 'the same')])
    eq(w.call('dc1', [('X-Request-Id', 'the same')]).body, b'dc2')


# --- who is believed ---------------------------------------------------------------------------------

def from_address(source, target, headers):
    """One request from another of this machine's loopback addresses."""
    host, port = target.rsplit(':', 1)
    c = Client.__new__(Client)
    c.sock = socket.create_connection((host, int(port)), harness.DEADLINE, source_address=(source, 0))
    c.addr, c.reader = target, harness.Reader(c.sock)
    with c:
        return c.ask(headers=headers)


def test_a_stranger_who_knows_a_value_is_given_no_scope(bed):
    w = Workflow(bed, (), scope={'carriers': ALL, 'neighbours': ['127.9.9.0/24', '::1']})
    dc1 = w.sites['dc1']
    w.ask('image: dc2', headers=[('X-Request-Id', 'known'), ('traceparent', traceparent())])
    for headers in ({'X-Request-Id': 'known'}, {'traceparent': traceparent()}):
        eq(from_address('127.8.8.8', dc1.addr('image'), headers).body, b'dc1', 'a stranger')
        eq(from_address('127.9.9.7', dc1.addr('image'), headers).body, b'dc2', 'a neighbour')
    eq(metric(dc1, 'correlation_lookups_total{outcome="stranger"}'), 2)


def test_a_client_can_neither_redirect_nor_read_anothers_calls(bed):
    """Who sends a scope of his own with another's id makes it ambiguous: its calls stay local, none goes his way."""
    w = Workflow(bed, (), sites=('dc1', 'dc2', 'dc3'))
    w.ask('image: dc2', headers=[('X-Request-Id', 'victim')])
    w.ask('image: dc3', headers=[('X-Request-Id', 'victim')])
    eq(w.call('dc1', [('X-Request-Id', 'victim')]).body, b'dc1')
    eq(len(w.image['dc3'].requests), 0)


def test_a_value_that_no_scope_came_in_with_gives_none(bed):
    w = Workflow(bed, ('x-request-id',))
    eq(w.ask('image: dc2', headers=[('X-Request-Id', 'a')]).body, b'dc2')
    eq(w.ask(headers=[('X-Request-Id', 'b')]).body, b'dc1')
    eq(metric(w.sites['dc1'], 'correlation_lookups_total{outcome="found"}'), 1)


def test_an_id_that_is_there_twice_or_too_long_is_none(bed):
    w = Workflow(bed, ())
    w.ask('image: dc2', headers=[('X-Request-Id', 'a'), ('X-Request-Id', 'b')])
    eq(w.compute['dc1'].last.all('x-request-id'), ['a', 'b'], 'nothing is added or taken')
    for value in ('a', 'b'):
        eq(w.call('dc1', [('X-Request-Id', value)]).body, b'dc1')
    w.ask('image: dc2', headers=[('X-Request-Id', 'x' * 600)])
    eq(w.call('dc1', [('X-Request-Id', 'x' * 600)]).body, b'dc1')
    w.ask('image: dc2', headers=[('X-Request-Id', 'x' * 512)])
    eq(w.call('dc1', [('X-Request-Id', 'x' * 512)]).body, b'dc2')


# --- piggyback -----------------------------------------------------------------------------------------

def test_the_service_that_checks_tokens_gets_them_bare_in_every_header(bed):
    w = Workflow(bed, ('x-auth-token', 'x-subject-token'), options={'image': {'piggyback_strip': True}})
    r = w.ask('compute: dc1, image: dc2', headers=[('X-Auth-Token', 'service'), ('X-Subject-Token', 'user')])
    eq(r.body, b'dc2')
    eq(w.compute['dc1'].last.get('x-subject-token'), 'user!SCOPE!compute: dc1, image: dc2')
    got = w.image['dc2'].last
    eq((got.all('x-auth-token'), got.all('x-subject-token')), (['service'], ['user']))
    # bare also where the scope came by another carrier, and where there is none
    w.call('dc1', [('X-Scope', 'image: dc1'), ('X-Auth-Token', 'x!SCOPE!image: dc2')])
    eq(w.image['dc1'].last.get('x-auth-token'), 'x')


def test_a_token_that_comes_back_in_an_answer_is_bare_and_used_later_has_no_old_scope(bed):
    w = Workflow(bed, ())
    w.serve = lambda site, r: answer(b'', headers=[('X-Subject-Token', r.get('x-auth-token')), ('X-Other', 'a!SCOPE!b')])
    for scope in ('compute: dc1, image: dc2', 'compute: dc2'):
        r = w.ask(scope, headers=[('X-Auth-Token', 'token')])
        eq((r.get('x-subject-token'), r.get('x-other')), ('token', 'a!SCOPE!b'))
    eq(w.call('dc1', [('X-Auth-Token', r.get('x-subject-token'))]).body, b'dc1')


def test_a_value_that_would_get_too_long_goes_bare(bed):
    w = Workflow(bed, ('x-auth-token',))
    token = 't' * 8180
    eq(w.ask('image: dc2', headers=[('X-Auth-Token', token)]).body, b'dc1', 'nothing carried it')
    eq(w.compute['dc1'].last.get('x-auth-token'), token)


def test_a_piggybacked_scope_that_is_wrong_is_refused_and_the_token_is_nowhere(bed):
    w = Workflow(bed, (), scope={'carriers': ['header', 'piggyback:x-request-id', 'piggyback:x-auth-token']})
    dc1 = w.sites['dc1']
    r = ask(dc1.addr('image'), path='/bad', headers={'X-Auth-Token': 'sesame!SCOPE!image: dc1 &'})
    eq(r.status, 400)
    r.problem('scope-syntax')
    assert b'sesame' not in r.body, r
    ask(dc1.addr('image'), path='/good', headers={'X-Request-Id': 'sesame!SCOPE!image: dc1', 'X-Auth-Token': 'sesame'})
    line = dc1.access_of('/good')
    eq((line['request_id'], line['carrier'], line['scope']), (None, 'piggyback:x-request-id', 'image: dc1'))
    r = ask(dc1.addr('image'), 'TRACE', headers={'Max-Forwards': '0', 'X-Request-Id': 'sesame!SCOPE!image: dc1'})
    assert b'sesame' not in r.body, r
    assert 'sesame' not in dc1.log() + str(dc1.access())


# --- configuration ---------------------------------------------------------------------------------------

def test_carriers_follow_a_reload_and_the_table_outlives_it(bed):
    w = Workflow(bed, ('x-request-id',), scope={'carriers': ['header', 'correlate:x-request-id']})
    dc1 = w.sites['dc1']
    eq(w.ask('image: dc2', headers=[('X-Request-Id', 'a')]).body, b'dc2')
    with open(dc1.config_path) as f:
        text = f.read()
    changed = text.replace('"correlate:x-request-id"', '"correlate:traceparent"')
    assert changed != text
    headers = {'Host': 'localhost', 'Content-Type': 'application/json'}
    for now, want in ((changed, b'dc1'), (text, b'dc2')):
        bed.write('dc1/site.yaml', now)
        eq(ask(dc1.admin, 'POST', '/v1/reload', headers, b'{}').status, 200)
        eq(w.call('dc1', [('X-Request-Id', 'a')]).body, want)


def test_with_several_workers_any_of_them_knows_the_scope(bed):
    w = Workflow(bed, ('x-request-id',), workers=4)
    tasks = []
    for i in range(40):
        goal = ('dc1', 'dc2')[i % 2]
        tasks.append(lambda g=goal: eq(w.ask(f'compute: {g}, image: {g}').body, g.encode()))
        tasks.append(lambda g=goal: eq(w.ask(f'compute: dc1, image: {g}').body, g.encode()))
    together(tasks)


# --- scopectl doctor -----------------------------------------------------------------------------------------

def doctor(daemon, *args):
    p = harness.run_program(harness.SCOPECTL, '--admin', f'http://{daemon.admin}', 'doctor', *args, timeout=60)
    return p.returncode, p.stdout, p.stderr


def test_doctor_shows_which_carriers_survive_an_application(bed):
    w = Workflow(bed, ('x-request-id', 'x-auth-token'))
    code, out, err = doctor(w.sites['dc1'], '--service', 'compute', '--path', '/servers', '-H', 'X-Auth-Token: secret')
    eq((code, err), (0, ''), out)
    assert re.search(r'✓ request +http://127.0.0.1:\d+/servers answers 200', out), out
    for line in ('✓ call to image correlate:x-request-id survives', '✓ call to image piggyback:x-auth-token survives',
                 '· call to image header is not handed on', '· call to image baggage is not handed on',
                 '· call to image correlate:traceparent is not handed on'):
        assert line in out, (line, out)
    assert 'secret' not in out, out
    got = w.compute['dc1'].last
    eq((got.path, got.method), ('/servers', 'GET'))


def test_doctor_advises_a_carrier_that_is_off(bed):
    w = Workflow(bed, ('x-openstack-request-id',))
    code, out, _ = doctor(w.sites['dc1'], '--service', 'compute', '-X', 'POST', '-d', 'body')
    eq(code, 1, out)
    assert 'correlate:x-openstack-request-id would survive (not switched on: scope.carriers)' in out, out
    assert 'hint: switch on correlate:x-openstack-request-id in scope.carriers' in out, out
    eq((w.compute['dc1'].last.method, w.compute['dc1'].last.body), ('POST', b'body'))


def test_doctor_says_when_nothing_survives_and_when_nothing_is_called(bed):
    w = Workflow(bed, ())
    dc1 = w.sites['dc1']
    code, out, _ = doctor(dc1, '--service', 'compute', '--wait', '0.5')
    eq(code, 1, out)
    assert '✗ calls' in out and 'of a token that it hands on try piggyback:NAME' in out, out
    assert "1 from this site's addresses carried no mark" in out, out
    code, out, _ = doctor(dc1, '--service', 'image', '--wait', '0.5')
    eq(code, 1, out)
    assert 'does this request make it call other services' in out, out
    code, out, err = doctor(dc1, '--service', 'compte')
    eq((code, out.count('✗')), (2, 0), out)
    assert 'compute' in err, err


def test_a_marked_request_stays_at_its_site(bed):
    """Even when all of it follows the workflow."""
    w = Workflow(bed, ('x-scope', 'baggage', 'traceparent'), options={'image': {'default': 'local'}})
    eq(doctor(w.sites['dc1'], '--service', 'compute')[0], 0)
    eq([len(o.requests) for o in (w.compute['dc2'], w.image['dc2'])], [0, 0])
    eq(len(w.image['dc1'].requests), 1)


def test_doctor_checks_daemon_sites_services_and_carriers(bed):
    w = Workflow(bed, ())
    dc1, dc2 = w.sites['dc1'], w.sites['dc2']
    wait_until(lambda: '✓ site dc2' in doctor(dc1)[1], 'dc2 is met')
    code, out, _ = doctor(dc1)
    eq(code, 0, out)
    for line in ('✓ daemon', '✓ site dc1', '✓ site dc2', '✓ service image', '✓ carriers'):
        assert line in out, (line, out)
    for goal in ('dc1', 'dc2'):
        w.ask(f'image: {goal}', headers=[('X-Request-Id', 'the same')])
    ask(dc1.addr('image'), headers={'X-Request-Id': 'the same'})
    dc2.kill()
    wait_until(lambda: '✗ site dc2' in doctor(dc1)[1], 'dc2 is seen to be gone', 30)
    code, out, _ = doctor(dc1)
    eq(code, 1, out)
    assert '1 calls had only ids that came in with two scopes' in out and 'hint: several scopes' in out, out
    code, out, _ = doctor(dc1, '--json')
    eq(code, 1)
    doc = harness.json.loads(out)
    assert doc['good'] is False and {f['outcome'] for f in doc['findings']} == {'good', 'bad', 'note'}, doc
    dc1.kill()
    eq(doctor(dc1)[0], 3)


def test_the_watch_of_the_admin_interface(bed):
    w = Workflow(bed, ('x-scope',))
    admin = w.sites['dc1'].admin
    headers = {'Host': 'localhost', 'Content-Type': 'application/json'}

    def post(text):
        return ask(admin, 'POST', '/v1/carriers/watch', headers, text)
    for bad in (b'', b'[]', b'{}', b'{"service": 1}', b'{"service": "image", "seconds": 0}',
                b'{"service": "image", "seconds": 601}', b'{"service": "image", "seconds": "x"}'):
        eq(post(bad).status, 400, bad)
    r = post(b'{"service": "imag"}')
    eq((r.status, r.json()['nearest']), (404, 'image'))
    eq(ask(admin, 'DELETE', '/v1/carriers/watch', headers).status, 405)
    eq(post(b'{"service": "image"}').status, 201)
    started = [post(b'{"service": "image", "seconds": 1}').json()['marker'] for _ in range(6)]
    watches = ask(admin, path='/v1/carriers/watch', headers=headers).json()['watches']
    eq(sorted(x['marker'] for x in watches), sorted(started[2:]), 'the newest four')
    wait_until(lambda: not any(x['running'] for x in ask(admin, path='/v1/carriers/watch', headers=headers)
                               .json()['watches']), 'their end')


if __name__ == '__main__':
    harness.main(globals())
