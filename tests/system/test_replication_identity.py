#!/usr/bin/python3
"""Identifiers (replication.md section 2): a resource has one name through the mesh and another in each application, and
neither is ever taken for the other."""
import re
import shutil
import threading
import time
import uuid

import harness
from harness import ask, eq, group, wait_until
from notes_bed import CHILDREN, DECLARED, UUID8, Notes, both, no_local_ids

THREE = ('dc1', 'dc2', 'dc3')


def declared(**more):
    return [{**DECLARED, **more}, CHILDREN]


# --- a mesh id without mapping here ----------------------------------------------------------------

group(globals(), 'where nothing is known of it')


def test_a_read_goes_to_the_home(bed):
    notes = Notes(bed, THREE)
    meta = notes.made()
    r = notes.read('dc3', meta)
    eq((r.status, r.json()['id'], r.get('x-scope-served-by')), (200, meta, 'dc1'))
    eq(notes.apps['dc3'].arrived, [])


def test_it_never_reaches_an_application_that_would_create_it(bed):
    """Behind a cut neither 404 nor a second resource: 503."""
    notes = Notes(bed, THREE, apps={'upsert': True})
    meta = notes.made()
    notes.cut(('dc3', 'dc1'), ('dc3', 'dc2'))
    for method, below in (('GET', ''), ('HEAD', ''), ('PUT', ''), ('PATCH', ''), ('DELETE', ''), ('POST', '/items'),
                          ('POST', '/actions'), ('PUT', '/file'), ('GET', '/items')):
        body = {'title': 'never'} if method in ('PUT', 'PATCH', 'POST') else None
        r = notes.send('dc3', method, f'/notes/{meta}{below}', body)
        eq(r.status, 503, f'{method} {below}')
    eq(notes.apps['dc3'].arrived, [])
    notes.heal(('dc3', 'dc1'), ('dc3', 'dc2'))
    wait_until(lambda: notes.read('dc3', meta).status == 200, 'the way to its home is used again')
    eq(notes.note('dc1', meta)['title'], 'one')


def test_a_site_that_the_scope_names_is_asked_for_it(bed):
    """The home is cut off, and dc2 knows."""
    notes = Notes(bed, THREE)
    meta = notes.made()
    notes.cut(('dc3', 'dc1'))
    r = notes.read('dc3', meta, {'X-Scope': 'notes: dc2'})
    eq((r.status, r.json()['id'], r.get('x-scope-served-by')), (200, meta, 'dc2'))


def test_one_that_was_never_made_is_404_of_the_mesh(bed):
    """All begin anew, so its home knows of none; no application is asked."""
    notes = Notes(bed, THREE, apps={'upsert': True})
    meta = notes.made()
    for site in THREE:
        notes.sites[site].stop()
        shutil.rmtree(f'{notes.sites[site].dir}/state')
        notes.apps[site].arrived.clear()
    for site in THREE:
        notes.sites[site].start()
    notes.wait_connected()
    for site in THREE:
        for method in ('GET', 'PUT', 'DELETE'):
            r = notes.send(site, method, f'/notes/{meta}', {'title': 'never'} if method == 'PUT' else None)
            r.problem('no-replica-there')
            eq((r.status, notes.apps[site].arrived), (404, []), f'{method} at {site}')


def test_a_scope_that_names_a_site_without_a_replica_says_where_there_are(bed):
    notes = Notes(bed, THREE)
    meta = notes.made()
    r = notes.read('dc1', meta, {'X-Scope': 'notes: dc3'})
    eq(r.status, 404)
    eq(sorted(r.problem('no-replica-there')['known']), ['dc1', 'dc2'])
    eq(notes.apps['dc3'].arrived, [])
    r = notes.read('dc1', meta, {'X-Scope': 'notes: dc3; dc2'})
    eq((r.status, r.get('x-scope-served-by')), (200, 'dc2'), 'the alternative has one')


# --- one names table for all services --------------------------------------------------------------

group(globals(), 'between services')


def test_a_service_knows_another_ones_replicas_by_their_mesh_id(bed):
    """The notes of dc2 hand on their own local id, as Nova does to Glance; what the pads keep is the one name that both
    sites have for it."""
    notes = Notes(bed, ids='uuid', pads=True)
    meta = notes.made()
    r = notes.send('dc2', 'POST', '/notes', {'title': 'plain'})
    eq(r.status, 201, 'a plain note beside it')
    local = notes.local(meta, 'dc2')
    r = notes.send('dc2', 'POST', '/notes', {'title': 'pad', 'of': local}, service='pads')
    pad = notes.pads['dc2'].by_title('pad')[0]
    eq((pad['of'], r.json()['of']), (meta, meta), 'in the application of pads, and in its answer')
    pad_local = pad['id']
    eq(r.json()['id'], pad_local, 'a plain pad keeps its own id')


def test_a_replicated_create_names_another_replica_by_the_id_that_holds_everywhere(bed):
    notes = Notes(bed, ids='uuid', pads=True)
    meta = notes.made()
    local = notes.local(meta, 'dc1')
    r = notes.send('dc1', 'POST', '/notes', {'title': 'pad', 'of': local}, {'X-Scope': 'pads: dc1 & dc2'}, 'pads')
    eq(r.status, 201)
    for site in ('dc1', 'dc2'):
        wait_until(lambda s=site: notes.pads[s].by_title('pad'), f'the pad at {site}')
        eq(notes.pads[site].by_title('pad')[0]['of'], meta, f'at {site}')


def test_a_nested_call_with_the_mesh_id_finds_the_local_replica(bed):
    notes = Notes(bed, ids='uuid', pads=True)
    meta = notes.made()
    for site in ('dc1', 'dc2'):
        wish = {'url': f'http://{notes.sites[site].addr("notes")}/notes/{meta}'}
        r = notes.send(site, 'POST', '/calls', wish, service='pads')
        eq((r.status, r.json()['id']), (200, meta), site)
        eq(notes.apps[site].came('GET', '/notes/.*')[-1].path, f'/notes/{notes.local(meta, site)}')


def test_an_own_id_in_a_request_is_made_local(bed):
    notes = Notes(bed, ids='uuid')
    meta, other = notes.made(), notes.made(title='two')
    r = notes.send('dc2', 'PATCH', f'/notes/{other}', {'see': f'it is {meta}, really', 'not': meta + '0'})
    eq(r.status, 200, r)
    for site in ('dc1', 'dc2'):
        notes.wait_note(other, {'see': f'it is {notes.local(meta, site)}, really', 'not': meta + '0'}, site)
        shown = notes.read(site, other).json()
        eq((shown['see'], shown['not']), (f'it is {meta}, really', meta + '0'))


def test_query_values_are_names_too(bed):
    notes = Notes(bed, ids='uuid')
    meta = notes.made()
    for site in ('dc1', 'dc2'):
        notes.send(site, 'GET', f'/notes?marker={meta}&text=x')
        eq(notes.apps[site].came('GET')[-1].path, f'/notes?marker={notes.local(meta, site)}&text=x')


# --- in representations ----------------------------------------------------------------------------

group(globals(), 'in representations')


def test_short_ids_that_equal_users_data_change_nothing_else(bed):
    notes = Notes(bed, ids='integer')
    meta = notes.made(text='100001 and 2000001', number=100001, list=[100001, '100001', 2000001], items_like={'of': 100001})
    sent = {'text': '100001 and 2000001', 'number': 100001, 'list': [100001, '100001', 2000001], 'items_like': {'of': 100001}}
    for site in ('dc1', 'dc2'):
        notes.wait_note(meta, sent, site)
        shown = notes.read(site, meta).json()
        eq({k: shown[k] for k in sent}, sent, f'read at {site}')
        eq(str(shown['id']), meta)
        listed = notes.send(site, 'GET', '/notes').json()[0]
        eq(({k: listed[k] for k in sent}, str(listed['id'])), (sent, meta), f'listed at {site}')


def test_short_random_ids_that_equal_words_change_nothing_else(bed):
    notes = Notes(bed, ids='short', apps={'status': 201})
    meta = notes.made()
    words = {s: notes.local(meta, s) for s in ('dc1', 'dc2')}
    text = f'{words["dc1"]} {words["dc2"]}'
    eq(notes.send('dc1', 'PATCH', f'/notes/{meta}', {'text': text, 'tag': words['dc2']}).status, 200)
    for site in ('dc1', 'dc2'):
        notes.wait_note(meta, {'text': text, 'tag': words['dc2']}, site)
        eq({k: v for k, v in notes.read(site, meta).json().items() if k in ('text', 'tag')}, {'text': text, 'tag': words['dc2']})


def links_and_lists(bed, wrapped, **options):
    notes = Notes(bed, apps={'wrapped': wrapped, 'absolute': True}, **options)
    metas = [notes.made(title=f'n{n}') for n in range(3)]
    for site in ('dc1', 'dc2'):
        r = notes.send(site, 'GET', '/notes')
        listed = r.json()['notes'] if wrapped else r.json()
        eq([n['id'] for n in listed], metas, site)
        eq([n['self'].rsplit('/', 1)[1] for n in listed], metas, site)
        no_local_ids(r, *notes.apps[site].notes)


def test_self_links_and_lists_show_the_mesh_id(bed):
    links_and_lists(bed, False)


def test_nested_lists_of_undeclared_uuids_show_the_mesh_id(bed):
    links_and_lists(bed, True, ids='uuid', resources=[])


def test_a_list_shows_plain_resources_as_they_are(bed):
    notes = Notes(bed)
    plain = notes.send('dc1', 'POST', '/notes', {'title': 'plain'}).json()['id']
    meta = notes.made(title='replicated')
    eq([n['id'] for n in notes.send('dc1', 'GET', '/notes').json()], [plain, meta])
    eq(notes.send('dc1', 'GET', f'/notes/{plain}').json()['title'], 'plain')


def test_gzip_that_nobody_asked_for_is_inflated(bed):
    notes = Notes(bed, ids='uuid', apps={'zipped': True})
    r = notes.create()
    meta = r.get('x-scope-meta-id')
    eq((r.status, r.json()['id'], r.get('content-encoding')), (201, meta, None))
    notes.wait_synced(meta, 'dc1', 'dc2')
    for site in ('dc1', 'dc2'):
        for path in ('/notes', f'/notes/{meta}'):
            r = notes.send(site, 'GET', path, headers={'Accept-Encoding': 'gzip, br'})
            eq(r.get('content-encoding'), None)
            no_local_ids(r, notes.local(meta, site))
            assert meta.encode() in r.body, r
        asked = notes.apps[site].came('GET')[-1].get('accept-encoding')
        assert asked in (None, 'identity', ''), f'{site} was asked for {asked}'


def test_head_follows(bed):
    notes = Notes(bed)
    meta = notes.made()
    for site in ('dc1', 'dc2'):
        whole, head = notes.read(site, meta), notes.send(site, 'HEAD', f'/notes/{meta}')
        eq((head.status, head.body, head.get('etag')), (200, b'', whole.get('etag')))
        assert head.get('content-length') in (None, str(len(whole.body))), head
        no_local_ids(head, notes.local(meta, site))


def test_entity_tags_carry_their_site(bed):
    """The same tag of two sites need not be the same representation."""
    notes = Notes(bed)
    meta = notes.made()
    tags = {s: notes.read(s, meta).get('etag') for s in ('dc1', 'dc2')}
    assert tags['dc1'] != tags['dc2'] and all(s in t for s, t in tags.items()), tags


def test_a_list_during_a_slow_create_shows_no_local_id(bed):
    """The application has it already, and its answer has not come."""
    notes = Notes(bed)
    late = notes.apps['dc1'].fail('late', times=1)
    answers = []
    t = threading.Thread(target=lambda: answers.append(notes.create()), daemon=True)
    t.start()
    wait_until(lambda: notes.apps['dc1'].notes, 'the application has it')
    threading.Timer(0.7, late.release.set).start()
    started = time.monotonic()
    listed = notes.send('dc1', 'GET', '/notes')
    waited = time.monotonic() - started
    t.join(harness.DEADLINE)
    meta = answers[0].get('x-scope-meta-id')
    eq([n['id'] for n in listed.json()], [meta])
    assert waited >= 0.4, f'the list came after {waited:.2f} s, before the create had ended'


def test_a_list_waits_for_a_slow_create_no_longer_than_five_seconds(bed):
    notes = Notes(bed)
    late = notes.apps['dc1'].fail('late', times=1)
    t = threading.Thread(target=notes.create, daemon=True)
    t.start()
    wait_until(lambda: notes.apps['dc1'].notes, 'the application has it')
    started = time.monotonic()
    eq(notes.send('dc1', 'GET', '/notes').status, 200)
    waited = time.monotonic() - started
    other = time.monotonic()
    eq(notes.send('dc1', 'GET', '/other').status, 200)
    assert time.monotonic() - other < 1, 'what shows no note does not wait'
    late.release.set()
    t.join(harness.DEADLINE)
    assert 4 < waited < 7, f'it waited {waited:.1f} s'


# --- children --------------------------------------------------------------------------------------

group(globals(), 'children')


def children(bed, resources):
    notes = Notes(bed, resources=resources)
    for site, n in (('dc1', 1), ('dc2', 3)):        # so that item ids differ between the sites
        plain = notes.send(site, 'POST', '/notes', {'title': 'plain'}).json()['id']
        for i in range(n):
            notes.send(site, 'POST', f'/notes/{plain}/items', {'name': f'plain {i}'})
    meta = notes.made()
    child = {}
    for site, name in (('dc1', 'milk'), ('dc2', 'bread')):
        r = notes.send(site, 'POST', f'/notes/{meta}/items', {'name': name})
        child[name] = r.get('x-scope-meta-id')
        eq((r.status, str(r.json()['id'])), (201, child[name]), r)
        eq(r.get('location'), f'/notes/{meta}/items/{child[name]}')
        assert re.fullmatch(UUID8, child[name]), r
        for there in ('dc1', 'dc2'):
            wait_until(lambda t=there, n=name: n in [i['name'] for i in notes.note(t, meta)['items']], f'{name} at {there}')
    notes.wait_idle('dc1', 'dc2')
    return notes, meta, child


def use_children(notes, meta, child):
    for site in ('dc1', 'dc2'):
        listed = notes.send(site, 'GET', f'/notes/{meta}/items')
        eq({str(i['id']): i['name'] for i in listed.json()}, {v: k for k, v in child.items()}, f'children at {site}')
        eq(notes.send(site, 'GET', f'/notes/{meta}/items/{child["milk"]}').json()['name'], 'milk')
    eq(notes.send('dc2', 'PUT', f'/notes/{meta}/items/{child["milk"]}', {'name': 'oat milk'}).status, 200)
    eq(notes.send('dc1', 'DELETE', f'/notes/{meta}/items/{child["bread"]}').status, 204)
    for there in ('dc1', 'dc2'):
        wait_until(lambda t=there: [i['name'] for i in notes.note(t, meta)['items']] == ['oat milk'],
                   lambda t=there: f'the one child at {t}: {notes.note(t, meta)}')
        plain = notes.apps[there].by_title('plain')[0]
        assert all(i['name'].startswith('plain') for i in plain['items']), 'others were left alone'
        assert len(plain['items']) in (1, 3), plain


def test_children_have_identifiers_of_their_own(bed):
    use_children(*children(bed, (DECLARED, CHILDREN)))


def test_children_of_learned_resources(bed):
    use_children(*children(bed, ()))


def test_a_child_is_where_its_parent_is(bed):
    notes = Notes(bed, THREE)
    meta = notes.made()
    r = notes.send('dc3', 'POST', f'/notes/{meta}/items', {'name': 'from afar'})
    eq(r.status, 201, r)
    for there in ('dc1', 'dc2'):
        wait_until(lambda t=there: [i['name'] for i in notes.note(t, meta)['items']] == ['from afar'], f'child at {there}')
    eq(notes.apps['dc3'].arrived, [])


# --- options of a collection -----------------------------------------------------------------------

group(globals(), 'options')


def test_a_write_to_the_whole_collection_is_refused(bed):
    notes = Notes(bed)
    notes.made()
    eq(notes.send('dc1', 'DELETE', '/notes').status, 409)
    eq(notes.send('dc1', 'PATCH', '/notes', {'x': 1}).status, 409)
    eq([len(a.notes) for a in notes.apps.values()], [1, 1])
    eq([a.came('DELETE') for a in notes.apps.values()], [[], []])


def test_a_write_to_a_collection_without_replicas_passes(bed):
    notes = Notes(bed)
    notes.send('dc1', 'POST', '/notes', {'title': 'plain'})
    eq(notes.send('dc1', 'DELETE', '/notes').status, 204)
    eq(notes.apps['dc1'].notes, {})


def test_bulk_allow_lets_it_through(bed):
    notes = Notes(bed, resources=declared(bulk='allow'))
    notes.made()
    eq(notes.send('dc1', 'DELETE', '/notes').status, 204)
    eq(notes.apps['dc1'].notes, {})


def test_hidden_alias_lets_applications_call_themselves(bed):
    notes = Notes(bed, resources=declared(hidden='alias'))
    meta = notes.made()
    for site in ('dc1', 'dc2'):
        r = notes.send(site, 'GET', f'/notes/{notes.local(meta, site)}')
        eq((r.status, str(r.json()['id'])), (200, meta), site)


def test_hidden_local_ids_are_no_names_for_writes_either(bed):
    notes = Notes(bed, apps={'upsert': True})
    meta = notes.made()
    for site in ('dc1', 'dc2'):
        local = notes.local(meta, site)
        for method, below in (('PUT', ''), ('PATCH', ''), ('DELETE', ''), ('POST', '/actions')):
            eq(notes.send(site, method, f'/notes/{local}{below}', {'title': 'x'}).status, 404, f'{method} at {site}')
        eq(notes.note(site, meta)['title'], 'one')


def test_assign_gives_the_mesh_id_to_the_application(bed):
    notes = Notes(bed, apps={'takes_ids': True}, ids='uuid', resources=declared(assign='$.id'))
    meta = notes.made()
    eq([list(a.notes) for a in notes.apps.values()], [[meta], [meta]])
    eq([notes.local(meta, s) for s in ('dc1', 'dc2')], [meta, meta])
    eq(notes.read('dc2', meta).json()['title'], 'one')


def test_an_id_that_the_client_chose_is_assigned_everywhere(bed):
    notes = Notes(bed, apps={'takes_ids': True}, ids='uuid', resources=declared(assign='$.id'))
    chosen = str(uuid.uuid4())
    r = notes.create(id=chosen)
    eq((r.status, r.json()['id']), (201, chosen), r)
    notes.wait_titles(['one'], 'dc1', 'dc2')
    eq([list(a.notes) for a in notes.apps.values()], [[chosen], [chosen]])


def test_integers_for_applications_that_take_nothing_else(bed):
    notes = Notes(bed, resources=declared(meta_id='integer'))
    r = notes.create()
    meta = r.json()['id']
    assert isinstance(meta, int) and 1 << 52 <= meta < 1 << 53, r
    eq((r.get('x-scope-meta-id'), r.get('location')), (str(meta), f'/notes/{meta}'))
    notes.wait_synced(str(meta), 'dc1', 'dc2')
    for site in ('dc1', 'dc2'):
        eq(notes.read(site, meta).json()['id'], meta)
        eq([n['id'] for n in notes.send(site, 'GET', '/notes').json()], [meta])


def test_uuid4_for_applications_that_check_the_version(bed):
    notes = Notes(bed, THREE, ids='uuid', resources=declared(meta_id='uuid4'))
    meta = notes.made()
    eq(uuid.UUID(meta).version, 4)
    eq([notes.read(s, meta).status for s in ('dc1', 'dc2')], [200, 200])
    eq(notes.read('dc3', meta, {'X-Scope': 'notes: dc2'}).status, 200, 'only scopes find it')


def test_learned_rules_are_shown(bed):
    notes = Notes(bed, resources=[])
    notes.made()
    rules = ask(notes.sites['dc1'].admin, path='/v1/rules').json()['rules']
    eq([(r['service'], r['collection'], r['rule']['id'], r['pinned']) for r in rules], [('notes', '/notes', '$.id', False)])
    notes.sites['dc1'].stop()
    notes.sites['dc1'].start()
    eq([r['collection'] for r in ask(notes.sites['dc1'].admin, path='/v1/rules').json()['rules']], ['/notes'])


if __name__ == '__main__':
    harness.main(globals())
