# Fuzz targets of http/; FUZZ_MAIN is local.mk's.
HTTP_FUZZ_LIBS = $(HTTP_LIBS) base/libbase.a
check_PROGRAMS += tests/fuzz/fuzz_http_request tests/fuzz/fuzz_http_response tests/fuzz/fuzz_http_body
tests_fuzz_fuzz_http_request_SOURCES = tests/fuzz/fuzz_http_request.c tests/fuzz/http_head.h $(FUZZ_MAIN)
tests_fuzz_fuzz_http_request_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_http_request_LDADD = $(HTTP_FUZZ_LIBS)
tests_fuzz_fuzz_http_response_SOURCES = tests/fuzz/fuzz_http_response.c tests/fuzz/http_head.h $(FUZZ_MAIN)
tests_fuzz_fuzz_http_response_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_http_response_LDADD = $(HTTP_FUZZ_LIBS)
tests_fuzz_fuzz_http_body_SOURCES = tests/fuzz/fuzz_http_body.c $(FUZZ_MAIN)
tests_fuzz_fuzz_http_body_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_fuzz_http_body_LDADD = $(HTTP_FUZZ_LIBS)
