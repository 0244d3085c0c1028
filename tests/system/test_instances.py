#!/usr/bin/python3
"""Several instances of a service: one that dies costs no request that may be repeated, one that fails is passed over, the
one that is back is used again (proxy/instance.h has the constants)."""
import threading
import time

import harness
from harness import Client, answer, ask, eq, wait_until


class Load:
    """Clients that send requests one after the other until told to stop; keeps what was not 200."""

    def __init__(self, addr, method='GET', body=None, clients=4, headers=()):
        self.addr, self.method, self.body, self.headers = addr, method, body, headers
        self.bad, self.count, self.over = [], 0, threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(clients)]
        for t in self.threads:
            t.start()

    def run(self):
        c = Client(self.addr)
        while not self.over.is_set():
            try:
                r = c.ask(self.method, '/load', self.headers, self.body)
                if r.status != 200:
                    self.bad.append(r)
                if r.get('connection') == 'close':
                    c.close()
                    c = Client(self.addr)
            except OSError as e:
                self.bad.append(e)
                c.close()
                c = Client(self.addr)
            self.count += 1
        c.close()

    def more(self, n=50):
        before = self.count
        wait_until(lambda: self.count >= before + n, 'requests')

    def stop(self):
        self.over.set()
        for t in self.threads:
            t.join(harness.DEADLINE)
        return self.bad


def pair(bed, a=None, b=None, **service):
    origins = [bed.origin('a', a), bed.origin('b', b)]
    d = bed.daemon('dc1', {'image': {'instances': [o.url for o in origins], **service}})
    return d, origins


def since(origin, count):
    return len(origin.requests) - count


def die_and_return(bed, load, **service):
    d, (a, b) = pair(bed, **service)
    work = load(d.addr('image'))
    wait_until(lambda: len(a.requests) > 20 and len(b.requests) > 20, 'both are used')
    a.stop()
    work.more(200)
    died = len(a.requests)
    work.more(100)
    eq(since(a, died), 0, 'requests at the dead one')
    if service:
        wait_until(lambda: ': down' in d.log(), 'probes find it down')
    a.restart()
    wait_until(lambda: since(a, died) > 5, 'the returned one is used')
    work.more(100)
    eq(work.stop(), [], 'failed requests')
    return d


def test_an_instance_that_dies_costs_no_get(bed):
    d = die_and_return(bed, Load)
    assert 'cannot be connected to, passed over for 0.5 s' in d.log(), d.log()
    assert d.log().count('passed over') < 10, 'the log is filled'


def test_an_instance_that_dies_costs_no_put(bed):
    die_and_return(bed, lambda addr: Load(addr, 'PUT', b'content'))


def test_an_instance_that_dies_costs_no_post_with_a_key(bed):
    die_and_return(bed, lambda addr: Load(addr, 'POST', b'content', headers={'Idempotency-Key': '7'}))


def test_an_instance_that_dies_costs_no_get_with_probes(bed):
    d = die_and_return(bed, Load, health={'path': '/h', 'interval': '50ms', 'timeout': '1s', 'rise': 2, 'fall': 2})
    assert ': up' in d.log(), d.log()


def test_services_are_told_which_is_down_and_that_it_is_back(bed):
    d, (a, b) = pair(bed)

    def health():
        found = ask(d.admin, path='/v1/services').json()['services'][0]['instances']
        return [i['health'] for i in found]
    eq(health(), ['unknown', 'unknown'])
    work = Load(d.addr('image'))
    wait_until(lambda: health() == ['up', 'up'], 'both up')
    a.stop()
    wait_until(lambda: health() == ['down', 'up'], 'the dead one down')
    a.restart()
    wait_until(lambda: health() == ['up', 'up'], 'back')
    eq(work.stop(), [])
    assert 'answers again' in d.log()


def test_an_instance_that_fails_is_passed_over(bed):
    """503 is an answer, so clients see some; five in a row, and the other one has all."""
    ill = threading.Event()
    ill.set()
    d, (a, b) = pair(bed, lambda r, s: answer('no', '503 Service Unavailable') if ill.is_set() else answer('a'))
    statuses = [ask(d.addr('image')).status for _ in range(60)]
    assert 5 <= statuses.count(503) <= 12, statuses
    eq(statuses[-10:], [200] * 10, 'at the end')
    assert 'fails, passed over for 0.5 s' in d.log(), d.log()
    ill.clear()
    before = len(a.requests)
    work = Load(d.addr('image'))
    wait_until(lambda: since(a, before) > 5, 'well again and used')
    eq(work.stop(), [])


def test_500_is_the_applications_own_and_ejects_nothing(bed):
    d, (a, b) = pair(bed, lambda r, s: answer('no', '500 Internal Server Error'))
    for _ in range(40):
        ask(d.addr('image'))
    assert len(a.requests) > 10 and 'passed over' not in d.log()


def test_the_only_instance_is_asked_every_time(bed):
    o = bed.origin('o')
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    o.stop()
    for _ in range(5):
        ask(d.addr('image')).problem('no-instance')
    o.restart()
    eq(ask(d.addr('image')).status, 200, 'at once')
    assert 'cannot be connected to' in d.log() and d.log().count('cannot be') == 1, d.log()


def test_all_instances_gone_and_back(bed):
    d, (a, b) = pair(bed)
    for o in (a, b):
        o.stop()
    for _ in range(5):
        eq(ask(d.addr('image')).status, 503)
    b.restart()
    for _ in range(5):
        eq(ask(d.addr('image')).body, b'b', 'the one that is back')


def test_a_slow_instance_gets_less(bed):
    """Least outstanding of two: what answers slowly is asked less often."""
    d, (a, b) = pair(bed, lambda r, s: (time.sleep(0.05), answer('a'))[1])
    work = Load(d.addr('image'), clients=8)
    work.more(400)
    eq(work.stop(), [])
    assert len(a.requests) * 3 < len(b.requests), (len(a.requests), len(b.requests))


if __name__ == '__main__':
    harness.main(globals())
