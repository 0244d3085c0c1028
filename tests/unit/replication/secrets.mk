check_PROGRAMS += tests/unit/replication/test_seal
tests_unit_replication_test_seal_SOURCES = tests/unit/replication/test_seal.c
tests_unit_replication_test_seal_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_replication_test_seal_LDADD = replication/libreplication.a base/libbase.a $(OPENSSL_LIBS) $(CMOCKA_LIBS)
TESTS += tests/unit/replication/test_seal
