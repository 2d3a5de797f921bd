// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25 vm import: registers the guests that the virtualisation knows. */
#include "guests.h"
#include "parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct import {
	struct cli *c;
	json_t *known;	 /* subject -> show object of the daemon */
	json_t *changes; /* "+ vm:web1" */
	json_t *skipped; /* {"name", "message"} */
	unsigned same, done, failed;
	int first_failure;
	bool dry;
	struct cli_progress progress;
};

/* ---- what differs ---- */

static bool has_word(const json_t *list, const char *key, const char *word)
{
	const json_t *item;
	size_t i;

	json_array_foreach (list, i, item) {
		const char *have = key ? cli_str(item, key) : json_string_value(item);

		if (have && strcmp(have, word) == 0)
			return true;
	}
	return false;
}

/* Is each word of `wanted` in `have`? */
static bool has_all(const json_t *wanted, const json_t *have, const char *key)
{
	const json_t *item;
	size_t i;

	json_array_foreach (wanted, i, item) {
		if (!has_word(have, key, json_string_value(item)))
			return false;
	}
	return true;
}

static bool is_same(const json_t *guest, const json_t *vm)
{
	const json_t *ports = json_object_get(vm, "ports"), *macs = json_object_get(vm, "macs");
	const json_t *own = json_object_get(guest, "ports"), *own_macs;

	own_macs = json_object_get(guest, "macs");
	return json_array_size(own) == json_array_size(ports) && has_all(own, ports, "name") &&
	       json_array_size(own_macs) == json_array_size(macs) &&
	       has_all(own_macs, macs, NULL) &&
	       has_all(json_object_get(guest, "ips"), json_object_get(vm, "ips"), NULL) &&
	       (!cli_str(guest, "tenant") || cli_str(vm, "tenant"));
}

/*
 * The body of the request. Ports and MACs are the definition's; addresses that staff
 * have added stay, and so does a tenant. Where there is no new address none is named, so
 * that those stay, too, that staff add while this runs.
 */
static json_t *registration(const json_t *guest, const json_t *vm)
{
	json_t *body = json_pack("{s:O, s:O}", "ports", json_object_get(guest, "ports"), "macs",
				 json_object_get(guest, "macs"));
	const json_t *own = json_object_get(guest, "ips"), *had = json_object_get(vm, "ips");
	json_t *ips = json_copy((json_t *)own), *ip;
	size_t i;

	json_array_foreach (had, i, ip) {
		if (!has_word(ips, NULL, json_string_value(ip)))
			json_array_append(ips, ip);
	}
	if (!vm || !has_all(own, had, NULL))
		json_object_set(body, "ips", ips);
	json_decref(ips);
	if (cli_str(guest, "tenant") && !cli_str(vm, "tenant"))
		json_object_set(body, "tenant", json_object_get(guest, "tenant"));
	return body;
}

/* ---- one guest ---- */

static void skip(struct import *m, const char *name, const char *message)
{
	json_array_append_new(m->skipped,
			      json_pack("{s:s, s:s}", "name", name, "message", message));
	if (m->c->json)
		return;
	cli_print(m->c, STYLE_WARN, "! %s: %s", name, message);
	cli_end_line();
}

static void fail(struct import *m, const char *name, const struct gate_error *err)
{
	int code;

	cli_progress_clear(&m->progress);
	code = cli_fail_subject(m->c, name, err);

	m->failed++;
	m->first_failure = m->first_failure ? m->first_failure : code;
}

static void print_change(struct import *m, char op, const json_t *guest)
{
	char *ports = cli_join(json_object_get(guest, "ports"), NULL);
	char *macs = cli_join(json_object_get(guest, "macs"), NULL);
	char *ips = cli_join(json_object_get(guest, "ips"), NULL);

	cli_print(m->c, op == '+' ? STYLE_GOOD : STYLE_WARN,
		  "%c %s: ports %s; MACs %s; addresses %s", op, cli_str(guest, "name"),
		  ports ? ports : "", macs ? macs : "", ips ? ips : "");
	cli_end_line();
	free(ports);
	free(macs);
	free(ips);
}

/* Could it be registered at all? Says why not. */
static bool check(struct import *m, const json_t *guest)
{
	const char *name = cli_str(guest, "name");
	const json_t *remark;
	struct gate_error err;
	size_t i;

	if (!gate_name_valid(name)) {
		gate_error_set(&err, GATE_ERR_USAGE,
			       "this is no name that the gate takes (at most %d characters of A-Z "
			       "a-z 0-9 . _ - : @ +): register it under another with vm add",
			       GATE_NAME_LEN - 1);
		fail(m, *name ? name : "a guest without a name", &err);
		return false;
	}
	json_array_foreach (json_object_get(guest, "remarks"), i, remark)
		skip(m, name, json_string_value(remark));
	if (json_array_size(json_object_get(guest, "ports")))
		return true;
	if (!json_array_size(json_object_get(guest, "remarks")))
		skip(m, name, "it has no network interface");
	return false;
}

static bool put(struct import *m, const json_t *guest, const json_t *vm)
{
	json_t *body = registration(guest, vm), *answer = NULL;
	const char *name = cli_str(guest, "name");
	char *path = cli_path("/v1/vms/", name, vm ? "mode=update" : "mode=create");
	struct gate_error err;
	int ret = cli_call(m->c, "PUT", path, body, &answer, &err);

	if (ret)
		fail(m, name, &err);
	json_decref(answer);
	json_decref(body);
	free(path);
	return !ret;
}

/* False: the rest would fare no better. */
static bool take(struct import *m, json_t *guest)
{
	const char *name = cli_str(guest, "name"), *tenant = cli_value(m->c, OPT_TENANT);
	const json_t *vm;
	char *change;

	if (!check(m, guest))
		return true;
	if (tenant)
		json_object_set_new(guest, "tenant", json_string(tenant));
	vm = json_object_get(m->known, name);
	if (vm && is_same(guest, vm)) {
		m->same++;
		return true;
	}
	if (!m->dry && !put(m, guest, vm))
		return m->first_failure != GATE_ERR_UNREACHABLE &&
		       m->first_failure != GATE_ERR_DENIED;
	m->done++;
	change = cli_format("%c vm:%s", vm ? '~' : '+', name);
	json_array_append_new(m->changes, json_string(change ? change : "?"));
	free(change);
	if (!m->c->json)
		print_change(m, vm ? '~' : '+', guest);
	return true;
}

/* ---- all of them ---- */

static int get_known(struct import *m)
{
	json_t *answer = NULL, *vm;
	struct gate_error err;
	size_t i;

	if (cli_call(m->c, "GET", "/v1/vms", NULL, &answer, &err))
		return cli_fail(m->c, &err);
	json_array_foreach (json_object_get(answer, "vms"), i, vm) {
		const char *subject = cli_str(vm, "subject");

		if (subject && strncmp(subject, "vm:", 3) == 0)
			json_object_set(m->known, subject + 3, vm);
	}
	json_decref(answer);
	return 0;
}

static int read_guests(struct cli *c, json_t *guests)
{
	const char *from = cli_value(c, OPT_FROM), *kind = c->args.v[0];
	const struct guest_names names = { .v = c->args.v + 1, .n = c->args.n - 1 };
	struct gate_error err;
	int ret;

	if (strcmp(kind, "libvirt") == 0)
		ret = guests_libvirt(from, &names, guests, &err);
	else if (strcmp(kind, "proxmox") != 0)
		return cli_usage(c, "\"%.40s\" is neither libvirt nor proxmox", kind);
	else if (from && strcmp(from, "-") == 0)
		return cli_usage(c, "--from - is for libvirt: Proxmox keeps the number of a guest "
				    "in the name of its file");
	else
		ret = guests_proxmox(from, &names, guests, &err);
	return ret ? cli_fail(c, &err) : 0;
}

/* Those that were asked for by name must be there. */
static void check_names(struct import *m, const json_t *guests)
{
	struct gate_error err;

	gate_error_set(&err, GATE_ERR_NO_SUBJECT, "there is no such guest");
	for (unsigned i = 1; i < m->c->args.n; i++) {
		if (!has_word(guests, "name", m->c->args.v[i]))
			fail(m, m->c->args.v[i], &err);
	}
}

static int sum_up(struct import *m)
{
	struct gate_error err;
	json_t *answer;

	if (m->c->json) {
		answer = json_pack("{s:i, s:b, s:O, s:O, s:i}", "version", 1, "applied", !m->dry,
				   "changes", m->changes, "skipped", m->skipped, "unchanged",
				   (int)m->same);
		cli_print_json(answer);
		json_decref(answer);
	} else {
		cli_print(m->c, STYLE_PLAIN, "%u registered or changed, %u as before%s", m->done,
			  m->same, m->dry ? "; nothing was done yet" : "");
		cli_end_line();
	}
	if (!m->failed || !(m->done + m->same))
		return m->first_failure;
	gate_error_set(&err, GATE_ERR_PARTIAL, "%u guest%s could not be registered", m->failed,
		       m->failed == 1 ? "" : "s");
	return cli_fail(m->c, &err);
}

int cmd_vm_import(struct cli *c)
{
	struct import m = { .c = c,
			    .known = json_object(),
			    .changes = json_array(),
			    .skipped = json_array(),
			    .dry = cli_has(c, OPT_DRY_RUN) };
	const char *tenant = cli_value(c, OPT_TENANT);
	json_t *guests = json_array(), *guest;
	size_t i;
	int ret;

	if (tenant && !gate_name_valid(tenant))
		ret = cli_usage(c, "--tenant %.80s: is no name", tenant);
	else
		ret = read_guests(c, guests);
	if (!ret)
		ret = get_known(&m);
	if (!ret) {
		cli_progress_begin(&m.progress, c, json_array_size(guests));
		json_array_foreach (guests, i, guest) {
			cli_progress_step(&m.progress, i);
			if (!take(&m, guest))
				break;
		}
		cli_progress_end(&m.progress);
		check_names(&m, guests);
		ret = sum_up(&m);
	}
	json_decref(guests);
	json_decref(m.known);
	json_decref(m.changes);
	json_decref(m.skipped);
	return ret;
}
