# Fuzz targets of proxy/: both sides of the connection machine, on the bed of the scenarios, and the configuration.
MACHINE_FUZZ_SOURCES = tests/fuzz/machine.h tests/scenario/bed.c tests/scenario/bed.h $(FUZZ_MAIN)
EXTRA_DIST += tests/fuzz/machine.dict
check_PROGRAMS += tests/fuzz/fuzz_machine_request tests/fuzz/fuzz_machine_response tests/fuzz/fuzz_conf
tests_fuzz_fuzz_machine_request_SOURCES = tests/fuzz/fuzz_machine_request.c $(MACHINE_FUZZ_SOURCES)
tests_fuzz_fuzz_machine_request_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS)
tests_fuzz_fuzz_machine_request_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_machine_request_LDADD = $(scopemeshd_LDADD) $(HTTP_LLHTTP)
tests_fuzz_fuzz_machine_response_SOURCES = tests/fuzz/fuzz_machine_response.c $(MACHINE_FUZZ_SOURCES)
tests_fuzz_fuzz_machine_response_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS)
tests_fuzz_fuzz_machine_response_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_machine_response_LDADD = $(scopemeshd_LDADD) $(HTTP_LLHTTP)
tests_fuzz_fuzz_conf_SOURCES = tests/fuzz/fuzz_conf.c tests/fuzz/machine.h $(FUZZ_MAIN)
tests_fuzz_fuzz_conf_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS)
tests_fuzz_fuzz_conf_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_conf_LDADD = $(scopemeshd_LDADD) $(HTTP_LLHTTP)

check_PROGRAMS += tests/fuzz/fuzz_correlation
tests_fuzz_fuzz_correlation_SOURCES = tests/fuzz/fuzz_correlation.c tests/fuzz/http_head.h $(FUZZ_MAIN)
tests_fuzz_fuzz_correlation_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_correlation_LDADD = proxy/libproxy.a base/libbase.a
