check_PROGRAMS += tests/unit/proxy/test_conf
tests_unit_proxy_test_conf_SOURCES = tests/unit/proxy/test_conf.c
tests_unit_proxy_test_conf_CPPFLAGS = $(AM_CPPFLAGS) -DSOURCE_DIR='"$(abs_top_srcdir)"'
tests_unit_proxy_test_conf_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proxy_test_conf_LDADD = proxy/libproxy.a replication/libreplication.a registry/libregistry.a \
	scope/libscope.a base/libbase.a $(FYAML_LIBS) $(OPENSSL_LIBS) $(JANSSON_LIBS) $(CMOCKA_LIBS)
TESTS += tests/unit/proxy/test_conf

check_PROGRAMS += tests/unit/proxy/test_carrier
tests_unit_proxy_test_carrier_SOURCES = tests/unit/proxy/test_carrier.c
tests_unit_proxy_test_carrier_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proxy_test_carrier_LDADD = $(scopemeshd_LDADD) $(CMOCKA_LIBS)
TESTS += tests/unit/proxy/test_carrier

check_PROGRAMS += tests/unit/proxy/test_deadline
tests_unit_proxy_test_deadline_SOURCES = tests/unit/proxy/test_deadline.c
tests_unit_proxy_test_deadline_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proxy_test_deadline_LDADD = proxy/libproxy.a $(CMOCKA_LIBS)
TESTS += tests/unit/proxy/test_deadline

check_PROGRAMS += tests/unit/proxy/test_mesh_version
tests_unit_proxy_test_mesh_version_SOURCES = tests/unit/proxy/test_mesh_version.c
tests_unit_proxy_test_mesh_version_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proxy_test_mesh_version_LDADD = proxy/libproxy.a base/libbase.a $(CMOCKA_LIBS)
TESTS += tests/unit/proxy/test_mesh_version

check_PROGRAMS += tests/unit/proxy/test_correlation
tests_unit_proxy_test_correlation_SOURCES = tests/unit/proxy/test_correlation.c
tests_unit_proxy_test_correlation_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proxy_test_correlation_LDADD = proxy/libproxy.a base/libbase.a $(CMOCKA_LIBS)
TESTS += tests/unit/proxy/test_correlation

check_PROGRAMS += tests/unit/proxy/test_instance
tests_unit_proxy_test_instance_SOURCES = tests/unit/proxy/test_instance.c
tests_unit_proxy_test_instance_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proxy_test_instance_LDADD = proxy/libproxy.a base/libbase.a $(CMOCKA_LIBS)
TESTS += tests/unit/proxy/test_instance

check_PROGRAMS += tests/unit/proxy/test_client_table
tests_unit_proxy_test_client_table_SOURCES = tests/unit/proxy/test_client_table.c
tests_unit_proxy_test_client_table_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proxy_test_client_table_LDADD = proxy/libproxy.a base/libbase.a $(CMOCKA_LIBS)
TESTS += tests/unit/proxy/test_client_table
check_PROGRAMS += tests/unit/proxy/test_io_loop
tests_unit_proxy_test_io_loop_SOURCES = tests/unit/proxy/test_io_loop.c
tests_unit_proxy_test_io_loop_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proxy_test_io_loop_LDADD = proxy/libproxy.a base/libbase.a $(EVENT_LIBS) $(CMOCKA_LIBS)
TESTS += tests/unit/proxy/test_io_loop
check_PROGRAMS += tests/unit/proxy/test_inner
tests_unit_proxy_test_inner_SOURCES = tests/unit/proxy/test_inner.c tests/scenario/bed.c tests/scenario/bed.h
tests_unit_proxy_test_inner_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proxy_test_inner_LDADD = $(scopemeshd_LDADD) $(CMOCKA_LIBS)
TESTS += tests/unit/proxy/test_inner

check_PROGRAMS += tests/unit/proxy/test_operation
tests_unit_proxy_test_operation_SOURCES = tests/unit/proxy/test_operation.c
tests_unit_proxy_test_operation_CFLAGS = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proxy_test_operation_LDADD = $(scopemeshd_LDADD) $(CMOCKA_LIBS)
TESTS += tests/unit/proxy/test_operation

check_PROGRAMS += tests/unit/proxy/test_replication
tests_unit_proxy_test_replication_SOURCES = tests/unit/proxy/test_replication.c
tests_unit_proxy_test_replication_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS) $(CMOCKA_CFLAGS)
tests_unit_proxy_test_replication_LDADD = $(scopemeshd_LDADD) $(CMOCKA_LIBS)
TESTS += tests/unit/proxy/test_replication
