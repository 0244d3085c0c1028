"""Debian's packages, unpacked into a folder: nothing is installed, no daemon is started, no root needed."""
import glob
import hashlib
import os
import shutil
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = '/usr/bin/python3'     # Debian's own: the packages' compiled modules fit no other


def listed_packages():
    with open(f'{HERE}/packages.txt') as f:
        return [word for line in f for word in line.partition('#')[0].split()]


class Unavailable(RuntimeError):
    """The packages cannot be had here; the text says why."""


def release():
    with open('/etc/os-release') as f:
        return dict(line.strip().split('=', 1) for line in f if '=' in line).get('VERSION_CODENAME')


class Packages:
    def __init__(self, folder, names):
        self.names, self.debs, self.root, self.stamp = names, f'{folder}/debs', f'{folder}/root', f'{folder}/unpacked'

    def ready(self):
        if not os.path.exists(self.stamp):
            return False
        with open(self.stamp) as f:
            return f.read().split() == self.names

    def unpack(self):
        """Downloads and unpacks all of it anew. Gives the bytes downloaded."""
        if release() != 'bookworm':
            raise Unavailable('the packages listed are those of Debian 12')
        for folder in (self.debs, self.root):
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
        p = subprocess.run(['apt-get', 'download', *self.names], cwd=self.debs, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True)
        if p.returncode != 0:
            raise Unavailable(f'apt-get download: {p.stderr.strip()[-1500:]}\n(apt-get update as root may help)')
        files = sorted(glob.glob(f'{self.debs}/*.deb'))
        for deb in files:
            subprocess.run(['dpkg-deb', '-x', deb, self.root], check=True)
        with open(self.stamp, 'w') as f:
            f.write('\n'.join(self.names))
        return sum(os.path.getsize(deb) for deb in files)

    def changed(self, names):
        """Files of these packages that are not byte for byte as the package has them, and how many were compared."""
        wrong, count = [], 0
        for name in names:
            deb = glob.glob(f'{self.debs}/{name}_*.deb')[0]
            sums = subprocess.run(f'dpkg-deb --ctrl-tarfile "{deb}" | tar -xO ./md5sums', shell=True, check=True,
                                  capture_output=True, text=True).stdout
            for line in sums.splitlines():
                digest, path = line.split('  ', 1)
                with open(f'{self.root}/{path}', 'rb') as f:
                    count += 1
                    if hashlib.md5(f.read()).hexdigest() != digest:
                        wrong.append(path)
        return wrong, count

    def environment(self, *more):
        """For programs that run among the packages. Theirs come first, Python's own libraries after."""
        keep = {k: v for k, v in os.environ.items()
                if not k.startswith(('PYTHON', 'OS_')) and not k.lower().endswith('_proxy')}
        libraries = glob.glob(f'{self.root}/usr/lib/*-linux-gnu')
        return {**keep, 'PYTHONPATH': ':'.join([*more, f'{self.root}/usr/lib/python3/dist-packages']),
                'LD_LIBRARY_PATH': ':'.join(libraries), 'PYTHONWARNINGS': 'ignore', 'PYTHONNOUSERSITE': '1'}
