/* scopectl services: GET /v1/services as a table, a row per instance. */
#include <jansson.h>
#include <string.h>

#include "cli/admin.h"
#include "cli/cli.h"
#include "cli/table.h"

static void add_instance(struct table *t, const json_t *service, const json_t *instance)
{
	const char *health = admin_text(instance, "health");
	const json_t *load = json_object_get(instance, "load");

	table_add(t, span_of(admin_text(service, "service")), LOOK_PLAIN);
	table_add(t, span_of(admin_text(service, "site")), LOOK_PLAIN);
	table_add(t, instance ? span_of(admin_text(instance, "url")) : SPAN("no instance"),
	          instance ? LOOK_PLAIN : LOOK_BAD);
	table_add(t, span_of(health), table_state_look(health ? health : ""));
	if (json_is_number(load))
		table_addf(t, "%g", json_number_value(load));
	else
		table_add(t, SPAN(""), LOOK_DIM);
	table_add(t, span_of(admin_text(instance, "since")), LOOK_PLAIN);
}

static void on_page(void *arg, const json_t *page)
{
	const json_t *service, *instance;
	size_t i, k;

	json_array_foreach(json_object_get(page, "services"), i, service) {
		const json_t *instances = json_object_get(service, "instances");

		json_array_foreach(instances, k, instance)
			add_instance(arg, service, instance);
		if (!json_array_size(instances))
			add_instance(arg, service, NULL);
	}
}

int cmd_services(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	static const char *const heads[] = { "SERVICE", "SITE", "INSTANCE", "HEALTH", ">LOAD", "SINCE" };
	struct table t;
	int rc = cli_args_none(cli, verb, argc, argv);

	if (rc != CLI_ARGS_END)
		return rc == CLI_ARGS_HELP ? CLI_DONE : CLI_USAGE;
	table_init(&t, heads, sizeof(heads) / sizeof(heads[0]));
	rc = admin_get_list(cli, "/v1/services?limit=1000", "services", on_page, &t);
	if (rc == CLI_DONE && !cli->json && table_print(&t, stdout, cli->colour))
		rc = CLI_FAILED;
	table_fini(&t);
	return rc;
}
