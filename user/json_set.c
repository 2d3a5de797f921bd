// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Registrations of VMs, and the lines of a policy set. */
#include "json_priv.h"

#include <errno.h>
#include <stdlib.h>

#define usage(err, ...) gate_error_set(err, GATE_ERR_USAGE, __VA_ARGS__)
#define VM_LIST_MAX	256 /* ports, MACs or addresses of one VM */

void gate_json_vm_clear(struct gate_vm_spec *vm)
{
	free(vm->ports);
	free(vm->macs);
	free(vm->ips);
	free(vm->pairs);
	*vm = (struct gate_vm_spec){ .binding = -1 };
}

static int copy_list(void *to, const void *from, unsigned n, size_t size)
{
	void *p = NULL;

	if (n) {
		p = malloc(n * size);
		if (!p)
			return -ENOMEM;
		memcpy(p, from, n * size);
	}
	memcpy(to, &p, sizeof(p));
	return 0;
}

int gate_json_vm_copy(struct gate_vm_spec *to, const struct gate_vm_spec *from)
{
	struct gate_vm_spec vm = *from;

	vm.ports = NULL;
	vm.macs = NULL;
	vm.ips = NULL;
	vm.pairs = NULL;
	if (copy_list(&vm.ports, from->ports, vm.nports, sizeof(*vm.ports)) ||
	    copy_list(&vm.macs, from->macs, vm.nmacs, sizeof(*vm.macs)) ||
	    copy_list(&vm.ips, from->ips, vm.nips, sizeof(*vm.ips)) ||
	    copy_list(&vm.pairs, from->pairs, vm.npairs, sizeof(*vm.pairs))) {
		gate_json_vm_clear(&vm);
		*to = vm;
		return -ENOMEM;
	}
	*to = vm;
	return 0;
}

/*
 * An array of `size`-byte elements, each read by `one`; absent = unchanged,
 * null = empty.
 */
static int read_list(const json_t *o, const char *key, size_t size,
		     int (*one)(const json_t *, void *, struct gate_error *), void *list,
		     unsigned *n, struct gate_error *err)
{
	const json_t *a;
	char *new = NULL, *old;
	size_t i;
	int r;

	if (!json_object_get(o, key))
		return 0;
	r = gate_jr_array(o, key, VM_LIST_MAX, &a, err);
	if (r)
		return r;
	if (json_array_size(a)) {
		new = calloc(json_array_size(a), size);
		if (!new)
			return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	}
	for (i = 0; i < json_array_size(a); i++) {
		r = one(json_array_get(a, i), new + i *size, err);
		if (r) {
			free(new);
			return r;
		}
	}
	memcpy(&old, list, sizeof(old));
	free(old);
	memcpy(list, &new, sizeof(new));
	*n = (unsigned)json_array_size(a);
	return 0;
}

static int read_port(const json_t *v, void *out, struct gate_error *err)
{
	const char *s = json_string_value(v);

	/* IFNAMSIZ with its NUL is 16 */
	if (!s || !gate_name_valid(s) || strlen(s) > 15)
		return usage(err, "\"ports\" holds what is no network device's name: \"%.60s\"",
			     s ? s : "(not a string)");
	strcpy(out, s);
	return 0;
}

static int read_mac(const json_t *v, void *out, struct gate_error *err)
{
	const char *s = json_string_value(v);

	if (!s || gate_parse_mac(s, out))
		return usage(err, "\"macs\" holds what is no MAC address of a machine: \"%.60s\"",
			     s ? s : "(not a string)");
	return 0;
}

static int read_ip(const json_t *v, void *out, struct gate_error *err)
{
	const char *s = json_string_value(v);

	if (!s || gate_parse_prefix(s, out))
		return usage(err, "\"ips\" holds what is no address or prefix: \"%.60s\"",
			     s ? s : "(not a string)");
	return 0;
}

static int read_pair(const json_t *v, void *out, struct gate_error *err)
{
	static const char *const keys[] = { "mac", "ip", NULL };
	const char *mac = NULL, *ip = NULL;
	struct gate_pair pair = { 0 };
	int r;

	if (!json_is_object(v))
		return usage(err, "\"pairs\" must hold objects with \"mac\" and \"ip\"");
	r = gate_jr_keys(v, keys, "pairs", err);
	if (!r)
		r = gate_jr_string(v, "mac", &mac, err);
	if (!r)
		r = gate_jr_string(v, "ip", &ip, err);
	if (r)
		return r;
	if (!mac || gate_parse_mac(mac, pair.mac))
		return usage(err, "\"mac\" in pairs is missing or no MAC address");
	if (!ip || gate_parse_prefix(ip, &pair.ip))
		return usage(err, "\"ip\" in pairs is missing or no address or prefix");
	memcpy(out, &pair, sizeof(pair));
	return 0;
}

static int read_tenant(const json_t *o, struct gate_vm_spec *vm, struct gate_error *err)
{
	const char *tenant = NULL;
	int r;

	if (!json_object_get(o, "tenant"))
		return 0;
	r = gate_jr_string(o, "tenant", &tenant, err);
	if (r)
		return r;
	if (tenant && !gate_name_valid(tenant))
		return usage(err, "\"tenant\" is no name: \"%.80s\"", tenant);
	strcpy(vm->tenant, tenant ? tenant : "");
	return 0;
}

static int read_binding(const json_t *o, struct gate_vm_spec *vm, struct gate_error *err)
{
	const char *s = NULL;
	enum gate_binding b;
	int r;

	if (!json_object_get(o, "binding"))
		return 0;
	r = gate_jr_string(o, "binding", &s, err);
	if (r)
		return r;
	if (s && gate_parse_binding(s, &b))
		return usage(err, "\"binding\" must be strict, learn or off, not \"%.30s\"", s);
	vm->binding = s ? (int)b : -1;
	return 0;
}

int gate_jr_vm(const json_t *o, struct gate_vm_spec *vm, struct gate_error *err)
{
	int r;

	r = read_list(o, "ports", sizeof(*vm->ports), read_port, &vm->ports, &vm->nports, err);
	if (!r)
		r = read_list(o, "macs", sizeof(*vm->macs), read_mac, &vm->macs, &vm->nmacs, err);
	if (!r)
		r = read_list(o, "ips", sizeof(*vm->ips), read_ip, &vm->ips, &vm->nips, err);
	if (!r)
		r = read_list(o, "pairs", sizeof(*vm->pairs), read_pair, &vm->pairs, &vm->npairs,
			      err);
	if (!r)
		r = read_tenant(o, vm, err);
	if (!r)
		r = read_binding(o, vm, err);
	return r;
}

int gate_json_read_vm(const char *text, size_t len, struct gate_vm_spec *vm, char *reason,
		      struct gate_error *err)
{
	static const char *const keys[] = { "ports",  "macs",	 "ips",	   "pairs",
					    "tenant", "binding", "reason", NULL };
	_cleanup_json_ json_t *o = NULL;
	int r;

	r = gate_jr_object(text, len, keys, &o, err);
	if (!r)
		r = gate_jr_reason(o, reason, err);
	if (!r)
		r = gate_jr_vm(o, vm, err);
	return r;
}

static int read_by(const json_t *o, const char **by, struct gate_error *err)
{
	int r = gate_jr_string(o, "by", by, err);

	if (!r && *by && !gate_text_valid(*by))
		return usage(err, "\"by\" holds a control character");
	return r;
}

static int read_item_policy(const json_t *o, const uint16_t *ports, unsigned nports,
			    struct gate_own *own, struct gate_error *err)
{
	static const char *const keys[] = { "on",	  "state",	  "rates",  "burst",
					    "concurrent", "destinations", "refuse", "drain",
					    "expires",	  "reason",	  "by",	    "since",
					    NULL };
	struct gate_policy_spec p;
	const char *by = NULL;
	unsigned scope = 0;
	uint16_t on = 0;
	int r;

	if (!json_is_object(o))
		return usage(err, "\"policies\" must hold objects");
	r = gate_jr_keys(o, keys, "policies", err);
	if (!r)
		r = gate_jr_policy(o, &p, err);
	if (!r)
		r = gate_jr_on(o, &on, err);
	if (!r)
		r = gate_jr_time(o, "expires", &p.expires, err);
	if (!r)
		r = gate_jr_time(o, "since", &p.since, err);
	if (!r)
		r = gate_jr_reason(o, p.reason, err);
	if (!r)
		r = read_by(o, &by, err);
	if (r)
		return r;
	while (on && scope < nports && ports[scope] != on)
		scope++;
	if (on && scope == nports)
		return usage(err, "\"on\": port %u is not gated", on);
	scope += on ? 1 : 0;
	if (own->scope[scope].state != GATE_INHERIT)
		return usage(err, "\"policies\" holds two for the same port");
	snprintf(p.by, sizeof(p.by), "%s", by ? by : "");
	own->scope[scope] = p;
	return 0;
}

static int read_item_quarantine(const json_t *o, struct gate_own *own, struct gate_error *err)
{
	static const char *const keys[] = { "until", "reason", "by", "since", NULL };
	const json_t *q = json_object_get(o, "quarantine");
	const char *by = NULL;
	int r;

	if (!q || json_is_null(q))
		return 0;
	if (!json_is_object(q))
		return usage(err, "\"quarantine\" must be an object or null");
	r = gate_jr_keys(q, keys, "quarantine", err);
	if (!r)
		r = gate_jr_time(q, "until", &own->quarantine.until, err);
	if (!r)
		r = gate_jr_time(q, "since", &own->quarantine.since, err);
	if (!r)
		r = gate_jr_reason(q, own->quarantine.reason, err);
	if (!r)
		r = read_by(q, &by, err);
	if (r)
		return r;
	snprintf(own->quarantine.by, sizeof(own->quarantine.by), "%s", by ? by : "");
	own->quarantine.on = true;
	return 0;
}

static int read_item_own(const json_t *o, const uint16_t *ports, unsigned nports,
			 struct gate_own *own, struct gate_error *err)
{
	static const char *const keys[] = { "kind",    "subject", "policies", "quarantine",
					    "observe", "budget",  "exempt",   NULL };
	const char *subject = NULL;
	const json_t *policies;
	size_t i;
	int r;

	r = gate_jr_keys(o, keys, "", err);
	if (!r)
		r = gate_jr_string(o, "subject", &subject, err);
	if (!r && (!subject || gate_parse_subject(subject, &own->subject) ||
		   own->subject.kind == GATE_S_WORD))
		r = usage(err, "\"subject\" is missing or is no subject like vm:NAME: \"%.80s\"",
			  subject ? subject : "");
	if (!r)
		r = gate_jr_array(o, "policies", GATE_MAX_SCOPES, &policies, err);
	for (i = 0; !r && i < json_array_size(policies); i++)
		r = read_item_policy(json_array_get(policies, i), ports, nports, own, err);
	if (!r)
		r = read_item_quarantine(o, own, err);
	if (!r)
		r = gate_jr_bool(o, "observe", &own->observe, err);
	if (!r)
		r = gate_jr_rates(o, "budget", own->budget, &own->nbudget, err);
	if (!r)
		r = gate_jr_prefixes(o, "exempt", GATE_EXEMPT_MAX, &own->exempt, &own->nexempt,
				     err);
	return r;
}

static int read_item_subject(const json_t *o, const uint16_t *ports, unsigned nports,
			     struct gate_set_item *it, struct gate_error *err)
{
	struct gate_own own = { 0 };
	int r = read_item_own(o, ports, nports, &own, err);

	if (!r) {
		it->subject = own.subject;
		it->own = gate_own_pack(&own);
	}
	gate_own_clear(&own);
	return r;
}

static int read_item_vm(const json_t *o, struct gate_vm_spec *vm, struct gate_error *err)
{
	static const char *const keys[] = { "kind",  "name",   "ports",	  "macs", "ips",
					    "pairs", "tenant", "binding", NULL };
	const char *name = NULL;
	int r;

	r = gate_jr_keys(o, keys, "", err);
	if (!r)
		r = gate_jr_string(o, "name", &name, err);
	if (r)
		return r;
	if (!name || !gate_name_valid(name))
		return usage(err, "\"name\" is missing or no name: \"%.80s\"", name ? name : "");
	strcpy(vm->name, name);
	vm->registered = true;
	vm->binding = -1;
	return gate_jr_vm(o, vm, err);
}

int gate_json_read_item(const char *text, size_t len, const uint16_t *ports, unsigned nports,
			struct gate_set_item *out, struct gate_error *err)
{
	struct gate_set_item it = { 0 };
	_cleanup_json_ json_t *o = NULL;
	const char *kind = NULL;
	json_error_t e;
	int r;

	o = json_loadb(text, len, JSON_REJECT_DUPLICATES, &e);
	if (!o)
		return usage(err, "this is no JSON: %.160s", e.text);
	if (!json_is_object(o))
		return usage(err, "a JSON object is wanted");
	r = gate_jr_string(o, "kind", &kind, err);
	if (r)
		return r;
	if (kind && !strcmp(kind, "vm")) {
		it.is_vm = true;
		r = read_item_vm(o, &it.vm, err);
	} else if (kind && !strcmp(kind, "subject")) {
		r = read_item_subject(o, ports, nports, &it, err);
	} else {
		r = usage(err, "\"kind\" must be vm or subject");
	}
	if (r) {
		gate_set_item_clear(&it);
		return r;
	}
	*out = it;
	return 0;
}
