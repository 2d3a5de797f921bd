/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Inside of the port manager: ports.c (life and events), ports_table.c (which
 * links there are and what they are), ports_jobs.c (getting programs onto them).
 */
#ifndef GATE25_PORTS_PRIV_H
#define GATE25_PORTS_PRIV_H

#include "attach_priv.h"
#include "classify.h"
#include "links.h"
#include "ports.h"
#include <sys/queue.h>

/* A link and what the manager has made of it. */
struct port {
	struct gate_link link; /* first: the table of links points here */
	enum gate_role role;
	uint32_t guest; /* host end of a firewall pair: the tap it stands for, 0 = none */
	uint32_t slot;	/* of its VM, 0 = none of its own */

	unsigned want, have; /* bits by enum gate_where */
	unsigned failed;     /* bits: the last try failed, a problem is reported */
	int queued;	     /* enum gate_where of the queue it waits in, -1 = none */
	TAILQ_ENTRY(port) next;

	uint64_t seen_ns;  /* when the manager learned that from_vm is missing */
	uint64_t since_ns; /* since when at the earliest it may be missing, 0 = it is not */
	uint64_t due_ns;   /* attach again not before, 0 = at once */
	uint64_t left_ns;  /* since when it is in no bridge, 0 = it is in one or never was */
	bool reattach;	   /* from_vm was there and somebody took it off */
	bool behind;	   /* another program sees its frames before the gate's */
	bool adopted;	   /* from_vm was there when the manager first saw the link */
};

TAILQ_HEAD(port_queue, port);

struct gate_ports {
	sd_event_source *io, *work, *due, *tick;
	struct gate_attacher *a;
	struct gate_engine *e;
	const struct gate_config *c;
	struct gate_links *links;

	struct gate_link_table table;
	size_t room;	 /* of the table */
	bool shaped;	 /* legacy hook: others make ingress qdiscs for VM ports */
	bool stale;	 /* the last listing failed: list again */
	unsigned guests; /* ports with a guest */
	struct port_queue queue[GATE_NWHERE];

	struct gate_error refused; /* why an upgrade is called off; code 0 = it is not */
	bool unfinished;	   /* old programs are left, and there is no way back */
	uint64_t busy_since;	   /* start of work that kept events from being read, 0 = none */
	uint32_t verified;	   /* ifindex of the port that was looked at last */
	struct gate_ports_stats stats;
};

static inline struct port *port_at(const struct gate_ports *p, size_t i)
{
	return (struct port *)p->table.link[i];
}

/* ---- ports_table.c ---- */

struct port *gate_ports_find(const struct gate_ports *p, uint32_t ifindex);
/* Lists all links anew and brings table and roles to what there is. */
int gate_ports_list(struct gate_ports *p);
/* Asks for one link again. True when roles of others may have changed with it. */
bool gate_ports_refresh(struct gate_ports *p, const struct gate_link_hint *hint);
/* Gives every link its role anew, and reports bridges and uplinks that are missing. */
void gate_ports_classify(struct gate_ports *p);
/* Lets go of those that have been in no bridge for long, or of all of them at once. */
void gate_ports_expire(struct gate_ports *p, bool all);
/* Withdraws what gate_ports_classify() has reported. */
void gate_ports_clear_missing(struct gate_ports *p);
/* Host ends of firewall pairs get the entry of their tap in `ports`. */
void gate_ports_mirror(struct gate_ports *p);
/* Removes entries of `ports` whose link is not there, left by an earlier daemon. */
void gate_ports_sweep(struct gate_ports *p);
void gate_ports_free_table(struct gate_ports *p);

/* ---- ports_jobs.c ---- */

/* Brings hooks and the engine's view to the port's role. */
void gate_ports_enter(struct gate_ports *p, struct port *port, enum gate_role role);
void gate_ports_leave(struct gate_ports *p, struct port *port);
/* Is there work? / does one piece of it. */
bool gate_ports_busy(const struct gate_ports *p);
void gate_ports_work(struct gate_ports *p);
/* Puts the programs of before an upgrade back where they were replaced. */
void gate_ports_put_back(struct gate_ports *p);
/* Looks whether the programs are still on the port, and puts back what is not. */
void gate_ports_verify(struct gate_ports *p, struct port *port, const struct gate_link_hint *hint);
/* Queues what is due now. Returns when the next is due, 0 = nothing waits. */
uint64_t gate_ports_due(struct gate_ports *p, uint64_t now_ns);
/* Queues what failed or got lost. */
void gate_ports_retry(struct gate_ports *p);
/* What the configuration wants on the port now (to_vm, backstop). */
void gate_ports_rehook(struct gate_ports *p, struct port *port);

#endif
