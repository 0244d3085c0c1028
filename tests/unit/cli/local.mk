check_PROGRAMS += tests/unit/cli/test_cli
tests_unit_cli_test_cli_SOURCES = tests/unit/cli/test_cli.c
tests_unit_cli_test_cli_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_cli_test_cli_LDADD = cli/libcli.a scope/libscope.a http/libhttp.a \
	base/libbase.a $(LLHTTP_LIBS) $(JANSSON_LIBS) $(CMOCKA_LIBS)
if LLHTTP_FROM_SOURCES
EXTRA_tests_unit_cli_test_cli_DEPENDENCIES = http/libllhttp.a
endif
TESTS += tests/unit/cli/test_cli
