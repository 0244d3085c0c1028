HTTP_TESTS = tests/unit/http/test_guard tests/unit/http/test_field tests/unit/http/test_head \
	tests/unit/http/test_body tests/unit/http/test_problem
HTTP_TEST_LIBS = $(HTTP_LIBS) base/libbase.a $(CMOCKA_LIBS)
check_PROGRAMS += $(HTTP_TESTS)
TESTS += $(HTTP_TESTS)
tests_unit_http_test_guard_SOURCES = tests/unit/http/test_guard.c tests/unit/http/support.h
tests_unit_http_test_guard_LDADD = $(HTTP_TEST_LIBS)
tests_unit_http_test_field_SOURCES = tests/unit/http/test_field.c tests/unit/http/support.h
tests_unit_http_test_field_LDADD = $(HTTP_TEST_LIBS)
tests_unit_http_test_head_SOURCES = tests/unit/http/test_head.c tests/unit/http/support.h
if LLHTTP_FROM_SOURCES
if LLHTTP_SSE42
tests_unit_http_test_head_CPPFLAGS = $(AM_CPPFLAGS) -DLLHTTP_SSE42
endif
endif
tests_unit_http_test_head_LDADD = $(HTTP_TEST_LIBS)
tests_unit_http_test_body_SOURCES = tests/unit/http/test_body.c tests/unit/http/support.h
tests_unit_http_test_body_LDADD = $(HTTP_TEST_LIBS)
tests_unit_http_test_problem_SOURCES = tests/unit/http/test_problem.c tests/unit/http/support.h
tests_unit_http_test_problem_LDADD = $(HTTP_TEST_LIBS)
