#include "replication/states.h"

#define TEXT(name, text) text,
static const char *const replica_states[] = { REPLICA_STATES(TEXT) };
static const char *const delivery_states[] = { DELIVERY_STATES(TEXT) };
static const char *const operation_kinds[] = { OPERATION_KINDS(TEXT) };
static const char *const classes[] = { CLASSES(TEXT) };
#undef TEXT

static const char *text_of(const char *const *words, int count, int value)
{
	return value >= 0 && value < count ? words[value] : "unknown";
}

static int value_of(const char *const *words, int count, struct span word)
{
	for (int i = 0; i < count; i++)
		if (span_eq(span_of(words[i]), word))
			return i;
	return -1;
}

bool replica_lacks_create(enum replica_state state, struct span reason)
{
	static const char *const has[] = { REPLICA_BUILDING, REPLICA_BUILD_FAILED, REPLICA_NOT_READY, REPLICA_WRITES_WAIT };

	return state != REPLICA_SYNCED && state != REPLICA_CONFLICT &&
	       value_of(has, sizeof(has) / sizeof(has[0]), reason) < 0;
}

const char *replica_state_text(enum replica_state state)
{
	return text_of(replica_states, REPLICA_STATES_, (int)state);
}

const char *delivery_state_text(enum delivery_state state)
{
	return text_of(delivery_states, DELIVERY_STATES_, (int)state);
}

const char *operation_kind_text(enum operation_kind kind)
{
	return text_of(operation_kinds, OPERATION_KINDS_, (int)kind);
}

const char *consistency_text(enum consistency class)
{
	return text_of(classes, CLASSES_, (int)class);
}

bool replica_state_parse(struct span word, enum replica_state *state_r)
{
	int value = value_of(replica_states, REPLICA_STATES_, word);

	if (value >= 0)
		*state_r = (enum replica_state)value;
	return value >= 0;
}

bool delivery_state_parse(struct span word, enum delivery_state *state_r)
{
	int value = value_of(delivery_states, DELIVERY_STATES_, word);

	if (value >= 0)
		*state_r = (enum delivery_state)value;
	return value >= 0;
}

bool operation_kind_parse(struct span word, enum operation_kind *kind_r)
{
	int value = value_of(operation_kinds, OPERATION_KINDS_, word);

	if (value >= 0)
		*kind_r = (enum operation_kind)value;
	return value >= 0;
}

bool consistency_parse(struct span word, enum consistency *class_r)
{
	int value = value_of(classes, CLASSES_, word);

	if (value >= 0)
		*class_r = (enum consistency)value;
	return value >= 0;
}
