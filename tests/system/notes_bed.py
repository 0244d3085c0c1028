"""Sites with an application of notes each (notes_app.py), for the tests of replication: what a client sends, what it gets,
what the applications did, and what operators are shown."""
import json
import re
import threading
import time

import harness
from harness import Client, ask, eq, wait_until
from notes_app import NotesApp
from pairs import Pairs

JSON = {'Content-Type': 'application/json'}
UUID8 = r'[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'
STARTS = {'dc1': 100001, 'dc2': 2000001, 'dc3': 30000001}      # so that a local id in an answer is told at sight
PARKED = ('in-doubt', 'held', 'failed')
DECLARED = {'collection': '/notes', 'id': '$.id'}
CHILDREN = {'collection': '/notes/{id}/items', 'id': '$.id'}


def both(*sites):
    """The scope that has notes at these sites, dc1 and dc2 if none are named."""
    return {'X-Scope': 'notes: ' + ' & '.join(sites or ('dc1', 'dc2'))}


def replicas_of(answer):
    """X-Scope-Replicas as a list of pairs, in its order."""
    return [tuple(item.strip().split('=', 1)) for item in (answer.get('x-scope-replicas') or '').split(',') if item.strip()]


class Notes(Pairs):
    """apps: options of every application (notes_app.NotesApp).  resources: of the service, declared by default; [] lets
    them be learned.  more: options of the service.  pads: a second service at each site, an application too."""

    def __init__(self, bed, names=('dc1', 'dc2'), apps=None, resources=(DECLARED, CHILDREN), pads=False, ids='integer',
                 more=None, **top):
        self.app_options = {'ids': ids, **(apps or {})}
        self.pads = {}
        self.resources, self.has_pads = list(resources), pads
        timeouts = {'response': '10s', 'drain': '1s', **top.pop('timeouts', {})}
        super().__init__(bed, names, options=more, timeouts=timeouts, **top)
        self.apps = self.origins
        self.wait_connected()

    def application(self, name, **options):
        app = NotesApp(name, start=STARTS.get(name, 1), **options)
        self.bed.servers.append(app)
        return app

    def origin(self, name):
        if self.has_pads:
            self.pads[name] = self.application(name, **self.app_options)
        return self.application(name, **self.app_options)

    def services(self, name, options):
        found = {'notes': {'instances': [self.origins[name].url], 'resources': self.resources, **options}}
        if self.has_pads:
            found['pads'] = {'instances': [self.pads[name].url], 'resources': self.resources, **options}
        return found

    # --- what a client does -----------------------------------------------------------------------

    def send(self, site, method, path, document=None, headers=(), service='notes', timeout=None):
        body = None if document is None else document if isinstance(document, bytes) else json.dumps(document).encode()
        sent = {**(JSON if body is not None else {}), **dict(headers)}
        return ask(self.sites[site].addr(service), method, path, sent, body, timeout or 2 * harness.DEADLINE)

    def create(self, site='dc1', title='one', scope=('dc1', 'dc2'), headers=(), **document):
        """The answer to a create under the scope."""
        return self.send(site, 'POST', '/notes', {'title': title, **document}, {**both(*scope), **dict(headers)})

    def made(self, *args, **kw):
        """The identifier of a create that must succeed, once every site of it has executed it."""
        r = self.create(*args, **kw)
        assert 200 <= r.status < 300, r
        meta = r.get('x-scope-meta-id')
        assert meta, r
        self.wait_synced(meta, *kw.get('scope', ('dc1', 'dc2')))
        return meta

    def read(self, site, meta, headers=(), **kw):
        return self.send(site, 'GET', f'/notes/{meta}', headers=headers, **kw)

    # --- what operators see -----------------------------------------------------------------------

    def replica(self, meta, site='dc1'):
        """The element of /v1/replicas at a site; None: it knows of none."""
        r = ask(self.sites[site].admin, path=f'/v1/replicas/{meta}')
        assert r.status in (200, 404), r
        return r.json() if r.status == 200 else None

    def at(self, meta, there, site='dc1'):
        """What `site` shows of the replica at `there`: local_id, state, reason."""
        return ((self.replica(meta, site) or {}).get('sites') or {}).get(there) or {}

    def replica_state(self, meta, there, site='dc1'):
        return self.at(meta, there, site).get('state')

    def wait_replica(self, meta, there, state, site='dc1', seconds=None):
        wait_until(lambda: self.replica_state(meta, there, site) == state,
                   lambda: f'replica at {there} {state}, as {site} shows it: {self.replica(meta, site)}', seconds)
        return self.at(meta, there, site)

    def wait_synced(self, meta, *sites, site=None):
        for there in sites:
            self.wait_replica(meta, there, 'synced', site or sites[0])

    def local(self, meta, there):
        """Its id in the application of that site."""
        return self.at(meta, there, there)['local_id']

    def replicas(self, site='dc1'):
        return ask(self.sites[site].admin, path='/v1/replicas?limit=1000').json()['replicas']

    def queue(self, site='dc1'):
        return ask(self.sites[site].admin, path='/v1/queue?limit=1000').json()

    def wait_idle(self, *sites, seconds=None):
        """Nothing is on its way any more."""
        for site in sites or self.names:
            wait_until(lambda s=site: self.queue(s)['pending'] == 0,
                       lambda s=site: f'{s} has nothing pending: {self.queue(s)}', seconds)

    def stuck(self, *sites):
        """Queue entries of these sites that wait for an operator."""
        return [e for s in sites or self.names for e in self.queue(s)['queue'] if e['state'] in PARKED]

    def wait_settled(self, seconds=None):
        """All that is on its way anywhere waits for an operator."""
        def moving():
            return [(s, e) for s in self.names for e in self.queue(s)['queue'] if e['state'] not in PARKED]
        wait_until(lambda: not moving(), lambda: f'nothing moves any more: {moving()}', seconds or 3 * harness.DEADLINE)

    # --- what the applications did ----------------------------------------------------------------

    def wait_titles(self, titles, *sites, seconds=None):
        """Each of these is at each of the sites, once."""
        want = sorted(titles)
        for s in sites:
            wait_until(lambda s=s: sorted(self.apps[s].titles()) == want,
                       lambda s=s: f'{want} at {s}, there is {sorted(self.apps[s].titles())}', seconds)

    def note(self, there, meta):
        """What the application of that site holds for the identifier."""
        local = self.local(meta, there)
        return next((n for i, n in self.apps[there].notes.items() if str(i) == local), None)

    def wait_note(self, meta, wanted, *sites, seconds=None):
        """The note at each site has these members."""
        for s in sites:
            wait_until(lambda s=s: (n := self.note(s, meta)) and all(n.get(k) == v for k, v in wanted.items()),
                       lambda s=s: f'{wanted} at {s}, there is {self.note(s, meta)}', seconds)

    def never_asked(self, *sites):
        """No write has reached the applications of these sites."""
        for s in sites:
            eq([(r.method, r.path) for r in self.apps[s].arrived if r.method != 'GET'], [], f'writes that came to {s}')

    def cut(self, *pairs):
        """Both ways of each pair of sites."""
        for a, b in pairs:
            self.links[a, b].cut()
            self.links[b, a].cut()

    def heal(self, *pairs):
        for a, b in pairs:
            self.links[a, b].heal()
            self.links[b, a].heal()

    def kill(self, site):
        """As its host's kernel would refuse then: what comes to it is cut with the process."""
        for other in self.names:
            if other != site:
                self.links[other, site].cut()
        self.sites[site].kill()

    def start(self, site):
        self.sites[site].start()
        for other in self.names:
            if other != site:
                self.links[other, site].heal()


def no_local_ids(answer, *locals_):
    """None of these ids is shown anywhere in an answer."""
    text = '\n'.join(f'{n}: {v}' for n, v in answer.headers if n.lower() not in ('date', 'content-length', 'etag'))
    text += answer.body.decode('utf-8', 'replace')
    for local in locals_:
        assert not re.search(rf'(?<![\w-]){re.escape(str(local))}(?![\w-])', text), f'{local} is shown: {answer}'


class Writer(threading.Thread):
    """Sends one write after the other until told to stop. make(n) returns (site, method, path, document, headers).  What
    became of each: results[n] = the answer, or None when there was none."""

    def __init__(self, notes, make, limit=None):
        super().__init__(daemon=True)
        self.notes, self.make, self.limit = notes, make, limit
        self.results, self.over = [], threading.Event()
        self.start()

    def run(self):
        while not self.over.is_set() and (self.limit is None or len(self.results) < self.limit):
            try:
                self.results.append(self.notes.send(*self.make(len(self.results))))
            except (OSError, ValueError):
                self.results.append(None)
                time.sleep(0.02)

    def more(self, count):
        """Waits for so many further answers."""
        before = len(self.results)
        wait_until(lambda: len(self.results) >= before + count, f'{count} more answers')

    def finish(self):
        self.over.set()
        self.join(3 * harness.DEADLINE)
        assert not self.is_alive(), 'a request hangs'
        return self.results

    def told_done(self):
        """Numbers of those that were acknowledged."""
        return [n for n, r in enumerate(self.results) if r is not None and 200 <= r.status < 300]


def side_by_side(*calls):
    """Calls them at once and returns what they return."""
    results = [None] * len(calls)

    def run(i):
        results[i] = calls[i]()
    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(calls))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(3 * harness.DEADLINE)
    assert all(not t.is_alive() for t in threads), 'a call hangs'
    return results


def upload(addr, path, size, block, headers=()):
    """PUT of a large body, block after block; the answer."""
    with Client(addr, 6 * harness.DEADLINE) as c:
        lines = ''.join(f'{n}: {v}\r\n' for n, v in dict(headers).items())
        c.send(f'PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n'
               f'Content-Length: {size}\r\n{lines}\r\n')
        left = size
        try:
            while left:
                c.sock.sendall(block[:left])
                left -= min(left, len(block))
        except (BrokenPipeError, ConnectionResetError):
            pass    # answered early
        return c.reader.message('PUT')
