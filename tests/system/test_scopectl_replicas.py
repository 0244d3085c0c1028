#!/usr/bin/python3
"""scopectl replicas and queue against a daemon whose store was filled before it started (spec section 6)."""
import json

import harness
from harness import eq, run_program
from test_replicas import get, meta, op, operation, replicated, seed


def scopectl(d, *words, status=0):
    p = run_program(harness.SCOPECTL, '--admin', f'http://{d.admin}', *words)
    eq(p.returncode, status, (words, p.stdout, p.stderr))
    return p.stdout if not status else p.stderr


def filled(bed):
    seed(bed, replicated(1, states=('synced', 'held'), reason='credentials') + replicated(2) +
         replicated(3, service='compute', collection='/servers') + replicated(1, service='compute', collection='/servers') +
         [operation(1), ('delivery', op(1), 'dc1', 'done', 1, 200, 0, 0, ''),
          ('delivery', op(1), 'dc2', 'held', 2, 401, 0, 0, 'credentials'),
          ('rule', 'image', '/v2/images', '{"id": "$.id"}', 0)])
    return bed.daemon('dc1', {'image': {}})


def rows(text):
    return [line.split() for line in text.splitlines()[1:]]


def test_replicas_as_a_table_and_chosen(bed):
    d = filled(bed)
    out = scopectl(d, 'replicas')
    eq(out.splitlines()[0].split()[:3], ['META', 'ID', 'SERVICE'])
    eq([r[0] for r in rows(out)], [meta(1), meta(2), meta(3), meta(1)])
    assert 'dc1 synced, dc2 held (credentials)' in out, out
    eq([r[1] for r in rows(scopectl(d, 'replicas', '--service', 'compute'))], ['compute', 'compute'])
    eq([r[0] for r in rows(scopectl(d, 'replicas', '--site', 'dc2', '--state', 'held', '--service', 'image'))], [meta(1)])
    eq(scopectl(d, 'replicas', '--site', 'dc1', '--state', 'held', '--service', 'image'), 'no replica is like that\n')
    eq(json.loads(scopectl(d, '--json', 'replicas', '--service', 'image')), get(d, '/v1/replicas?limit=1000&service=image'))


def test_one_replica_in_full(bed):
    d = filled(bed)
    out = scopectl(d, 'replicas', meta(1), '--service', 'image')
    for text in ('meta id', meta(1), 'local-dc2-image', 'credentials', op(1), 'dc1 done, dc2 held'):
        assert text in out, (text, out)
    assert 'several services' in scopectl(d, 'replicas', meta(1), status=1)
    assert 'no replica' in scopectl(d, 'replicas', meta(9), status=1)
    eq(json.loads(scopectl(d, '--json', 'replicas', meta(2)))['meta_id'], meta(2))


def test_queue_and_one_operation(bed):
    d = filled(bed)
    out = scopectl(d, 'queue')
    eq([r[:3] for r in rows(out)], [[op(1), 'dc2', 'held']])
    out = scopectl(d, 'queue', 'show', op(1))
    for text in (op(1), meta(1), 'PUT', '401', 'done', 'credentials'):
        assert text in out, (text, out)
    assert 'nothing under this name' in scopectl(d, 'queue', 'show', op(9), status=1)
    assert 'no identifier of an operation' in scopectl(d, 'queue', 'show', 'nonsense', status=2)
    eq(json.loads(scopectl(d, 'queue', '--json'))['pending'], 1)


def test_rules_are_shown_pinned_and_unpinned(bed):
    d = filled(bed)
    eq(rows(scopectl(d, 'replicas', 'rules')), [['image', '/v2/images', 'no', '{"id":"$.id"}']])
    eq(scopectl(d, 'replicas', 'rules', 'pin', '/v2/images', '--service', 'image'), 'image /v2/images: pinned\n')
    eq(rows(scopectl(d, 'replicas', 'rules'))[0][2], 'yes')
    eq(scopectl(d, 'replicas', 'rules', 'unpin', '/v2/images', '--service', 'image'), 'image /v2/images: not pinned\n')
    assert 'nothing under this name' in scopectl(d, 'replicas', 'rules', 'pin', '/v2/imag', '--service', 'image', status=1)
    eq(scopectl(d, 'replicas', 'rules', '--service', 'compute'), 'no rules have been learned\n')


def test_a_sentence_where_there_is_nothing(bed):
    d = bed.daemon('dc1', {'image': {}})
    eq(scopectl(d, 'replicas'), 'there are no replicas at this site\n')
    eq(scopectl(d, 'queue'), 'the queue is empty: nothing waits for any site\n')
    eq(scopectl(d, 'replicas', 'rules'), 'no rules have been learned\n')
    eq(json.loads(scopectl(d, '--json', 'queue')), {'pending': 0, 'queue': [], 'next': None})


def test_more_than_a_page_is_one_table(bed):
    seed(bed, [r for n in range(2100) for r in replicated(n)])
    d = bed.daemon('dc1', {'image': {}})
    eq(len({r[0] for r in rows(scopectl(d, 'replicas'))}), 2100)


def test_wrong_words_are_2_and_no_daemon_is_3(bed):
    d = bed.daemon('dc1', {'image': {}})
    for words, text in ((['replicas', 'a', 'b'], 'found "b" too'), (['replicas', '--stae', 'x'], 'did you mean --state?'),
                        (['replicas', 'rules', 'pin'], 'the collection is missing'), (['replicas', 'rules', 'pim'], 'pin or unpin'),
                        (['replicas', 'rules', 'pin', '/a'], '--service is missing'), (['replicas', 'repair', 'x'], 'found "x" too'),
                        (['replicas', 'repair'], 'not in this version'), (['replicas', 'x', '--site', 'dc1'], 'for the list'),
                        (['replicas', '--state', 'synchronised'], 'state is none'), (['queue', 'retry'], 'operation is missing'), (['queue', 'settle', 'x'], '--as done'),
                        (['queue', 'sho'], 'did you mean show?'), (['queue', 'show'], 'the operation is missing'),
                        (['queue', 'show', 'a', 'b'], 'found "b" too'), (['replicas', 'rules', '--site', 'a'], 'neither')):
        err = scopectl(d, *words, status=2)
        assert text in err, (words, err)
    for words in (['replicas'], ['replicas', 'x'], ['replicas', 'rules'], ['queue'], ['queue', 'show', op(1)],
                  ['replicas', 'rules', 'pin', '/a', '--service', 's']):
        eq(run_program(harness.SCOPECTL, '--admin', f'http://127.0.0.1:{harness.free_port()}', *words).returncode, 3, words)


if __name__ == '__main__':
    harness.main(globals())
