check_PROGRAMS += tests/fuzz/fuzz_splice
tests_fuzz_fuzz_splice_SOURCES = tests/fuzz/fuzz_splice.c tests/unit/replication/splice_bed.h $(FUZZ_MAIN)
tests_fuzz_fuzz_splice_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_splice_LDADD = replication/libreplication.a base/libbase.a

check_PROGRAMS += tests/fuzz/fuzz_page
tests_fuzz_fuzz_page_SOURCES = tests/fuzz/fuzz_page.c $(FUZZ_MAIN)
tests_fuzz_fuzz_page_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_page_LDADD = replication/libreplication.a base/libbase.a
