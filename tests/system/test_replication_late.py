#!/usr/bin/python3
"""An update that comes late (replication.md section 4.3): what was executed before it and is later is executed once more,
which has to be possible, and to do no harm."""
import hashlib

import harness
from harness import eq, group, wait_until
from notes_bed import Notes

JSON_PATCH = {'Content-Type': 'application/json-patch+json'}
SOON = {'queue': {'settle': '1s'}}
LARGE = 200000


def late(notes, meta, earlier, later):
    """`earlier` enters at dc1 and comes to dc2 after `later`, which enters there and is over at both sites."""
    notes.links['dc1', 'dc2'].cut()
    earlier('dc1')
    later('dc2')
    wait_until(lambda: notes.queue('dc2')['pending'] == 0, lambda: f'what entered at dc2 is over: {notes.queue("dc2")}')
    notes.links['dc1', 'dc2'].heal()
    notes.wait_settled()
    eq(notes.stuck('dc1', 'dc2'), [])
    notes.wait_synced(meta, 'dc1', 'dc2')
    notes.wait_synced(meta, 'dc1', 'dc2', site='dc2')


# --- what it takes to execute again ----------------------------------------------------------------

group(globals(), 'what is executed again')


def test_with_the_credentials_of_its_client(bed):
    notes = Notes(bed)
    meta = notes.made()
    for app in notes.apps.values():
        app.fail(401, when=lambda r: r.method == 'PATCH' and not (r.get('authorization') or '').startswith('Bearer of-'))

    def write(**members):
        return lambda site: eq(notes.send(site, 'PATCH', f'/notes/{meta}', members,
                                          {'Authorization': f'Bearer of-{site}'}).status, 200)
    late(notes, meta, write(title='earlier', by_dc1=True), write(title='later'))
    for site in ('dc1', 'dc2'):
        note = notes.note(site, meta)
        eq((note['title'], note['by_dc1']), ('later', True), site)
    eq([r.get('authorization') for r in notes.apps['dc2'].came('PATCH')], ['Bearer of-dc2', 'Bearer of-dc1', 'Bearer of-dc2'])


def test_with_content_that_was_spooled(bed):
    notes = Notes(bed)
    meta = notes.made()
    body = b'x' * LARGE
    late(notes, meta, lambda site: eq(notes.send(site, 'PATCH', f'/notes/{meta}', {'title': 'earlier'}).status, 200),
         lambda site: eq(notes.send(site, 'PUT', f'/notes/{meta}/file', body).status, 204))
    for site in ('dc1', 'dc2'):
        note = notes.note(site, meta)
        eq((note['title'], note['file']['sha256']), ('earlier', hashlib.sha256(body).hexdigest()), site)


def test_large_content_is_not_overwritten_by_what_was_before_it(bed):
    """It is gone when it is over, so the earlier one of the same cannot be put before it."""
    notes = Notes(bed)
    meta = notes.made()

    def put(content):
        return lambda site: eq(notes.send(site, 'PUT', f'/notes/{meta}/file', content).status, 204)
    late(notes, meta, put(b'earlier' * LARGE), put(b'later' * LARGE))
    for site in ('dc1', 'dc2'):
        eq(notes.note(site, meta)['file']['sha256'], hashlib.sha256(b'later' * LARGE).hexdigest(), site)


def rename(notes, meta):
    return lambda site: eq(notes.send(site, 'PATCH', f'/notes/{meta}', {'title': 'earlier'}).status, 200)


def sizes(notes, meta):
    return [(notes.note(s, meta).get('file') or {}).get('size') for s in ('dc1', 'dc2')]


def test_nor_by_what_would_be_executed_again(bed):
    """It cannot follow once more, so that nothing earlier than it may, at its path."""
    notes = Notes(bed)
    meta = notes.made()

    def later(site):
        for content in b'old', b'new' * LARGE:
            eq(notes.send(site, 'PUT', f'/notes/{meta}/file', content).status, 204)
    late(notes, meta, rename(notes, meta), later)
    eq(sizes(notes, meta), [3 * LARGE] * 2)


def test_nor_by_a_delete_of_before(bed):
    notes = Notes(bed)
    meta = notes.made()
    eq(notes.send('dc2', 'PUT', f'/notes/{meta}/file', b'old').status, 204)
    notes.wait_settled()

    def later(site):
        eq(notes.send(site, 'DELETE', f'/notes/{meta}/file').status, 204)
        eq(notes.send(site, 'PUT', f'/notes/{meta}/file', b'new' * LARGE).status, 204)
    late(notes, meta, rename(notes, meta), later)
    eq(sizes(notes, meta), [3 * LARGE] * 2)


def test_large_content_covers_nothing_but_what_it_overwrites(bed):
    """Another query is another thing, and a patch of other members is not in it."""
    notes = Notes(bed)
    meta = notes.made()
    late(notes, meta, lambda site: eq(notes.send(site, 'PUT', f'/notes/{meta}/file?name=a', b'small').status, 204),
         lambda site: eq(notes.send(site, 'PUT', f'/notes/{meta}/file?name=b', b'x' * LARGE).status, 204))
    eq([len(notes.apps[s].done('PUT', '.*name=a')) for s in ('dc1', 'dc2')], [1, 1])
    late(notes, meta, rename(notes, meta),
         lambda site: eq(notes.send(site, 'PATCH', f'/notes/{meta}', {'text': 'x' * LARGE}).status, 200))
    eq([notes.note(s, meta)['title'] for s in ('dc1', 'dc2')], ['earlier'] * 2)


def test_a_delete_below_it_finds_nothing_the_second_time(bed):
    notes = Notes(bed, **SOON)
    meta = notes.made()
    eq(notes.send('dc1', 'PUT', f'/notes/{meta}/file', b'text').status, 204)
    notes.wait_settled()
    late(notes, meta, lambda site: eq(notes.send(site, 'PATCH', f'/notes/{meta}', {'title': 'earlier'}).status, 200),
         lambda site: eq(notes.send(site, 'DELETE', f'/notes/{meta}/file').status, 204))
    eq(len(notes.apps['dc2'].came('DELETE')), 2, 'it was executed again')
    eq([(notes.note(s, meta)['title'], notes.note(s, meta).get('file')) for s in ('dc1', 'dc2')], [('earlier', None)] * 2)


def patch(notes, meta, *operations):
    body = [dict(zip(('op', 'path', 'value'), o)) for o in operations]
    return lambda site: eq(notes.send(site, 'PATCH', f'/notes/{meta}', body, JSON_PATCH).status, 200)


def test_a_patch_of_other_members_is_not_executed_again(bed):
    """It could not be: what it removed is not there."""
    notes = Notes(bed, **SOON)
    meta = notes.made(color='blue')
    late(notes, meta, patch(notes, meta, ('replace', '/title', 'earlier')), patch(notes, meta, ('remove', '/color')))
    eq([len(notes.apps[s].came('PATCH')) for s in ('dc1', 'dc2')], [2, 2])
    eq([(notes.note(s, meta)['title'], 'color' in notes.note(s, meta)) for s in ('dc1', 'dc2')], [('earlier', False)] * 2)


def test_a_patch_is_executed_again_behind_one_that_is(bed):
    """The second names nothing that the late one does, and what the first does, which comes again before it."""
    notes = Notes(bed, **SOON)
    meta = notes.made()

    def later(site):
        patch(notes, meta, ('replace', '/title', 'later'), ('add', '/color', 'red'))(site)
        patch(notes, meta, ('replace', '/color', 'green'))(site)
    late(notes, meta, patch(notes, meta, ('replace', '/title', 'earlier')), later)
    eq([len(notes.apps[s].came('PATCH')) for s in ('dc1', 'dc2')], [3, 5])
    eq([(notes.note(s, meta)['title'], notes.note(s, meta)['color']) for s in ('dc1', 'dc2')], [('later', 'green')] * 2)


if __name__ == '__main__':
    harness.main(globals())
