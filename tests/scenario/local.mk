check_PROGRAMS += tests/scenario/run
tests_scenario_run_SOURCES = tests/scenario/run.c tests/scenario/play.c tests/scenario/play.h tests/scenario/bed.c \
	tests/scenario/bed.h tests/scenario/double.c tests/scenario/double.h
tests_scenario_run_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS)
tests_scenario_run_LDADD = $(scopemeshd_LDADD)
tests_scenario_run_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=replicator_submit
TESTS += tests/scenario/all.sh
EXTRA_DIST += tests/scenario/all.sh tests/scenario/forward.scn tests/scenario/replicate.scn tests/scenario/rewrite.scn tests/scenario/rewrite_rules.scn tests/scenario/scopes.scn tests/scenario/timeouts.scn
