check_PROGRAMS += tests/unit/registry/test_registry
tests_unit_registry_test_registry_SOURCES = tests/unit/registry/test_registry.c
tests_unit_registry_test_registry_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_registry_test_registry_LDADD = registry/libregistry.a base/libbase.a $(FYAML_LIBS) $(CMOCKA_LIBS)
TESTS += tests/unit/registry/test_registry
