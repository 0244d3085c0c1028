# Fuzz targets.  With --with-fuzzer (CC=clang) they are libFuzzer programs; else each replays its corpus
# in every `make check`.
EXTRA_DIST += tests/fuzz/corpus tests/fuzz/replay.sh tests/fuzz/require.h
if WITH_FUZZER
FUZZ_MAIN =
else
FUZZ_MAIN = tests/fuzz/replay.c
endif

check_PROGRAMS += tests/fuzz/fuzz_scope
tests_fuzz_fuzz_scope_SOURCES = tests/fuzz/fuzz_scope.c $(FUZZ_MAIN)
tests_fuzz_fuzz_scope_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_scope_LDADD = scope/libscope.a base/libbase.a
check_PROGRAMS += tests/fuzz/fuzz_announce
tests_fuzz_fuzz_announce_SOURCES = tests/fuzz/fuzz_announce.c $(FUZZ_MAIN)
tests_fuzz_fuzz_announce_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_announce_LDADD = registry/libregistry.a base/libbase.a $(FYAML_LIBS) $(JANSSON_LIBS)
TESTS += tests/fuzz/replay.sh
include tests/fuzz/http.mk
include tests/fuzz/machine.mk
include tests/fuzz/order.mk
include tests/fuzz/rules.mk
include tests/fuzz/splice.mk
