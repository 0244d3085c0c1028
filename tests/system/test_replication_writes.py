#!/usr/bin/python3
"""Reads and writes of replicas (replication.md sections 3 and 4): every write reaches every replica, from wherever it
enters, in one order per resource, once where once matters."""
import hashlib
import json
import time

import harness
from harness import ask, eq, group, wait_until
from notes_bed import DECLARED, Notes, Writer, both, side_by_side

THREE = ('dc1', 'dc2', 'dc3')
SOON = {'queue': {'settle': '1s'}}


# --- everywhere ------------------------------------------------------------------------------------

group(globals(), 'every write at every replica')


def test_an_update_reaches_all_from_any_site(bed):
    """dc3 has no replica, and needs none."""
    notes = Notes(bed, THREE)
    meta = notes.made()
    for n, site in enumerate(THREE):
        r = notes.send(site, 'PUT', f'/notes/{meta}', {f'by_{site}': n})
        eq((r.status, r.json()['id'], r.json()[f'by_{site}']), (200, meta, n), site)
        eq(r.get('x-scope-meta-id'), meta)
        notes.wait_note(meta, {f'by_{site}': n}, 'dc1', 'dc2')
    notes.wait_note(meta, {'by_dc1': 0, 'by_dc2': 1, 'by_dc3': 2, 'title': 'one'}, 'dc1', 'dc2')
    eq([len(notes.apps[s].done('PUT')) for s in THREE], [3, 3, 0])


def test_patches_of_json_reach_all(bed):
    notes = Notes(bed)
    meta = notes.made()
    for n, site in enumerate(('dc1', 'dc2')):
        r = notes.send(site, 'PATCH', f'/notes/{meta}', {'n': n}, {'Content-Type': 'application/merge-patch+json'})
        eq(r.status, 200)
        notes.wait_note(meta, {'n': n}, 'dc1', 'dc2')


def test_an_append_reaches_all_once(bed):
    notes = Notes(bed, THREE)
    meta = notes.made()
    for site in THREE:
        eq(notes.send(site, 'POST', f'/notes/{meta}/actions', {'do': site}).status, 200)
    for there in ('dc1', 'dc2'):
        wait_until(lambda t=there: sorted(notes.note(t, meta)['actions']) == list(THREE),
                   lambda t=there: f'three actions at {t}: {notes.note(t, meta)}')
    notes.wait_idle(*THREE)
    eq([len(notes.apps[s].done('POST', '/notes/.*/actions')) for s in THREE], [3, 3, 0])


def test_a_delete_reaches_all_and_what_is_deleted_is_410(bed):
    notes = Notes(bed, THREE, apps={'upsert': True})
    metas = {site: notes.made(title=site) for site in THREE}
    for site, meta in metas.items():
        eq(notes.send(site, 'DELETE', f'/notes/{meta}').status, 204, site)
    for there in ('dc1', 'dc2'):
        notes.wait_titles([], there)
    notes.wait_idle(*THREE)
    before = [len(a.arrived) for a in notes.apps.values()]
    for site in THREE:
        for meta in metas.values():
            for method in ('GET', 'PUT', 'DELETE'):
                r = notes.send(site, method, f'/notes/{meta}', {'x': 1} if method == 'PUT' else None)
                eq(r.status, 410, f'{method} at {site}')
    eq([len(a.arrived) for a in notes.apps.values()], before, 'no application was asked')
    eq([notes.send(s, 'GET', '/notes').json() for s in THREE], [[], [], []])


def test_a_partial_put_of_each_site_leaves_the_others_members(bed):
    notes = Notes(bed)
    meta = notes.made(a=0, b=0, c='kept')
    eq([r.status for r in side_by_side(lambda: notes.send('dc1', 'PUT', f'/notes/{meta}', {'a': 1}),
                                       lambda: notes.send('dc2', 'PUT', f'/notes/{meta}', {'b': 2}))], [200, 200])
    notes.wait_note(meta, {'a': 1, 'b': 2, 'c': 'kept', 'title': 'one'}, 'dc1', 'dc2')


def test_a_whole_put_replaces_at_all(bed):
    notes = Notes(bed, apps={'whole_put': True})
    meta = notes.made(old=1)
    eq(notes.send('dc2', 'PUT', f'/notes/{meta}', {'title': 'new'}).status, 200)
    notes.wait_note(meta, {'title': 'new'}, 'dc1', 'dc2')
    eq(['old' in notes.note(s, meta) for s in ('dc1', 'dc2')], [False, False])


def test_a_file_reaches_all(bed):
    notes = Notes(bed)
    meta = notes.made()
    for n, site in enumerate(('dc1', 'dc2')):
        body = bytes(range(256)) * 8 * 10 ** n
        r = notes.send(site, 'PUT', f'/notes/{meta}/file', body, {'Content-Type': 'application/octet-stream'})
        eq(r.status, 204)
        file = {'sha256': hashlib.sha256(body).hexdigest(), 'size': len(body)}
        notes.wait_note(meta, {'file': file}, 'dc1', 'dc2')
        eq([notes.send(s, 'GET', f'/notes/{meta}/file').json() for s in ('dc1', 'dc2')], [file, file])


def test_a_write_needs_no_scope_and_heeds_none(bed):
    """The scope of the create decided who holds it."""
    notes = Notes(bed, THREE)
    meta = notes.made()
    for scope in ('notes: dc1', 'notes: dc1 & dc2', 'notes: dc1 & dc2 & dc3'):
        r = notes.send('dc1', 'PUT', f'/notes/{meta}', {'scope': scope}, {'X-Scope': scope})
        eq(r.status, 200, scope)
        notes.wait_note(meta, {'scope': scope}, 'dc1', 'dc2')
    eq(notes.apps['dc3'].arrived, [])


# --- order -----------------------------------------------------------------------------------------

group(globals(), 'order')


def order_at(app, member):
    """The values that writes set, in the order of execution."""
    return [json.loads(e.body)[member] for e in app.done('PATCH')]


def test_many_writes_of_one_resource_have_one_order_everywhere(bed):
    notes = Notes(bed)
    meta = notes.made()
    writers = [Writer(notes, lambda n, w=w: ('dc1', 'PATCH', f'/notes/{meta}', {'v': f'{w}-{n}'}, {}), 15) for w in range(8)]
    eq([r.status for w in writers for r in (w.join(), w.results)[1]], [200] * 120)
    notes.wait_idle('dc1')
    orders = [order_at(a, 'v') for a in notes.apps.values()]
    eq(len(orders[0]), 120)
    eq(orders[1], orders[0], 'order at dc2, and at dc1')
    for w in range(8):
        eq([v for v in orders[0] if v.startswith(f'{w}-')], [f'{w}-{n}' for n in range(15)], 'what one client wrote')
    eq([a.most_at_once for a in notes.apps.values()], [1, 1], 'writes to one note at once')
    eq(notes.note('dc1', meta)['v'], notes.note('dc2', meta)['v'])


def test_resources_do_not_wait_for_each_other(bed):
    notes = Notes(bed)
    stuck, free = notes.made(title='stuck'), notes.made(title='free')
    local = notes.local(stuck, 'dc2')
    notes.apps['dc2'].fail(503, when=lambda r: r.method == 'PUT' and r.path == f'/notes/{local}')
    eq(notes.send('dc1', 'PUT', f'/notes/{stuck}', {'v': 1}).status, 200)
    eq(notes.send('dc1', 'PUT', f'/notes/{free}', {'v': 1}).status, 200)
    notes.wait_note(free, {'v': 1}, 'dc1', 'dc2')
    eq(notes.note('dc2', stuck).get('v'), None)
    notes.apps['dc2'].heal()
    notes.wait_note(stuck, {'v': 1}, 'dc2')


def test_a_write_waits_for_the_one_before_it_and_for_the_create(bed):
    """What comes while a replica is on its way is executed there in its turn."""
    notes = Notes(bed)
    fault = notes.apps['dc2'].fail(503)
    meta = notes.create().get('x-scope-meta-id')
    for n in range(5):
        eq(notes.send('dc1', 'PATCH', f'/notes/{meta}', {'v': n}).status, 200)
    eq(notes.send('dc1', 'POST', f'/notes/{meta}/actions', {'do': 'last'}).status, 200)
    eq(notes.apps['dc2'].came('PATCH'), [], 'nothing overtakes the create')
    notes.apps['dc2'].faults.remove(fault)
    notes.wait_titles(['one'], 'dc2')
    notes.wait_idle('dc1')
    eq(order_at(notes.apps['dc2'], 'v'), list(range(5)))
    eq(notes.note('dc2', meta)['actions'], ['last'])


def test_appends_of_all_sites_at_once_are_there_once_each(bed):
    notes = Notes(bed, THREE)
    meta = notes.made(scope=THREE)
    writers = [Writer(notes, lambda n, s=s: (s, 'POST', f'/notes/{meta}/actions', {'do': f'{s}-{n}'}, {}), 20) for s in THREE]
    eq([r.status for w in writers for r in (w.join(), w.results)[1]], [200] * 60)
    notes.wait_idle(*THREE, seconds=30)
    want = sorted(f'{s}-{n}' for s in THREE for n in range(20))
    for there in THREE:
        eq(sorted(notes.note(there, meta)['actions']), want, f'actions at {there}')
        eq(notes.apps[there].most_at_once, 1)


def test_independent_operations_are_not_held_up(bed):
    rules = [{**DECLARED, 'operations': [{'match': 'POST /{id}/actions', 'kind': 'append', 'independent': True}]}]
    notes = Notes(bed, resources=rules)
    meta = notes.made()
    notes.apps['dc2'].fail(503, when=lambda r: r.method == 'PUT')
    eq(notes.send('dc1', 'PUT', f'/notes/{meta}', {'v': 1}).status, 200)
    eq(notes.send('dc1', 'POST', f'/notes/{meta}/actions', {'do': 'at once'}).status, 200)
    wait_until(lambda: notes.note('dc2', meta)['actions'] == ['at once'], 'the independent one at dc2')
    notes.apps['dc2'].heal()
    notes.wait_note(meta, {'v': 1}, 'dc2')


# --- reads -----------------------------------------------------------------------------------------

group(globals(), 'reads')


def test_a_read_is_local_where_there_is_a_replica(bed):
    notes = Notes(bed, THREE)
    meta = notes.made()
    eq([notes.read(s, meta).get('x-scope-served-by') for s in THREE], ['dc1', 'dc2', 'dc1'])
    eq(notes.read('dc1', meta, {'X-Scope': 'notes: dc2'}).get('x-scope-served-by'), 'dc2', 'unless a scope says')


def test_a_replica_that_is_not_here_yet_is_read_elsewhere(bed):
    notes = Notes(bed)
    notes.apps['dc2'].fail(503)
    meta = notes.create().get('x-scope-meta-id')
    wait_until(lambda: notes.replica(meta, 'dc2'), 'dc2 has heard of it')
    r = notes.read('dc2', meta)
    eq((r.status, r.get('x-scope-served-by'), r.json()['id']), (200, 'dc1', meta))
    notes.cut(('dc1', 'dc2'))
    r = notes.read('dc2', meta)
    eq(r.status, 503, r)
    assert int(r.get('retry-after')) > 0, r


def test_reads_go_on_behind_a_cut(bed):
    notes = Notes(bed)
    meta = notes.made()
    notes.cut(('dc1', 'dc2'))
    eq([notes.read(s, meta).status for s in ('dc1', 'dc2')], [200, 200])


def test_an_acknowledged_write_is_read_by_its_site(bed):
    """Its own replica lacks it, so it is read elsewhere, or said to be old."""
    notes = Notes(bed)
    meta = notes.made()
    notes.apps['dc1'].fail('drop-before', when=lambda r: r.method == 'PUT')
    r = notes.send('dc1', 'PUT', f'/notes/{meta}', {'v': 1})
    if r.status // 100 == 2:
        shown = notes.read('dc1', meta)
        assert shown.json().get('v') == 1 or shown.get('x-scope-stale'), shown
    notes.apps['dc1'].heal()
    notes.wait_idle('dc1', 'dc2')
    eq(notes.note('dc1', meta).get('v'), notes.note('dc2', meta).get('v'))


# --- what is refused -------------------------------------------------------------------------------

group(globals(), 'refused')


def test_a_write_under_and_to_what_is_no_replica(bed):
    notes = Notes(bed)
    plain = notes.send('dc1', 'POST', '/notes', {'title': 'plain'}).json()['id']
    for method in ('PATCH', 'DELETE'):
        r = notes.send('dc1', method, f'/notes/{plain}', {'title': 'x'} if method == 'PATCH' else None, both())
        r.problem('not-a-replica')
        eq(r.status, 409, method)
    eq(notes.apps['dc1'].titles(), ['plain'])
    notes.never_asked('dc2')


def test_a_write_that_the_application_refuses_is_nowhere(bed):
    notes = Notes(bed)
    meta = notes.made()
    for status in (400, 403, 409, 412, 422):
        notes.apps['dc1'].fail(status, times=1, body=b'{"why": "so"}')
        r = notes.send('dc1', 'PATCH', f'/notes/{meta}', {'v': status})
        eq((r.status, r.json()), (status, {'why': 'so'}))
    notes.wait_idle('dc1')
    eq([a.done('PATCH') for a in notes.apps.values()], [[], []])


def test_conditions_are_judged_at_admission_only(bed):
    notes = Notes(bed)
    meta = notes.made()
    tag = notes.read('dc1', meta).get('etag')
    r = notes.send('dc1', 'PUT', f'/notes/{meta}', {'v': 1}, {'If-Match': tag, 'Range': 'bytes=0-1'})
    eq(r.status, 200)
    notes.wait_note(meta, {'v': 1}, 'dc1', 'dc2')
    first, copy = (notes.apps[s].done('PUT')[0] for s in ('dc1', 'dc2'))
    names = {n.lower() for n, _ in copy.headers}
    assert not names & {'if-match', 'range'}, names
    got = dict((n.lower(), v) for n, v in first.headers)['if-match']
    assert '@' not in got, f'the application knows its own tag: {got}'


# --- sites that were away --------------------------------------------------------------------------

group(globals(), 'catching up')


def while_away(notes, meta, count=12):
    for n in range(count):
        eq(notes.send('dc1', 'PATCH', f'/notes/{meta}', {'v': n}).status, 200)
        eq(notes.send('dc1', 'POST', f'/notes/{meta}/actions', {'do': n}).status, 200)
    eq(notes.note('dc1', meta)['v'], count - 1)


def caught_up(notes, meta, count=12):
    notes.wait_note(meta, {'v': count - 1, 'actions': list(range(count))}, 'dc2')
    notes.wait_idle('dc1', 'dc2')
    eq(order_at(notes.apps['dc2'], 'v'), list(range(count)), 'in order')
    eq(notes.queue()['queue'], [])
    notes.wait_synced(meta, 'dc1', 'dc2')


def test_what_was_on_its_way_when_a_link_went_silent_comes_when_it_is_back(bed):
    """TCP sends it again much later, if at all; that connection is not waited for."""
    notes = Notes(bed, timeouts={'response': '10m'})
    meta = notes.made()
    notes.wait_idle()
    ways = notes.links['dc1', 'dc2'], notes.links['dc2', 'dc1']
    for link in ways:
        link.pause()
    eq(notes.send('dc1', 'PUT', f'/notes/{meta}', {'title': 'two'}).status, 200)
    notes.wait_state('dc1', 'dc2', 'disconnected')
    for link in ways:
        link.strand()
    notes.wait_note(meta, {'title': 'two'}, 'dc2')


def test_a_site_that_was_down_catches_up(bed):
    notes = Notes(bed)
    meta = notes.made()
    notes.kill('dc2')
    while_away(notes, meta)
    queued = notes.queue()
    eq(queued['pending'], 24)
    eq({e['target'] for e in queued['queue']}, {'dc2'})
    notes.start('dc2')
    caught_up(notes, meta)


def metric(notes, name):
    lines = ask(notes.sites['dc1'].admin, path='/metrics').body.decode().splitlines()
    return next((l.rsplit(' ', 1)[1] for l in lines if l.startswith(name + ' ')), None)


def test_operators_see_that_a_site_is_synchronizing(bed):
    notes = Notes(bed)
    meta = notes.made()
    notes.apps['dc2'].fail(503)
    eq(notes.send('dc1', 'PATCH', f'/notes/{meta}', {'v': 1}).status, 200)
    wait_until(lambda: notes.state('dc1', 'dc2') == 'synchronizing', lambda: f'dc2 synchronizing: {notes.seen("dc1", "dc2")}')
    eq(notes.seen('dc1', 'dc2')['queued'], 1)
    eq(metric(notes, 'scopemesh_queue_entries{site="dc2"}'), '1')
    notes.apps['dc2'].heal()
    notes.wait_note(meta, {'v': 1}, 'dc2')
    wait_until(lambda: notes.state('dc1', 'dc2') == 'connected', lambda: f'dc2 connected: {notes.seen("dc1", "dc2")}')
    eq(metric(notes, 'scopemesh_queue_entries{site="dc2"}'), '0')
    eq(metric(notes, 'scopemesh_replicas{service="notes",state="synced"}'), '1')


def test_a_site_behind_a_cut_catches_up(bed):
    notes = Notes(bed)
    meta = notes.made()
    notes.cut(('dc1', 'dc2'))
    while_away(notes, meta)
    notes.heal(('dc1', 'dc2'))
    caught_up(notes, meta)


def test_an_application_that_was_down_catches_up(bed):
    notes = Notes(bed)
    meta = notes.made()
    notes.apps['dc2'].stop()
    while_away(notes, meta)
    notes.apps['dc2'].restart()
    caught_up(notes, meta)


def test_both_sides_of_a_cut_get_each_others_writes(bed):
    notes = Notes(bed)
    meta = notes.made()
    notes.cut(('dc1', 'dc2'))
    for site in ('dc1', 'dc2'):
        eq(notes.send(site, 'PATCH', f'/notes/{meta}', {f'of_{site}': True}).status, 200)
        eq(notes.send(site, 'POST', f'/notes/{meta}/actions', {'do': site}).status, 200)
    made = {s: notes.create(s, f'made at {s}').get('x-scope-meta-id') for s in ('dc1', 'dc2')}
    notes.heal(('dc1', 'dc2'))
    notes.wait_note(meta, {'of_dc1': True, 'of_dc2': True}, 'dc1', 'dc2')
    for there in ('dc1', 'dc2'):
        wait_until(lambda t=there: sorted(notes.note(t, meta)['actions']) == ['dc1', 'dc2'], f'both actions at {there}')
    for site, other in (('dc1', 'dc2'), ('dc2', 'dc1')):
        notes.wait_synced(made[site], 'dc1', 'dc2', site=site)
        eq(notes.read(other, made[site]).json()['title'], f'made at {site}')


def test_the_later_one_of_writes_on_both_sides_of_a_cut_is_what_stays(bed):
    """By the clock of its operation, at all sites: the partial updates of one member and of several, in turns."""
    notes = Notes(bed, THREE)
    meta = notes.made(scope=THREE)
    notes.cut(('dc1', 'dc2'), ('dc1', 'dc3'))
    for n in range(4):
        for site in ('dc1', 'dc2', 'dc3'):
            eq(notes.send(site, 'PATCH', f'/notes/{meta}', {'title': f'{site} {n}', f'of_{site}': n}).status, 200)
    eq(notes.send('dc1', 'PATCH', f'/notes/{meta}', {'title': 'the last one', 'last': True}).status, 200)
    notes.heal(('dc1', 'dc2'), ('dc1', 'dc3'))
    notes.wait_note(meta, {'title': 'the last one', 'last': True, 'of_dc1': 3, 'of_dc2': 3, 'of_dc3': 3}, *THREE)
    notes.wait_idle()
    for there in THREE:
        note = notes.note(there, meta)
        eq((note['title'], note['of_dc1'], note['of_dc2'], note['of_dc3']), ('the last one', 3, 3, 3), there)


def test_one_name_given_on_both_sides_of_a_cut(bed):
    notes = Notes(bed, apps={'upsert': True})
    notes.cut(('dc1', 'dc2'))
    for site in ('dc1', 'dc2'):
        eq(notes.send(site, 'PUT', '/notes/ours', {'title': f'of {site}'}, both()).status, 201)
    notes.heal(('dc1', 'dc2'))
    notes.wait_note('ours', {'title': 'of dc2'}, 'dc1', 'dc2')
    notes.wait_idle()
    eq([notes.note(s, 'ours')['title'] for s in ('dc1', 'dc2')], ['of dc2'] * 2)
    eq(notes.send('dc1', 'PUT', '/notes/ours', {'title': 'both'}).status, 200)
    notes.wait_note('ours', {'title': 'both'}, 'dc1', 'dc2')


def test_a_write_of_an_uninvolved_site_goes_to_the_replica_that_can_be_reached(bed):
    notes = Notes(bed, THREE)
    meta = notes.made()
    notes.read('dc3', meta)
    notes.kill('dc2')
    notes.wait_state('dc3', 'dc2', 'disconnected')      # before that a kept connection may take it, and its end be unknown
    eq(notes.send('dc3', 'PATCH', f'/notes/{meta}', {'v': 1}).status, 200)
    eq(notes.note('dc1', meta)['v'], 1)
    notes.start('dc2')
    notes.wait_note(meta, {'v': 1}, 'dc2')


def test_a_late_write_meets_a_later_one_that_was_read_back_after_a_restart(bed):
    """What waits for dc2 was executed at dc1 before its restart, and is executed there once more behind the late one."""
    notes = Notes(bed)
    meta = notes.made()
    notes.cut(('dc1', 'dc2'))
    eq(notes.send('dc2', 'PUT', f'/notes/{meta}', {'color': 'late'}).status, 200)
    eq(notes.send('dc1', 'PUT', f'/notes/{meta}', {'color': 'later'}).status, 200)
    notes.kill('dc1')
    notes.sites['dc1'].start()
    notes.links['dc2', 'dc1'].heal()
    wait_until(lambda: len(notes.apps['dc1'].done('PUT')) == 3, 'both at dc1, the later one twice')
    notes.links['dc1', 'dc2'].heal()
    notes.wait_idle('dc1', 'dc2')
    notes.wait_note(meta, {'color': 'later'}, 'dc1', 'dc2')


def test_what_was_written_to_a_child_of_what_was_deleted_meanwhile_is_passed_over(bed):
    notes = Notes(bed)
    meta = notes.made()
    notes.cut(('dc1', 'dc2'))
    child = notes.send('dc1', 'POST', f'/notes/{meta}/items', {'title': 'item'}).get('x-scope-meta-id')
    eq(notes.send('dc1', 'PUT', f'/notes/{meta}/items/{child}', {'title': 'changed'}).status, 200)
    eq(notes.send('dc2', 'DELETE', f'/notes/{meta}').status, 204)
    notes.heal(('dc1', 'dc2'))
    notes.wait_idle('dc1', 'dc2')
    notes.wait_titles([], 'dc1', 'dc2')


def test_what_was_executed_on_a_connection_that_died_is_not_refused_when_it_is_repeated(bed):
    """The application's 404 to the second DELETE, and its 409 to the second PUT, say nothing of the first."""
    notes = Notes(bed)
    for method, document, status in (('PUT', {'color': 'new'}, 409), ('DELETE', None, None)):
        meta = notes.made()
        notes.read('dc1', meta)     # on a connection that is kept
        notes.apps['dc1'].fail('drop-after', times=1)
        if status:
            notes.apps['dc1'].fail(status, times=1)
        r = notes.send('dc1', method, f'/notes/{meta}', document)
        eq((r.status // 100, r.get('x-scope-served-by')), (2, 'dc2'), r)
        notes.wait_idle()
        eq(len(notes.apps['dc1'].came(method)), 3, 'repeated on a new connection, and as a delivery')
        eq(*([{**n, 'id': 0} for n in notes.apps[s].notes.values()] for s in ('dc1', 'dc2')), 'at both sites')


def test_what_is_refused_for_itself_was_refused_the_first_time_as_well(bed):
    """Who has no rights has none on a new connection."""
    notes = Notes(bed)
    meta = notes.made()
    eq(notes.send('dc1', 'PATCH', f'/notes/{meta}', {'title': 'first'}).status, 200)
    notes.wait_idle()

    def bad(request):
        return request.method == 'PATCH' and request.get('authorization') == 'Bearer bad'
    notes.apps['dc1'].fail('drop-before', times=1, when=bad)
    for app in notes.apps.values():
        app.fail(401, when=bad)
    eq(notes.send('dc1', 'PATCH', f'/notes/{meta}', {'title': 'bad'}, {'Authorization': 'Bearer bad'}).status, 401)
    eq(notes.send('dc1', 'PATCH', f'/notes/{meta}', {'title': 'good'}).status, 200)
    notes.wait_note(meta, {'title': 'good'}, 'dc1', 'dc2')
    eq(notes.stuck('dc1', 'dc2'), [])


# --- refused at a replica --------------------------------------------------------------------------

group(globals(), 'held and failed')


def held(bed, status):
    notes = Notes(bed, **SOON)
    meta, other = notes.made(title='held'), notes.made(title='other')
    local = notes.local(meta, 'dc2')
    fault = notes.apps['dc2'].fail(status, when=lambda r: r.path == f'/notes/{local}' and r.method == 'PATCH')
    eq(notes.send('dc1', 'PATCH', f'/notes/{meta}', {'v': 1}, {'Authorization': 'Bearer old'}).status, 200)
    at = notes.wait_replica(meta, 'dc2', 'held')
    eq(at['reason'], 'credentials')
    eq(notes.send('dc1', 'PATCH', f'/notes/{other}', {'v': 1}).status, 200)
    notes.wait_note(other, {'v': 1}, 'dc2')
    entry = next(e for e in notes.queue()['queue'] if e['meta_id'] == meta)
    eq((entry['state'], entry['target']), ('held', 'dc2'))
    time.sleep(1.5)     # longer than it may settle: it does not become failed
    eq(notes.replica_state(meta, 'dc2'), 'held')
    assert fault.hit <= 3, f'{fault.hit} attempts with what was refused'


def test_401_at_a_replica_is_held(bed):
    held(bed, 401)


def test_403_at_a_replica_is_held(bed):
    held(bed, 403)


def test_a_create_is_held_too(bed):
    notes = Notes(bed)
    notes.apps['dc2'].fail(401)
    meta = notes.create().get('x-scope-meta-id')
    eq(notes.wait_replica(meta, 'dc2', 'held')['reason'], 'credentials')
    eq(notes.read('dc2', meta).get('x-scope-served-by'), 'dc1')


def test_an_update_that_a_replica_goes_on_refusing_fails_and_is_shown(bed):
    notes = Notes(bed, **SOON)
    meta = notes.made()
    notes.apps['dc2'].fail(422, when=lambda r: r.method == 'PATCH', body=b'{"why": "not here"}')
    eq(notes.send('dc1', 'PATCH', f'/notes/{meta}', {'v': 1}).status, 200)
    notes.wait_replica(meta, 'dc2', 'failed')
    assert len(notes.apps['dc2'].came('PATCH')) >= 2
    entry = next(e for e in notes.queue()['queue'] if e['meta_id'] == meta)
    eq(entry['state'], 'failed')
    assert '422' in entry['last_error'] or 'not here' in entry['last_error'], entry
    eq(notes.note('dc1', meta)['v'], 1, 'the client was told 200')


def test_an_update_of_unknown_outcome_is_sent_again(bed):
    """Executing it again is harmless."""
    notes = Notes(bed)
    meta = notes.made()
    notes.apps['dc2'].fail('drop-after', times=2, when=lambda r: r.method == 'PATCH')
    eq(notes.send('dc1', 'PATCH', f'/notes/{meta}', {'v': 1}).status, 200)
    notes.wait_idle('dc1')
    notes.wait_synced(meta, 'dc1', 'dc2')
    eq(len(notes.apps['dc2'].done('PATCH')), 3)


def test_an_append_of_unknown_outcome_is_not_sent_again(bed):
    notes = Notes(bed)
    meta = notes.made()
    notes.apps['dc2'].fail('drop-after', times=1, when=lambda r: r.path.endswith('/actions'))
    eq(notes.send('dc1', 'POST', f'/notes/{meta}/actions', {'do': 'once'}).status, 200)
    entry = wait_until(lambda: next((e for e in notes.queue()['queue'] + notes.queue('dc2')['queue']
                                     if e['state'] == 'in-doubt'), None), 'it is shown as in doubt')
    eq((entry['meta_id'], entry['target']), (meta, 'dc2'))
    eq(len(notes.apps['dc2'].came('POST', '/notes/.*/actions')), 1)
    eq(notes.note('dc2', meta)['actions'], ['once'])


if __name__ == '__main__':
    harness.main(globals())
