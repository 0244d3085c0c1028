"""What the benchmarks and the soak run: pinned processes, the origin, and the packages of the peers, which are
unpacked from Debian's below the build folder, never installed; and how their tables are printed."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGES = ['haproxy', 'liblua5.3-0', 'libopentracing-c-wrapper0', 'libopentracing1', 'nginx', 'wrk', 'libluajit-5.1-2']


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Process:
    """A pinned process, its CPU time and its memory."""

    def __init__(self, rig, name, argv, core, env=None):
        self.name = name
        log = open(os.path.join(rig.dir, name + '.log'), 'wb')
        self.popen = subprocess.Popen(['taskset', '-c', str(core), *argv], stdin=subprocess.DEVNULL, stdout=log,
                                      stderr=log, env=env, cwd=rig.dir)
        rig.processes.append(self)

    @property
    def pid(self):
        return self.popen.pid

    def cpu_us(self):
        """CPU of all threads so far; utime and stime, or the scheduler's finer figure where there is one."""
        total = 0
        for task in os.listdir(f'/proc/{self.pid}/task'):
            with open(f'/proc/{self.pid}/task/{task}/schedstat') as f:
                total += int(f.read().split()[0])
        if total:
            return total / 1000
        with open(f'/proc/{self.pid}/stat') as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf('SC_CLK_TCK')

    def rss(self):
        with open(f'/proc/{self.pid}/status') as f:
            return int(re.search(r'VmRSS:\s+(\d+)', f.read())[1]) * 1024

    def stop(self):
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(3)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


class Rig:
    """Everything that runs: the origin and the proxies, each at an address of its own."""

    def __init__(self, options, folder='run.d'):
        self.options, self.build = options, os.path.abspath(options.build)
        self.dir = os.path.join(self.build, 'bench', folder)
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        self.processes = []
        self.peers = unpack_peers(os.path.join(self.build, 'bench', 'peers'))
        libs = os.path.join(self.peers, 'usr/lib', subprocess.run(
            ['gcc', '-print-multiarch'], capture_output=True, text=True).stdout.strip() or 'x86_64-linux-gnu')
        self.peer_env = dict(os.environ, LD_LIBRARY_PATH=libs)
        self.origin_port = free_port()
        Process(self, 'origin', [self.compile('origin'), str(self.origin_port)], options.load_core)

    def compile(self, name):
        program = os.path.join(self.dir, name)
        subprocess.run([os.environ.get('CC', 'cc'), '-O2', '-D_GNU_SOURCE', '-o', program,
                        os.path.join(HERE, name + '.c')], check=True)
        return program

    def cores(self, workers):
        """Where a proxy runs: one worker on its core, more on both."""
        return self.options.proxy_core if workers == 1 else f'{self.options.proxy_core},{self.options.load_core}'

    def peer(self, name):
        for folder in ('usr/sbin', 'usr/bin'):
            path = os.path.join(self.peers, folder, name)
            if os.path.exists(path):
                return path
        sys.exit(f'bench: {name} was not unpacked')

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, 'w') as f:
            f.write(text)
        return path

    def close(self):
        for p in reversed(self.processes):
            p.stop()


def unpack_peers(folder):
    root = os.path.join(folder, 'root')
    if os.path.exists(os.path.join(folder, 'done')):
        return root
    os.makedirs(folder, exist_ok=True)
    subprocess.run(['apt-get', '-q', 'download', *PACKAGES], cwd=folder, check=True, stdout=sys.stderr)
    for name in sorted(os.listdir(folder)):
        if name.endswith('.deb'):
            subprocess.run(['dpkg', '-x', name, 'root'], cwd=folder, check=True)
    open(os.path.join(folder, 'done'), 'w').close()
    return root


def wait_for_port(port, process):
    for _ in range(200):
        try:
            socket.create_connection(('127.0.0.1', port), 1).close()
            return
        except OSError:
            if process.popen.poll() is not None:
                break
            time.sleep(0.05)
    sys.exit(f'bench: {process.name} does not listen; see its log')


def print_rows(title, lines):
    """A table that is Markdown and can be read as it is."""
    wide = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    print(f'\n**{title}**\n')
    for i, line in enumerate(lines):
        print('| ' + ' | '.join(c.ljust(w) if j == 0 else c.rjust(w) for j, (c, w) in enumerate(zip(line, wide))) + ' |')
        if i == 0:
            print('|' + '|'.join('-' * (w + 2) if j == 0 else '-' * (w + 1) + ':' for j, w in enumerate(wide)) + '|')
    sys.stdout.flush()
