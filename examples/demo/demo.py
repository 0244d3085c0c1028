#!/usr/bin/python3
"""Three sites on this machine share one application that knows nothing of them.

    demo.py [--once] [--scopemeshd FILE]

Starts, for each of dc1, dc2, dc3: an image service, a compute service, and a scopemeshd in front
of both; between the sites, mutual TLS over links with delays.  Then shows step by step what a scope does.  With --once it
ends after the last step, 0 when every step came out as it should; without, everything stays up to be tried
until Ctrl-C.  Nothing is left behind either way."""
import argparse
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
from links import Links     # noqa: E402

SITES = ('dc1', 'dc2', 'dc3')
ROUND_TRIP_MS = {('dc1', 'dc2'): 5, ('dc1', 'dc3'): 20, ('dc2', 'dc3'): 20}
IMAGES = {'dc1': ['cirros'], 'dc2': ['cirros', 'debian'], 'dc3': ['cirros']}
PORTS = {'image': 9292, 'compute': 8774, 'mesh': 7400, 'admin': 7401, 'image app': 19292, 'compute app': 18774}
CONTROL_PORT = 7490
HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def host_of(site):
    return f'127.0.{site[-1]}.1'


def pick_port(host, wished):
    """wished when it is free, else any that is."""
    for port in (wished, 0):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind((host, port))
                return s.getsockname()[1]
            except OSError:
                if not port:
                    raise
    raise AssertionError


def listening(address):
    try:
        socket.create_connection(address, 1).close()
        return True
    except OSError:
        return False


def wait_for(condition, seconds, what, every=0.01):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f'not within {seconds} s: {what}')
        time.sleep(every)


class World:
    """The sites, their services and the links between them."""

    def __init__(self, scopemeshd, fixed_ports):
        self.scopemeshd, self.dir = scopemeshd, tempfile.mkdtemp(prefix='scopemesh-demo-')
        self.scopectl = os.path.join(os.path.dirname(scopemeshd), 'scopectl')
        self.port = {(s, what): pick_port(host_of(s), port if fixed_ports else 0)
                     for s in SITES for what, port in PORTS.items()}
        self.control = pick_port('127.0.0.1', CONTROL_PORT if fixed_ports else 0)
        self.processes, self.links = {}, Links()

    def at(self, site, what):
        return f'{host_of(site)}:{self.port[site, what]}'

    def start(self):
        for site in SITES:
            self.spawn(f'image {site}', sys.executable, f'{HERE}/image.py', self.at(site, 'image app'), *IMAGES[site])
            self.spawn(f'compute {site}', sys.executable, f'{HERE}/compute.py', self.at(site, 'compute app'),
                       f'http://{self.at(site, "image")}', f'compute-{site}')
        self.make_certificates()
        self.join_sites()
        for site in SITES:
            self.start_site(site)
        for site in SITES:
            for what in ('image app', 'compute app'):
                wait_for(lambda s=site, w=what: listening((host_of(s), self.port[s, w])), 10, f'{what} of {site}')
            self.wait_ready(site)

    def spawn(self, name, *argv):
        with open(f'{self.dir}/{name.replace(" ", "-")}.log', 'ab') as log:
            # A session of its own: Ctrl-C reaches us alone, and we end them in order.
            self.processes[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                    start_new_session=True)

    def make_certificates(self):
        for words in (['init'], *(['issue', site] for site in SITES)):
            p = subprocess.run([self.scopectl, 'ca', *words, '--dir', f'{self.dir}/authority'], stdin=subprocess.DEVNULL,
                               capture_output=True, text=True)
            if p.returncode:
                raise RuntimeError(f'scopectl ca {" ".join(words)}: {p.stderr.strip()}')

    def join_sites(self):
        """One link per direction, since a distance belongs to a pair: each site has a registry of its own that
        gives the links' addresses for the others."""
        for here in SITES:
            known = {here: {'mesh': self.at(here, 'mesh')}}
            for there in SITES:
                if there != here:
                    ms = ROUND_TRIP_MS[tuple(sorted((here, there)))]
                    listen = (host_of(here), pick_port(host_of(here), 0))
                    self.links.add((here, there), listen, (host_of(there), self.port[there, 'mesh']), ms / 2000)
                    known[there] = {'mesh': '%s:%d' % listen}
            self.write(f'{here}/sites.yaml', json.dumps({'sites': known}, indent=1))
            self.write(f'{here}/site.yaml', self.config(here))

    def write(self, name, text):
        os.makedirs(os.path.dirname(f'{self.dir}/{name}'), exist_ok=True)
        with open(f'{self.dir}/{name}', 'w') as f:
            f.write(text + '\n')

    def config(self, site):
        services = ''.join(f'  {s}: {{listen: "{self.at(site, s)}", instances: ["http://{self.at(site, s + " app")}"]}}\n'
                           for s in ('image', 'compute'))
        return (f'site: {site}\nstate: ./state\nworkers: 1\nservices:\n{services}'
                f'mesh:\n  listen: "{self.at(site, "mesh")}"\n'
                f'  tls: {{cert: ../authority/{site}.pem, key: ../authority/{site}.key, ca: ../authority/ca.pem}}\n'
                f'registry: {{file: sites.yaml}}\nadmin: {{listen: "{self.at(site, "admin")}"}}')

    def start_site(self, site):
        self.spawn(f'scopemeshd {site}', self.scopemeshd, '-c', f'{self.dir}/{site}/site.yaml')
        self.links.each('open', site)

    def stop_site(self, site):
        """The site is gone: its proxy ends and nothing answers at its address."""
        self.links.each('close', site)
        self.end(f'scopemeshd {site}')

    def kill_site(self, site):
        """The same without warning (kill -9): what it had not written is gone."""
        self.links.each('close', site)
        process = self.processes.pop(f'scopemeshd {site}')
        process.kill()
        process.wait()

    def admin(self, site, path):
        with HTTP.open(f'http://{self.at(site, "admin")}{path}', timeout=2) as r:
            return r.read()

    def ready(self, site):
        process = self.processes[f'scopemeshd {site}']
        if process.poll() is not None:
            with open(f'{self.dir}/scopemeshd-{site}.log', errors='replace') as f:
                raise RuntimeError(f'scopemeshd of {site} ended with {process.returncode}:\n{f.read()[-2000:]}')
        try:
            return self.admin(site, '/readyz') is not None
        except OSError:
            return False

    def wait_ready(self, site):
        wait_for(lambda: self.ready(site), 10, f'{site} ready')

    def wait_delivered(self, site, *targets):
        """What this site has in its log has been executed at these."""
        def done():
            return not any(e['target'] in targets for e in json.loads(self.admin(site, '/v1/queue'))['queue'])
        wait_for(done, 10, f'the queue of {site} holds nothing for {", ".join(targets)}')

    def round_trips(self, site):
        return {s['name']: s['rtt_ms'] for s in json.loads(self.admin(site, '/v1/sites'))['sites']}

    def end(self, name):
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for name in list(self.processes):
            self.end(name)
        shutil.rmtree(self.dir, ignore_errors=True)

    def lengthen(self, a, b, ms):
        """The way between two sites takes another time from now on, there and back together."""
        if {a, b} - set(SITES) or a == b or not ms.isdigit() or int(ms) > 2000:
            return False
        for pair in ((a, b), (b, a)):
            self.links.links[pair].delay = int(ms) / 2000
        return True

    def command(self, verb, site=None, *more):
        """stop SITE, kill SITE, start SITE, cut, heal, way SITE SITE MS: what the control address offers to those who try
        things."""
        if verb == 'way' and len(more) == 2:
            return self.lengthen(site, *more)
        if more:
            return False
        if verb in ('stop', 'kill') and f'scopemeshd {site}' in self.processes:
            self.stop_site(site) if verb == 'stop' else self.kill_site(site)
        elif verb == 'start' and site in SITES and f'scopemeshd {site}' not in self.processes:
            self.start_site(site)
            self.wait_ready(site)
        elif verb in ('cut', 'heal') and site is None:
            self.links.each('close' if verb == 'cut' else 'open')
        else:
            return False
        return True

    def serve_control(self):
        world = self

        class Control(BaseHTTPRequestHandler):
            def do_POST(self):
                done = world.command(*self.path.strip('/').split('/'))
                body = f'{self.path.strip("/")}: {"done" if done else "nothing to do"}\n'.encode()
                self.send_response(200 if done else 404)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, form, *args):
                pass
        server = ThreadingHTTPServer(('127.0.0.1', self.control), Control)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()


class Show:
    """Prints numbered steps, runs the commands that it prints, and keeps count."""

    def __init__(self, world):
        self.world, self.number, self.failed, self.passed = world, 0, 0, 0
        self.meta = None    # X-Scope-Meta-Id of the last answer that had one

    def step(self, title):
        self.number += 1
        print(f'\n{self.number}. {title}', flush=True)

    def run(self, argv, expect_status, expect_text):
        """Prints a command as one would type it, runs it, prints status, answer and time, and checks them."""
        print('   $ ' + ' '.join(shlex.quote(a) for a in argv), flush=True)
        extra = ['-i', '--noproxy', '*', '-m', '8', '-w', '\n%{time_total}']
        p = subprocess.run(argv[:1] + extra + argv[1:], stdin=subprocess.DEVNULL, capture_output=True)
        answer, _, seconds = p.stdout.decode('utf-8', 'replace').rpartition('\n')
        head, _, body = answer.partition('\r\n\r\n')
        ms = float(seconds or 0) * 1000
        lines = head.split('\r\n')
        fields = dict(l.lower().split(': ', 1) for l in lines[1:] if ': ' in l)
        status = lines[0].split(' ', 1)[-1] if p.returncode == 0 else f'curl: exit {p.returncode} {p.stderr.decode().strip()}'
        served = f', served by {fields["x-scope-served-by"]}' if 'x-scope-served-by' in fields else ''
        served += f', replicas {fields["x-scope-replicas"]}' if 'x-scope-replicas' in fields else ''
        self.meta = fields.get('x-scope-meta-id', self.meta)
        body = self.brief(body)
        good = status.startswith(str(expect_status)) and all(t in body + served for t in expect_text)
        self.passed, self.failed = self.passed + good, self.failed + (not good)
        print(f'   {status}{served} ({ms:.0f} ms)')
        print(f'   {body}' + ('' if good else f'\n   NOT AS EXPECTED: {expect_status} with {expect_text}'), flush=True)
        return good

    @staticmethod
    def brief(body):
        """One line; of a problem document what tells the case."""
        try:
            doc = json.loads(body)
            if 'type' in doc:
                doc = {k: doc[k] for k in ('type', 'service', 'from', 'site') if k in doc}
            return json.dumps(doc)
        except ValueError:
            return body.strip()[:200]

    def control(self, *path):
        argv = ['curl', '-sS', '-X', 'POST', f'127.0.0.1:{self.world.control}/' + '/'.join(path)]
        print('   $ ' + ' '.join(argv), flush=True)
        subprocess.run(argv[:1] + ['--noproxy', '*', '-m', '8', '-o', '/dev/null'] + argv[1:],
                       stdin=subprocess.DEVNULL, check=False)

    def await_sites(self, site, location, sites):
        """Distances between the sites come from pings, and those of two others from what these tell; who was gone
        has to be met again."""
        path = '/v1/scope/explain?scope=' + urllib.parse.quote(f'image: {location}')

        def known():
            binding = json.loads(self.world.admin(site, path))['bindings'][0]
            return ([s['site'] for s in binding['sites']] == sites and
                    all(s['state'] == 'connected' for s in binding['sites']) and
                    all(seen(s) != before[s] for s in sites))

        def seen(name):
            return next(s['last_seen'] for s in json.loads(self.world.admin(site, '/v1/sites'))['sites']
                        if s['name'] == name)
        before = {s: seen(s) for s in sites}
        wait_for(known, 30, f'{location} at {site} is {sites}')

    def images(self, site, *scope):
        return ['curl', '-sS', *self.scope(scope), f'http://{self.world.at(site, "image")}/v2/images']

    def create(self, site, image, *scope):
        return ['curl', '-sS', *self.scope(scope), '-d', json.dumps({'image': image}),
                f'http://{self.world.at(site, "compute")}/servers']
    def server(self, site, *more):
        return ['curl', '-sS', *more, f'http://{self.world.at(site, "compute")}/servers/{self.meta}']

    def change(self, site, **what):
        return self.server(site, '-X', 'PUT', '-d', json.dumps(what))

    @staticmethod
    def scope(scope):
        return ['-H', f'X-Scope: {scope[0]}'] if scope else []


def steps(show):
    show.step('No scope: the local instances answer, and dc1 does not have the image debian.')
    show.run(show.images('dc1'), 200, ['"cirros"]', 'served by dc1'])
    show.run(show.create('dc1', 'debian'), 424, ['404'])

    show.step('Share: compute of dc1, image of dc2. Compute hands on the baggage header and knows of no site.')
    show.run(show.create('dc1', 'debian', 'compute: dc1, image: dc2'), 201, ['compute-dc1', '"debian"', 'by dc1'])

    show.step('The other way round: one request, two sites, both far from the one that was asked.')
    show.run(show.create('dc3', 'debian', 'compute: dc1, image: dc2'), 201, ['compute-dc1', '"debian"', 'by dc1'])

    show.step('Otherwise: dc2, or dc1 if dc2 fails. First dc2 is there, then it is stopped.')
    show.run(show.images('dc3', 'image: dc2; dc1'), 200, ['"debian"', 'served by dc2'])
    show.control('stop', 'dc2')
    show.run(show.images('dc3', 'image: dc2; dc1'), 200, ['"cirros"]', 'served by dc1'])
    show.run(show.create('dc1', 'cirros', 'compute: dc2; dc1, image: dc2; dc1'), 201, ['compute-dc1', 'by dc1'])
    show.control('start', 'dc2')

    show.step('Around: dc2, or else whatever is within 30 ms of dc2, nearest first. dc1 is 5 ms from it, dc3 20 ms.')
    show.await_sites('dc3', 'around(dc2, 30ms)', ['dc2', 'dc1', 'dc3'])
    show.run(show.images('dc3', 'image: around(dc2, 30ms)'), 200, ['"debian"', 'served by dc2'])
    show.control('stop', 'dc2')
    show.run(show.images('dc3', 'image: around(dc2, 30ms)'), 200, ['"cirros"]', 'served by dc1'])
    show.control('start', 'dc2')

    show.step('The same when the way from dc1 to dc2 has become longer (60 ms): dc3 is next now.')
    show.control('way', 'dc1', 'dc2', '60')
    show.await_sites('dc3', 'around(dc2, 30ms)', ['dc2', 'dc3'])
    show.control('stop', 'dc2')
    show.run(show.images('dc3', 'image: around(dc2, 30ms)'), 200, ['"cirros"]', 'served by dc3'])
    show.control('start', 'dc2')
    show.control('way', 'dc1', 'dc2', '5')

    show.step('Cut off: every link between the sites is down. Local work goes on, at each site.')
    show.control('cut')
    for site in SITES:
        show.run(show.create(site, 'cirros'), 201, [f'compute-{site}', f'served by {site}'])
    show.run(show.images('dc1', 'image: dc3'), 503, ['urn:scopemesh:unreachable', '"dc3"'])
    show.control('heal')
    show.await_sites('dc1', 'dc1 & dc2 & dc3', list(SITES))
    replicated_steps(show)


def replicated_steps(show):
    world = show.world

    def run_at_all(*texts):
        for site in SITES:
            show.run(show.server(site), 200, [f'"{show.meta}"', f'"compute-{site}"', f'served by {site}', *texts])

    show.step('Replicate: one request, a server at each site. Each compute service gives it an id of its own; clients know one.')
    show.run(show.create('dc1', 'cirros', 'compute: dc1 & dc2 & dc3'), 201, ['compute-dc1', 'replicas dc1=201, dc2='])
    world.wait_delivered('dc1', *SITES)
    run_at_all('"small"')

    show.step('Update everywhere: sent to dc3, under the one id, and without a scope.')
    show.run(show.change('dc3', size='large'), 200, [f'"{show.meta}"', 'served by dc3', 'dc3=200'])
    world.wait_delivered('dc3', *SITES)
    run_at_all('"large"')

    show.step('A site that is down catches up: the proxy of dc2 is killed (kill -9), the server changed, dc2 started again.')
    show.control('kill', 'dc2')
    show.run(show.change('dc1', size='medium'), 200, [f'"{show.meta}"', 'dc1=200, dc2=queued'])
    world.wait_delivered('dc1', 'dc3')
    show.run(show.server('dc3'), 200, [f'"{show.meta}"', '"medium"'])
    show.control('start', 'dc2')
    world.wait_delivered('dc1', 'dc2')
    run_at_all('"medium"')

    show.step('Cut, and written on every side: each write is served where it enters. Healed: equal everywhere, nothing lost\n'
              '   (PUT of this service changes what it names; of two that name the same the later one stands).')
    show.control('cut')
    for site, what in (('dc1', {'size': 'huge'}), ('dc2', {'name': 'web'}), ('dc3', {'size': 'tiny'})):
        show.run(show.change(site, **what), 200, [f'{site}=200', f'"{show.meta}"', *(f'"{v}"' for v in what.values())])
    show.control('heal')
    for site in SITES * 2:      # what one hands over another may still have to execute
        world.wait_delivered(site, *SITES)
    run_at_all('"web"', '"tiny"')


def run(world, once):
    started = time.monotonic()
    print('Three sites on this machine, each with an image and a compute service of its own:', flush=True)
    world.start()
    wait_for(lambda: all(v is not None for v in world.round_trips('dc1').values()), 5, 'round trips of dc1')
    for site in SITES:
        print(f'   {site}  image {world.at(site, "image")}  compute {world.at(site, "compute")}  '
              f'admin {world.at(site, "admin")}  images: {", ".join(IMAGES[site])}')
    trips = ', '.join(f'{a}-{b} {ms} ms' for (a, b), ms in ROUND_TRIP_MS.items())
    print(f'   round trips: {trips}; up after {(time.monotonic() - started) * 1000:.0f} ms\n'
          '   between them mutual TLS, with certificates of an authority made a moment ago (scopectl ca)', flush=True)
    world.serve_control()
    show = Show(world)
    steps(show)
    seconds = time.monotonic() - started
    verdict = f'{show.failed} NOT as it should be' if show.failed else 'all as it should be'
    print(f'\n{show.passed + show.failed} requests in {show.number} steps, {verdict} ({seconds:.1f} s)', flush=True)
    if not once and not show.failed:
        print('The sites stay up: repeat any line above, or try scopes of your own. Ctrl-C ends everything.\n'
              f'   $ ./scopectl --admin http://{world.at("dc1", "admin")} sites', flush=True)
        threading.Event().wait()
    return 1 if show.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--once', action='store_true', help='end after the last step')
    parser.add_argument('--scopemeshd', default=os.path.join(HERE, '..', '..', 'scopemeshd'))
    args = parser.parse_args()
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda *_: sys.exit(130))
    world = World(os.path.abspath(args.scopemeshd), not args.once)
    try:
        return run(world, args.once)
    except KeyboardInterrupt:
        print('\nending all of it')
        return 0
    except (RuntimeError, OSError) as e:
        print(f'demo: {e}', file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        world.stop()


if __name__ == '__main__':
    sys.exit(main())
