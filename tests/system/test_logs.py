#!/usr/bin/python3
"""Logs that cannot be written: requests go on, one line says so, and it is over by itself when the cause is."""
import json
import os
import re
import shutil
import subprocess
import time

import harness
from harness import Client, ask, eq, wait_until


def started_by(bed, popen, **kw):
    return bed.daemon('dc1', {'image': {'instances': [bed.origin('o').url]}}, popen=popen, **kw)


def requests(d, count, path='/x'):
    with Client(d.addr('image')) as c:
        for i in range(count):
            eq(c.ask(path=f'{path}{i}').status, 200)


def lines(path):
    with open(path, 'rb') as f:
        return f.read().decode().split('\n')[:-1]    # the last one may still be written


def logged(path, request_path):
    return os.path.exists(path) and any(f'"path":"{request_path}"' in l for l in lines(path))


def test_a_full_disk_stops_no_request_and_is_said_once(bed):
    where = os.path.join(bed.dir, 'link.log')
    os.symlink('/dev/full', where)
    d = bed.daemon('dc1', {'image': {'instances': [bed.origin('o').url]}}, log={'access': where})
    requests(d, 20)
    wait_until(lambda: 'the access log cannot be written: No space left on device' in d.log(), 'a line')
    for _ in range(3):
        requests(d, 5)
        time.sleep(0.12)    # longer than the writer's turn: it fails each time
    eq(d.log().count('cannot be written'), 1)
    os.unlink(where)
    d.signal(harness.signal.SIGUSR1)
    requests(d, 1, '/after')
    wait_until(lambda: logged(where, '/after0'), 'the log goes on')
    told = r'can be written again; (\d+) lines were lost'
    wait_until(lambda: re.search(told, d.log()), 'what was lost')    # said after the line is out
    eq(int(re.search(told, d.log())[1]), 35)


def test_a_disk_that_has_room_again_is_written_without_a_signal(bed):
    """A small file system of the daemon's own fills up in the middle of a line."""
    disk = os.path.join(bed.dir, 'disk')
    os.mkdir(disk)
    script = f'mount -t tmpfs -o size=512k none {disk} && exec "$@"'
    if os.geteuid() or subprocess.run(['unshare', '--mount', 'sh', '-c', script, 'sh', 'true'],
                                      capture_output=True).returncode:
        raise harness.Skip('mounting needs rights')
    d = started_by(bed, lambda args, **options: subprocess.Popen(['unshare', '--mount', 'sh', '-c', script, 'sh', *args],
                                                                 **options),
                   log={'access': f'{disk}/access.log'})
    inside = f'/proc/{d.process.pid}/root{disk}'
    with open(f'{inside}/filler', 'wb') as f:
        f.write(b'x' * 500000)    # more than all lines together
    requests(d, 300)
    wait_until(lambda: 'No space left on device' in d.log(), 'a full disk')
    requests(d, 20)
    os.unlink(f'{inside}/filler')
    sent = 320

    def room_again():    # the kernel may take its time
        nonlocal sent
        if 'can be written again' in d.log():
            return True
        requests(d, 1, '/more')
        sent += 1
        return False
    wait_until(room_again, 'room again')
    requests(d, 5, '/after')
    wait_until(lambda: logged(f'{inside}/access.log', '/after4'), 'the log goes on')
    broken = [l for l in lines(f'{inside}/access.log') if not is_json(l)]
    assert len(broken) <= 1, broken
    assert not any('/after' in l for l in broken), 'a whole line behind half a one'
    lost = int(re.search(r'(\d+) lines were lost', d.log())[1])
    eq(len(lines(f'{inside}/access.log')) - len(broken) + lost, sent + 5, 'lines written and lost')


def is_json(line):
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def piped(bed, **kw):
    """A daemon whose standard output is a pipe, and the pipe's end to read."""
    read, write = os.pipe()
    d = started_by(bed, lambda args, **options: subprocess.Popen(args, **{**options, 'stdout': write}), **kw)
    os.close(write)
    return d, read


def test_a_log_reader_that_has_gone_stops_no_request(bed):
    d, read = piped(bed)
    requests(d, 3)
    os.close(read)
    for i in range(3):
        requests(d, 5)
        time.sleep(0.12)
    wait_until(lambda: 'cannot be written: Broken pipe' in d.log(), 'a line')
    eq(d.log().count('cannot be written'), 1)
    eq(d.stop(), 0)


def test_a_log_reader_that_does_not_read_stops_neither_requests_nor_the_exit(bed):
    d, read = piped(bed)
    requests(d, 1000, '/a-path-that-fills-the-pipe' + 'x' * 200)
    started = time.monotonic()
    requests(d, 100)
    assert time.monotonic() - started < 2
    started = time.monotonic()
    eq(d.stop(), 0)
    assert 0.9 < time.monotonic() - started < 4, time.monotonic() - started
    assert 'its last lines are lost' in d.log()
    os.close(read)


def test_a_reader_of_the_daemons_log_that_does_not_read_stops_no_request(bed):
    """Who sets the level is logged; so many fill the pipe. Standard error is watched for its start line only."""
    read, write = os.pipe()
    o = bed.origin('o')
    config = bed.write('d.yaml', bed.config('dc1', {'image': {'instances': [o.url]}}))
    p = subprocess.Popen([harness.SCOPEMESHD, '-c', config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=write, cwd=bed.dir)
    bed.processes.append(p)
    text = b''
    while b' ready in ' not in text or not text.endswith(b'\n'):
        text += os.read(read, 65536)
    addr, admin = re.search(r'image (\S+?),.* admin (\S+)', text.decode()).groups()

    def say(c):
        eq(c.ask('PUT', '/v1/log', {'Content-Type': 'application/json'}, b'{"level": "info"}').status, 200)
    with Client(admin) as c:
        for _ in range(1200):
            say(c)
        eq(ask(addr).status, 200)
        text = b''
        while b'could not be logged' not in text:
            text = (text + os.read(read, 65536))[-66000:]
            say(c)
    eq(ask(addr).status, 200)
    p.terminate()
    eq(p.wait(harness.DEADLINE), 0)
    os.close(read)
    os.close(write)


def test_answers_that_are_refused_do_not_fill_the_log(bed):
    d = bed.daemon('dc1', {'image': {'instances': [bed.origin('o', lambda r, s: b'nonsense\r\n\r\n').url]}}, workers=1)
    started = time.monotonic()
    with Client(d.addr('image')) as c:
        for _ in range(50):
            eq(c.ask().status, 502)
    assert 1 <= d.log().count('response refused') <= 2 + time.monotonic() - started, d.log()


def check_rotation(bed, sig):
    where = os.path.join(bed.dir, 'access.log')
    d = bed.daemon('dc1', {'image': {'instances': [bed.origin('o').url]}}, log={'access': where})
    requests(d, 1, '/before')
    wait_until(lambda: logged(where, '/before0'), 'a line')
    shutil.move(where, where + '.1')
    requests(d, 1, '/between')
    wait_until(lambda: logged(where + '.1', '/between0'), 'a line in the old file')
    d.signal(sig)
    wait_until(lambda: os.path.exists(where), 'a new file')
    requests(d, 1, '/after')
    wait_until(lambda: logged(where, '/after0'), 'a line in the new file')
    assert not logged(where + '.1', '/after0')
    eq(os.stat(where).st_mode & 0o777, 0o640)


def test_a_rotated_log_is_opened_again_on_sigusr1(bed):
    check_rotation(bed, harness.signal.SIGUSR1)


def test_a_rotated_log_is_opened_again_on_a_reload(bed):
    check_rotation(bed, harness.signal.SIGHUP)


def test_a_log_that_cannot_be_opened_again_goes_on_as_it_was(bed):
    where = os.path.join(bed.dir, 'logs/access.log')
    os.mkdir(os.path.dirname(where))
    d = bed.daemon('dc1', {'image': {'instances': [bed.origin('o').url]}}, log={'access': where})
    moved = os.path.join(bed.dir, 'moved')
    shutil.move(os.path.dirname(where), moved)
    d.signal(harness.signal.SIGUSR1)
    wait_until(lambda: 'cannot be opened again' in d.log(), 'a line')
    requests(d, 1, '/after')
    wait_until(lambda: logged(f'{moved}/access.log', '/after0'), 'a line in the old file')


if __name__ == '__main__':
    harness.main(globals())
