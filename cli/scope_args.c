/* Words into a scope.  A shell hands `{ image: DC 1, compute: DC 2 }` over as nine words; the
 * scope is those words joined by blanks, up to the next option.  Where the words can also hold
 * the URL, exactly one word is left for it when no other word of the command line can be the URL,
 * and none otherwise: the choice does not depend on what happens to parse, since `image: dc1
 * host/path` is a scope too ("dc1 host", else "path"). */
#include "cli/scope_args.h"

int scope_args_begin(struct scope_args *a, const char *word)
{
	if (a->given)
		return ERR_EXISTS;
	a->given = a->open = true;
	a->words[a->count++] = word;
	return 0;
}

bool scope_args_take(struct scope_args *a, const char *word)
{
	if (!a->open || a->count == SCOPE_ARGS_WORDS)
		return false;
	a->words[a->count++] = word;
	return true;
}

void scope_args_end(struct scope_args *a)
{
	a->open = false;
}

void scope_args_join(const struct scope_args *a, size_t words, struct buf *text_r)
{
	for (size_t i = 0; i < words; i++) {
		if (i)
			buf_add_char(text_r, ' ');
		buf_add_z(text_r, a->words[i]);
	}
}

static int settle_words(const struct scope_args *a, size_t words, struct buf *canonical_r,
                        FILE *complain)
{
	struct buf text;
	int rc;

	buf_init(&text, NULL, 0);
	scope_args_join(a, words, &text);
	rc = text.failed ? ERR_NOMEM : scope_text_read(buf_span(&text), canonical_r, NULL, complain);
	buf_fini(&text);
	return rc;
}

int scope_args_settle(const struct scope_args *a, size_t leave, struct buf *canonical_r,
                      size_t *parsed_r, FILE *complain)
{
	size_t words = a->count - leave;
	int rc = settle_words(a, words, canonical_r, NULL);

	*parsed_r = words;
	if (rc != ERR_SYNTAX)
		return rc;
	while (--words) {
		if (settle_words(a, words, NULL, NULL) == 0) {
			*parsed_r = words;
			return ERR_INVALID;
		}
	}
	*parsed_r = 0;
	return settle_words(a, a->count - leave, NULL, complain);
}
