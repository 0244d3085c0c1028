#!/usr/bin/python3
"""What `resources:` says of an application (replication.md section 9): how a create of unknown outcome is found again."""
import json
import time

import harness
from harness import eq, group, wait_until
from notes_bed import DECLARED, Notes, Writer, both, replicas_of

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


if __name__ == '__main__':
    harness.main(globals())
