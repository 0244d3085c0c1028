/* Loading a configuration.
 *
 * The option table reads the file into struct conf; what concerns more than one option is checked
 * here, after it and even when it found something, so that a person sees everything at once.  A
 * value that could not be read is empty (an address with length 0, a text of no bytes), and the
 * checks leave empty ones alone: one mistake gives one message.
 *
 * A configuration lives in one arena of its own; what was written where is known only while
 * conf_load runs. */
#include "proxy/conf.h"

#include <limits.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/nearest.h"
#include "base/yaml.h"
#include "proxy/conf_int.h"
#include "proxy/instance.h"

#define STATE_FALLBACK "/var/lib/scopemesh"

struct conf *conf_ref(struct conf *conf)
{
	atomic_fetch_add_explicit(&conf->refs, 1, memory_order_relaxed);
	return conf;
}

void conf_unref(struct conf **conf)
{
	struct conf *c = *conf;

	*conf = NULL;
	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < c->service_count; i++)
		rules_unref(&c->services[i].rules);
	arena_fini(&c->arena);
	free(c);
}

/* ---- what takes more than one option ----------------------------------------------------- */

/* A listener, or a listener to be: who has which address. */
struct listener {
	const struct addr *addr;
	const struct conf_service *service; /* NULL: mesh or admin */
	const char *what;
};

struct listeners {
	struct listener *list;
	size_t count;
};

static void listeners_add(struct listeners *l, const struct addr *addr,
                          const struct conf_service *service, const char *what)
{
	if (addr->len)
		l->list[l->count++] = (struct listener){ addr, service, what };
}

static int listeners_collect(struct conf *conf, struct listeners *l_r)
{
	size_t n = 2;

	for (size_t i = 0; i < conf->service_count; i++)
		n += conf->services[i].listen_count;
	*l_r = (struct listeners){ calloc(n, sizeof(struct listener)), 0 };
	if (!l_r->list)
		return ERR_NOMEM;
	for (size_t i = 0; i < conf->service_count; i++)
		for (size_t j = 0; j < conf->services[i].listen_count; j++)
			listeners_add(l_r, &conf->services[i].listen[j], &conf->services[i], "a service");
	listeners_add(l_r, &conf->mesh_listen, NULL, "the mesh");
	listeners_add(l_r, &conf->admin_listen, NULL, "the admin interface");
	return 0;
}

static bool is_any(const struct addr *a)
{
	if (a->ss.ss_family == AF_INET)
		return ((const struct sockaddr_in *)&a->ss)->sin_addr.s_addr == htonl(INADDR_ANY);
	return a->ss.ss_family == AF_INET6 &&
	       IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)&a->ss)->sin6_addr);
}

/* Port 0 takes a free one each time: two of them never meet. */
static bool same_listener(const struct addr *a, const struct addr *b)
{
	return addr_eq(a, b) && (a->ss.ss_family == AF_UNIX || addr_port(a) != 0);
}

/* Two listeners at one address must be services that their prefixes tell apart. */
static void check_pair(struct opt_reader *r, const struct listener *first, const struct listener *second)
{
	struct yaml_place at = opt_place(r, second->addr);

	if (!same_listener(first->addr, second->addr))
		return;
	if (!at.line) /* a default: the other one is what a person wrote */
		at = opt_place(r, first->addr);
	if (!first->service || !second->service)
		yaml_problem(r->yaml, at, NULL, "listen: %s listens here already", first->what);
	else if (first->service == second->service)
		yaml_problem(r->yaml, at, NULL, "listen: this address is there twice");
	else if (span_eq(first->service->prefix, second->service->prefix))
		yaml_problem(r->yaml, at, "give one of them a prefix of its own",
		             "listen: service \"%.*s\" has this address and the prefix %.*s already",
		             SPAN_ARG(first->service->name), SPAN_ARG(first->service->prefix));
	else if (!span_eq(first->service->tls_cert, second->service->tls_cert) ||
	         !span_eq(first->service->tls_key, second->service->tls_key))
		yaml_problem(r->yaml, at, "give both the same tls, or addresses of their own",
		             "listen: service \"%.*s\" has this address and another tls",
		             SPAN_ARG(first->service->name));
}

static int listener_order(const void *a, const void *b)
{
	const struct listener *x = a, *y = b;
	char s[ADDR_TEXT_BYTES], t[ADDR_TEXT_BYTES];
	int c;

	addr_format(x->addr, s);
	addr_format(y->addr, t);
	c = strcmp(s, t);
	if (c)
		return c;
	/* services first, in the order of the file */
	if (!x->service != !y->service)
		return x->service ? -1 : 1;
	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

/* The kernel gives a port at every address and at one of them to nobody.  Whether [::] takes the
 * IPv4 ones too is the machine's choice, found out by the first bind. */
static void check_wildcard(struct opt_reader *r, const struct listeners *l, const struct listener *any)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct addr *a = l->list[i].addr;
		struct yaml_place at = opt_place(r, a);

		if (is_any(a) || a->ss.ss_family != any->addr->ss.ss_family || !addr_port(a) ||
		    addr_port(a) != addr_port(any->addr))
			continue;
		if (!at.line)
			at = opt_place(r, any->addr);
		yaml_problem(r->yaml, at, "services at one and the same address are told apart by prefix",
		             "listen: %s listens at this port of every address already", any->what);
	}
}

/* Sorted, so that a file of many services is checked in good time. */
static void check_listeners(struct opt_reader *r, struct listeners *l)
{
	qsort(l->list, l->count, sizeof(struct listener), listener_order);
	for (size_t i = 0; i < l->count; i++) {
		for (size_t j = i + 1; j < l->count && addr_eq(l->list[i].addr, l->list[j].addr); j++)
			check_pair(r, &l->list[i], &l->list[j]);
		if (is_any(l->list[i].addr) && (!i || !addr_eq(l->list[i].addr, l->list[i - 1].addr)))
			check_wildcard(r, l, &l->list[i]);
	}
}

/* A request that arrives where it came from would go round for ever.  An address of this machine
 * that a wildcard listener covers can only be told when it is loopback. */
static void check_instance(struct opt_reader *r, const struct conf_instance *in, const struct listeners *l)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct addr *a = l->list[i].addr;
		bool covered = is_any(a) && addr_is_loopback(&in->addr) && addr_port(a) == addr_port(&in->addr);

		if (!in->addr.len || (!same_listener(a, &in->addr) && !covered))
			continue;
		yaml_problem(r->yaml, opt_place(r, in), "name the address the service itself listens at",
		             "instances: \"%.*s\" is where %s listens: requests would go in a circle",
		             SPAN_ARG(in->url), l->list[i].what);
		return;
	}
}

static int check_addresses(struct opt_reader *r, struct conf *conf)
{
	struct listeners l;
	int error = listeners_collect(conf, &l);

	if (error)
		return error;
	check_listeners(r, &l);
	for (size_t i = 0; i < conf->service_count; i++)
		for (size_t j = 0; j < conf->services[i].instance_count; j++)
			check_instance(r, &conf->services[i].instances[j], &l);
	free(l.list);
	return 0;
}

static void check_services(struct opt_reader *r, struct conf *conf)
{
	for (size_t i = 0; i < conf->service_count; i++) {
		const struct conf_service *s = &conf->services[i];
		const struct yaml_node *listen = opt_where(r, &s->listen);

		if (listen && !s->listen_count && yaml_is_empty(listen))
			yaml_problem(r->yaml, listen->at, NULL, "listen: an address is missing");
		if (s->instance_count > INSTANCE_MOST)
			yaml_problem(r->yaml, opt_place(r, &s->instances[INSTANCE_MOST]), NULL,
			             "instances: more than %d; put a load balancer of their own before some of them",
			             INSTANCE_MOST);
	}
	conf_check_carriers(r, conf);
}

static struct yaml_place key_place(const struct yaml *y, struct span key)
{
	const struct yaml_node *k = y->root && y->root->kind == YAML_MAP ? y->root->first : NULL;

	for (; k; k = k->next)
		if (k->kind == YAML_SCALAR && span_eq(k->text, key))
			return k->at;
	return (struct yaml_place){ 0, 0 };
}

static void check_mesh(struct opt_reader *r, struct conf *conf)
{
	const struct yaml_node *listen = opt_where(r, &conf->mesh_listen);

	conf->has_mesh = conf->mesh_listen.len > 0;
	/* A section that holds defaults only, as --print writes it, is none. */
	if (!listen && (conf->mesh_advertise.n || conf->mesh_insecure || conf->mesh_tls.cert.n || conf->mesh_tls.key.n ||
	                conf->mesh_tls.ca.n || conf->mesh_tls.crl.n))
		yaml_problem(r->yaml, key_place(r->yaml, SPAN("mesh")), NULL,
		             "mesh: \"listen\" is missing: where other sites reach this one");
}

static void check_admin(struct opt_reader *r, struct conf *conf)
{
	conf->has_admin = true;
	if (conf->admin_listen.len && !addr_is_loopback(&conf->admin_listen))
		yaml_problem(r->yaml, opt_place(r, &conf->admin_listen), NULL,
		             "listen: off loopback the admin interface needs admin.token_file, and that "
		             "needs a later version");
}

/* ---- the registry ------------------------------------------------------------------------ */

/* NULL in *reg_r when it cannot be had; then that is among the problems, or in errors. */
static int load_registry(struct opt_reader *r, struct conf *conf, struct registry **reg_r,
                         struct buf *errors)
{
	struct buf said;
	int error;

	buf_init(&said, NULL, 0);
	error = registry_file_load(conf->registry_file.n ? conf->registry_file.p : NULL, conf->site,
	                           conf->labels, conf->label_count, NULL, reg_r, &said);
	if (error == ERR_IO) {
		struct span text = buf_span(&said);

		yaml_problem(r->yaml, opt_place(r, &conf->registry_file), NULL, "file: %.*s",
		             (int)span_find(text, '\n'), text.p);
	} else if (error) {
		buf_add_span(errors, buf_span(&said));
	}
	errors->failed |= said.failed;
	buf_fini(&said);
	return error == ERR_IO ? ERR_INVALID : error;
}

/* "did you mean", or the sites there are. */
static const char *site_hint(struct opt_reader *r, const struct registry *reg, struct span name)
{
	struct nearest near = { { 0 }, 0 };

	for (size_t i = 0; i < reg->site_count; i++)
		nearest_offer(&near, name, reg->sites[i].name);
	if (near.best.n)
		return arena_printf(&r->yaml->arena, "did you mean \"%.*s\"?", SPAN_ARG(near.best));
	return reg->site_count > 1 ? NULL : "without registry.file this site knows itself only";
}

static void check_sites(struct opt_reader *r, const struct conf *conf, const struct registry *reg)
{
	size_t at;

	for (size_t i = 0; i < conf->service_count; i++) {
		const struct conf_service *s = &conf->services[i];

		for (size_t j = 0; j < s->sites_count; j++) {
			if (!s->sites[j].n || registry_find(reg, s->sites[j], &at))
				continue;
			yaml_problem(r->yaml, opt_place(r, &s->sites[j]), site_hint(r, reg, s->sites[j]),
			             "sites: unknown site \"%.*s\"", SPAN_ARG(s->sites[j]));
		}
	}
}

/* ---- loading ----------------------------------------------------------------------------- */

static unsigned count_cores(void)
{
	cpu_set_t set;
	long n;

	if (!sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) > 0)
		return (unsigned)CPU_COUNT(&set);
	n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (unsigned)n : 1;
}

/* The folder of the file, absolute, so that what is printed means the same elsewhere. */
static int set_folder(struct conf *conf, const char *path)
{
	const char *slash = strrchr(path, '/');
	struct span folder = slash ? span_make(path, (size_t)(slash - path) + (slash == path)) : SPAN("");
	char here[PATH_MAX];

	conf->file = arena_dup(&conf->arena, span_of(path));
	if (folder.n && folder.p[0] == '/')
		conf->dir = arena_dup(&conf->arena, folder);
	else if (!getcwd(here, sizeof(here)))
		conf->dir = arena_dup(&conf->arena, folder.n ? folder : SPAN("."));
	else if (folder.n)
		conf->dir = opt_resolve(&conf->arena, span_of(here), folder);
	else
		conf->dir = arena_dup(&conf->arena, span_of(here));
	return conf->file.p && conf->dir.p ? 0 : ERR_NOMEM;
}

static int set_computed(struct conf *conf)
{
	const char *state = getenv("STATE_DIRECTORY");

	if (!conf->workers)
		conf->workers = count_cores();
	if (!conf->state.n)
		conf->state = arena_dup(&conf->arena, span_of(state && *state ? state : STATE_FALLBACK));
	return conf->state.p ? 0 : ERR_NOMEM;
}

static int check_registry(struct opt_reader *r, struct conf *conf, struct buf *errors)
{
	struct registry *reg = NULL;
	int error = load_registry(r, conf, &reg, errors), scopes;

	if (reg)
		check_sites(r, conf, reg);
	scopes = conf_check_scopes(r, conf, reg);
	registry_unref(&reg);
	return error ? error : scopes;
}

/* Everything there is to say about the document. */
static int check(struct opt_reader *r, struct conf *conf, struct buf *errors)
{
	int error = opt_read(r, conf), other;

	if (error)
		return error;
	error = set_computed(conf);
	if (error)
		return error;
	check_services(r, conf);
	check_mesh(r, conf);
	check_admin(r, conf);
	error = conf_check_resources(r, conf);
	if (!error)
		error = check_addresses(r, conf);
	if (!error)
		error = conf_check_tls(r, conf);
	if (error)
		return error;
	other = check_registry(r, conf, errors);
	return r->nomem || r->yaml->nomem ? ERR_NOMEM : r->yaml->problem_count ? ERR_INVALID : other;
}

static int load(struct yaml *y, const char *path, struct conf *conf, struct buf *errors)
{
	struct opt_reader r = { .table = &conf_options, .yaml = y, .arena = &conf->arena };
	struct buf registry_errors;
	int error = yaml_open(y, path);

	if (!error || error == ERR_INVALID) {
		error = set_folder(conf, path);
		r.dir = conf->dir;
		buf_init(&registry_errors, NULL, 0);
		if (!error)
			error = check(&r, conf, &registry_errors);
		yaml_report(y, errors);
		buf_add_span(errors, buf_span(&registry_errors));
		errors->failed |= registry_errors.failed;
		buf_fini(&registry_errors);
	} else {
		yaml_report(y, errors);
	}
	return error == ERR_SYNTAX ? ERR_INVALID : error;
}

int conf_load(const char *path, struct conf **conf_r, struct buf *errors)
{
	struct conf *conf = calloc(1, sizeof(*conf));
	struct yaml y;
	int error;

	*conf_r = NULL;
	if (!conf)
		return ERR_NOMEM;
	atomic_init(&conf->refs, 1);
	arena_init(&conf->arena, NULL, 0, 0);
	error = load(&y, path, conf, errors);
	yaml_close(&y);
	if (error)
		conf_unref(&conf);
	*conf_r = conf;
	return error;
}

/* ---- printing ---------------------------------------------------------------------------- */

void conf_print(const struct conf *conf, struct buf *out)
{
	opt_print(&conf_options, conf, out);
}

void conf_print_manual(struct buf *out)
{
	buf_add_z(out,
	          "# Options of scopemeshd\n\n"
	          "Made from the option table (`proxy/conf_options.c`) by `make reference`; do not edit.\n\n"
	          "The configuration is one YAML file (`scopemeshd -c FILE`). `scopemeshd --check -c FILE` says\n"
	          "what is wrong with it, `--print` shows what is in effect. Durations are a number and `us`, `ms`,\n"
	          "`s`, `m`, `h` or `d`; sizes are bytes, or a number and `k`, `m` or `g` in powers of 1024. Relative\n"
	          "paths are relative to the folder of the file. Where a list is asked for, a single value will do.\n"
	          "Names are text whatever YAML thinks of `no`. Unknown and doubled keys are errors. What takes\n"
	          "effect with a *reload* does so on SIGHUP and on `scopectl reload`, without a connection dropped; what\n"
	          "needs a *restart* keeps its value and is named then, and a file with an error changes nothing. Keys\n"
	          "of a *later version* are known and must be empty, or have the value that is named.\n");
	opt_print_manual(&conf_options, out);
}

void conf_diff(const struct conf *before, const struct conf *after, bool restart, struct buf *out)
{
	opt_diff(&conf_options, before, after, restart, out);
}

int conf_keep_fixed(struct conf *conf, const struct conf *before)
{
	conf->site = arena_dup(&conf->arena, before->site);
	conf->state = arena_dup(&conf->arena, before->state);
	conf->workers = before->workers;
	return conf->site.p && conf->state.p ? 0 : ERR_NOMEM;
}

bool conf_is_secret(const struct conf *conf, struct span name)
{
	static const char *const names[] = { "Authorization", "Proxy-Authorization", "Cookie", "X-Auth-Token",
		"X-Subject-Token", "X-Service-Token" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (span_ieq(name, span_of(names[i])))
			return true;
	for (size_t i = 0; i < conf->log_redact_count; i++)
		if (span_ieq(name, conf->log_redact[i]))
			return true;
	return false;
}
