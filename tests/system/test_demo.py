#!/usr/bin/python3
"""The demo comes out as the README shows it, and leaves nothing behind."""
import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap

import harness
from harness import ROOT, eq, run_program, wait_until

DEMO = os.path.join(ROOT, 'examples/demo/demo.py')


def normal(text):
    """Without what differs from run to run: ports, times, identifiers, and what is said to those who stay."""
    text = re.sub(r'(127\.0\.\d\.\d):\d+', r'\1:PORT', text)
    text = re.sub(r'\(\d+ ms\)|after \d+ ms', 'N ms', text)
    text = re.sub(r'\(\d+\.\d s\)', 'N s', text)
    text = re.sub(r'[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}', 'META', text)
    return text.split('\nThe sites stay up')[0].strip()


def demo_in_readme():
    with open(os.path.join(ROOT, 'README.md')) as f:
        return re.search(r'```\n(Three sites on this machine.*?)```', f.read(), re.S)[1]


def test_the_demo_passes_and_reads_as_the_readme_says(bed):
    p = run_program(sys.executable, DEMO, '--once', '--scopemeshd', harness.SCOPEMESHD, timeout=60)
    eq(p.returncode, 0, p.stdout + p.stderr)
    got, want = normal(p.stdout).splitlines(), normal(demo_in_readme()).splitlines()
    for number, (a, b) in enumerate(zip(got, want), 1):
        eq(a, b, f'line {number} of the demo in the README')
    eq(len(got), len(want), 'lines of the demo')


def test_the_configurations_of_the_readme_are_accepted(bed):
    with open(os.path.join(ROOT, 'README.md')) as f:
        text = f.read()
    blocks = re.findall(r'^( *)```yaml\n(.*?)^ *```', text, re.S | re.M)
    first, sites, more, second, tls = (textwrap.dedent(text) for _, text in blocks)
    eq(len(first.splitlines()), 6, 'lines of the first configuration')
    bed.write('sites.yaml', sites)
    for words in re.findall(r'^    \./scopectl (ca .*)$', text, re.M):
        eq(run_program(harness.SCOPECTL, *words.split(), cwd=bed.dir).returncode, 0, words)
    for file in ('ca.pem', 'dc1.pem', 'dc1.key'):
        os.rename(f'{bed.dir}/authority/{file}', f'{bed.dir}/{file}')
    for name, text in (('one.yaml', first), ('dc1.yaml', first + more), ('dc2.yaml', second),
                       ('tls.yaml', first + tls)):
        p = run_program(harness.SCOPEMESHD, '--check', '-c', bed.write(name, text))
        eq(p.returncode, 0, f'{name}: {p.stderr}')


def children_of(pid):
    """Processes below pid, as (pid, start time), so that a reused number is not taken for the same."""
    found = []
    for path in glob.glob('/proc/[0-9]*/stat'):
        try:
            with open(path) as f:
                fields = f.read().rsplit(')', 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append((path, fields[19]))
    return found


def lives(path, started):
    try:
        with open(path) as f:
            return f.read().rsplit(')', 1)[1].split()[19] == started
    except OSError:
        return False


def test_ctrl_c_leaves_nothing_behind(bed):
    env = {**os.environ, 'TMPDIR': bed.dir}
    with tempfile.TemporaryFile('w+') as out:
        p = subprocess.Popen([sys.executable, DEMO, '--scopemeshd', harness.SCOPEMESHD], stdout=out, stderr=out,
                             stdin=subprocess.DEVNULL, env=env)
        bed.processes.append(p)

        def text():
            out.seek(0)
            return out.read()
        wait_until(lambda: 'The sites stay up' in text() or p.poll() is not None, 'the last step', 60)
        eq(p.poll(), None, text())
        children = children_of(p.pid)
        eq(len(children), 9, 'two services and a proxy at each of three sites')
        p.send_signal(signal.SIGINT)
        eq(p.wait(harness.DEADLINE), 0, text())
    eq([c for c in children if lives(*c)], [], 'processes left')
    eq(os.listdir(bed.dir), [], 'files left')


if __name__ == '__main__':
    harness.main(globals())
