"""The load: clients that create, change, extend, delete and read notes at each site, and what became of each request.

A client belongs to a site and sends one request after the other; what it writes has a word that no other request has
(application.py), `r...` of replicated resources, `p...` of plain ones.  The record of all requests is the History."""
import json
import random
import re
import threading
import time

from harness import ask
from world import SERVICE

# A word of a local identifier: integers as long as the applications make them, UUIDs that are no meta-identifiers.
LOCAL = re.compile(rb'(?<![\w-])(\d{6,}|[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})(?![\w-])')
PATIENCE = 20       # seconds a client waits for an answer
FIELDS = ('color', 'size', 'owner')


class Attempt:
    """One request. status 0: no answer came.  note: the create it concerns (itself, for a create)."""

    def __init__(self, n, client, kind, method, path, note=None, word=None, scope=()):
        self.n, self.client, self.site, self.kind = n, client, client.site, kind
        self.method, self.path, self.note, self.word, self.scope = method, path, note or self, word, tuple(scope)
        self.field = None               # which member an update writes
        self.status, self.by_proxy, self.problem, self.meta, self.replicas = 0, False, None, None, None
        self.started, self.ended, self.shown = time.monotonic(), None, frozenset()

    @property
    def sites(self):
        return self.note.scope

    def take(self, answer):
        self.status, self.meta = answer.status, answer.get('x-scope-meta-id')
        self.by_proxy = answer.get('proxy-status') is not None
        self.replicas = answer.get('x-scope-replicas')
        if (answer.get('content-type') or '').startswith('application/problem'):
            self.problem = answer.json()['type'].rsplit(':', 1)[1]
        head = '\n'.join(v for n, v in answer.headers if n.lower() not in ('date', 'content-length', 'etag'))
        self.shown = frozenset(LOCAL.findall(head.encode() + b'\n' + answer.body))

    def __str__(self):
        took = f'{self.ended - self.started:.3f} s' if self.ended else 'no end'
        under = f' under {" & ".join(self.scope)} ({self.meta})' if self.kind == 'create' else ''
        return (f'#{self.n} {self.started:.3f} +{took} {self.site} {self.client.name} {self.kind} {self.method} '
                f'{self.path}{under}: {self.status or "no answer"}'
                f'{" " + self.problem if self.problem else ""}{" [" + self.replicas + "]" if self.replicas else ""}')


class History:
    def __init__(self, seed):
        self.lock, self.attempts, self.notes = threading.Lock(), [], []
        self.seed, self.words = seed, 0

    def number(self):
        with self.lock:
            self.words += 1
            return self.words

    def add(self, attempt):
        with self.lock:
            self.attempts.append(attempt)
            if attempt.kind == 'create' and attempt.meta and 200 <= attempt.status < 300:
                self.notes.append(attempt)

    def some_note(self, rng):
        """Rather a young one: that is where things happen."""
        with self.lock:
            if not self.notes:
                return None
            return rng.choice(self.notes[-30:] if rng.random() < 0.8 else self.notes)

    def of(self, note):
        return [a for a in self.attempts if a.note is note]


class Client(threading.Thread):
    """Base: what all do.  rest: mean seconds between two requests."""

    def __init__(self, name, site, world, history, over, rest):
        super().__init__(daemon=True, name=name)
        self.site, self.world, self.history, self.over, self.rest = site, world, history, over, rest
        self.rng = random.Random(f'{history.seed} {name}')

    def run(self):
        self.world.ground.places[self.site].move_in()
        while not self.over.wait(self.rng.expovariate(1 / self.rest)):
            if self.world.sites[self.site].state != 'killed':
                self.one()

    def request(self, kind, method, path, document=None, note=None, word=None, scope=(), patience=PATIENCE, **headers):
        attempt = Attempt(self.history.number(), self, kind, method, path, note, word, scope)
        if kind == 'update':
            attempt.field = next(iter(document))
        sent = {n.replace('_', '-'): v for n, v in headers.items()}
        if scope and kind == 'create':
            sent['X-Scope'] = 'notes: ' + ' & '.join(scope)
        if document is not None:
            sent['Content-Type'] = 'application/json'
        body = None if document is None else json.dumps(document).encode()
        try:
            answer = ask(SERVICE, method, path, sent, body, patience)
            attempt.take(answer)
        except (OSError, ValueError):
            answer = None
        attempt.ended = time.monotonic()
        self.history.add(attempt)
        return answer


class Writer(Client):
    """Replicated resources: at two sites or more, chosen for each create."""
    KINDS = (('create', 18), ('update', 28), ('append', 20), ('child', 8), ('child_update', 5), ('child_delete', 3),
             ('delete', 3), ('read', 10), ('list', 5))

    def one(self):
        kind = self.rng.choices([k for k, _ in self.KINDS], [w for _, w in self.KINDS])[0]
        note = self.history.some_note(self.rng)
        word = f'r{self.history.number()}'
        if kind == 'create' or note is None:
            self.create(word)
        else:
            getattr(self, kind)(note, word)

    def create(self, word):
        names = self.world.names
        others = [n for n in names if n != self.site]
        chosen = self.rng.sample(others, self.rng.randint(1, len(others)))
        # Mostly where the client is, too
        if self.rng.random() < 0.85 or len(chosen) < 2:
            chosen.append(self.site)
        document = {'title': word, 'group': f'g{self.history.number() // 300}'}
        self.request('create', 'POST', f'/notes?word={word}', document, word=word, scope=chosen)

    def update(self, note, word):
        # A member of this client's own, or one that everybody writes
        field, method = self.rng.choice(FIELDS + (self.name,) * 2), self.rng.choice(('PUT', 'PATCH'))
        self.request('update', method, f'/notes/{note.meta}?word={word}', {field: word}, note, word)

    def append(self, note, word):
        self.request('append', 'POST', f'/notes/{note.meta}/actions?word={word}', {'do': word}, note, word)

    def child(self, note, word):
        answer = self.request('child', 'POST', f'/notes/{note.meta}/items?word={word}', {'title': word}, note, word)
        if answer and answer.status == 201:
            note.__dict__.setdefault('children', []).append(answer.get('x-scope-meta-id'))

    def some_child(self, note):
        return self.rng.choice(note.__dict__.get('children') or [None])

    def child_update(self, note, word):
        if child := self.some_child(note):
            path = f'/notes/{note.meta}/items/{child}?word={word}'
            self.request('child_update', 'PUT', path, {'state': word}, note, word)

    def child_delete(self, note, word):
        if child := self.some_child(note):
            self.request('child_delete', 'DELETE', f'/notes/{note.meta}/items/{child}?word={word}', None, note, word)

    def delete(self, note, word):
        self.request('delete', 'DELETE', f'/notes/{note.meta}?word={word}', None, note, word)

    def read(self, note, _):
        self.request('read', 'GET', f'/notes/{note.meta}', note=note)

    def list(self, note, _):
        self.request('list', 'GET', f'/notes?group=g{max(0, self.history.words // 300 - self.rng.randint(0, 1))}')


class Local(Client):
    """Plain requests, which concern this site alone: they have to be served throughout."""
    own = None

    def one(self):
        if self.own is None or self.rng.random() < 0.3:
            word = f'p{self.history.number()}'
            answer = self.request('plain', 'POST', f'/notes?word={word}', {'title': word}, word=word)
            if answer and answer.status == 201:
                self.own = answer.json()['id']
        else:
            self.request('plain', 'GET', f'/notes/{self.own}')


def start_load(world, history, writers, rest):
    """The clients, and what stops them."""
    over = threading.Event()
    clients = [Writer(f'w{site}{i}', site, world, history, over, rest) for site in world.names for i in range(writers)]
    clients += [Local(f'l{site}', site, world, history, over, 0.1) for site in world.names]
    for c in clients:
        c.start()
    return clients, over
