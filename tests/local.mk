# Unit tests: one program per module, cmocka (TAP), no sockets.
include tests/unit/local.mk
include tests/scenario/local.mk
include tests/fault/local.mk
include tests/fuzz/local.mk
# System tests start real daemons; ./bootstrap check runs them on every build.  TAP from cmocka, so that
# single tests can be counted (tests/tally).
AM_TESTS_ENVIRONMENT = CMOCKA_MESSAGE_OUTPUT=TAP; export CMOCKA_MESSAGE_OUTPUT;
TESTS += tests/check-includes
EXTRA_DIST += tests/check-includes tests/tally tests/system
