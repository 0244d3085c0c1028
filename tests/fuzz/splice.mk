check_PROGRAMS += tests/fuzz/fuzz_splice
tests_fuzz_fuzz_splice_SOURCES = tests/fuzz/fuzz_splice.c tests/unit/replication/splice_bed.h $(FUZZ_MAIN)
tests_fuzz_fuzz_splice_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_splice_LDADD = replication/libreplication.a base/libbase.a
