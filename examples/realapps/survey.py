#!/usr/bin/python3
"""Which carrier of a scope survives which real application.

    survey.py [--scopemeshd FILE] [--folder DIR] [APPLICATION ...]

Starts each application with two scopemeshd before it and asks for front: dc1, store: dc2, for each carrier with that
one and the header alone.  The answer shows which store was asked: that of dc2 if the scope reached the front's own
call, that of dc1 if nothing carried it, since such a call is local.  Ends in a table and in "N passed, N failed,
N skipped"; all is skipped where npm has nothing to download from.  Packages stay in the folder, the rest goes."""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.dont_write_bytecode = True
from apps import APPLICATIONS, HERE, HTTP, SITES, Missing, install      # noqa: E402
from demo import pick_port, wait_for                                    # noqa: E402

ROOT = os.path.join(HERE, '..', '..')
CARRIERS = ('header', 'baggage', 'correlate:traceparent', 'correlate:b3', 'correlate:x-request-id')
SCOPE = {'X-Scope': 'front: dc1, store: dc2'}


class Mesh:
    """A scopemeshd at each site, with one carrier at a time beside the header."""

    def __init__(self, scopemeshd, run):
        self.scopemeshd, self.run, self.processes = scopemeshd, run, []
        self.at = {}
        for site in SITES:
            for what in ('front proxy', 'store proxy', 'mesh', 'admin'):
                host = f'127.0.{site[-1]}.1'
                self.at[what, site] = f'{host}:{pick_port(host, 0)}'

    def start(self, instances):
        self.instances = instances
        with open(f'{self.run}/sites.yaml', 'w') as f:
            f.write('sites:\n' + ''.join(f'  {s}: {{mesh: "{self.at["mesh", s]}"}}\n' for s in SITES))
        self.write_configurations(CARRIERS[0])
        self.processes = [self.launch(site) for site in SITES]
        for site in SITES:
            wait_for(lambda: self.ready(site), 20, f'scopemeshd of {site}')

    def launch(self, site):
        with open(f'{self.run}/{site}.log', 'ab') as log:
            return subprocess.Popen([self.scopemeshd, '-c', f'{self.run}/{site}.yaml'], stdout=log, stderr=log,
                                    stdin=subprocess.DEVNULL, start_new_session=True)

    def write_configurations(self, carrier):
        carriers = ['header'] + [carrier] * (carrier != 'header')      # the client's own way in
        for site in SITES:
            services = ''.join(
                f'  {s}: {{listen: "{self.at[s + " proxy", site]}", instances: {self.instances[s, site]}}}\n'
                for s in ('front', 'store'))
            with open(f'{self.run}/{site}.yaml', 'w') as f:
                f.write(f'site: {site}\nstate: ./state-{site}\nworkers: 1\nservices:\n{services}'
                        f'mesh: {{listen: "{self.at["mesh", site]}", tls: {{insecure: true}}}}\n'
                        f'registry: {{file: sites.yaml}}\nadmin: {{listen: "{self.at["admin", site]}"}}\n'
                        f'scope: {{carriers: {json.dumps(carriers)}}}\nlimits: {{own_via: 1}}\n'  # Verdaccio passes Via on
                        f'log: {{access: "off"}}\n')

    def use(self, carrier):
        """By a reload: applications keep their connections."""
        self.write_configurations(carrier)
        for site in SITES:
            request = urllib.request.Request(f'http://{self.at["admin", site]}/v1/reload', method='POST', data=b'{}',
                                             headers={'Content-Type': 'application/json'})
            with HTTP.open(request, timeout=10):
                pass

    def ready(self, site):
        for process in self.processes:
            if process.poll() is not None:
                raise RuntimeError(f'scopemeshd ended with {process.returncode}; its log is in {self.run}')
        try:
            with HTTP.open(f'http://{self.at["admin", site]}/readyz', timeout=2):
                return True
        except OSError:
            return False

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(10)
        self.processes = []


def survey(kind, folder, run, scopemeshd):
    """The carriers that survived this application."""
    mesh = Mesh(scopemeshd, run)
    at = {'store proxy': mesh.at['store proxy', 'dc1'], 'front': f'127.0.1.1:{pick_port("127.0.1.1", 0)}',
          **{f'store {s}': f'127.0.{s[-1]}.1:{pick_port(f"127.0.{s[-1]}.1", 0)}' for s in SITES}}
    instances = {('front', 'dc1'): f'["http://{at["front"]}"]', ('front', 'dc2'): '[]',
                 **{('store', s): f'["http://{at[f"store {s}"]}"]' for s in SITES}}
    application, survived = kind(folder, run, at), set()
    try:
        mesh.start(instances)
        application.start()
        for carrier in CARRIERS:
            mesh.use(carrier)
            without = application.ask(mesh.at['front proxy', 'dc1'], {})
            if without != 'dc1':
                raise RuntimeError(f'without a scope the store of {without} was asked')
            if application.ask(mesh.at['front proxy', 'dc1'], SCOPE) == 'dc2':
                survived.add(carrier)
        return survived
    finally:
        mesh.stop()
        application.stop()


def print_table(rows):
    if not rows:
        return
    short = [c.removeprefix('correlate:') for c in CARRIERS]
    width = max(len(kind.text) for kind, _ in rows)
    print('\n' + ' ' * width + '  ' + '  '.join(short))
    for kind, survived in rows:
        print(kind.text.ljust(width) + '  ' + '  '.join(('yes' if c in survived else '-').ljust(len(s))
                                                       for c, s in zip(CARRIERS, short)).rstrip())


def arguments(doc, applications):
    """Which applications, where their packages are by now, and which scopemeshd.  Ends the program where there are none."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('applications', nargs='*', metavar='APPLICATION',
                        help=', '.join(kind.__name__ for kind in applications))
    parser.add_argument('--scopemeshd', default=os.path.join(ROOT, 'scopemeshd'))
    parser.add_argument('--folder', default=os.path.join(ROOT, 'build', 'realapps'))
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    folder = os.path.abspath(args.folder)
    os.makedirs(folder, exist_ok=True)
    kinds = [k for k in applications if not args.applications or k.__name__ in args.applications]
    try:
        install(folder)
    except Missing as e:
        print(f'skipped: {e}\n0 passed, 0 failed, {len(kinds)} skipped')
        sys.exit(0)
    return kinds, folder, os.path.abspath(args.scopemeshd)


def run(main):
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)


def main():
    kinds, folder, scopemeshd = arguments(__doc__, APPLICATIONS)
    rows, failed = [], 0
    for kind in kinds:
        started = time.monotonic()
        survived, text = attempt(kind, folder, scopemeshd)
        good = survived == kind.survives
        failed += not good
        if survived is not None:
            rows.append((kind, survived))
        print(f'{"passed" if good else "failed"} {kind.text}: {text}'
              + ('' if good else f'; expected {sorted(kind.survives)}') + f' ({time.monotonic() - started:.1f} s)',
              flush=True)
    print_table(rows)
    print(f'{len(kinds) - failed} passed, {failed} failed, 0 skipped')
    return 1 if failed else 0


def attempt(kind, folder, scopemeshd):
    """The carriers that survived, None if it could not be found out, and both in words."""
    run = tempfile.mkdtemp(prefix='run-', dir=folder)
    try:
        survived = survey(kind, folder, run, scopemeshd)
        return survived, ', '.join(sorted(survived)) or 'none'
    except (RuntimeError, OSError, ValueError, KeyError) as e:
        return None, f'{type(e).__name__}: {e}'
    finally:
        shutil.rmtree(run, ignore_errors=True)


if __name__ == '__main__':
    run(main)
