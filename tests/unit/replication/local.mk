REPLICATION_TEST_LIBS = replication/libreplication.a base/libbase.a $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/replication/test_hlc
tests_unit_replication_test_hlc_SOURCES = tests/unit/replication/test_hlc.c
tests_unit_replication_test_hlc_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_replication_test_hlc_LDADD = $(REPLICATION_TEST_LIBS)
TESTS += tests/unit/replication/test_hlc
