check_PROGRAMS += tests/fuzz/fuzz_vector
tests_fuzz_fuzz_vector_SOURCES = tests/fuzz/fuzz_vector.c $(FUZZ_MAIN)
tests_fuzz_fuzz_vector_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_vector_LDADD = replication/libreplication.a base/libbase.a
