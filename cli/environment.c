/* NAME=VALUE lists.  Every text is a copy of its own, so that set and unset need not know where one
 * came from; environments have some dozens of entries, and a walk finds them fast enough. */
#include "cli/environment.h"

#include <stdlib.h>
#include <string.h>

#include "base/percent.h"

#define BAGGAGE_MEMBERS_MAX 64
#define BAGGAGE_BYTES_MAX 8192
/* Besides letters and digits: baggage-octet less '%', so that decoding is unambiguous. */
#define BAGGAGE_PLAIN "!#$&'()*+-./:<=>?@[]^_`{|}~"

static int append(struct environment *env, char *var)
{
	if (env->count + 2 > env->room) {
		size_t room = env->room ? env->room * 2 : 64;
		char **vars = realloc(env->vars, room * sizeof(*vars));

		if (!vars) {
			free(var);
			return ERR_NOMEM;
		}
		env->vars = vars;
		env->room = room;
	}
	env->vars[env->count++] = var;
	env->vars[env->count] = NULL;
	return 0;
}

int environment_init(struct environment *env, char *const *vars)
{
	*env = (struct environment){ 0 };
	for (; *vars; vars++) {
		char *copy = strdup(*vars);

		if (!copy || append(env, copy))
			return ERR_NOMEM;
	}
	return 0;
}

void environment_fini(struct environment *env)
{
	for (size_t i = 0; i < env->count; i++)
		free(env->vars[i]);
	free(env->vars);
	*env = (struct environment){ 0 };
}

static bool is_named(const char *var, const char *name)
{
	size_t n = strlen(name);

	return strncmp(var, name, n) == 0 && var[n] == '=';
}

void environment_unset(struct environment *env, const char *name)
{
	size_t kept = 0;

	for (size_t i = 0; i < env->count; i++) {
		if (is_named(env->vars[i], name))
			free(env->vars[i]);
		else
			env->vars[kept++] = env->vars[i];
	}
	if (env->vars)
		env->vars[kept] = NULL;
	env->count = kept;
}

int environment_set(struct environment *env, const char *name, struct span value)
{
	struct buf var;
	const char *text;
	char *copy;

	buf_init(&var, NULL, 0);
	buf_addf(&var, "%s=", name);
	buf_add_span(&var, value);
	text = buf_cstr(&var);
	copy = text ? strdup(text) : NULL;
	buf_fini(&var);
	if (!copy)
		return ERR_NOMEM;
	environment_unset(env, name);
	return append(env, copy);
}

const char *environment_get(const struct environment *env, const char *name)
{
	for (size_t i = 0; i < env->count; i++) {
		if (is_named(env->vars[i], name))
			return env->vars[i] + strlen(name) + 1;
	}
	return NULL;
}

void environment_baggage(struct span scope, const char *before, struct buf *out)
{
	struct span rest = before ? span_of(before) : span_make(NULL, 0), member;
	unsigned members = 1;

	buf_add_z(out, "scope=");
	percent_encode(scope, BAGGAGE_PLAIN, out);
	while (members < BAGGAGE_MEMBERS_MAX && span_split(&rest, ',', &member)) {
		struct span key;

		member = span_trim(member);
		key = span_trim(span_head(member, strcspn(member.n ? member.p : "", "=;,")));
		if (!member.n || span_eq(key, SPAN("scope")) ||
		    buf_len(out) + member.n + 1 > BAGGAGE_BYTES_MAX)
			continue;
		buf_add_char(out, ',');
		buf_add_span(out, member);
		members++;
	}
}
