#!/usr/bin/python3
"""scopectl watch and site, against real daemons (spec section 6)."""
import json
import queue
import subprocess
import threading

import harness
from harness import eq, run_program, wait_until


def scopectl(d, *words):
    return run_program(harness.SCOPECTL, '--admin', f'http://{d.admin}', *words)


class Watch:
    """scopectl watch as a process whose lines can be waited for."""

    def __init__(self, admin, *options):
        self.process = subprocess.Popen([harness.SCOPECTL, '--admin', f'http://{admin}', *options, 'watch', '--interval', '0.05'],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines, self.seen = queue.Queue(), []
        threading.Thread(target=self.run, daemon=True).start()
        self.errors = threading.Thread(target=self.process.stderr.read, daemon=True)
        self.errors.start()

    def run(self):
        for line in self.process.stdout:
            self.lines.put(line)

    def until(self, text):
        while True:
            line = self.lines.get(timeout=harness.DEADLINE)
            self.seen.append(line)
            if text in line:
                return line

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(harness.DEADLINE)


HEALTH = {'path': '/', 'interval': '50ms', 'timeout': '1s', 'rise': 1, 'fall': 1}


def test_watch_prints_what_there_is_and_then_each_change(bed):
    o = bed.origin('o')
    d = bed.daemon('dc1', {'image': {'instances': [o.url], 'health': HEALTH}})
    with Watch(d.admin) as w:
        w.until('site dc1 connected')
        wait_until(lambda: 'up' in w.until(f'instance image@dc1 {o.url}'), 'the instance being up')
        o.stop()
        assert 'up -> down' in w.until('down'), w.seen
        o.restart()
        assert 'down -> up' in w.until('-> up'), w.seen


def test_watch_json_is_an_object_per_line(bed):
    d = bed.daemon('dc1', {'image': {}})
    p = scopectl(d, '--json', 'watch', '--count', '1')
    eq(p.returncode, 0, p.stderr)
    first = json.loads(p.stdout.splitlines()[0])
    eq((first['what'], first['was'], first['is']), ('site dc1', None, 'connected'))


def test_watch_says_that_the_daemon_went_and_came_back(bed):
    d = bed.daemon('dc1', {'image': {}}, admin={'listen': f'127.0.0.1:{harness.free_port()}'})
    with Watch(d.admin) as w:
        w.until('site dc1')
        d.stop()
        w.until('daemon reachable -> unreachable')
        d.start()
        w.until('daemon unreachable -> reachable')
        eq(w.process.poll(), None)


def test_watch_of_no_daemon_is_3_and_bad_words_are_2(bed):
    eq(run_program(harness.SCOPECTL, '--admin', f'http://127.0.0.1:{harness.free_port()}', 'watch').returncode, 3)
    for words in (['--interval', '0'], ['--interval', 'x'], ['--count', '-1'], ['more'], ['--intervall', '1']):
        eq(run_program(harness.SCOPECTL, 'watch', *words).returncode, 2, words)


def test_site_wants_a_known_verb_and_one_site(bed):
    for words, text in (([], 'what to do is missing'), (['fense', 'dc2'], 'did you mean fence?'), (['fence'], 'the site is missing'),
                        (['fence', 'a', 'b'], 'found "b" too')):
        p = run_program(harness.SCOPECTL, 'site', *words)
        eq(p.returncode, 2, words)
        assert text in p.stderr, (words, p.stderr)


if __name__ == '__main__':
    harness.main(globals())
