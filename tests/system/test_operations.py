#!/usr/bin/python3
"""The recipes of docs/operations.md: what stands there is taken from the page and done, while requests go on.

A `console` block holds lines PLACE$ COMMAND; a `yaml` block that begins with "# PLACE: FILE" is that file.  Here a place is a
folder; scp and systemctl are played, everything else is run as it stands.  Addresses of the page stand for those that
this machine has free."""
import os
import re
import shutil
import signal
import subprocess

import harness
from harness import Daemon, ROOT, Skip, ask, eq, run_program, wait_until
from pairs import Load

PAGE = os.path.join(ROOT, 'docs/operations.md')
PATIENT = ('scopectl doctor', 'scopectl sites', 'scopectl request')    # an operator looks again until it has come to pass


def page():
    with open(PAGE) as f:
        return f.read()


def section(title):
    return re.search(rf'^## {re.escape(title)}\n(.*?)(?=^## |\Z)', page(), re.S | re.M)[1]


def blocks(title):
    """The blocks of a recipe: ('console', lines) and ('yaml', text)."""
    return re.findall(r'^```(console|yaml)\n(.*?)^```', section(title), re.S | re.M)


class Site(Daemon):
    """A daemon whose configuration is there already."""

    def __init__(self, bed, site):
        self.popen, self.bed, self.site, self.dir = subprocess.Popen, bed, site, f'{bed.dir}/{site}'
        self.config_path, self.listeners, self.process = f'{self.dir}/site.yaml', {}, None
        self.start()


class Mesh:
    """The sites of the page, and what is done at them."""

    def __init__(self, bed, *names):
        self.bed, self.sites, self.loads, self.said = bed, {}, [], []
        self.origins = {n: bed.origin(n) for n in ('dc1', 'dc2', 'dc3')}
        self.mesh = {n: harness.mesh_addr() for n in ('1', '2', '3', '22')}
        self.port = {n: harness.mesh_addr() for n in self.origins}
        self.admin = {n: harness.mesh_addr() for n in self.origins}
        self.bin = f'{bed.dir}/bin'
        for folder in ('bin', 'keys', *names):
            os.makedirs(f'{bed.dir}/{folder}')
        for program in (harness.SCOPECTL, harness.SCOPEMESHD):
            os.symlink(program, f'{self.bin}/{os.path.basename(program)}')
        self.run('keys', 'scopectl ca init --dir authority')
        self.write('keys/sites.yaml', 'sites:\n' + ''.join(f'  {n}: {{mesh: "192.0.2.{n[2:]}:7400"}}\n' for n in names))
        first = re.search(r'^```yaml\n# dc1: site.yaml\n(.*?)^```', page(), re.S | re.M)[1]
        for n in names:
            self.run('keys', f'scopectl ca issue {n} --dir authority')
            self.write(f'{n}/site.yaml', first.replace('dc1', n).replace('192.0.2.1:', f'192.0.2.{n[2:]}:')
                       .replace('192.0.2.11:', f'192.0.2.1{n[2:]}:'))
            for file in ('authority/ca.pem', f'authority/{n}.pem', f'authority/{n}.key', 'sites.yaml'):
                shutil.copy(f'{bed.dir}/keys/{file}', f'{bed.dir}/{n}')
            self.sites[n] = Site(bed, n)
        for here in names:
            for there in names:
                wait_until(lambda h=here, t=there: self.state(h, t) == 'connected', f'{there} connected at {here}')

    def here(self, text):
        """Addresses of the page as they are here."""
        text = re.sub(r'192\.0\.2\.(\d+):7400', lambda m: self.mesh[m[1]], text)
        text = re.sub(r'http://192\.0\.2\.1(\d):9292', lambda m: self.origins[f'dc{m[1]}'].url, text)
        return text

    def write(self, path, text):
        place, file = path.split('/', 1)
        if file == 'site.yaml':
            text = text.replace('":9292"', f'"{self.port[place]}"')
            text += f'state: ./state\nworkers: 1\nadmin: {{listen: "{self.admin[place]}"}}\nlog: {{access: access.log}}\n'
        self.bed.write(path, self.here(text))

    def run(self, place, command):
        env = {**os.environ, 'PATH': f'{self.bin}:{os.environ["PATH"]}', 'NO_COLOR': '1',
               'SCOPEMESH_ADMIN': f'http://{self.admin.get(place)}'}
        p = run_program('sh', '-c', command, cwd=f'{self.bed.dir}/{place}', env=env, timeout=30)
        self.said.append(p.stdout + p.stderr)
        return p

    def scp(self, place, words):
        host, path = words[-1].split(':')
        target = f'{self.bed.dir}/{host}/{path.removeprefix("/etc/scopemesh/")}'
        os.makedirs(f'{self.bed.dir}/{host}', exist_ok=True)
        for file in words[:-1]:
            shutil.copy(f'{self.bed.dir}/{place}/{file}', target)

    def systemctl(self, place, words):
        eq(words[-1], 'scopemesh')
        if words[0] == 'start' and place in self.sites:
            self.sites[place].start()
        elif words[0] == 'start':
            self.sites[place] = Site(self.bed, place)
        elif words[0] == 'stop':
            eq(self.sites[place].stop(), 0, 'exit status')
        else:
            eq(words[:-1], ['kill', '--signal=SIGUSR1'])
            self.sites[place].signal(signal.SIGUSR1)

    def type(self, line):
        place, command = line.split('$ ', 1)
        command = command.replace('127.0.0.1:9292', self.port.get(place, ''))
        words = command.split()
        if words[0] in ('scp', 'systemctl'):
            getattr(self, words[0])(place, words[1:])
        elif command.startswith(PATIENT):
            wait_until(lambda: self.run(place, command).returncode == 0, f'{line} exits with 0; it said {self.said[-1]}')
        else:
            p = self.run(place, command)
            eq(p.returncode, 0, f'{line}: {p.stdout}{p.stderr}')

    def do(self, kind, text):
        """One block of the page."""
        if kind == 'yaml':
            place, file = re.match(r'# (\w+): (\S+)\n', text).groups()
            self.write(f'{place}/{file}', text)
        else:
            for line in text.splitlines():
                self.type(line)

    def follow(self, title, start=0, end=None):
        for kind, text in blocks(title)[start:end]:
            self.do(kind, text)

    # what Load and tests ask
    def get(self, here, scope):
        return ask(self.port[here], headers={'X-Scope': scope})

    def seen(self, here, there):
        return next((s for s in ask(self.admin[here], path='/v1/sites').json()['sites'] if s['name'] == there), {})

    def state(self, here, there):
        return self.seen(here, there).get('state')

    def load(self, here, scope):
        load = Load(self, here, scope)
        self.loads.append(load)
        wait_until(lambda: len(load.answers) > 10, 'requests get through')
        return load

    def end_loads(self):
        """Of what went on meanwhile nothing failed."""
        done = []
        for load in self.loads:
            before = len(load.answers)
            wait_until(lambda l=load, b=before: len(l.answers) > b + 10 or l.failures, 'requests get through at the end')
            load.stop()
            eq(load.failures[:3], [], f'{len(load.failures)} of {len(load.answers)} requests failed')
            done.append(len(load.answers))
        self.loads.clear()
        print(f'     {sum(done)} requests meanwhile, none failed')


def test_add_a_site(bed):
    mesh = Mesh(bed, 'dc1', 'dc2')
    mesh.load('dc1', 'image: dc2')
    mesh.load('dc2', 'image: dc1')
    mesh.follow('Add a site')
    assert 'dc3' in mesh.said[-1], mesh.said[-1]
    for here, there in (('dc3', 'dc2'), ('dc2', 'dc3'), ('dc3', 'dc1')):
        wait_until(lambda h=here, t=there: mesh.get(h, f'image: {t}').body == t.encode(), f'{here} reaches {there}')
    mesh.end_loads()


def test_remove_a_site(bed):
    mesh = Mesh(bed, 'dc1', 'dc2', 'dc3')
    mesh.load('dc1', 'image: dc3; dc2')
    mesh.load('dc2', 'image: dc1')
    mesh.follow('Remove a site', 0, 1)
    eq(mesh.get('dc1', 'image: dc3; dc2').body, b'dc2')
    mesh.end_loads()
    mesh.load('dc1', 'image: dc2')
    mesh.follow('Remove a site', 1)
    wait_until(lambda: mesh.get('dc1', 'image: dc3').status == 400, 'the site is forgotten')
    mesh.end_loads()


def test_replace_a_sites_machine(bed):
    mesh = Mesh(bed, 'dc1', 'dc2')
    old = open(f'{bed.dir}/dc2/dc2.pem').read()
    mesh.load('dc1', 'image: dc2; dc1')
    mesh.follow("Replace a site's machine", 0, 1)
    for file in ('state', 'site.yaml', 'sites.yaml'):       # the new machine has nothing of them
        path = f'{bed.dir}/dc2/{file}'
        (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)
    mesh.follow("Replace a site's machine", 1)
    assert open(f'{bed.dir}/dc2/dc2.pem').read() != old
    wait_until(lambda: mesh.get('dc1', 'image: dc2; dc1').body == b'dc2', 'the new machine serves')
    eq(mesh.seen('dc1', 'dc2')['mesh'], mesh.mesh['22'], 'where it is')
    mesh.end_loads()


def test_rotate_a_certificate(bed):
    mesh = Mesh(bed, 'dc1', 'dc2')
    mesh.load('dc1', 'image: dc2')
    mesh.load('dc2', 'image: dc1')
    mesh.follow("Rotate a site's certificate")
    wait_until(lambda: 'were read again' in mesh.sites['dc1'].log(), 'the new pair is taken')
    mesh.end_loads()


def issuer_of(site):
    """Fingerprint of the authority of the certificate that is shown, as far as the chain of files tells."""
    return harness.openssl('x509', '-noout', '-issuer', '-ext', 'authorityKeyIdentifier', '-in', f'{site.dir}/{site.site}.pem')


def take_step(mesh, number):
    """Of the rotation of the authority, until it is in force at both sites."""
    before = {n: mesh.sites[n].log().count('were read again') for n in ('dc1', 'dc2')}
    mesh.follow('Rotate the authority', number, number + 1)
    for n, count in before.items():
        wait_until(lambda n=n, c=count: mesh.sites[n].log().count('were read again') > c, f'step {number + 1} at {n}')


def test_rotate_the_authority(bed):
    mesh = Mesh(bed, 'dc1', 'dc2')
    old = issuer_of(mesh.sites['dc1'])
    mesh.load('dc1', 'image: dc2')
    mesh.load('dc2', 'image: dc1')
    for number in range(3):
        take_step(mesh, number)
        for here, there in (('dc1', 'dc2'), ('dc2', 'dc1')):
            eq(mesh.get(here, f'image: {there}').body, there.encode(), f'after step {number + 1}')
    assert issuer_of(mesh.sites['dc1']) != old
    mesh.end_loads()
    # what the old authority issued is worth nothing any more
    mesh.run('keys', 'scopectl ca issue dc2 --dir authority')
    mesh.scp('keys', ['authority/dc2.pem', 'authority/dc2.key', 'authority/ca.pem', 'dc2:/etc/scopemesh/'])
    wait_until(lambda: mesh.get('dc1', 'image: dc2').status == 503, 'the old authority is not believed')


def test_revoke_a_site(bed):
    mesh = Mesh(bed, 'dc1', 'dc2', 'dc3')
    eq(mesh.get('dc3', 'image: dc1').status, 200)
    mesh.load('dc1', 'image: dc2')
    mesh.load('dc2', 'image: dc1')
    mesh.follow('Revoke a site')
    wait_until(lambda: mesh.get('dc3', 'image: dc1').status == 503, 'it is not let in at dc1')
    wait_until(lambda: mesh.get('dc3', 'image: dc2').status == 503, 'nor at dc2')
    wait_until(lambda: mesh.get('dc1', 'image: dc3').status == 503, 'nor called')
    mesh.end_loads()


def test_revoke_while_two_authorities_are_believed(bed):
    mesh = Mesh(bed, 'dc1', 'dc2', 'dc3')
    mesh.load('dc1', 'image: dc2')
    take_step(mesh, 0)
    mesh.type('keys$ scp both.pem dc3:/etc/scopemesh/ca.pem')
    wait_until(lambda: 'were read again' in mesh.sites['dc3'].log(), 'dc3 believes both')
    take_step(mesh, 1)
    for number in ('', '2'):            # dc3 has a certificate of each
        mesh.run('keys', f'scopectl ca issue dc3 --dir authority{number}')
        eq(mesh.run('keys', f'scopectl ca revoke dc3 --dir authority{number}').returncode, 0)
    eq(mesh.get('dc3', 'image: dc1').status, 200, 'with certificates of different authorities')
    mesh.follow('Revoke a site')        # the old authority's list alone
    wait_until(lambda: mesh.get('dc3', 'image: dc1').status == 503, 'what the old one issued is refused')
    mesh.scp('keys', ['authority2/dc3.pem', 'authority2/dc3.key', 'dc3:/etc/scopemesh/'])
    wait_until(lambda: mesh.get('dc3', 'image: dc1').status == 200, 'of the new one nothing is revoked yet')
    mesh.type('keys$ cat authority/crl.pem authority2/crl.pem > crl.pem')
    mesh.type('keys$ scp crl.pem dc1:/etc/scopemesh/')
    wait_until(lambda: mesh.get('dc3', 'image: dc1').status == 503, 'now it is')
    mesh.end_loads()


def test_reload_and_logs(bed):
    mesh = Mesh(bed, 'dc1', 'dc2')
    load = mesh.load('dc1', 'image: dc2')
    mesh.follow('Reload')
    before = ask(mesh.port['dc1'], path='/before').status
    mesh.follow('Rotate logs')
    eq((before, ask(mesh.port['dc1'], path='/after').status), (200, 200))
    mesh.end_loads()
    ask(mesh.port['dc1'], path='/last')

    def lines():
        with open(f'{bed.dir}/dc1/access.log') as a, open(f'{bed.dir}/dc1/access.log.1') as b:
            return b.read().splitlines(), a.read().splitlines()
    wait_until(lambda: '"/last"' in lines()[1][-1] if lines()[1] else False, 'the new file is written')
    old, new = lines()
    # lines that waited for the writer when the file was opened again stand in the new one
    assert any('"/before"' in l for l in old + new) and any('"/after"' in l for l in new), (old[-3:], new[:3])
    eq(len([l for l in old + new if '"/x"' in l or '"/"' in l]), len(load.answers), 'lines of the requests meanwhile')


def test_drain_for_an_upgrade(bed):
    mesh = Mesh(bed, 'dc1', 'dc2')
    mesh.load('dc1', 'image: dc2; dc1')
    mesh.follow('Drain for an upgrade')
    wait_until(lambda: mesh.get('dc1', 'image: dc2; dc1').body == b'dc2', 'it serves again')
    mesh.end_loads()


# --- what the page says besides ----------------------------------------------------------------------------

def test_every_recipe_is_run(_):
    with open(__file__) as f:
        here = f.read()
    for title in re.findall(r'^## (.*)$', page(), re.M):
        if blocks(title):
            assert repr(title) in here, f'no test follows "{title}"'


def test_marks_metrics_and_paths_are_those_there_are(bed):
    mesh = Mesh(bed, 'dc1', 'dc2')
    wait_until(lambda: mesh.get('dc1', 'image: dc2').status == 200, 'a request')
    d = mesh.sites['dc1']
    with open(os.path.join(ROOT, 'registry/registry.h')) as f:
        marks = re.findall(r'X\(SITE_\w+, "(\w+)"\)', f.read())
    eq(re.findall(r'^\| `(\w+)` \|', section('What the marks of `scopectl sites` mean'), re.M), marks)
    metrics = ask(d.admin, path='/metrics').body.decode()
    for name in re.findall(r'`(scopemesh_\w+)`', section('What to watch')):
        assert f'# TYPE {name} ' in metrics, name
    for path in re.findall(r'`GET (/\w+)`|`(/\w+z)`', page()):
        eq(ask(d.admin, path=path[0] or path[1]).status, 200, path)


def test_the_unit_is_one(bed):
    unit = re.search(r'^```ini\n(.*?)^```', page(), re.S | re.M)[1]
    for program in re.findall(r'^ExecStart(?:Pre)?=(.*)$', unit, re.M):
        _, *words = program.split()
        eq([w for w in words if w.startswith('-') and w not in ('-c', '--check')], [])
    if not shutil.which('systemd-analyze'):
        raise Skip('no systemd-analyze')
    path = bed.write('scopemesh.service', unit.replace('/usr/local/sbin/scopemeshd', harness.SCOPEMESHD)
                     .replace('User=scopemesh', 'User=daemon'))
    p = run_program('systemd-analyze', 'verify', '--man=no', path, timeout=60)
    complaints = [l for l in p.stderr.splitlines() if 'scopemesh.service' in l]
    eq(complaints, [], p.stderr)


if __name__ == '__main__':
    harness.main(globals())
