/* scopectl sites: GET /v1/sites as a table. */
#include <jansson.h>
#include <string.h>

#include "cli/admin.h"
#include "cli/cli.h"

static void add_joined(struct table *t, const json_t *value, const char *sep)
{
	struct buf text;

	buf_init(&text, NULL, 0);
	admin_join(value, sep, &text);
	table_add(t, buf_span(&text), LOOK_PLAIN);
	buf_fini(&text);
}

static void add_number(struct table *t, const json_t *number, const char *fmt)
{
	if (json_is_number(number))
		table_addf(t, fmt, json_number_value(number)); /* NOLINT: fmt is one of ours */
	else
		table_add(t, SPAN(""), LOOK_DIM);
}

static void on_page(struct table *t, const json_t *page)
{
	const char *own = admin_text(page, "site");
	const json_t *site;
	size_t i;

	json_array_foreach(json_object_get(page, "sites"), i, site) {
		const char *name = admin_text(site, "name"), *state = admin_text(site, "state");

		table_addf(t, "%s%s", name ? name : "?", name && own && !strcmp(name, own) ? "*" : "");
		table_add(t, span_of(state), table_state_look(state ? state : ""));
		add_number(t, json_object_get(site, "rtt_ms"), "%.1f ms");
		add_joined(t, json_object_get(site, "services"), " ");
		add_joined(t, json_object_get(site, "labels"), " ");
		table_add(t, span_of(admin_text(site, "mesh")), LOOK_PLAIN);
		add_number(t, json_object_get(site, "queued"), "%.0f");
		table_add(t, span_of(admin_text(site, "last_seen")), LOOK_PLAIN);
	}
}

int cmd_sites(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	static const char *const heads[] = { "SITE",   "STATE", ">RTT",    "SERVICES",
		                             "LABELS", "MESH",  ">QUEUED", "LAST SEEN" };
	static const struct admin_list list = { "/v1/sites?limit=1000", "sites", heads,
		                                sizeof(heads) / sizeof(heads[0]), on_page };

	return admin_print_list(cli, verb, argc, argv, &list);
}
