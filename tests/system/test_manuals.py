#!/usr/bin/python3
"""The manual pages hold what the programs have: verbs, options, signals, exit statuses."""
import os
import re
import shutil
import signal

import harness
from harness import ROOT, Skip, eq, run_program, wait_until


def source(page):
    with open(os.path.join(ROOT, 'docs', page)) as f:
        return f.read()


def plain(page):
    """The words of a page without the macros."""
    text = re.sub(r'\\[&]', '', source(page))
    text = re.sub(r'^\.\w+ ?', '', text, flags=re.M)
    return re.sub(r'\b(Fl|Ar|Cm|Ns|Op|Li|Pa|Ev|Dv|Pq) ', '', re.sub(r'Fl (\S)', r'Fl -\1', text))


def options_of(usage):
    """-x and --xxx of a help text."""
    return set(re.findall(r'(?<![\w-])--?[A-Za-z][a-z-]*', usage))


def test_the_pages_are_well_formed(bed):
    if not shutil.which('groff'):
        raise Skip('no groff')
    for page in ('scopectl.1', 'scopemeshd.8'):
        p = run_program('groff', '-mandoc', '-Tutf8', '-ww', '-z', os.path.join(ROOT, 'docs', page), timeout=30)
        eq((p.returncode, p.stderr), (0, ''), page)


def test_scopectl_1_has_every_verb_and_option(bed):
    text, spaced = plain('scopectl.1'), source('scopectl.1')
    verbs = re.findall(r'^  (\w+)  +\S', run_program(harness.SCOPECTL, '--help').stdout.split('--admin', 2)[1], re.M)
    assert 'doctor' in verbs and len(verbs) >= 12, verbs
    for verb in verbs:
        assert re.search(rf'^\.It Cm {verb}$', spaced, re.M), f'{verb} is not described'
        usage = run_program(harness.SCOPECTL, verb, '--help').stdout
        for option in options_of(usage) - {'-s', '-S'}:
            assert re.search(rf'(?<![\w-]){re.escape(option)}(?![\w-])', text), f'{option} of {verb}'
        head = usage.splitlines()[0].split(verb, 1)[1]
        for word in re.findall(r'(?<![\w-])[a-z]{4,}(?=[| ])', head):
            assert re.search(rf'^\.Cm .*\b{word}\b', spaced, re.M), f'{verb} {word}'
    # and none that there is not
    for verb in re.findall(r'^\.It Cm (\w+)$', spaced, re.M):
        assert verb in verbs, verb


def test_scopemeshd_8_has_every_option(bed):
    text = plain('scopemeshd.8')
    p = run_program(harness.SCOPEMESHD, '--help')
    eq(p.returncode, 0)
    options = options_of(p.stdout)
    assert {'-c', '-t', '--check', '--print', '--manual'} <= options, options
    for option in options:
        assert re.search(rf'(?<![\w-]){option}(?![\w-])', text), option
    described = [w for line in re.findall(r'^\.It Fl (.*)$', source('scopemeshd.8'), re.M)
                 for w in re.split(r' , Fl ', re.sub(r' Ar .*', '', line))]
    assert len(described) >= 9, described
    for option in ('-' + w for w in described):
        p = run_program(harness.SCOPEMESHD, option, *(['x'] if option in ('-c', '--config') else []), timeout=10)
        assert 'unrecognized' not in p.stderr and 'invalid option' not in p.stderr, (option, p.stderr)


def test_exit_statuses_and_signals_of_scopemeshd_8(bed):
    statuses = re.findall(r'^\.It (\d)$', source('scopemeshd.8'), re.M)
    eq(statuses, ['0', '1', '2', '3'])
    d = bed.daemon('dc1', {'image': {}}, log={'access': 'access.txt'})
    check = run_program(harness.SCOPEMESHD, '--check', '-c', d.config_path)
    eq((check.returncode, check.stderr), (0, ''))
    eq(run_program(harness.SCOPEMESHD, '-t', '-c', bed.write('bad.yaml', 'site: [')).returncode, 1)
    eq(run_program(harness.SCOPEMESHD).returncode, 2)
    eq(run_program(harness.SCOPEMESHD, '-c', d.config_path, cwd=d.dir).returncode, 3, 'its state folder is in use')
    for sig, said in ((signal.SIGHUP, 'reloaded'), (signal.SIGTERM, 'SIGTERM: draining')):
        d.signal(sig)
        wait_until(lambda s=said: s in d.log(), said)
    eq(d.process.wait(harness.DEADLINE), 0)


if __name__ == '__main__':
    harness.main(globals())
