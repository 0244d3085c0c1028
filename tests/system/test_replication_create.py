#!/usr/bin/python3
"""A create under `&` (replication.md section 1): one identifier for it everywhere, admission first, and what a client is
told for every way in which it can end."""
import json
import os
import re
import sqlite3
import threading
import time

import harness
from harness import ask, eq, group, wait_until
from notes_bed import DECLARED, JSON, UUID8, Notes, both, no_local_ids, replicas_of, side_by_side

SOON = {'queue': {'settle': '1s'}}


def refused_here(notes, site):
    """The proxy of that site finds nobody at its application's port."""
    notes.apps[site].stop()


def check_shown(notes, meta, answer, site):
    """An answer that shows the new note, as M, and no local id."""
    locals_ = [i for app in notes.apps.values() for i in app.notes]
    no_local_ids(answer, *locals_)
    eq(str(answer.json()['id']), meta, f'id in the body at {site}')
    eq(answer.json()['self'].rsplit('/', 1)[1], meta, f'link in the body at {site}')


# --- the ordinary case -----------------------------------------------------------------------------

group(globals(), 'one resource, one identifier')


def one_resource(bed, ids, names=('dc1', 'dc2'), resources=(DECLARED,)):
    notes = Notes(bed, names, ids=ids, resources=resources)
    r = notes.create(scope=names, title='first', text='x y')
    eq(r.status, 201, r)
    meta = r.get('x-scope-meta-id')
    assert re.fullmatch(UUID8, meta or ''), r
    check_shown(notes, meta, r, 'dc1')
    eq(r.get('location').rsplit('/', 1)[1], meta, 'Location')
    eq([s for s, _ in replicas_of(r)], list(names), 'sites in the order of the scope')
    eq(replicas_of(r)[0], ('dc1', '201'))
    assert all(v in ('queued', '201') for _, v in replicas_of(r)[1:]), r
    notes.wait_synced(meta, *names)
    for site in names:
        eq(len(notes.apps[site].done('POST', '/notes')), 1, f'creates at {site}')
        local = notes.local(meta, site)
        shown = notes.read(site, meta)
        eq((shown.status, shown.json()['title'], shown.json()['text']), (200, 'first', 'x y'))
        check_shown(notes, meta, shown, site)
        listed = notes.send(site, 'GET', '/notes')
        eq([n['id'] for n in listed.json()], [meta], f'list at {site}')
        no_local_ids(listed, local)
        eq(notes.send(site, 'GET', f'/notes/{local}').status, 404, 'its local id is no name')
    eq(len({notes.local(meta, s) for s in names}), len(names), 'each has an id of its own')


def test_integer_ids_at_two_sites(bed):
    one_resource(bed, 'integer')


def test_uuids_at_three_sites(bed):
    one_resource(bed, 'uuid', ('dc1', 'dc2', 'dc3'))


def test_short_ids_at_three_sites(bed):
    one_resource(bed, 'short', ('dc1', 'dc2', 'dc3'))


def test_an_undeclared_collection_is_learned_from_the_answer(bed):
    one_resource(bed, 'integer', resources=())


def test_undeclared_uuids_are_learned_from_the_answer(bed):
    one_resource(bed, 'uuid', resources=())


def test_location_alone_shows_the_new_id(bed):
    notes = Notes(bed, apps={'shows': 'location'})
    r = notes.create()
    meta = r.get('x-scope-meta-id')
    eq((r.status, r.get('location'), r.body), (201, f'/notes/{meta}', b''))
    notes.wait_synced(meta, 'dc1', 'dc2')
    eq(notes.read('dc2', meta).json()['title'], 'one')


def test_the_body_alone_shows_the_new_id(bed):
    notes = Notes(bed, apps={'shows': 'body'})
    meta = notes.made()
    eq([str(notes.read(s, meta).json()['id']) for s in ('dc1', 'dc2')], [meta, meta])


def test_an_absolute_location_keeps_its_authority(bed):
    notes = Notes(bed, apps={'absolute': True})
    r = notes.create(headers={'Host': 'notes.example:81'})
    eq(r.get('location'), f'http://notes.example:81/notes/{r.get("x-scope-meta-id")}')


def test_every_create_is_a_resource_of_its_own(bed):
    """No key, no memory: as the application would have it alone."""
    notes = Notes(bed)
    metas = [notes.made(title='same') for _ in range(3)]
    eq(len(set(metas)), 3)
    eq([len(a.done('POST')) for a in notes.apps.values()], [3, 3])


def test_sites_are_told_in_the_order_of_the_scope(bed):
    notes = Notes(bed, ('dc1', 'dc2', 'dc3'))
    r = notes.create(scope=('dc3', 'dc1', 'dc2'))
    eq([s for s, _ in replicas_of(r)], ['dc3', 'dc1', 'dc2'])
    eq(dict(replicas_of(r))['dc1'], '201', 'its own site admits')
    notes.wait_synced(r.get('x-scope-meta-id'), 'dc1', 'dc2', 'dc3')


def test_a_site_that_is_not_involved_hands_it_to_one_that_is(bed):
    notes = Notes(bed, ('dc1', 'dc2', 'dc3'))
    r = notes.create('dc3')
    eq(r.status, 201, r)
    meta = r.get('x-scope-meta-id')
    assert r.get('x-scope-served-by') in ('dc1', 'dc2'), r
    notes.wait_titles(['one'], 'dc1', 'dc2')
    check_shown(notes, meta, r, 'dc3')
    eq(notes.apps['dc3'].arrived, [], 'dc3 has no part in it')
    eq(notes.read('dc3', meta).json()['id'], meta, 'and yet it can be read there')


def test_concurrent_creates_from_all_sites_are_all_there_once(bed):
    notes = Notes(bed, ('dc1', 'dc2', 'dc3'))
    titles = [f'{s}-{n}' for s in notes.names for n in range(12)]
    answers = side_by_side(*[lambda t=t: notes.create(t[:3], t, scope=('dc1', 'dc2', 'dc3')) for t in titles])
    eq([r.status for r in answers], [201] * len(titles))
    metas = {r.get('x-scope-meta-id'): t for r, t in zip(answers, titles)}
    eq(len(metas), len(titles), 'identifiers')
    notes.wait_titles(titles, 'dc1', 'dc2', 'dc3')
    for site in notes.names:
        notes.wait_idle(site)
        shown = {n['id']: n['title'] for n in notes.send(site, 'GET', '/notes').json()}
        eq(shown, metas, f'list at {site}')


def test_what_the_applications_get_is_what_the_client_sent(bed):
    notes = Notes(bed, resources=[DECLARED])
    sent = {'X-Colour': 'green', 'Authorization': 'Bearer t1', 'Cookie': 'c=1', 'traceparent': f'00-{"a" * 32}-{"b" * 16}-01',
            'Accept-Language': 'cy', 'Expect': '100-continue'}
    meta = notes.made(headers=sent, text='\u00e9\u2603')
    bodies = {s: a.done('POST')[0].body for s, a in notes.apps.items()}
    eq(bodies['dc1'], json.dumps({'title': 'one', 'text': '\u00e9\u2603'}).encode())
    eq(bodies['dc2'], bodies['dc1'])
    for site, app in notes.apps.items():
        got = {n.lower(): v for n, v in app.done('POST')[0].headers}
        eq((got['x-colour'], got['authorization'], got['accept-language']), ('green', 'Bearer t1', 'cy'), site)
        ours = [n for n in got if n.startswith('x-scopemesh-') or n in ('x-scope-meta-id', 'x-scope-replicas')]
        eq(ours, [], f'fields of ours at {site}')
    again = {n.lower() for n, _ in notes.apps['dc2'].done('POST')[0].headers}
    assert not again & {'cookie', 'expect'}, f'replayed at dc2: {again}'
    for page in (f'/v1/replicas/{meta}', '/v1/queue', '/metrics'):
        assert b'Bearer' not in ask(notes.sites['dc1'].admin, path=page).body, page
    assert 'Bearer' not in notes.sites['dc1'].log() + notes.sites['dc2'].log()


def test_credentials_are_kept_sealed(bed):
    """On no disk in the clear, while the operation waits and afterwards."""
    notes = Notes(bed)
    notes.apps['dc2'].stop()
    r = notes.create(headers={'Authorization': 'Bearer s3cr3t-of-the-client', 'X-Auth-Token': 's3cr3t-token'})
    eq(r.status, 201)
    wait_until(lambda: notes.queue('dc2')['pending'], 'dc2 has it in its own log')

    def on_disk():
        for site in notes.names:
            for folder, _, files in os.walk(notes.sites[site].dir):
                for name in files:
                    with open(os.path.join(folder, name), 'rb') as f:
                        assert b's3cr3t' not in f.read(), f'{site}: {name}'
    on_disk()
    notes.apps['dc2'].restart()
    notes.wait_titles(['one'], 'dc2')
    got = {n.lower(): v for n, v in notes.apps['dc2'].done('POST')[0].headers}
    eq((got['authorization'], got['x-auth-token']), ('Bearer s3cr3t-of-the-client', 's3cr3t-token'))
    notes.wait_idle('dc1', 'dc2')
    on_disk()


def test_a_client_that_leaves_changes_nothing(bed):
    notes = Notes(bed)
    held = notes.apps['dc1'].fail('held', times=1)
    c = harness.Client(notes.sites['dc1'].addr('notes'))
    c.send('POST /notes HTTP/1.1\r\nHost: x\r\nX-Scope: notes: dc1 & dc2\r\nContent-Type: application/json\r\n'
           'Content-Length: 16\r\n\r\n{"title": "one"}')
    wait_until(lambda: notes.apps['dc1'].came('POST'), 'the application has the request')
    harness.reset(c.sock)
    held.release.set()
    notes.wait_titles(['one'], 'dc1', 'dc2')
    notes.wait_idle('dc1', 'dc2')
    eq([{at['state'] for at in r['sites'].values()} for r in notes.replicas()], [{'synced'}])


# --- how admission ends ----------------------------------------------------------------------------

group(globals(), 'admission')


def refused_at_admission(bed, statuses):
    notes = Notes(bed)
    for status in statuses:
        notes.apps['dc1'].fail(status, times=1, body=b'{"why": "so"}')
        r = notes.create()
        eq((r.status, r.json()), (status, {'why': 'so'}))
        eq(r.get('x-scope-meta-id'), None, f'{status}: there is nothing to name')
    notes.wait_idle('dc1')
    notes.never_asked('dc2')
    eq(notes.replicas(), [])
    eq(notes.made(), notes.replicas()[0]['meta_id'], 'and then one that works')


def test_4xx_is_the_answer_and_nothing_is_anywhere(bed):
    refused_at_admission(bed, (400, 401, 403, 404, 409, 422, 429))


def test_501_and_505_are_answers_too(bed):
    refused_at_admission(bed, (501, 505))


def test_2xx_without_an_id_is_no_create(bed):
    """Undeclared: nobody can say what it made, so nobody else does it."""
    notes = Notes(bed, resources=[], apps={'shows': 'none', 'status': 200})
    r = notes.create()
    eq((r.status, r.json(), replicas_of(r)), (200, {'done': True}, [('dc1', '200'), ('dc2', 'not-replicated')]))
    eq(r.get('x-scope-meta-id'), None)
    notes.wait_idle('dc1')
    notes.never_asked('dc2')


def test_several_new_ids_are_no_create(bed):
    notes = Notes(bed, resources=[], apps={'keeps_several': True})
    r = notes.create()
    eq(r.status, 201)
    eq(dict(replicas_of(r))['dc2'], 'not-replicated')
    notes.wait_idle('dc1')
    notes.never_asked('dc2')


def test_303_to_the_new_resource_is_a_create(bed):
    notes = Notes(bed, apps={'status': 303, 'shows': 'location'})
    r = notes.create()
    meta = r.get('x-scope-meta-id')
    eq((r.status, r.get('location')), (303, f'/notes/{meta}'))
    notes.wait_titles(['one'], 'dc1', 'dc2')
    eq(notes.read('dc2', meta).status, 200)


def test_202_whose_location_agrees_with_the_body_is_a_create(bed):
    notes = Notes(bed, resources=[], apps={'status': 202})
    r = notes.create()
    meta = r.get('x-scope-meta-id')
    eq((r.status, r.get('location'), r.json()['id']), (202, f'/notes/{meta}', meta))
    notes.wait_titles(['one'], 'dc1', 'dc2')


def test_202_with_a_task_is_no_create(bed):
    notes = Notes(bed, resources=[], apps={'status': 202, 'shows': 'task'})
    r = notes.create()
    eq((r.status, dict(replicas_of(r))['dc2'], r.get('x-scope-meta-id')), (202, 'not-replicated', None))
    notes.wait_idle('dc1')
    notes.never_asked('dc2')


def test_an_application_that_is_down_leaves_admission_to_the_next(bed):
    notes = Notes(bed)
    refused_here(notes, 'dc1')
    r = notes.create()
    eq((r.status, dict(replicas_of(r))), (201, {'dc1': 'queued', 'dc2': '201'}))
    meta = r.get('x-scope-meta-id')
    eq(notes.read('dc1', meta).json()['id'], meta, 'read where it is')
    notes.apps['dc1'].restart()
    notes.wait_titles(['one'], 'dc1', 'dc2')
    notes.wait_synced(meta, 'dc1')


def test_nobody_can_execute_it(bed):
    notes = Notes(bed)
    for site in notes.names:
        refused_here(notes, site)
    r = notes.create()
    eq(r.status, 503, r)
    assert (r.get('content-type') or '').startswith('application/problem+json'), r
    for app in notes.apps.values():
        app.restart()
    eq(notes.made(title='two'), notes.replicas()[0]['meta_id'])
    notes.wait_idle('dc1', 'dc2')
    eq([a.titles() for a in notes.apps.values()], [['two'], ['two']], 'what was refused never comes')


def test_503_of_the_application_is_certainly_not_executed(bed):
    """The next replica is asked; the refused one is tried again."""
    notes = Notes(bed)
    fault = notes.apps['dc1'].fail(503, headers=[('Retry-After', '1')])
    r = notes.create()
    eq((r.status, dict(replicas_of(r))['dc2']), (201, '201'))
    notes.apps['dc1'].faults.remove(fault)
    notes.wait_titles(['one'], 'dc1', 'dc2')


def unknown_here(bed, what, other=None, **top):
    """Admission at dc1 ends in nobody knows; dc2 does as told."""
    notes = Notes(bed, **top)
    fault = notes.apps['dc1'].fail(what, times=1)
    if other:
        notes.apps['dc2'].fail(other)
    r = notes.create()
    fault.release.set()
    return notes, r


def in_doubt_and_admitted(bed, what, **top):
    notes, r = unknown_here(bed, what, **top)
    eq((r.status, replicas_of(r)), (201, [('dc1', 'in-doubt'), ('dc2', '201')]))
    meta = r.get('x-scope-meta-id')
    check_shown(notes, meta, r, 'dc1')
    eq(notes.replica_state(meta, 'dc1'), 'in-doubt')
    shown = notes.read('dc1', meta)
    eq((shown.status, shown.get('x-scope-served-by')), (200, 'dc2'), 'a replica in doubt answers nothing')
    eq(len(notes.apps['dc1'].came('POST')), 1, 'what may have been done is not done again')
    return notes


def test_reset_after_it_was_sent_lets_the_next_admit(bed):
    in_doubt_and_admitted(bed, 'drop-after')


def test_500_lets_the_next_admit(bed):
    in_doubt_and_admitted(bed, 500)


def test_502_of_the_application_lets_the_next_admit(bed):
    in_doubt_and_admitted(bed, 502)


def test_504_of_an_application_that_did_it_lets_the_next_admit(bed):
    in_doubt_and_admitted(bed, ('after', 504))


def test_a_timeout_lets_the_next_admit(bed):
    in_doubt_and_admitted(bed, 'late', timeouts={'response': '1s'})


def test_a_child_of_unknown_outcome_that_the_next_admits_is_not_made_twice(bed):
    """The next one gives it its name; where it was asked first it is in doubt under that name."""
    notes = Notes(bed)
    meta = notes.made()
    notes.apps['dc1'].fail('drop-after', times=1)
    r = notes.send('dc1', 'POST', f'/notes/{meta}/items', {'title': 'item'})
    child = r.get('x-scope-meta-id')
    eq((r.status, replicas_of(r)), (201, [('dc1', 'in-doubt'), ('dc2', '201')]), r)
    wait_until(lambda: not [e for e in notes.queue('dc2')['queue'] if e['state'] == 'queued'], 'dc2 has asked dc1')
    eq([len(notes.apps[s].came('POST', '.*/items')) for s in ('dc1', 'dc2')], [1, 1])
    entry = next(e for e in notes.queue()['queue'] if e['meta_id'] == child)
    local = notes.note('dc1', meta)['items'][0]['id']
    r = ask(notes.sites['dc1'].admin, 'POST', f'/v1/queue/{entry["op"]}/settle', JSON,
            json.dumps({'as': 'done', 'local_id': str(local)}).encode())
    eq(r.status, 200, r)
    eq(notes.send('dc2', 'PUT', f'/notes/{meta}/items/{child}', {'title': 'changed'}).status, 200)
    wait_until(lambda: notes.note('dc1', meta)['items'] == [{'id': local, 'title': 'changed'}], 'its update at dc1')


def test_unknown_here_and_refused_there_is_unknown(bed):
    """dc1 may hold it, so a certain refusal would be a lie."""
    notes, r = unknown_here(bed, 'drop-after', 409)
    eq(r.status, 504, r)
    r.problem('outcome-unknown')
    meta = r.get('x-scope-meta-id')
    assert re.fullmatch(UUID8, meta or ''), r
    assert notes.replica(meta), 'its end is told under the identifier'


def test_unknown_and_no_other_replica_is_unknown(bed):
    notes = Notes(bed)
    notes.apps['dc1'].fail('drop-after', times=1)
    r = notes.create(scope=('dc1', 'dc1'))
    eq(r.status, 504, r)
    r.problem('outcome-unknown')
    meta = r.get('x-scope-meta-id')
    eq(notes.replica_state(meta, 'dc1'), 'in-doubt')
    eq((len(notes.apps['dc1'].came('POST')), notes.apps['dc2'].arrived), (1, []))
    assert notes.queue()['pending'] >= 1, 'it is unfinished until it is settled'


# --- at the other replicas -------------------------------------------------------------------------

group(globals(), 'the other replicas')


def test_201_and_409_fails_there_after_a_while_and_is_not_undone(bed):
    notes = Notes(bed, **SOON)
    notes.apps['dc2'].fail(409, body=b'{"why": "taken"}')
    r = notes.create()
    eq(r.status, 201)
    meta = r.get('x-scope-meta-id')
    at = notes.wait_replica(meta, 'dc2', 'failed')
    assert at['reason'], at
    assert len(notes.apps['dc2'].came('POST')) >= 2, 'it was asked again while it might have been building'
    eq((len(notes.apps['dc1'].notes), notes.replica_state(meta, 'dc1')), (1, 'synced'))
    eq(notes.read('dc2', meta).get('x-scope-served-by'), 'dc1', 'read where it is')


def test_accepted_only_after_a_while(bed):
    """Asynchronous applications refuse while they build."""
    notes = Notes(bed, queue={'settle': '30s'})
    notes.apps['dc2'].fail(409, seconds=1.5)
    r = notes.create()
    eq(r.status, 201)
    notes.wait_synced(r.get('x-scope-meta-id'), 'dc1', 'dc2')
    notes.wait_titles(['one'], 'dc1', 'dc2')


def in_doubt_there(bed, what, **top):
    notes = Notes(bed, **top)
    fault = notes.apps['dc2'].fail(what, times=1)
    r = notes.create()
    eq((r.status, dict(replicas_of(r))['dc1']), (201, '201'))
    meta = r.get('x-scope-meta-id')
    notes.wait_replica(meta, 'dc2', 'in-doubt')
    fault.release.set()
    eq(len(notes.apps['dc2'].came('POST')), 1, 'not done again')
    eq(notes.read('dc2', meta).get('x-scope-served-by'), 'dc1')
    eq(notes.made(title='two'), notes.replica(notes.replicas()[-1]['meta_id'])['meta_id'], 'others pass')


def test_201_and_500_is_in_doubt_there(bed):
    in_doubt_there(bed, 500)


def test_201_and_a_reset_is_in_doubt_there(bed):
    in_doubt_there(bed, 'drop-after')


def test_201_and_a_timeout_is_in_doubt_there(bed):
    in_doubt_there(bed, 'late', timeouts={'response': '1s'})


def test_busy_replicas_are_asked_again(bed):
    notes = Notes(bed)
    for status in (408, 425, 429, 503):
        notes.apps['dc2'].fail(status, times=1)
    meta = notes.made()
    eq(len(notes.apps['dc2'].came('POST')), 5)
    eq(notes.note('dc2', meta)['title'], 'one')


def test_retry_after_is_honoured(bed):
    notes = Notes(bed)
    notes.apps['dc2'].fail(503, times=1, headers=[('Retry-After', '2')])
    started = time.monotonic()
    notes.made()
    took = time.monotonic() - started
    eq(len(notes.apps['dc2'].came('POST')), 2)
    assert took >= 1.9, f'asked again after {took:.1f} s'


def test_a_site_that_is_down_gets_it_when_it_is_back(bed):
    notes = Notes(bed)
    notes.kill('dc2')
    r = notes.create()
    eq((r.status, replicas_of(r)), (201, [('dc1', '201'), ('dc2', 'queued')]))
    meta = r.get('x-scope-meta-id')
    eq(notes.replica_state(meta, 'dc2'), 'queued')
    entry = next(e for e in notes.queue()['queue'] if e['target'] == 'dc2')
    eq((entry['meta_id'], entry['service'], entry['method']), (meta, 'notes', 'POST'))
    notes.start('dc2')
    notes.wait_titles(['one'], 'dc1', 'dc2')
    notes.wait_synced(meta, 'dc1', 'dc2')
    notes.wait_idle('dc1')
    eq(notes.read('dc2', meta).json()['id'], meta)


def test_weak_is_tried_once(bed):
    """A site that cannot be reached has no replica then."""
    notes = Notes(bed)
    notes.kill('dc2')
    r = notes.send('dc1', 'POST', '/notes', {'title': 'weak'}, {'X-Scope': 'notes: weak(dc1 & dc2)'})
    eq(r.status, 201, r)
    meta = r.get('x-scope-meta-id')
    notes.wait_idle('dc1')
    eq(notes.replica(meta)['consistency'], 'weak')
    assert notes.replica_state(meta, 'dc2') not in ('synced', 'queued'), notes.replica(meta)
    notes.start('dc2')
    notes.wait_connected()
    notes.made(title='later')
    eq(notes.apps['dc2'].titles(), ['later'], 'the weak one does not come')


def test_weak_reaches_who_is_there(bed):
    notes = Notes(bed)
    r = notes.send('dc1', 'POST', '/notes', {'title': 'weak'}, {'X-Scope': 'notes: weak(dc1 & dc2)'})
    eq(r.status, 201)
    notes.wait_titles(['weak'], 'dc1', 'dc2')
    notes.wait_synced(r.get('x-scope-meta-id'), 'dc1', 'dc2')


def test_queued_status_tells_that_it_is_not_everywhere_yet(bed):
    notes = Notes(bed, more={'queued_status': 202})
    notes.kill('dc2')
    r = notes.create()
    meta = r.get('x-scope-meta-id')
    eq((r.status, r.get('location'), r.json()['id']), (202, f'/notes/{meta}', meta))
    eq(replicas_of(r), [('dc1', '201'), ('dc2', 'queued')])


# --- names that clients choose, keys ---------------------------------------------------------------

group(globals(), "clients' names and keys")


def test_put_of_an_unknown_path_is_a_create_under_the_clients_name(bed):
    notes = Notes(bed, ('dc1', 'dc2', 'dc3'), apps={'upsert': True})
    r = notes.send('dc1', 'PUT', '/notes/my-note', {'title': 'mine'}, both())
    eq((r.status, r.json()['id'], r.get('location'), r.get('x-scope-meta-id')), (201, 'my-note', '/notes/my-note', 'my-note'))
    notes.wait_titles(['mine'], 'dc1', 'dc2')
    eq([list(notes.apps[s].notes) for s in ('dc1', 'dc2', 'dc3')], [['my-note'], ['my-note'], []])
    for site in ('dc1', 'dc2'):
        eq(notes.read(site, 'my-note').json()['title'], 'mine')
    r = notes.send('dc2', 'PUT', '/notes/my-note', {'title': 'still mine'})
    eq(r.status, 200)
    notes.wait_titles(['still mine'], 'dc1', 'dc2')


def test_a_name_that_is_taken_there_is_never_overwritten(bed):
    notes = Notes(bed, apps={'upsert': True}, **SOON)
    eq(notes.send('dc2', 'PUT', '/notes/my-note', {'title': 'of dc2 alone'}).status, 201)
    r = notes.send('dc1', 'PUT', '/notes/my-note', {'title': 'mine'}, both())
    eq(r.status, 201)
    at = notes.wait_replica('my-note', 'dc2', 'failed')
    eq((notes.apps['dc2'].titles(), at['reason']), (['of dc2 alone'], 'occupied'))


def test_a_key_makes_a_repeated_create_the_same_one(bed):
    notes = Notes(bed, ('dc1', 'dc2', 'dc3'))
    key = {'Idempotency-Key': '"k1"'}
    first = notes.create(headers=key)
    meta = first.get('x-scope-meta-id')
    again = notes.create(headers=key)
    eq((again.status, again.get('x-scope-meta-id'), again.get('location'), again.body),
       (201, meta, first.get('location'), first.body))
    there = notes.create('dc2', headers=key)
    eq((there.status, there.get('x-scope-meta-id')), (201, meta), 'at another site')
    uninvolved = notes.create('dc3', headers=key)
    eq((uninvolved.status, uninvolved.get('x-scope-meta-id')), (201, meta), 'at a site that is not involved')
    notes.wait_synced(meta, 'dc1', 'dc2')
    eq([len(notes.apps[s].came('POST')) for s in ('dc1', 'dc2')], [1, 1], 'executed once')
    other = notes.create(title='other body', headers=key)
    eq(other.status, 422)
    eq(notes.create(headers={'Idempotency-Key': '"k2"'}).get('x-scope-meta-id') != meta, True, 'another key')


def test_a_key_whose_create_still_runs_is_409(bed):
    notes = Notes(bed)
    held = notes.apps['dc1'].fail('held', times=1)
    key, first = {'Idempotency-Key': '"k1"'}, []
    t = threading.Thread(target=lambda: first.append(notes.create(headers=key)), daemon=True)
    t.start()
    wait_until(lambda: notes.apps['dc1'].came('POST'), 'the first is there')
    eq(notes.create(headers=key).status, 409)
    held.release.set()
    t.join(harness.DEADLINE)
    eq(first[0].status, 201)
    eq(notes.create(headers=key).get('x-scope-meta-id'), first[0].get('x-scope-meta-id'))


def test_a_key_outlives_a_restart(bed):
    notes = Notes(bed)
    key = {'Idempotency-Key': '"k1"'}
    first = notes.create(headers=key)
    notes.kill('dc1')
    notes.start('dc1')
    again = notes.create(headers=key)
    eq((again.status, again.body), (201, first.body))
    eq(len(notes.apps['dc1'].came('POST')), 1)


def test_an_answer_that_is_kept_is_sealed(bed):
    """It may hold a password that was made for this client alone."""
    notes = Notes(bed)
    key = {'Idempotency-Key': '"k1"'}
    first = notes.create(title='told-in-confidence', headers=key)
    notes.wait_synced(first.get('x-scope-meta-id'), 'dc1', 'dc2')
    folder = os.path.join(bed.dir, 'dc1', 'state')
    with sqlite3.connect(f'file:{folder}/store.db?mode=ro', uri=True) as db:
        (status, head, body), = db.execute('SELECT status, headers, body FROM answers')
    eq((status, body or b'', b'told-in-confidence' in head, b'Content-Type' in head), (201, b'', False, False))
    eq(notes.create(title='told-in-confidence', headers=key).body, first.body)


def test_an_answer_that_is_too_long_to_be_kept_is_not_given_in_part(bed):
    notes = Notes(bed)
    key = {'Idempotency-Key': '"k1"'}
    notes.apps['dc1'].fail(('after', 201), times=1, headers=[('Location', '/notes/100001')],
                           body=json.dumps({'id': 100001, 'text': 'x' * 1200000}).encode())
    first = notes.create(headers=key)
    meta = first.get('x-scope-meta-id')
    eq((first.status, 'answered 201' in first.json()['detail']), (502, True), first)
    again = notes.create(headers=key)
    eq((again.status, again.json()['detail'], again.get('x-scope-meta-id')), (502, first.json()['detail'], meta))
    notes.wait_synced(meta, 'dc1', 'dc2')
    eq([len(a.came('POST')) for a in notes.apps.values()], [1, 1])


def test_an_answer_that_is_too_old_goes(bed):
    notes = Notes(bed)
    notes.made(headers={'Idempotency-Key': '"k1"'})
    notes.kill('dc1')
    path = os.path.join(bed.dir, 'dc1', 'state', 'store.db')
    with sqlite3.connect(path) as db:
        db.execute('UPDATE answers SET expires = expires - 86400000')
    db.close()
    notes.start('dc1')

    def left():
        with sqlite3.connect(f'file:{path}?mode=ro', uri=True) as db:
            return db.execute('SELECT count(*) FROM answers').fetchone()[0]
    wait_until(lambda: left() == 0, 'the answer is gone')


def test_an_answer_that_cannot_be_unsealed_is_lost(bed):
    notes = Notes(bed)
    key = {'Idempotency-Key': '"k1"'}
    meta = notes.create(headers=key).get('x-scope-meta-id')
    notes.wait_synced(meta, 'dc1', 'dc2')
    notes.kill('dc1')
    os.unlink(os.path.join(bed.dir, 'dc1', 'state', 'seal.key'))
    notes.start('dc1')
    again = notes.create(headers=key)
    eq((again.status, again.get('x-scope-meta-id'), again.body), (201, meta, b''))
    eq(len(notes.apps['dc1'].came('POST')), 1)


def test_the_access_log_names_the_replicas(bed):
    notes = Notes(bed, ('dc1', 'dc2'))
    notes.cut(('dc1', 'dc2'))
    first = notes.create()
    line = notes.sites['dc1'].access_of('/notes')
    eq([(t['site'], t['status'], t.get('reason')) for t in line['targets']], [('dc1', 201, None), ('dc2', None, 'queued')])
    at, other = line['targets']
    eq((line['op'], at['ms'] > 0, other['ms'], other['bytes']), ('replicate', True, None, None))
    assert 0 < at['bytes'] <= len(first.body) < at['bytes'] + 100, (at, first.body)
    notes.links['dc1', 'dc2'].heal()
    notes.wait_synced(first.get('x-scope-meta-id'), 'dc1', 'dc2')
    eq([(t['site'], t['status']) for t in notes.sites['dc2'].access_of('/notes')['targets']], [('dc2', 201)])


def test_upgrades_and_partial_uploads_are_not_replicated(bed):
    notes = Notes(bed)
    r = notes.create(headers={'Content-Range': 'bytes 0-9/100'})
    eq(r.status, 501, r)
    r = notes.create(headers={'Connection': 'upgrade', 'Upgrade': 'websocket'})
    eq(r.status, 501, r)
    notes.never_asked('dc1', 'dc2')
    notes.made(title='without either')


if __name__ == '__main__':
    harness.main(globals())
