#!/usr/bin/python3
"""Lists of a collection that several sites have a part of (replication.md section 3): one site after the other, each
replica once, no page of two sites, and no application's own id."""
import re

import harness
from harness import ask, eq, group, wait_until
from notes_bed import CHILDREN, DECLARED, Notes, both, no_local_ids

THREE = ('dc1', 'dc2', 'dc3')
NEXT = {'items': '$.notes', 'next': '$.next', 'marker': 'marker'}
LINK = {'items': '$', 'marker': 'marker'}
PLAIN = {'items': '$'}


def listed(listing):
    return [{**DECLARED, 'list': listing}, CHILDREN]


def bed_of(bed, listing=NEXT, names=THREE, paged='next', ids='integer', **more):
    apps = {'paged': paged, **more.pop('apps', {})}
    return Notes(bed, names, apps=apps, resources=listed(listing), ids=ids, **more)


def plain(notes, site, *titles):
    """Notes of that site alone."""
    for title in titles:
        eq(notes.send(site, 'POST', '/notes', {'title': title}).status, 201, f'{title} at {site}')


class Page:
    def __init__(self, answer):
        assert answer.status == 200, answer
        self.answer = answer
        doc = answer.json()
        self.notes = doc if isinstance(doc, list) else doc['notes']
        self.titles = [n['title'] for n in self.notes]
        self.ids = [str(n['id']) for n in self.notes]
        self.site = answer.get('x-scope-served-by')
        self.partial = answer.get('x-scope-partial')
        links = re.findall(r'<([^>]*)>; rel="?next"?', answer.get('link') or '')
        assert len(links) < 2, answer
        self.next = links[0] if links else None if isinstance(doc, list) else doc.get('next')


def follow(notes, entry, path='/notes', scope=THREE, most=30):
    """The pages that a client gets that follows each link."""
    pages = []
    while path:
        assert len(pages) < most, [p.answer for p in pages[-3:]]
        pages.append(Page(notes.send(entry, 'GET', path, headers=both(*scope))))
        path = pages[-1].next
    return pages


def by_markers(notes, entry, limit=2, scope=THREE, most=30):
    """The pages of one that makes its own markers, until one is empty."""
    pages, path = [], f'/notes?limit={limit}'
    while True:
        assert len(pages) < most, [p.answer for p in pages[-3:]]
        page = Page(notes.send(entry, 'GET', path, headers=both(*scope)))
        if not page.notes:
            return pages
        pages.append(page)
        path = f'/notes?limit={limit}&marker={page.ids[-1]}'


def titles(pages):
    return [t for p in pages for t in p.titles]


def check_pages(notes, pages, metas=()):
    """No page is of two sites, no site comes back, no id twice, no local id of a replica."""
    order = [p.site for p in pages]
    eq([s for i, s in enumerate(order) if i == 0 or order[i - 1] != s], list(dict.fromkeys(order)), 'sites in turn')
    ids = [(p.site, i) for p in pages for i in p.ids]
    eq(len(ids), len(set(ids)), 'ids')
    shown = [i for p in pages for i in p.ids if i in metas]
    eq(sorted(shown), sorted(metas), 'each replica once')
    locals_ = [notes.at(m, s, s).get('local_id') for m in metas for s in notes.names]
    for p in pages:
        no_local_ids(p.answer, *[i for i in locals_ if i])


def fill(notes):
    """dc1 and dc2 share two, all share two, dc2 and dc3 share one, and each has one or more of its own."""
    metas = []
    plain(notes, 'dc1', 'own 1')
    plain(notes, 'dc3', 'own 3')
    for title, sites in (('12 a', ('dc1', 'dc2')), ('all a', THREE), ('23 a', ('dc2', 'dc3')), ('12 b', ('dc1', 'dc2')),
                         ('all b', THREE)):
        metas.append(notes.made(sites[0], title, scope=sites))
    plain(notes, 'dc2', 'own 2', 'own 2 b')
    return metas


EVERYTHING = ['12 a', '12 b', '23 a', 'all a', 'all b', 'own 1', 'own 2', 'own 2 b', 'own 3']


# --- who follows links -----------------------------------------------------------------------------

group(globals(), 'following links')


def test_each_site_in_turn_and_each_replica_once(bed):
    notes = bed_of(bed)
    metas = fill(notes)
    for entry in THREE:
        pages = follow(notes, entry)
        eq(sorted(titles(pages)), EVERYTHING, f'from {entry}')
        eq(pages[0].site, entry, 'the nearest first')
        eq({p.site for p in pages}, set(THREE))
        eq([p.partial for p in pages], [None] * len(pages))
        check_pages(notes, pages, metas)


def test_what_is_shared_is_in_the_list_of_the_first_that_has_it(bed):
    notes = bed_of(bed)
    fill(notes)
    pages = follow(notes, 'dc1', '/notes?limit=100')
    eq([(p.site, p.titles) for p in pages if p.site == 'dc1'], [('dc1', ['own 1', '12 a', 'all a', '12 b', 'all b'])])
    rest = {p.site: p.titles for p in pages[1:]}
    eq(sorted(rest['dc2'] + rest['dc3']), ['23 a', 'own 2', 'own 2 b', 'own 3'])
    eq(len(pages), 3)


def test_a_filter_stays_with_the_client(bed):
    """The first page of each site has the query of the first request, and no site sees what is ours."""
    notes = bed_of(bed)
    for site in THREE:
        for i in range(3):
            notes.send(site, 'POST', '/notes', {'title': f'{site} {i}', 'text': 'red' if i else 'blue'})
    pages = follow(notes, 'dc1', '/notes?text=red&limit=1')
    eq(sorted(titles(pages)), [f'{s} {i}' for s in THREE for i in (1, 2)])
    for site in THREE:
        came = [r.path for r in notes.apps[site].came('GET', '/notes.*')]
        eq([p for p in came if 'scope-' in p], [], 'our own members of the query')
        eq(came[0], '/notes?text=red&limit=1', site)


def test_pages_that_are_numbered(bed):
    """Nothing but the link says what a page is, and the other site's first page is none of these."""
    notes = bed_of(bed, {'items': '$.notes', 'next': '$.next'}, paged='number')
    metas = fill(notes)
    pages = follow(notes, 'dc2', '/notes?limit=2')
    eq(sorted(titles(pages)), EVERYTHING)
    check_pages(notes, pages, metas)


def test_pages_that_are_told_of_in_link(bed):
    notes = bed_of(bed, LINK, paged='link')
    metas = fill(notes)
    pages = follow(notes, 'dc1')
    eq(sorted(titles(pages)), EVERYTHING)
    check_pages(notes, pages, metas)
    assert 'rel="first"' in pages[0].answer.get('link'), 'other links stay'


def test_an_application_without_pages(bed):
    """One page for each site, and Link leads from one to the next."""
    notes = bed_of(bed, PLAIN, paged=None)
    metas = fill(notes)
    pages = follow(notes, 'dc3')
    eq(sorted(titles(pages)), EVERYTHING)
    eq(len(pages), 3)
    check_pages(notes, pages, metas)


def test_uuids_in_markers_and_links(bed):
    notes = bed_of(bed, ids='uuid', apps={'absolute': True})
    metas = fill(notes)
    pages = follow(notes, 'dc2')
    eq(sorted(titles(pages)), EVERYTHING)
    check_pages(notes, pages, metas)


def test_from_a_site_that_is_not_of_the_set(bed):
    """It knows no replica of theirs."""
    notes = bed_of(bed, names=(*THREE, 'dc4'))
    metas = fill(notes)
    pages = follow(notes, 'dc4')
    eq(sorted(titles(pages)), EVERYTHING)
    check_pages(notes, pages, metas)
    eq(notes.apps['dc4'].arrived, [])
    eq(notes.replicas('dc4'), [])


def test_all_names_the_sites_as_well(bed):
    notes = bed_of(bed)
    metas = fill(notes)
    pages, path = [], '/notes'
    while path:
        pages.append(Page(notes.send('dc1', 'GET', path, headers={'X-Scope': 'notes: eventual(all(none!=x))'})))
        path = pages[-1].next
    eq(sorted(titles(pages)), EVERYTHING)
    check_pages(notes, pages, metas)


def test_a_site_where_there_is_nothing_is_passed_over(bed):
    """Its empty page would end the list for many a client."""
    notes = bed_of(bed)
    plain(notes, 'dc3', 'own 3')
    pages = follow(notes, 'dc1')
    eq([(p.site, p.titles) for p in pages if p.titles], [('dc3', ['own 3'])])
    eq(pages[0].titles, ['own 3'])


def test_where_there_is_nothing_at_all(bed):
    notes = bed_of(bed)
    for listing in follow(notes, 'dc1'), by_markers(notes, 'dc1'):
        eq(titles(listing), [])


def test_pages_that_are_passed_over_end_in_trailers(bed):
    """dc2 shows what dc1 has shown, a page after the other, each chunked and with a trailer."""
    notes = bed_of(bed, names=('dc1', 'dc2'))
    for n in range(6):
        notes.made('dc1', f'shared {n}')
    plain(notes, 'dc2', 'own 2')
    notes.wait_idle()
    whole = notes.apps['dc2'].respond

    def in_chunks(request, status, body=b'', headers=(), kind='application/json'):
        if request.method != 'GET' or status != 200:
            return whole(request, status, body, headers, kind)
        return (b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n' +
                b''.join(b'1\r\n%c\r\n' % b for b in body) + b'0\r\nX-Trailer: t\r\n\r\n')
    notes.apps['dc2'].respond = in_chunks
    eq(sorted(titles(follow(notes, 'dc1', '/notes?limit=1', ('dc1', 'dc2')))), ['own 2', *(f'shared {n}' for n in range(6))])


def test_a_request_that_cannot_be_sent_again_still_finds_every_site(bed):
    """Its content is too long to be kept: an empty page leads on."""
    notes = bed_of(bed, names=('dc1', 'dc2'))
    plain(notes, 'dc2', 'own 2')
    page = Page(notes.send('dc1', 'GET', '/notes', b'x' * 2000000, both('dc1', 'dc2')))
    eq((page.notes, page.partial), ([], None), page.answer)
    eq(titles(follow(notes, 'dc1', page.next, ('dc1', 'dc2'))), ['own 2'])


# --- who makes markers -----------------------------------------------------------------------------

group(globals(), 'making markers')


def markers_find_their_site(bed, ids):
    notes = bed_of(bed, ids=ids)
    metas = fill(notes)
    for entry in THREE:
        pages = by_markers(notes, entry)
        eq(sorted(titles(pages)), EVERYTHING, entry)
        check_pages(notes, pages, metas)


def test_markers_find_their_site_again(bed):
    """The application knows its markers from others, so that every page comes."""
    markers_find_their_site(bed, 'integer')


def test_markers_that_are_uuids(bed):
    markers_find_their_site(bed, 'uuid')


def test_markers_from_a_site_that_is_not_of_the_set(bed):
    notes = bed_of(bed, names=(*THREE, 'dc4'), ids='uuid')
    fill(notes)
    eq(sorted(titles(by_markers(notes, 'dc4'))), EVERYTHING)


def test_an_application_that_shows_no_link_at_all(bed):
    """Marker alone: a page that is not full ends a site's part, and the next marker leads on."""
    notes = bed_of(bed, {'items': '$', 'marker': 'marker'}, paged='none', ids='uuid')
    fill(notes)
    eq(sorted(titles(by_markers(notes, 'dc1'))), EVERYTHING)


def test_a_marker_that_nobody_knows(bed):
    """What the last site that was asked says of it."""
    notes = bed_of(bed)
    fill(notes)
    r = notes.send('dc1', 'GET', '/notes?marker=777', headers=both(*THREE))
    eq((r.status, r.json()), (404, {'error': 'no such marker'}))


# --- sites that are away ---------------------------------------------------------------------------

group(globals(), 'cut off')


def test_the_others_pages_still_come(bed):
    notes = bed_of(bed)
    fill(notes)
    notes.cut(('dc1', 'dc2'))
    notes.wait_state('dc1', 'dc2', 'disconnected')
    pages = follow(notes, 'dc1')
    eq({p.site for p in pages}, {'dc1', 'dc3'})
    eq({p.partial for p in pages}, {'dc2=unreachable'})
    eq(sorted(titles(pages)), ['12 a', '12 b', '23 a', 'all a', 'all b', 'own 1', 'own 3'], 'what dc2 shares, dc3 shows')


def test_before_it_is_known(bed):
    """The link leads to a site that has gone: what follows ends the list, or goes on with the next site."""
    notes = bed_of(bed, names=('dc1', 'dc2'))
    plain(notes, 'dc1', 'own 1')
    plain(notes, 'dc2', 'own 2')
    first = Page(notes.send('dc1', 'GET', '/notes?limit=9', headers=both()))
    eq((first.titles, first.partial), (['own 1'], None))
    notes.cut(('dc1', 'dc2'))
    last = Page(notes.send('dc1', 'GET', first.next, headers=both()))
    eq((last.titles, last.partial, last.next), ([], 'dc2=unreachable', None))
    eq(last.answer.json(), {'notes': []})
    notes.heal(('dc1', 'dc2'))
    wait_until(lambda: notes.state('dc1', 'dc2') == 'connected', 'dc2 is back')
    again = Page(notes.send('dc1', 'GET', first.next, headers=both()))
    eq((again.titles, again.partial, again.next), (['own 2'], None, None))


def test_a_site_that_goes_between_two_of_its_pages(bed):
    notes = bed_of(bed)
    for site in THREE:
        plain(notes, site, *[f'{site} {i}' for i in range(4)])
    pages = [Page(notes.send('dc1', 'GET', '/notes', headers=both(*THREE)))]
    while pages[-1].site == 'dc1':
        pages.append(Page(notes.send('dc1', 'GET', pages[-1].next, headers=both(*THREE))))
    gone = pages[-1].site
    notes.cut(('dc1', gone))
    pages += follow(notes, 'dc1', pages[-1].next)
    other = next(s for s in THREE if s not in ('dc1', gone))
    eq(sorted(t for t in titles(pages) if not t.startswith(gone)), sorted(f'{s} {i}' for s in ('dc1', other) for i in range(4)))
    eq(pages[-1].partial, f'{gone}=unreachable')


def test_what_an_earlier_site_has_not_got_yet_is_shown_by_the_next(bed):
    """By the one that admitted it, which knows; and once all have it, by the first alone."""
    notes = bed_of(bed)
    notes.apps['dc1'].fail(503, when=lambda r: r.method == 'POST')
    r = notes.create('dc2', 'late', THREE)
    eq(r.status, 201)
    meta = r.get('x-scope-meta-id')
    notes.wait_synced(meta, 'dc2', 'dc3', site='dc2')
    eq([(p.site, p.titles) for p in follow(notes, 'dc1') if p.titles], [('dc2', ['late'])])
    notes.sites['dc2'].stop()
    notes.sites['dc2'].start()
    notes.wait_connected()
    eq([(p.site, p.titles) for p in follow(notes, 'dc1') if p.titles], [('dc2', ['late'])], 'after a restart')
    notes.apps['dc1'].heal()
    notes.wait_synced(meta, *THREE, site='dc2')
    eq([(p.site, p.titles) for p in follow(notes, 'dc1') if p.titles], [('dc1', ['late'])])


def test_what_an_earlier_site_refused_is_shown_by_the_next(bed):
    notes = bed_of(bed, names=('dc1', 'dc2'), queue={'settle': '0s'})
    notes.apps['dc1'].fail(409, when=lambda r: r.method == 'POST')
    meta = notes.create('dc2', 'refused').get('x-scope-meta-id')
    notes.wait_replica(meta, 'dc1', 'failed', 'dc2')
    pages = follow(notes, 'dc1', scope=('dc1', 'dc2'))
    eq([(p.site, p.titles) for p in pages if p.titles], [('dc2', ['refused'])])


def test_a_write_that_waits_shows_nothing_twice(bed):
    """dc1 has the note, and lacks what was written later."""
    notes = bed_of(bed, names=('dc1', 'dc2'))
    meta = notes.made('dc2', 'old', scope=('dc1', 'dc2'))
    notes.apps['dc1'].fail(503, when=lambda r: r.method == 'PATCH')
    eq(notes.send('dc2', 'PATCH', f'/notes/{meta}', {'title': 'new'}).status, 200)
    eq(titles(follow(notes, 'dc1', scope=('dc1', 'dc2'))), ['old'])


def test_the_last_sites_application_is_down(bed):
    notes = bed_of(bed, names=('dc1', 'dc2'))
    plain(notes, 'dc1', 'own 1')
    first = Page(notes.send('dc1', 'GET', '/notes', headers=both()))
    notes.apps['dc2'].stop()
    last = Page(notes.send('dc1', 'GET', first.next, headers=both()))
    eq((last.titles, last.partial, last.next), ([], 'dc2=unreachable', None))


def test_no_site_at_all(bed):
    notes = bed_of(bed)
    fill(notes)
    for site in ('dc2', 'dc3'):
        notes.cut(('dc1', site))
        notes.wait_state('dc1', site, 'disconnected')
    r = notes.send('dc1', 'GET', '/notes', headers=both('dc2', 'dc3'))
    eq(r.status, 503)
    r.problem('unreachable')


# --- what comes back -------------------------------------------------------------------------------

group(globals(), 'pages')


def test_head_says_what_get_would(bed):
    notes = bed_of(bed, PLAIN, paged=None)
    fill(notes)
    get = notes.send('dc1', 'GET', '/notes', headers=both(*THREE))
    head = notes.send('dc1', 'HEAD', '/notes', headers=both(*THREE))
    eq((head.status, head.body), (200, b''))
    for name in ('link', 'content-type', 'x-scope-served-by', 'x-scope-partial'):
        eq(head.get(name), get.get(name), name)


def test_pages_that_come_compressed(bed):
    notes = bed_of(bed, apps={'zipped': True})
    metas = fill(notes)
    pages = follow(notes, 'dc1')
    eq(sorted(titles(pages)), EVERYTHING)
    check_pages(notes, pages, metas)


def test_what_is_no_json_goes_as_it_is(bed):
    notes = bed_of(bed)
    fill(notes)
    for body in (b'{"notes": [{"id": "x"', b'no JSON at all', b'[1, 2}', b'"text"', b''):
        notes.apps['dc1'].fail(200, body=body, times=1, when=lambda r: r.method == 'GET')
        r = notes.send('dc1', 'GET', '/notes', headers=both(*THREE))
        eq((r.status, r.body), (200, body))


def test_an_error_is_the_sites_own(bed):
    notes = bed_of(bed)
    fill(notes)
    for status in (401, 403, 500):
        notes.apps['dc1'].fail(status, body=b'{"notes": []}', times=1, when=lambda r: r.method == 'GET')
        r = notes.send('dc1', 'GET', '/notes', headers=both(*THREE))
        eq((r.status, r.json(), r.get('link')), (status, {'notes': []}, None))


def test_a_page_that_is_long(bed):
    """Past what is held, so that it comes in chunks, from here and from afar."""
    notes = bed_of(bed, PLAIN, paged=None)
    metas = [notes.made("dc1", f"all {i}", scope=THREE, text="t" * 9000) for i in range(5)]
    for site in THREE:
        notes.send(site, 'POST', '/notes', {'title': f'own {site}', 'text': 'u' * 300000})
    pages = follow(notes, 'dc1')
    eq(sorted(titles(pages)), [f'all {i}' for i in range(5)] + [f'own {s}' for s in THREE])
    check_pages(notes, pages, metas)


def test_one_that_ends_before_its_end_is_cut(bed):
    """Nothing of a broken page is taken for a whole one: it is the next site's turn, or the connection breaks."""
    notes = bed_of(bed)
    fill(notes)
    notes.apps['dc1'].fail('drop-after', when=lambda r: r.method == 'GET')
    page = Page(notes.send('dc1', 'GET', '/notes', headers=both(*THREE)))
    assert page.site != 'dc1', page.answer
    eq(page.partial, 'dc1=unreachable')


def test_a_link_of_another_scope_is_refused(bed):
    notes = bed_of(bed)
    fill(notes)
    path = next(p.next for p in follow(notes, 'dc1', most=30) if p.site == 'dc1' and p.next)
    r = notes.send('dc1', 'GET', path, headers=both('dc2', 'dc3'))
    eq(r.status, 400)
    assert 'scope-at' in r.problem('bad-request')['detail'], r


def test_what_a_client_hands_back_is_no_more_than_a_query(bed):
    notes = bed_of(bed, names=('dc1', 'dc2'))
    plain(notes, 'dc2', 'own 2')
    r = notes.send('dc1', 'GET', '/notes?scope-at=dc2&scope-of=limit%3D3%0D%0AX-Evil:%20yes%23%22', headers=both())
    eq(r.status, 200)
    r = notes.send('dc1', 'GET', '/notes?scope-at=dc1,dc2&scope-of=%FF%00', headers=both())
    assert r.status in (200, 400), r
    for request in notes.apps['dc2'].came('GET', '.*'):
        eq(request.get('x-evil'), None)


# --- where it is not declared ----------------------------------------------------------------------

group(globals(), 'not declared')


def test_the_nearest_answers_and_says_who_was_not_asked(bed):
    notes = Notes(bed, THREE)
    fill(notes)
    for entry in ('dc1', 'dc2'):
        r = notes.send(entry, 'GET', '/notes', headers=both(*THREE))
        others = [s for s in THREE if s != entry]
        eq((r.status, r.get('x-scope-served-by')), (200, entry))
        eq(r.get('x-scope-partial'), ', '.join(f'{s}=not-asked' for s in others))
        eq(r.get('link'), None)
        for site in others:
            eq(notes.apps[site].came('GET', '/notes'), [], f'at {site}')
        notes.apps[entry].arrived.clear()


def test_a_site_that_does_not_declare_it_is_told_of(bed):
    notes = bed_of(bed, names=('dc1', 'dc2'), paged=None, listing=PLAIN)
    fill_two = [notes.made('dc1', t, scope=('dc1', 'dc2')) for t in ('a', 'b')]
    text = open(f'{notes.sites["dc2"].dir}/site.yaml').read()
    assert 'items' in text, text
    notes.sites['dc2'].stop()
    open(f'{notes.sites["dc2"].dir}/site.yaml', 'w').write(re.sub(r'"?list"?: *\{[^}]*\},?', '', text))
    notes.sites['dc2'].start()
    notes.wait_connected()
    page = Page(notes.send('dc1', 'GET', '/notes', headers=both()))
    eq(sorted(page.ids), sorted(fill_two))
    last = Page(notes.send('dc1', 'GET', page.next, headers=both()))
    eq((last.titles, last.partial, last.next), ([], 'dc2=not-declared', None))


def test_explain_says_which_lists_are_merged(bed):
    notes = bed_of(bed, names=('dc1', 'dc2'))
    told = {}
    for scope in 'dc1 & dc2', 'dc1; dc2':
        path = '/v1/scope/explain?scope=' + f'notes: {scope}'.replace(' ', '%20').replace('&', '%26').replace(';', '%3B')
        told[scope] = ask(notes.sites['dc1'].admin, path=path).json()['bindings'][0]['notes']
    eq(told, {'dc1 & dc2': ['the list of /notes is that of each site in turn (resources.list)'], 'dc1; dc2': []})


def test_a_scope_without_and_is_one_sites_list(bed):
    notes = bed_of(bed)
    fill(notes)
    for headers in ({}, {'X-Scope': 'notes: dc1; dc2'}):
        r = notes.send('dc1', 'GET', '/notes?limit=100', headers=headers)
        eq((r.status, r.get('x-scope-served-by'), r.get('x-scope-partial')), (200, 'dc1', None))
        eq([n['title'] for n in r.json()['notes']], ['own 1', '12 a', 'all a', '12 b', 'all b'])
        assert 'next' not in r.json(), r


if __name__ == '__main__':
    harness.main(globals())
