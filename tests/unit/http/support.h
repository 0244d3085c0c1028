/* What the tests of http/ share. */
#ifndef TESTS_UNIT_HTTP_SUPPORT_H
#define TESTS_UNIT_HTTP_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/message.h"

#define assert_span(got, want) \
	do { \
		struct span got_ = (got), want_ = SPAN(want); \
		if (!span_eq(got_, want_)) \
			fail_msg("got \"%.*s\", want \"%.*s\"", SPAN_ARG(got_), SPAN_ARG(want_)); \
	} while (0)

/* A heap copy without a byte behind it, so that a sanitizer sees a read beyond the end. */
static inline struct span exact_copy(struct span s)
{
	char *p = malloc(s.n ? s.n : 1);

	assert_non_null(p);
	if (s.n)
		memcpy(p, s.p, s.n);
	return span_make(p, s.n);
}

#endif
