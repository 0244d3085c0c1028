/* scopectl status: the answers of /readyz, /v1/sites and /v1/services in a few lines.  Exits 1
 * when the daemon is there but not ready. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/admin.h"
#include "cli/cli.h"
#include "cli/table.h"

/* Appends "3 (2 connected, 1 failed)"; states in order of first appearance. */
static void count_states(const json_t *sites, struct buf *out)
{
	const char *seen[16];
	size_t counts[16], kinds = 0, i, k;
	const json_t *site;

	json_array_foreach(sites, i, site) {
		const char *state = admin_text(site, "state");

		for (k = 0; k < kinds && strcmp(seen[k], state ? state : "unknown") != 0; k++)
			;
		if (k == 16)
			continue;
		if (k == kinds) {
			seen[kinds] = state ? state : "unknown";
			counts[kinds++] = 0;
		}
		counts[k]++;
	}
	buf_addf(out, "%zu", json_array_size(sites));
	for (k = 0; k < kinds; k++)
		buf_addf(out, "%s%zu %s", k ? ", " : " (", counts[k], seen[k]);
	if (kinds)
		buf_add_char(out, ')');
}

/* "compute 1/1 up" for each service of the own site. */
static void count_instances(const json_t *services, const char *own, struct buf *out)
{
	const json_t *service, *instance;
	size_t i, k, up;

	json_array_foreach(services, i, service) {
		const json_t *instances = json_object_get(service, "instances");
		const char *site = admin_text(service, "site"), *name = admin_text(service, "service");

		if (own && site && strcmp(site, own) != 0)
			continue;
		up = 0;
		json_array_foreach(instances, k, instance) {
			const char *health = admin_text(instance, "health");

			up += !health || strcmp(health, "down") != 0;
		}
		buf_addf(out, "%s%s %zu/%zu", buf_len(out) ? ", " : "", name ? name : "?", up,
		         json_array_size(instances));
	}
}

static void print_row(const char *label, struct buf *text)
{
	const char *z = buf_cstr(text);

	printf("%-9s ", label);
	table_put_clean(stdout, z && *z ? z : "-");
	putchar('\n');
	buf_fini(text);
}

static void print_status(const struct cli *cli, const struct admin_answer *ready,
                         const json_t *sites, const json_t *services)
{
	const char *own = admin_text(sites, "site");
	struct buf text;

	buf_init(&text, NULL, 0);
	buf_add_z(&text, own ? own : "?");
	print_row("site", &text);
	buf_add_z(&text, cli->admin);
	print_row("admin", &text);
	printf("%-9s ", "ready");
	table_put(stdout, cli->colour, ready->status == 200 ? LOOK_GOOD : LOOK_BAD,
	          ready->status == 200 ? "yes" : "no");
	putchar('\n');
	count_states(json_object_get(sites, "sites"), &text);
	print_row("sites", &text);
	count_instances(json_object_get(services, "services"), own, &text);
	print_row("services", &text);
}

static void print_json(const struct admin_answer *ready, struct admin_answer *sites,
                       struct admin_answer *services)
{
	const char *sites_text = buf_cstr(&sites->body), *services_text = buf_cstr(&services->body);

	if (sites_text && services_text)
		printf("{\"ready\": %s,\n\"sites\": %s,\n\"services\": %s}\n",
		       ready->status == 200 ? "true" : "false", sites_text, services_text);
}

static int status_of(const struct cli *cli, struct admin_answer *ready, struct admin_answer *sites,
                     struct admin_answer *services)
{
	int rc = admin_get(cli, "/readyz", ready);

	if (rc == CLI_DONE)
		rc = admin_get_object(cli, "/v1/sites?limit=1000", "sites", sites);
	if (rc == CLI_DONE)
		rc = admin_get_object(cli, "/v1/services?limit=1000", "services", services);
	if (rc != CLI_DONE)
		return rc == CLI_USAGE && ready->status ? CLI_FAILED : rc;
	if (cli->json)
		print_json(ready, sites, services);
	else
		print_status(cli, ready, sites->json, services->json);
	if (ready->status == 200)
		return CLI_DONE;
	if (!admin_problem_print(ready->json, stderr))
		cli_complain("the daemon is not ready");
	return CLI_FAILED;
}

int cmd_status(struct cli *cli, const struct cli_verb *verb, int argc, char **argv)
{
	struct admin_answer ready = { 0 }, sites = { 0 }, services = { 0 };
	int rc = cli_args_none(cli, verb, argc, argv);

	if (rc != CLI_DONE)
		return cli_args_status(rc);
	rc = status_of(cli, &ready, &sites, &services);
	admin_answer_fini(&ready);
	admin_answer_fini(&sites);
	admin_answer_fini(&services);
	return rc;
}
