/* Errors: a function that can fail returns 0 or a negative code; a struct err joins where text
 * helps an operator.  The one who decides what happens next logs, nobody else. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

/* name, text.  Codes count down from -1 in this order. */
#define ERR_CODES(X) \
	X(ERR_NOMEM, "out of memory") \
	X(ERR_INVALID, "invalid value") \
	X(ERR_SYNTAX, "syntax error") \
	X(ERR_LIMIT, "limit exceeded") \
	X(ERR_NOT_FOUND, "not found") \
	X(ERR_EXISTS, "exists already") \
	X(ERR_IO, "input/output error") \
	X(ERR_BUSY, "in use") \
	X(ERR_UNREACHABLE, "cannot be reached") \
	X(ERR_TIMEOUT, "timed out") \
	X(ERR_CLOSED, "closed") \
	X(ERR_UNSUPPORTED, "not supported") \
	X(ERR_DENIED, "not allowed")

enum err_code {
	ERR_OK_ = 0,
#define ERR_ORDINAL(name, text) name##_ORDINAL,
	ERR_ORDINAL_START_ = 0,
	ERR_CODES(ERR_ORDINAL)
#undef ERR_ORDINAL
	ERR_ORDINALS_,
#define ERR_VALUE(name, text) name = -name##_ORDINAL,
	ERR_CODES(ERR_VALUE)
#undef ERR_VALUE
};

struct err {
	int code;
	char text[512];
};

/* Must-check attribute for fallible calls. */
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* The fixed text of a code; "unknown error" for what is none. */
const char *err_text(int code);

/* Fills e (may be NULL) and returns code, so that "return err_set(e, ERR_X, ...)" reads well.
 * Text that does not fit is cut. */
int err_set(struct err *e, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The code for an errno value. */
int err_from_errno(int error);

#endif
