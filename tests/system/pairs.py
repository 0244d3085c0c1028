"""Sites joined pair by pair: one link per direction of each pair, so that a distance, a cut or a pause belongs to it."""
import threading
import time

import harness
from harness import Daemon, ask, free_port, loopback, wait_until, yaml_value


class Link(harness.Relay):
    """A relay that listens again at the address it had, and whose delay may change.  carried: bytes that came to it on
    their way there."""
    carried = 0

    def passed(self, way, data):
        if way == 'to':
            self.carried += len(data)

    def heal(self):
        self.listen(self.port)

    def strand(self):
        """The end of a pause for new connections alone: what the others carried does not come any more."""
        self.flow = {way: threading.Event() for way in self.flow}
        self.resume()


class Pairs:
    """sites[name] the daemons, links[here, there] the way from here to there, origins[name] what answers."""

    def __init__(self, bed, names, one_way_s=None, labels=None, options=None, without=(), **top):
        self.bed, self.names = bed, list(names)
        self.origins = {n: self.origin(n) for n in names}
        self.mesh = {n: self.address() for n in names}
        self.links, self.sites = {}, {}
        for here in names:
            for there in names:
                if here != there:
                    link = Link(self.mesh[there], (one_way_s or {}).get(frozenset((here, there)), 0.0))
                    bed.servers.append(link)
                    self.links[here, there] = link
        for pair in without:
            self.links[pair].cut()
        for n in names:
            bed.write(f'{n}/sites.yaml', self.registry(n, labels))
            self.sites[n] = Daemon(bed, n, bed.config(n, self.services(n, options or {}), mesh=self.mesh[n],
                                                      registry='sites.yaml', **top), wait=False)
        for d in self.sites.values():
            d.ready()

    def origin(self, name):
        """What answers at that site."""
        return self.bed.origin(name)

    def services(self, name, options):
        """The services of that site; options: keys of each."""
        return {'image': {'instances': [self.origins[name].url], **options}}

    def registry(self, here, labels=None, **more):
        """The text of a registry as this site has it; more: further sites, or others' entries anew."""
        sites = {n: {'mesh': self.mesh[n] if n == here else self.links[here, n].addr,
                     'labels': (labels or {}).get(n, {})} for n in self.names}
        return yaml_value({'sites': {**sites, **more}}) + '\n'

    @staticmethod
    def address():
        host = loopback()
        return f'{host}:{free_port(host)}'

    def doc(self, site):
        return ask(self.sites[site].admin, path='/v1/sites').json()

    def seen(self, here, there):
        """The element of there in the list of here."""
        return next(s for s in self.doc(here)['sites'] if s['name'] == there)

    def state(self, here, there):
        return self.seen(here, there)['state']

    def wait_state(self, here, there, state, seconds=None):
        """Seconds until it is shown so."""
        started = time.monotonic()
        wait_until(lambda: self.state(here, there) == state, f'{there} {state} at {here}', seconds)
        return time.monotonic() - started

    def wait_connected(self):
        for here in self.names:
            for there in self.names:
                wait_until(lambda h=here, t=there: self.state(h, t) == 'connected', f'{there} connected at {here}')

    def get(self, here, scope, path='/x'):
        return ask(self.sites[here].addr('image'), path=path, headers={'X-Scope': scope})

    def expansion(self, here, scope):
        """The order that a scope comes to at present."""
        r = ask(self.sites[here].admin, path='/v1/scope/explain?scope=' + scope.replace(' ', '%20')).json()
        return [s['site'] for s in r['bindings'][0]['sites']]

    def post(self, here, there, verb, headers=None):
        return ask(self.sites[here].admin, 'POST', f'/v1/sites/{there}/{verb}', body=b'{}',
                   headers=headers or {'Content-Type': 'application/json'})


class Load:
    """Requests one after the other in a thread; what came of them."""

    def __init__(self, pairs, here, scope):
        self.answers, self.failures, self.stopped = [], [], False
        self.pairs, self.here, self.scope = pairs, here, scope
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped:
            try:
                r = self.pairs.get(self.here, self.scope)
                (self.answers if r.status == 200 else self.failures).append((time.monotonic(), r.status, r.body))
            except OSError as e:
                self.failures.append((time.monotonic(), 0, repr(e)))
            time.sleep(0.002)

    def stop(self):
        self.stopped = True
        self.thread.join(5)
        return self
