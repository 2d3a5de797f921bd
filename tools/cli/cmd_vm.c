// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25 vm: who is behind which port. */
#include "cli.h"
#include "parse.h"

#include <stdlib.h>
#include <string.h>

static bool is_none(const char *word)
{
	return strcmp(word, "none") == 0;
}

/* ---- one value of each list, as JSON; NULL = it is no such thing ---- */

static json_t *port_json(const char *word)
{
	return gate_name_valid(word) && strlen(word) < 16 /* IFNAMSIZ */ ? json_string(word) : NULL;
}

static json_t *mac_json(const char *word)
{
	uint8_t mac[6];
	char buf[32];

	return gate_parse_mac(word, mac) ? NULL
					 : json_string(gate_format_mac(mac, buf, sizeof(buf)));
}

static json_t *ip_json(const char *word)
{
	struct gate_prefix p;
	char buf[64];

	return gate_parse_prefix(word, &p) ? NULL
					   : json_string(gate_format_prefix(&p, buf, sizeof(buf)));
}

static json_t *pair_json(const char *word)
{
	const char *comma = strchr(word, ',');
	char mac[32];

	if (!comma || (size_t)(comma - word) >= sizeof(mac))
		return NULL;
	memcpy(mac, word, (size_t)(comma - word));
	mac[comma - word] = '\0';
	return json_pack("{s:o, s:o}", "mac", mac_json(mac), "ip", ip_json(comma + 1));
}

static const struct list {
	enum cli_opt option;
	const char *key;
	json_t *(*value)(const char *word);
	const char *expects;
} lists[] = {
	{ OPT_PORT, "ports", port_json, "the name of a network device" },
	{ OPT_MAC, "macs", mac_json, "a unicast MAC address" },
	{ OPT_IP, "ips", ip_json, "an address, or a prefix without host bits" },
	{ OPT_PAIR, "pairs", pair_json, "MAC,ADDRESS" },
};

static int set_list(struct cli *c, json_t *vm, const struct list *l)
{
	const struct cli_values *given = &c->opt[l->option];
	json_t *array, *value;

	if (given->n == 0)
		return 0;
	array = json_array();
	for (unsigned i = 0; i < given->n; i++) {
		if (given->n == 1 && is_none(given->v[0]))
			break;
		value = l->value(given->v[i]);
		if (!value) {
			json_decref(array);
			return cli_usage(c, "--%s %.60s: must be %s", cli_options[l->option].name,
					 given->v[i], l->expects);
		}
		json_array_append_new(array, value);
	}
	return json_object_set_new(vm, l->key, array) ? cli_no_memory(c) : 0;
}

static int set_tenant(struct cli *c, json_t *vm)
{
	const char *tenant = cli_value(c, OPT_TENANT);

	if (!tenant)
		return 0;
	if (!gate_name_valid(tenant))
		return cli_usage(c,
				 "--tenant %.80s: must be a name of at most %d characters of "
				 "A-Z a-z 0-9 . _ - : @ +",
				 tenant, GATE_NAME_LEN - 1);
	return json_object_set_new(vm, "tenant",
				   is_none(tenant) ? json_null() : json_string(tenant))
		       ? cli_no_memory(c)
		       : 0;
}

static int set_binding(struct cli *c, json_t *vm)
{
	const char *word = cli_value(c, OPT_BINDING);
	enum gate_binding b;

	if (!word)
		return 0;
	if (!is_none(word) && gate_parse_binding(word, &b))
		return cli_usage(c, "--binding %.40s: must be strict, learn, off or none", word);
	return json_object_set_new(vm, "binding", is_none(word) ? json_null() : json_string(word))
		       ? cli_no_memory(c)
		       : 0;
}

/* NULL with *ret set. */
static json_t *registration(struct cli *c, int *ret)
{
	json_t *vm = json_object();

	*ret = vm ? 0 : cli_no_memory(c);
	for (size_t i = 0; !*ret && i < sizeof(lists) / sizeof(lists[0]); i++)
		*ret = set_list(c, vm, &lists[i]);
	if (!*ret)
		*ret = set_tenant(c, vm);
	if (!*ret)
		*ret = set_binding(c, vm);
	if (!*ret)
		*ret = cli_set_reason(c, vm);
	if (!*ret)
		return vm;
	json_decref(vm);
	return NULL;
}

/* "vm:web1" is taken as "web1". */
static const char *vm_name(const char *word)
{
	return strncmp(word, "vm:", 3) == 0 ? word + 3 : word;
}

static int check_name(struct cli *c, const char *name)
{
	if (gate_name_valid(name))
		return 0;
	return cli_usage(c,
			 "\"%.80s\" is no name of a VM: at most %d characters of "
			 "A-Z a-z 0-9 . _ - : @ +",
			 name, GATE_NAME_LEN - 1);
}

/* ---- printing ---- */

/* "a, b"; freed by the caller. */
char *cli_join(const json_t *array, const char *key)
{
	char *text = NULL, *grown;
	const json_t *item;
	size_t i;

	json_array_foreach (array, i, item) {
		const char *word = key ? cli_str(item, key) : json_string_value(item);

		grown = cli_format("%s%s%s", text ? text : "", i ? ", " : "", word ? word : "?");
		free(text);
		if (!grown)
			return NULL;
		text = grown;
	}
	return text ? text : strdup("-");
}

/* What it uses though nobody registered it. */
static void print_learned(struct cli *c, const json_t *learned)
{
	static const char *const keys[] = { "macs", "ips" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const json_t *list = json_object_get(learned, keys[i]);
		char *text = json_array_size(list) ? cli_join(list, NULL) : NULL;

		if (!text)
			continue;
		cli_print(c, STYLE_PLAIN, "  %-9s %s", "learned", text);
		cli_end_line();
		free(text);
	}
}

void cli_print_identity(struct cli *c, const json_t *vm)
{
	static const struct {
		const char *key, *member;
	} parts[] = { { "ports", "name" }, { "macs", NULL }, { "ips", NULL } };
	const json_t *pair, *pairs = json_object_get(vm, "pairs");
	size_t i;

	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		char *text = cli_join(json_object_get(vm, parts[i].key), parts[i].member);

		cli_print(c, STYLE_PLAIN, "  %-9s %s", parts[i].key, text ? text : "");
		cli_end_line();
		free(text);
	}
	json_array_foreach (pairs, i, pair) {
		cli_print(c, STYLE_PLAIN, "  %-9s %s,%s", "pair", cli_str(pair, "mac"),
			  cli_str(pair, "ip"));
		cli_end_line();
	}
	print_learned(c, json_object_get(vm, "learned"));
}

static void print_registered(struct cli *c, const json_t *vm)
{
	const char *tenant = cli_str(vm, "tenant"), *binding = cli_str(vm, "binding");

	cli_print_in_force(c, vm);
	cli_print_identity(c, vm);
	cli_print(c, STYLE_PLAIN, "  %-9s %s", "tenant", tenant ? tenant : "-");
	cli_end_line();
	if (binding) {
		cli_print(c, STYLE_PLAIN, "  %-9s %s", "binding", binding);
		cli_end_line();
	}
}

static void print_deleted(struct cli *c, const json_t *answer)
{
	const char *name = cli_str(answer, "deleted");

	cli_print(c, STYLE_PLAIN, "%s: deleted", name ? name : "?");
	cli_end_line();
}

/* ---- commands ---- */

static int put_vm(struct cli *c, const char *mode)
{
	const char *name = vm_name(c->args.v[0]);
	json_t *vm, *answer = NULL;
	struct gate_error err;
	char *path;
	int ret = check_name(c, name);

	if (ret)
		return ret;
	vm = registration(c, &ret);
	if (!vm)
		return ret;
	path = cli_path("/v1/vms/", name, mode);
	if (cli_call(c, "PUT", path, vm, &answer, &err))
		ret = cli_fail(c, &err);
	else if (c->json)
		cli_print_json(answer);
	else
		print_registered(c, answer);
	json_decref(answer);
	json_decref(vm);
	free(path);
	return ret;
}

int cmd_vm_add(struct cli *c)
{
	return put_vm(c, "mode=create");
}

int cmd_vm_set(struct cli *c)
{
	const uint32_t keys[] = { OPT_PORT, OPT_MAC, OPT_IP, OPT_PAIR, OPT_TENANT, OPT_BINDING };
	bool any = false;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		any = any || cli_has(c, keys[i]);
	if (!any)
		return cli_usage(c, "nothing to change was given");
	return put_vm(c, "mode=update");
}

static int delete_vm(struct cli *c, const char *name, void *query, json_t **answer,
		     struct gate_error *err)
{
	char *path = cli_path("/v1/vms/", vm_name(name), query);
	int ret = cli_call(c, "DELETE", path, NULL, answer, err);

	free(path);
	return ret;
}

int cmd_vm_del(struct cli *c)
{
	struct cli_values names = { 0 };
	char *query = NULL;
	int ret = cli_query_reason(c, &query);

	if (!ret)
		ret = cli_subjects(c, c->args.n, &names);
	for (unsigned i = 0; !ret && i < names.n; i++)
		ret = check_name(c, vm_name(names.v[i]));
	if (!ret)
		ret = cli_each(c, &names, delete_vm, query, print_deleted);
	free(names.v);
	free(query);
	return ret;
}

static void print_vms(struct cli *c, const json_t *vms)
{
	static const struct cli_column columns[] = {
		{ .title = "VM" },
		{ .title = "TENANT", .optional = true },
		{ .title = "PORTS" },
		{ .title = "MACS", .optional = true, .elastic = true },
		{ .title = "IPS", .elastic = true },
	};
	struct cli_table *t = cli_table_new(columns, 5);
	const json_t *vm;
	size_t i;

	json_array_foreach (vms, i, vm) {
		char *ports = cli_join(json_object_get(vm, "ports"), "name");
		char *macs = cli_join(json_object_get(vm, "macs"), NULL);
		char *ips = cli_join(json_object_get(vm, "ips"), NULL);
		const char *tenant = cli_str(vm, "tenant"), *name = cli_str(vm, "subject");

		cli_table_add(t, STYLE_PLAIN, "%s", vm_name(name ? name : "?"));
		cli_table_add(t, STYLE_PLAIN, "%s", tenant ? tenant : "-");
		cli_table_add(t, STYLE_PLAIN, "%s", ports ? ports : "");
		cli_table_add(t, STYLE_PLAIN, "%s", macs ? macs : "");
		cli_table_add(t, STYLE_PLAIN, "%s", ips ? ips : "");
		free(ports);
		free(macs);
		free(ips);
	}
	cli_table_end(c, t);
}

int cmd_vm_list(struct cli *c)
{
	json_t *answer = NULL, *vms, *kept = json_array(), *vm;
	const char *tenant = cli_value(c, OPT_TENANT);
	struct gate_error err;
	char *query = NULL;
	char *path;
	size_t i;
	int ret = 0;

	if (tenant && cli_query(&query, "tenant", tenant))
		return cli_no_memory(c);
	path = cli_path("/v1/vms", "", query);
	free(query);
	if (cli_call(c, "GET", path, NULL, &answer, &err)) {
		ret = cli_fail(c, &err);
		goto out;
	}
	vms = json_object_get(answer, "vms");
	json_array_foreach (vms, i, vm) {
		if (cli_bool(vm, "registered"))
			json_array_append(kept, vm);
	}
	json_object_set(answer, "vms", kept);
	if (c->json)
		cli_print_json(answer);
	else
		print_vms(c, kept);
out:
	json_decref(answer);
	json_decref(kept);
	free(path);
	return ret;
}
