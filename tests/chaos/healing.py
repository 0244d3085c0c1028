"""After the faults: all is up and joined, and an operator looks after what waits for one, as docs/replication.md says:
looks at the application of that site, and settles as done what took effect, has executed what did not.  Which request
it is that waits the queue does not say, since it shows no queries; the operator reads it in the store."""
import collections
import contextlib
import os
import sqlite3
import time

from application import word_of

PARKED = ('in-doubt', 'held', 'failed')


class Operator:
    """settled[state, verb]: how often.  refused: what the daemon said to others.  given_up: entries that were refused
    again after they had been retried."""

    def __init__(self, world):
        self.world, self.settled, self.given_up = world, collections.Counter(), []
        self.tried, self.refused = collections.Counter(), collections.Counter()

    def drain(self, seconds):
        """Seconds until nothing waits anywhere; None: something still does, and self.left says what."""
        start = time.monotonic()
        while time.monotonic() < start + seconds:
            self.left = self.world.waiting()
            if not self.left and not any(self.world.queue(n, 1)['pending'] for n in self.world.names):
                return time.monotonic() - start
            for entry in self.left:
                if entry['state'] in PARKED and (entry['target'] == entry['seen_at'] or self.is_settled_there(entry)):
                    self.look_after(entry)
            time.sleep(0.3)
        return None

    def is_settled_there(self, entry):
        """The site whose application it is has nothing to settle any more: who admitted it is to ask again."""
        return not any(e['op'] == entry['op'] and e['seen_at'] == e['target'] == entry['target'] for e in self.left)

    def word(self, entry):
        """Of the request, as the site's store has it."""
        site, incarnation, number = entry['op'].split('-')
        incarnation = int(incarnation, 16)
        path = os.path.join(self.world.sites[entry['target']].dir, 'state', 'store.db')
        with contextlib.closing(sqlite3.connect(f'file:{path}?mode=ro', uri=True)) as store:
            row = store.execute('SELECT query FROM operations WHERE site = ? AND incarnation = ? AND number = ?', (
                site, incarnation - (1 << 64) if incarnation >> 63 else incarnation, int(number))).fetchone()
        return word_of('?' + row[0].lstrip('?')) if row and row[0] else None

    def look_after(self, entry):
        site, word = entry['target'], self.word(entry)
        app, document, verb = self.world.apps[site], {}, 'retry'
        if entry['state'] == 'in-doubt' and entry['seen_at'] != site:
            verb, document = 'settle', {'as': 'retry'}
        elif entry['state'] == 'in-doubt':
            verb, document = 'settle', {'as': 'retry'}
            if app.effects[word]:
                document = {'as': 'done'}
                if entry['kind'] == 'create':
                    document['local_id'] = str(app.local_id(word))
        self.tried[entry['op'], site] += 1
        if entry['state'] == 'failed' and self.tried[entry['op'], site] > 3:
            self.given_up.append(entry)
            verb = 'drop'
        answer = self.world.sites[entry['seen_at']].admin_doc(f'/v1/queue/{entry["op"]}/{verb}', 'POST', document)
        if answer.status == 200:
            self.settled[entry['state'], document.get('as', verb)] += 1
        else:
            what = f'{verb} {document} of {entry["kind"]} {entry["state"]}'
            self.refused[f'{what}: {answer.status} {answer.json()["detail"]}'] += 1
