#!/usr/bin/python3
"""Processes that end without warning (replication.md sections 1.3 and 8): what was acknowledged is there, nothing is
executed twice that must not be, what nobody can know is shown as in doubt.  And bodies that do not fit into memory."""
import collections
import hashlib
import os
import threading
import time

import harness
import loop_disk
from harness import eq, group, sanitized, wait_until
from notes_bed import PARKED, Notes, Writer, both, replicas_of, upload
from test_doctor import namespaced

MIB = 1 << 20
SIZE = 64 * MIB
BLOCK = bytes(range(256)) * 1024
THREE = ('dc1', 'dc2', 'dc3')


def check_once(notes, titles, what):
    for site in ('dc1', 'dc2'):
        twice = {t: n for t, n in collections.Counter(titles(site)).items() if n > 1}
        eq(twice, {}, f'{what} more than once at {site}')


# --- creates ---------------------------------------------------------------------------------------

group(globals(), 'creates, and a kill')


def known(notes, site):
    """Local ids of all that the site says it has; identifiers of which a replica there waits for an operator."""
    mine = {r['sites'][site]['local_id'] for r in notes.replicas(site) if site in r['sites']}
    stuck = {e['meta_id'] for e in notes.stuck() if e['target'] == site}
    shown = [(r['meta_id'], r['sites'].get(site) or {}) for s in ('dc1', 'dc2') for r in notes.replicas(s)]
    return mine, stuck | {m for m, at in shown if at.get('state') in PARKED}


def check_creates(notes, writers):
    """writers: of creates with titles of their own."""
    notes.wait_settled()
    check_once(notes, lambda s: notes.apps[s].titles(), 'a create')
    acknowledged = {r.get('x-scope-meta-id'): w.title(n) for w in writers for n, r in w.told()}
    for site in ('dc1', 'dc2'):
        mine, stuck = known(notes, site)
        titles = set(notes.apps[site].titles())
        lost = [t for m, t in acknowledged.items() if t not in titles and m not in stuck]
        eq(lost, [], f'acknowledged, not at {site}, and nobody says so')
        nameless = [i for i in notes.apps[site].notes if str(i) not in mine]
        assert len(nameless) <= len(stuck), f'{site} has {nameless}, which no identifier names, in doubt are {stuck}'
        for meta, title in acknowledged.items():
            if meta not in stuck:
                r = notes.read(site, meta)
                eq((r.status, r.json()['title'], r.json()['id']), (200, title, meta), f'{title} read at {site}')
    return len(acknowledged)


class Creator(Writer):
    def __init__(self, notes, site, name):
        self.name_ = name
        super().__init__(notes, lambda n: (site, 'POST', '/notes', {'title': self.title(n)}, both()))

    def title(self, n):
        return f'{self.name_}-{n}'

    def told(self):
        return [(n, self.results[n]) for n in self.told_done()]


def creates_and(bed, disturb, moments=(0.0, 0.03, 0.11), writers_at=('dc1', 'dc1', 'dc2'), **top):
    notes = Notes(bed, **top)
    writers = [Creator(notes, site, f'{n}') for n, site in enumerate(writers_at)]
    writers[0].more(5)
    for moment in moments:
        time.sleep(moment)      # another place in whatever is under way
        disturb(notes)
        for w in writers:
            w.more(3)
    for w in writers:
        w.finish()
    done = check_creates(notes, writers)
    assert done >= 9, f'only {done} creates were acknowledged'


def kill_and_start(*sites):
    def disturb(notes):
        for s in sites:
            notes.kill(s)
        for s in sites:
            notes.start(s)
    return disturb


def test_the_origin_is_killed(bed):
    creates_and(bed, kill_and_start('dc1'))


def test_the_target_is_killed(bed):
    creates_and(bed, kill_and_start('dc2'))


def test_both_daemons_are_killed(bed):
    creates_and(bed, kill_and_start('dc1', 'dc2'))


def application_away(site):
    def disturb(notes):
        notes.apps[site].stop()
        time.sleep(0.05)
        notes.apps[site].restart()
    return disturb


def test_the_application_of_the_origin_is_killed(bed):
    creates_and(bed, application_away('dc1'))


def test_the_application_of_the_target_is_killed(bed):
    creates_and(bed, application_away('dc2'))


def cut_and_heal(*pair):
    def disturb(notes):
        notes.cut(pair)
        time.sleep(0.05)
        notes.heal(pair)
    return disturb


def test_the_link_between_them_is_cut(bed):
    creates_and(bed, cut_and_heal('dc1', 'dc2'))


def test_the_site_that_hands_over_is_killed(bed):
    creates_and(bed, kill_and_start('dc3'), names=THREE, writers_at=('dc3', 'dc3', 'dc1'))


def test_the_link_to_the_site_that_hands_over_is_cut(bed):
    creates_and(bed, cut_and_heal('dc3', 'dc1'), names=THREE, writers_at=('dc3', 'dc3', 'dc1'))


def test_undeclared_resources_with_the_origin_killed(bed):
    creates_and(bed, kill_and_start('dc1'), moments=(0.02, 0.07), resources=(), ids='uuid')


def waiting_create(bed, at, victim):
    """A create whose execution at one site is under way for sure when the daemon of another, or of the same, ends."""
    notes = Notes(bed)
    held = notes.apps[at].fail('late', times=1)
    w = Writer(notes, lambda n: ('dc1', 'POST', '/notes', {'title': 'one'}, both()), 1)
    wait_until(lambda: notes.apps[at].notes, f'the application of {at} has it')
    notes.kill(victim)
    held.release.set()
    notes.start(victim)
    w.finish()
    notes.wait_settled()
    eq(len(notes.apps[at].came('POST')), 1, f'creates that came to {at}')
    return notes, w.results[0]


def test_killed_between_sent_and_answered_at_the_origin_is_in_doubt(bed):
    notes, answer = waiting_create(bed, 'dc1', 'dc1')
    eq(answer, None, 'the connection ended with the process')
    stuck = notes.stuck('dc1')
    eq([(e['target'], e['state']) for e in stuck if e['target'] == 'dc1'], [('dc1', 'in-doubt')])
    assert len(notes.apps['dc2'].titles()) <= 1


def test_killed_between_sent_and_answered_at_the_target_is_in_doubt(bed):
    notes, answer = waiting_create(bed, 'dc2', 'dc2')
    eq((answer.status, replicas_of(answer)[0]), (201, ('dc1', '201')))
    meta = answer.get('x-scope-meta-id')
    notes.wait_replica(meta, 'dc2', 'in-doubt')
    eq(notes.read('dc2', meta).get('x-scope-served-by'), 'dc1')


def test_the_origin_is_killed_while_the_target_executes(bed):
    """The target executes it once, and the origin, back again, is told the answer that it missed."""
    notes, answer = waiting_create(bed, 'dc2', 'dc1')
    meta = answer.get('x-scope-meta-id')
    notes.wait_synced(meta, 'dc1', 'dc2')
    eq(notes.read('dc2', meta).json()['id'], meta)
    eq(notes.at(meta, 'dc2')['local_id'], notes.local(meta, 'dc2'), 'its local id as the origin was told')


# --- writes ----------------------------------------------------------------------------------------

group(globals(), 'writes, and a kill')


def writes_and(bed, make, disturb, moments=(0.0, 0.04, 0.1)):
    """Two writers at dc1 of one resource; returns what they were told."""
    notes = Notes(bed)
    meta = notes.made()
    writers = [Writer(notes, lambda n, w=w: ('dc1', *make(meta, f'{w}-{n}'), {})) for w in 'ab']
    writers[0].more(5)
    for moment in moments:
        time.sleep(moment)
        disturb(notes)
        # Not answered may be for good: what is in doubt at the origin stops the resource there
        before = len(writers[0].results)
        wait_until(lambda: len(writers[0].results) >= before + 3 or notes.stuck(), 'more answers')
    for w in writers:
        w.finish()
    notes.wait_settled()
    told = [f'{w}-{n}' for w, writer in zip('ab', writers) for n in writer.told_done()]
    assert len(told) >= 5, told
    return notes, meta, told


def updates(bed, disturb):
    """An update may be sent again, so nothing stays in doubt."""
    notes, meta, told = writes_and(bed, lambda m, v: ('PATCH', f'/notes/{m}', {f'm{v}': 1, 'v': v}), disturb)
    notes.wait_idle('dc1', 'dc2')
    notes.wait_synced(meta, 'dc1', 'dc2')
    here, there = notes.note('dc1', meta), notes.note('dc2', meta)
    lost = [v for v in told if f'm{v}' not in here]
    eq(lost, [], 'acknowledged, and not at dc1')
    eq({k: v for k, v in there.items() if k != 'id'}, {k: v for k, v in here.items() if k != 'id'}, 'dc2, and dc1')


def test_updates_while_the_origin_is_killed(bed):
    updates(bed, kill_and_start('dc1'))


def test_updates_while_the_target_is_killed(bed):
    updates(bed, kill_and_start('dc2'))


def test_updates_while_both_daemons_are_killed(bed):
    updates(bed, kill_and_start('dc1', 'dc2'))


def test_updates_while_the_application_of_the_target_is_killed(bed):
    updates(bed, application_away('dc2'))


def appends(bed, disturb):
    """At most once per site; what is missing is behind one that is in doubt there."""
    notes, meta, told = writes_and(bed, lambda m, v: ('POST', f'/notes/{m}/actions', {'do': v}), disturb)
    actions = {s: notes.note(s, meta)['actions'] for s in ('dc1', 'dc2')}
    check_once(notes, actions.get, 'an append')
    in_doubt = {e['target'] for e in notes.stuck()}
    for site in ('dc1', 'dc2'):
        lost = [v for v in told if v not in actions[site]]
        assert not lost or site in in_doubt, f'acknowledged, not at {site}, and nothing is in doubt: {lost}'
    return notes


def test_appends_while_the_origin_is_killed(bed):
    appends(bed, kill_and_start('dc1'))


def test_appends_while_the_target_is_killed(bed):
    appends(bed, kill_and_start('dc2'))


def test_appends_while_the_link_between_them_is_cut(bed):
    """Whoever hands over asks again, and the other one knows that it has it: nothing is in doubt."""
    notes = appends(bed, cut_and_heal('dc1', 'dc2'))
    eq(notes.stuck(), [])


def test_appends_while_the_application_of_the_target_is_killed(bed):
    appends(bed, application_away('dc2'))


def test_deletes_survive(bed):
    notes = Notes(bed)
    metas = [notes.made(title=f't{n}') for n in range(4)]
    notes.kill('dc2')
    eq([notes.send('dc1', 'DELETE', f'/notes/{m}').status for m in metas], [204] * 4)
    notes.kill('dc1')
    notes.start('dc1')
    notes.start('dc2')
    notes.wait_titles([], 'dc1', 'dc2')
    notes.wait_idle('dc1', 'dc2')
    eq([notes.read(s, m).status for s in ('dc1', 'dc2') for m in metas], [410] * 8)


def test_what_was_in_the_log_only_comes_after_a_restart(bed):
    """dc2 was never there, and dc1 ends at once after its answer."""
    notes = Notes(bed)
    notes.kill('dc2')
    made = [notes.create(title=f't{n}') for n in range(5)]
    eq([r.status for r in made], [201] * 5)
    metas = [r.get('x-scope-meta-id') for r in made]
    eq([notes.send('dc1', 'PATCH', f'/notes/{m}', {'v': 1}).status for m in metas], [200] * 5)
    notes.kill('dc1')
    notes.start('dc1')
    eq(notes.queue()['pending'], 10)
    notes.start('dc2')
    notes.wait_titles([f't{n}' for n in range(5)], 'dc2')
    notes.wait_idle('dc1', 'dc2')
    for n, meta in enumerate(metas):
        eq((notes.note('dc2', meta)['title'], notes.note('dc2', meta)['v']), (f't{n}', 1))
    eq(len(notes.apps['dc1'].done('POST')), 5, 'nothing was done again at dc1')


def test_identifiers_outlive_a_restart(bed):
    notes = Notes(bed, THREE)
    meta = notes.made()
    locals_ = {s: notes.local(meta, s) for s in ('dc1', 'dc2')}
    for site in THREE:
        eq(notes.sites[site].stop(), 0)
    for site in THREE:
        notes.sites[site].start()
    notes.wait_connected()
    eq({s: notes.local(meta, s) for s in ('dc1', 'dc2')}, locals_)
    for site in THREE:
        eq(notes.read(site, meta).json()['id'], meta, site)
    other = notes.made(title='two')
    assert other != meta
    eq(notes.send('dc2', 'PATCH', f'/notes/{meta}', {'v': 1}).status, 200)
    notes.wait_note(meta, {'v': 1}, 'dc1', 'dc2')


# --- large bodies ----------------------------------------------------------------------------------

def test_a_write_whose_commit_fails_is_unknown_and_those_that_follow_are_not_done(bed):
    """Its row may have reached the disk: then it is executed after the restart."""
    notes = Notes(bed)
    d, state, image = notes.sites['dc1'], f'{bed.dir}/dc1/state', f'{bed.dir}/disk'
    loop_disk.make(image)
    d.popen = namespaced('-m', f'mount -o loop {image} {state} && chmod 700 {state}')
    notes.kill('dc1')
    try:
        notes.start('dc1')
    except AssertionError as e:
        raise harness.Skip(f'no loop mount: {e}') from e
    notes.wait_connected()
    notes.made()
    loop_disk.lose_power(f'/proc/{d.process.pid}/root{state}')
    answers = [notes.create(title=f'n{n}') for n in range(3)]
    eq([r.status for r in answers], [504, 503, 503], answers)
    answers[1].problem('not-durable')
    eq(notes.apps['dc1'].titles(), ['one'], 'nothing was executed')
    notes.kill('dc1')
    notes.start('dc1')
    notes.wait_connected()
    notes.wait_idle()
    for site in ('dc1', 'dc2'):
        assert sorted(notes.apps[site].titles()) in (['one'], ['n0', 'one']), notes.apps[site].titles()
    eq(*(sorted(notes.apps[s].titles()) for s in ('dc1', 'dc2')), 'at both sites')


group(globals(), 'large bodies')


class Memory(threading.Thread):
    """The most that each daemon has had above what it had at first."""

    def __init__(self, notes):
        super().__init__(daemon=True)
        self.notes, self.over = notes, threading.Event()
        self.first = {s: d.rss_kib() for s, d in notes.sites.items()}
        self.most = dict.fromkeys(self.first, 0)
        self.start()

    def run(self):
        while not self.over.wait(0.02):
            for s, d in self.notes.sites.items():
                try:
                    self.most[s] = max(self.most[s], d.rss_kib() - self.first[s])
                except (OSError, TypeError):
                    pass    # killed just now

    def finish(self):
        self.over.set()
        self.join(harness.DEADLINE)
        return self.most


def put_file(notes, meta, size, site='dc1'):
    return upload(notes.sites[site].addr('notes'), f'/notes/{meta}/file', size, BLOCK)


def file_of(size):
    digest, left = hashlib.sha256(), size
    while left:
        digest.update(BLOCK[:left])
        left -= min(left, len(BLOCK))
    return {'file': {'sha256': digest.hexdigest(), 'size': size}}


def test_a_large_body_reaches_three_sites_in_bounded_memory(bed, size=SIZE):
    notes = Notes(bed, THREE)
    meta = notes.made(scope=THREE)
    memory = Memory(notes)
    r = put_file(notes, meta, size)
    eq(r.status, 204, r)
    eq([s for s, _ in replicas_of(r)], list(THREE))
    notes.wait_note(meta, file_of(size), *THREE, seconds=6 * harness.DEADLINE)
    most = memory.finish()
    notes.wait_idle(*THREE)
    eq([len(a.done('PUT')) for a in notes.apps.values()], [1, 1, 1], 'each got it once')
    for site, kib in most.items():
        assert kib < 16 << 10 or sanitized(), f'memory of {site} rose by {kib} KiB'
    print(f'     {size >> 20} MiB: memory rose by at most {max(most.values())} KiB')
    no_spool_is_left(notes)


def spooled(notes, site):
    """Bytes of the state folder that are not the database."""
    total = 0
    for folder, _, files in os.walk(f'{notes.sites[site].dir}/state'):
        for name in files:
            if '.db' not in name and 'sqlite' not in name:
                total += os.path.getsize(os.path.join(folder, name))
    return total


def no_spool_is_left(notes):
    """Its last reader has had it.  Keys and locks stay, which are small."""
    for site in notes.names:
        wait_until(lambda s=site: spooled(notes, s) < 65536, lambda s=site: f'{spooled(notes, s)} bytes are left at {s}')


def test_a_large_body_outlives_its_origins_kill(bed):
    """It is admitted and durable, and has reached nobody else yet."""
    notes = Notes(bed, THREE)
    meta = notes.made(scope=THREE)
    notes.cut(('dc1', 'dc2'), ('dc1', 'dc3'))
    eq(put_file(notes, meta, SIZE).status, 204)
    notes.sites['dc1'].kill()
    notes.sites['dc1'].start()
    notes.heal(('dc1', 'dc2'), ('dc1', 'dc3'))
    notes.wait_note(meta, file_of(SIZE), *THREE, seconds=6 * harness.DEADLINE)
    notes.wait_idle(*THREE)
    no_spool_is_left(notes)


def killed_within(bed, victim):
    """The transfer from dc1 to dc2 is under way for sure."""
    notes = Notes(bed)
    meta = notes.made()
    arrived = notes.apps['dc2'].bytes_in
    notes.links['dc1', 'dc2'].delay = 0.002
    eq(put_file(notes, meta, SIZE).status, 204)
    wait_until(lambda: spooled(notes, 'dc2') > MIB or notes.apps['dc2'].bytes_in > arrived + MIB, 'bytes come to dc2')
    notes.kill(victim)
    notes.links['dc1', 'dc2'].delay = 0
    notes.start(victim)
    notes.wait_note(meta, file_of(SIZE), 'dc1', 'dc2', seconds=6 * harness.DEADLINE)
    notes.wait_idle('dc1', 'dc2')
    no_spool_is_left(notes)


def test_a_large_body_whose_origin_is_killed_within_the_transfer(bed):
    killed_within(bed, 'dc1')


def test_a_large_body_whose_target_is_killed_within_the_transfer(bed):
    killed_within(bed, 'dc2')


def sent_once(bed, fault, **top):
    """What dc2 has made durable is not sent to it again, however long its application takes."""
    notes = Notes(bed, **top)
    meta = notes.made()
    fault(notes)
    size, before = 8 * MIB, notes.links['dc1', 'dc2'].carried
    eq(put_file(notes, meta, size).status, 204)
    notes.wait_note(meta, file_of(size), 'dc1', 'dc2')
    notes.wait_idle('dc1', 'dc2')
    carried = notes.links['dc1', 'dc2'].carried - before
    assert carried < size + MIB, f'{carried} bytes went to dc2 for a body of {size}'
    no_spool_is_left(notes)


def test_a_large_body_is_sent_once_to_a_site_whose_application_is_busy(bed):
    sent_once(bed, lambda notes: notes.apps['dc2'].fail(503, seconds=2.5))


def test_a_large_body_is_sent_once_though_it_takes_longer_than_an_answer_may(bed):
    """dc2 executes it within its own time; dc1 has given up waiting for that, and asks again."""
    def slow(notes):
        notes.links['dc1', 'dc2'].delay = 0.015
    sent_once(bed, slow, timeouts={'response': '1s'})


def test_a_client_that_leaves_within_its_upload_leaves_nothing(bed):
    notes = Notes(bed)
    meta = notes.made()
    c = harness.Client(notes.sites['dc1'].addr('notes'))
    c.send(f'PUT /notes/{meta}/file HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n'
           f'Content-Length: {SIZE}\r\n\r\n')
    c.send(BLOCK * 16)
    wait_until(lambda: spooled(notes, 'dc1') > MIB or notes.apps['dc1'].bytes_in > MIB, 'part of it is there')
    harness.reset(c.sock)
    no_spool_is_left(notes)
    notes.wait_idle('dc1')
    eq([a.done('PUT') for a in notes.apps.values()], [[], []])
    eq(put_file(notes, meta, MIB).status, 204)
    notes.wait_note(meta, file_of(MIB), 'dc1', 'dc2')


def test_a_full_spool_refuses_and_nothing_is_half_done(bed):
    notes = Notes(bed, limits={'spool_bytes': '1m'})
    meta = notes.made()
    for _ in range(2):
        r = put_file(notes, meta, 4 * MIB)
        eq(r.status, 507, r)
        r.problem('spool-full')
    eq([a.done('PUT') for a in notes.apps.values()], [[], []])
    no_spool_is_left(notes)
    for n in range(4):      # together more than fits
        eq(put_file(notes, meta, 600000 + n).status, 204)
        notes.wait_note(meta, file_of(600000 + n), 'dc1', 'dc2')
        no_spool_is_left(notes)


def test_a_reload_gives_the_spool_more_room(bed):
    notes = Notes(bed, limits={'spool_bytes': '1m'})
    meta = notes.made()
    eq(put_file(notes, meta, 4 * MIB).status, 507)
    d = notes.sites['dc1']
    with open(d.config_path) as f:
        text = f.read()
    with open(d.config_path, 'w') as f:
        f.write(text.replace('1m', '8m'))
    eq(harness.ask(d.admin, 'POST', '/v1/reload', {'Content-Type': 'application/json'}, b'{}').status, 200)
    notes.cut(('dc1', 'dc2'))       # dc2 has room for less
    eq(put_file(notes, meta, 4 * MIB).status, 204)
    eq(replicas_of(notes.create()), [('dc1', '201'), ('dc2', 'queued')], 'under the names that it had')


def test_a_spool_that_a_site_behind_a_cut_fills(bed):
    notes = Notes(bed, limits={'spool_bytes': '1m'})
    meta = notes.made()
    notes.cut(('dc1', 'dc2'))
    eq(put_file(notes, meta, 700000).status, 204)
    eq(put_file(notes, meta, 700000).status, 507)
    eq(notes.send('dc1', 'PATCH', f'/notes/{meta}', {'small': 1}).status, 200, 'what needs no spool passes')
    notes.heal(('dc1', 'dc2'))
    notes.wait_note(meta, {**file_of(700000), 'small': 1}, 'dc1', 'dc2')
    eq(put_file(notes, meta, 700001).status, 204)
    notes.wait_note(meta, file_of(700001), 'dc1', 'dc2')


def test_a_create_with_a_body_that_is_spooled(bed):
    notes = Notes(bed)
    text = 'long ' * 100000
    meta = notes.made(text=text)
    for site in ('dc1', 'dc2'):
        eq(notes.note(site, meta)['text'] == text, True, f'its text at {site}')
        eq(notes.read(site, meta).json()['text'] == text, True)
    no_spool_is_left(notes)


def test_a_chunked_body_is_replicated(bed):
    notes = Notes(bed)
    meta = notes.made()
    with harness.Client(notes.sites['dc1'].addr('notes')) as c:
        c.send(f'PUT /notes/{meta}/file HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n'
               'Transfer-Encoding: chunked\r\n\r\n')
        for _ in range(8):
            c.send(b'%x\r\n' % len(BLOCK) + BLOCK + b'\r\n')
        c.send(b'0\r\n\r\n')
        eq(c.reader.message('PUT').status, 204)
    notes.wait_note(meta, file_of(8 * len(BLOCK)), 'dc1', 'dc2')


if __name__ == '__main__':
    harness.main(globals())
