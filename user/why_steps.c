// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The steps in the order in which the program takes them, a sentence each. */
#include "why_priv.h"

#include <stdarg.h>
#include <stdio.h>

#define TEXT_MAX 700

void why_step(struct gate_buf *b, const char *step, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	gate_json_open(b, NULL, '{');
	gate_json_string(b, "step", step);
	gate_json_string(b, "text", text);
}

/* snprintf() onto what is in `buf` already. */
__attribute__((format(printf, 3, 4))) static void add(char *buf, size_t size, const char *fmt, ...)
{
	size_t n = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + n, size - n, fmt, ap);
	va_end(ap);
}

/* ---- port ---- */

struct ports {
	const struct why_case *w;
	struct gate_buf *list;
	char text[TEXT_MAX];
	unsigned n;
};

static void take_port(void *arg, const struct gate_port_info *p)
{
	struct ports *l = arg;

	if (p->uplink || p->slot != l->w->slot || !p->ifindex || !p->slot)
		return;
	add(l->text, sizeof(l->text), "%s%s %s", l->n++ ? ", " : "", p->name,
	    !p->from_vm ? "is not gated: only the backstop on the uplinks sees its traffic"
	    : p->to_vm	? "is gated"
			: "is gated, what it is answered is not read");
	if (p->from_vm)
		add(l->text, sizeof(l->text), " (%s)", p->hook);
	gate_json_open(l->list, NULL, '{');
	gate_json_string(l->list, "name", p->name);
	gate_json_uint(l->list, "ifindex", p->ifindex);
	gate_json_string(l->list, "hook", p->hook);
	gate_json_bool(l->list, "from_vm", p->from_vm);
	gate_json_bool(l->list, "to_vm", p->to_vm);
	gate_json_close(l->list, '}');
}

static void write_ports(const struct why_case *w, struct gate_buf *b)
{
	_cleanup_buf_ struct gate_buf list = { 0 };
	struct ports l = { .w = w, .list = &list };

	gate_json_open(&list, NULL, '[');
	gate_engine_ports(w->engine, take_port, &l);
	gate_json_close(&list, ']');
	gate_buf_putc(&list, '\0');
	if (!w->slot)
		add(l.text, sizeof(l.text), "none: no VM answers for this source");
	else if (!l.n)
		add(l.text, sizeof(l.text), "none is there now; this holds once one is");
	why_step(b, "port", "%s", l.text);
	gate_json_raw(b, "ports", list.data ? list.data : "[]");
	gate_json_close(b, '}');
	b->failed |= list.failed;
}

/* ---- VM, source ---- */

static void write_vm(const struct why_case *w, struct gate_buf *b)
{
	char who[GATE_SUBJECT_LEN + 4];

	gate_format_subject(&w->who, who, sizeof(who));
	if (!w->slot)
		why_step(b, "vm", "a source that no VM answers for: all such share one bucket");
	else if (!w->vm->registered)
		why_step(b, "vm", "%s, which nobody has registered", who);
	else
		why_step(b, "vm", "%s%s%s", who, w->vm->tenant[0] ? ", of tenant " : "",
			 w->vm->tenant);
	gate_json_string(b, "subject", who);
	gate_json_bool(b, "registered", w->vm->registered);
	gate_json_string(b, "tenant", gate_json_or_null(w->vm->tenant));
	gate_json_close(b, '}');
}

static const char *const origin_names[] = {
	[WHY_ASKED] = "asked",
	[WHY_REGISTERED] = "registered",
	[WHY_SEEN] = "seen",
	[WHY_PLACEHOLDER] = "placeholder",
};
_Static_assert(sizeof(origin_names) / sizeof(origin_names[0]) == WHY_ORIGIN_MAX,
	       "a name for each origin");

static const char *const origin_texts[] = {
	[WHY_ASKED] = "as asked",
	[WHY_REGISTERED] = "registered",
	[WHY_SEEN] = "last seen",
	[WHY_PLACEHOLDER] = "a placeholder: none is known",
};

static void write_source(const struct why_case *w, struct gate_buf *b)
{
	enum gate_binding binding = (enum gate_binding)w->m->vms[w->slot].binding;
	char mac[20], ip[64];

	gate_format_mac(w->mac, mac, sizeof(mac));
	gate_format_prefix(&w->src, ip, sizeof(ip));
	why_step(b, "source", "MAC %s (%s), address %s (%s); binding %s%s", mac,
		 origin_texts[w->mac_is], ip, origin_texts[w->src_is], gate_binding_name(binding),
		 w->t.stranger ? "; another MAC than the port's first: the default holds too" : "");
	gate_json_string(b, "mac", mac);
	gate_json_string(b, "mac_is", origin_names[w->mac_is]);
	gate_json_string(b, "ip", ip);
	gate_json_string(b, "ip_is", origin_names[w->src_is]);
	gate_json_string(b, "binding", gate_binding_name(binding));
	gate_json_bool(b, "stranger", w->t.stranger);
	gate_json_close(b, '}');
}

/* ---- quarantine, exempt ---- */

/* `until TIME, "REASON", by NAME` */
static void origin(char *buf, size_t size, int64_t until, const char *reason, const char *by)
{
	char when[40];

	if (until)
		add(buf, size, ", until %s", gate_format_time(until, when, sizeof(when)));
	if (reason[0])
		add(buf, size, ", \"%s\"", reason);
	if (by[0])
		add(buf, size, ", by %s", by);
}

static void write_quarantine(const struct why_case *w, struct gate_buf *b)
{
	char text[TEXT_MAX] = "", subject[GATE_SUBJECT_LEN + 4] = "";
	const struct gate_own *own = NULL;
	struct why_link link;

	if (!w->t.quarantine) {
		why_step(b, "quarantine", "none");
		gate_json_bool(b, "quarantined", false);
		gate_json_close(b, '}');
		return;
	}
	if (why_link_at(w, w->t.quarantine, 0, &link)) {
		own = gate_engine_own(w->engine, &link.subject);
		gate_format_subject(&link.subject, subject, sizeof(subject));
	}
	if (own)
		origin(text, sizeof(text), own->quarantine.until, own->quarantine.reason,
		       own->quarantine.by);
	why_step(b, "quarantine", "%s is quarantined%s: that stands above every policy", subject,
		 text);
	gate_json_bool(b, "quarantined", true);
	gate_json_string(b, "subject", gate_json_or_null(subject));
	gate_json_time(b, "until", own ? own->quarantine.until : 0);
	gate_json_string(b, "reason", own ? gate_json_or_null(own->quarantine.reason) : NULL);
	gate_json_string(b, "by", own ? gate_json_or_null(own->quarantine.by) : NULL);
	gate_json_close(b, '}');
}

static void write_exempt(const struct why_case *w, struct gate_buf *b)
{
	char list[GATE_SUBJECT_LEN + 4], entry[64] = "", dest[64];
	struct gate_exemption x;
	bool exempt = gate_engine_exempt(w->engine, w->slot, &w->dst, &x);

	gate_format_prefix(&w->dst, dest, sizeof(dest));
	if (!exempt) {
		why_step(b, "exempt", "%s is no exempt destination", dest);
		gate_json_bool(b, "exempt", false);
		gate_json_close(b, '}');
		return;
	}
	gate_format_subject(&x.list, list, sizeof(list));
	gate_format_prefix(&x.entry, entry, sizeof(entry));
	why_step(b, "exempt", "%s needs no leave: %s is exempt for %s%s%s", dest, entry,
		 x.list.kind == GATE_S_DEFAULT ? "everybody" : list,
		 x.configured ? " by the configuration" : "",
		 w->t.quarantine ? ", but the quarantine stands above that" : "");
	gate_json_bool(b, "exempt", true);
	gate_json_string(b, "subject", list);
	gate_json_string(b, "entry", entry);
	gate_json_bool(b, "configured", x.configured);
	gate_json_close(b, '}');
}

/* ---- policy ---- */

static void name_link(const struct why_link *l, char *buf, size_t size)
{
	char subject[GATE_SUBJECT_LEN + 4];

	gate_format_subject(&l->subject, subject, sizeof(subject));
	snprintf(buf, size, "%s%s", l->configured ? "the configuration's " : "", subject);
	if (l->on)
		add(buf, size, " on port %u", l->on);
}

static void write_link(const struct why_case *w, struct gate_buf *b, const struct why_link *l)
{
	const struct gate_node *node = &w->m->nodes[l->node];
	const struct gate_policy_spec *p = why_spec(w, l);
	char subject[GATE_SUBJECT_LEN + 4];

	gate_json_string(b, "subject", gate_format_subject(&l->subject, subject, sizeof(subject)));
	gate_json_bool(b, "configured", l->configured);
	if (l->on)
		gate_json_uint(b, "on", l->on);
	else
		gate_json_null(b, "on");
	gate_json_string(b, "state", gate_state_name((enum gate_state)node->state));
	gate_json_time(b, "expires", p ? p->expires : 0);
	gate_json_string(b, "reason", p ? gate_json_or_null(p->reason) : NULL);
	gate_json_string(b, "by", p ? gate_json_or_null(p->by) : NULL);
}

/* Does the node have a state that the program takes for one? */
static bool has_state(const struct why_case *w, const struct why_link *l)
{
	const struct gate_node *node = &w->m->nodes[l->node];

	return node->state != GATE_INHERIT && (!node->expires || node->expires > w->t.now);
}

static void describe(const struct why_case *w, const struct why_link *l, char *buf, size_t size)
{
	const struct gate_node *node = &w->m->nodes[l->node];
	const struct gate_policy_spec *p = why_spec(w, l);
	char name[GATE_SUBJECT_LEN + 40];

	name_link(l, name, sizeof(name));
	add(buf, size, "%s: %s", name, gate_state_name((enum gate_state)node->state));
	if (p)
		origin(buf, size, p->expires, p->reason, p->by);
}

static void write_policy(const struct why_case *w, struct gate_buf *b, const struct why_link *chain,
			 unsigned n)
{
	char text[TEXT_MAX] = "", name[GATE_SUBJECT_LEN + 40];
	struct why_link own;
	bool any = false;

	if (!w->t.own_node || !why_link_at(w, w->t.own, w->t.own_node, &own)) {
		why_step(b, "policy", "nobody has one, so all passes");
		gate_json_close(b, '}');
		return;
	}
	describe(w, &own, text, sizeof(text));
	for (unsigned i = 0; i < n; i++) {
		if (chain[i].handle == w->t.own || !has_state(w, &chain[i]))
			continue;
		name_link(&chain[i], name, sizeof(name));
		add(text, sizeof(text), "%s%s (%s)", any ? ", " : "; overrides ", name,
		    gate_state_name((enum gate_state)w->m->nodes[chain[i].node].state));
		any = true;
	}
	why_step(b, "policy", "%s", text);
	write_link(w, b, &own);
	gate_json_open(b, "overrides", '[');
	for (unsigned i = 0; i < n; i++) {
		if (chain[i].handle == w->t.own || !has_state(w, &chain[i]))
			continue;
		gate_json_open(b, NULL, '{');
		write_link(w, b, &chain[i]);
		gate_json_close(b, '}');
	}
	gate_json_close(b, ']');
	gate_json_close(b, '}');
}

static void write_tight(const struct why_case *w, struct gate_buf *b)
{
	char text[TEXT_MAX] = "";
	struct why_link tight;

	if (!w->t.tight_node || !why_link_at(w, w->t.tight, w->t.tight_node, &tight))
		return;
	describe(w, &tight, text, sizeof(text));
	why_step(b, "tighter", "must hold too, since %s: %s",
		 w->t.stranger ? "another guest may be behind the port"
			       : "the VM has not registered this source",
		 text);
	write_link(w, b, &tight);
	gate_json_close(b, '}');
}

static void write_enforcement(const struct why_case *w, struct gate_buf *b,
			      const struct why_link *chain, unsigned n)
{
	bool host = w->m->conf->flags & GATE_CONF_ENFORCE;
	char by[GATE_SUBJECT_LEN + 4] = "";

	for (unsigned i = 0; i < n && !by[0]; i++)
		if (w->m->nodes[chain[i].node].flags & GATE_NODE_OBSERVE)
			gate_format_subject(&chain[i].subject, by, sizeof(by));
	if (w->t.enforce)
		why_step(b, "enforcement", "refusals are carried out%s",
			 w->t.observed ? ": observe does not weaken a quarantine" : "");
	else if (!host)
		why_step(b, "enforcement", "this host only counts: enforce is off");
	else
		why_step(b, "enforcement", "%s is only observed: refusals are counted", by);
	gate_json_bool(b, "enforced", w->t.enforce);
	gate_json_bool(b, "host", host);
	gate_json_string(b, "observed_by", gate_json_or_null(by));
	gate_json_close(b, '}');
}

/* ---- all of them ---- */

static void not_gated(const struct why_case *w, struct gate_buf *b)
{
	const struct gate_conf *conf = w->m->conf;
	char list[40] = "";

	for (unsigned i = 0; i < conf->nports; i++)
		add(list, sizeof(list), "%s%u", i ? ", " : "", conf->ports[i]);
	why_step(b, "not_gated", "port %u is not gated, so the packet is let be: gated is %s",
		 w->dport, list);
	gate_json_close(b, '}');
}

void why_write_steps(const struct why_case *w, struct gate_buf *b, uint64_t *next_ms)
{
	struct why_link chain[WHY_CHAIN_MAX];
	unsigned n;

	gate_json_open(b, NULL, '[');
	write_ports(w, b);
	write_vm(w, b);
	if (!w->judged) {
		not_gated(w, b);
		gate_json_close(b, ']');
		gate_buf_putc(b, '\0');
		return;
	}
	n = why_chain(w, chain);
	write_source(w, b);
	write_quarantine(w, b);
	write_exempt(w, b);
	write_policy(w, b, chain, n);
	write_tight(w, b);
	write_enforcement(w, b, chain, n);
	/* what is refused before, or exempt, spends nothing */
	if (w->t.reason == GATE_R_NEW_FLOW ||
	    gate_reason_verdict((enum gate_reason)w->t.reason) == GATE_V_LIMITED)
		why_write_buckets(w, b, next_ms);
	gate_json_close(b, ']');
	gate_buf_putc(b, '\0');
}
