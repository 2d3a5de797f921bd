// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "enginebox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct gate_actor alice = { .uid = 1000, .name = "alice" };

static void hear(void *arg, const struct gate_notice *n)
{
	struct enginebox *b = arg;

	b->notices[b->nnotices++ % BOX_NOTICES] = *n;
}

static void start(struct enginebox *b)
{
	if (gate_engine_open(&b->e, &b->g.c, &b->g.m, &b->err)) {
		fprintf(stderr, "%s\n", b->err.message);
		abort();
	}
	gate_engine_listen(b->e, hear, b);
}

void box_open(struct enginebox *b, uint32_t max_vms, const uint16_t *ports)
{
	static const uint16_t smtp[] = { 25, 0 };

	memset(b, 0, sizeof(*b));
	fake_gate_make(&b->g, max_vms ? max_vms : 16, ports ? ports : smtp);
	start(b);
}

void box_close(struct enginebox *b)
{
	gate_engine_close(b->e);
	fake_gate_free(&b->g);
}

void box_restart(struct enginebox *b, bool reboot)
{
	gate_engine_close(b->e);
	if (reboot)
		fake_gate_reboot(&b->g);
	start(b);
}

struct gate_subject box_subject(const char *text)
{
	struct gate_subject s;

	if (gate_parse_subject(text, &s)) {
		fprintf(stderr, "bad subject %s\n", text);
		abort();
	}
	return s;
}

/* ---- words to a change ---- */

struct words {
	struct gate_change c;
	struct gate_prefix add[8], del[8];
	char reason[64];
	int64_t now;
};

static void must(int r, const char *word)
{
	if (r) {
		fprintf(stderr, "bad word %s\n", word);
		abort();
	}
}

static bool take_state(struct words *w, const char *word)
{
	enum gate_state state;

	if (gate_parse_state(word, &state))
		return false;
	w->c.set_policy = true;
	w->c.policy.state = state;
	return true;
}

static bool take_verb(struct words *w, const char *word)
{
	if (!strcmp(word, "quarantine") || !strcmp(word, "release")) {
		w->c.set_quarantine = true;
		w->c.quarantine.on = word[0] == 'q';
	} else if (!strcmp(word, "drop")) {
		w->c.drop_all = true;
	} else if (!strncmp(word, "observe=", 8)) {
		w->c.set_observe = true;
		w->c.observe = !strcmp(word + 8, "on");
	} else if (!strcmp(word, "budget")) {
		w->c.set_budget = true;
	} else if (strcmp(word, "exempt")) {
		return take_state(w, word);
	}
	return true;
}

static bool take_key(struct words *w, const char *word)
{
	struct gate_policy_spec *p = &w->c.policy;
	const char *value = strchr(word, '=');
	enum gate_refuse refuse;

	if (!strncmp(word, "burst=", 6))
		p->limits.burst = (uint32_t)atol(value + 1);
	else if (!strncmp(word, "concurrent=", 11))
		p->limits.concurrent = (uint32_t)atol(value + 1);
	else if (!strncmp(word, "destinations=", 13))
		must(gate_parse_rate(value + 1, &p->limits.destinations), word);
	else if (!strncmp(word, "on=", 3))
		w->c.on = (uint16_t)atoi(value + 1);
	else if (!strncmp(word, "for=", 4))
		p->expires = w->c.quarantine.until = w->now + atol(value + 1);
	else if (!strncmp(word, "reason=", 7))
		snprintf(w->reason, sizeof(w->reason), "%s", value + 1);
	else if (!strncmp(word, "refuse=", 7)) {
		must(gate_parse_refuse(value + 1, &refuse), word);
		p->refuse = (int)refuse;
	} else if (!strcmp(word, "drain")) {
		p->drain = true;
	} else {
		return false;
	}
	return true;
}

static void take_rest(struct words *w, const char *word)
{
	struct gate_change *c = &w->c;

	if (word[0] == '+')
		must(gate_parse_prefix(word + 1, &w->add[c->nexempt_add++]), word);
	else if (word[0] == '-')
		must(gate_parse_prefix(word + 1, &w->del[c->nexempt_del++]), word);
	else if (c->set_budget)
		must(gate_parse_rate(word, &c->budget[c->nbudget++]), word);
	else
		must(gate_parse_rate(word, &c->policy.limits.rates[c->policy.limits.nrates++]),
		     word);
}

int box_change(struct enginebox *b, int64_t now, const char *subject, const char *words)
{
	struct words w = { .now = now };
	char copy[256], *at = copy, *word;
	int r;

	w.c.subject = box_subject(subject);
	w.c.policy.refuse = GATE_REFUSE_UNSET;
	w.c.exempt_add = w.add;
	w.c.exempt_del = w.del;
	w.c.reason = w.reason;
	snprintf(copy, sizeof(copy), "%s", words);
	while ((word = strsep(&at, " ")))
		if (*word && !take_verb(&w, word) && !take_key(&w, word))
			take_rest(&w, word);
	b->err = (struct gate_error){ 0 };
	r = gate_engine_change(b->e, &alice, &w.c, &b->err);
	return r ? (int)b->err.code : 0;
}

/* ---- VMs ---- */

int box_vm(struct enginebox *b, const char *name, const char *words)
{
	char ports[4][GATE_NAME_LEN], copy[256], *at = copy, *word, *comma;
	uint8_t macs[4][6];
	struct gate_prefix ips[4];
	struct gate_pair pairs[4];
	struct gate_vm_spec vm = {
		.binding = -1, .ports = ports, .macs = macs, .ips = ips, .pairs = pairs
	};
	enum gate_binding binding;
	int r;

	memset(ports, 0, sizeof(ports));
	snprintf(vm.name, sizeof(vm.name), "%s", name);
	snprintf(copy, sizeof(copy), "%s", words);
	while ((word = strsep(&at, " "))) {
		const char *value = strchr(word, '=') + 1;

		if (!strncmp(word, "port=", 5)) {
			snprintf(ports[vm.nports++], GATE_NAME_LEN, "%s", value);
		} else if (!strncmp(word, "mac=", 4)) {
			must(gate_parse_mac(value, macs[vm.nmacs++]), word);
		} else if (!strncmp(word, "ip=", 3)) {
			must(gate_parse_prefix(value, &ips[vm.nips++]), word);
		} else if (!strncmp(word, "pair=", 5)) {
			comma = strchr(word, ',');
			*comma = '\0';
			must(gate_parse_mac(value, pairs[vm.npairs].mac), word);
			must(gate_parse_prefix(comma + 1, &pairs[vm.npairs++].ip), word);
		} else if (!strncmp(word, "tenant=", 7)) {
			snprintf(vm.tenant, sizeof(vm.tenant), "%s", value);
		} else if (!strncmp(word, "binding=", 8)) {
			must(gate_parse_binding(value, &binding), word);
			vm.binding = (int)binding;
		}
	}
	b->err = (struct gate_error){ 0 };
	r = gate_engine_vm_put(b->e, &alice, &vm, false, false, "", &b->err);
	return r ? (int)b->err.code : 0;
}

int box_del(struct enginebox *b, const char *name)
{
	b->err = (struct gate_error){ 0 };
	return gate_engine_vm_del(b->e, &alice, name, "", &b->err) ? (int)b->err.code : 0;
}

/* ---- what is seen ---- */

const char *box_effective(struct enginebox *b, const char *subject, uint16_t on)
{
	struct gate_subject s = box_subject(subject);
	struct gate_effective eff;

	if (gate_engine_resolve(b->e, &s, &s, &b->err) ||
	    gate_engine_effective(b->e, &s, on, &eff, &b->err))
		return "?";
	snprintf(b->text, sizeof(b->text), "%s %s",
		 eff.quarantined ? "quarantine" : gate_state_name(eff.state), eff.source);
	return b->text;
}

int box_slot(struct enginebox *b, const char *subject)
{
	struct gate_subject s = box_subject(subject);
	int slot = gate_engine_slot(b->e, &s);

	return slot < 0 ? -1 : slot;
}

static void add_line(void *arg, const char *line)
{
	struct enginebox *b = arg;
	size_t n = strlen(b->text);

	snprintf(b->text + n, sizeof(b->text) - n, "%s\n", line);
}

const char *box_notes(struct enginebox *b, const char *subject)
{
	struct gate_subject s = box_subject(subject);

	b->text[0] = '\0';
	gate_engine_notes(b->e, &s, add_line, b);
	return b->text;
}

static void add_problem(void *arg, const struct gate_problem *p)
{
	char line[sizeof(p->code) + sizeof(p->message) + 2];

	snprintf(line, sizeof(line), "%s: %s", p->code, p->message);
	add_line(arg, line);
}

const char *box_problems(struct enginebox *b)
{
	b->text[0] = '\0';
	gate_engine_problems(b->e, add_problem, b);
	return b->text;
}

static int add_audit(void *arg, const struct gate_audit_row *row)
{
	char line[512];

	snprintf(line, sizeof(line), "%s %s %s %s", row->actor, row->action, row->subject,
		 row->reason);
	add_line(arg, line);
	return 0;
}

const char *box_audit(struct enginebox *b, const char *subject, unsigned limit)
{
	struct gate_subject s;

	if (subject)
		s = box_subject(subject);
	b->text[0] = '\0';
	if (gate_engine_audit(b->e, subject ? &s : NULL, limit, add_audit, b, &b->err))
		return b->err.message;
	return b->text;
}

const struct gate_notice *box_notice(const struct enginebox *b, enum gate_notice_kind kind)
{
	unsigned n = b->nnotices < BOX_NOTICES ? b->nnotices : BOX_NOTICES;

	for (unsigned i = 1; i <= n; i++) {
		const struct gate_notice *at = &b->notices[(b->nnotices - i) % BOX_NOTICES];

		if (at->kind == kind)
			return at;
	}
	return NULL;
}
