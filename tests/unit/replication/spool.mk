check_PROGRAMS += tests/unit/replication/test_seal
tests_unit_replication_test_seal_SOURCES = tests/unit/replication/test_seal.c
tests_unit_replication_test_seal_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_replication_test_seal_LDADD = replication/libreplication.a base/libbase.a $(OPENSSL_LIBS) $(CMOCKA_LIBS)
TESTS += tests/unit/replication/test_seal
# The disk fails through the linker's wrapping of what the spool calls.
check_PROGRAMS += tests/unit/replication/test_spool
tests_unit_replication_test_spool_SOURCES = tests/unit/replication/test_spool.c tests/unit/replication/spool_bed.h \
	tests/unit/replication/spool_calls.h
tests_unit_replication_test_spool_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_replication_test_spool_LDADD = replication/libreplication.a base/libbase.a $(CMOCKA_LIBS)
tests_unit_replication_test_spool_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=pwrite,--wrap=pread,--wrap=fsync,--wrap=renameat \
	-Wl,--wrap=unlinkat,--wrap=openat
TESTS += tests/unit/replication/test_spool
