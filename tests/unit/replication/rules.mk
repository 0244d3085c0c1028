check_PROGRAMS += tests/unit/replication/test_rules
tests_unit_replication_test_rules_SOURCES = tests/unit/replication/test_rules.c tests/unit/replication/rules_rows.h
tests_unit_replication_test_rules_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_replication_test_rules_LDADD = replication/libreplication.a base/libbase.a $(JANSSON_LIBS) $(CMOCKA_LIBS)
TESTS += tests/unit/replication/test_rules

check_PROGRAMS += tests/unit/replication/test_member
tests_unit_replication_test_member_SOURCES = tests/unit/replication/test_member.c
tests_unit_replication_test_member_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_replication_test_member_LDADD = replication/libreplication.a base/libbase.a $(JANSSON_LIBS) $(CMOCKA_LIBS)
TESTS += tests/unit/replication/test_member

check_PROGRAMS += tests/unit/replication/test_page
tests_unit_replication_test_page_SOURCES = tests/unit/replication/test_page.c
tests_unit_replication_test_page_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS) $(JANSSON_CFLAGS)
tests_unit_replication_test_page_LDADD = replication/libreplication.a base/libbase.a $(JANSSON_LIBS) $(CMOCKA_LIBS)
TESTS += tests/unit/replication/test_page
