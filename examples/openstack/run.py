#!/usr/bin/python3
"""Two sites with a real OpenStack each share compute and images; OpenStack itself is not changed.

    run.py [--once] [--scopemeshd FILE] [--folder DIR]

Unpacks Debian's packages of Keystone, Glance, Placement and Nova below the folder (the first time; some 35 MB are
downloaded), starts two sites on 127.0.1.1 and 127.0.2.1 with a scopemeshd before each service, and shows through the
unmodified openstack client what a scope does.  With --once it ends after the last step, 0 when every step came out as
it should, else 1, and "N passed, N failed, N skipped" (skipped where Debian's packages cannot be downloaded);
without, everything stays up to be tried until Ctrl-C.  Packages and the template of the databases
stay in the folder for the next run, nothing else is left behind."""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, '..', '..')
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True
from cloud import Cloud, SITES      # noqa: E402
from debian import Unavailable      # noqa: E402
import steps                        # noqa: E402


class Clock:
    def __init__(self):
        self.started = self.last = time.monotonic()

    def lap(self):
        seconds, self.last = time.monotonic() - self.last, time.monotonic()
        return f'{seconds:.1f} s'

    def total(self):
        return f'{time.monotonic() - self.started:.1f} s'


def prepare(cloud, clock):
    if not cloud.packages.ready():
        size = cloud.packages.unpack()
        print(f'   packages: {size / 1e6:.0f} MB downloaded and unpacked ({clock.lap()})', flush=True)
    if not cloud.template.ready():
        cloud.template.make()
        print(f"   databases: made by the services' own migrations, one template for both sites ({clock.lap()})",
              flush=True)
    cloud.prepare()
    cloud.install_client_plugin()
    print(f'   client plugin: installed by pip ({clock.lap()})', flush=True)


def print_memory(cloud):
    total = 0
    for name in SITES:
        used = cloud.sites[name].memory()
        total += sum(used.values())
        print(f'   {name}: ' + ', '.join(f'{process} {mib:.0f}' if mib >= 20 else f'{process} {mib:.1f}'
                                         for process, mib in used.items()) + ' MiB')
    print(f'   {total:.0f} MiB in all', flush=True)


def print_how_to_try(cloud):
    print('The sites stay up: repeat any command, or try scopes of your own. Ctrl-C ends everything. In another shell:')
    for name in SITES:
        path = f'{cloud.run}/{name}.env'
        with open(path, 'w') as f:
            f.write(f'PATH={cloud.run}:$PATH\nexport PATH ' +
                    ' '.join(f'{k}={v}' for k, v in cloud.credentials(name).items()) + '\n')
        print(f'   $ . {path}')
    print(f'   $ ./scopectl --admin http://{cloud.sites["dc1"].at["admin"]} sites', flush=True)


def run(cloud, once):
    clock = Clock()
    print('Two sites on this machine, each with a Keystone, a Glance, a Placement and a Nova of its own:', flush=True)
    prepare(cloud, clock)
    cloud.start()
    for name in SITES:
        at = cloud.sites[name].at
        print(f'   {name}  ' + '  '.join(f'{s} {at[s]}' for s in ('identity', 'image', 'compute', 'admin')))
    print(f'   up after {clock.lap()}', flush=True)
    show = steps.Show(cloud)
    twin = steps.images(show)
    print(f'   images: cirros at dc1, debian at dc2, twin at both with bytes of their own ({clock.lap()})', flush=True)
    steps.all_steps(show, twin)
    print('\nMemory, each shared page counted once:')
    print_memory(cloud)
    verdict = f'{show.failed} NOT as it should be' if show.failed else 'all as it should be'
    print(f'\n{show.passed + show.failed} checks in {show.number} steps, {verdict} ({clock.total()})', flush=True)
    if once:
        print(f'{show.passed} passed, {show.failed} failed, 0 skipped')
    else:
        print_how_to_try(cloud)
        threading.Event().wait()
    return 1 if show.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--once', action='store_true', help='end after the last step')
    parser.add_argument('--scopemeshd', default=os.path.join(ROOT, 'scopemeshd'))
    parser.add_argument('--folder', default=os.path.join(ROOT, 'build', 'openstack'),
                        help='packages, templates and runs')
    parser.add_argument('--keep-logs', metavar='DIR', help='where the logs of a run that failed go')
    args = parser.parse_args()
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda *_: sys.exit(130))
    cloud = Cloud(os.path.abspath(args.folder), os.path.abspath(args.scopemeshd))
    status = 1
    try:
        status = run(cloud, args.once)
    except KeyboardInterrupt:
        print('\nending all of it')
        status = 0
    except Unavailable as e:
        print(f'openstack example: {e}\n0 passed, 0 failed, 1 skipped')
        status = 0 if args.once else 1
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as e:
        print(f'openstack example: {e}', file=sys.stderr)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if status == 1 and args.keep_logs:
            shutil.copytree(cloud.run, args.keep_logs, dirs_exist_ok=True, ignore=shutil.ignore_patterns(
                '*.db*', 'images', 'instances', '*.raw', 'plugin', 'state', '*-keys'))
        cloud.stop()
    return status


if __name__ == '__main__':
    sys.exit(main())
