#!/usr/bin/python3
"""What operators do to the queue (spec section 6): retry, drop, settle; what becomes of it when nobody does anything."""
import json
import os
import time

import harness
from harness import ask, eq, group, run_program, wait_until
from notes_bed import JSON, Notes, replicas_of, side_by_side
from test_doctor import namespaced

SOON = {'queue': {'settle': '0s'}}


def post(notes, op, verb, document=None, site='dc1'):
    body = b'{}' if document is None else json.dumps(document).encode()
    return ask(notes.sites[site].admin, 'POST', f'/v1/queue/{op}/{verb}', JSON, body)


def entry(notes, site, target, state):
    """The queue entry of a site; it must come."""
    def found():
        return next((e for e in notes.queue(site)['queue'] if (e['target'], e['state']) == (target, state)), None)
    wait_until(found, lambda: f'{target} {state} in the queue of {site}: {notes.queue(site)}')
    return found()


def scopectl(notes, *words, status=0, site='dc1'):
    p = run_program(harness.SCOPECTL, '--admin', f'http://{notes.sites[site].admin}', *words)
    eq(p.returncode, status, (words, p.stdout, p.stderr))
    return p.stdout if not status else p.stderr


def stands(answer):
    """What an answer of the admin interface says of each site."""
    return {s: d['state'] for s, d in answer.json()['sites'].items()}


# --- retry -----------------------------------------------------------------------------------------

group(globals(), 'retry')


def held_at_dc2(bed, **top):
    notes = Notes(bed, **top)
    notes.apps['dc2'].fail(401)
    meta = notes.create().get('x-scope-meta-id')
    notes.wait_replica(meta, 'dc2', 'held')
    op = entry(notes, 'dc1', 'dc2', 'held')['op']
    notes.apps['dc2'].heal()
    return notes, meta, op


def test_held_at_another_site_is_tried_there_again(bed):
    notes, meta, op = held_at_dc2(bed)
    r = post(notes, op, 'retry')
    eq(r.status, 200, r)
    eq((r.json()['op'], stands(r)['dc1']), (op, 'done'))
    notes.wait_synced(meta, 'dc1', 'dc2')
    notes.wait_replica(meta, 'dc2', 'synced', site='dc2')
    notes.wait_titles(['one'], 'dc1', 'dc2')
    eq(notes.queue('dc1')['queue'], [])


def test_held_here_is_tried_again_and_what_waited_behind_it_follows(bed):
    notes, meta, op = held_at_dc2(bed)
    eq(notes.send('dc1', 'PUT', f'/notes/{meta}', {'title': 'two'}).status, 200)
    eq(post(notes, op, 'retry', site='dc2').status, 200)
    notes.wait_titles(['one'], 'dc2')
    eq(post(notes, op, 'retry', {'target': 'dc2'}).status, 200)    # dc1 hears of it
    notes.wait_titles(['two'], 'dc1', 'dc2')
    notes.wait_synced(meta, 'dc1', 'dc2')
    eq(len(notes.apps['dc2'].done('POST')), 1)


def test_held_and_retried_while_it_is_still_refused_is_held_again(bed):
    notes, meta, op = held_at_dc2(bed)
    notes.apps['dc2'].fail(403)
    before = len(notes.apps['dc2'].came('POST'))
    eq(post(notes, op, 'retry').status, 200)
    wait_until(lambda: len(notes.apps['dc2'].came('POST')) == before + 1, 'it was tried once more')
    entry(notes, 'dc1', 'dc2', 'held')
    entry(notes, 'dc2', 'dc2', 'held')


def test_failed_is_tried_again_after_a_restart_of_both(bed):
    notes = Notes(bed, **SOON)
    notes.apps['dc2'].fail(409)
    meta = notes.create().get('x-scope-meta-id')
    notes.wait_replica(meta, 'dc2', 'failed')
    op = entry(notes, 'dc1', 'dc2', 'failed')['op']
    notes.apps['dc2'].heal()
    for s in notes.names:
        notes.kill(s)
    for s in notes.names:
        notes.start(s)
    notes.wait_connected()
    eq(stands(post(notes, op, 'retry'))['dc1'], 'done')
    notes.wait_synced(meta, 'dc1', 'dc2')
    notes.wait_titles(['one'], 'dc1', 'dc2')


def test_a_retry_that_was_answered_outlives_a_kill(bed):
    """dc2 cannot be reached when it is asked for, and dc1 ends before it can."""
    notes, meta, op = held_at_dc2(bed)
    notes.cut(('dc1', 'dc2'))
    wait_until(lambda: notes.state('dc1', 'dc2') != 'connected', 'the cut is seen')
    eq(stands(post(notes, op, 'retry'))['dc2'], 'queued')
    notes.sites['dc1'].kill()
    notes.sites['dc1'].start()
    notes.heal(('dc1', 'dc2'))
    notes.wait_synced(meta, 'dc1', 'dc2')
    notes.wait_titles(['one'], 'dc1', 'dc2')


def test_parked_is_tried_at_once(bed):
    notes = Notes(bed)
    notes.apps['dc2'].fail(503, times=1, headers=[('Retry-After', '3600')])
    meta = notes.create().get('x-scope-meta-id')
    wait_until(lambda: notes.apps['dc2'].came('POST'), 'it was tried')
    op = entry(notes, 'dc2', 'dc2', 'queued')['op']
    eq(post(notes, op, 'retry', site='dc2').status, 200)
    notes.wait_titles(['one'], 'dc2')
    notes.wait_replica(meta, 'dc2', 'synced', site='dc2')


# --- drop ------------------------------------------------------------------------------------------

group(globals(), 'drop')


def test_drop_of_a_create_that_cannot_be_delivered(bed):
    notes = Notes(bed)
    notes.cut(('dc1', 'dc2'))
    meta = notes.create().get('x-scope-meta-id')
    op = entry(notes, 'dc1', 'dc2', 'queued')['op']
    r = post(notes, op, 'drop', {'target': 'dc2'})
    eq((r.status, stands(r)), (200, {'dc1': 'done', 'dc2': 'dropped'}))
    at = notes.at(meta, 'dc2')
    eq((at['state'], at['reason']), ('failed', 'dropped'))
    eq((notes.queue()['queue'], notes.queue()['pending']), ([], 0))
    notes.heal(('dc1', 'dc2'))
    notes.made(title='two')
    notes.wait_titles(['two'], 'dc2')


def test_drop_lets_go_what_waited_behind_it(bed):
    notes = Notes(bed)
    meta = notes.made()
    notes.apps['dc2'].fail(403, when=lambda r: r.method == 'PUT' and b'bad' in r.body)
    notes.send('dc1', 'PUT', f'/notes/{meta}', {'title': 'bad'})
    notes.wait_replica(meta, 'dc2', 'held')
    notes.send('dc1', 'PUT', f'/notes/{meta}', {'text': 'good'})
    op = entry(notes, 'dc2', 'dc2', 'held')['op']
    eq(post(notes, op, 'drop', site='dc2').status, 200)
    eq(stands(post(notes, op, 'drop'))['dc2'], 'dropped')
    notes.wait_note(meta, {'title': 'one', 'text': 'good'}, 'dc2')
    notes.wait_idle()


def test_verbs_that_do_not_fit(bed):
    notes, _, op = held_at_dc2(bed)
    for verb, document, status, kind in (
            ('settle', {'as': 'retry'}, 409, 'wrong-state'), ('settle', {'as': 'done', 'local_id': 7}, 409, 'wrong-state'),
            ('retry', {'target': 'dc1'}, 409, 'wrong-state'), ('drop', {'target': 'dc1'}, 409, 'wrong-state'),
            ('retry', {'target': 'dc9'}, 404, 'not-found'), ('settle', {}, 400, 'bad-request'),
            ('settle', {'as': 'gone'}, 400, 'bad-request'), ('settle', {'as': 'drop', 'local_id': 'x'}, 400, 'bad-request'),
            ('retry', {'targets': 'dc2'}, 400, 'bad-request'), ('retry', [], 400, 'bad-request'),
            ('drop', {'target': 2}, 400, 'bad-request')):
        r = post(notes, op, verb, document)
        eq(r.status, status, (verb, document, r))
        r.problem(kind)
    assert 'dc1=done dc2=held' in post(notes, op, 'retry', {'target': 'dc1'}).json()['detail']
    eq(post(notes, op.rsplit('-', 1)[0] + '-99999', 'drop').status, 404)
    eq(post(notes, 'nonsense', 'drop').status, 400)
    r = ask(notes.sites['dc1'].admin, 'POST', f'/v1/queue/{op}/drop', {'Content-Type': 'text/plain'}, b'{}')
    eq(r.status, 403, 'a form of a web page cannot do it')
    entry(notes, 'dc1', 'dc2', 'held')


# --- settle ----------------------------------------------------------------------------------------

group(globals(), 'settle')


def doubted_at_dc2(bed, what='drop-after'):
    notes = Notes(bed)
    notes.apps['dc2'].fail(what, times=1)
    meta = notes.create().get('x-scope-meta-id')
    notes.wait_replica(meta, 'dc2', 'in-doubt')
    return notes, meta, entry(notes, 'dc2', 'dc2', 'in-doubt')['op']


def test_settled_as_done_it_has_its_name(bed):
    notes, meta, op = doubted_at_dc2(bed)
    local = notes.apps['dc2'].by_title('one')[0]['id']
    r = post(notes, op, 'settle', {'as': 'done', 'local_id': local}, 'dc2')
    eq((r.status, stands(r)), (200, {'dc2': 'done'}))
    eq((notes.replica_state(meta, 'dc2', 'dc2'), notes.local(meta, 'dc2')), ('synced', str(local)))
    notes.kill('dc2')
    notes.start('dc2')
    r = notes.read('dc2', meta)
    eq((r.json()['id'], r.get('x-scope-served-by')), (meta, 'dc2'), 'its name outlives a kill')
    eq(post(notes, op, 'settle', {'as': 'retry'}).status, 200)     # dc1 asks dc2, which knows by now
    notes.wait_synced(meta, 'dc1', 'dc2')
    eq(len(notes.apps['dc2'].came('POST')), 1, 'executed once')
    eq(notes.send('dc1', 'PUT', f'/notes/{meta}', {'title': 'two'}).status, 200)
    notes.wait_titles(['two'], 'dc1', 'dc2')


def test_settled_as_done_it_needs_the_right_name(bed):
    notes, meta, op = doubted_at_dc2(bed)
    other = notes.made(title='two')
    taken = notes.local(other, 'dc2')
    for site, document, status, kind in (('dc2', {'as': 'done'}, 400, 'bad-request'),
                                         ('dc2', {'as': 'done', 'local_id': taken}, 409, 'exists'),
                                         ('dc1', {'as': 'done', 'local_id': 9, 'target': 'dc2'}, 409, 'settle-there')):
        r = post(notes, op, 'settle', document, site)
        eq(r.status, status, (document, r))
        r.problem(kind)
    eq(notes.replica_state(meta, 'dc2', 'dc2'), 'in-doubt', 'nothing was changed')
    eq(notes.local(other, 'dc2'), taken)


def test_settled_as_retry_it_is_executed_once_more(bed):
    notes, meta, op = doubted_at_dc2(bed, 'drop-before')
    eq(post(notes, op, 'settle', {'as': 'retry'}, 'dc2').status, 200)
    notes.wait_titles(['one'], 'dc2')
    notes.wait_replica(meta, 'dc2', 'synced', site='dc2')


def test_settled_as_retry_from_the_other_site(bed):
    notes, meta, op = doubted_at_dc2(bed, 'drop-before')
    eq(post(notes, op, 'settle', {'as': 'retry'}).status, 200)
    notes.wait_titles(['one'], 'dc2')
    notes.wait_synced(meta, 'dc1', 'dc2')


def test_settled_as_drop(bed):
    notes, meta, op = doubted_at_dc2(bed, 'drop-before')
    r = post(notes, op, 'settle', {'as': 'drop'}, 'dc2')
    eq((r.status, stands(r)), (200, {'dc2': 'dropped'}))
    at = notes.at(meta, 'dc2', 'dc2')
    eq((at['state'], at['reason']), ('failed', 'dropped'))
    eq(notes.queue('dc2')['pending'], 0)


def undecided(bed, what, then=409, **options):
    """dc1's application was asked first and nobody knows; dc2's refuses."""
    notes = Notes(bed, **options)
    notes.apps['dc1'].fail(what, times=1)
    refusal = notes.apps['dc2'].fail(then)
    r = notes.create()
    eq(r.status, 504, r)
    refusal.release.set()
    notes.apps['dc2'].heal()
    return notes, r.get('x-scope-meta-id'), entry(notes, 'dc1', 'dc1', 'in-doubt')['op']


def test_what_nobody_admitted_settled_as_done_goes_to_all(bed):
    notes, meta, op = undecided(bed, 'drop-after')
    local = notes.apps['dc1'].by_title('one')[0]['id']
    eq(stands(post(notes, op, 'settle', {'as': 'done', 'local_id': local}))['dc1'], 'done')
    notes.wait_synced(meta, 'dc1', 'dc2')
    notes.wait_titles(['one'], 'dc1', 'dc2')
    eq(notes.local(meta, 'dc1'), str(local))
    notes.wait_idle()


def test_what_nobody_admitted_is_settled_after_two_restarts(bed):
    notes, meta, op = undecided(bed, 'drop-after')
    for _ in range(2):
        notes.kill('dc1')
        notes.start('dc1')
    local = notes.apps['dc1'].by_title('one')[0]['id']
    eq(stands(post(notes, op, 'settle', {'as': 'done', 'local_id': local}))['dc1'], 'done')
    notes.wait_synced(meta, 'dc1', 'dc2')
    notes.wait_titles(['one'], 'dc1', 'dc2')


def test_what_nobody_admitted_with_a_name_that_is_taken_stays_in_doubt(bed):
    notes, meta, op = undecided(bed, 'drop-before')
    taken = notes.local(notes.made(title='two'), 'dc1')
    eq(post(notes, op, 'settle', {'as': 'done', 'local_id': taken}).status, 409)
    eq(notes.replica_state(meta, 'dc1'), 'in-doubt')
    eq(post(notes, op, 'settle', {'as': 'retry'}).status, 200)
    notes.wait_synced(meta, 'dc1', 'dc2')
    notes.wait_titles(['one', 'two'], 'dc1', 'dc2')


def test_what_nobody_admitted_tried_again_and_refused_never_was(bed):
    notes, meta, op = undecided(bed, 'drop-before')
    for s in notes.names:
        notes.apps[s].fail(409)
    eq(post(notes, op, 'settle', {'as': 'retry'}).status, 200)
    wait_until(lambda: notes.replica(meta) is None, lambda: f'nothing is left of it: {notes.replica(meta)}')
    eq(notes.queue()['pending'], 0)


def test_what_nobody_admitted_and_dropped(bed):
    notes, meta, op = undecided(bed, 'drop-before')
    eq(stands(post(notes, op, 'settle', {'as': 'drop'})), {'dc1': 'dropped', 'dc2': 'dropped'})
    eq(notes.queue()['pending'], 0)
    at = notes.at(meta, 'dc1')
    eq((at['state'], at['reason']), ('failed', 'dropped'))
    notes.kill('dc1')
    notes.start('dc1')
    eq(notes.queue()['pending'], 0)
    eq([len(notes.apps[s].came('POST')) for s in notes.names], [1, 1], 'nobody is asked again')


def test_an_append_in_doubt_is_settled_without_a_name(bed):
    notes = Notes(bed)
    meta = notes.made()
    notes.apps['dc2'].fail('drop-after', times=1)
    eq(notes.send('dc1', 'POST', f'/notes/{meta}/actions', {'do': 'boot'}).status, 200)
    op = entry(notes, 'dc2', 'dc2', 'in-doubt')['op']
    eq(post(notes, op, 'settle', {'as': 'done', 'local_id': '7'}, 'dc2').status, 400)
    eq(post(notes, op, 'settle', {'as': 'done'}, 'dc2').status, 200)
    eq(notes.replica_state(meta, 'dc2', 'dc2'), 'synced')
    eq(notes.note('dc2', meta)['actions'], ['boot'])


# --- expiry ----------------------------------------------------------------------------------------

group(globals(), 'expiry')

EXPIRE = {'queue': {'expire': '2s'}, 'timeouts': {'fail_after': '30s'}}



def expired(notes, meta, there='dc2', site='dc1'):
    at = notes.wait_replica(meta, there, 'failed', site, 4 * harness.DEADLINE)
    eq(at['reason'], 'expired')


def test_all_that_waits_for_a_replica_expires_with_the_oldest(bed):
    notes = Notes(bed, names=('dc1', 'dc2', 'dc3'), **EXPIRE)
    all_ = ('dc1', 'dc2', 'dc3')
    meta = notes.made(scope=all_)
    notes.cut(('dc1', 'dc2'))
    notes.send('dc1', 'PUT', f'/notes/{meta}', {'title': 'two'})
    entry(notes, 'dc1', 'dc2', 'queued')
    assert notes.queue()['queue'][0]['expires'], notes.queue()
    notes.send('dc1', 'POST', f'/notes/{meta}/actions', {'do': 'boot'})
    wait_until(lambda: notes.queue()['queue'] == [], lambda: f'nothing waits for dc2: {notes.queue()}')
    expired(notes, meta)
    eq((notes.queue()['pending'], notes.replica_state(meta, 'dc3')), (0, 'synced'))
    notes.sites['dc1'].kill()
    notes.sites['dc1'].start()
    notes.heal(('dc1', 'dc2'))
    notes.wait_connected()
    r = notes.send('dc1', 'PUT', f'/notes/{meta}', {'text': 'later'})
    eq((r.status, dict(replicas_of(r))['dc2']), (200, 'dropped'), 'a replica that lacks its past gets nothing more')
    notes.wait_note(meta, {'title': 'two', 'text': 'later', 'actions': ['boot']}, 'dc1', 'dc3')
    other = notes.made(title='other', scope=all_)
    eq(notes.note('dc2', meta), {'title': 'one', 'id': int(notes.local(meta, 'dc2')), 'items': [], 'actions': []})
    eq(notes.replica_state(other, 'dc2'), 'synced', 'other resources go there as before')
    expired(notes, meta)


def test_nothing_expires_at_an_autonomous_site(bed):
    notes = Notes(bed, **EXPIRE)
    eq(notes.post('dc1', 'dc2', 'autonomous').status, 200)
    notes.cut(('dc1', 'dc2'))
    meta = notes.create().get('x-scope-meta-id')
    eq(entry(notes, 'dc1', 'dc2', 'queued')['expires'], None)
    time.sleep(4.5)
    notes.heal(('dc1', 'dc2'))
    notes.wait_synced(meta, 'dc1', 'dc2')


def test_nothing_expires_while_this_site_is_the_one_cut_off(bed):
    all_ = ('dc1', 'dc2', 'dc3')
    notes = Notes(bed, names=all_, queue={'expire': '4s'}, timeouts={'fail_after': '3s'})
    mine = [link for pair, link in notes.links.items() if 'dc1' in pair]
    for link in mine:
        link.pause()
    meta = notes.create(scope=all_).get('x-scope-meta-id')
    wait_until(lambda: notes.doc('dc1')['isolated'], 'dc1 takes itself for the one cut off')
    time.sleep(8)
    assert notes.doc('dc1')['isolated']
    eq([e['state'] for e in notes.queue()['queue']], ['queued'] * 2)
    for link in mine:
        link.resume()
    notes.wait_synced(meta, *all_)


def test_what_a_site_holds_expires_though_it_is_reached(bed):
    notes = Notes(bed, **EXPIRE)
    notes.apps['dc2'].fail(401)
    expired(notes, notes.create().get('x-scope-meta-id'))


# --- a full queue ----------------------------------------------------------------------------------

group(globals(), 'a full queue')


def fill(notes, most, size):
    """Creates until one is refused; the titles of the others and the refusal."""
    titles = []
    for n in range(most):
        r = notes.create(title=f't{n}', text='x' * size)
        if r.status != 201:
            return titles, r
        titles.append(f't{n}')
    raise AssertionError(f'{most} creates of {size} bytes went through')


def test_a_full_queue_takes_nothing_new_and_keeps_what_it_has(bed):
    notes = Notes(bed, limits={'queue_bytes': '64k'})
    meta = notes.made(title='before')
    notes.cut(('dc1', 'dc2'))
    titles, r = fill(notes, 40, 8000)
    eq(r.status, 507, r)
    r.problem('queue-full')
    assert 4 <= len(titles) <= 8, titles
    eq(len(notes.apps['dc1'].came('POST')), 1 + len(titles), 'the refused one came to no application')
    eq(notes.send('dc1', 'PUT', f'/notes/{meta}', {'title': 'x'}).status, 507, 'a write to a replica is one as well')
    eq((notes.read('dc1', meta).json()['title'], notes.send('dc1', 'POST', '/notes', {'title': 'plain'}).status), ('before', 201))
    notes.sites['dc1'].kill()
    notes.sites['dc1'].start()
    eq(notes.create(text='x' * 8000).status, 507, 'it is as full after a restart')
    notes.heal(('dc1', 'dc2'))
    notes.wait_titles(['before', *titles], 'dc2')
    notes.wait_idle()
    notes.made(title='after')


def test_a_full_queue_of_the_target_leaves_it_at_the_origin(bed):
    notes = Notes(bed)
    d = notes.sites['dc2']
    with open(d.config_path, encoding='utf-8') as f:
        text = f.read()
    bed.write('dc2/site.yaml', text + 'limits: {queue_bytes: 12k}\n')
    notes.kill('dc2')
    notes.start('dc2')
    notes.wait_connected()
    notes.apps['dc2'].fail(503, seconds=2)
    titles = [f't{n}' for n in range(12)]
    for t in titles:
        eq(notes.create(title=t).status, 201)
    wait_until(lambda: len(notes.queue('dc2')['queue']) >= 3, 'it takes some')
    assert len(notes.queue('dc2')['queue']) < 12, notes.queue('dc2')
    notes.wait_titles(titles, 'dc1', 'dc2', seconds=4 * harness.DEADLINE)
    notes.wait_idle()


def test_a_full_disk_takes_nothing_new_and_goes_on_with_room(bed):
    notes = Notes(bed)
    d, state = notes.sites['dc1'], f'{bed.dir}/dc1/state'
    d.popen = namespaced('-m', f'mount -t tmpfs -o size=3m,mode=700 none {state}')
    notes.kill('dc1')
    notes.start('dc1')
    notes.wait_connected()
    titles, r = fill(notes, 200, 60000)
    assert r.status in (507, 504), r
    for _ in range(20):                 # one that was executed before the disk was full: 504
        if (r := notes.create(title='late', text='x' * 60000)).status == 507:
            break
    r.problem('queue-full')
    before = len(notes.apps['dc1'].came('POST'))
    eq(notes.create(title='late', text='x' * 60000).status, 507)
    eq(len(notes.apps['dc1'].came('POST')), before, 'nothing was done')
    eq(notes.send('dc1', 'GET', '/notes').status, 200, 'all else goes on')
    eq(run_program('nsenter', '-t', d.process.pid, '-m', 'mount', '-o', 'remount,size=60m', state).returncode, 0)
    notes.made(title='after')
    wait_until(lambda: set(titles) <= set(notes.apps['dc2'].titles()), 'what was acknowledged is at dc2')


def test_what_was_executed_when_the_disk_was_full_is_recorded_when_there_is_room(bed):
    """The client gets 504; then it is at both sites, and nobody is shown a local id."""
    notes = Notes(bed)
    d, state = notes.sites['dc1'], f'{bed.dir}/dc1/state'
    d.popen = namespaced('-m', f'mount -t tmpfs -o size=3m,mode=700 none {state}')
    notes.kill('dc1')
    notes.start('dc1')
    notes.wait_connected()
    meta = notes.made()
    held = notes.apps['dc1'].fail('held', times=2, when=lambda r: r.method == 'POST')
    answers = side_by_side(
        lambda: notes.create(title='two'),
        lambda: notes.send('dc1', 'POST', f'/notes/{meta}/items', {'title': 'item'}),
        lambda: (wait_until(lambda: held.hit == 2, 'both are under way'), fill_disk(d, state), held.release.set()))
    eq([r.status for r in answers[:2]], [504, 504], answers)
    eq([notes.apps['dc1'].titles(), notes.apps['dc2'].titles()], [['one', 'two'], ['one']])
    eq(run_program('nsenter', '-t', d.process.pid, '-m', 'rm', f'{state}/ballast').returncode, 0)
    notes.wait_titles(['one', 'two'], 'dc1', 'dc2')
    wait_until(lambda: len(notes.note('dc2', meta)['items']) == 1, 'the item at dc2')
    notes.wait_idle()
    eq(len(notes.replicas()), 3)


def test_what_was_delivered_when_the_disk_was_full_is_recorded_when_there_is_room(bed):
    """Executed once at dc2, under its name, and in doubt at no time."""
    notes = Notes(bed)
    d, state = notes.sites['dc2'], f'{bed.dir}/dc2/state'
    d.popen = namespaced('-m', f'mount -t tmpfs -o size=3m,mode=700 none {state}')
    notes.kill('dc2')
    notes.start('dc2')
    notes.wait_connected()
    meta = notes.made()
    held = notes.apps['dc2'].fail('held', times=2, when=lambda r: r.method == 'POST')
    two = notes.create(title='two').get('x-scope-meta-id')
    eq(notes.send('dc1', 'POST', f'/notes/{meta}/actions', {'do': 'it'}).status, 200)
    wait_until(lambda: held.hit == 2, 'both are under way')
    fill_disk(d, state)
    held.release.set()
    wait_until(lambda: d.log().count('cannot be recorded') >= 2, 'the disk is full')
    eq(run_program('nsenter', '-t', d.process.pid, '-m', 'rm', f'{state}/ballast').returncode, 0)
    notes.wait_synced(two, 'dc1', 'dc2')
    notes.wait_idle()
    eq((len(notes.apps['dc2'].came('POST')), notes.note('dc2', meta)['actions']), (3, ['it']), 'executed once')


def fill_disk(d, state):
    run_program('nsenter', '-t', d.process.pid, '-m', 'sh', '-c', f'cat /dev/zero >{state}/ballast')


def test_replay_leaves_room_for_clients(bed):
    notes = Notes(bed)
    slow = notes.apps['dc2'].fail('held', when=lambda r: r.method == 'POST' and b'"replay' in r.body)
    for n in range(40):
        eq(notes.create(title=f'replay{n}').status, 201)
    wait_until(lambda: slow.hit >= 16, lambda: f'{slow.hit} are under way at dc2')
    started = time.monotonic()
    eq(notes.create(site='dc2', title='client').status, 201)
    assert time.monotonic() - started < 2, 'a client waited behind the replay'
    eq(slow.hit, 16, 'at a time')
    notes.apps['dc2'].heal()
    notes.wait_titles(['client', *(f'replay{n}' for n in range(40))], 'dc1', 'dc2')


# --- hooks -----------------------------------------------------------------------------------------

group(globals(), 'hooks')


def hooked(bed, events=(), extra=(), **top):
    """The sites, and a function that returns what was told so far."""
    out = f'{bed.dir}/told'
    script = bed.write('hook.sh', '#!/bin/sh\nread -r line\nprintf "%s\\t%s\\n" "$line" "$1" >> "$2"\n')
    os.chmod(script, 0o755)
    hook = {'name': 'tell', 'run': [script, 'a b; $(touch c)', out], **({'events': list(events)} if events else {})}
    notes = Notes(bed, hooks=[*extra, hook], **top)

    def told(event=None, site='dc1'):
        if not os.path.exists(out):
            return []
        with open(out, encoding='utf-8') as f:
            lines = [line.rstrip('\n').split('\t') for line in f]
        assert all(argument == 'a b; $(touch c)' for _, argument in lines), lines
        found = [json.loads(text) for text, _ in lines]
        return [d for d in found if d['site'] == site and event in (None, d['event'])]
    return notes, told


def test_hooks_are_told_what_happened_where(bed):
    notes, told = hooked(bed, **SOON)
    for what, event in ((401, 'held'), (409, 'failed'), ('drop-after', 'in-doubt')):
        notes.apps['dc2'].fail(what, times=1)
        meta = notes.create().get('x-scope-meta-id')
        wait_until(lambda e=event: told(e), lambda e=event: f'{e}: {told()}')
        d = told(event)[0]
        eq((d['target'], d['service'], d['meta_id'], d['method'], d['path']), ('dc2', 'notes', meta, 'POST', '/notes'))
        eq(notes.queue()['queue'][-1]['op'], d['op'])
        wait_until(lambda e=event: told(e, 'dc2'), 'the target tells of it too')
    assert '401' in told('held')[0]['reason'], told('held')
    eq(len(told()), 3)


def test_converged_is_told_when_a_site_that_was_away_has_it_all(bed):
    notes, told = hooked(bed, events=['converged', 'expired'])
    notes.cut(('dc1', 'dc2'))
    for n in range(5):
        notes.create(title=f't{n}')
    eq(told(), [])
    notes.heal(('dc1', 'dc2'))
    notes.wait_titles([f't{n}' for n in range(5)], 'dc2')
    wait_until(told, 'it is told')
    notes.made(title='later')
    eq([(d['event'], d['target']) for d in told()], [('converged', 'dc2')])


def test_an_expired_replica_is_told_once(bed):
    notes, told = hooked(bed, events=['expired'], **EXPIRE)
    meta = notes.made()
    notes.cut(('dc1', 'dc2'))
    for n in range(3):
        notes.send('dc1', 'PUT', f'/notes/{meta}', {'title': f't{n}'})
    wait_until(told, 'it is told')
    expired(notes, meta)
    eq([(d['event'], d['target'], d['meta_id']) for d in told()], [('expired', 'dc2', meta)])


def test_hooks_that_hang_fail_or_are_missing_delay_nothing(bed):
    extra = [{'name': 'hangs', 'events': ['in-doubt'], 'run': ['sleep', '8']},
             {'name': 'fails', 'run': ['sh', '-c', 'exit 7']}, {'name': 'gone', 'run': ['/nonexistent/program']}]
    notes, told = hooked(bed, extra=extra, **SOON)
    notes.apps['dc2'].fail(409, times=3)
    for n in range(3):
        notes.create(title=f't{n}')
    wait_until(lambda: len(told('failed')) == 3, lambda: f'{told()}')
    notes.apps['dc2'].fail('drop-after', when=lambda r: b'"u' in r.body)
    for n in range(6):
        notes.create(title=f'u{n}')
    started = time.monotonic()
    notes.made(title='good')
    assert time.monotonic() - started < 3, 'a hook delayed a request'
    log = notes.sites['dc1'].log()
    for text in ('hook fails: exited with 7', 'hook gone: /nonexistent/program cannot be started: No such file'):
        assert text in log, (text, log)


# --- scopectl --------------------------------------------------------------------------------------

group(globals(), 'scopectl queue')


def test_scopectl_retries_drops_and_settles(bed):
    notes, meta, op = held_at_dc2(bed)
    assert 'dc1=done' in scopectl(notes, 'queue', 'retry', op, '--site', 'dc1', status=1)
    assert op in scopectl(notes, 'queue', 'retry', op)
    notes.wait_synced(meta, 'dc1', 'dc2')
    eq(json.loads(scopectl(notes, '--json', 'queue', 'show', op))['sites']['dc2']['state'], 'done')
    notes.apps['dc2'].fail('drop-after', times=1)
    second = notes.create(title='two').get('x-scope-meta-id')
    op = entry(notes, 'dc2', 'dc2', 'in-doubt')['op']
    local = str(notes.apps['dc2'].by_title('two')[0]['id'])
    assert 'done' in scopectl(notes, 'queue', 'settle', op, '--as', 'done', '--local-id', local, site='dc2')
    eq(notes.local(second, 'dc2'), local)


def test_scopectl_queue_with_wrong_words(bed):
    notes = Notes(bed, names=('dc1',))
    for words, text in ((['retry'], 'operation is missing'), (['settle', 'x'], 'settle needs --as'),
                        (['retry', 'x', '--as', 'done'], '--as is for settle'),
                        (['settle', 'x', '--as', 'gone'], 'not "gone"'), (['drop', 'x', '--local-id', 'y'], '--local-id is'),
                        (['show', 'x', '--site', 'dc1'], '--site is for'), (['setle', 'x'], 'did you mean settle?')):
        assert text in (err := scopectl(notes, 'queue', *words, status=2)), (words, err)


if __name__ == '__main__':
    harness.main(globals())
