// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Getting programs onto ports and keeping them there; see ports.h.
 *
 * Attaching takes 8 ms of the kernel's on the tcx hook, so it is done piece by
 * piece with a look at the events in between. The order is that of what an open
 * port can do: the backstop covers all ports at once, then from_vm of each, then
 * to_vm.
 */
#include "clock.h"
#include "log.h"
#include "ports_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/*
 * Proxmox, libvirt and OVS delete the ingress qdisc and add one of their own some
 * commands later, and fail when one is there. Where the backstop judges meanwhile
 * they are given this long from the last thing they did, and not longer than that in
 * all; their new qdisc ends the wait. So it is when a port's qdisc goes, and for a
 * new port where others have set up ports before: who came late would make a qdisc
 * in the midst of their commands.
 */
#define QDISC_PAUSE_NS	   (500 * 1000000ULL)
#define QDISC_PAUSE_MAX_NS (5000 * 1000000ULL)

#define BIT(where) (1U << (where))

static const char *const problem_code[GATE_NWHERE] = { "port_unattached", "to_vm_unattached",
						       "backstop_unattached",
						       "early_drop_unattached" };
static const enum gate_where order[GATE_NWHERE] = { GATE_UPLINK_OUT, GATE_FROM_VM, GATE_TO_VM,
						    GATE_EARLY_DROP };

static bool is_macvtap(const struct port *port)
{
	return !strcmp(port->link.kind, "macvtap");
}

/* ---- the queues ---- */

static void unqueue(struct gate_ports *p, struct port *port)
{
	if (port->queued >= 0)
		TAILQ_REMOVE(&p->queue[port->queued], port, next);
	port->queued = -1;
}

/* Puts a port where the first thing that it lacks is done. */
static void requeue(struct gate_ports *p, struct port *port)
{
	const unsigned lacks = port->want & ~port->have & ~port->failed;

	unqueue(p, port);
	if (port->due_ns)
		return;
	for (int i = 0; i < GATE_NWHERE; i++) {
		if (!(lacks & BIT(order[i])))
			continue;
		TAILQ_INSERT_TAIL(&p->queue[order[i]], port, next);
		port->queued = (int)order[i];
		return;
	}
}

bool gate_ports_busy(const struct gate_ports *p)
{
	for (int w = 0; w < GATE_NWHERE; w++)
		if (!TAILQ_EMPTY(&p->queue[w]))
			return true;
	return false;
}

/* ---- what the engine is told ---- */

static uint32_t port_flags(const struct gate_ports *p, const struct port *port)
{
	if (port->behind)
		return GATE_PORT_VM;
	if (port->have & BIT(GATE_FROM_VM) || port->adopted)
		return GATE_PORT_VM | gate_attach_port_flags(p->a);
	return GATE_PORT_VM;
}

static void tell_up(struct gate_ports *p, struct port *port)
{
	int slot =
		gate_engine_port_up(p->e, port->link.ifindex, port->link.name, port_flags(p, port));

	port->slot = slot > 0 ? (uint32_t)slot : 0;
	if (slot < 0 && slot != -ENOSPC)
		log_warning("port %s has no entry in the maps: %s", port->link.name,
			    strerror(-slot));
	gate_ports_mirror(p);
}

static void tell_attached(struct gate_ports *p, const struct port *port)
{
	gate_engine_port_attached(p->e, port->link.ifindex,
				  port->have ? gate_attach_hook(p->a) : "none",
				  port->have & BIT(GATE_FROM_VM), port->have & BIT(GATE_TO_VM));
}

static void clear_problems(struct gate_ports *p, struct port *port, unsigned bits)
{
	char key[16];

	snprintf(key, sizeof(key), "%u", port->link.ifindex);
	for (int w = 0; w < GATE_NWHERE; w++)
		if (port->failed & bits & BIT(w))
			gate_engine_problem_clear(p->e, problem_code[w], key);
	port->failed &= ~bits;
}

static void set_problem(struct gate_ports *p, struct port *port, enum gate_where where,
			const struct gate_error *err)
{
	char key[16];

	snprintf(key, sizeof(key), "%u", port->link.ifindex);
	if (!(port->failed & BIT(where)))
		log_error("%s", err->message);
	gate_engine_problem_set(p->e, problem_code[where], key, "%s", err->message);
	port->failed |= BIT(where);
}

/* ---- others before the gate ---- */

static void tell_behind(struct gate_ports *p, const struct port *port, const char *key)
{
	if (port->role == GATE_ROLE_VM)
		gate_engine_problem_set(p->e, "from_vm_not_first", key,
					"another program on %s sees frames before from_vm and may "
					"let them past it: the backstop judges them again",
					port->link.name);
	else
		gate_engine_problem_set(p->e, "uplink_out_not_first", key,
					"another program on %s sees frames before uplink_out and "
					"may let them past it, where nothing else judges them",
					port->link.name);
}

/* True when that has changed. Nobody is told of it by the kernel. */
static bool look_ahead(struct gate_ports *p, struct port *port)
{
	const enum gate_where where = port->role == GATE_ROLE_VM ? GATE_FROM_VM : GATE_UPLINK_OUT;
	const bool behind =
		port->have & BIT(where) &&
		!gate_attach_is_first(p->a, port->link.ifindex, where, is_macvtap(port));
	char key[16];

	if (behind == port->behind)
		return false;
	port->behind = behind;
	snprintf(key, sizeof(key), "%u", port->link.ifindex);
	if (behind) {
		tell_behind(p, port, key);
	} else {
		gate_engine_problem_clear(p->e, "from_vm_not_first", key);
		gate_engine_problem_clear(p->e, "uplink_out_not_first", key);
	}
	return true;
}

/* ---- time without from_vm ---- */

static void start_gap(struct gate_ports *p, struct port *port)
{
	port->seen_ns = gate_clock_mono_ns();
	/* while work was done nobody looked: it may have been missing all that time */
	port->since_ns = p->busy_since ? p->busy_since : port->seen_ns;
}

static void end_gap(struct gate_ports *p, struct port *port)
{
	if (port->since_ns)
		p->stats.unattached_ns += gate_clock_mono_ns() - port->since_ns;
	port->since_ns = 0;
}

static void note_attach_time(struct gate_ports *p, const struct port *port)
{
	static const double bound[] = { .0005, .001, .0025, .005, .01, .025, .05, .1, 1 };
	const size_t n = sizeof(bound) / sizeof(bound[0]);
	const double s = (double)(gate_clock_mono_ns() - port->seen_ns) / GATE_NSEC_PER_SEC;
	size_t i = 0;

	_Static_assert(sizeof(bound) / sizeof(bound[0]) + 1 ==
			       sizeof(p->stats.attach_bucket) / sizeof(p->stats.attach_bucket[0]),
		       "a bound for each bucket but the last");
	while (i < n && s > bound[i])
		i++;
	p->stats.attach_bucket[i]++;
	p->stats.attach_sum_s += s;
}

static void tell_gap(struct gate_ports *p, const struct port *port)
{
	const double ms = (double)(gate_clock_mono_ns() - port->since_ns) / 1e6;
	struct gate_notice n = { .kind = GATE_N_GAP, .time_ms = gate_clock_unix_ns() / 1000000 };

	snprintf(n.subject, sizeof(n.subject), "port:%s", port->link.name);
	snprintf(n.text, sizeof(n.text),
		 "from_vm was taken off %s by somebody and is back after %.1f ms%s",
		 port->link.name, ms,
		 p->c->backstop ? "; meanwhile the backstop judged what left by an uplink" : "");
	log_warning("%s", n.text);
	gate_engine_notice(p->e, &n);
}

/* ---- one piece of work ---- */

static void from_vm_attached(struct gate_ports *p, struct port *port)
{
	port->adopted = false;
	p->stats.attached++;
	note_attach_time(p, port);
	if (port->reattach) {
		p->stats.reattached++;
		tell_gap(p, port);
	}
	port->reattach = false;
	p->shaped |= gate_attach_on_others_qdisc(p->a, port->link.ifindex);
	look_ahead(p, port);
	end_gap(p, port);
	tell_up(p, port);
}

static int put(struct gate_ports *p, const struct port *port, enum gate_where where,
	       struct gate_error *err)
{
	struct gate_bpf *b = gate_attach_bpf(p->a);
	const bool carry = where == GATE_FROM_VM && port->slot && gate_bpf_upgrades(b);

	if (carry)
		gate_bpf_carry(b, port->slot);
	int r = gate_attach_put(p->a, port->link.ifindex, port->link.name, where, is_macvtap(port),
				err);
	if (carry)
		gate_bpf_carry(b, port->slot);
	return r;
}

/*
 * Where the old programs cannot be replaced they go on by the old maps, which nobody
 * would write policy into any more. So the upgrade is off, for all ports.
 */
static bool refuses_upgrade(struct gate_ports *p, const struct port *port, enum gate_where where,
			    const struct gate_error *err)
{
	struct gate_bpf *b = gate_attach_bpf(p->a);

	if (!gate_bpf_upgrades(b) || !gate_attach_earlier(p->a, port->link.ifindex, where))
		return false;
	if (where == GATE_EARLY_DROP) { /* an economy: better none than an old one */
		gate_attach_remove(p->a, port->link.ifindex, where);
		return false;
	}
	p->unfinished = true;
	if (gate_bpf_can_roll_back(b))
		p->refused = *err;
	return p->refused.code;
}

void gate_ports_put_back(struct gate_ports *p)
{
	for (size_t i = 0; i < p->table.count; i++) {
		const struct port *port = port_at(p, i);
		for (int w = 0; w < GATE_NWHERE; w++) {
			int err = port->have & BIT(w)
					  ? gate_attach_put_back(p->a, port->link.ifindex, w,
								 is_macvtap(port))
					  : 0;
			if (err && err != -ENODEV)
				log_error("cannot put %s of before back on %s: %s",
					  gate_attach_where(w), port->link.name, strerror(-err));
		}
	}
}

void gate_ports_work(struct gate_ports *p)
{
	struct gate_error err = { 0 };
	struct port *port = NULL;

	for (int i = 0; i < GATE_NWHERE && !port; i++)
		port = TAILQ_FIRST(&p->queue[order[i]]);
	if (!port)
		return;
	const enum gate_where where = (enum gate_where)port->queued;
	unqueue(p, port);

	p->busy_since = gate_clock_mono_ns();
	gate_attach_hurry(p->a, true);
	int r = put(p, port, where, &err);
	if (r == -ENODEV)
		return; /* its event is on the way */
	if (r == -EOPNOTSUPP && where == GATE_EARLY_DROP && p->c->early_drop == GATE_EARLY_AUTO) {
		port->want &= ~BIT(where); /* where it pays, and where it can be */
	} else if (r && refuses_upgrade(p, port, where, &err)) {
		return;
	} else if (r) {
		if (where == GATE_FROM_VM && port->adopted) {
			port->adopted = false;
			tell_up(p, port);
		}
		set_problem(p, port, where, &err);
	} else {
		port->have |= BIT(where);
		clear_problems(p, port, BIT(where));
		if (where == GATE_FROM_VM)
			from_vm_attached(p, port);
		else if (where == GATE_UPLINK_OUT)
			look_ahead(p, port);
	}
	tell_attached(p, port);
	requeue(p, port);
}

/* ---- other people's qdiscs ---- */

static bool backstop_holds(const struct gate_ports *p)
{
	for (size_t i = 0; i < p->table.count; i++)
		if (port_at(p, i)->have & BIT(GATE_UPLINK_OUT))
			return true;
	return false;
}

/*
 * Is there no qdisc, and may another one be on the way? The kernel is asked: of the
 * events one may have been read and the other not yet be there.
 */
static bool await_qdisc(const struct gate_ports *p, const struct port *port)
{
	return !gate_attach_bpf(p->a)->tcx && backstop_holds(p) &&
	       !gate_attach_has_qdisc(p->a, port->link.ifindex);
}

static void stretch_pause(struct gate_ports *p, struct port *port,
			  const struct gate_link_hint *hint)
{
	const uint64_t last = port->seen_ns + QDISC_PAUSE_MAX_NS;
	const uint64_t due = gate_clock_mono_ns() + QDISC_PAUSE_NS;

	/* the event may be an old one: is theirs there now? */
	if (hint->qdisc_new && gate_attach_has_qdisc(p->a, port->link.ifindex)) {
		port->due_ns = 0;
		requeue(p, port);
	} else if (hint->qdisc_new || hint->tc_other) {
		port->due_ns = due < last ? due : last;
	}
}

/* ---- roles ---- */

static unsigned wanted(const struct gate_ports *p, const struct port *port)
{
	switch (port->role) {
	case GATE_ROLE_VM:
		return BIT(GATE_FROM_VM) | (gate_attach_wants_to_vm(p->a) ? BIT(GATE_TO_VM) : 0) |
		       (gate_attach_wants_early(p->a, port->link.kind) ? BIT(GATE_EARLY_DROP) : 0);
	case GATE_ROLE_UPLINK:
		return p->c->backstop || p->c->uplink_mode ? BIT(GATE_UPLINK_OUT) : 0;
	default:
		return 0;
	}
}

void gate_ports_rehook(struct gate_ports *p, struct port *port)
{
	port->want = wanted(p, port);
	const unsigned surplus = port->have & ~port->want;

	for (int w = 0; w < GATE_NWHERE; w++)
		if (surplus & BIT(w))
			gate_attach_remove(p->a, port->link.ifindex, w);
	port->have &= ~surplus;
	clear_problems(p, port, ~port->want);
	if (surplus)
		tell_attached(p, port);
	requeue(p, port);
}

void gate_ports_enter(struct gate_ports *p, struct port *port, enum gate_role role)
{
	const uint32_t ifindex = port->link.ifindex;

	port->role = role;
	switch (role) {
	case GATE_ROLE_VM:
		/* an earlier daemon's program gates until ours takes its place */
		port->adopted = gate_attach_present(p->a, ifindex, GATE_FROM_VM) == 1;
		start_gap(p, port);
		if (port->adopted)
			port->since_ns = 0;
		else if (p->io && p->shaped && await_qdisc(p, port))
			port->due_ns = port->seen_ns + QDISC_PAUSE_NS;
		tell_up(p, port);
		tell_attached(p, port);
		break;
	case GATE_ROLE_UPLINK:
		gate_engine_port_other(p->e, ifindex, port->link.name, GATE_PORT_UPLINK);
		break;
	case GATE_ROLE_OTHER:
		gate_engine_port_other(p->e, ifindex, port->link.name, 0);
		break;
	default:
		break;
	}
	gate_ports_rehook(p, port);
	if (role != GATE_ROLE_VM)
		return;
	/* an earlier daemon's, of a configuration that wanted them */
	for (int w = 0; w < GATE_NWHERE; w++)
		if (!(port->want & BIT(w)))
			gate_attach_remove(p->a, ifindex, w);
}

void gate_ports_leave(struct gate_ports *p, struct port *port)
{
	unqueue(p, port);
	clear_problems(p, port, ~0U);
	if (port->role == GATE_ROLE_VM)
		end_gap(p, port);
	if (port->role == GATE_ROLE_VM || port->role == GATE_ROLE_UPLINK)
		gate_attach_clear(p->a, port->link.ifindex);
	if (port->role != GATE_ROLE_NONE)
		gate_engine_port_down(p->e, port->link.ifindex);
	port->role = GATE_ROLE_NONE;
	port->want = port->have = 0;
	look_ahead(p, port);
	port->due_ns = 0;
	port->reattach = port->adopted = false;
}

/* ---- keeping them there ---- */

void gate_ports_verify(struct gate_ports *p, struct port *port, const struct gate_link_hint *hint)
{
	unsigned lost = 0;

	if (port->due_ns && hint)
		stretch_pause(p, port, hint);
	for (int w = 0; w < GATE_NWHERE; w++)
		if (port->have & BIT(w) && gate_attach_check(p->a, port->link.ifindex, w) == 0)
			lost |= BIT(w);
	port->have &= ~lost;
	const bool changed = look_ahead(p, port);
	if (changed && !lost && port->role == GATE_ROLE_VM)
		tell_up(p, port);
	if (!lost)
		return;

	if (lost & BIT(GATE_FROM_VM)) {
		start_gap(p, port);
		port->reattach = true;
		if (await_qdisc(p, port))
			port->due_ns = port->seen_ns + QDISC_PAUSE_NS;
		tell_up(p, port);
	}
	tell_attached(p, port);
	requeue(p, port);
}

uint64_t gate_ports_due(struct gate_ports *p, uint64_t now_ns)
{
	uint64_t next = 0;

	for (size_t i = 0; i < p->table.count; i++) {
		struct port *port = port_at(p, i);
		if (!port->due_ns)
			continue;
		if (port->due_ns <= now_ns) {
			port->due_ns = 0;
			requeue(p, port);
		} else if (!next || port->due_ns < next) {
			next = port->due_ns;
		}
	}
	return next;
}

void gate_ports_retry(struct gate_ports *p)
{
	for (size_t i = 0; i < p->table.count; i++) {
		struct port *port = port_at(p, i);
		const unsigned failed = port->failed;
		if (port->queued >= 0 || port->want == port->have)
			continue;
		/* a problem stays reported until it is solved */
		port->failed = 0;
		requeue(p, port);
		port->failed = failed;
	}
}
