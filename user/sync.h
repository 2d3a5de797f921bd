/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Model to maps: the one writer of what the packet programs decide by. It knows
 * what is in the maps, so that bringing them to the model costs only the
 * difference, at start too: an earlier daemon's entries are read once.
 *
 * A policy is an immutable node. To change one a free node is filled, its number
 * stored in `heads`, the old node left to rest for a second: a program that has
 * just read the old number still finds the old policy, never half of a new one.
 * Heads whose policies are equal show one node, see nodes.h.
 */
#ifndef GATE25_SYNC_H
#define GATE25_SYNC_H

#include "config.h"
#include "maps.h"
#include "model.h"
#include "pool.h"

struct gate_sync;

/** gate_sync_open() - reads what the maps hold; changes nothing yet */
int gate_sync_open(struct gate_sync **out, struct gate_maps *m, const struct gate_config *c,
		   struct gate_error *err);
void gate_sync_close(struct gate_sync *s);
/** gate_sync_configure() - another configuration: flags of `conf`; nodes are the caller's to renew
 */
void gate_sync_configure(struct gate_sync *s, const struct gate_config *c);
/** gate_sync_clock() - takes the distance of the two clocks anew */
void gate_sync_clock(struct gate_sync *s);
/**
 * gate_sync_take() - a number from a pool; if all that are left rest, waits until
 * no program can be using them: once every CPU has left the programs it was in,
 * which the kernel knows (RCU)
 */
uint32_t gate_sync_take(struct gate_pool *p);
/** gate_sync_revision() - a change is complete */
void gate_sync_revision(struct gate_sync *s);

/* ---- policy (sync.c) ---- */

/**
 * gate_sync_own() - puts a subject's own policy in force in all its scopes
 * @own: NULL or empty takes it away
 */
void gate_sync_own(struct gate_sync *s, uint32_t base, const struct gate_own *own);
/** gate_sync_compile() - the node of one scope; all zero when there is nothing to say */
void gate_sync_compile(const struct gate_sync *s, const struct gate_own *own, unsigned scope,
		       bool is_default, struct gate_node *out);
/** gate_sync_decompile() - what an adopted node says, as nearly as can be told */
bool gate_sync_decompile(const struct gate_sync *s, uint32_t base, struct gate_own *own);
/**
 * gate_sync_budget_take() - a place in `budgets`, 0 when all are taken
 * @wanted: the one an earlier daemon gave it, 0 = none: its state stays
 */
uint32_t gate_sync_budget_take(struct gate_sync *s, uint32_t wanted);
void gate_sync_budget(struct gate_sync *s, uint32_t budget, const struct gate_rate_spec *rates,
		      unsigned n);
/** gate_sync_budget_decompile() - adoption: what a budget allows; returns how many rates */
unsigned gate_sync_budget_decompile(const struct gate_sync *s, uint32_t budget,
				    struct gate_rate_spec rates[GATE_MAX_RATES]);
uint32_t gate_sync_budgets_left(const struct gate_sync *s);
/** gate_sync_budget_forget() - all are free to be taken again; what is in force stays */
void gate_sync_budget_forget(struct gate_sync *s);
void gate_sync_budget_give(struct gate_sync *s, uint32_t budget);

/* ---- the candidate policy (sync_shadow.c) ---- */

/** gate_sync_shadow_put() - a subject's policy of the candidate; base 0: what the
 * configuration says. -ENOSPC: too few nodes are left */
int gate_sync_shadow_put(struct gate_sync *s, uint32_t base, const struct gate_own *own);
void gate_sync_shadow_drop(struct gate_sync *s, uint32_t base);
/** gate_sync_shadow_on() - begins it with counts at zero, or ends it, as it ends by itself when
 * the live policy needs its room: then GATE_CONF_SHADOW is off */
void gate_sync_shadow_on(struct gate_sync *s, bool on);
/** gate_sync_shadow_forget() - adoption: an earlier daemon's is set anew from its text */
void gate_sync_shadow_forget(struct gate_maps *m);

/* ---- tables (sync_tables.c) ---- */

#define GATE_NO_SLOT UINT32_MAX

/** gate_sync_port() - `ports`; slot GATE_NO_SLOT takes the entry out */
int gate_sync_port(struct gate_sync *s, uint32_t ifindex, uint32_t slot, uint32_t flags);
/** gate_sync_port_forget() - the entry stays; somebody else's from now on */
void gate_sync_port_forget(struct gate_sync *s, uint32_t ifindex);
bool gate_sync_port_get(struct gate_sync *s, uint32_t ifindex, struct gate_port *out);
/** gate_sync_ports() - calls cb for each entry of `ports` */
void gate_sync_ports(struct gate_sync *s,
		     void (*cb)(void *, uint32_t ifindex, const struct gate_port *), void *arg);
int gate_sync_mac_owner(struct gate_sync *s, uint32_t ifindex, const uint8_t mac[6], uint32_t slot);
/** gate_sync_mac_owners() - adoption: calls cb for each MAC that is behind a port */
void gate_sync_mac_owners(struct gate_sync *s,
			  void (*cb)(void *, uint32_t ifindex, const uint8_t mac[6], uint32_t slot),
			  void *arg);
int gate_sync_ip_owner(struct gate_sync *s, const struct gate_prefix *p, uint32_t slot);
/** gate_sync_exempt() - the destinations of one scope (GATE_EXEMPT_*) are exactly these */
int gate_sync_exempt(struct gate_sync *s, uint32_t scope, const struct gate_prefix *list,
		     unsigned n);
/** gate_sync_exempt_get() - adoption: the destinations of a scope; the caller frees */
struct gate_prefix *gate_sync_exempt_get(struct gate_sync *s, uint32_t scope, unsigned *n);
/** gate_sync_any_mac(), gate_sync_any_ip() - a policy on what nobody registered; base 0 = none */
int gate_sync_any_mac(struct gate_sync *s, const uint8_t mac[6], uint32_t base);
int gate_sync_any_ip(struct gate_sync *s, const struct gate_prefix *p, const uint32_t base[2]);
/** gate_sync_any_bases() - adoption: calls cb with subject and base of each such entry */
void gate_sync_any_bases(struct gate_sync *s,
			 void (*cb)(void *, const struct gate_subject *, uint32_t base), void *arg);
/** gate_sync_sweep() - takes out what nobody has confirmed since gate_sync_open() */
void gate_sync_sweep(struct gate_sync *s);

/* ---- a VM's MACs and addresses (sync_addresses.c) ---- */

struct gate_sync_address {
	uint8_t addr[16]; /* MAC in the first 6 */
	uint8_t len;	  /* prefix length; MAC: 0 */
	uint32_t flags;	  /* GATE_ADDR_* */
	uint32_t base[2];
	uint32_t owner; /* base whose own bucket is spent, 0 = the VM's */
	uint32_t budget;
};

/** gate_sync_addresses() - the VM's entries are exactly these; the lists may be reordered */
int gate_sync_addresses(struct gate_sync *s, uint32_t slot, struct gate_sync_address *macs,
			unsigned nmacs, struct gate_sync_address *ips, unsigned nips);
/** gate_sync_override_sets() - how many bucket sets lie at the slot's override_base */
uint32_t gate_sync_override_sets(const struct gate_sync *s, uint32_t slot);
/** gate_sync_settle() - once a second: bucket sets that were left and that no program knows any
 * more */
void gate_sync_settle(struct gate_sync *s);
/** gate_sync_entries() - adoption: the entries of a slot; cb gets is_mac and the entry */
void gate_sync_entries(struct gate_sync *s, uint32_t slot,
		       void (*cb)(void *, bool is_mac, const struct gate_sync_address *),
		       void *arg);

/* ---- slots (sync_slots.c) ---- */

struct gate_sync_vm {
	const char *name;
	bool registered;
	enum gate_binding binding;
	uint32_t tenant, budget;
};

/** gate_sync_vm() - identity of a slot; grace and first MAC stay */
void gate_sync_vm(struct gate_sync *s, uint32_t slot, const struct gate_sync_vm *vm);
/** gate_sync_vm_flag() - sets or clears one of GATE_VM_TO_VM, GATE_VM_*EXEMPT */
void gate_sync_vm_flag(struct gate_sync *s, uint32_t slot, uint16_t flag, bool on);
/** gate_sync_vm_retire() - nothing leads to the slot any more; counters stay until wiped */
void gate_sync_vm_retire(struct gate_sync *s, uint32_t slot);
/** gate_sync_vm_wipe() - all zero, fit for another VM */
void gate_sync_vm_wipe(struct gate_sync *s, uint32_t slot);
/** gate_sync_flows() - ends dead flows of a slot; false when there are none at all */
bool gate_sync_flows(struct gate_sync *s, uint32_t slot, uint32_t now_s);
/** gate_sync_counters_add() - adds counters (of a port that became the VM's) */
void gate_sync_counters_add(struct gate_sync *s, uint32_t slot, const struct gate_counters *c);

#endif
