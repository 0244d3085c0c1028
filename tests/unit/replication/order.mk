check_PROGRAMS += tests/unit/replication/test_order
tests_unit_replication_test_order_SOURCES = tests/unit/replication/test_order.c
tests_unit_replication_test_order_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_replication_test_order_LDADD = replication/libreplication.a base/libbase.a $(CMOCKA_LIBS)
TESTS += tests/unit/replication/test_order
