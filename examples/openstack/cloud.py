"""Two sites with an OpenStack each, a scopemeshd before every service, and links between the sites that can be cut.

A folder of the build holds what is kept from run to run: the packages, and a template of the databases. What a run
adds is in a folder of its own below it, and goes when the run ends, as all processes do."""
import concurrent.futures
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import urllib.error

import conf
import network
from debian import HERE, PYTHON, Packages, listed_packages
sys.path.insert(0, os.path.join(HERE, '..', 'demo'))
from demo import HTTP, pick_port, wait_for      # noqa: E402
from links import Links                         # noqa: E402

SITES = ('dc1', 'dc2')
ROUND_TRIP_MS = 10
DATABASES = ('keystone', 'glance', 'placement', 'nova', 'nova_api', 'nova_cell0')


def write(path, text):
    with open(path, 'w') as f:
        f.write(text)


def write_configuration(folder, at, **names):
    """What differs in OpenStack's files from site to site are addresses and the folder."""
    for name, text in (('keystone', conf.keystone), ('glance-api', conf.glance), ('placement', conf.placement),
                       ('nova', conf.nova)):
        write(f'{folder}/{name}.conf', text(at).format(dir=folder, **names))


class Template:
    """The databases of a site that has just been set up, made once by the services' own migrations."""

    def __init__(self, folder, packages):
        self.dir, self.packages = f'{folder}/template', packages

    def ready(self):
        return os.path.exists(f'{self.dir}/complete')

    def make(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        nowhere = {**{s: '127.0.0.1:1' for s in conf.SERVICES}, **{f'{s} app': '127.0.0.1:1' for s in conf.SERVICES}}
        write_configuration(self.dir, nowhere, root=self.packages.root, site='template')
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self.make_databases, ('nova', 'keystone', 'glance', 'placement')))
        for name in DATABASES:
            db = sqlite3.connect(f'{self.dir}/{name}.db')
            db.execute('PRAGMA journal_mode=WAL')
            db.close()
        write(f'{self.dir}/complete', '')

    def make_databases(self, service):
        with open(f'{self.dir}/{service}.log', 'w') as log:
            p = subprocess.run([PYTHON, f'{HERE}/inside/template.py', service], cwd=self.dir, stdin=subprocess.DEVNULL,
                               stdout=log, stderr=log, env=self.packages.environment())
        if p.returncode != 0:
            raise RuntimeError(f'the databases of {service}: exit {p.returncode}\n{tail(log.name)}')


def tail(path):
    with open(path, errors='replace') as f:
        return f.read()[-2000:]


class Site:
    """One site: addresses, folder and processes. Started in the order in which they need each other."""

    def __init__(self, name, run_folder, packages, scopemeshd):
        self.name, self.dir, self.packages, self.scopemeshd = name, f'{run_folder}/{name}', packages, scopemeshd
        self.host = f'127.0.{name[-1]}.1'
        wished = {**{s: port for s, (port, _) in conf.SERVICES.items()},
                  **{f'{s} app': 10000 + port for s, (port, _) in conf.SERVICES.items()},
                  'mesh': 7400, 'admin': 7401}
        self.at = {what: f'{self.host}:{pick_port(self.host, port)}' for what, port in wished.items()}
        self.processes, self.stub = {}, None

    def prepare(self, template, known_sites):
        os.makedirs(self.dir)
        for name in (*(f'{d}.db' for d in DATABASES), 'fernet-keys', 'credential-keys'):
            copy = shutil.copytree if os.path.isdir(f'{template.dir}/{name}') else shutil.copy
            copy(f'{template.dir}/{name}', f'{self.dir}/{name}')
        for name in ('images', 'staging', 'instances'):
            os.mkdir(f'{self.dir}/{name}')
        write_configuration(self.dir, self.at, root=self.packages.root, site=self.name)
        write(f'{self.dir}/site.yaml', conf.scopemeshd(self.name, self.at))
        write(f'{self.dir}/sites.yaml', json.dumps({'sites': known_sites}, indent=1) + '\n')
        catalogue = sqlite3.connect(f'{self.dir}/keystone.db')
        for service in conf.SERVICES:
            catalogue.execute('UPDATE endpoint SET url = replace(url, ?, ?)',
                              (f'http://{service}', f'http://{self.at[service]}'))
        catalogue.commit()
        catalogue.close()

    def spawn(self, name, *argv, env=None):
        with open(f'{self.dir}/{name}.log', 'ab') as log:
            # A session of its own: Ctrl-C reaches us alone, and we end them in order.
            self.processes[name] = subprocess.Popen(argv, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log,
                                                    stderr=log, env=env, start_new_session=True)

    def start_service(self, name):
        program = {'keystone': [f'{HERE}/inside/wsgi.py', 'keystone', *self.at['identity app'].split(':')],
                   'placement': [f'{HERE}/inside/wsgi.py', 'placement', *self.at['placement app'].split(':')],
                   'glance': ['-m', 'glance.cmd.api', '--config-file', 'glance-api.conf'],
                   'nova': [f'{HERE}/inside/nova_one.py']}[name]
        self.spawn(name, PYTHON, *program, env=self.packages.environment())

    def start(self):
        host, _, port = self.at['network app'].partition(':')
        self.stub = network.serve(host, int(port))
        self.spawn('scopemeshd', self.scopemeshd, '-c', 'site.yaml')
        for name in ('keystone', 'placement', 'glance'):
            self.start_service(name)

    def start_nova(self):
        """Nova registers at Placement when it starts, and tries again only after a minute: it comes when that is up."""
        for service in ('identity', 'placement'):
            self.wait_answers(service)
        self.start_service('nova')

    def wait_ready(self):
        self.wait_answers('image')
        self.wait_answers('compute')
        wait_for(lambda: self.alive() and self.compute_known(), 120,
                 f'Nova of {self.name} knows its compute host', 0.2)

    def wait_answers(self, service):
        wait_for(lambda: self.alive() and self.answers(service), 180, f'{service} of {self.name} answers',
                 0.2)

    def answers(self, service):
        try:
            with HTTP.open(f'http://{self.at[service]}/', timeout=5):
                return True
        except urllib.error.HTTPError as e:
            return e.code < 500     # Glance says 300
        except OSError:
            return False

    def alive(self):
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise RuntimeError(f'{name} of {self.name} ended with {process.returncode}:\n'
                                   f'{tail(f"{self.dir}/{name}.log")}')
        return True

    def compute_known(self):
        db = sqlite3.connect(f'file:{self.dir}/nova_api.db?mode=ro', uri=True)
        try:
            return db.execute('SELECT count(*) FROM host_mappings').fetchone()[0] > 0
        except sqlite3.OperationalError:
            return False        # busy
        finally:
            db.close()

    def end(self, name):
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self):
        if self.stub:
            self.stub.shutdown()
            self.stub.server_close()
        for process in self.processes.values():
            process.terminate()
        for name in list(self.processes):
            self.end(name)

    def memory(self):
        """MiB of each process, shared pages counted in proportion (Pss)."""
        return {name: proportional_kib(p.pid) / 1024 for name, p in self.processes.items()}


def proportional_kib(pid):
    try:
        with open(f'/proc/{pid}/smaps_rollup') as f:
            return next(int(line.split()[1]) for line in f if line.startswith('Pss:'))
    except (OSError, StopIteration):
        return 0


class Cloud:
    def __init__(self, folder, scopemeshd):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.packages = Packages(folder, listed_packages())
        self.template = Template(folder, self.packages)
        self.run = tempfile.mkdtemp(prefix='run-', dir=folder)
        self.scopemeshd, self.links, self.sites = scopemeshd, Links(), {}

    def prepare(self):
        for name in SITES:
            self.sites[name] = Site(name, self.run, self.packages, self.scopemeshd)
        for here in self.sites.values():
            known = {here.name: {'mesh': here.at['mesh']}}
            for there in self.sites.values():
                if there is not here:
                    listen = (here.host, pick_port(here.host, 0))
                    host, _, port = there.at['mesh'].partition(':')
                    self.links.add((here.name, there.name), listen, (host, int(port)), ROUND_TRIP_MS / 2000)
                    known[there.name] = {'mesh': '%s:%d' % listen}
            here.prepare(self.template, known)

    def start(self):
        for phase in (Site.start, Site.start_nova, Site.wait_ready):
            for site in self.sites.values():
                phase(site)

    def install_client_plugin(self):
        """Into a folder of the run, by pip, from a copy: building leaves files beside the source."""
        shutil.copytree(f'{HERE}/client', f'{self.run}/client', ignore=shutil.ignore_patterns('__pycache__'))
        p = subprocess.run([PYTHON, '-m', 'pip', 'install', '--quiet', '--no-index', '--no-build-isolation',
                            '--no-deps', '--no-cache-dir', '--disable-pip-version-check',
                            '--root-user-action', 'ignore', '--target', f'{self.run}/plugin', f'{self.run}/client'],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.packages.environment())
        if p.returncode != 0:
            raise RuntimeError(f'pip install of the client plugin: {p.stderr.strip()[-1500:]}')
        write(f'{self.run}/openstack', '#!/bin/sh\n'
              f'PYTHONPATH={self.run}/plugin:{self.packages.root}/usr/lib/python3/dist-packages '
              f'PYTHONWARNINGS=ignore exec {PYTHON} {self.packages.root}/usr/bin/openstack "$@"\n')
        os.chmod(f'{self.run}/openstack', 0o755)

    def credentials(self, site):
        """What a user of that site has in his environment."""
        return {'OS_AUTH_URL': f'http://{self.sites[site].at["identity"]}/v3', 'OS_USERNAME': 'demo',
                'OS_PASSWORD': conf.PASSWORD, 'OS_PROJECT_NAME': 'demo', 'OS_USER_DOMAIN_ID': 'default',
                'OS_PROJECT_DOMAIN_ID': 'default', 'OS_REGION_NAME': conf.REGION, 'OS_IDENTITY_API_VERSION': '3'}

    def client(self, site, *argv):
        env = {**self.packages.environment(f'{self.run}/plugin'), **self.credentials(site)}
        return subprocess.run([PYTHON, f'{self.packages.root}/usr/bin/openstack', *argv], env=env, timeout=300, cwd=self.run,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def stop(self):
        for site in self.sites.values():
            site.stop()
        shutil.rmtree(self.run, ignore_errors=True)
