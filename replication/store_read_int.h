/* Between store_read.c and store_view.c: rows and what they hold. */
#ifndef REPLICATION_STORE_READ_INT_H
#define REPLICATION_STORE_READ_INT_H

#include "replication/store_int.h"

typedef int on_row(void *arg, sqlite3_stmt *stmt);
/* Every row, until `on` returns other than 0, which is the result then. */
int store_each(struct store_reader *r, const char *sql, const struct value *values, int count, on_row *on,
               void *arg) MUST_CHECK;

static inline struct span column(sqlite3_stmt *stmt, int i)
{
	const char *p = sqlite3_column_blob(stmt, i); /* text as it is stored: no conversion, no NUL */

	return span_make(p ? p : "", p ? (size_t)sqlite3_column_bytes(stmt, i) : 0);
}

static inline uint64_t number(sqlite3_stmt *stmt, int i)
{
	return (uint64_t)sqlite3_column_int64(stmt, i);
}

/* From column i on. */
static inline void read_op_id(sqlite3_stmt *stmt, int i, struct op_id *id)
{
	struct span site = column(stmt, i);

	*id = (struct op_id){ .incarnation = number(stmt, i + 1), .number = number(stmt, i + 2) };
	site = span_head(site, sizeof(id->site) - 1);
	memcpy(id->site, site.p, site.n);
}

static inline struct store_key_of read_key(sqlite3_stmt *stmt, int i)
{
	return (struct store_key_of){ column(stmt, i), column(stmt, i + 1), column(stmt, i + 2) };
}

#define KEY_VALUES(k) \
	{ .type = VALUE_TEXT, .s = (k)->service }, { .type = VALUE_TEXT, .s = (k)->collection }, \
		{ .type = VALUE_TEXT, .s = (k)->meta }
#define OP_VALUES(id) \
	{ .type = VALUE_TEXT, .s = span_of((id)->site) }, { .type = VALUE_INT, .i = (int64_t)(id)->incarnation }, \
		{ .type = VALUE_INT, .i = (int64_t)(id)->number }
#define COUNT(values) ((int)(sizeof(values) / sizeof(values[0])))

#define OPERATION_SHORT "o.site, o.incarnation, o.number, o.service, o.collection, o.meta, o.kind, o.clock, o.method," \
	" o.path, o.query, o.spool, o.body_bytes, o.parent, o.principal, o.created"
#define OPERATION_SHORT_COLUMNS 16

static inline void read_operation(sqlite3_stmt *stmt, struct store_operation *op)
{
	*op = (struct store_operation){ .key = read_key(stmt, 3), .kind = (enum operation_kind)number(stmt, 6),
		.clock = number(stmt, 7), .method = column(stmt, 8), .path = column(stmt, 9), .query = column(stmt, 10),
		.spool = column(stmt, 11), .body_bytes = sqlite3_column_int64(stmt, 12), .parent = column(stmt, 13),
		.principal = column(stmt, 14), .created_ms = sqlite3_column_int64(stmt, 15) };
	read_op_id(stmt, 0, &op->id);
}

#define RESOURCE "service, collection, meta, class, sites, vector, created, deleted, rid"

static inline struct store_resource read_resource(sqlite3_stmt *stmt)
{
	return (struct store_resource){ .key = read_key(stmt, 0), .class = (enum consistency)number(stmt, 3),
		.sites = column(stmt, 4), .vector = column(stmt, 5), .created_ms = sqlite3_column_int64(stmt, 6),
		.deleted = number(stmt, 7) };
}

#endif
