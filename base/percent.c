#include "base/percent.h"

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

unsigned char percent_next(struct span s, size_t *at)
{
	int high = s.p[*at] == '%' && *at + 2 < s.n ? hex(s.p[*at + 1]) : -1;
	int low = high >= 0 ? hex(s.p[*at + 2]) : -1;

	if (low < 0)
		return (unsigned char)s.p[(*at)++];
	*at += 3;
	return (unsigned char)(high * 16 + low);
}

bool percent_decode(struct arena *arena, struct span in, struct span *out_r)
{
	char *p = arena_alloc(arena, in.n + 1);
	size_t n = 0;

	if (!p)
		return false;
	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] == '%') {
			int hi = i + 2 < in.n ? hex(in.p[i + 1]) : -1;
			int lo = i + 2 < in.n ? hex(in.p[i + 2]) : -1;

			if (hi < 0 || lo < 0)
				return false;
			p[n++] = (char)(hi * 16 + lo);
			i += 2;
		} else {
			p[n++] = in.p[i];
		}
	}
	p[n] = '\0';
	*out_r = span_make(p, n);
	return true;
}

bool percent_query_get(struct span path_query, struct span name, struct span *value_r)
{
	struct span rest = span_from(path_query, span_find(path_query, '?') + 1), pair;

	if (!rest.n)
		return false;
	while (span_split(&rest, '&', &pair)) {
		size_t eq = span_find(pair, '=');

		if (span_eq(span_head(pair, eq), name)) {
			*value_r = span_from(pair, eq + 1);
			return true;
		}
	}
	return false;
}

void percent_encode(struct span in, const char *plain, struct buf *out)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];

		if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		    (c && strchr(plain, c)))
			buf_add_char(out, (char)c);
		else
			buf_add(out, (char[]){ '%', digits[c >> 4], digits[c & 15] }, 3);
	}
}
