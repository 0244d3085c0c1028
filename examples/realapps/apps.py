"""Two real applications, each of a front service that calls a store service, and neither knowing of scopes.

`ask` sends one request to the front and says from the answer which site's store was behind it. Only what that needs
is started: a front at dc1, a store at dc1 and at dc2."""
import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'demo'))
from demo import HTTP, listening, wait_for      # noqa: E402

SITES = ('dc1', 'dc2')


class Missing(Exception):
    """The application cannot be had here; the text says why."""


def split(address):
    host, _, port = address.rpartition(':')
    return host, int(port)


class Application:
    """at: where the front and the stores are to listen, and where the front finds the store's proxy."""

    def __init__(self, folder, run, at):
        self.folder, self.run, self.at, self.processes = folder, run, at, []

    def spawn(self, name, argv, env):
        folder = f'{self.run}/{type(self).__name__}-{name}'
        with open(f'{folder}/log', 'ab') as log:
            process = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env={**clean_environment(), **env}, start_new_session=True)
        self.processes.append(process)
        address = self.at[name]

        def up():
            if process.poll() is not None:
                with open(f'{folder}/log', errors='replace') as f:
                    raise RuntimeError(f'{name} ended with {process.returncode}:\n{f.read()[-1500:]}')
            return listening(split(address))
        wait_for(up, 120, f'{name} at {address}', 0.1)

    def write(self, name, file, text):
        folder = f'{self.run}/{type(self).__name__}-{name}'
        os.makedirs(folder, exist_ok=True)
        with open(f'{folder}/{file}', 'w') as f:
            f.write(text)

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def clean_environment():
    return {k: v for k, v in os.environ.items()
            if not k.startswith(('OTEL_', 'NODE_', 'npm_')) and not k.lower().endswith('_proxy')}


def get(url, headers):
    with HTTP.open(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        return json.loads(answer.read())


class Verdaccio(Application):
    """A registry of npm packages that fetches what it lacks from another one (an uplink). Without OpenTelemetry it
    hands nothing on."""
    text = 'Verdaccio 6.8'
    survives = set()
    otel = {}

    @classmethod
    def install(cls, folder):
        where = f'{folder}/npm'
        with open(f'{HERE}/package.json') as f:
            wanted = f.read()
        done = f'{where}/installed'
        if os.path.exists(done) and open(done).read() == wanted:
            return
        os.makedirs(where, exist_ok=True)
        with open(f'{where}/package.json', 'w') as f:
            f.write(wanted)
        npm_install(where)
        with open(done, 'w') as f:
            f.write(wanted)

    def start(self):
        for site in SITES:
            self.write(f'store {site}', 'config.yaml', registry({}))
        self.write('front', 'config.yaml', registry({'store': {
            'url': f'http://{self.at["store proxy"]}/', 'maxage': '0s', 'max_fails': 1000}}))
        program = f'{self.folder}/npm/node_modules/verdaccio/bin/verdaccio'
        for name in (*(f'store {site}' for site in SITES), 'front'):
            self.spawn(name, ['node', program, '--config', 'config.yaml', '--listen', f'http://{self.at[name]}'],
                       self.otel if name == 'front' else {})
        self.count = 0

    def ask(self, address, headers):
        """Each time another package, since the front keeps what it has seen; the stores say who they are in it."""
        self.count += 1
        name = f'probe-{self.count}'
        for site in SITES:
            publish(self.at[f'store {site}'], name, site)
        return get(f'http://{address}/{name}', headers)['versions']['1.0.0']['description']


class VerdaccioTraced(Verdaccio):
    """The same program, unchanged, with OpenTelemetry loaded beside it: W3C headers are its default."""
    text = 'Verdaccio 6.8, OpenTelemetry'
    survives = {'baggage', 'correlate:traceparent'}

    def __init__(self, folder, run, at):
        super().__init__(folder, run, at)
        self.otel = {'NODE_PATH': f'{folder}/npm/node_modules', 'OTEL_METRICS_EXPORTER': 'none',
                     'NODE_OPTIONS': f'--require {folder}/npm/node_modules/@opentelemetry/auto-instrumentations-node/'
                     'build/src/register.js', 'OTEL_LOGS_EXPORTER': 'none', 'OTEL_TRACES_EXPORTER': 'console'}


class VerdaccioB3(VerdaccioTraced):
    """And with the headers of Zipkin."""
    text = 'Verdaccio 6.8, OpenTelemetry with B3'
    survives = {'correlate:b3'}

    def __init__(self, folder, run, at):
        super().__init__(folder, run, at)
        self.otel['OTEL_PROPAGATORS'] = 'b3'


def npm_install(where):
    try:
        p = subprocess.run(['npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-update-notifier'],
                           cwd=where, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900)
    except FileNotFoundError:
        raise Missing('npm is not installed')
    if p.returncode != 0:
        text = p.stderr.strip()
        if any(word in text for word in ('ENOTFOUND', 'ECONNREFUSED', 'ETIMEDOUT', 'EAI_AGAIN', 'ENETUNREACH')):
            raise Missing('the npm registry cannot be reached')
        raise RuntimeError(f'npm install: {text[-1500:]}')


def registry(uplinks):
    """Verdaccio's configuration: JSON is YAML."""
    rule = {'access': '$all', 'publish': '$all', **({'proxy': list(uplinks)} if uplinks else {})}
    return json.dumps({'storage': './storage', 'uplinks': uplinks, 'packages': {'**': rule}, 'web': {'enable': False},
                       'log': {'type': 'stdout', 'format': 'json', 'level': 'warn'}})


def publish(address, name, site):
    """As npm publish does it: one document with the package in it."""
    manifest = {'name': name, 'version': '1.0.0', 'description': site}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode='w:gz') as tar:
        data = json.dumps(manifest).encode()
        entry = tarfile.TarInfo('package/package.json')
        entry.size, entry.mtime = len(data), int(time.time())
        tar.addfile(entry, io.BytesIO(data))
    content, file = packed.getvalue(), f'{name}-1.0.0.tgz'
    dist = {'shasum': hashlib.sha1(content).hexdigest(), 'tarball': f'http://{address}/{name}/-/{file}'}
    document = {'_id': name, 'name': name, 'dist-tags': {'latest': '1.0.0'}, 'versions': {
        '1.0.0': {**manifest, '_id': f'{name}@1.0.0', 'dist': dist}}, '_attachments': {file: {
            'content_type': 'application/octet-stream', 'data': base64.b64encode(content).decode(),
            'length': len(content)}}}
    request = urllib.request.Request(f'http://{address}/{name}', method='PUT', data=json.dumps(document).encode(),
                                     headers={'Content-Type': 'application/json'})
    with HTTP.open(request, timeout=30):
        pass


APPLICATIONS = (Verdaccio, VerdaccioTraced, VerdaccioB3)
