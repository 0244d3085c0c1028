#!/usr/bin/python3
"""Real applications whose resources live at two sites under one identifier.

    replicate.py [--scopemeshd FILE] [--folder DIR] [APPLICATION ...]

Starts each application at two sites with a scopemeshd before it, none of whose resources are declared, and goes through
the life of one: created under `&`, read and listed at both sites by one identifier, written at each and read at the
other, written while one site is down, deleted once, gone everywhere.  Ends in "N passed, N failed, N skipped"; all is
skipped where npm has nothing to download from.  Packages stay in the folder, the rest goes."""
import json
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.dont_write_bytecode = True
from apps import HTTP, SITES, Application, split                        # noqa: E402
from demo import pick_port, wait_for                                    # noqa: E402
from survey import Mesh, arguments, run                                 # noqa: E402

BOTH = {'X-Scope': 'store: dc1 & dc2'}


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def meta(self):
        return self.headers.get('X-Scope-Meta-Id')

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f'{self.status} {dict(self.headers)} {self.body[:300]!r}'


def ask(address, method, path, content=None, headers={}):
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(f'http://{address}{path}', method=method, data=data,
                                     headers={'Content-Type': 'application/json', **headers})
    try:
        with HTTP.open(request, timeout=30) as r:
            return Answer(r.status, r.headers, r.read())
    except urllib.error.HTTPError as e:
        return Answer(e.code, e.headers, e.read())


def check(condition, what, answer=None):
    if not condition:
        raise RuntimeError(f'{what}: {answer!r}' if answer is not None else what)


class Sites(Mesh):
    """Of the mesh of survey.py, with the stores alone."""

    def write_configurations(self, carrier):
        for site in SITES:
            with open(f'{self.run}/{site}.yaml', 'w') as f:
                f.write(f'site: {site}\nstate: ./state-{site}\nworkers: 1\nservices:\n'
                        f'  store: {{listen: "{self.at["store proxy", site]}", instances: {self.instances["store", site]}}}\n'
                        f'mesh: {{listen: "{self.at["mesh", site]}", tls: {{insecure: true}}}}\n'
                        f'registry: {{file: sites.yaml}}\nadmin: {{listen: "{self.at["admin", site]}"}}\n'
                        f'log: {{access: "off"}}\n')

    def kill(self, site):
        process = self.processes[SITES.index(site)]
        process.kill()
        process.wait()

    def again(self, site):
        self.processes[SITES.index(site)] = self.launch(site)
        wait_for(lambda: self.ready(site), 20, f'scopemeshd of {site}')

    def send(self, site, *args, **kw):
        return ask(self.at['store proxy', site], *args, **kw)

    def idle(self):
        """Nothing is on its way any more, and nothing waits for an operator."""
        def pending():
            return sum(ask(self.at['admin', s], 'GET', '/v1/queue').json()['pending'] for s in SITES)
        wait_for(lambda: pending() == 0, 30, 'an empty queue')


class Stores(Application):
    """One at each site, and no front."""

    def direct(self, site, *args):
        return ask(self.at[f'store {site}'], *args)


class JsonServer(Stores):
    """Integer ids, in the body and in an absolute Location.  The collections of the sites are of different length, so
    that no id is the same at both."""
    text = 'json-server 0.17'

    def start(self):
        for site, count in zip(SITES, (3, 70)):
            host, port = split(self.at[f'store {site}'])
            notes = [{'id': n, 'title': f'plain {n} of {site}', 'number': 71} for n in range(1, count + 1)]
            self.write(f'store {site}', 'db.json', json.dumps({'notes': notes, 'comments': []}))
            self.spawn(f'store {site}', f'{self.modules}/json-server/lib/cli/bin.js', '--quiet', '--host', host,
                       '--port', port, 'db.json')

    def live(self, mesh):
        made = mesh.send('dc1', 'POST', '/notes', {'title': 'one', 'number': 71}, BOTH)
        check(made.status == 201 and made.meta and made.json()['id'] == made.meta, 'created', made)
        check(made.headers['Location'].endswith(f'/notes/{made.meta}'), 'its Location', made)
        path = f'/notes/{made.meta}'
        mesh.idle()
        for site, local in zip(SITES, (4, 71)):
            read = mesh.send(site, 'GET', path)
            check(read.status == 200 and read.json() == {'id': made.meta, 'title': 'one', 'number': 71}, f'read at {site}', read)
            check(self.direct(site, 'GET', f'/notes/{local}').json()['title'] == 'one', f'it is {local} at {site}')
            check(mesh.send(site, 'GET', f'/notes/{local}').status == 404, f'and {local} is no name at {site}')
            listed = mesh.send(site, 'GET', '/notes').json()
            check([n['id'] for n in listed if n['title'] == 'one'] == [made.meta], f'listed at {site}', listed)
            check(all(isinstance(n['id'], int) and n['number'] == 71 for n in listed if n['title'] != 'one'), 'the plain ones', listed)
        for site, other in zip(SITES, reversed(SITES)):
            check(mesh.send(site, 'PATCH', path, {f'by_{site}': True}).status == 200, f'written at {site}')
            mesh.idle()
            check(mesh.send(other, 'GET', path).json().get(f'by_{site}') is True, f'and read at {other}')
        mesh.kill('dc2')
        check(mesh.send('dc1', 'PATCH', path, {'title': 'meanwhile'}).status == 200, 'written while dc2 is down')
        mesh.again('dc2')
        mesh.idle()
        check(self.direct('dc2', 'GET', '/notes/71').json()['title'] == 'meanwhile', 'dc2 has caught up')
        check(mesh.send('dc2', 'DELETE', path).status == 200, 'deleted at dc2')
        mesh.idle()
        check([mesh.send(s, 'GET', path).status for s in SITES] == [410, 410], 'gone at both')
        check([self.direct(s, 'GET', f'/notes/{n}').status for s, n in zip(SITES, (4, 71))] == [404, 404], 'and in the applications')
        check([len(self.direct(s, 'GET', '/notes').json()) for s in SITES] == [3, 70], 'the plain ones are left alone')


class PouchServer(Stores):
    """Documents under names that clients choose, and revisions made from their content: equal where the same was written
    in the same order.  A POST has another UUID at each site, and with it other revisions."""
    text = 'PouchDB Server 4.2'

    def start(self):
        for site in SITES:
            host, port = split(self.at[f'store {site}'])
            self.spawn(f'store {site}', f'{self.modules}/pouchdb-server/bin/pouchdb-server', '--in-memory', '--host', host,
                       '--port', port, '--no-stdout-logs')
            self.direct(site, 'PUT', '/notes', {})

    def live(self, mesh):
        made = mesh.send('dc1', 'POST', '/notes', {'title': 'one'}, BOTH)
        check(made.status == 201 and made.meta and made.json()['id'] == made.meta, 'created', made)
        mesh.idle()
        locals_ = []
        for site in SITES:
            read = mesh.send(site, 'GET', f'/notes/{made.meta}')
            check((read.status, read.json()['_id'], read.json()['title']) == (200, made.meta, 'one'), f'read at {site}', read)
            listed = mesh.send(site, 'GET', '/notes/_all_docs').json()
            check([r['id'] for r in listed['rows']] == [made.meta], f'listed at {site}', listed)
            locals_ += [r['id'] for r in self.direct(site, 'GET', '/notes/_all_docs').json()['rows']]
        check(len(set(locals_)) == 2, 'each has a UUID of its own', locals_)
        named = mesh.send('dc2', 'PUT', '/notes/chosen', {'title': 'two'}, BOTH)
        check(named.status == 201 and named.json()['id'] == 'chosen', 'created under a name', named)
        mesh.idle()
        revision = named.json()['rev']
        for site in SITES:
            written = mesh.send(site, 'PUT', '/notes/chosen', {'_rev': revision, 'by': site})
            check(written.status == 201, f'written at {site}', written)
            revision = written.json()['rev']
            mesh.idle()
            shown = [self.direct(s, 'GET', '/notes/chosen').json() for s in SITES]
            check(shown[0] == shown[1] and shown[0]['by'] == site, 'the same in both applications', shown)
        check(mesh.send('dc1', 'DELETE', f'/notes/chosen?rev={revision}').status == 200, 'deleted at dc1')
        mesh.idle()
        check([mesh.send(s, 'GET', '/notes/chosen').status for s in SITES] == [410, 410], 'gone at both')


APPLICATIONS = (JsonServer, PouchServer)


def go_through(kind, folder, scopemeshd):
    """What failed, or None."""
    where = tempfile.mkdtemp(prefix='run-', dir=folder)
    mesh = Sites(scopemeshd, where)
    at = {f'store {s}': f'127.0.{s[-1]}.1:{pick_port(f"127.0.{s[-1]}.1", 0)}' for s in SITES}
    application = kind(folder, where, at)
    try:
        application.start()
        mesh.start({('store', s): f'["http://{at[f"store {s}"]}"]' for s in SITES})
        application.live(mesh)
        return None
    except (RuntimeError, OSError, ValueError, KeyError) as e:
        return f'{type(e).__name__}: {e}'
    finally:
        mesh.stop()
        application.stop()
        shutil.rmtree(where, ignore_errors=True)


def main():
    kinds, folder, scopemeshd = arguments(__doc__, APPLICATIONS)
    failed = 0
    for kind in kinds:
        started = time.monotonic()
        why = go_through(kind, folder, scopemeshd)
        failed += why is not None
        print(f'{"failed" if why else "passed"} {kind.text}{": " + why if why else ""} '
              f'({time.monotonic() - started:.1f} s)', flush=True)
    print(f'{len(kinds) - failed} passed, {failed} failed, 0 skipped')
    return 1 if failed else 0


if __name__ == '__main__':
    run(main)
