#!/usr/bin/python3
"""What operators see of replication (spec section 6): /v1/replicas, /v1/queue, /v1/rules, on a store that was filled
before the daemon started."""
import fcntl
import json
import os
import re
import subprocess
import threading
import time
import urllib.parse

import harness
from harness import Client, answer, ask, eq, run_program, wait_until

INCARNATION = '00000000000000a1'
CREATED = 1790000000000
CREATED_TEXT = '2026-09-21T14:13:20.000Z'
STATES = ('synced', 'queued', 'in-doubt', 'held', 'undoing', 'conflict', 'failed')


def meta(n):
    return f'019a0000-{n >> 16 & 0xffff:04x}-8000-8000-{n:012x}'


def op(n, site='dc1'):
    return f'{site}-{INCARNATION}-{n}'


def seed_store():
    """The program that fills a store; made where the daemon was."""
    top = os.path.dirname(os.path.abspath(harness.SCOPEMESHD))
    program = os.path.join(top, 'tests/system/seed_store')
    with open(os.path.join(top, 'tests/system/.seed_store.lock'), 'w') as lock:    # tests run side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        p = run_program('make', '-s', '-C', top, 'tests/system/seed_store', timeout=300)
    assert p.returncode == 0, p.stderr
    return program


def seed(bed, lines, site='dc1'):
    """Puts rows, each a tuple of a word and its values, into the site's store before its daemon starts."""
    folder = os.path.join(bed.dir, site, 'state')
    os.makedirs(folder, mode=0o700)
    text = ''.join('\t'.join(str(v) for v in line) + '\n' for line in lines)
    p = subprocess.run([seed_store(), folder, site], input=text, capture_output=True, text=True, timeout=120)
    eq(p.returncode, 0, p.stderr)


def replicated(n, service='image', collection='/v2/images', sites='dc1|dc2', states=('synced', 'synced'), reason='',
               created=CREATED, deleted=0):
    """One resource with its replicas."""
    key = (service, collection, meta(n))
    rows = [('resource', *key, 'eventual', sites, created, deleted)]
    for site, state in zip(sites.split('|'), states):
        rows.append(('replica', *key, site, f'local-{site}-{service}-{n:012x}', state, reason if state != 'synced' else ''))
    return rows


def operation(n, m=None, kind='update', service='image', collection='/v2/images', method='PUT', body=0, created=CREATED):
    m = meta(n) if m is None else m
    return ('operation', service, collection, m, op(n), kind, (CREATED << 16) + n, method, f'/v2/images/{m}', created, body)


def get(d, path, status=200):
    m = ask(d.admin, 'GET', path)
    eq(m.status, status, m.body[:500])
    return m.json()


def pages(d, path, name):
    """The elements of every page; a page is never longer than asked for."""
    found, after = [], None
    while True:
        page = get(d, path + (f'&after={urllib.parse.quote(after)}' if after else ''))
        found.append(page[name])
        after = page['next']
        if after is None:
            return found


# ---- replicas ------------------------------------------------------------------------------------------------------

def test_without_anything_the_lists_are_empty(bed):
    d = bed.daemon('dc1', {'image': {}})
    eq(get(d, '/v1/replicas'), {'replicas': [], 'next': None})
    eq(get(d, '/v1/queue'), {'pending': 0, 'queue': [], 'next': None})
    eq(get(d, '/v1/rules'), {'rules': [], 'next': None})


def test_an_element_has_the_shape_of_the_contract(bed):
    seed(bed, replicated(1, states=('synced', 'held'), reason='credentials'))
    d = bed.daemon('dc1', {'image': {}})
    eq(get(d, '/v1/replicas'), {'replicas': [{
        'meta_id': meta(1), 'service': 'image', 'collection': '/v2/images', 'consistency': 'eventual',
        'created': CREATED_TEXT, 'deleted': None,
        'sites': {'dc1': {'local_id': 'local-dc1-image-000000000001', 'state': 'synced', 'reason': None},
                  'dc2': {'local_id': 'local-dc2-image-000000000001', 'state': 'held', 'reason': 'credentials'}},
    }], 'next': None})


def test_what_is_not_known_of_a_member_is_null(bed):
    seed(bed, [('resource', 'image', '/v2/images', meta(1), 'strong', 'dc1|dc2|DC 3|DC', 0, 0),
               ('replica', 'image', '/v2/images', meta(1), 'dc2', '', 'queued', 'unreachable')])
    d = bed.daemon('dc1', {'image': {}})
    e = get(d, '/v1/replicas')['replicas'][0]
    eq((e['created'], e['consistency']), (None, 'strong'))
    nothing = {'local_id': None, 'state': None, 'reason': None}
    eq(e['sites'], {'dc1': nothing, 'dc2': {'local_id': None, 'state': 'queued', 'reason': 'unreachable'}, 'DC 3': nothing, 'DC': nothing})


def filtered(bed):
    """Resource n: its states at dc1 and dc2 are the n-th pair of states."""
    rows = []
    for n in range(49):
        rows += replicated(n, states=(STATES[n // 7], STATES[n % 7]), reason='some-reason',
                           service='image' if n % 2 else 'compute')
    rows += replicated(100, sites='dc3|dc4', states=('synced', 'failed'))
    rows += replicated(101, states=('synced', 'synced'), deleted=(CREATED << 16) + 1)
    return rows


def test_service_site_and_state_filter_and_hold_of_one_replica(bed):
    seed(bed, filtered(bed))
    d = bed.daemon('dc1', {'image': {}})

    def found(query):
        return sorted(int(e['meta_id'][-12:], 16) for e in get(d, '/v1/replicas?limit=1000' + query)['replicas'])
    every = list(range(49)) + [100]
    eq(found(''), every, 'tombstones are not shown')
    eq(found('&service=compute'), list(range(0, 49, 2)))
    eq(found('&service=image&site=dc2'), list(range(1, 49, 2)))
    eq(found('&site=dc3'), [100])
    eq(found('&site=dc9'), [])
    eq(found('&service=imag'), [])
    for i, state in enumerate(STATES):
        here, there = range(7 * i, 7 * i + 7), range(i, 49, 7)
        eq(found(f'&site=dc1&state={state}'), sorted(here), state)
        eq(found(f'&site=dc2&state={state}'), sorted(there), state)
        more = [100] if state in ('synced', 'failed') else []
        eq(found(f'&state={state}'), sorted(set(here) | set(there)) + more, state)
    eq(found('&site=dc4&state=synced'), [], 'synced is dc3')


def test_pages_are_whole_and_each_replica_is_on_one(bed):
    rows = []
    for n in range(2500):
        rows += replicated(n, states=('synced', 'queued' if n % 10 == 0 else 'synced'))
    seed(bed, rows)
    d = bed.daemon('dc1', {'image': {}})
    for limit, query, total in ((1000, '', 2500), (7, '&state=queued', 250), (250, '&state=queued', 250)):
        found = pages(d, f'/v1/replicas?limit={limit}{query}', 'replicas')
        eq([len(p) for p in found if p][:-1], [limit] * ((total - 1) // limit), query)
        ids = [e['meta_id'] for p in found for e in p]
        eq((len(ids), len(set(ids))), (total, total), query)
    eq(len(get(d, '/v1/replicas')['replicas']), 100, 'the limit by default')


HOSTILE = ['limit=0', 'limit=1001', 'limit=-1', 'limit=', 'limit=99999999999999999999', 'limit=%31', 'limit=1e2', 'after=x',
           'after=-1', 'after=9223372036854775808', 'after=%zz', 'after=1%00', 'state=synchron', 'state=Synced', 'state=%', 'state=%00',
           'service=%', 'site=%f']


def test_hostile_parameters_are_400_with_a_sentence(bed):
    seed(bed, replicated(1) + [operation(1), ('delivery', op(1), 'dc2', 'queued', 0, 0, 0, 0, '')])
    d = bed.daemon('dc1', {'image': {}})
    for query in HOSTILE:
        m = ask(d.admin, 'GET', f'/v1/replicas?{query}')
        eq((m.status, m.get('content-type')), (400, 'application/problem+json'), query)
        assert m.json()['detail'], query
    eq(ask(d.admin, 'GET', '/v1/replicas?state=syncd').json()['nearest'], 'synced')
    for query in ('after=1', 'after=:dc2', 'after=x:dc2', 'after=1:' + 'x' * 65, 'limit=0', 'after=%'):
        eq(ask(d.admin, 'GET', f'/v1/queue?{query}').status, 400, query)
    for query in ('service=%00', 'site=' + 'x' * 3000, "service='; DROP TABLE resources; --".replace(' ', '%20'), 'service=%ff'):
        eq(get(d, f'/v1/replicas?{query}')['replicas'], [], query)
    for path in ('/v1/replicas/%', '/v1/queue/x', '/v1/queue/dc1-1-1', '/v1/queue/%zz', '/v1/queue/' + op(1) + '0' * 30):
        eq(ask(d.admin, 'GET', path).status, 400, path)
    for path in ('/v1/replicas/' + meta(9), '/v1/replicas/%00', '/v1/replicas/%ff%fe', '/v1/replicas/' + 'x' * 2000, '/v1/queue/' + op(9),
                 '/v1/replicas/' + meta(1) + '?service=compute'):
        eq(ask(d.admin, 'GET', path).status, 404, path)
    for path in ('/v1/replicas/', '/v1/replicas/a/b'):
        eq(ask(d.admin, 'GET', path).status, 404, path)
    eq(ask(d.admin, 'DELETE', '/v1/replicas/' + meta(1)).status, 405)
    eq(get(d, '/v1/replicas/' + meta(1))['meta_id'], meta(1), 'and it is still there')


def test_one_replica_shows_its_operations_newest_first(bed):
    rows = replicated(1, states=('synced', 'queued'), reason='unreachable')
    for n in range(30):
        rows += [operation(n + 1, m=meta(1), kind='update' if n else 'create', method='PUT' if n else 'POST', body=n)]
        rows += [('delivery', op(n + 1), 'dc1', 'done', 1, 201, 0, 0, ''),
                 ('delivery', op(n + 1), 'dc2', 'queued', 3, 503, CREATED + 5000, 0, '')]
    seed(bed, rows)
    d = bed.daemon('dc1', {'image': {}})
    e = get(d, f'/v1/replicas/{meta(1)}')
    eq([o['op'] for o in e['operations']], [op(n) for n in range(30, 10, -1)])
    eq(e['operations'][0], {'op': op(30), 'kind': 'update', 'method': 'PUT', 'path': f'/v2/images/{meta(1)}', 'created': CREATED_TEXT,
                            'body_bytes': 29, 'sites': {
                                'dc1': {'state': 'done', 'status': 201, 'attempts': 1, 'next_attempt': None, 'expires': None,
                                        'last_error': None},
                                'dc2': {'state': 'queued', 'status': 503, 'attempts': 3, 'next_attempt': '2026-09-21T14:13:25.000Z',
                                        'expires': None, 'last_error': 'answered 503'}}})
    e.pop('operations')
    eq(e, get(d, '/v1/replicas')['replicas'][0], 'else it is the same element')


def test_an_identifier_of_several_services_is_409_until_one_is_named(bed):
    rows = [r for s in ('image', 'compute') for r in replicated(1, service=s)]
    rows += [('resource', s, c, '17', 'eventual', 'dc1|dc2', CREATED, 0)
             for s, c in (('image', '/notes'), ('image', '/pads'), ('compute', '/notes'))]
    seed(bed, rows)
    d = bed.daemon('dc1', {'image': {}})
    for m in (meta(1), '17'):
        p = get(d, f'/v1/replicas/{m}', 409)
        eq((p['type'], sorted(p['known'])), ('urn:scopemesh:several', ['compute', 'image']))
    eq(get(d, f'/v1/replicas/{meta(1)}?service=compute')['service'], 'compute')
    p = get(d, '/v1/replicas/17?service=image', 409)
    eq(sorted(p['known']), ['/notes', '/pads'])
    eq(get(d, '/v1/replicas/17?service=image&collection=/pads')['collection'], '/pads')
    eq(get(d, '/v1/replicas/17?service=compute')['collection'], '/notes')


def test_a_tombstone_is_shown_by_its_identifier_only(bed):
    seed(bed, replicated(1, deleted=CREATED << 16))
    d = bed.daemon('dc1', {'image': {}})
    eq(get(d, '/v1/replicas')['replicas'], [])
    eq(get(d, f'/v1/replicas/{meta(1)}')['deleted'], CREATED_TEXT)


def test_a_create_that_nobody_has_admitted_is_told_by_its_identifier(bed):
    """What a client that got 504 with X-Scope-Meta-Id looks up."""
    seed(bed, [operation(1, kind='create', method='POST', collection=''),
               ('intent', op(1), 'quorum', 'dc1|DC 2', 'DC 2', 'in-doubt', CREATED + 1000)])
    d = bed.daemon('dc1', {'image': {}})
    e = get(d, f'/v1/replicas/{meta(1)}')
    eq((e['service'], e['collection'], e['consistency'], list(e['sites'])), ('image', None, 'quorum', ['dc1', 'DC 2']))
    eq([o['op'] for o in e['operations']], [op(1)])
    q = get(d, '/v1/queue')
    eq((q['pending'], q['queue'][0]['target'], q['queue'][0]['state']), (1, 'DC 2', 'in-doubt'))
    o = get(d, f'/v1/queue/{op(1)}')
    eq(o['admission'], {'stage': 'in-doubt', 'site': 'DC 2', 'consistency': 'quorum', 'since': '2026-09-21T14:13:21.000Z',
                        'sites': ['dc1', 'DC 2']})


def test_the_create_of_a_resource_belongs_to_its_history_though_it_had_no_collection(bed):
    seed(bed, replicated(1) + [operation(1, kind='create', collection=''), operation(2, m=meta(1))])
    d = bed.daemon('dc1', {'image': {}})
    eq([o['op'] for o in get(d, f'/v1/replicas/{meta(1)}')['operations']], [op(2), op(1)])


# ---- queue ---------------------------------------------------------------------------------------------------------

def queue_of(count, targets=('dc1', 'dc2', 'dc3'), state='queued'):
    rows = []
    for n in range(1, count + 1):
        rows.append(operation(n, body=10))
        rows += [('delivery', op(n), t, 'done' if t == 'dc1' else state, 0, 0, 0, 0, '') for t in targets]
    return rows


def test_a_queue_entry_has_the_shape_of_the_contract(bed):
    seed(bed, [operation(1), ('delivery', op(1), 'dc1', 'done', 1, 200, 0, 0, ''),
               ('delivery', op(1), 'dc2', 'held', 2, 401, CREATED + 1000, CREATED + 2000, 'credentials'),
               operation(2), ('delivery', op(2), 'dc2', 'failed', 9, 422, 0, 0, ''),
               operation(3), ('delivery', op(3), 'dc2', 'dropped', 9, 422, 0, 0, '')])
    d = bed.daemon('dc1', {'image': {}})
    q = get(d, '/v1/queue')
    eq(q['pending'], 1, 'what has failed is over, until an operator acts')
    eq([(e['op'], e['target'], e['state']) for e in q['queue']], [(op(1), 'dc2', 'held'), (op(2), 'dc2', 'failed')])
    eq(q['queue'][0], {'op': op(1), 'meta_id': meta(1), 'service': 'image', 'target': 'dc2', 'kind': 'update', 'method': 'PUT',
                       'path': f'/v2/images/{meta(1)}', 'state': 'held', 'since': CREATED_TEXT, 'attempts': 2,
                       'next_attempt': '2026-09-21T14:13:21.000Z', 'expires': '2026-09-21T14:13:22.000Z', 'last_error': 'credentials'})
    eq(q['queue'][1]['last_error'], 'answered 422')


def test_queue_pages_end_anywhere_and_show_each_target_once(bed):
    seed(bed, queue_of(1200, targets=('dc1', 'dc2', 'dc3', 'DC 4')))
    d = bed.daemon('dc1', {'image': {}})
    for limit in (1000, 100, 7):
        found = pages(d, f'/v1/queue?limit={limit}', 'queue')
        eq({len(p) for p in found[:-1]}, {limit})
        entries = [(e['op'], e['target']) for p in found for e in p]
        eq(entries, [(op(n), t) for n in range(1, 1201) for t in ('DC 4', 'dc2', 'dc3')], limit)
    eq(get(d, '/v1/queue?limit=1')['pending'], 1200, 'operations, not entries')


def test_one_operation_shows_every_site_and_neither_headers_nor_content(bed):
    seed(bed, queue_of(1))
    d = bed.daemon('dc1', {'image': {}})
    m = ask(d.admin, 'GET', f'/v1/queue/{op(1)}')
    o = m.json()
    eq({s: v['state'] for s, v in o['sites'].items()}, {'dc1': 'done', 'dc2': 'queued', 'dc3': 'queued'})
    eq((o['op'], o['meta_id'], o['service'], o['collection'], o['admission'], o['body_bytes']),
       (op(1), meta(1), 'image', '/v2/images', None, 10))
    for path in (f'/v1/queue/{op(1)}', '/v1/queue', f'/v1/replicas/{meta(1)}', '/v1/replicas'):
        assert b'never-shown' not in ask(d.admin, 'GET', path).body, path


# ---- metrics -------------------------------------------------------------------------------------------------------

def metrics(d):
    """Every series of replication, by its name without prefix and with its labels."""
    text = ask(d.admin, path='/metrics').body.decode()
    return {name: float(value) for name, value in re.findall(r'^scopemesh_(\S+) (\S+)$', text, re.M)}


def test_metrics_tell_the_queue_by_site_and_what_waits_for_an_operator(bed):
    now = int(time.time() * 1000)
    seed(bed, [row for n, (state, age) in enumerate((('held', 500), ('held', 50), ('failed', 90000), ('in-doubt', 5), ('done', 7)), 1)
               for row in (operation(n, body=1000, created=now - 1000 * age), ('delivery', op(n), 'dc2', state, 1, 0, 0, 0, ''))])
    d = bed.daemon('dc1', {'image': {}})
    m = metrics(d)
    eq((m['queue_entries{site="dc2"}'], m['queue_bytes{site="dc2"}']), (3, 3000), 'what has failed is over')
    assert 500 <= m['queue_oldest_seconds{site="dc2"}'] < 560, m['queue_oldest_seconds{site="dc2"}']
    eq([m[f'queue_blocked{{site="dc2",state="{s}"}}'] for s in ('held', 'in-doubt', 'failed')], [2, 1, 1])
    eq([m[f'queue_{what}{{site="dc1"}}'] for what in ('entries', 'bytes', 'oldest_seconds')], [0, 0, 0], 'a site of the registry')
    assert 'queue_blocked{site="dc1",state="held"}' not in m


def test_metrics_tell_replicas_names_and_what_the_store_does(bed):
    rows = [r for n in range(5) for r in replicated(n, states=('held' if n < 2 else 'synced', 'failed'), reason='some-reason')]
    seed(bed, rows + replicated(9, service='a "quoted" one') + replicated(10, deleted=CREATED << 16))
    d = bed.daemon('dc1', {'image': {}})
    m = metrics(d)
    eq([m[f'replicas{{service="image",state="{s}"}}'] for s in STATES], [3, 0, 0, 2, 0, 0, 0], "this site's own")
    text = ask(d.admin, path='/metrics').body.decode()
    assert 'scopemesh_replicas{service="a \\"quoted\\" one",state="synced"} 1\n' in text, text
    eq((m['names'], m['store_writable'], m['spool_bytes']), (7, 1, 0))
    eq(m['spool_limit_bytes'], 10 << 30)
    assert m['names_bytes'] > 7 * 48 and m['store_bytes'] >= 4096, m
    # At the start what is kept of old answers is dropped.
    wait_until(lambda: metrics(d)['store_batches_total{outcome="durable"}'] == 1, 'the first batch')
    m = metrics(d)
    before = m['store_commit_seconds_count'], m['store_batches_total{outcome="durable"}']
    eq(ask(d.admin, 'POST', '/v1/rules/pin', [('Content-Type', 'application/json')],
           b'{"service": "image", "collection": "/v2/images"}').status, 404)
    m = metrics(d)
    eq(m['store_batches_total{outcome="failed"}'], 1, 'there is no such rule')
    eq((m['store_commit_seconds_count'], m['store_batches_total{outcome="durable"}']), (before[0] + 1, before[1]))
    eq(m['store_commit_seconds_bucket{le="+Inf"}'], before[0] + 1)


class Notes:
    """An application at each of three sites; what dc2's answers to writes can be chosen."""

    def __init__(self, bed):
        self.count, self.dc2 = 0, None
        self.sites, _ = bed.three(service='notes', handler=self.handle)
        wait_until(lambda: all(s['state'] == 'connected' for s in self.seen().values()), 'the sites to meet')

    def handle(self, site, request, sock):
        self.count += 1
        if site == 'dc2' and self.dc2:
            return answer('{}', self.dc2)
        return answer(json.dumps({'id': f'{site}-0000-0000-0000-{self.count:06}'}), '201 Created' if request.method == 'POST' else '200 OK',
                      [('Content-Type', 'application/json')])

    def seen(self):
        return {s['name']: s for s in get(self.sites['dc1'], '/v1/sites')['sites']}

    def create(self):
        d = self.sites['dc1']
        m = ask(d.addr('notes'), 'POST', '/notes', {'X-Scope': 'notes: dc1 & dc2 & dc3', 'Content-Type': 'application/json'}, b'{}')
        eq(m.status, 201, m.body)
        return m.get('x-scope-meta-id')

    def metrics(self):
        return metrics(self.sites['dc1'])


def test_a_backlog_is_told_of_its_site_until_it_is_gone(bed):
    notes = Notes(bed)
    notes.dc2 = '503 Service Unavailable'
    for _ in range(3):
        notes.create()
    wait_until(lambda: notes.seen()['dc2']['state'] == 'synchronizing', 'dc2 is synchronizing')
    seen = notes.seen()
    eq({n: (s['queued'], s['state']) for n, s in seen.items()},
       {'dc1': (0, 'connected'), 'dc2': (3, 'synchronizing'), 'dc3': (0, 'connected')})
    eq(seen['dc2']['reachable'], True)
    m = notes.metrics()
    eq([m[f'queue_entries{{site="{s}"}}'] for s in ('dc1', 'dc2', 'dc3')], [0, 3, 0])
    assert m['queue_oldest_seconds{site="dc2"}'] >= 1, m
    eq(m['queue_bytes{site="dc2"}'], 6)
    notes.dc2 = None
    wait_until(lambda: notes.seen()['dc2']['state'] == 'connected', 'dc2 has caught up')
    eq(notes.seen()['dc2']['queued'], 0)
    eq(notes.metrics()['queue_entries{site="dc2"}'], 0)


def test_metrics_count_admissions_operations_and_attempts(bed):
    notes = Notes(bed)
    meta_id = notes.create()
    wait_until(lambda: get(notes.sites['dc1'], '/v1/queue')['pending'] == 0, 'every site has the first')
    notes.dc2 = '401 Unauthorized'
    notes.create()
    wait_until(lambda: notes.metrics().get('queue_blocked{site="dc2",state="held"}') == 1, 'the second create is held at dc2')
    eq(ask(notes.sites['dc1'].addr('notes'), 'PUT', f'/notes/{meta_id}', {'Content-Type': 'application/json'}, b'{}').status, 200)
    wait_until(lambda: notes.metrics()['queue_entries{site="dc3"}'] == 0, 'dc3 has all')
    m = notes.metrics()
    eq({k: v for k, v in m.items() if k.startswith('operations_total')},
       {'operations_total{kind="create",class="eventual"}': 2, 'operations_total{kind="update",class="eventual"}': 1})
    eq((m['admissions_total{outcome="done"}'], m['admissions_total{outcome="refused"}']), (3, 0))
    eq(m['replays_total{site="dc3",outcome="done"}'], 3)
    assert m['replays_total{site="dc2",outcome="held"}'] >= 1, m
    eq(m['replication_lag_seconds_count{site="dc3"}'], 3)
    assert 0 < m['replication_lag_seconds_sum{site="dc3"}'] < 3 * harness.DEADLINE, m


# ---- rules ---------------------------------------------------------------------------------------------------------

def test_rules_are_shown_and_pinned_for_good(bed):
    seed(bed, [('rule', 'image', '/v2/images', '{"id": "$.id"}', 0), ('rule', 'compute', '/servers', '{"id": "location"}', 1),
               ('rule', 'image', '/v2/tasks', 'no JSON', 0)])
    d = bed.daemon('dc1', {'image': {}})
    rules = get(d, '/v1/rules')['rules']
    eq([(r['service'], r['collection'], r['pinned'], r['rule']) for r in rules],
       [('compute', '/servers', True, {'id': 'location'}), ('image', '/v2/images', False, {'id': '$.id'}),
        ('image', '/v2/tasks', False, None)])
    eq([r['collection'] for r in get(d, '/v1/rules?service=image')['rules']], ['/v2/images', '/v2/tasks'])
    eq([[r['collection'] for r in p] for p in pages(d, '/v1/rules?limit=1', 'rules')], [['/servers'], ['/v2/images'], ['/v2/tasks']])

    def post(verb, content):
        return ask(d.admin, 'POST', f'/v1/rules/{verb}', [('Content-Type', 'application/json')], json.dumps(content).encode())
    m = post('pin', {'service': 'image', 'collection': '/v2/images'})
    eq((m.status, m.json()), (200, {'service': 'image', 'collection': '/v2/images', 'pinned': True, 'rule': {'id': '$.id'}}))
    eq(post('unpin', {'service': 'compute', 'collection': '/servers'}).json()['pinned'], False)
    eq(post('pin', {'service': 'image', 'collection': '/v2/image'}).status, 404)
    for content in ({}, [], {'service': 'image'}, {'service': 'image', 'collection': 7}, {'service': '', 'collection': '/a'},
                    {'service': 'image', 'collection': '/a', 'more': 1}):
        eq(post('pin', content).status, 400, content)
    eq(ask(d.admin, 'POST', '/v1/rules/pin', [], b'{}').status, 403, 'as a form could send it')
    d.stop()
    d.start()
    eq([r['pinned'] for r in get(d, '/v1/rules')['rules']], [False, True, False])


# ---- the loop ------------------------------------------------------------------------------------------------------

def many(count):
    for n in range(count):
        yield from replicated(n, sites='dc1|dc2|dc3', states=('synced', 'synced', 'queued' if n == count - 1 else 'synced'))
        if n % 4 == 0:
            yield operation(n + 1)
            yield ('delivery', op(n + 1), 'dc2', 'queued', 0, 0, 0, 0, '')


MANY = 100000


class Watcher:
    """Asks /healthz over one connection, all the time; the longest answer."""

    def __init__(self, d):
        self.client, self.stop, self.times = Client(d.admin), False, []
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.stop:
            started = time.monotonic()
            eq(self.client.ask('GET', '/healthz').status, 200)
            self.times.append(time.monotonic() - started)
            time.sleep(0.002)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop = True
        self.thread.join()
        self.client.close()


def test_the_loop_goes_on_while_a_hundred_thousand_replicas_are_read(bed):
    seed(bed, many(MANY))
    d = bed.daemon('dc1', {'image': {}})
    paths = ('/v1/replicas?limit=1000', '/v1/replicas?site=dc3&state=queued', '/v1/replicas?service=nothing',
             f'/v1/replicas/{meta(MANY - 1)}', '/v1/replicas/17', '/v1/queue?limit=1000', '/v1/sites', '/metrics')
    with Watcher(d) as w:
        found = {}
        for path in paths * 2:
            with Client(d.admin) as c:
                m = c.ask('GET', path)
            eq(m.status, 404 if path.endswith('/17') else 200, path)
            found[path] = m
    eq([e['meta_id'] for e in found['/v1/replicas?site=dc3&state=queued'].json()['replicas']], [meta(MANY - 1)])
    eq(found['/v1/queue?limit=1000'].json()['pending'], MANY // 4)
    times = sorted(w.times)
    assert len(times) > 50, len(times)
    # The machine may stop us for a moment: what a stalled loop would do is that many answers are late.
    late = [t for t in times if t > 0.05]
    assert len(late) <= len(times) // 100, f'{len(late)} of {len(times)} late, the longest {times[-1] * 1000:.0f} ms'


def test_a_client_that_leaves_while_the_store_is_read_harms_nobody(bed):
    seed(bed, many(20000))
    d = bed.daemon('dc1', {'image': {}})
    for i in range(60):
        c = Client(d.admin)
        c.send('GET /v1/replicas?limit=1000&site=dc9 HTTP/1.1\r\nHost: localhost\r\n\r\n')
        if i % 2:
            harness.reset(c.sock)
        else:
            c.close()
    eq(get(d, '/v1/replicas?limit=1')['replicas'][0]['meta_id'], meta(0))
    with Client(d.admin) as c:    # a pipelined request waits for its turn, and half a connection is enough
        c.send('GET /v1/replicas?limit=1 HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
        c.sock.shutdown(1)
        eq(c.reader.message('GET').json()['replicas'][0]['meta_id'], meta(0))
        eq(c.reader.message('GET').status, 200)
    for i in range(20):
        Client(d.admin).send('GET /v1/replicas?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n')
    eq(d.stop(), 0, 'stopped with readings under way')


if __name__ == '__main__':
    harness.main(globals())
