/* The daemon's admin interface as a client sees it. */
#ifndef CLI_ADMIN_H
#define CLI_ADMIN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/buf.h"
#include "cli/cli.h"
#include "cli/table.h"

struct admin_answer {
	long status;
	struct buf body;
	json_t *json; /* the body read, or NULL when it is no JSON object */
};

/* GET of path (with query). CLI_DONE with any answer, CLI_NO_DAEMON when there was none (complained
 * about), CLI_FAILED for our own trouble. admin_answer_fini in every case. */
int admin_get(const struct cli *cli, const char *path, struct admin_answer *answer_r) MUST_CHECK;
/* The same with another method and JSON content. */
int admin_send(const struct cli *cli, const char *method, const char *path, const char *content,
               struct admin_answer *answer_r) MUST_CHECK;
void admin_answer_fini(struct admin_answer *answer);

/* The same for what must be a 200 with a JSON object that has the array `list`; anything else is
 * complained about: CLI_USAGE for 400 and 404, CLI_FAILED otherwise. */
int admin_get_object(const struct cli *cli, const char *path, const char *list,
                     struct admin_answer *answer_r) MUST_CHECK;

/* Complains about an answer that is no success, with its problem document; CLI_USAGE for 400 and 404, else
 * CLI_FAILED. */
int admin_complain(const struct cli *cli, const char *path, const struct admin_answer *answer);

/* Every page of a list (`next` and `after`): on_page for each; with --json each is printed as it
 * came instead. */
int admin_get_list(const struct cli *cli, const char *path, const char *list,
                   void (*on_page)(struct table *t, const json_t *page), struct table *t) MUST_CHECK;

/* A verb that prints one list of the admin interface as a table; its exit status. */
struct admin_list {
	const char *path, *list;
	const char *const *heads;
	size_t columns;
	void (*on_page)(struct table *t, const json_t *page);
};

int admin_print_list(struct cli *cli, const struct cli_verb *verb, int argc, char **argv,
                     const struct admin_list *list);

/* What admin_get_list has put together; `none` in its place when it has no rows.  With --json nothing, since it has been
 * printed. The exit status. */
int admin_print_table(const struct cli *cli, const struct table *t, const char *none) MUST_CHECK;

/* One thing of the admin interface, printed as it came with --json; its exit status: CLI_FAILED when there is no such
 * thing, or several. */
int admin_show(const struct cli *cli, struct buf *path, void (*print)(const struct cli *cli, const json_t *object))
	MUST_CHECK;
/* The same of what POST answers. */
int admin_change(const struct cli *cli, const char *path, const char *content,
                 void (*print)(const struct cli *cli, const json_t *object)) MUST_CHECK;

/* A problem document as lines of text: title and detail, the scope with its caret, what was
 * expected, hint, known and nearest names. False when it is none. */
bool admin_problem_print(const json_t *problem, FILE *out);

/* Text of a member: strings as they are, NULL for everything else. */
const char *admin_text(const json_t *object, const char *key);
/* An array of strings, or an object of strings as k=v, joined with sep. */
void admin_join(const json_t *value, const char *sep, struct buf *out);

#endif
