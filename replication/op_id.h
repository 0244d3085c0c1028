/* Who an operation is: the site it entered at, that site's incarnation (random, anew at every start of its store), and
 * a number that counts from 1 within the incarnation.  So a database that was set back never gives an id twice. */
#ifndef REPLICATION_OP_ID_H
#define REPLICATION_OP_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

#define OP_SITE_BYTES 65       /* a name of a site with its NUL */
#define OP_ID_TEXT_BYTES (OP_SITE_BYTES + 1 + 16 + 1 + 19)
#define OP_NUMBER_MOST INT64_MAX

struct op_id {
	char site[OP_SITE_BYTES];
	uint64_t incarnation, number; /* 1..OP_NUMBER_MOST each */
};

/* "dc1-00f3a5…-17", as the admin interface shows it: names of sites may hold a '-', the other two parts do not. */
void op_id_format(const struct op_id *id, char text_r[OP_ID_TEXT_BYTES]);
/* False when it is none. */
bool op_id_parse(struct span text, struct op_id *id_r);
bool op_id_eq(const struct op_id *a, const struct op_id *b);
/* By site, incarnation, number: the order that decides between equal clocks (replication.md 4.3). */
int op_id_compare(const struct op_id *a, const struct op_id *b);

#endif
