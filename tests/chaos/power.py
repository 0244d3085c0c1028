#!/usr/bin/python3
"""Power cuts: a site whose state folder is a loop-mounted ext4 that is shut down without flushing, under load
(tests/system/loop_disk.py); then it is mounted again, as a disk is after a power cut, and the site started.

    tests/chaos/power.py --rounds 50 --seed 1           exit status 0: nothing that was acknowledged is lost

Between the cuts the other site is mostly cut off, so that what was acknowledged is on this disk alone.  The applications
live on: what is tried is what the daemon promises of its own disk.  In the end all is joined, drained and judged as in
chaos.py.  Needs root and a loop device."""
import argparse
import os
import random
import subprocess
import sys
import threading
import time

import world as ground
from application import Application
from chaos import STARTS, keep_history, print_violations
from clients import History, Writer
import harness
from healing import Operator
from judge import PROMISES, Judge
import loop_disk

WAYS = (('dc1', 'dc2'), ('dc2', 'dc1'))


class Disk:
    """Of dc1."""

    def __init__(self, bed, size='64M'):
        self.image, self.path = os.path.join(bed.dir, 'disk'), None
        loop_disk.make(self.image, size)

    def mount(self, path):
        self.path = path
        result = subprocess.run(['mount', '-o', 'loop', self.image, path], capture_output=True, text=True)
        if result.returncode:
            raise harness.Skip(f'no loop mount: {result.stderr}')
        os.chmod(path, 0o700)

    def come_back(self):
        subprocess.run(['umount', self.path], check=True)
        self.mount(self.path)


class Client(Writer):
    """Of dc1 alone; nothing is deleted, so that all that was acknowledged has to be there."""
    KINDS = (('create', 40), ('update', 30), ('append', 30))


def cut_power(world, disk, rng):
    site = world.sites['dc1']
    world.diary.begin('dc1', 'kill')
    loop_disk.lose_power(disk.path)
    time.sleep(rng.choice((0, 0, 0.05)))        # the daemon may still see the disk fail
    site.kill()
    disk.come_back()
    site.start()
    world.diary.end('dc1', 'kill')


def rounds(world, disk, history, options):
    over, rng = threading.Event(), random.Random(options.seed)
    clients = [Client(f'w{i}', 'dc1', world, history, over, 0.02) for i in range(options.writers)]
    for c in clients:
        c.start()
    for n in range(options.rounds):
        if n % 5 == 0:
            for way in WAYS:
                world.cut(*way)
        time.sleep(rng.uniform(0.2, 1.2))
        cut_power(world, disk, rng)
        if n % 5 == 4:
            for way in WAYS:
                world.heal(*way)
            time.sleep(1)
    over.set()
    for c in clients:
        c.join(60)
    if options.rounds % 5:
        for way in WAYS:
            world.heal(*way)


def campaign(bed, options):
    disk = Disk(bed)
    world = ground.World(bed, ('dc1', 'dc2'), lambda n, place: place.do(Application, n, start=STARTS[n]),
                         disk=lambda name, path: disk.mount(path) if name == 'dc1' else None,
                         timeouts={'response': '5s', 'drain': '1s'}, log={'access': 'off', 'level': 'info'})
    history = History(options.seed)
    rounds(world, disk, history, options)
    operator = Operator(world)
    drained = operator.drain(120)
    found = Judge(world, history, ()).judge()
    if drained is None:
        found += [('drained', str(e), None) for e in operator.left]
    done = sum(200 <= a.status < 300 for a in history.attempts)
    print(f'power: {options.rounds} power cuts, {len(history.attempts)} writes, {done} of them acknowledged; drained '
          f'after {drained and round(drained, 1)} s; settled by an operator: {dict(operator.settled)}')
    print_violations(found, history)
    if found:
        keep_history(bed, history, world)
    return found


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--rounds', type=int, default=50)
    p.add_argument('--seed', type=int, default=1)
    p.add_argument('--writers', type=int, default=6)
    options = p.parse_args()
    bed, found = harness.Bed(f'power-{options.seed}'), [('drained', 'it broke off', None)]
    os.environ.setdefault('TEST_LOGS', os.path.join(os.path.dirname(bed.dir), 'chaos-kept'))
    try:
        ground.own_mounts()
        found = campaign(bed, options)
    except harness.Skip as why:
        found = []
        print(f'power: cannot run here: {why}\n0 passed, 0 failed, 1 skipped')
        return 0
    finally:
        problem = bed.close(bool(found))
        if found or problem:
            print(f'power: {problem or ""} kept: {bed.dir}')
    failed = len({f[0] for f in found}) + bool(problem)
    print(f'{len(PROMISES) - len({f[0] for f in found})} passed, {failed} failed, 0 skipped')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
