"""Real applications, each of a front service that calls a store service, and neither knowing of scopes.

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
NAMES = (*(f'store {site}' for site in SITES), 'front')


class Missing(Exception):
    """The application cannot be had here; the text says why."""


def split(address):
    host, _, port = address.rpartition(':')
    return host, port


class Application:
    """at: where the front and the stores are to listen, and where the front finds the store's proxy."""

    survives = set()
    otel = {}           # what loads OpenTelemetry into the front

    def __init__(self, folder, run, at):
        self.folder, self.run, self.at, self.processes, self.count = folder, run, at, [], 0
        self.modules = f'{folder}/npm/node_modules'

    def spawn(self, name, *argv):
        """Starts a Node program as front or as store of a site."""
        folder = f'{self.run}/{type(self).__name__}-{name}'
        os.makedirs(folder, exist_ok=True)
        with open(f'{folder}/log', 'ab') as log:
            env = {**clean_environment(), 'NODE_PATH': self.modules, **(self.otel if name == 'front' else {})}
            process = subprocess.Popen(['node', *argv], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env=env, start_new_session=True)
        self.processes.append(process)
        address = self.at[name]

        def up():
            if process.poll() is not None:
                with open(f'{folder}/log', errors='replace') as f:
                    raise RuntimeError(f'{name} ended with {process.returncode}:\n{f.read()[-1500:]}')
            return listening((split(address)[0], int(split(address)[1])))
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


def send(method, url, content, headers={}):
    request = urllib.request.Request(url, method=method, data=json.dumps(content).encode(),
                                     headers={'Content-Type': 'application/json', **headers})
    with HTTP.open(request, timeout=30):
        pass


def get(url, headers):
    with HTTP.open(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        return json.loads(answer.read())


class Verdaccio(Application):
    """A registry of npm packages that fetches what it lacks from another one (an uplink). Without OpenTelemetry it
    hands nothing on."""
    text = 'Verdaccio 6.8'

    def start(self):
        for site in SITES:
            self.write(f'store {site}', 'config.yaml', registry({}))
        self.write('front', 'config.yaml', registry({'store': {
            'url': f'http://{self.at["store proxy"]}/', 'maxage': '0s', 'max_fails': 1000}}))
        for name in NAMES:
            self.spawn(name, f'{self.modules}/verdaccio/bin/verdaccio', '--config', 'config.yaml',
                       '--listen', f'http://{self.at[name]}')

    def ask(self, address, headers):
        """Each time another package, since the front keeps what it has seen; the stores say who they are in it."""
        self.count += 1
        name = f'probe-{self.count}'
        for site in SITES:
            publish(self.at[f'store {site}'], name, site)
        return get(f'http://{address}/{name}', headers)['versions']['1.0.0']['description']


class Traced:
    """The same program, unchanged, with OpenTelemetry loaded beside it: W3C headers are its default."""
    propagators = ''

    def __init__(self, folder, run, at):
        super().__init__(folder, run, at)
        self.otel = {'NODE_OPTIONS': '--require @opentelemetry/auto-instrumentations-node/register',
                     'OTEL_TRACES_EXPORTER': 'console', 'OTEL_METRICS_EXPORTER': 'none', 'OTEL_LOGS_EXPORTER': 'none',
                     'OTEL_NODE_RESOURCE_DETECTORS': 'none', 'OTEL_PROPAGATORS': self.propagators}


class VerdaccioTraced(Traced, Verdaccio):
    text = 'Verdaccio 6.8, OpenTelemetry'
    propagators = 'tracecontext,baggage'
    survives = {'baggage', 'correlate:traceparent'}


class VerdaccioB3(Traced, Verdaccio):
    """And with the header of Zipkin."""
    text = 'Verdaccio 6.8, OpenTelemetry, B3'
    propagators = 'b3'
    survives = {'correlate:b3'}


class Pouch(Application):
    """A database that replicates from another one: some eight calls, one after the other, among them writes."""
    text = 'PouchDB Server 4.2'

    def start(self):
        for name in NAMES:
            host, port = split(self.at[name])
            self.spawn(name, f'{self.modules}/pouchdb-server/bin/pouchdb-server', '--in-memory', '--host', host,
                       '--port', port, '--no-stdout-logs')

    def ask(self, address, headers):
        self.count += 1
        name = f'probe-{self.count}'
        for site in SITES:
            send('PUT', f'http://{self.at[f"store {site}"]}/{name}', {})
            send('PUT', f'http://{self.at[f"store {site}"]}/{name}/which', {'site': site})
        send('POST', f'http://{address}/_replicate', {'source': f'http://{self.at["store proxy"]}/{name}',
                                                      'target': name, 'create_target': True}, headers)
        return get(f'http://{self.at["front"]}/{name}/which', {})['site']


class PouchTraced(Traced, Pouch):
    text = 'PouchDB Server 4.2, OpenTelemetry'
    propagators = 'tracecontext,baggage'
    survives = {'baggage', 'correlate:traceparent'}


class RequestIds(Application):
    """A service of Fastify before json-server. Fastify reads x-request-id into request.id, and the service does what
    many do: it hands that on, for the logs, and nothing else."""
    text = 'Fastify 5 and json-server 0.17'
    survives = {'correlate:x-request-id'}

    def start(self):
        for site in SITES:
            host, port = split(self.at[f'store {site}'])
            self.write(f'store {site}', 'db.json', json.dumps({'which': {'site': site}}))
            self.spawn(f'store {site}', f'{self.modules}/json-server/lib/cli/bin.js', '--quiet', '--host', host,
                       '--port', port, 'db.json')
        self.spawn('front', f'{HERE}/fastify.js', *split(self.at['front']), f'http://{self.at["store proxy"]}/which')

    def ask(self, address, headers):
        return get(f'http://{address}/', headers)['site']


def install(folder):
    """All of package.json at once, again when it has changed."""
    where, done = f'{folder}/npm', f'{folder}/npm/installed'
    with open(f'{HERE}/package.json') as f:
        wanted = f.read()
    if os.path.exists(done):
        with open(done) as f:
            if f.read() == wanted:
                return
    os.makedirs(where, exist_ok=True)
    with open(f'{where}/package.json', 'w') as f:
        f.write(wanted)
    npm_install(where)
    with open(done, 'w') as f:
        f.write(wanted)


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
    send('PUT', f'http://{address}/{name}', document)


APPLICATIONS = (Verdaccio, VerdaccioTraced, VerdaccioB3, Pouch, PouchTraced, RequestIds)
