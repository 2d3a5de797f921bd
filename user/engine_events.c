// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What the engine tells others: notices as they happen, problems while they last. */
#include "engine_priv.h"

#include <stdarg.h>
#include <stdio.h>

#define PROBLEM_KEY 160

/* ---- notices ---- */

void gate_engine_listen(struct gate_engine *e, void (*cb)(void *, const struct gate_notice *),
			void *arg)
{
	e->listener = cb;
	e->listener_arg = arg;
}

void gate_engine_notice(struct gate_engine *e, const struct gate_notice *n)
{
	if (e->listener)
		e->listener(e->listener_arg, n);
}

/* When it happened, not when it was read. */
static int64_t event_time_ms(const struct gate_event *ev)
{
	return gate_clock_unix_ns() / 1000000 -
	       (int64_t)(gate_clock_mono_ns() - ev->time) / 1000000;
}

void gate_engine_tell(struct gate_engine *e, enum gate_notice_kind kind,
		      const struct gate_subject *s, const struct gate_event *ev, const char *fmt,
		      ...)
{
	struct gate_notice n = { .kind = kind, .event = ev };
	va_list ap;

	if (!e->listener)
		return;
	n.time_ms = ev ? event_time_ms(ev) : gate_clock_unix_ns() / 1000000;
	if (s)
		gate_format_subject(s, n.subject, sizeof(n.subject));
	va_start(ap, fmt);
	vsnprintf(n.text, sizeof(n.text), fmt, ap);
	va_end(ap);
	e->listener(e->listener_arg, &n);
}

void gate_engine_tell_audit(struct gate_engine *e, enum gate_notice_kind kind,
			    const struct gate_subject *s, const struct gate_audit_row *row)
{
	struct gate_notice n = { .kind = kind,
				 .time_ms = gate_clock_unix_ns() / 1000000,
				 .actor = row->actor,
				 .action = row->action,
				 .reason = row->reason };

	gate_format_subject(s, n.subject, sizeof(n.subject));
	snprintf(n.text, sizeof(n.text), "%s: %s %s%s%s%s", row->actor, row->action, n.subject,
		 row->reason[0] ? " (" : "", row->reason, row->reason[0] ? ")" : "");
	gate_engine_notice(e, &n);
}

/* ---- problems ---- */

static size_t problem_key(const char *code, const char *key, char out[PROBLEM_KEY])
{
	int n = snprintf(out, PROBLEM_KEY, "%s%c%s", code, '\0', key);

	return n < PROBLEM_KEY ? (size_t)n : PROBLEM_KEY - 1;
}

void gate_engine_problem_set(struct gate_engine *e, const char *code, const char *key,
			     const char *fmt, ...)
{
	char id[PROBLEM_KEY], message[sizeof(((struct gate_problem *)0)->message)];
	size_t len = problem_key(code, key, id);
	struct gate_problem *p = gate_table_get(&e->problems, id, len);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	if (p && strcmp(p->message, message) == 0)
		return;
	if (!p) {
		p = gate_alloc(1, sizeof(*p));
		gate_table_put(&e->problems, id, len, p);
	}
	snprintf(p->code, sizeof(p->code), "%s", code);
	memcpy(p->message, message, sizeof(p->message));
	log_warning("%s", message);
	gate_engine_tell(e, GATE_N_PROBLEM, NULL, NULL, "%s", message);
}

void gate_engine_map_full(struct gate_engine *e, const char *map, const char *fmt, ...)
{
	char message[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	gate_engine_problem_set(e, "map_full", map, "%s", message);
	e->map_full = true;
}

void gate_engine_problem_clear(struct gate_engine *e, const char *code, const char *key)
{
	char id[PROBLEM_KEY];

	free(gate_table_del(&e->problems, id, problem_key(code, key, id)));
}

void gate_engine_problems(struct gate_engine *e, void (*cb)(void *, const struct gate_problem *),
			  void *arg)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&e->problems, &it)))
		cb(arg, at->value);
}

void gate_engine_problems_close(struct gate_engine *e)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&e->problems, &it)))
		free(at->value);
	gate_table_clear(&e->problems);
}

/* ---- the ring ---- */

static const char *address(const uint8_t addr[16], char *buf, size_t size)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct gate_prefix p = { .len = 128, .v4 = memcmp(addr, mapped, 12) == 0 };

	memcpy(p.addr, addr, 16);
	return gate_format_prefix(&p, buf, size);
}

/* Such as a fragment, which has no ports, or a frame that cannot be read at all. */
static void describe_flow(const struct gate_event *ev, char *buf, size_t size)
{
	bool v6 = ev->family == 6;
	char src[64], dst[64];

	if (ev->family != 4 && ev->family != 6)
		snprintf(buf, size, "a frame from %s", gate_format_mac(ev->mac, src, sizeof(src)));
	else if (!ev->sport && !ev->dport)
		snprintf(buf, size, "a packet from %s to %s", address(ev->src, src, sizeof(src)),
			 address(ev->dst, dst, sizeof(dst)));
	else
		snprintf(buf, size, "%s%s%s:%u to %s%s%s:%u", v6 ? "[" : "",
			 address(ev->src, src, sizeof(src)), v6 ? "]" : "", ev->sport,
			 v6 ? "[" : "", address(ev->dst, dst, sizeof(dst)), v6 ? "]" : "",
			 ev->dport);
}

static void tell_refusal(struct gate_engine *e, const struct gate_subject *s,
			 const struct gate_event *ev, bool first)
{
	bool would = ev->type == GATE_E_WOULD_REFUSE;
	struct gate_notice n = { .kind = would ? GATE_N_WOULD_REFUSE : GATE_N_REFUSED,
				 .event = ev,
				 .first = first,
				 .time_ms = event_time_ms(ev) };
	char flow[160];

	describe_flow(ev, flow, sizeof(flow));
	gate_format_subject(s, n.subject, sizeof(n.subject));
	snprintf(n.text, sizeof(n.text), "%s %s: %s%s", would ? "would refuse" : "refused", flow,
		 ev->reason < GATE_R_MAX ? gate_reason_name(ev->reason) : "?",
		 first ? "; the first for 24 hours" : "");
	gate_engine_notice(e, &n);
}

/*
 * The port was made anew and another guest is behind it: counters and buckets of the
 * one before are not its own. A guest that changes its MAC gets this at most once for
 * each time that the host makes its port anew. The record of the port stays: by now it
 * holds nothing that opens.
 */
static void start_anew(struct gate_engine *e, struct vm *vm, const struct gate_subject *s,
		       uint64_t mac)
{
	struct rec *rec = gate_engine_rec(e, s);
	struct port *p = vm->ports;

	if (!p || p->vm_next || !gate_pool_left(&e->slots))
		return;
	if (rec)
		rec->first_mac = mac;
	gate_engine_loner_remove(e, vm);
	gate_engine_port_bind(e, p);
	if (p->vm)
		__atomic_store_n(&e->m->vms[p->vm->slot].first_mac, mac, __ATOMIC_RELEASE);
}

static uint64_t mac_word(const uint8_t mac[6])
{
	uint64_t word = GATE_MAC_SEEN;

	for (unsigned i = 0; i < 6; i++)
		word |= (uint64_t)mac[i] << 8 * i;
	return word;
}

/* Another guest on an unregistered port: it inherits nothing that opens (Identity 1). */
static void change_identity(struct gate_engine *e, struct vm *vm, const struct gate_subject *s,
			    const struct gate_event *ev)
{
	const struct rec *rec = gate_engine_rec(e, s);
	struct gate_own own;
	bool dropped = false;
	char mac[20];

	if (rec) {
		gate_engine_rec_copy(rec, &own);
		dropped = gate_engine_drop_laxer(e, &own);
		if (dropped) {
			struct audit_note note;

			gate_engine_install(e, &own);
			gate_engine_audit_plain(&note, &gate_engine_self, s, "identity",
						"another MAC on the port: what was laxer than the "
						"default is dropped");
			gate_engine_save_closed(e, &own, &note, NULL);
			gate_engine_audit_clear(&note);
		}
		gate_own_clear(&own);
	}
	gate_engine_learned_forget(e, vm);
	__atomic_store_n(&e->m->vms[vm->slot].first_mac, 0, __ATOMIC_RELEASE);
	gate_engine_tell(e, GATE_N_IDENTITY, s, ev, "another MAC on port %s: %s%s", vm->spec.name,
			 gate_format_mac(ev->mac, mac, sizeof(mac)),
			 dropped ? "; its own policy was laxer than the default and is dropped"
				 : "");
	if (vm->returned)
		start_anew(e, vm, s, mac_word(ev->mac));
}

/* Who did it. The ring may still hold what the slot's last VM did: that one is nobody's now. */
static struct vm *vm_of(const struct gate_engine *e, const struct gate_event *ev)
{
	if (ev->slot >= e->m->conf->max_vms || ev->time < e->left_ns[ev->slot])
		return NULL;
	return e->by_slot[ev->slot];
}

/*
 * Is the event about this VM as it is now? The ring may still hold one about another port,
 * and more than one about a change that was seen to already.
 */
static bool is_news(const struct gate_engine *e, const struct vm *vm, const struct gate_event *ev)
{
	return !vm->spec.registered && vm->ports && vm->ports->ifindex == ev->ifindex &&
	       e->m->vms[vm->slot].first_mac != mac_word(ev->mac);
}

void gate_engine_event(struct gate_engine *e, const struct gate_event *ev)
{
	struct vm *vm = vm_of(e, ev);
	struct gate_subject s;
	bool first;

	gate_engine_slot_subject(e, vm ? ev->slot : GATE_SLOT_UNKNOWN, &s);
	first = gate_engine_reports_event(e, &s, ev, event_time_ms(ev));
	switch (ev->type) {
	case GATE_E_REFUSED:
	case GATE_E_WOULD_REFUSE:
		tell_refusal(e, &s, ev, first);
		break;
	case GATE_E_NEW_MAC:
		if (vm && is_news(e, vm, ev))
			change_identity(e, vm, &s, ev);
		break;
	case GATE_E_NEW_SOURCE:
		if (vm)
			gate_engine_learn(e, vm, &s, ev);
		break;
	default:
		log_debug("an event of unknown type %u", ev->type);
	}
}
