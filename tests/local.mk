# Unit tests: one program per module, cmocka (TAP), no sockets.
include tests/unit/local.mk
include tests/scenario/local.mk
include tests/fault/local.mk
include tests/fuzz/local.mk
include tests/sim/local.mk
# System tests start real daemons; ./bootstrap check runs them on every build.  TAP from cmocka, so that
# single tests can be counted (tests/tally).
AM_TESTS_ENVIRONMENT = CMOCKA_MESSAGE_OUTPUT=TAP; export CMOCKA_MESSAGE_OUTPUT;
TESTS += tests/check-includes
EXTRA_DIST += tests/check-includes tests/tally tests/system tests/chaos
# For system tests that begin with a filled store; they make it when it is not there.
EXTRA_PROGRAMS += tests/system/seed_store
tests_system_seed_store_SOURCES = tests/system/seed_store.c
tests_system_seed_store_LDADD = replication/libreplication.a base/libbase.a $(SQLITE_LIBS)
CLEANFILES += tests/system/seed_store
# Campaigns with real sites, as root: they take minutes, and another seed each time.
.PHONY: chaos power-cuts
chaos power-cuts: scopemeshd scopectl
	SCOPEMESHD=$(abs_builddir)/scopemeshd SCOPECTL=$(abs_builddir)/scopectl PYTHONDONTWRITEBYTECODE=1 \
		$(PYTHON3) $(srcdir)/tests/chaos/$(@:power-cuts=power).py
