"""An application that knows nothing of other sites: notes with server-made identifiers, in memory that outlives its stop.

One instance per site, each with ids of its own.  What it does and when it fails is set from the test, what reached it
and what it executed is kept, so that `exactly once` can be counted.

    POST   /notes                   201, Location, the note; `status`, `shows` change that
    GET    /notes                   an array, or {"notes": [...]} with `wrapped`; ?text=T filters; with `paged` by pages
                                    of ?limit=N (2): 'next', 'link' and 'none' begin behind ?marker=ID (404: unknown),
                                    'number' is ?page=N; what follows is told in "next", in Link, or not at all
    GET    /notes/ID  PUT  PATCH  DELETE     PUT is partial, or with `whole_put` replaces; with `upsert` it creates
    POST   /notes/ID/items          a child with an id of its own;  GET, PUT, DELETE /notes/ID/items/ID
    POST   /notes/ID/actions        appends to the note's actions, shows no id
    PUT    /notes/ID/file  GET  DELETE   any size, of which hash and length are kept
    POST   /calls                   sends the request that the body names: {"url", "method", "headers", "body"}
"""
import collections
import gzip
import hashlib
import http.client
import json
import random
import re
import string
import threading
import time
import urllib.parse
import uuid

import harness
from harness import Reader, Server, answer, reset

WRITES = ('POST', 'PUT', 'PATCH', 'DELETE')
Executed = collections.namedtuple('Executed', 'method path headers body digest size started ended')
REASONS = http.client.responses


class Ids:
    """Where ids come from: integers on from a start, UUIDs, or six random characters."""

    def __init__(self, kind, start):
        self.kind, self.next = kind, start

    def make(self):
        if self.kind == 'integer':
            self.next += 1
            return self.next - 1
        if self.kind == 'uuid':
            return str(uuid.uuid4())
        return ''.join(random.choices(string.ascii_lowercase + string.digits, k=6))


class Fault:
    """What happens to requests that `when` chooses: before the application acts (and then it does not), or after."""

    def __init__(self, what, times=None, seconds=None, when=None, headers=(), body=b'{"error": "as told"}'):
        self.what, self.times, self.headers, self.body = what, times, headers, body
        self.until = None if seconds is None else time.monotonic() + seconds
        self.when = when or (lambda r: r.method in WRITES)
        self.hit = 0
        self.release = threading.Event()

    def takes(self, request):
        over = self.times is not None and self.hit >= self.times or self.until and time.monotonic() > self.until
        if over or not self.when(request):
            return False
        self.hit += 1
        return True


class NotesApp(Server):
    """Attributes are set at any time:  status and shows (of a create: 'both', 'body', 'location', 'none', 'task'), wrapped,
    paged, whole_put, upsert, takes_ids, passwords, zipped, prefix, absolute (links), extra (members of each answer to a create)."""

    def __init__(self, name, ids='integer', start=1, **options):
        self.name, self.ids, self.items = name, Ids(ids, start), Ids(ids, start * 10)
        self.notes, self.arrived, self.executed, self.faults = {}, [], [], []
        self.bytes_in = 0                      # of large bodies, so far
        self.busy = collections.Counter()
        self.most_at_once = 0
        self.status, self.shows = 201, 'both'
        self.wrapped = self.whole_put = self.upsert = self.takes_ids = self.passwords = False
        self.zipped = self.absolute = self.keeps_several = False
        self.paged = None
        self.extra = {}
        for key, value in options.items():
            assert hasattr(self, key), key
            setattr(self, key, value)
        self.state = threading.RLock()
        super().__init__(self.converse)

    @property
    def url(self):
        return 'http://' + self.addr

    # --- told by the test -------------------------------------------------------------------------

    def fail(self, what, **options):
        """what: a status (nothing is executed), 'drop-before', 'drop-after', 'late' (executed at once, answered when
        released), 'held' (executed when released), ('after', STATUS) (executed, and yet answered so)."""
        fault = Fault(what, **options)
        self.faults.append(fault)
        return fault

    def heal(self):
        """No faults from now on, and those who wait go on."""
        faults, self.faults = self.faults, []
        for f in faults:
            f.release.set()

    # --- asked by the test ------------------------------------------------------------------------

    def by_title(self, title):
        """The notes of that title, whatever their ids."""
        with self.state:
            return [n for n in self.notes.values() if n.get('title') == title]

    def titles(self):
        with self.state:
            return [n.get('title') for n in self.notes.values()]

    def done(self, method, pattern='.*'):
        """What was executed of a method, at paths that match."""
        return [e for e in list(self.executed) if e.method == method and re.fullmatch(pattern, e.path)]

    def came(self, method, pattern='.*'):
        """What arrived, executed or not."""
        return [r for r in list(self.arrived) if r.method == method and re.fullmatch(pattern, r.path)]

    def bodies(self):
        return [e.body for e in list(self.executed)]

    # --- conversation -----------------------------------------------------------------------------

    def converse(self, sock):
        reader = Reader(sock)
        while True:
            try:
                request = reader.head()
            except ConnectionError:
                return
            self.receive(request, reader, sock)
            self.arrived.append(request)
            fault = next((f for f in list(self.faults) if f.takes(request)), None)
            response = self.through(fault, request)
            if response is None:
                reset(sock)
                return
            sock.sendall(response)

    def receive(self, request, reader, sock):
        """Reads the body; of large ones that tell their length hash and length only."""
        if (request.get('expect') or '').lower() == '100-continue':
            sock.sendall(b'HTTP/1.1 100 Continue\r\n\r\n')
        digest, left = hashlib.sha256(), int(request.get('content-length') or 0)
        request.size = left
        if left <= 1 << 20:
            request.body = reader.body(request)
            digest.update(request.body)
            request.size, left = len(request.body), 0
        while left:
            piece = reader.exactly(min(left, 1 << 16))
            digest.update(piece)
            self.bytes_in += len(piece)
            left -= len(piece)
        request.digest = digest.hexdigest()

    def through(self, fault, request):
        """The bytes of the answer; None: the connection ends with a reset."""
        what = fault.what if fault else None
        if isinstance(what, int):
            return self.respond(request, what, fault.body, list(fault.headers))
        if what == 'drop-before':
            return None
        if what == 'held':
            fault.release.wait(60)
        response = self.execute(request)
        if what == 'drop-after':
            return None
        if what == 'late':
            fault.release.wait(60)
        if isinstance(what, tuple):
            return self.respond(request, what[1], fault.body, list(fault.headers))
        return response

    def execute(self, request):
        """One request, and the record of it; writes to one note should never be here at once."""
        path = urllib.parse.unquote(urllib.parse.urlsplit(request.path).path)
        key = '/'.join(path.split('/')[:3])
        started = time.monotonic()
        with self.state:
            self.busy[key] += request.method in WRITES and path != '/notes'
            self.most_at_once = max(self.most_at_once, self.busy[key])
        try:
            response = self.answer_to(request, path)
        finally:
            with self.state:
                self.busy[key] -= request.method in WRITES and path != '/notes'
                if request.method in WRITES:
                    self.executed.append(Executed(request.method, request.path, request.headers, request.body,
                                                  request.digest, request.size, started, time.monotonic()))
        return response

    def respond(self, request, status, body=b'', headers=(), kind='application/json'):
        headers = list(headers) + ([('Content-Type', kind)] if body else [])
        if self.zipped and body:
            body = gzip.compress(body)
            headers.append(('Content-Encoding', 'gzip'))
        text = answer(body, f'{status} {REASONS.get(status, "Told")}', headers)
        return text[:len(text) - len(body)] if request.method == 'HEAD' else text

    def doc(self, request, status, document, headers=()):
        return self.respond(request, status, json.dumps(document).encode(), headers)

    def missing(self, request):
        return self.doc(request, 404, {'error': 'there is none'})

    # --- the application --------------------------------------------------------------------------

    def answer_to(self, request, path):
        parts = path.strip('/').split('/')
        if path == '/calls':
            return self.call(request)
        if parts[0] != 'notes':
            return self.doc(request, 200, {'site': self.name, 'path': request.path})
        if len(parts) == 1:
            return self.collection(request)
        with self.state:
            note = next((n for i, n in self.notes.items() if str(i) == parts[1]), None)
            if len(parts) == 2:
                return self.item(request, parts[1], note)
            if note is None:
                return self.missing(request)
            below = {'items': self.child, 'actions': self.action, 'file': self.file}.get(parts[2])
            return below(request, note, parts[3:]) if below else self.missing(request)

    def collection(self, request):
        if request.method == 'POST':
            return self.create(request)
        if request.method in ('GET', 'HEAD'):
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)
            with self.state:
                found = [self.shown(request, n) for n in self.notes.values()
                         if n.get('text') in query.get('text', [n.get('text')])]
            if self.paged:
                return self.page(request, found, query)
            return self.doc(request, 200, {'notes': found, 'count': len(found)} if self.wrapped else found)
        if request.method == 'DELETE':
            with self.state:
                self.notes.clear()
            return self.respond(request, 204)
        return self.doc(request, 405, {'error': 'no such method'})

    def page(self, request, found, query):
        limit, marker = int(query.get('limit', ['2'])[0]), query.get('marker', [None])[0]
        strange = set(query) - {'limit', 'marker', 'page', 'text'}
        if strange:
            return self.doc(request, 400, {'error': f'unknown: {strange}'})
        if self.paged == 'number':
            start = (int(query.get('page', ['1'])[0]) - 1) * limit
            following = f'page={start // limit + 2}'
        else:
            ids = [str(n['id']) for n in found]
            if marker is not None and marker not in ids:
                return self.doc(request, 404, {'error': 'no such marker'})
            start = ids.index(marker) + 1 if marker is not None else 0
            following = f'marker={ids[start:start + limit][-1]}' if ids[start:] else ''
        part, more = found[start:start + limit], len(found) > start + limit
        kept = ''.join(f'&{n}={query[n][0]}' for n in ('limit', 'text') if n in query)
        link = f'/notes?{following}{kept}'
        if self.paged in ('next', 'number'):
            return self.doc(request, 200, {'notes': part, **({'next': link} if more else {})})
        headers = [('Link', f'</notes>; rel="first", <{link}>; rel=next')] if more and self.paged == 'link' else []
        return self.doc(request, 200, {'notes': part} if self.wrapped else part, headers)

    def link(self, request, note):
        base = f'http://{request.get("host")}' if self.absolute else ''
        return f'{base}/notes/{note["id"]}'

    def shown(self, request, note):
        """A representation: the note itself, links to it, and how many things it has."""
        document = {k: v for k, v in note.items() if k != 'password'}
        return {**document, 'self': self.link(request, note), 'items': list(note['items'])}

    def new(self, document, chosen=None):
        note = {**document, 'id': chosen if chosen is not None else self.ids.make(), 'items': [], 'actions': []}
        if self.passwords:
            note['password'] = str(uuid.uuid4())
        self.notes[note['id']] = note
        return note

    def create(self, request):
        document = json.loads(request.body or b'{}')
        with self.state:
            chosen = document.get('id') if self.takes_ids else None
            if chosen is not None and chosen in self.notes:
                return self.doc(request, 409, {'error': 'it exists'})
            note = self.new(document, chosen)
            if self.keeps_several:
                other = self.new(document)
                return self.doc(request, 201, [self.shown(request, note), self.shown(request, other)])
            shown = {**self.shown(request, note), **self.extra}
        if self.passwords:
            shown['password'] = note['password']
        location = [('Location', self.link(request, note))]
        if self.shows == 'none':
            return self.doc(request, self.status, {'done': True})
        if self.shows == 'task':
            return self.doc(request, self.status, {'state': 'building'}, [('Location', f'/tasks/{uuid.uuid4()}')])
        if self.shows == 'location':
            return self.respond(request, self.status, b'', location)
        return self.doc(request, self.status, shown, location if self.shows == 'both' else ())

    def item(self, request, key, note):
        if request.method == 'PUT' and note is None and self.upsert:
            note = self.new({}, key)
            self.overwrite(note, json.loads(request.body))
            return self.doc(request, 201, self.shown(request, note), [('Location', self.link(request, note))])
        if note is None:
            return self.missing(request)
        if request.method == 'PATCH' and 'json-patch' in (request.get('content-type') or ''):
            if not self.patch(note, json.loads(request.body)):
                return self.doc(request, 409, {'error': 'no such member'})
        elif request.method in ('PUT', 'PATCH'):
            self.overwrite(note, json.loads(request.body), request.method == 'PUT' and self.whole_put)
        elif request.method == 'DELETE':
            del self.notes[note['id']]
            return self.respond(request, 204)
        elif request.method not in ('GET', 'HEAD'):
            return self.doc(request, 405, {'error': 'no such method'})
        tag = hashlib.sha256(json.dumps(note).encode()).hexdigest()[:12]
        return self.doc(request, 200, self.shown(request, note), [('ETag', f'"{tag}"')])

    def patch(self, note, operations):
        """JSON Patch (RFC 6902) of members: all of it, or nothing where one to be removed or replaced is not there."""
        after = dict(note)
        for o in operations:
            member = o['path'][1:]
            if o['op'] != 'add' and member not in after:
                return False
            if o['op'] == 'remove':
                del after[member]
            else:
                after[member] = o['value']
        note.clear()
        note.update(after)
        return True

    def overwrite(self, note, document, whole=False):
        if whole:
            for member in [m for m in note if m not in ('id', 'items', 'actions', 'password')]:
                del note[member]
        note.update({k: v for k, v in document.items() if k not in ('id', 'items', 'actions', 'self')})

    def child(self, request, note, rest):
        if request.method == 'POST' and not rest:
            item = {**json.loads(request.body or b'{}'), 'id': self.items.make()}
            note['items'].append(item)
            return self.doc(request, 201, item, [('Location', f'{self.link(request, note)}/items/{item["id"]}')])
        if not rest:
            return self.doc(request, 200, note['items'])
        item = next((i for i in note['items'] if str(i['id']) == rest[0]), None)
        if item is None:
            return self.missing(request)
        if request.method == 'DELETE':
            note['items'].remove(item)
            return self.respond(request, 204)
        if request.method in ('PUT', 'PATCH'):
            item.update({k: v for k, v in json.loads(request.body).items() if k != 'id'})
        return self.doc(request, 200, item)

    def action(self, request, note, _):
        note['actions'].append(json.loads(request.body or b'{}').get('do'))
        return self.doc(request, 200, {'actions': len(note['actions'])})

    def file(self, request, note, _):
        if request.method == 'PUT':
            note['file'] = {'sha256': request.digest, 'size': request.size}
            return self.respond(request, 204)
        if request.method == 'DELETE':
            return self.respond(request, 204) if note.pop('file', None) else self.missing(request)
        return self.doc(request, 200, note.get('file') or {})

    def call(self, request):
        """As services call each other: what the test says, with the headers of the request it came with."""
        wish = json.loads(request.body)
        address, path = re.fullmatch(r'http://([^/]+)(/.*)', wish['url']).groups()
        headers = {n: v for n, v in request.headers if n.lower() in ('x-scope', 'baggage', 'traceparent')}
        body = wish.get('body')
        body = json.dumps(body).encode() if body is not None else None
        r = harness.ask(address, wish.get('method', 'GET'), path, {'Content-Type': 'application/json', **headers}, body)
        return self.respond(request, r.status, r.body)
