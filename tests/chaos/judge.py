"""What was promised (docs/replication.md, "Promised, and not"), held against what the applications did and the clients
saw.

Each check returns violations: (name of the promise, sentence, note that it concerns or None).  A note that somebody
deleted is gone everywhere or nowhere, and what else was written to it may have been passed over."""
import collections
import json
import threading
import time

import harness

PROMISES = {
    'alive': 'no daemon ends by itself',
    'drained': 'after healing every queue drains',
    'same set': 'what took effect at one site of the set did so at all of them, and at no other',
    'once': 'creates and appends take effect once at each site',
    'equal': 'replicas are equal in what updates, creates and deletes wrote, and in the set of appends',
    'kept': 'what was answered 2xx is at every site of the set',
    'nothing': 'what was refused (4xx, 501, 503, 507 and 508) is nowhere',
    'own order': "of one client's writes to a member of its own the last acknowledged one, or a later one, stays",
    'deleted': 'what was deleted with 2xx is gone everywhere',
    'no local id': 'no answer shows the local id of a replica',
    'served': 'plain requests were answered within a second by every site that was up',
}
REFUSED = (*range(400, 500), 501, 503, 507, 508)
ONCE = ('create', 'append', 'child')
WRITES = ONCE + ('update', 'child_update', 'child_delete', 'delete')
MOMENT = 1.0        # seconds: a plain request takes at most


class Control(threading.Thread):
    """Asks the application of a site directly, all the time: when that takes long, the machine has no time to spare, and
    the daemon is not to blame for what takes as long."""

    def __init__(self, world, site, over):
        super().__init__(daemon=True)
        self.world, self.site, self.over, self.slow = world, site, over, []       # (start, end)

    def run(self):
        self.world.ground.places[self.site].move_in()
        while not self.over.wait(0.05):
            start = time.monotonic()
            harness.ask(self.world.apps[self.site].addr, path='/control', timeout=60)
            if time.monotonic() - start > MOMENT / 4:
                self.slow.append((start, time.monotonic()))

    def stalled(self, start, end):
        return any(s < end and e > start for s, e in self.slow)


class Judge:
    def __init__(self, world, history, controls):
        self.world, self.history, self.controls, self.stalled = world, history, controls, 0
        self.apps, self.names = world.apps, world.names
        self.by_note = collections.defaultdict(list)
        for a in history.attempts:
            if a.kind in WRITES:
                self.by_note[a.note].append(a)
        self.notes = {a.word: a.note for a in history.attempts if a.word}
        self.of_the_deleted = 0

    def judge(self):
        found = []
        for note, attempts in self.by_note.items():
            deleted = any(a.kind == 'delete' and (a.status not in REFUSED or self.counts(a)) for a in attempts)
            for a in attempts:
                found += self.judge_write(a, deleted)
            found += self.judge_equal(note, attempts)
            if not deleted:
                found += self.judge_own_order(note, attempts)
        return [*found, *self.judge_shown(), *self.judge_served(), *self.judge_alive()]

    def counts(self, attempt):
        """Sites where it took effect, and how often."""
        return {n: self.apps[n].effects[attempt.word] for n in self.names if self.apps[n].effects[attempt.word]}

    def judge_write(self, a, deleted):
        counts = self.counts(a)
        wanted = set(a.sites)
        if a.status in REFUSED and counts:
            yield 'nothing', f'{a} took effect at {counts}', a.note
        if set(counts) - wanted:
            yield 'same set', f'{a} took effect outside {sorted(wanted)}: {counts}', a.note
        if a.kind in ONCE and any(c > 1 for c in counts.values()):
            yield 'once', f'{a} took effect {counts}', a.note
        if deleted or a.kind in ('delete', 'child_delete', 'child_update'):
            return      # judge_equal sees these
        if 200 <= a.status < 300 and set(counts) != wanted:
            yield 'kept', f'{a} took effect at {sorted(counts)} of {sorted(wanted)} only', a.note
        elif counts and set(counts) != wanted:
            yield 'same set', f'{a} took effect at {sorted(counts)} of {sorted(wanted)} only', a.note

    def content(self, site, note):
        """What the application of a site has of a note, without what it made up itself."""
        there = self.apps[site].of(note.word)
        if there is None:
            return None
        plain = {k: v for k, v in there.items() if k not in ('id', 'items', 'actions')}
        items = sorted(json.dumps({k: v for k, v in i.items() if k != 'id'}, sort_keys=True) for i in there['items'])
        return {**plain, 'items': items, 'actions': sorted(map(str, there['actions']))}

    def judge_equal(self, note, attempts):
        contents = {n: self.content(n, note) for n in note.scope}
        first = contents[note.scope[0]]
        if any(c != first for c in contents.values()):
            yield 'equal', f'{note.word} ({note.meta}) differs: {differences(contents)}', note
        for a in attempts:
            there = [n for n, c in contents.items() if c is not None]
            if a.kind == 'delete' and 200 <= a.status < 300 and there:
                yield 'deleted', f'{a}, and {note.word} is at {there}', note

    def judge_own_order(self, note, attempts):
        by_field = collections.defaultdict(list)
        for a in attempts:
            if a.kind == 'update' and a.field == a.client.name:
                by_field[a.field].append(a)
        for field, writes in by_field.items():
            done = [i for i, a in enumerate(writes) if 200 <= a.status < 300]
            allowed = [a.word for a in writes[done[-1]:]] if done else [a.word for a in writes] + [None]
            values = {n: (self.apps[n].of(note.word) or {}).get(field) for n in note.scope}
            if wrong := {n: v for n, v in values.items() if v not in allowed}:
                yield 'own order', f'{field} of {note.word} is {wrong}, not one of {allowed}', note

    def ends(self, word, attempt):
        """It was deleted, or its item was, while the request was under way: its name may go before the answer is read."""
        note = self.notes.get(word)
        return note and any(d.kind in ('delete', 'child_delete') and d.started < attempt.ended and
                            (d.ended or attempt.ended) + MOMENT > attempt.started for d in self.by_note[note])

    def judge_shown(self):
        """Local ids of replicas in answers, but for creates whose outcome nobody knew when the site was killed, and for
        what was deleted meanwhile, which is counted."""
        made = {local.encode(): (n, m) for n in self.names for local, m in self.apps[n].made.items()
                if m.word and m.word.startswith('r')}
        for a in self.history.attempts:
            for local in a.shown & made.keys():
                name, m = made[local]
                if not self.world.diary.during(m.time - 0.1, m.time + 2, name, 'kill') and \
                        not self.world.diary.during(m.time, m.time, name, 'drop') and \
                        not self.world.diary.during(m.time, m.time, name, 'late'):
                    if self.ends(m.word, a):
                        self.of_the_deleted += 1
                    else:
                        yield 'no local id', f'{a} shows {local.decode()}, what {m.word} is called at {name}', a.note

    def judge_served(self):
        for a in self.history.attempts:
            if a.kind != 'plain' or self.troubled(a, ('kill', 'pause')):
                continue
            if 200 <= a.status < 300 and a.ended - a.started <= MOMENT:
                continue
            if a.status and any(c.stalled(a.started, a.ended) for c in self.controls):
                self.stalled += 1
            else:
                yield 'served', f'{a}', None

    def judge_alive(self):
        for name, site in self.world.sites.items():
            site.crashed()
            for pid, status, log in site.crashes:
                yield 'alive', f'{name} ({pid}) ended with {status}: {log}', None

    def troubled(self, a, kinds):
        return any(self.world.diary.during(a.started, a.ended, a.site, k) for k in kinds)

    # --- how much was accepted ------------------------------------------------------------------------

    def accepted(self):
        """Of replicated writes at members that were up, while some way was cut: how many, how many got 2xx, and of what
        the others were refused.  Left out is what is rightly refused: of notes that are deleted or are not at this site
        yet, and where the site's own application or disk was at fault."""
        asked, accepted, others = 0, 0, collections.Counter()
        deleted = {a.note: a.started for a in reversed(self.history.attempts) if a.kind == 'delete'}
        for a in self.history.attempts:
            if a.kind not in WRITES or a.site not in a.sites or a.kind.startswith('child_') or \
                    not self.world.diary.during(a.started, a.ended, what='cut') or \
                    self.troubled(a, ('kill', 'pause', 'disk', 'drop', 'late', 'refuse')):
                continue
            if a.kind != 'create' and (deleted.get(a.note, a.ended) < a.ended or not self.was_here(a)):
                continue
            asked += 1
            if 200 <= a.status < 300:
                accepted += 1
            else:
                others[a.status or 'no answer', a.problem] += 1
        return asked, accepted, others

    def was_here(self, a):
        app = self.apps[a.site]
        made = next((m for m in app.made.values() if m.word == a.note.word), None)
        return made is not None and made.time + 1 < a.started


def differences(contents):
    """Of the contents by site, the members that are not the same everywhere."""
    if any(c is None for c in contents.values()):
        return {n: 'there' if c else 'not there' for n, c in contents.items()}
    members = {k for c in contents.values() for k in c}
    return {k: {n: c.get(k) for n, c in contents.items()} for k in sorted(members)
            if len({json.dumps(c.get(k)) for c in contents.values()}) > 1}
