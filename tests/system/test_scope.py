#!/usr/bin/python3
"""What a scope chooses: the site, the service, the carriers, and the errors (spec sections 2 and 3)."""
from urllib.parse import quote

import harness
from harness import answer, ask, eq


def test_without_a_scope_the_local_instance_answers_and_no_other_site_is_touched(bed):
    sites, origins = bed.three()
    r = ask(sites['dc1'].addr('image'), path='/v2/images?x=1')
    eq((r.status, r.body), (200, b'dc1'))
    eq(r.get('x-scope-served-by'), 'dc1')
    eq(r.get('via'), '1.1 dc1')
    eq(origins['dc1'].last.path, '/v2/images?x=1')
    eq(origins['dc1'].last.all('x-scope'), [], 'scope added to a request without one')
    eq(origins['dc1'].last.all('baggage'), [])
    eq((len(origins['dc2'].requests), len(origins['dc3'].requests)), (0, 0))


def test_a_scope_sends_the_request_to_the_bound_site(bed):
    sites, origins = bed.three()
    for site in ('dc2', 'dc3', 'dc1'):
        r = ask(sites['dc1'].addr('image'), path='/a', headers={'X-Scope': f'compute: dc1, image: {site}'})
        eq((r.status, r.body, r.get('x-scope-served-by')), (200, site.encode(), site))
        eq(len(origins[site].requests), 1, f'requests at {site}')


def test_via_names_both_sites_in_order(bed):
    sites, origins = bed.three()
    r = ask(sites['dc1'].addr('image'), headers={'X-Scope': 'image: dc2', 'Via': '1.0 edge'})
    eq([v.strip() for v in origins['dc2'].last.get('via').split(',')], ['1.0 edge', '1.1 dc1', '1.1 dc2'])
    eq([v.strip() for v in r.get('via').split(',')], ['1.1 dc2', '1.1 dc1'])


def test_local_is_the_site_that_interprets(bed):
    sites, _ = bed.three()
    for site in ('dc1', 'dc3'):
        eq(ask(sites[site].addr('image'), headers={'X-Scope': 'image: local'}).body, site.encode())


def test_aliases_braces_and_json_mean_the_same(bed):
    sites, _ = bed.three()
    for text in ('image=dc2/dc1', '{ image: dc2 }', '{"image": "dc2; dc1"}', "image: 'dc2'",
                 'image: dc2 else dc1', 'image: around(dc2, 0ms)'):
        r = ask(sites['dc1'].addr('image'), headers={'X-Scope': text})
        eq((r.status, r.body), (200, b'dc2'), text)


def test_others_binds_every_service_not_named(bed):
    sites, _ = bed.three()
    for text, want in (('*: dc2', b'dc2'), ('others: dc3', b'dc3'), ('image: dc2, *: dc3', b'dc2'),
                       ('compute: dc2', b'dc1'), ('"*": dc2', b'dc1'), ('{}', b'dc1'), ('', b'dc1')):
        eq(ask(sites['dc1'].addr('image'), headers={'X-Scope': text}).body, want, text)


def test_named_locations_are_replaced_where_the_scope_enters(bed):
    sites, origins = bed.three(scope={'named': {'there': 'dc2; dc1'}})
    r = ask(sites['dc1'].addr('image'), headers={'X-Scope': 'image: @there'})
    eq(r.body, b'dc2')
    assert '@' not in origins['dc2'].last.get('x-scope'), origins['dc2'].last
    r = ask(sites['dc1'].addr('image'), headers={'X-Scope': 'image: @ther'})
    eq(r.status, 400)
    eq(r.problem('unknown-name')['nearest'], 'there')


def test_any_takes_a_site_with_the_label(bed):
    sites, _ = bed.three(labels={'dc1': {'region': 'eu'}, 'dc2': {'region': 'us'}, 'dc3': {'region': 'eu'}})
    image = sites['dc2'].addr('image')
    eq(ask(image, headers={'X-Scope': 'image: any(region=us)'}).body, b'dc2')
    eq(ask(image, headers={'X-Scope': 'image: any(region!=us, region=eu)'}).status, 200)
    r = ask(image, headers={'X-Scope': 'image: any(region=moon)'})
    eq(r.status, 400)
    r.problem('no-match')
    eq(ask(image, headers={'X-Scope': 'image: any(region=moon); dc3'}).body, b'dc3')


def test_an_unknown_site_is_refused_with_the_known_ones(bed):
    sites, origins = bed.three()
    r = ask(sites['dc1'].addr('image'), headers={'X-Scope': 'image: dc22'})
    eq(r.status, 400)
    doc = r.problem('unknown-site')
    eq(sorted(doc['known']), ['dc1', 'dc2', 'dc3'])
    eq(doc['nearest'], 'dc2')
    eq((doc['text'], doc['column']), ('image: dc22', 8))
    eq(doc['caret'], ['image: dc22', '       ^'])
    eq(sum(len(o.requests) for o in origins.values()), 0, 'requests that reached an instance')


def test_an_unknown_site_in_another_services_binding_is_refused_where_the_scope_enters(bed):
    sites, _ = bed.three()
    r = ask(sites['dc1'].addr('image'), headers={'X-Scope': 'image: dc2, compute: dc9'})
    eq(r.status, 400)
    r.problem('unknown-site')
    r = ask(sites['dc1'].addr('image'), headers={'baggage': 'scope=' + quote('image: dc2, compute: dc9')})
    eq((r.status, r.body), (200, b'dc2'), 'carried scope')


def test_scope_errors_are_problem_documents_with_column_and_caret(bed):
    sites, _ = bed.three()
    for text, kind, column in (('image: dc1 &', 'scope-syntax', None), ('image dc1', 'scope-syntax', None),
                               ('image: (dc1', 'scope-syntax', None), ('image: dc1:9292', 'scope-syntax', None),
                               ('image: dc1,', 'scope-syntax', None), (': dc1', 'scope-syntax', 1),
                               ('image: dc1, image: dc2', 'scope-duplicate', 13),
                               ('image: near(dc1)', 'unknown-function', 8),
                               ('image: strong(dc1) & dc2', 'class-nested', None),
                               ('image: ' + '(' * 33 + 'dc1' + ')' * 33, 'scope-limit', None)):
        r = ask(sites['dc1'].addr('image'), headers={'X-Scope': text})
        eq(r.status, 400, text)
        doc = r.problem(kind)
        assert doc['column'] >= 1 and doc['caret'][1].strip() == '^', (text, doc)
        if column:
            eq(doc['column'], column, text)
        assert r.get('proxy-status'), 'an answer of the proxy without Proxy-Status'
    doc = ask(sites['dc1'].addr('image'), headers={'X-Scope': 'image: dc1 &'}).json()
    assert 'quot' in doc['hint'], doc


def test_two_scope_lines_are_refused(bed):
    sites, origins = bed.three()
    r = ask(sites['dc1'].addr('image'), headers=[('X-Scope', 'image: dc1'), ('X-Scope', 'image: dc1')])
    eq(r.status, 400)
    r.problem('scope-multiple')
    eq(len(origins['dc1'].requests), 0)


def test_quorum_and_strong_forward_nothing_yet(bed):
    sites, origins = bed.three()
    for text in ('image: quorum(dc1 & dc2)', 'image: strong(all(a!=b))', 'image: strong(dc1)'):
        for method in ('GET', 'POST'):
            eq(ask(sites['dc1'].addr('image'), method=method, headers={'X-Scope': text}).status, 501, text)
    eq(sum(len(o.requests) for o in origins.values()), 0)


def test_a_read_under_and_is_answered_by_the_nearest_of_its_sites(bed):
    sites, origins = bed.three()
    for text, who in (('image: dc2 & dc1', b'dc1'), ('image: all(a!=b)', b'dc1'), ('image: weak(dc2)', b'dc2')):
        eq(ask(sites['dc1'].addr('image'), headers={'X-Scope': text}).body, who, text)
    eq(sum(len(o.requests) for o in origins.values()), 3)


def test_a_scope_arrives_by_baggage_and_the_instance_gets_both_carriers(bed):
    sites, origins = bed.three()
    r = ask(sites['dc1'].addr('image'), headers={'baggage': 'user=7, scope=' + quote('image: dc3, compute: dc1')})
    eq(r.body, b'dc3')
    got = origins['dc3'].last
    eq(got.get('x-scope'), 'image: dc3, compute: dc1')
    members = [m.strip() for m in got.get('baggage').split(',')]
    assert members[0].startswith('scope=') and 'user=7' in members, members
    eq(len([m for m in members if m.startswith('scope=')]), 1)


def test_a_scope_by_header_reaches_the_instance_as_baggage_too(bed):
    sites, origins = bed.three()
    ask(sites['dc1'].addr('image'), headers={'X-Scope': 'image: dc1, compute: dc2', 'baggage': 'a=b;p=1'})
    members = [m.strip() for m in origins['dc1'].last.get('baggage').split(',')]
    assert members[0].startswith('scope=') and members[1:] == ['a=b;p=1'], members
    assert not set(members[0]) & set(' ;"\\'), members[0]


def test_the_header_outranks_baggage_and_an_empty_one_asks_no_other(bed):
    sites, _ = bed.three()
    baggage = 'scope=' + quote('image: dc3')
    eq(ask(sites['dc1'].addr('image'), headers={'X-Scope': 'image: dc2', 'baggage': baggage}).body, b'dc2')
    eq(ask(sites['dc1'].addr('image'), headers={'X-Scope': '', 'baggage': baggage}).body, b'dc1')


def test_a_scope_member_with_properties_is_refused(bed):
    sites, origins = bed.three()
    r = ask(sites['dc1'].addr('image'), headers={'baggage': 'scope=image:dc2;dc1'})
    eq(r.status, 400)
    eq(sum(len(o.requests) for o in origins.values()), 0)


def test_switched_off_carriers_are_neither_read_nor_written(bed):
    sites, origins = bed.three(scope={'carriers': ['header']})
    eq(ask(sites['dc1'].addr('image'), headers={'baggage': 'scope=image%3Adc2'}).body, b'dc1')
    ask(sites['dc1'].addr('image'), headers={'X-Scope': 'image: dc1'})
    eq(origins['dc1'].last.all('baggage'), [])


def test_fixed_scope_and_default(bed):
    o1, o2, o3 = (bed.origin(s) for s in ('dc1', 'dc2', 'dc3'))
    sites = bed.mesh({'dc1': {'fixed': {'instances': [], 'scope': 'fixed: dc2'},
                              'away': {'instances': [], 'default': 'dc3; dc2'}},
                      'dc2': {'fixed': {'instances': [o2.url]}, 'away': {'instances': [o2.url]}},
                      'dc3': {'fixed': {'instances': [o3.url]}, 'away': {'instances': [o3.url]}}})
    eq(ask(sites['dc1'].addr('fixed')).body, b'dc2')
    eq(ask(sites['dc1'].addr('fixed'), headers={'X-Scope': 'fixed: dc3'}).body, b'dc3', 'header first')
    eq(ask(sites['dc1'].addr('away')).body, b'dc3')
    eq(ask(sites['dc1'].addr('away'), headers={'X-Scope': 'other: dc1'}).body, b'dc3')
    eq(len(o1.requests), 0)


def test_who_may_send_a_scope(bed):
    sites, origins = bed.three(options={'scope_from': ['10.0.0.0/8']})
    r = ask(sites['dc1'].addr('image'), headers={'X-Scope': 'image: dc2'})
    eq(r.status, 403)
    r.problem('not-allowed')
    eq(ask(sites['dc1'].addr('image')).body, b'dc1', 'without a scope')
    eq(len(origins['dc2'].requests), 0)


def test_which_sites_may_come_in_is_enforced_by_the_receiver(bed):
    o = {s: bed.origin(s) for s in ('dc1', 'dc2', 'dc3')}
    rule = {'dc1': 'all', 'dc2': 'none', 'dc3': ['dc2']}
    sites = bed.mesh({s: {'image': {'instances': [o[s].url], 'sites': rule[s]}} for s in o})
    for start, goal, status in (('dc1', 'dc2', 403), ('dc1', 'dc3', 403), ('dc2', 'dc3', 200), ('dc2', 'dc1', 200),
                                ('dc2', 'dc2', 200)):
        r = ask(sites[start].addr('image'), headers={'X-Scope': f'image: {goal}'})
        eq(r.status, status, f'{start} to {goal}')
        if status == 403:
            r.problem('not-allowed')
    eq(len(o['dc2'].requests), 1)


def test_forged_control_headers_are_dropped_both_ways(bed):
    def forge(site, request, sock):
        return answer(site, headers=[('X-Scope-Served-By', 'moon'), ('X-Scopemesh-Hops', '0'), ('X-Other', 'kept')])
    sites, origins = bed.three(handler=forge)
    for goal in ('dc1', 'dc2'):
        r = ask(sites['dc1'].addr('image'), headers={'X-Scope': f'image: {goal}', 'X-Scopemesh-Site': 'dc3',
                                                      'X-Scopemesh-Service': 'admin', 'X-Scopemesh-Evil': '1'})
        eq((r.status, r.body), (200, goal.encode()))
        eq(r.all('x-scope-served-by'), [goal])
        eq(r.get('x-other'), 'kept')
        assert not [n for n, _ in r.headers if n.lower().startswith('x-scopemesh-')], r
        assert not origins[goal].last.all('x-scopemesh-evil'), origins[goal].last


if __name__ == '__main__':
    harness.main(globals())
