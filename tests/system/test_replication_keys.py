#!/usr/bin/python3
"""What `resources:` says of an application (replication.md section 9): how a create of unknown outcome is found
again, and what of a first answer the other sites are given, and when a
resource is ready."""
import json
import os
import time

import harness
from harness import eq, group, wait_until
from notes_bed import CHILDREN, DECLARED, Notes, Writer, both, no_local_ids, replicas_of

# --- in_doubt: retry -------------------------------------------------------------------------------

group(globals(), 'in_doubt: retry')
RETRY = {**DECLARED, 'in_doubt': 'retry'}
FIND = {**DECLARED, 'find': '/notes?text={$.text}'}


def killed_while_executing(bed, at, **keys):
    """A create that the application of this site has executed when the daemon there ends, without its answer."""
    notes = Notes(bed, resources=[{**DECLARED, **keys}])
    late = notes.apps[at].fail('late', times=1, when=lambda r: r.method == 'POST')
    w = Writer(notes, lambda n: ('dc1', 'POST', '/notes', {'title': 'one', 'text': 'a & b'}, both()), 1)
    wait_until(lambda: notes.apps[at].notes, f'the application of {at} has it')
    notes.kill(at)
    late.release.set()
    return notes, w


def one_replica(notes, site='dc1'):
    """The one resource that a site knows, at both."""
    wait_until(lambda: len(notes.replicas(site)) == 1, lambda: f'one resource: {notes.replicas(site)}')
    meta = notes.replicas(site)[0]['meta_id']
    notes.wait_synced(meta, 'dc1', 'dc2', site=site)
    for s in ('dc1', 'dc2'):
        r = notes.read(s, meta)
        eq((r.status, r.json()['title'], r.get('x-scope-served-by')), (200, 'one', s))
    return meta


def test_retry_after_a_restart_of_the_target_executes_again(bed):
    notes, w = killed_while_executing(bed, 'dc2', in_doubt='retry')
    notes.start('dc2')
    w.finish()
    meta = one_replica(notes)
    eq([len(notes.apps[s].titles()) for s in ('dc1', 'dc2')], [1, 2])
    eq(notes.local(meta, 'dc2'), '2000002', 'the second one is it')


def test_retry_after_a_restart_of_the_origin_executes_again(bed):
    notes, w = killed_while_executing(bed, 'dc1', in_doubt='retry')
    notes.start('dc1')
    w.finish()
    one_replica(notes)
    eq([len(notes.apps[s].titles()) for s in ('dc1', 'dc2')], [2, 1])


def test_retry_after_an_answer_that_tells_nothing(bed):
    notes = Notes(bed, resources=[RETRY])
    notes.apps['dc2'].fail(('after', 500), times=1, when=lambda r: r.method == 'POST')
    notes.made()
    eq([len(notes.apps[s].titles()) for s in ('dc1', 'dc2')], [1, 2])


def test_retry_of_an_action(bed):
    notes = Notes(bed, resources=[RETRY])
    meta = notes.made()
    notes.apps['dc2'].fail('drop-after', times=1, when=lambda r: r.method == 'POST')
    eq(notes.send('dc1', 'POST', f'/notes/{meta}/actions', {'do': 'x'}).status, 200)
    notes.wait_note(meta, {'actions': ['x', 'x']}, 'dc2')
    notes.wait_note(meta, {'actions': ['x']}, 'dc1')
    notes.wait_idle()


def test_unknown_at_admission_another_site_admits_and_this_one_tries_again(bed):
    notes = Notes(bed, resources=[RETRY])
    notes.apps['dc1'].fail('drop-after', times=1, when=lambda r: r.method == 'POST')
    r = notes.create()
    eq((r.status, replicas_of(r)), (201, [('dc1', 'queued'), ('dc2', '201')]))
    one_replica(notes)
    eq([len(notes.apps[s].titles()) for s in ('dc1', 'dc2')], [2, 1])


def test_unknown_at_admission_with_nobody_else_is_504_and_goes_on(bed):
    notes = Notes(bed, resources=[RETRY])
    notes.cut(('dc1', 'dc2'))
    notes.apps['dc1'].fail('drop-after', times=1, when=lambda r: r.method == 'POST')
    r = notes.create()
    eq((r.status, r.json()['type']), (504, 'urn:scopemesh:outcome-unknown'))
    meta = r.get('x-scope-meta-id')
    wait_until(lambda: len(notes.apps['dc1'].titles()) == 2, 'it is executed once more')
    notes.heal(('dc1', 'dc2'))
    eq(one_replica(notes), meta)


def test_hold_is_the_default(bed):
    notes = Notes(bed)
    notes.apps['dc2'].fail('drop-after', times=1, when=lambda r: r.method == 'POST')
    r = notes.create()
    notes.wait_replica(r.get('x-scope-meta-id'), 'dc2', 'in-doubt')
    eq(len(notes.apps['dc2'].came('POST')), 1)


# --- find ------------------------------------------------------------------------------------------

group(globals(), 'find')


def check_found(notes, w, at, executions=1):
    notes.start(at)
    w.finish()
    meta = one_replica(notes)
    eq(len(notes.apps[at].came('POST')), executions, f'creates that came to {at}')
    eq([len(notes.apps[s].titles()) for s in ('dc1', 'dc2')], [1, 1])
    asked = [r.path for r in notes.apps[at].came('GET', r'/notes\?.*')]
    assert asked and set(asked) == {'/notes?text=a%20%26%20b'}, asked
    return meta


def test_found_at_the_target_after_a_restart(bed):
    check_found(*killed_while_executing(bed, 'dc2', find=FIND['find']), 'dc2')


def test_found_at_the_origin_after_a_restart(bed):
    check_found(*killed_while_executing(bed, 'dc1', find=FIND['find']), 'dc1')


def test_found_in_a_wrapped_list(bed):
    notes, w = killed_while_executing(bed, 'dc2', find=FIND['find'])
    notes.apps['dc2'].wrapped = True
    check_found(notes, w, 'dc2')


def check_not_found(bed, at):
    notes, w = killed_while_executing(bed, at, find=FIND['find'])
    notes.apps[at].notes.clear()
    check_found(notes, w, at, executions=2)


def test_not_found_at_the_target_is_executed_again(bed):
    check_not_found(bed, 'dc2')


def test_not_found_at_the_origin_is_executed_again(bed):
    check_not_found(bed, 'dc1')


def test_found_while_the_daemon_runs(bed):
    notes = Notes(bed, resources=[FIND])
    notes.apps['dc2'].fail('drop-after', times=1, when=lambda r: r.method == 'POST')
    notes.made(text='a')
    eq(len(notes.apps['dc2'].came('POST')), 1)


def test_found_at_the_origin_while_the_daemon_runs(bed):
    """dc2 is away, so that nobody else can admit it; the client is told 504, and it is there afterwards."""
    notes = Notes(bed, resources=[FIND])
    notes.cut(('dc1', 'dc2'))
    notes.apps['dc1'].fail('drop-after', times=1, when=lambda r: r.method == 'POST')
    r = notes.create(text='a')
    eq(r.status, 504)
    notes.heal(('dc1', 'dc2'))
    eq(one_replica(notes), r.get('x-scope-meta-id'))
    eq([len(notes.apps[s].came('POST')) for s in ('dc1', 'dc2')], [1, 1])


def test_a_child_is_looked_for_below_its_parent(bed):
    child = {**CHILDREN, 'find': '/notes/{id}/items?n={$.name}'}
    notes = Notes(bed, resources=[DECLARED, child])
    meta = notes.made()
    notes.apps['dc2'].fail('drop-after', times=1, when=lambda r: r.method == 'POST')
    r = notes.send('dc1', 'POST', f'/notes/{meta}/items', {'name': 'nail'})
    eq(r.status, 201)
    notes.wait_synced(r.get('x-scope-meta-id'), 'dc1', 'dc2')
    eq(len(notes.apps['dc2'].came('POST', '.*/items')), 1)
    eq([g.path for g in notes.apps['dc2'].came('GET')], [f'/notes/{notes.local(meta, "dc2")}/items?n=nail'])


def test_a_child_is_looked_for_where_it_was_to_be_admitted(bed):
    child = {**CHILDREN, 'find': '/notes/{id}/items?n={$.name}'}
    notes = Notes(bed, resources=[DECLARED, child])
    meta = notes.made()
    notes.cut(('dc1', 'dc2'))
    notes.apps['dc1'].fail('drop-after', times=1, when=lambda r: r.method == 'POST')
    eq(notes.send('dc1', 'POST', f'/notes/{meta}/items', {'name': 'nail'}).status, 504)
    notes.heal(('dc1', 'dc2'))
    wait_until(lambda: len(notes.replicas()) == 2, lambda: f'the child is known: {notes.replicas()}')
    made = next(r['meta_id'] for r in notes.replicas() if r['meta_id'] != meta)
    notes.wait_synced(made, 'dc1', 'dc2')
    eq([len(notes.apps[s].came('POST', '.*/items')) for s in ('dc1', 'dc2')], [1, 1])


KEY = {'Idempotency-Key': '"k1"'}


def killed_with_a_key(bed, **keys):
    """The daemon that admits ends between the application's answer and its commit; afterwards the key tells of it."""
    notes = Notes(bed, resources=[{**DECLARED, **keys}])
    late = notes.apps['dc1'].fail('late', times=1, when=lambda r: r.method == 'POST')
    sent = {'title': 'one', 'text': 'a & b'}
    w = Writer(notes, lambda n: ('dc1', 'POST', '/notes', sent, {**both(), **KEY}), 1)
    wait_until(lambda: notes.apps['dc1'].notes, 'the application has it')
    notes.kill('dc1')
    late.release.set()
    notes.start('dc1')
    w.finish()
    meta = one_replica(notes)
    r = notes.create(headers=KEY, **sent)
    eq((r.get('x-scope-meta-id'), r.json()['id'], r.json()['title']), (meta, meta, 'one'))
    no_local_ids(r, *[i for app in notes.apps.values() for i in app.notes])
    eq(notes.create(headers=KEY, title='other').status, 422)
    return notes, r


def test_the_answer_of_a_retry_is_kept_for_its_key(bed):
    notes, r = killed_with_a_key(bed, in_doubt='retry')
    eq(r.status, 201)
    eq([len(notes.apps[s].titles()) for s in ('dc1', 'dc2')], [2, 1])


def test_what_was_found_is_kept_for_its_key(bed):
    notes, r = killed_with_a_key(bed, find=FIND['find'])
    eq(r.status, 200)
    eq([len(notes.apps[s].titles()) for s in ('dc1', 'dc2')], [1, 1])


def test_several_that_fit_leave_it_in_doubt(bed):
    notes = Notes(bed, resources=[{**FIND, 'in_doubt': 'retry'}])
    notes.apps['dc2'].new({'title': 'other', 'text': 'a'})
    notes.apps['dc2'].fail('drop-after', times=1, when=lambda r: r.method == 'POST')
    r = notes.create(text='a')
    notes.wait_replica(r.get('x-scope-meta-id'), 'dc2', 'in-doubt')
    eq(len(notes.apps['dc2'].came('POST')), 1)


def test_one_that_differs_in_what_was_asked_for_is_not_it(bed):
    """An application that does not know the query lists what it has."""
    notes = Notes(bed, resources=[{**DECLARED, 'find': '/notes?q={$.title}'}])
    notes.apps['dc2'].new({'title': 'other'})
    notes.apps['dc2'].fail('drop-before', times=1, when=lambda r: r.method == 'POST')
    r = notes.create()
    notes.wait_replica(r.get('x-scope-meta-id'), 'dc2', 'in-doubt')
    eq(len(notes.apps['dc2'].came('POST')), 1)


def test_what_is_asked_for_is_not_in_the_request(bed):
    notes = Notes(bed, resources=[FIND])
    notes.apps['dc2'].fail('drop-after', times=1, when=lambda r: r.method == 'POST')
    r = notes.create()
    notes.wait_replica(r.get('x-scope-meta-id'), 'dc2', 'in-doubt')


def test_an_application_that_does_not_answer_is_asked_again(bed):
    notes = Notes(bed, resources=[FIND])
    notes.apps['dc2'].fail('drop-after', times=1, when=lambda r: r.method == 'POST')
    notes.apps['dc2'].fail(503, times=2, when=lambda r: r.method == 'GET')
    notes.made(text='a')
    eq(len(notes.apps['dc2'].came('POST')), 1)


# --- echo ------------------------------------------------------------------------------------------

group(globals(), 'echo')
ECHO = {**DECLARED, 'echo': ['$.password', '$.made.by']}


def echoing(bed, names=('dc1', 'dc2'), **more):
    """Applications that make up a password, and tell who they are."""
    notes = Notes(bed, names, resources=[ECHO], apps={'passwords': True}, **more)
    for name, app in notes.apps.items():
        app.extra = {'made': {'by': name, 'at': 1}}
    return notes


def asked(notes, site):
    """The body of the one create that came to a site."""
    came = notes.apps[site].came('POST')
    eq(len(came), 1, f'creates that came to {site}')
    return json.loads(came[0].body)


def test_the_other_sites_are_given_what_the_first_one_made_up(bed):
    notes = echoing(bed, ('dc1', 'dc2', 'dc3'))
    r = notes.create(scope=('dc1', 'dc2', 'dc3'), big=12345678901234567890, made={'why': 'x'})
    eq(r.status, 201)
    notes.wait_synced(r.get('x-scope-meta-id'), 'dc1', 'dc2', 'dc3')
    sent = {'title': 'one', 'big': 12345678901234567890, 'made': {'why': 'x'}}
    eq(asked(notes, 'dc1'), sent, 'the first one is asked as the client said')
    for site in ('dc2', 'dc3'):
        eq(asked(notes, site), {**sent, 'password': r.json()['password'], 'made': {'why': 'x', 'by': 'dc1'}})
    body = notes.apps['dc2'].came('POST')[0].body.decode()
    assert body.startswith('{"title": "one", "big": 12345678901234567890, "made": {"why": "x"'), body


def test_what_the_client_chose_is_overwritten_by_what_was_made(bed):
    notes = echoing(bed)
    r = notes.create(password='mine')
    notes.wait_synced(r.get('x-scope-meta-id'), 'dc1', 'dc2')
    eq(asked(notes, 'dc2')['password'], r.json()['password'])


def test_another_site_admits_and_this_one_is_given_it(bed):
    notes = echoing(bed)
    notes.apps['dc1'].fail(503, times=1)
    r = notes.create()
    eq((r.status, replicas_of(r)), (201, [('dc1', 'queued'), ('dc2', '201')]))
    notes.wait_synced(r.get('x-scope-meta-id'), 'dc1', 'dc2')
    eq(json.loads(notes.apps['dc1'].done('POST')[0].body)['password'], r.json()['password'])


def state_has(notes, site, text):
    folder = os.path.join(notes.bed.dir, site, 'state')
    return [f for f in os.listdir(folder) if f.startswith('store.db') and text.encode() in
            open(os.path.join(folder, f), 'rb').read()]


def test_what_waits_is_sealed_and_outlives_a_restart(bed):
    """On the disk of either site, while it waits at both, and in no log."""
    notes = echoing(bed)
    notes.cut(('dc1', 'dc2'))
    r = notes.create()
    password = r.json()['password']
    eq(state_has(notes, 'dc1', password), [])
    eq(state_has(notes, 'dc1', 'POST') != [], True, 'where the rest of it is')
    notes.kill('dc1')
    away = notes.apps['dc2'].fail(503, headers=[('Retry-After', '20')])
    notes.links['dc1', 'dc2'].heal()
    notes.start('dc1')
    # recorded as refused, and not sent again for long: a kill while it is sent leaves it in doubt, and rightly so
    wait_until(lambda: any(e['target'] == 'dc2' and e['state'] == 'queued' and e['last_error']
                           for e in notes.queue('dc2')['queue']), 'dc2 has it, and waits')
    eq(state_has(notes, 'dc2', password), [])
    notes.kill('dc2')
    away.times = 0
    notes.start('dc2')
    notes.wait_synced(r.get('x-scope-meta-id'), 'dc1', 'dc2')
    eq(json.loads(notes.apps['dc2'].done('POST')[0].body)['password'], password)
    for site in notes.names:
        text = notes.sites[site].log()
        assert password not in text and password not in str(notes.queue(site)) + str(notes.replicas(site)), text


def test_a_refusal_tells_no_secret(bed):
    notes = echoing(bed, queue={'settle': '10s'})
    notes.apps['dc2'].fail(422, body=b'{"error": "not s3cret!"}')
    notes.create()
    wait_until(lambda: any(e['last_error'] for e in notes.queue()['queue']), 'a refusal')
    eq({e['last_error'] for e in notes.queue()['queue']}, {'422: '})


def test_an_answer_without_it_changes_nothing(bed):
    notes = echoing(bed)
    for app in notes.apps.values():
        app.passwords, app.extra = False, {}
    notes.made()
    eq(asked(notes, 'dc2'), {'title': 'one'})


def test_a_signed_request_stays_as_it_is(bed):
    notes = echoing(bed)
    notes.made(headers={'Content-Digest': 'sha-256=:x:'})
    eq(asked(notes, 'dc2'), {'title': 'one'})


# --- ready -----------------------------------------------------------------------------------------

group(globals(), 'ready')


def building(bed, names=('dc1', 'dc2'), within='60s', status=202, **more):
    """Applications that answer a create with 202 and are at work on it until told otherwise; one create at all of them."""
    rule = {**DECLARED, 'ready': {'path': '$.status', 'ok': ['active', 'running'], 'failed': ['killed'], 'within': within}}
    notes = Notes(bed, names, resources=[rule], apps={'status': status}, **more)
    r = notes.create(scope=names, status='building')
    eq((r.status, replicas_of(r)), (status, [(names[0], str(status))] + [(n, 'queued') for n in names[1:]]))
    return notes, r.get('x-scope-meta-id')


def set_status(notes, meta, site, status):
    wait_until(lambda: notes.at(meta, site, site).get('local_id'), f'{site} has it')
    notes.note(site, meta)['status'] = status


def wait_reason(notes, meta, there, state, reason, site='dc1'):
    wait_until(lambda: (notes.at(meta, there, site).get('state'), notes.at(meta, there, site).get('reason')) == (state, reason),
               lambda: f'{there} {state}, {reason}, as {site} shows it: {notes.replica(meta, site)}')


def test_replicas_are_queued_until_they_are_ready(bed):
    notes, meta = building(bed)
    wait_reason(notes, meta, 'dc1', 'queued', 'building')
    wait_reason(notes, meta, 'dc2', 'queued', 'building')
    wait_reason(notes, meta, 'dc2', 'queued', 'building', 'dc2')
    set_status(notes, meta, 'dc1', 'active')
    notes.wait_replica(meta, 'dc1', 'synced')
    wait_reason(notes, meta, 'dc2', 'queued', 'building')
    set_status(notes, meta, 'dc2', 'running')
    notes.wait_synced(meta, 'dc1', 'dc2')
    notes.wait_idle()
    eq([len(notes.apps[s].came('POST')) for s in ('dc1', 'dc2')], [1, 1])


def test_an_answer_of_201_is_watched_as_well(bed):
    notes, meta = building(bed, status=201)
    for site in ('dc1', 'dc2'):
        wait_reason(notes, meta, site, 'queued', 'building')
        set_status(notes, meta, site, 'active')
    notes.wait_synced(meta, 'dc1', 'dc2')


def test_it_is_read_while_it_is_built(bed):
    """Clients poll it as they would without us."""
    notes, meta = building(bed)
    wait_reason(notes, meta, 'dc2', 'queued', 'building', 'dc2')
    for site in ('dc1', 'dc2'):
        r = notes.read(site, meta)
        eq((r.status, r.json()['status'], r.json()['id'], r.get('x-scope-served-by')), (200, 'building', meta, site))


def test_it_is_looked_at_less_and_less_often(bed):
    notes, meta = building(bed, ('dc1', 'dc2'))
    looks = []
    for n in range(1, 5):
        wait_until(lambda: len(notes.apps['dc1'].came('GET')) >= n, f'{n} looks')
        looks.append(time.monotonic())
    assert looks[3] - looks[2] > 1.5 * (looks[1] - looks[0]), looks


def test_later_writes_wait_for_it(bed):
    notes, meta = building(bed)
    set_status(notes, meta, 'dc1', 'active')
    notes.wait_replica(meta, 'dc1', 'synced')
    eq(notes.send('dc1', 'PUT', f'/notes/{meta}', {'title': 'two'}).status, 200)
    wait_reason(notes, meta, 'dc2', 'queued', 'building')
    eq(notes.apps['dc2'].came('PUT'), [])
    set_status(notes, meta, 'dc2', 'active')
    notes.wait_titles(['two'], 'dc1', 'dc2')
    notes.wait_synced(meta, 'dc1', 'dc2')


def test_a_write_that_enters_where_it_is_built_waits_there(bed):
    notes, meta = building(bed)
    wait_reason(notes, meta, 'dc1', 'queued', 'building')
    w = Writer(notes, lambda n: ('dc1', 'PUT', f'/notes/{meta}', {'title': 'two'}, {}), 1)
    wait_reason(notes, meta, 'dc2', 'queued', 'building')
    eq((w.results, notes.apps['dc1'].came('PUT')), ([], []))
    for site in ('dc1', 'dc2'):
        set_status(notes, meta, site, 'active')
    eq(w.finish()[0].status, 200)
    notes.wait_titles(['two'], 'dc1', 'dc2')


def test_what_will_never_be_is_failed(bed):
    notes, meta = building(bed)
    set_status(notes, meta, 'dc1', 'active')
    set_status(notes, meta, 'dc2', 'killed')
    wait_reason(notes, meta, 'dc2', 'failed', 'build-failed')
    wait_reason(notes, meta, 'dc1', 'synced', None)
    eq(notes.at(meta, 'dc2', 'dc2').get('reason'), 'build-failed')


def test_what_is_not_ready_in_time_is_failed(bed):
    notes, meta = building(bed, within='1s')
    for site in ('dc1', 'dc2'):
        wait_reason(notes, meta, site, 'failed', 'not-ready')
    notes.wait_idle()


def test_a_restart_goes_on_looking(bed):
    """Neither is it in doubt, nor executed again."""
    for_all = ('dc1', 'dc2')
    notes, meta = building(bed)
    for site in for_all:
        wait_reason(notes, meta, site, 'queued', 'building', site)
    for site in for_all:
        notes.kill(site)
    for site in for_all:
        notes.start(site)
    for site in for_all:
        wait_reason(notes, meta, site, 'queued', 'building', site)
        set_status(notes, meta, site, 'active')
    notes.wait_synced(meta, *for_all)
    eq([len(notes.apps[s].came('POST')) for s in for_all], [1, 1])


def test_an_application_that_is_away_is_looked_at_again(bed):
    notes, meta = building(bed)
    wait_reason(notes, meta, 'dc2', 'queued', 'building', 'dc2')
    notes.apps['dc2'].stop()
    set_status(notes, meta, 'dc1', 'active')
    notes.wait_replica(meta, 'dc1', 'synced')
    set_status(notes, meta, 'dc2', 'active')
    eq(notes.replica_state(meta, 'dc2', 'dc2'), 'queued')
    notes.apps['dc2'].restart()
    notes.wait_synced(meta, 'dc2', site='dc2')


def test_weak_is_done_once_the_other_site_has_it(bed):
    rule = {**DECLARED, 'consistency': 'weak', 'ready': {'path': '$.status', 'ok': ['active']}}
    notes = Notes(bed, resources=[rule])
    meta = notes.create(status='building').get('x-scope-meta-id')
    wait_reason(notes, meta, 'dc2', 'queued', 'building', 'dc2')
    notes.wait_replica(meta, 'dc2', 'synced')
    set_status(notes, meta, 'dc2', 'active')
    notes.wait_synced(meta, 'dc2', site='dc2')


def test_what_was_found_is_watched_too(bed):
    rule = {**FIND, 'ready': {'path': '$.status', 'ok': ['active']}}
    notes = Notes(bed, resources=[rule])
    notes.apps['dc2'].fail('drop-after', times=1, when=lambda r: r.method == 'POST')
    meta = notes.create(text='a', status='building').get('x-scope-meta-id')
    wait_reason(notes, meta, 'dc2', 'queued', 'building', 'dc2')
    for site in ('dc1', 'dc2'):
        set_status(notes, meta, site, 'active')
    notes.wait_synced(meta, 'dc1', 'dc2')
    eq(len(notes.apps['dc2'].came('POST')), 1)


if __name__ == '__main__':
    harness.main(globals())
