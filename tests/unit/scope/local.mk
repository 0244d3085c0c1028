check_PROGRAMS += tests/unit/scope/test_scope
tests_unit_scope_test_scope_SOURCES = tests/unit/scope/test_scope.c tests/unit/scope/accepted.h \
	tests/unit/scope/refused.h
tests_unit_scope_test_scope_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_scope_test_scope_LDADD = scope/libscope.a base/libbase.a $(CMOCKA_LIBS)
TESTS += tests/unit/scope/test_scope
