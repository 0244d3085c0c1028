check_PROGRAMS += tests/unit/replication/test_order
tests_unit_replication_test_order_SOURCES = tests/unit/replication/test_order.c
tests_unit_replication_test_order_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
# allocations that fail
tests_unit_replication_test_order_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
tests_unit_replication_test_order_LDADD = replication/libreplication.a base/libbase.a $(CMOCKA_LIBS)
TESTS += tests/unit/replication/test_order
check_PROGRAMS += tests/unit/replication/test_vector
tests_unit_replication_test_vector_SOURCES = tests/unit/replication/test_vector.c
tests_unit_replication_test_vector_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_replication_test_vector_LDADD = replication/libreplication.a base/libbase.a $(CMOCKA_LIBS)
TESTS += tests/unit/replication/test_vector
check_PROGRAMS += tests/unit/replication/test_quorum
tests_unit_replication_test_quorum_SOURCES = tests/unit/replication/test_quorum.c
tests_unit_replication_test_quorum_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_replication_test_quorum_LDADD = replication/libreplication.a base/libbase.a $(CMOCKA_LIBS)
TESTS += tests/unit/replication/test_quorum
