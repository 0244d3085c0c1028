"""Sites that can be harmed: each a scopemeshd in a network namespace of its own, with an application behind it, its
state folder on a file system of its own, its clock moved by libfaketime.

    Ground      namespaces and the router between them (router.c): cuts one way and both, a delay
    Site        one scopemeshd: killed, started, paused, its disk filled, its clock moved
    World       all of them, and the diary of what was done to them when

Namespaces and mounts are this process's own and go with it."""
import ctypes
import os
import shutil
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'system'))

import harness  # noqa: E402
from harness import Daemon, Skip, ask, wait_until, yaml_value  # noqa: E402
from islands import CLONE_NEWNET, Island  # noqa: E402
from trusted import authority, mesh_tls  # noqa: E402

CLONE_NEWNS, MS_PRIVATE_ALL = 0x00020000, 0x40000 | 0x4000
SERVICE, ADMIN = '127.0.0.1:8000', '127.0.0.1:7401'
NOTES = {'collection': '/notes', 'id': '$.id'}
ITEMS = {'collection': '/notes/{id}/items', 'id': '$.id'}
FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1'


def own_mounts():
    """What is mounted from now on is seen by this process and its children alone.  Before the first thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(b'none', b'/', None, MS_PRIVATE_ALL, None):
        raise Skip(f'no right to mount: {os.strerror(ctypes.get_errno())}')


def small_disk(size):
    """A file system that is soon full; lost with the process."""
    return lambda name, path: subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', f'size={size},mode=0700', 'tmpfs', path], check=True)


class Place(Island):
    """An island that any thread may enter."""

    def __init__(self, number):
        super().__init__(number)
        self.space = self.do(os.open, '/proc/thread-self/ns/net', os.O_RDONLY)

    def move_in(self):
        """The calling thread is there from now on."""
        if ctypes.CDLL(None, use_errno=True).setns(self.space, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), 'setns')


class Ground:
    """Places by the names of sites, and the router between them."""

    def __init__(self, bed, names):
        self.places = {name: Place(number) for number, name in enumerate(names, 1)}
        program = os.path.join(bed.dir, 'router')
        subprocess.run([os.environ.get('CC', 'cc'), '-O2', '-o', program, os.path.join(HERE, 'router.c')], check=True)
        fds = {p.number: p.tun for p in self.places.values()}
        self.router = subprocess.Popen([program, *(f'{n}:{fd}' for n, fd in fds.items())], stdin=subprocess.PIPE,
                                       pass_fds=list(fds.values()))
        bed.servers += [*self.places.values(), self]

    def tell(self, *words):
        self.router.stdin.write((' '.join(map(str, words)) + '\n').encode())
        self.router.stdin.flush()

    def way(self, verb, here, there):
        self.tell(verb, self.places[here].number, self.places[there].number)

    def delay(self, one_way_s):
        self.tell('delay', round(one_way_s * 1e6))

    def stop(self):
        self.router.stdin.close()
        self.router.wait(10)


class Site(Daemon):
    """state: 'running', 'killed' or 'paused'."""

    def __init__(self, bed, name, place, config, disk=None, clocks=False):
        self.place, self.name, self.state, self.ballast, self.crashes = place, name, 'killed', None, set()
        folder = os.path.join(bed.dir, name)
        self.offset_file = os.path.join(folder, 'clock') if clocks else None
        os.makedirs(os.path.join(folder, 'state'), mode=0o700)
        if clocks:
            self.move_clock(0)
        if disk:
            disk(name, os.path.join(folder, 'state'))
        super().__init__(bed, name, config, popen=self.spawn)

    def spawn(self, argv, **kw):
        env = dict(os.environ)
        if self.offset_file:
            env.update(LD_PRELOAD=FAKETIME, FAKETIME_TIMESTAMP_FILE=self.offset_file, FAKETIME_CACHE_DURATION='1',
                       FAKETIME_DONT_FAKE_MONOTONIC='1')
        return self.place.popen(argv, env=env, **kw)

    def start(self, wait=True):
        super().start(wait)
        self.state = 'running'

    def kill(self):
        self.crashed()
        super().kill()
        self.bed.processes.remove(self.process)
        self.state = 'killed'

    def crashed(self):
        """It has ended by itself; its log says more."""
        if self.process.poll() is None:
            return False
        self.crashes.add((self.process.pid, self.process.returncode, self.log()[-1500:]))
        return True

    def pause(self):
        os.kill(self.process.pid, 19)
        self.state = 'paused'

    def resume(self):
        os.kill(self.process.pid, 18)
        self.state = 'running'

    def fill_disk(self):
        """Until nothing more goes in."""
        self.ballast = os.path.join(self.dir, 'state', 'ballast')
        with open(self.ballast, 'wb', buffering=0) as f:
            for size in (1 << 16, 512):
                try:
                    while f.write(bytes(size)):
                        pass
                except OSError:
                    pass

    def free_disk(self):
        os.unlink(self.ballast)
        self.ballast = None

    def move_clock(self, seconds):
        """Takes effect within a second, at a running daemon too."""
        with open(self.offset_file + '.new', 'w') as f:
            f.write(f'{seconds:+d}s\n')
        os.rename(self.offset_file + '.new', self.offset_file)

    def admin_doc(self, path, method='GET', document=None):
        """What its admin interface answers, asked from a thread of its place."""
        body = None if document is None else yaml_value(document).encode()
        headers = {'Content-Type': 'application/json'} if body else {}
        return self.place.do(ask, ADMIN, method, path, headers, body, 20)


class Diary:
    """When something was not as it should be: spans of (site or pair, what, start, end)."""

    def __init__(self):
        self.lock, self.open, self.spans = threading.Lock(), {}, []

    def begin(self, who, what):
        with self.lock:
            self.open[who, what] = time.monotonic()

    def end(self, who, what):
        with self.lock:
            self.spans.append((who, what, self.open.pop((who, what)), time.monotonic()))

    def during(self, start, end, who=None, what=None):
        """The spans that this time touches."""
        with self.lock:
            spans = self.spans + [(w, x, s, float('inf')) for (w, x), s in self.open.items()]
        return [s for s in spans if s[2] <= end and s[3] >= start and who in (None, s[0]) and what in (None, s[1])]


class World:
    """make_application(name, place): what has a url and can be stopped.  disk(name, path) mounts a file
    system of its own on each state folder.  resource: keys of /notes beside the usual ones."""

    def __init__(self, bed, names, make_application, disk=None, clocks=False, resource=None, **top):
        self.bed, self.names, self.diary = bed, list(names), Diary()
        self.ground = Ground(bed, names)
        self.apps, self.sites, papers = {}, {}, authority(bed, *names)
        table = yaml_value({'sites': {n: {'mesh': f'{p.address}:7400'} for n, p in self.ground.places.items()}})
        for name, place in self.ground.places.items():
            self.apps[name] = make_application(name, place)
            bed.servers.append(self.apps[name])
            bed.write(f'{name}/sites.yaml', table)
            self.sites[name] = Site(bed, name, place, bed.config(
                name, {'notes': {'listen': SERVICE, 'instances': [self.apps[name].url],
                                 'resources': [{**NOTES, **(resource or {})}, ITEMS]}},
                mesh=f'{place.address}:7400', mesh_tls=mesh_tls(papers, name), registry='sites.yaml',
                **{'admin': {'listen': ADMIN}, **top}),
                disk, clocks)
        for site in self.sites.values():
            wait_until(lambda s=site: all(x['state'] == 'connected' for x in s.admin_doc('/v1/sites').json()['sites']),
                       f'{site.name} to meet the others')

    def cut(self, here, there):
        self.ground.way('cut', here, there)
        self.diary.begin((here, there), 'cut')

    def heal(self, here, there):
        self.ground.way('heal', here, there)
        self.diary.end((here, there), 'cut')

    def keep_states(self):
        """What lies on file systems of its own goes with this process: a copy beside each, state.kept."""
        for site in self.sites.values():
            site.stop()
            shutil.copytree(os.path.join(site.dir, 'state'), os.path.join(site.dir, 'state.kept'))

    def queue(self, name, limit=1000):
        return self.sites[name].admin_doc(f'/v1/queue?limit={limit}').json()

    def waiting(self):
        """Queue entries of all sites, each with where it was seen."""
        return [dict(e, seen_at=n) for n in self.names for e in self.queue(n)['queue']]
