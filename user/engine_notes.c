// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Remarks on a change: what hides it, what it leaves open, and what to do then. */
#include "engine_priv.h"

#include <stdarg.h>
#include <stdio.h>

#define NAMED_MAX 8 /* VMs named one by one in a note */

struct noting {
	struct gate_engine *e;
	void (*cb)(void *, const char *);
	void *arg;
};

__attribute__((format(printf, 2, 3))) static void note(const struct noting *n, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	n->cb(n->arg, text);
}

static void effective(struct gate_engine *e, const struct gate_subject *s,
		      struct gate_effective *out)
{
	const struct rec *rec = gate_engine_rec(e, s);
	struct gate_own own;

	if (rec)
		gate_engine_rec_own(rec, &own);
	gate_engine_effective_if(e, s, 0, rec ? &own : NULL, out);
}

/* ---- what stays open beneath a tenant or the default ---- */

struct open_vms {
	char names[640];
	size_t len;
	unsigned n;
};

static void add_open(struct open_vms *open, const char *name)
{
	if (open->n++ < NAMED_MAX)
		open->len +=
			(size_t)snprintf(open->names + open->len, sizeof(open->names) - open->len,
					 "%s%s", open->len ? ", " : "", name);
}

static void note_open(const struct noting *n, const struct open_vms *open, const char *subject)
{
	char more[32] = "";

	if (!open->n)
		return;
	if (open->n > NAMED_MAX)
		snprintf(more, sizeof(more), " and %u more", open->n - NAMED_MAX);
	note(n,
	     "%s%s %s open by a policy of %s own; `gate25 quarantine %s` closes them all the same",
	     open->names, more, open->n == 1 ? "stays" : "stay", open->n == 1 ? "its" : "their",
	     subject);
}

static void collect_open(struct gate_engine *e, const struct vm *vm, enum gate_state beneath,
			 struct open_vms *open)
{
	char text[GATE_SUBJECT_LEN + 4];
	struct gate_effective eff;
	struct gate_subject s;

	gate_engine_vm_subject(vm, &s);
	effective(e, &s, &eff);
	gate_format_subject(&s, text, sizeof(text));
	if (!eff.quarantined && eff.state < beneath && strcmp(eff.source, text) == 0)
		add_open(open, text);
}

static void note_tenant(const struct noting *n, const struct gate_subject *s)
{
	const struct tenant *t = gate_engine_tenant(n->e, s->name);
	struct open_vms open = { .n = 0 };
	char text[GATE_SUBJECT_LEN + 4];
	struct gate_effective eff;

	effective(n->e, s, &eff);
	gate_format_subject(s, text, sizeof(text));
	if (t && !t->nvms)
		note(n, "no VM belongs to %s yet", text);
	if (!t || eff.quarantined)
		return;
	for (const struct vm *vm = t->vms; vm; vm = vm->tenant_next)
		collect_open(n->e, vm, eff.state, &open);
	note_open(n, &open, text);
}

static void note_default(const struct noting *n, const struct gate_subject *s)
{
	struct open_vms open = { .n = 0 };
	struct gate_effective eff;

	effective(n->e, s, &eff);
	if (eff.quarantined || eff.state == GATE_ALLOW)
		return;
	for (uint32_t slot = 1; slot < n->e->m->conf->max_vms; slot++)
		if (n->e->by_slot[slot])
			collect_open(n->e, n->e->by_slot[slot], eff.state, &open);
	note_open(n, &open, "default");
}

/* ---- what stands above a VM's policy ---- */

static void note_hidden(const struct noting *n, const struct gate_subject *s)
{
	char text[GATE_SUBJECT_LEN + 4];
	struct gate_effective eff;

	effective(n->e, s, &eff);
	gate_format_subject(s, text, sizeof(text));
	if (eff.quarantined && strcmp(eff.source, text) != 0)
		note(n, "%s is in quarantine, which stands above this until it is released",
		     eff.source);
	if (eff.observed && !eff.quarantined)
		note(n, "observed: what this would refuse is counted and passes");
	else if (!n->e->c->enforce)
		note(n, "the host does not enforce: what this would refuse is counted and passes");
}

static void note_specific(const struct noting *n, const struct gate_subject *s)
{
	char text[GATE_SUBJECT_LEN + 4];
	const struct rec *rec = gate_engine_rec(n->e, s);

	if (rec && (rec->policy || rec->observe))
		note(n, "%s has a policy of its own, which goes before this one",
		     gate_format_subject(s, text, sizeof(text)));
}

static void note_vm(const struct noting *n, const struct gate_subject *s)
{
	struct vm *vm = gate_engine_vm_find(n->e, s);

	note_hidden(n, s);
	if (!vm)
		return;
	for (unsigned i = 0; i < vm->spec.nmacs; i++) {
		struct gate_subject mac = { .kind = GATE_S_MAC };

		memcpy(mac.mac, vm->spec.macs[i], 6);
		note_specific(n, &mac);
	}
	for (unsigned i = 0; i < vm->spec.nips; i++) {
		const struct rec *rec =
			gate_engine_ip_cover(n->e, &vm->spec.ips[i], vm->spec.ips[i].len);

		if (rec)
			note_specific(n, &rec->subject);
	}
	if (vm->moved_from[0])
		note(n, "what port:%s had of its own, policy and counters, is now the VM's",
		     vm->moved_from);
}

static void note_address(const struct noting *n, const struct gate_subject *s)
{
	const struct rec *rec;
	char text[GATE_SUBJECT_LEN + 4], other[GATE_SUBJECT_LEN + 4];
	bool held = s->kind == GATE_S_MAC ? gate_table_get(&n->e->macs, s->mac, 6) != NULL
					  : gate_engine_ip_owner(n->e, &s->ip, NULL) != NULL;

	note_hidden(n, s);
	gate_format_subject(s, text, sizeof(text));
	if (!held)
		note(n, "no VM has registered %s: until one does its policy can only tighten",
		     text);
	if (s->kind != GATE_S_IP || !s->ip.len)
		return;
	rec = gate_engine_ip_cover(n->e, &s->ip, s->ip.len - 1);
	if (rec)
		note(n, "%s lies within %s; what is more specific goes first", text,
		     gate_format_subject(&rec->subject, other, sizeof(other)));
}

void gate_engine_notes(struct gate_engine *e, const struct gate_subject *s,
		       void (*cb)(void *, const char *), void *arg)
{
	const struct noting n = { .e = e, .cb = cb, .arg = arg };

	switch (s->kind) {
	case GATE_S_TENANT:
		note_tenant(&n, s);
		note_hidden(&n, s);
		break;
	case GATE_S_VM:
	case GATE_S_PORT:
		note_vm(&n, s);
		break;
	case GATE_S_MAC:
	case GATE_S_IP:
		note_address(&n, s);
		break;
	case GATE_S_DEFAULT:
		note_default(&n, s);
		note_hidden(&n, s);
		break;
	default:
		break;
	}
}
