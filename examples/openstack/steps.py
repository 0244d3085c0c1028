"""What the example shows, step by step, through the real client; each step is checked."""
import collections
import concurrent.futures
import hashlib
import json
import os
import shlex
import time
import urllib.request
import uuid

from cloud import HTTP, wait_for
from one_image import one_image


class Show:
    """Prints numbered steps and the commands that it runs, checks what came of them, and keeps count."""

    def __init__(self, cloud):
        self.cloud, self.number, self.failed, self.passed = cloud, 0, 0, 0
        self.bytes = {}         # (site, image) -> its content

    def step(self, title):
        self.number += 1
        print(f'\n{self.number}. {title}', flush=True)

    def say(self, *lines):
        for line in lines:
            print(f'   {line}', flush=True)

    def check(self, good, text):
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)
        print(f'   {"ok" if good else "NOT AS IT SHOULD BE"}: {text}', flush=True)

    def client(self, site, argv, output=()):
        """Runs the client as a user at that site would; `output` picks what it prints. Gives status, text and time."""
        print(f'   {site}$ openstack ' + ' '.join(shlex.quote(a) for a in argv), flush=True)
        started = time.monotonic()
        p = self.cloud.client(site, *argv, *output)
        seconds = time.monotonic() - started
        text = (p.stdout if p.returncode == 0 else p.stdout + p.stderr).strip()
        return p.returncode, text, f'{seconds:.1f} s'

    def images(self, site, expected, *scope):
        status, text, seconds = self.client(site, ['image', 'list', *scope], ['-c', 'Name', '-f', 'value'])
        names = sorted(text.split()) if status == 0 else text
        self.check(names == expected, f'{", ".join(names) if status == 0 else names} ({seconds})')

    def server(self, site, name, image, compute, image_from, *scope):
        """Creates a server, which has to become ACTIVE at `compute` with the image's bytes of `image_from`."""
        create = ['server', 'create', name, '--image', image, '--flavor', 'tiny', '--wait', *scope]
        status, text, seconds = self.client(site, create, ['-c', 'id', '-c', 'status', '-f', 'json'])
        if status != 0:
            self.check(False, text)
            return
        server = json.loads(text)
        good, words = self.disk(compute, server['id'], self.bytes[image_from, image])
        self.check(good and server['status'] == 'ACTIVE',
                   f'{server["status"]} at {compute}; {words}, {image} of {image_from} ({seconds})')

    def disk(self, site, server, content):
        """Whether that site's nova-compute fetched exactly this content for the server."""
        path = f'{self.cloud.sites[site].dir}/instances/{server}/disk'
        if not os.path.exists(path):
            return False, f'{site} fetched no image'
        with open(path, 'rb') as f:
            found = f.read()
        return found == content, f'{len(found)} bytes, sha256 {hashlib.sha256(found).hexdigest()[:12]}'


def upload(show, site, name, size, *identity):
    """An image of random bytes, at this site only."""
    path = f'{show.cloud.run}/{site}-{name}.raw'
    show.bytes[site, name] = os.urandom(size)
    with open(path, 'wb') as f:
        f.write(show.bytes[site, name])
    p = show.cloud.client(site, 'image', 'create', name, *identity, '--file', path, '--disk-format', 'raw',
                          '--container-format', 'bare')
    if p.returncode != 0:
        raise RuntimeError(f'image create {name} at {site}: {p.stderr.strip()[-1000:]}')


def images(show):
    twin = str(uuid.uuid4())
    work = [('dc1', 'cirros', 3 << 20), ('dc2', 'debian', 5 << 20),
            ('dc1', 'twin', 1 << 20, '--id', twin), ('dc2', 'twin', 1 << 20, '--id', twin)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda args: upload(show, *args), work))
    return twin


def share(show):
    show.step('No scope: dc1 knows its own images.')
    show.images('dc1', ['cirros', 'twin'])
    show.step('The images of dc2, asked for at dc1.')
    show.images('dc1', ['debian', 'twin'], '--scope', 'image: dc2')
    show.step('A server at dc1 with an image that only dc2 has. The scope reaches Glance by way of Nova.')
    show.server('dc1', 'my-vm', 'debian', 'dc1', 'dc2', '--scope', 'compute: dc1, image: dc2')
    show.step('The other way round: asked for at dc1, a server at dc2 with an image that only dc1 has.')
    show.server('dc1', 'your-vm', 'cirros', 'dc2', 'dc1', '--scope', 'compute: dc2, image: dc1')


def api(site, method, path, token, content=None, scope=None):
    headers = {'X-Auth-Token': token, 'Content-Type': 'application/json', **({'X-Scope': scope} if scope else {})}
    request = urllib.request.Request(f'http://{site.at["compute"]}/v2.1{path}', method=method, headers=headers,
                                     data=json.dumps(content).encode() if content else None)
    with HTTP.open(request, timeout=120) as answer:
        return json.loads(answer.read())


def eight(show, twin):
    show.step('Eight creates at once, with one token and two scopes. Both sites have an image of the same id, each with'
              '\n   bytes of its own: nothing but the scope tells the two apart. (Plain requests, to be at once.)')
    status, token, _ = show.client('dc1', ['token', 'issue'], ['-c', 'id', '-f', 'value'])
    if status != 0:
        show.check(False, token)
        return
    site = show.cloud.sites['dc1']
    started = time.monotonic()

    def create(number):
        image_from = ('dc1', 'dc2')[number % 2]
        body = {'server': {'name': f'vm-{number}', 'imageRef': twin, 'flavorRef': '1'}}
        answer = api(site, 'POST', '/servers', token, body, f'compute: dc1, image: {image_from}')
        return answer['server']['id'], image_from
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        created = dict(pool.map(create, range(8)))

    def building():
        servers = api(site, 'GET', '/servers/detail', token)['servers']
        return [s for s in servers if s['id'] in created and s['status'] == 'BUILD']
    wait_for(lambda: not building(), 300, 'eight servers', 1)
    right = {'dc1': 0, 'dc2': 0}
    for server, image_from in created.items():
        right[image_from] += show.disk('dc1', server, show.bytes[image_from, 'twin'])[0]
    status, text, _ = show.client('dc1', ['server', 'list', '--name', '^vm-'], ['-c', 'Status', '-f', 'value'])
    active = text.split().count('ACTIVE')
    show.check(right == {'dc1': 4, 'dc2': 4} and active == 8,
               f'{right["dc1"]} of 4 with the bytes of dc1, {right["dc2"]} of 4 with those of dc2 '
               f'({time.monotonic() - started:.1f} s)')


def otherwise(show):
    show.step("Otherwise: dc2's Glance is stopped. Images of dc2, or of dc1 if dc2 fails.")
    dc2 = show.cloud.sites['dc2']
    dc2.end('glance')
    show.images('dc1', ['cirros', 'twin'], '--scope', 'image: dc2; dc1')
    show.server('dc1', 'else-vm', 'twin', 'dc1', 'dc1', '--scope', 'compute: dc1, image: dc2; dc1')
    dc2.start_service('glance')
    dc2.wait_answers('image')


def cut(show):
    show.step('Cut off: the links between the sites are down. Each goes on with what it has; the other is not there.')
    show.cloud.links.each('close')
    show.server('dc1', 'alone-1', 'cirros', 'dc1', 'dc1')
    show.server('dc2', 'alone-2', 'debian', 'dc2', 'dc2')
    status, text, seconds = show.client('dc1', ['image', 'list', '--scope', 'image: dc2'])
    refused = accesses(show.cloud.sites['dc1'], 'image')[-1]
    show.check(status != 0 and (refused['status'], refused['reason']) == (503, 'unreachable'),
               f"dc1's scopemeshd: {refused['status']} {refused['reason']} ({seconds}); the client:"
               f'\n       {last_line(text)}')
    show.cloud.links.each('open')
    show.step('Healed.')
    show.images('dc1', ['debian', 'twin'], '--scope', 'image: dc2')


def accesses(site, service):
    with open(f'{site.dir}/access.log') as f:
        lines = [json.loads(text) for text in f if text.endswith('\n')]
    return [line for line in lines if line['service'] == service]


def carried(show):
    show.step("What carried the scope from Nova to Glance, by the sites' access logs."
              '\n   (Without what the client sends itself, and what comes from the other site.)')
    found = collections.Counter(line['carrier'] for site in show.cloud.sites.values()
                                for line in accesses(site, 'image')
                                if line['scope'] and line['carrier'] not in ('header', 'mesh'))
    show.check(list(found) == ['correlate:x-openstack-request-id'],
               ', '.join(f'{count} requests by {carrier}' for carrier, count in found.items()))


def last_line(text):
    return text.splitlines()[-1] if text else ''


def unchanged(show):
    show.step('Nothing in OpenStack was changed.')
    names = ['python3-keystone', 'python3-glance', 'python3-placement', 'python3-nova', 'python3-openstackclient',
             'python3-keystoneauth1', 'python3-keystonemiddleware', 'python3-glanceclient']
    wrong, count = show.cloud.packages.changed(names)
    show.check(not wrong, f'{count} files of {len(names)} packages compared with their checksums'
               + (f', changed: {wrong[:5]}' if wrong else ''))


def all_steps(show, twin):
    share(show)
    eight(show, twin)
    otherwise(show)
    cut(show)
    one_image(show)
    carried(show)
    unchanged(show)
