# The simulator: random schedules of the pure machines of replication/.  `make check` runs some thousands; a campaign:
# tests/sim/sim --schedules 1000000 --seed N
noinst_PROGRAMS += tests/sim/sim
tests_sim_sim_SOURCES = tests/sim/sim.c tests/sim/sim.h \
	tests/sim/check.c \
	tests/sim/sim_order.c \
	tests/sim/sim_quorum.c \
	tests/sim/site.c \
	tests/sim/world.c tests/sim/world.h
tests_sim_sim_LDADD = replication/libreplication.a base/libbase.a
# in `make check`: those schedules that once failed, and some thousands more
TESTS += tests/sim/check.sh
EXTRA_DIST += tests/sim/check.sh tests/model
