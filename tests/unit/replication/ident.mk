check_PROGRAMS += tests/unit/replication/test_metaid
tests_unit_replication_test_metaid_SOURCES = tests/unit/replication/test_metaid.c
tests_unit_replication_test_metaid_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_replication_test_metaid_LDADD = replication/libreplication.a base/libbase.a $(OPENSSL_LIBS) $(CMOCKA_LIBS)
TESTS += tests/unit/replication/test_metaid
check_PROGRAMS += tests/unit/replication/test_splice
tests_unit_replication_test_splice_SOURCES = tests/unit/replication/test_splice.c \
	tests/unit/replication/splice_bed.h tests/unit/replication/splice_rows.h
tests_unit_replication_test_splice_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
tests_unit_replication_test_splice_LDADD = replication/libreplication.a base/libbase.a $(JANSSON_LIBS) $(CMOCKA_LIBS)
TESTS += tests/unit/replication/test_splice
