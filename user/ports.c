// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Life and events of the port manager; see ports.h. */
#include "clock.h"
#include "log.h"
#include "ports_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define TICK_US 1000000ULL
/* Ports looked at for tampering at each tick: 1,000 of them in about a minute. */
#define VERIFY_PER_TICK 16
/* Batches of events before others get their turn. */
#define BATCHES_MAX 16

int gate_ports_rcvbuf;

/* ---- events ---- */

static void resync(struct gate_ports *p)
{
	p->stats.resyncs++;
	int err = gate_ports_list(p);

	p->stale = err != 0;
	if (err) {
		log_error("cannot list the links: %s", strerror(-err));
		gate_engine_problem_set(p->e, "links", "", "cannot list the links: %s",
					strerror(-err));
		return;
	}
	gate_engine_problem_clear(p->e, "links", "");
	for (size_t i = 0; i < p->table.count; i++)
		gate_ports_verify(p, port_at(p, i), NULL);
}

static void take_hints(struct gate_ports *p, const struct gate_link_hint *hint, size_t count)
{
	bool affects = false;

	for (size_t i = 0; i < count; i++)
		if (hint[i].link && gate_ports_refresh(p, &hint[i]))
			affects = true;
	if (affects)
		gate_ports_classify(p);
	for (size_t i = 0; i < count; i++) {
		struct port *port = gate_ports_find(p, hint[i].ifindex);
		if (port)
			gate_ports_verify(p, port, &hint[i]);
	}
}

/* Takes the events that wait. Returns whether all of them are taken. */
static bool read_events(struct gate_ports *p)
{
	const struct gate_link_hint *hint;
	size_t count = 1;

	for (int i = 0; i < BATCHES_MAX && count; i++) {
		int err = gate_links_read(p->links, &hint, &count);
		if (err == -ENOBUFS) {
			log_info("link events were lost: listing all links anew");
			p->stats.overruns++;
			resync(p);
			count = 1;
		} else if (err) {
			log_error("cannot read link events: %s", strerror(-err));
			return true;
		} else {
			take_hints(p, hint, count);
		}
	}
	if (count)
		return false;
	p->busy_since = 0;
	return true;
}

/* ---- the loop ---- */

/* Arms the sources for what there is to do. */
static void schedule(struct gate_ports *p)
{
	const uint64_t due = gate_ports_due(p, gate_clock_mono_ns());

	if (!gate_ports_busy(p))
		gate_attach_hurry(p->a, false);
	sd_event_source_set_enabled(p->work, gate_ports_busy(p) ? SD_EVENT_ON : SD_EVENT_OFF);
	if (due) {
		sd_event_source_set_time(p->due, due / 1000 + 1);
		sd_event_source_set_enabled(p->due, SD_EVENT_ONESHOT);
	}
}

static int on_events(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	struct gate_ports *p = arg;

	read_events(p);
	schedule(p);
	return 0;
}

static int on_work(sd_event_source *s, void *arg)
{
	struct gate_ports *p = arg;

	gate_ports_work(p);
	read_events(p); /* what came meanwhile, before time goes by */
	schedule(p);
	return 0;
}

static int on_due(sd_event_source *s, uint64_t usec, void *arg)
{
	schedule(arg);
	return 0;
}

/* The next few ports in turn: a link or filter may go without an event. */
static void verify_some(struct gate_ports *p)
{
	size_t at = gate_link_index(&p->table, p->verified + 1);

	for (size_t i = 0; i < p->table.count && i < VERIFY_PER_TICK; i++, at++) {
		if (at >= p->table.count)
			at = 0;
		struct port *port = port_at(p, at);
		gate_ports_verify(p, port, NULL);
		p->verified = port->link.ifindex;
	}
}

static int on_tick(sd_event_source *s, uint64_t usec, void *arg)
{
	struct gate_ports *p = arg;

	if (p->stale)
		resync(p);
	gate_ports_expire(p, false);
	verify_some(p);
	gate_ports_retry(p);
	gate_ports_mirror(p);
	schedule(p);
	sd_event_source_set_time(s, usec + TICK_US);
	return 0;
}

static int add_sources(struct gate_ports *p, sd_event *ev)
{
	uint64_t now;
	int r = sd_event_now(ev, CLOCK_MONOTONIC, &now);

	if (r >= 0)
		r = sd_event_add_io(ev, &p->io, gate_links_fd(p->links), EPOLLIN, on_events, p);
	if (r >= 0) /* before any work: a new port's from_vm goes before an old one's to_vm */
		r = sd_event_source_set_priority(p->io, SD_EVENT_PRIORITY_IMPORTANT);
	if (r >= 0)
		r = sd_event_add_defer(ev, &p->work, on_work, p);
	if (r >= 0)
		r = sd_event_add_time(ev, &p->due, CLOCK_MONOTONIC, 0, 1000, on_due, p);
	if (r >= 0)
		r = sd_event_source_set_enabled(p->due, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time(ev, &p->tick, CLOCK_MONOTONIC, now + TICK_US, 0, on_tick, p);
	if (r >= 0)
		r = sd_event_source_set_enabled(p->tick, SD_EVENT_ON);
	return r < 0 ? r : 0;
}

/* ---- life ---- */

/* Everything that is there gets its programs before anybody is answered. */
static void attach_all(struct gate_ports *p)
{
	const uint64_t start = gate_clock_mono_ns();

	gate_bpf_carry(gate_attach_bpf(p->a), GATE_SLOT_ANY);
	do {
		gate_ports_work(p);
		read_events(p);
	} while (gate_ports_busy(p) && !p->refused.code);

	log_info("%llu ports attached on the %s hook in %.0f ms",
		 (unsigned long long)p->stats.attached, gate_attach_hook(p->a),
		 (double)(gate_clock_mono_ns() - start) / 1e6);
}

/* A port that left its bridge while no daemon ran is no port any more. */
static void clear_leavers(struct gate_ports *p)
{
	for (size_t i = 0; i < p->table.count; i++)
		if (!port_at(p, i)->want)
			gate_attach_clear(p->a, port_at(p, i)->link.ifindex);
}

/* All ports are on the new maps then, or all are on the old ones. */
static int finish_upgrade(struct gate_ports *p, struct gate_error *err)
{
	struct gate_bpf *b = gate_attach_bpf(p->a);

	if (!p->refused.code) {
		if (!p->unfinished)
			gate_bpf_settle(b);
		return 0;
	}
	gate_bpf_call_off(b, p->c->grace_s);
	gate_ports_put_back(p);
	int r = gate_bpf_roll_back(b);
	if (r)
		log_error("cannot put the maps of before back in their place: %s", strerror(-r));
	return gate_error_set(err, GATE_ERR_FAILED,
			      "the upgrade is called off, the gate of before stays in force: %s",
			      p->refused.message);
}

/* By configuration, or because the kernel has no tcx and to_vm would need a clsact. */
static void report_to_vm(struct gate_ports *p)
{
	if (!gate_attach_wants_to_vm(p->a) && !p->c->uplink_mode)
		gate_engine_problem_set(p->e, "to_vm_off", "",
					"to_vm is off: replies are not read, and flows end by the "
					"VM's FIN or RST and by time only");
}

int gate_ports_open(struct gate_ports **out, sd_event *ev, struct gate_attacher *a,
		    struct gate_engine *e, const struct gate_config *c, struct gate_error *err)
{
	struct gate_ports *p = calloc(1, sizeof(*p));

	if (!p)
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	p->a = a;
	p->e = e;
	p->c = c;
	for (int w = 0; w < GATE_NWHERE; w++)
		TAILQ_INIT(&p->queue[w]);

	/* subscribed before listed: what changes in between comes as an event */
	int r = gate_links_open(&p->links, !gate_attach_bpf(a)->tcx, gate_ports_rcvbuf);
	r = r ? r : gate_ports_list(p);
	if (!r) {
		gate_ports_sweep(p);
		gate_attach_collect(a);
		if (gate_attach_bpf(a)->adopted)
			clear_leavers(p);
		attach_all(p);
		report_to_vm(p);
		r = finish_upgrade(p, err);
		if (r) {
			gate_ports_close(p);
			return r;
		}
		r = add_sources(p, ev);
	}
	if (r) {
		gate_ports_close(p);
		return gate_error_set(err, GATE_ERR_FAILED, "cannot follow the host's links: %s",
				      strerror(-r));
	}
	schedule(p);
	*out = p;
	return 0;
}

void gate_ports_resync(struct gate_ports *p)
{
	resync(p);
	schedule(p);
}

int gate_ports_reconfigure(struct gate_ports *p, const struct gate_config *c,
			   struct gate_error *err)
{
	gate_ports_clear_missing(p);
	p->c = c;
	gate_attach_reconfigure(p->a, c);
	gate_ports_expire(p, true);
	gate_ports_classify(p);
	for (size_t i = 0; i < p->table.count; i++)
		gate_ports_rehook(p, port_at(p, i));
	schedule(p);
	return 0;
}

void gate_ports_close(struct gate_ports *p)
{
	if (!p)
		return;
	sd_event_source_disable_unref(p->io);
	sd_event_source_disable_unref(p->work);
	sd_event_source_disable_unref(p->due);
	sd_event_source_disable_unref(p->tick);
	gate_links_close(p->links);
	gate_ports_free_table(p);
	free(p);
}

const struct gate_ports_stats *gate_ports_stats(const struct gate_ports *p)
{
	return &p->stats;
}
