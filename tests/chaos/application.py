"""The application of each site: notes (tests/system/notes_app.py), which knows nothing of other sites, and a count of
what it really did.  Every write of a client has a word of its own, in the query (?word=r17) as in the body;
effects[word] says how often it took effect here, made[local id] which word gave rise to the note or item."""
import collections
import json
import random
import re
import threading
import time
import urllib.parse

from notes_app import WRITES, Ids, NotesApp

Made = collections.namedtuple('Made', 'word time')
WORD = re.compile(r'[?&]word=(\w+)')


def word_of(path):
    found = WORD.search(path)
    return found[1] if found else None


class Application(NotesApp):
    def __init__(self, name, **options):
        self.effects, self.made, self.deleted = collections.Counter(), {}, {}
        super().__init__(name, **options)
        self.items = Ids('uuid', 0)     # short ids of items are not exchanged within the note's representation

    def receive(self, request, reader, sock):
        super().receive(request, reader, sock)
        self.arrived.clear()    # they would be all that was ever sent

    def execute(self, request):
        response = super().execute(request)
        word, status = word_of(request.path), int(response.split(b' ', 2)[1])
        self.executed.clear()
        if request.method in WRITES and 200 <= status < 300:
            with self.state:
                self.took_effect(request, word, response)
        return response

    def took_effect(self, request, word, response):
        self.effects[word] += 1
        path = urllib.parse.urlsplit(request.path).path
        if request.method == 'DELETE':
            self.deleted[path] = word
        elif request.method == 'POST' and not path.endswith('/actions'):
            document = json.loads(response.split(b'\r\n\r\n', 1)[1])
            self.made[str(document['id'])] = Made(word, time.monotonic())

    def collection(self, request):
        """?group=G: those alone, so that lists stay short; ?word=W: looked up by what made it."""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(request.path).query)
        if request.method == 'GET' and ('group' in query or 'find' in query):
            with self.state:
                found = [self.shown(request, n) for n in list(self.notes.values())
                         if n.get('group') in query.get('group', ()) or n.get('title') in query.get('find', ())]
            return self.doc(request, 200, found)
        return super().collection(request)

    def of(self, word):
        """The note that a create made, None if it is not there (any more)."""
        with self.state:
            return next((n for n in self.notes.values() if n.get('title') == word), None)

    def local_id(self, word):
        """Of what a create made, note or item."""
        with self.state:
            return next((i for i, m in self.made.items() if m.word == word), None)

    # --- what it may be told to do wrong: to writes that carry a word of a replicated resource ------------

    def misbehave(self, what, seconds, share=0.5):
        def chosen(request):
            replicated = request.method in WRITES and (word_of(request.path) or '').startswith('r')
            return replicated and random.random() < share
        fault = self.fail(what, seconds=seconds, when=chosen)
        if what in ('late', 'held'):
            threading.Timer(seconds, fault.release.set).start()
        return fault

    def behave(self, fault):
        self.faults = [f for f in self.faults if f is not fault]
        fault.release.set()
