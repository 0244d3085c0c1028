/* A span is a pointer and a length, passed by value: a piece of text that somebody else owns.
 * Nothing keeps a span beyond the life of the buffer or arena it points into.  It is not
 * NUL-terminated and may hold any byte. */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct span {
	const char *p;
	size_t n;
};

/* For literals only; the length is known at compile time. */
#define SPAN(lit) ((struct span){ (lit), sizeof(lit) - 1 })
/* printf: "%.*s" with SPAN_ARG(s). */
#define SPAN_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct span span_make(const char *p, size_t n)
{
	return (struct span){ p, n };
}

static inline struct span span_of(const char *z)
{
	return (struct span){ z, z ? strlen(z) : 0 };
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Compares ASCII letters without case, as HTTP field names and tokens are. */
static inline bool span_ieq(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

/* Byte for byte, as memcmp; the shorter first. */
static inline int span_compare(struct span a, struct span b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

static inline bool span_starts(struct span s, struct span prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

static inline bool span_istarts(struct span s, struct span prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 || strncasecmp(s.p, prefix.p, prefix.n) == 0);
}

/* The rest of s after its first n bytes (all of it gone when n is larger). */
static inline struct span span_from(struct span s, size_t n)
{
	if (n > s.n)
		n = s.n;
	return (struct span){ s.p + n, s.n - n };
}

static inline struct span span_head(struct span s, size_t n)
{
	return (struct span){ s.p, n < s.n ? n : s.n };
}

/* Without leading and trailing blanks and tabs (OWS, RFC 9110 5.6.3). */
static inline struct span span_trim(struct span s)
{
	while (s.n && (*s.p == ' ' || *s.p == '\t'))
		s.p++, s.n--;
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

/* Index of the first c, or s.n. */
static inline size_t span_find(struct span s, char c)
{
	const char *q = s.n ? memchr(s.p, c, s.n) : NULL;

	return q ? (size_t)(q - s.p) : s.n;
}

/* Takes the part before the first sep off *rest (and the sep with it). False when *rest was
 * used up already; a text without sep is one part, "a," is "a" and then "". */
static inline bool span_split(struct span *rest, char sep, struct span *part_r)
{
	size_t at;

	if (!rest->p)
		return false;
	at = span_find(*rest, sep);
	*part_r = span_head(*rest, at);
	if (at == rest->n)
		*rest = (struct span){ NULL, 0 };
	else
		*rest = span_from(*rest, at + 1);
	return true;
}

/* Decimal digits only, no sign, no blank; false when empty, not digits or above max. */
static inline bool span_to_u64(struct span s, unsigned long long max, unsigned long long *value_r)
{
	unsigned long long v = 0;

	if (!s.n)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned d = (unsigned char)s.p[i] - '0';

		if (d > 9 || d > max || v > (max - d) / 10)
			return false;
		v = v * 10 + d;
	}
	*value_r = v;
	return true;
}

#endif
