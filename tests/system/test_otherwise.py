#!/usr/bin/python3
"""`;`: when the next alternative is tried, and when it must not be (spec section 3, certainty of execution)."""
import time

import harness
from harness import Reader, answer, ask, eq, reset, wait_until

EITHER = {'X-Scope': 'image: dc2; dc1'}


def pair(bed, at_dc2, local=None, links=None, **top):
    """dc1 answers b'dc1'; the instance of dc2 does as at_dc2 says. Returns sites, origin 1, origin 2."""
    o1, o2 = bed.origin('dc1'), bed.origin('dc2', at_dc2)
    options = top.pop('options', {})
    sites = bed.mesh({'dc1': {'image': {'instances': [o1.url], **options}},
                      'dc2': {'image': {'instances': [o2.url], **options}}}, links=links, **top)
    return sites, o1, o2


def reset_it(request, sock):
    reset(sock)


def test_the_first_alternative_answers_when_it_can(bed):
    sites, o1, o2 = pair(bed, None)
    r = ask(sites['dc1'].addr('image'), headers=EITHER)
    eq((r.status, r.body, len(o1.requests)), (200, b'dc2', 0))


def test_a_stopped_instance_moves_on_even_for_post(bed):
    sites, o1, o2 = pair(bed, None)
    o2.stop()
    r = ask(sites['dc1'].addr('image'), 'POST', headers=EITHER, body=b'body')
    eq((r.status, r.body, r.get('x-scope-served-by')), (200, b'dc1', 'dc1'))
    eq(o1.last.body, b'body')


def test_a_dead_site_moves_on(bed):
    sites, o1, o2 = pair(bed, None)
    sites['dc2'].kill()
    for method, body in (('GET', None), ('POST', b'x' * 300000), ('DELETE', None)):
        r = ask(sites['dc1'].addr('image'), method, headers=EITHER, body=body)
        eq((r.status, r.body), (200, b'dc1'), method)
        if body:
            eq(o1.last.body, body)
    r = ask(sites['dc1'].addr('image'), headers={'X-Scope': 'image: dc2'})
    eq(r.status, 503)
    doc = r.problem('unreachable')
    eq((doc['site'], doc['from']), ('dc2', 'dc1'))


def test_a_site_that_comes_back_is_used_again(bed):
    sites, o1, o2 = pair(bed, None)
    sites['dc2'].kill()
    eq(ask(sites['dc1'].addr('image'), headers=EITHER).body, b'dc1')
    sites['dc2'].start()
    wait_until(lambda: ask(sites['dc1'].addr('image'), headers=EITHER).body == b'dc2', 'dc2 to be used again')


def test_no_instance_at_the_other_side_moves_on(bed):
    o1 = bed.origin('dc1')
    sites = bed.mesh({'dc1': {'image': {'instances': [o1.url]}}, 'dc2': {'image': {'instances': []}}})
    r = ask(sites['dc1'].addr('image'), 'POST', headers=EITHER, body=b'x')
    eq((r.status, r.body), (200, b'dc1'))


def test_when_every_alternative_fails_the_answer_says_so(bed):
    sites, o1, o2 = pair(bed, None)
    o1.stop()
    o2.stop()
    r = ask(sites['dc1'].addr('image'), 'POST', headers=EITHER, body=b'x')
    eq(r.status, 503)
    assert r.json()['type'] in ('urn:scopemesh:unreachable', 'urn:scopemesh:no-instance'), r


def test_get_moves_on_after_a_reset(bed):
    sites, o1, o2 = pair(bed, reset_it)
    for method in ('GET', 'HEAD', 'OPTIONS'):
        r = ask(sites['dc1'].addr('image'), method, headers=EITHER)
        eq((r.status, r.get('x-scope-served-by')), (200, 'dc1'), method)


def test_post_after_a_reset_is_outcome_unknown_and_never_sent_twice(bed):
    sites, o1, o2 = pair(bed, reset_it)
    for method in ('POST', 'PATCH'):
        before = len(o2.requests)
        r = ask(sites['dc1'].addr('image'), method, headers=EITHER, body=b'once')
        eq(r.status, 504, method)
        r.problem('outcome-unknown')
        eq((len(o2.requests) - before, len(o1.requests)), (1, 0), 'times it was sent')


def test_post_on_a_kept_connection_that_has_died_is_never_sent_twice(bed):
    """The kept connection is reset when the second request arrives on it: outcome unknown all the same."""
    count = [0]

    def once(request, sock):
        count[0] += 1
        return reset(sock) if request.method == 'POST' else answer('warm')
    o = bed.origin('o', once)
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    eq(ask(d.addr('image')).body, b'warm')
    r = ask(d.addr('image'), 'POST', body=b'once')
    eq((r.status, count[0]), (504, 2))


def test_an_idle_connection_closed_by_the_instance_costs_no_request(bed):
    """Closed while idle, before any byte of the next request: nothing was executed, so it is sent again."""
    o = bed.origin('o', lambda r, s: s.sendall(answer('once')))      # None: closes after the answer
    d = bed.daemon('dc1', {'image': {'instances': [o.url]}})
    for _ in range(5):
        eq(ask(d.addr('image'), 'POST', body=b'x').status, 200)
        wait_until(lambda: not o.open, 'the instance to close')
    eq(len(o.requests), 5)


def test_put_and_idempotency_key_are_repeated_at_the_same_site(bed):
    for method, extra in (('PUT', {}), ('DELETE', {}), ('POST', {'Idempotency-Key': '"k1"'})):
        seen = []

        def second_time(request, sock):
            seen.append(request)
            return reset(sock) if len(seen) == 1 else answer('dc2')
        sites, o1, o2 = pair(bed, second_time)
        r = ask(sites['dc1'].addr('image'), method, headers={**EITHER, **extra}, body=b'again')
        eq((r.status, r.body, r.get('x-scope-served-by')), (200, b'dc2', 'dc2'), method)
        eq([q.body for q in seen], [b'again'] * 2)
        eq(len(o1.requests), 0, f'{method} at another site')
        for d in sites.values():
            d.stop()


def test_put_that_stays_unknown_ends_in_504_and_goes_nowhere_else(bed):
    sites, o1, o2 = pair(bed, reset_it, timeouts={'response': '1s'})
    r = ask(sites['dc1'].addr('image'), 'PUT', headers=EITHER, body=b'x')
    eq(r.status, 504)
    r.problem('outcome-unknown')
    eq(len(o1.requests), 0)
    assert len(o2.requests) >= 2, len(o2.requests)


def test_fallback_on_adds_statuses(bed):
    sites, o1, o2 = pair(bed, lambda r, s: answer('broken', '500 Internal Server Error'),
                         options={'fallback_on': [500]})
    r = ask(sites['dc1'].addr('image'), headers=EITHER)
    eq((r.status, r.body), (200, b'dc1'))
    r = ask(sites['dc1'].addr('image'), headers={'X-Scope': 'image: dc2'})
    eq((r.status, r.body), (500, b'broken'), 'the last alternative keeps its answer')


def test_answers_of_the_application_are_no_failures(bed):
    status = ['']
    sites, o1, o2 = pair(bed, lambda r, s: answer('own', status[0]))
    for status[0] in ('300 Multiple Choices', '404 Not Found', '409 Conflict', '500 Internal Server Error',
                      '503 Service Unavailable'):
        r = ask(sites['dc1'].addr('image'), headers=EITHER)
        eq((r.status, r.body), (int(status[0][:3]), b'own'))
    eq(len(o1.requests), 0)


def test_a_silent_instance_times_out(bed):
    def silent(request, sock):
        Reader(sock).to_end()
    sites, o1, o2 = pair(bed, silent, timeouts={'response': '300ms'})
    started = time.monotonic()
    r = ask(sites['dc1'].addr('image'), headers=EITHER)
    eq((r.status, r.body), (200, b'dc1'), 'GET')
    r = ask(sites['dc1'].addr('image'), 'POST', headers=EITHER, body=b'x')
    eq(r.status, 504)
    assert time.monotonic() - started < 5


def test_a_link_that_swallows_everything_does_not_hold_a_get(bed):
    relays = {}

    def through(name, addr):
        relays[name] = bed.relay(addr)
        return relays[name].addr
    sites, o1, o2 = pair(bed, None, links=through, timeouts={'response': '500ms', 'connect': '500ms'})
    eq(ask(sites['dc1'].addr('image'), headers=EITHER).body, b'dc2')
    relays['dc2'].pause()
    eq(ask(sites['dc1'].addr('image'), headers=EITHER).body, b'dc1')
    relays['dc2'].resume()


def test_an_answer_lost_on_the_way_back_is_unknown_for_post(bed):
    relays = {}

    def through(name, addr):
        relays[name] = bed.relay(addr)
        return relays[name].addr
    sites, o1, o2 = pair(bed, None, links=through, timeouts={'response': '500ms', 'connect': '500ms'})
    eq(ask(sites['dc1'].addr('image'), headers=EITHER).body, b'dc2')
    relays['dc2'].pause('from')
    r = ask(sites['dc1'].addr('image'), 'POST', headers=EITHER, body=b'x')
    eq(r.status, 504)
    r.problem('outcome-unknown')
    relays['dc2'].resume()
    eq((len([q for q in o2.requests if q.method == 'POST']), len(o1.requests)), (1, 0))


def test_local_work_goes_on_while_everything_else_is_cut_off(bed):
    relays = {}

    def through(name, addr):
        relays[name] = bed.relay(addr)
        return relays[name].addr
    sites, origins = bed.three(links=through)
    for r in relays.values():
        r.cut()
    for name, d in sites.items():
        r = ask(d.addr('image'), 'POST', body=b'x')
        eq((r.status, r.body), (200, name.encode()))


def test_around_falls_back_to_a_near_site(bed):
    sites, origins = bed.three()
    wait_until(lambda: all(s['rtt_ms'] is not None for s in ask(sites['dc1'].admin, path='/v1/sites').json()['sites']),
               'round trips')
    origins['dc2'].stop()
    r = ask(sites['dc1'].addr('image'), headers={'X-Scope': 'image: around(dc2, 1s)'})
    eq(r.status, 200)
    assert r.body in (b'dc1', b'dc3'), r


if __name__ == '__main__':
    harness.main(globals())
