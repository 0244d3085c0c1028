#!/usr/bin/python3
"""Chaos: real sites with an application that knows nothing of them, under random load, while they are killed, paused,
cut off from each other, their disks filled, their clocks moved, and their applications misbehave; then all heals, and
what was promised is held against what the applications did and the clients saw (judge.py).

    tests/chaos/chaos.py --minutes 5 --seed 7                   exit status 0: no violation;  ./bootstrap chaos ...
    tests/chaos/chaos.py --faults kill,cut --sites 5 --only-first

Needs root: sites live in network namespaces, their state on file systems of their own, which all go with the process.
Given a seed, faults and requests are chosen alike; when things happen is the machine's.  SCOPEMESHD chooses the
program.  After a violation the sites' folders are kept (TEST_LOGS, else where they are), with `history`, every request,
and the requests of what was violated are printed."""
import argparse
import collections
import os
import random
import sys
import time

import world as ground
from application import Application
from clients import start_load
from faults import KINDS, Faults
import harness
from healing import Operator
from clients import History
from judge import PROMISES, Control, Judge

STARTS = {'dc1': 100001, 'dc2': 2000001, 'dc3': 30000001, 'dc4': 400000001, 'dc5': 5000000001}


def options_of(argv):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--minutes', type=float, default=5)
    p.add_argument('--seed', type=int, default=None, help='default: another one each time; it is printed')
    p.add_argument('--sites', type=int, default=3, choices=range(2, 6))
    p.add_argument('--faults', default='kill,pause,cut,isolate,disk,clock', help='of ' + ','.join(KINDS) + ', or all')
    p.add_argument('--restless', type=float, default=1.0, help='mean seconds between two faults')
    p.add_argument('--writers', type=int, default=3, help='clients at each site')
    p.add_argument('--rest', type=float, default=0.15, help="mean seconds between a client's requests")
    p.add_argument('--ids', default='integer', choices=('integer', 'uuid'), help='what the applications make')
    p.add_argument('--find', action='store_true', help='creates of unknown outcome can be looked up')
    p.add_argument('--delay', type=float, default=1, help='milliseconds between sites, one way')
    p.add_argument('--drain', type=float, default=120, help='seconds that the queues may take in the end')
    options = p.parse_args(argv)
    options.faults = list(KINDS) if options.faults == 'all' else options.faults.split(',')
    if unknown := set(options.faults) - set(KINDS):
        p.error(f'no such fault: {", ".join(sorted(unknown))}')
    if options.seed is None:
        options.seed = random.randrange(1 << 31)
    if 'clock' in options.faults and (harness.sanitized() or not os.path.exists(ground.FAKETIME)):
        print('chaos: libfaketime is not installed, or does not go with a sanitizer: no clock is moved')
        options.faults.remove('clock')
    return options


def make_world(bed, options):
    names = [f'dc{n}' for n in range(1, options.sites + 1)]
    world = ground.World(bed, names, lambda n, place: place.do(Application, n, ids=options.ids, start=STARTS[n]),
                         disk=ground.small_disk('48m') if 'disk' in options.faults else None, clocks='clock' in options.faults,
                         resource={'find': '/notes?find={$.title}'} if options.find else None,
                         timeouts={'response': '5s', 'drain': '1s'}, queue={'settle': '5s'},
                         log={'access': 'off', 'level': 'info'})
    world.ground.delay(options.delay / 1000)
    return world


def torment(world, options):
    """Load and faults; the history of requests, the faults, the controls."""
    history = History(options.seed)
    clients, over = start_load(world, history, options.writers, options.rest)
    controls = [Control(world, name, over) for name in world.names]
    for c in controls:
        c.start()
    faults = Faults(world, options.seed, options.faults, options.restless)
    try:
        faults.run(time.monotonic() + 60 * options.minutes)
    finally:
        over.set()
    for c in clients:
        c.join(60)
    return history, faults, controls


def print_counts(history, faults, operator, drained):
    kinds = collections.defaultdict(collections.Counter)
    for a in history.attempts:
        kinds[a.kind][a.status or 'none'] += 1
    print(f'chaos: faults: {", ".join(f"{k} {c}" for k, c in faults.counts.items())}')
    print(f'chaos: {len(history.attempts)} requests, {len(history.notes)} replicated notes; answers:')
    for kind, statuses in kinds.items():
        print(f'    {kind:13}' + ', '.join(f'{s}: {c}' for s, c in sorted(statuses.items(), key=str)))
    print(f'chaos: queues drained after {drained and round(drained, 1)} s; an operator settled '
          + (', '.join(f'{c} {state} as {verb}' for (state, verb), c in operator.settled.items()) or 'nothing'))
    for what, count in operator.refused.most_common(8):
        print(f'    refused {count} times: {what}')


def print_accepted(judge):
    asked, accepted, others = judge.accepted()
    if asked:
        print(f'chaos: of {asked} replicated writes at members that were up, during cuts, {accepted} were accepted: '
              f'{100 * accepted / asked:.2f} %; others: {dict(others)}')


def print_violations(found, history, longest=5):
    by_promise = collections.defaultdict(list)
    for promise, sentence, note in found:
        by_promise[promise].append((sentence, note))
    for promise, those in by_promise.items():
        print(f'chaos: VIOLATED {len(those)} times: {PROMISES[promise]}')
        for sentence, note in those[:longest]:
            print(f'  {sentence}')
            for a in history.of(note) if note else ():
                print(f'      {a}')


def keep_history(bed, history, world):
    """All requests and what was done to the sites, in the order of their beginnings; and the sites' states."""
    lines = [f'{a}\n' for a in history.attempts]
    lines += [f'{s:.3f} to {e:.3f} {what} {who}\n' for who, what, s, e in world.diary.spans]
    lines.sort(key=lambda x: float(x.split(' ')[x[0] == '#']))
    bed.write('history', ''.join(lines))
    world.keep_states()


def campaign(bed, options):
    """Violations."""
    world = make_world(bed, options)
    history, faults, controls = torment(world, options)
    operator = Operator(world)
    drained = operator.drain(options.drain)
    judge = Judge(world, history, controls)
    found = judge.judge()
    if drained is None:
        shown = ('seen_at', 'target', 'op', 'method', 'path', 'state', 'attempts', 'last_error')
        found += [('drained', str({k: e[k] for k in shown}), None) for e in operator.left] or [
            ('drained', 'pending is not 0', None)]
    found += [('kept', f'refused again and again: {e}', None) for e in operator.given_up]
    print_counts(history, faults, operator, drained)
    print_accepted(judge)
    if judge.of_the_deleted:
        print(f'chaos: {judge.of_the_deleted} times an answer that was under way during a deletion showed its local id')
    if judge.stalled:
        print(f'chaos: {judge.stalled} plain requests took long while the application itself did')
    print_violations(found, history)
    if found:
        keep_history(bed, history, world)
    return found


def main(argv=None):
    options = options_of(argv)
    bed = harness.Bed(f'chaos-{options.seed}')
    print(f'chaos: seed {options.seed}, {options.sites} sites, {options.minutes * 60:.0f} s, '
          f'faults {",".join(options.faults)}', flush=True)
    found = [('drained', 'it broke off', None)]
    try:
        ground.own_mounts()
        found = campaign(bed, options)
    except harness.Skip as why:
        print(f'chaos: cannot run here: {why}\n0 passed, 0 failed, 1 skipped')
        found = []
        return 0
    finally:
        folder = bed.dir
        os.environ.setdefault('TEST_LOGS', os.path.join(os.path.dirname(folder), 'chaos-kept'))
        problem = bed.close(bool(found))
        if found or problem:
            print(f'chaos: {problem or ""} kept: {bed.dir}', flush=True)
    failed = len({f[0] for f in found}) + bool(problem)
    print(f'{len(PROMISES) - len({f[0] for f in found})} passed, {failed} failed, 0 skipped')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
