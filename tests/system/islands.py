"""Sites in network namespaces of their own, joined by a router in this process: packets are delayed or lost, and not
connections, as between real machines.  Needs the right to make namespaces, and /dev/net/tun.

    island --TUN-- router --TUN-- island          10.77.0.N is the address of island N

One thread per island has entered its namespace; what is started or opened on it belongs there.  The router reads every
TUN device, holds each packet for the delay of its direction, in a heap, and drops it where that direction is cut."""
import concurrent.futures
import ctypes
import errno
import fcntl
import heapq
import os
import shutil
import select
import struct
import subprocess
import threading
import time

import harness
from harness import Daemon, Skip, ask, wait_until, yaml_value
from trusted import authority, mesh_tls

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454ca, 1, 0x1000


class Router:
    def __init__(self):
        self.tuns, self.delay, self.cuts = {}, {}, set()
        self.heap, self.count, self.stopped = [], 0, False
        self.epoll = select.epoll()

    def add(self, number, fd):
        self.tuns[number] = fd
        self.epoll.register(fd, select.EPOLLIN)

    def start(self):
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped:
            wait = max(0, self.heap[0][0] - time.monotonic()) if self.heap else 0.2
            for fd, _ in self.epoll.poll(min(wait, 0.2)):
                self.take(fd)
            while self.heap and self.heap[0][0] <= time.monotonic():
                _, _, way, packet = heapq.heappop(self.heap)
                if way not in self.cuts:
                    os.write(self.tuns[way[1]], packet)

    def take(self, fd):
        for _ in range(64):
            try:
                packet = os.read(fd, 4096)
            except OSError as e:
                if e.errno == errno.EAGAIN:
                    return
                raise
            if packet[0] >> 4 != 4 or packet[16:19] != b'\x0a\x4d\x00' or packet[19] not in self.tuns:
                continue    # IPv6 and multicast of the kernel's own
            way = packet[15], packet[19]
            self.count += 1
            heapq.heappush(self.heap, (time.monotonic() + self.delay.get(way, 0), self.count, way, packet))

    def stop(self):
        self.stopped = True
        self.thread.join(2)
        self.epoll.close()
        for fd in self.tuns.values():
            os.close(fd)


class Island:
    """A namespace, and the thread that is in it."""

    def __init__(self, number):
        self.number, self.address = number, f'10.77.0.{number}'
        self.thread = concurrent.futures.ThreadPoolExecutor(1)
        self.tun = self.do(self.enter)

    def do(self, function, *args, **kw):
        return self.thread.submit(function, *args, **kw).result(30)

    def enter(self):
        if not shutil.which('ip'):
            raise Skip('no ip command')
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            raise Skip(f'no right to make a network namespace: {os.strerror(ctypes.get_errno())}')
        try:
            fd = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(fd, TUNSETIFF, struct.pack('16sH22x', b'mesh', IFF_TUN | IFF_NO_PI))
        except OSError as e:
            raise Skip(f'no TUN device: {e}') from e
        for words in ('link set lo up', f'address add {self.address}/24 dev mesh', 'link set mesh up'):
            subprocess.run(['ip', *words.split()], check=True)
        return fd

    def popen(self, argv, **kw):
        return self.do(subprocess.Popen, argv, **kw)

    def stop(self):
        self.thread.shutdown(wait=False)


class Islands:
    """Three sites; sites[name] is its daemon, origins[name] what answers there."""

    def __init__(self, bed, **top):
        self.bed, self.names = bed, ('dc1', 'dc2', 'dc3')
        self.router, self.islands, self.sites, self.origins = Router(), {}, {}, {}
        for number, name in enumerate(self.names, 1):
            self.islands[name] = Island(number)
            bed.servers.append(self.islands[name])
            self.router.add(number, self.islands[name].tun)
        self.router.start()
        bed.servers.append(self.router)
        d = authority(bed, *self.names)
        sites = yaml_value({'sites': {n: {'mesh': f'{i.address}:7400'} for n, i in self.islands.items()}})
        for name, island in self.islands.items():
            self.origins[name] = island.do(bed.origin, name, host='127.0.0.1')
            bed.write(f'{name}/sites.yaml', sites)
            self.sites[name] = Daemon(bed, name, bed.config(
                name, {'image': {'instances': [self.origins[name].url]}}, mesh=f'{island.address}:7400',
                mesh_tls=mesh_tls(d, name), registry='sites.yaml', **top), popen=island.popen)
        for here in self.names:
            for there in self.names:
                self.wait_state(here, there, 'connected')

    def ways(self, a, b, back=True):
        one = self.islands[a].number, self.islands[b].number
        return [one, one[::-1]] if back else [one]

    def cut(self, a, b, back=True):
        self.router.cuts.update(self.ways(a, b, back))

    def heal(self):
        self.router.cuts.clear()

    def set_delay(self, a, b, one_way_s):
        for way in self.ways(a, b):
            self.router.delay[way] = one_way_s

    def get(self, here, scope):
        return self.islands[here].do(ask, self.sites[here].addr('image'), headers={'X-Scope': scope})

    def seen(self, here, there):
        doc = self.islands[here].do(ask, self.sites[here].admin, path='/v1/sites').json()
        return next(s for s in doc['sites'] if s['name'] == there)

    def state(self, here, there):
        return self.seen(here, there)['state']

    def wait_state(self, here, there, state, seconds=None):
        """Seconds until it is shown so."""
        started = time.monotonic()
        wait_until(lambda: self.state(here, there) == state, f'{there} {state} at {here}', seconds or harness.DEADLINE)
        return time.monotonic() - started
