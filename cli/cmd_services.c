/* scopectl services: GET /v1/services as a table, a row per instance. */
#include <jansson.h>
#include <string.h>

#include "cli/admin.h"
#include "cli/cli.h"

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

static void on_page(struct table *t, const json_t *page)
{
	const json_t *service, *instance;
	size_t i, k;

	json_array_foreach(json_object_get(page, "services"), i, service) {
		const json_t *instances = json_object_get(service, "instances");

		json_array_foreach(instances, k, instance)
			add_instance(t, service, instance);
		if (!json_array_size(instances))
			add_instance(t, service, NULL);
	}
}

int cmd_services(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	static const char *const heads[] = { "SERVICE", "SITE", "INSTANCE", "HEALTH", ">LOAD", "SINCE" };
	static const struct admin_list list = { "/v1/services?limit=1000", "services", heads,
		                                sizeof(heads) / sizeof(heads[0]), on_page };

	return admin_print_list(cli, verb, argc, argv, &list);
}
