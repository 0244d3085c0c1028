check_PROGRAMS += tests/unit/base/test_base
tests_unit_base_test_base_SOURCES = tests/unit/base/test_base.c
tests_unit_base_test_base_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_base_test_base_LDADD = base/libbase.a $(CMOCKA_LIBS)
TESTS += tests/unit/base/test_base

check_PROGRAMS += tests/unit/base/test_opt
tests_unit_base_test_opt_SOURCES = tests/unit/base/test_opt.c
tests_unit_base_test_opt_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_base_test_opt_LDADD = base/libbase.a $(FYAML_LIBS) $(CMOCKA_LIBS)
TESTS += tests/unit/base/test_opt
