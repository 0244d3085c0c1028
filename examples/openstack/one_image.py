"""One image at both sites: what `&` in a scope makes of Glance, whose clients and services know nothing of it.

The client is given one identifier and uses it at either site; each Glance has an id of its own for its replica."""
import concurrent.futures
import hashlib
import json
import os
import time

from cloud import HTTP, SITES, wait_for

BOTH = ('--scope', 'image: dc1 & dc2')
SIZE = 4 << 20
SETTLED = 120       # seconds


def admin(show, site, path):
    with HTTP.open(f'http://{show.cloud.sites[site].at["admin"]}{path}', timeout=10) as answer:
        return json.loads(answer.read())


def settle(show):
    """Waits until all that was admitted is executed at both sites, or does not go on; says how long it took."""
    started = time.monotonic()

    def waiting(*states):
        return [d for name in SITES for d in admin(show, name, '/v1/queue')['queue'] if d['state'] in states]
    wait_for(lambda: not waiting('queued', 'sent'), SETTLED, 'all is executed at both sites', 0.1)
    seconds = f'{time.monotonic() - started:.1f} s'
    for d in waiting('held', 'failed', 'in-doubt', 'undoing'):
        show.check(False, f'{d["method"]} {d["path"]} is {d["state"]} at {d["target"]}: {d["last_error"]}')
    return seconds


class Image:
    """One image under one identifier, and what the client says of it."""

    def __init__(self, show, name):
        self.show, self.name, self.id = show, name, None
        self.file = f'{name}.raw'       # in the folder where the client runs
        self.content = os.urandom(SIZE)
        with open(f'{show.cloud.run}/{self.file}', 'wb') as f:
            f.write(self.content)

    def create(self, site):
        argv = ['image', 'create', self.name, '--file', self.file, *BOTH]
        status, text, seconds = self.show.client(site, argv, ['-c', 'id', '-f', 'value'])
        self.show.check(status == 0, f'{text} ({seconds})')
        self.id = text if status == 0 else None
        return self.id

    def write(self, site, verb, *argv):
        status, text, seconds = self.show.client(site, ['image', verb, *argv, self.id])
        self.show.check(status == 0, text or seconds)

    def at(self, site, whole):
        """What `image show` says; whole: with the digest of what `image save` saves, and how it is listed."""
        cloud = self.show.cloud
        saved = f'{site}-{self.file}.saved'
        shown = cloud.client(site, 'image', 'show', self.id, '-f', 'json')
        if shown.returncode:
            return {'error': shown.stderr.strip()[-200:]}
        image = json.loads(shown.stdout)
        found = {'id': image['id'], 'name': image['name'], 'status': image['status'], 'tags': sorted(image['tags']),
                 'min_ram': image['min_ram'], 'protected': image['protected'], 'file': image['file'],
                 'color': image['properties'].get('color'), 'os_distro': image['properties'].get('os_distro')}
        if not whole:
            return found
        p = cloud.client(site, 'image', 'save', self.id, '--file', saved)
        if p.returncode:
            return {'error': p.stderr.strip()[-200:]}
        with open(f'{cloud.run}/{saved}', 'rb') as f:
            found['sha256'] = hashlib.sha256(f.read()).hexdigest()
        listed = cloud.client(site, 'image', 'list', '-c', 'ID', '-c', 'Name', '-f', 'json')
        found['listed'] = [line['Name'] for line in json.loads(listed.stdout) if line['ID'] == self.id]
        return found

    def equal(self, text, whole=False, **expected):
        """The same at both sites, which has to be this; each is asked without a scope, for what is its own."""
        commands = [f'show {self.id}', *([f'save {self.id} --file …', 'list'] if whole else [])]
        self.show.say(*(f'{site}$ openstack image {command}' for site in SITES for command in commands))
        expected.update(id=self.id, status='active', file=f'/v2/images/{self.id}/file')
        if whole:
            expected.update(sha256=hashlib.sha256(self.content).hexdigest(), listed=[expected['name']])
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda site: self.at(site, whole), SITES))
        wrong = [f'\n       {site}: {key} is {value.get(key)!r}, expected {wish!r}' for site, value in zip(SITES, found)
                 for key, wish in expected.items() if value.get(key) != wish]
        wrong += [f'\n       {site}: {value["error"]}' for site, value in zip(SITES, found) if 'error' in value]
        self.show.check(not wrong, text + ''.join(wrong))

    def serve(self, site, name):
        """A server of it at this site."""
        self.show.bytes[site, self.id] = self.content
        self.show.server(site, name, self.id, site, site)

    def local_ids(self):
        sites = admin(self.show, 'dc1', f'/v1/replicas/{self.id}')['sites']
        return [sites[name]['local_id'] for name in SITES]

    def is_gone(self, local_ids):
        found = []
        for site, local_id in zip(SITES, local_ids):
            status, text, _ = self.show.client(site, ['image', 'show', self.id], ['-c', 'name', '-f', 'value'])
            if status == 0:
                found.append(f'{site} shows {text}')
            if os.path.exists(f'{self.show.cloud.sites[site].dir}/images/{local_id}'):
                found.append(f'{site} has its data')
        self.show.check(not found, '; '.join(found) or 'not known and no data left, at both')


def one_image(show):
    show.step('One image at both sites, uploaded once, under one identifier.')
    alma = Image(show, 'alma')
    if not alma.create('dc1'):
        return
    took = settle(show)
    alma.equal(f'the same {SIZE} bytes at both after {took}, sha256 {hashlib.sha256(alma.content).hexdigest()[:12]}',
               whole=True, name='alma')
    show.step('A server at dc1 of that image: Nova knows it by the identifier, each Glance by an id of its own.')
    alma.serve('dc1', 'both-1')
    local = alma.local_ids()
    show.check(None not in local and len({alma.id, *local}) == 3,
               f'{alma.id[:8]}… is {local[0][:8]}… in the Glance of dc1, {local[1][:8]}… in that of dc2')
    show.step('Written at either site, read at both.')
    alma.write('dc1', 'set', '--name', 'alma-9', '--property', 'color=blue')
    alma.write('dc2', 'set', '--property', 'os_distro=alma', '--min-ram', '64', '--tag', 'blessed')
    alma.equal(f'both writes at both sites after {settle(show)}', name='alma-9', color='blue', os_distro='alma',
               min_ram=64, tags=['blessed'])
    rocky = cut_off(show, alma)
    show.step('Deleted once, gone at both.')
    for image, site in ((alma, 'dc2'), (rocky, 'dc1')):
        local = image.local_ids()
        image.write(site, 'delete')
        settle(show)
        image.is_gone(local)


def cut_off(show, alma):
    show.step('The links are cut: an image is made at dc1, both sites write to the one from before, and dc2 goes on with'
              '\n   its replica.')
    show.cloud.links.each('close')
    rocky = Image(show, 'rocky')
    rocky.create('dc1')
    rocky.write('dc1', 'set', '--property', 'color=green')
    alma.write('dc1', 'set', '--name', 'alma of dc1', '--property', 'color=red')
    alma.write('dc2', 'set', '--name', 'alma of dc2', '--property', 'os_distro=almalinux')
    alma.serve('dc2', 'both-2')
    show.cloud.links.each('open')
    took = settle(show)
    show.step('Healed: what was written last counts, at both.')
    rocky.equal(f'rocky is at both, with its data, after {took}', whole=True, name='rocky', color='green')
    alma.equal('alma has what both sites wrote', name='alma of dc2', color='red', os_distro='almalinux', min_ram=64,
               tags=['blessed'])
    return rocky
