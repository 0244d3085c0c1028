#include "base/err.h"

#include <errno.h>
#include <stdio.h>

const char *err_text(int code)
{
	switch (code) {
	case 0:
		return "no error";
#define ERR_CASE(name, text) \
	case name: \
		return text;
		ERR_CODES(ERR_CASE)
#undef ERR_CASE
	default:
		return "unknown error";
	}
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return code;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return code;
}

int err_from_errno(int error)
{
	switch (error) {
	case 0:
		return 0;
	case ENOMEM:
		return ERR_NOMEM;
	case EINVAL:
		return ERR_INVALID;
	case ENOENT:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_EXISTS;
	case EADDRINUSE:
	case EBUSY:
		return ERR_BUSY;
	case EACCES:
	case EPERM:
		return ERR_DENIED;
	case ECONNREFUSED:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return ERR_UNREACHABLE;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case EPIPE:
	case ECONNRESET:
		return ERR_CLOSED;
	default:
		return ERR_IO;
	}
}
