#!/usr/bin/python3
"""Each participant of a replicated write is killed at each step of it (the fault points of the replicator), for each kind of
write; then all is up again, and the state is one of the allowed ones.  A campaign of its own: `fault_points.py [NAME...]`
runs the points that are named, all by default."""
import os

import harness
from harness import group
from notes_bed import Notes, both

os.environ['SCOPEMESH_FAULT_FILE'] = 'fault'    # in the folder of each daemon

# Where the site that the client asks may die, and where the other one.
ORIGIN = ('admit-log', 'admit-logged', 'admit-answered', 'admit-committed', 'admit-told', 'hand-over',
          'hand-over-answered', 'hand-over-recorded')
TARGET = ('deliver-log', 'deliver-logged', 'deliver-answered', 'deliver-recorded', 'deliver-told')
KINDS = ('create', 'named', 'update', 'append', 'delete')
# Asked through dc1 while its application is away, dc2 admits: it may die as one that was asked, dc1 as one that follows.
ASKED = tuple(('dc1', p) for p in ('admit-log', 'admit-logged', 'admit-answered', 'admit-committed', 'admit-told',
                                   'deliver-answered', 'deliver-recorded')) + \
    tuple(('dc2', p) for p in ('admit-log', 'admit-logged', 'admit-answered', 'admit-committed', 'admit-told', 'hand-over',
                               'hand-over-answered', 'hand-over-recorded'))


class Faulty(Notes):
    """locals[site]: the key of the resource at each application."""

    def file(self, site):
        return os.path.join(self.sites[site].dir, 'fault')

    def arm(self, site, point):
        with open(self.file(site) + '.new', 'w') as f:
            f.write(point)
        os.rename(self.file(site) + '.new', self.file(site))

    def came_to_it(self, site):
        """Whether the daemon has died; one that does not come to its point within a while never will."""
        try:
            harness.wait_until(lambda: self.sites[site].process.poll() is not None, 'its end', 1.5)
            return True
        except AssertionError:
            os.path.exists(self.file(site)) and os.unlink(self.file(site))
            return self.sites[site].process.poll() is not None

    def keys(self, meta):
        self.locals = {s: next(k for k in self.apps[s].notes if str(k) == self.local(meta, s)) for s in ('dc1', 'dc2')}


def write(notes, kind, meta):
    """The answer, or None when the site died before it."""
    what = {'create': ('POST', '/notes', {'title': 'made'}, both()),
            'named': ('PUT', '/notes/my-name', {'title': 'made'}, both()),
            'update': ('PUT', f'/notes/{meta}', {'title': 'new'}, {}),
            'append': ('POST', f'/notes/{meta}/actions', {'do': 'it'}, {}),
            'delete': ('DELETE', f'/notes/{meta}', None, {})}[kind]
    try:
        return notes.send('dc1', *what)
    except (OSError, AssertionError, EOFError):
        return None


def executed(notes, site, kind, meta):
    """How often the write's effect is at the application of a site."""
    app = notes.apps[site]
    if kind in ('create', 'named'):
        return app.titles().count('made')
    local = notes.locals[site]
    note = app.notes.get(local)
    if kind == 'delete':
        return int(note is None)
    if kind == 'update':
        return int(note['title'] == 'new')
    return len(note['actions'])


def judge(notes, kind, meta, answer):
    """None, or what is wrong: lost, done twice, or different with nobody saying so."""
    counts = [executed(notes, s, kind, meta) for s in ('dc1', 'dc2')]
    stuck = {e['target'] for e in notes.stuck()}
    acknowledged = answer is not None and 200 <= answer.status < 300
    if max(counts) > 1:
        return f'executed {counts} times'
    for site, count in zip(('dc1', 'dc2'), counts):
        if acknowledged and not count and site not in stuck:
            return f'acknowledged and not at {site}: {counts}'
    if counts[0] != counts[1] and not stuck:
        return f'different, and nobody says so: {counts}'
    if answer is not None and answer.status in (400, 404, 409, 410, 503) and any(counts):
        return f'answered {answer.status}, and it is there: {counts}'
    return None


def run(bed, kind, site, point, away=False):
    notes = Faulty(bed, apps={'upsert': True})
    meta = None
    if kind in ('update', 'append', 'delete'):
        meta = notes.made(title='old')
        notes.keys(meta)
    if away:
        notes.apps['dc1'].stop()
    notes.arm(site, point)
    answer = write(notes, kind, meta)
    reached = notes.came_to_it(site)
    if away:
        notes.apps['dc1'].restart()
    if reached:
        notes.kill(site)
        notes.start(site)
    notes.wait_settled(30)
    return reached, judge(notes, kind, meta, answer)


def matrix(bed, rows, away=False):
    wrong, reached_count, count = [], 0, 0
    for kind in KINDS:
        for site, point in rows:
            inner = harness.Bed(f'{bed.name}-{kind}-{site}-{point}')
            try:
                reached, what = run(inner, kind, site, point, away)
            except AssertionError as e:
                reached, what = True, str(e)
            finally:
                problem = inner.close(False)
            what = what or problem
            count += 1
            reached_count += reached
            if what:
                wrong.append(f'{kind}, {site} killed at {point}: {what}')
    print(f'     {bed.name}: {count} combinations, {reached_count} reached their point, {len(wrong)} wrong')
    assert not wrong, '\n'.join(wrong)
    assert reached_count * 2 > count, f'only {reached_count} of {count} were reached'


group(globals(), 'fault points')


def test_the_site_that_is_asked(bed):
    matrix(bed, [('dc1', p) for p in ORIGIN])


def test_the_other_site(bed):
    matrix(bed, [('dc2', p) for p in TARGET])


def test_another_site_admits(bed):
    matrix(bed, ASKED, away=True)


if __name__ == '__main__':
    harness.main(globals())
