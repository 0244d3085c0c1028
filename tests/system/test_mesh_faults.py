#!/usr/bin/python3
"""What happens on the way between sites: packets that are late or lost, in one direction or both, machines that vanish
(network namespaces; test_aliveness.py does the like with relays, without rights).  Prints how long each is not noticed."""
import signal
import time

import harness
from harness import eq, wait_until
from islands import Islands

NOTICED, BACK = 20, 10      # seconds


def test_a_killed_daemon(bed):
    """Its machine refuses connections."""
    mesh = Islands(bed)
    mesh.sites['dc2'].kill()
    lost = mesh.wait_state('dc1', 'dc2', 'disconnected', NOTICED)
    assert 'refused' in mesh.seen('dc1', 'dc2')['reason']
    mesh.sites['dc2'].start()
    back = mesh.wait_state('dc1', 'dc2', 'connected', BACK)
    print(f'     kill: noticed after {lost:.1f} s, back after {back:.1f} s')


def test_a_machine_that_vanishes(bed):
    """Nothing tells: packets to it are lost."""
    mesh = Islands(bed)
    mesh.cut('dc1', 'dc2')
    mesh.cut('dc3', 'dc2')
    lost = mesh.wait_state('dc1', 'dc2', 'disconnected', NOTICED)
    started = time.monotonic()
    r = mesh.get('dc1', 'image: dc2; dc3')
    eq((r.status, r.body), (200, b'dc3'), 'otherwise')
    took = time.monotonic() - started
    assert took < 1, f'who is known to be gone is passed over at once, not after {took:.2f} s'
    mesh.heal()
    back = mesh.wait_state('dc1', 'dc2', 'connected', BACK)
    print(f'     machine gone: noticed after {lost:.1f} s, back after {back:.1f} s')


def test_a_paused_daemon(bed):
    """Its kernel goes on taking connections."""
    mesh = Islands(bed)
    mesh.sites['dc2'].signal(signal.SIGSTOP)
    lost = mesh.wait_state('dc1', 'dc2', 'disconnected', NOTICED)
    wait_until(lambda: 'silent' in mesh.seen('dc1', 'dc2')['reason'], 'its reason')
    mesh.sites['dc2'].signal(signal.SIGCONT)
    back = mesh.wait_state('dc1', 'dc2', 'connected', BACK)
    print(f'     pause: noticed after {lost:.1f} s, back after {back:.1f} s')


def test_a_way_that_is_cut_between_two(bed):
    mesh = Islands(bed)
    mesh.cut('dc1', 'dc2')
    lost = mesh.wait_state('dc1', 'dc2', 'disconnected', NOTICED)
    mesh.wait_state('dc2', 'dc1', 'disconnected', NOTICED)
    eq((mesh.state('dc3', 'dc1'), mesh.state('dc3', 'dc2')), ('connected', 'connected'))
    eq(mesh.get('dc1', 'image: dc2; dc3').body, b'dc3')
    mesh.heal()
    back = mesh.wait_state('dc1', 'dc2', 'connected', BACK)
    print(f'     cut: noticed after {lost:.1f} s, back after {back:.1f} s')


def test_a_way_that_is_cut_in_one_direction(bed):
    """No connection lives on one direction alone, so both ends notice; neither calls it a death at once."""
    mesh = Islands(bed)
    mesh.cut('dc1', 'dc2', back=False)
    lost = mesh.wait_state('dc1', 'dc2', 'disconnected', NOTICED)
    other = lost + mesh.wait_state('dc2', 'dc1', 'disconnected', NOTICED)
    eq(mesh.get('dc2', 'image: dc1; dc3').body, b'dc3')
    mesh.heal()
    back = mesh.wait_state('dc1', 'dc2', 'connected', BACK)
    mesh.wait_state('dc2', 'dc1', 'connected', BACK)
    print(f'     one way: noticed after {lost:.1f} s by the sender, {other:.1f} s by the receiver, back after {back:.1f} s')


def test_delays_and_what_is_measured_of_them(bed):
    ms = {('dc1', 'dc2'): 10, ('dc1', 'dc3'): 80, ('dc2', 'dc3'): 300}
    mesh = Islands(bed)
    for (a, b), rtt in ms.items():
        mesh.set_delay(a, b, rtt / 2000)

    def error(a, b):
        return mesh.seen(a, b)['rtt_ms'] - ms[tuple(sorted((a, b)))]
    pairs = [(a, b) for a in mesh.names for b in mesh.names if a != b]
    # until the samples from before are forgotten
    wait_until(lambda: all(abs(error(a, b)) < 20 for a, b in pairs), 'distances follow the delays', 30)
    errors = [error(a, b) for a, b in pairs]
    print(f'     delays of 10, 80 and 300 ms: errors {min(errors):.1f} to {max(errors):.1f} ms')
    assert all(mesh.state(a, b) == 'connected' for a, b in pairs), 'a slow way is no death'
    assert all(' disconnected' not in d.log() for d in mesh.sites.values())
    eq(mesh.get('dc2', 'image: dc3').body, b'dc3', 'a request over 300 ms')


def test_an_edit_of_the_sites_is_in_force(bed):
    mesh = Islands(bed)
    with open(f'{bed.dir}/dc1/sites.yaml') as f:
        text = f.read()
    eq(mesh.get('dc1', 'image: dc4; dc2').status, 400)
    started = time.monotonic()
    bed.write('dc1/sites.yaml', text.replace('"dc3":', '"dc4": {"mesh": "10.77.0.4:7400"}, "dc3":'))
    wait_until(lambda: mesh.get('dc1', 'image: dc2; dc4').status == 200, 'the new site is known')
    print(f'     from the edit to the first request that uses it: {time.monotonic() - started:.2f} s')


if __name__ == '__main__':
    harness.main(globals())
