/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the files of the engine share. */
#ifndef GATE25_ENGINE_PRIV_H
#define GATE25_ENGINE_PRIV_H

#include "clock.h"
#include "engine.h"
#include "log.h"
#include "mem.h"
#include "pool.h"
#include "store.h"
#include "sync.h"
#include "table.h"

#define SLOT_REST_NS	  (2 * GATE_NSEC_PER_SEC)  /* before a freed slot is wiped */
#define SLOT_LINGER_NS	  (60 * GATE_NSEC_PER_SEC) /* an unregistered port may come back */
#define STALE_PORT_NS	  (60 * GATE_NSEC_PER_SEC) /* adopted `ports` entries nobody claims */
#define SAVE_S		  60			   /* counters go to the store */
#define HEAL_S		  5			   /* attempts to get the store back */
#define SWEEP_S		  10 /* every flow table is looked through once in this time */
#define UNSAVED_AUDIT_MAX 1000

/* A subject with something of its own. */
struct rec {
	struct gate_subject subject;
	struct gate_packed *packed; /* all it has; gate_engine_rec_own() shows it */
	int64_t quarantine_until;
	/* of that, what others look at often */
	bool policy, quarantine, observe, exempt, has_budget;
	uint32_t override;  /* mac:, ip: which override, UINT32_MAX = none */
	uint32_t budget;    /* index into `budgets`, 0 = none */
	uint64_t first_mac; /* port: whose policy it is while the port is away */
	int64_t due;	    /* as entered in engine.dues, 0 = not */
};

struct tenant {
	char name[GATE_NAME_LEN];
	uint32_t id;
	struct vm *vms;
	unsigned nvms;
};

struct vm {
	struct gate_vm_spec spec;
	uint32_t slot; /* GATE_SLOT_UNKNOWN: there was none left */
	struct tenant *tenant;
	struct vm *tenant_next, **tenant_prev;
	struct port *ports; /* that are there now, by port.vm_next */
	uint64_t gone_ns;   /* unregistered: since when its port is away, 0 = there */
	uint64_t saved;	    /* sum of the counters when last saved */
	bool mac_unsaved;   /* the store may have another first_mac than the record */
	uint64_t idle_at;   /* packets_from_vm when its flow table was last found empty */
	bool swept_empty;
	bool learned_unsaved;
	struct gate_learned *learned; /* NULL = nothing */
	bool returned;	/* unregistered: its port was made anew, another guest may be behind it */
	uint64_t visit; /* mark of the last walk that met it */
	char moved_from[GATE_NAME_LEN]; /* port whose policy it took over, for the notes */
};

/* Who has registered a port's name; more than one: a trunk. */
struct claim {
	struct vm *vm;
	struct claim *next;
};

struct port {
	uint32_t ifindex;
	char name[GATE_NAME_LEN];
	uint32_t flags;
	bool confirmed;	  /* seen by this daemon, not only adopted */
	bool kept;	  /* the VM's by ifindex: renamed to a name nobody claims */
	uint32_t adopted; /* slot in an earlier daemon's `ports`, 0 = none */
	bool from_vm, to_vm;
	const char *hook;
	struct vm *vm; /* NULL: no VM's, a trunk, or slot 0 */
	struct port *vm_next;
	uint8_t (*trunk)[6]; /* MACs entered in `mac_owner` for it */
	unsigned ntrunk;
};

struct gate_engine {
	const struct gate_config *c;
	struct gate_maps *m;
	struct gate_sync *sync;

	struct gate_store *store; /* NULL: not usable now */
	bool authoritative;	  /* the model is whole; else a store is yet to be read */
	bool unsaved;		  /* the store lacks changes that are in force */
	bool had_store;		  /* this daemon has had it open */
	struct gate_audit_row *unsaved_audit;
	unsigned nunsaved_audit;
	uint64_t nlost_audit;		    /* changes that no row could be kept of */
	struct gate_table unsaved_subjects; /* all that were changed: subject -> its struct */

	struct gate_table vms;		       /* name -> registered struct vm */
	struct gate_table loners;	       /* port name -> unregistered struct vm */
	struct gate_table recs;		       /* subject key -> struct rec */
	struct gate_table tenants;	       /* name -> struct tenant */
	struct gate_table claims;	       /* port name -> struct claim */
	struct gate_table macs;		       /* MAC -> struct vm that registered it */
	struct gate_order ips;		       /* prefix, kind, slot -> struct vm */
	struct gate_order ip_recs;	       /* prefix -> struct rec */
	struct gate_order dues;		       /* time, address of the record -> struct rec */
	unsigned ip_len[129], ip_rec_len[129]; /* how many of each prefix length */
	struct vm **by_slot;		       /* [max_vms] */
	uint64_t *left_ns;		       /* [max_vms] when the slot's last VM left it */
	struct gate_pool slots, tenant_ids, overrides;
	uint64_t visit;

	struct gate_table ports;      /* ifindex -> struct port */
	struct gate_table port_names; /* name -> struct port */
	uint64_t opened_ns;

	struct retired_slot {
		uint32_t slot;
		uint64_t since;
	} * retired;
	unsigned nretired;
	struct gate_counters gone; /* totals of what is gone */
	uint64_t unknown_saved;	   /* as vm.saved, of slot 0 */
	int64_t saved_s, healed_s, learned_s;
	bool learned_unsaved;
	uint32_t sweep_at;

	struct gate_own shown[4]; /* what gate_engine_own() last gave out */
	unsigned nshown;
	bool map_full;		    /* entries are missing that had no room */
	struct gate_table problems; /* code NUL key -> struct gate_problem */
	void (*listener)(void *, const struct gate_notice *);
	void *listener_arg;
	struct gate_vm_spec unknown; /* what gate_engine_vm(0) shows */
	struct reports *reports;
};

static inline void copy_name(char to[GATE_NAME_LEN], const char *from)
{
	size_t len = strnlen(from, GATE_NAME_LEN - 1);

	memset(to, 0, GATE_NAME_LEN);
	memcpy(to, from, len);
}

static inline int64_t engine_now_s(void)
{
	return gate_clock_unix_ns() / (int64_t)GATE_NSEC_PER_SEC;
}

/* ---- records (engine_records.c) ---- */

struct rec *gate_engine_rec(const struct gate_engine *e, const struct gate_subject *s);
/* A view of what the record says: not to be cleared, valid while the record does not change. */
void gate_engine_rec_own(const struct rec *rec, struct gate_own *out);
/* A copy of it, to be cleared. */
void gate_engine_rec_copy(const struct rec *rec, struct gate_own *out);
static inline bool gate_engine_rec_has_node(const struct rec *rec)
{
	return rec->policy || rec->quarantine || rec->observe;
}
/* Puts the record's nodes in force; without one what stands there goes. */
void gate_engine_sync_nodes(struct gate_engine *e, const struct rec *rec);
/* Base of the subject's handles, 0 = it has none (yet). */
uint32_t gate_engine_base(const struct gate_engine *e, const struct gate_subject *s);
/* Is there room for what `own` needs? Fills err. */
int gate_engine_room(struct gate_engine *e, const struct gate_own *own, struct gate_error *err);
/* Makes `own` the subject's record and puts it in force. */
void gate_engine_install(struct gate_engine *e, const struct gate_own *own);
/* Puts an existing record (again) in force, all of it. */
void gate_engine_sync_rec(struct gate_engine *e, struct rec *rec);
/* The exempt destinations of a subject; for `default` with the configuration's. */
void gate_engine_sync_exempt(struct gate_engine *e, const struct gate_own *own);
/* Enters a record without putting it in force. */
struct rec *gate_engine_rec_put(struct gate_engine *e, const struct gate_own *own);
void gate_engine_rec_drop(struct gate_engine *e, struct rec *rec);
/* Another subject takes the record over (a port renamed, or registered). */
void gate_engine_rec_move(struct gate_engine *e, struct rec *rec, const struct gate_subject *to);
struct tenant *gate_engine_tenant(struct gate_engine *e, const char *name);
struct tenant *gate_engine_tenant_make(struct gate_engine *e, const char *name, uint32_t id);
/* Forgets a tenant that has neither VMs nor a record. */
void gate_engine_tenant_release(struct gate_engine *e, struct tenant *t);

/* ---- VMs in the model (engine_vms.c) ---- */

void gate_engine_vm_subject(const struct vm *vm, struct gate_subject *out);
struct vm *gate_engine_vm_find(const struct gate_engine *e, const struct gate_subject *s);
/* Checks names, room and claims of others. `old` is the registration it replaces. */
int gate_engine_vm_check(struct gate_engine *e, const struct gate_vm_spec *spec,
			 const struct vm *old, struct gate_error *err);
struct vm *gate_engine_vm_make(struct gate_engine *e, const struct gate_vm_spec *spec,
			       uint32_t slot);
void gate_engine_vm_remove(struct gate_engine *e, struct vm *vm);
void gate_engine_vm_free(struct gate_engine *e, struct vm *vm);
/* Identity: tenant and budget, binding, exempt flags; and with the addresses. */
void gate_engine_vm_identity(struct gate_engine *e, struct vm *vm);
void gate_engine_vm_sync(struct gate_engine *e, struct vm *vm);
/* Was the slot in use, though it is not now? Its counts are not in the totals yet. */
bool gate_engine_slot_has_traces(const struct gate_engine *e, uint32_t slot);
uint32_t gate_engine_slot_take(struct gate_engine *e);
void gate_engine_slot_retire(struct gate_engine *e, uint32_t slot);
void gate_engine_slots_reap(struct gate_engine *e);
/* All that are free are fit for use at once: no program can be at work on them any more. */
void gate_engine_slots_hurry(struct gate_engine *e);
/*
 * Creates or replaces a checked registration, takes over what the VMs of its
 * ports had while nobody had registered them, rebinds. NULL: no slot left.
 */
struct vm *gate_engine_vm_register(struct gate_engine *e, const struct gate_vm_spec *spec);
/*
 * The three steps of that, each of which is done for all VMs that change at once before the
 * next, so that what goes from one to another has an owner at every moment: the model, what
 * the VM has from now on, what it had (`was` is cleared).
 */
struct vm *gate_engine_vm_claim(struct gate_engine *e, const struct gate_vm_spec *spec,
				struct gate_vm_spec *was);
void gate_engine_vm_take_over(struct gate_engine *e, struct vm *vm);
void gate_engine_vm_leave(struct gate_engine *e, struct vm *vm, struct gate_vm_spec *was);
/* The port's record that becomes the VM's own by that, NULL = none. */
struct rec *gate_engine_vm_inherits(struct gate_engine *e, const struct gate_vm_spec *spec);

/* ---- MACs and addresses (engine_addresses.c) ---- */

void gate_engine_claims_put(struct gate_engine *e, struct vm *vm);
void gate_engine_claims_del(struct gate_engine *e, struct vm *vm);
/* Another VM that has registered something overlapping. */
struct vm *gate_engine_ip_owner(const struct gate_engine *e, const struct gate_prefix *p,
				const struct vm *but);
/* The VM that has registered the address or a prefix around it. */
struct vm *gate_engine_ip_holder(const struct gate_engine *e, const struct gate_prefix *p);
/* Has a VM registered this very prefix? */
bool gate_engine_ip_claimed(const struct gate_engine *e, const struct gate_prefix *p);
/* Adoption: the budget of an ip: record that the entries in the maps lead to, 0 = none do. */
uint32_t gate_engine_ip_budget(struct gate_engine *e, const struct rec *rec);
void gate_engine_vm_addresses(struct gate_engine *e, struct vm *vm);
/* A mac: or ip: record came, went or changed what entries depend on. */
void gate_engine_override_changed(struct gate_engine *e, const struct gate_subject *s);
/* The most specific ip: record that covers `p` with at most `len` bits; NULL = none. */
struct rec *gate_engine_ip_cover(const struct gate_engine *e, const struct gate_prefix *p, int len);
void gate_engine_ip_key(const struct gate_prefix *p, unsigned char key[17]);

/* ---- ports (engine_ports.c) ---- */

/* NULL = it is not known. */
struct port *gate_engine_port(const struct gate_engine *e, uint32_t ifindex);
struct port *gate_engine_port_make(struct gate_engine *e, uint32_t ifindex, const char *name);
/* Finds whose the port is now and writes `ports`. */
void gate_engine_port_bind(struct gate_engine *e, struct port *p);
/* The same for one that is adopted and not yet confirmed. */
void gate_engine_port_keep(struct gate_engine *e, struct port *p);
/* The VM's ports, and those named in `spec`. */
void gate_engine_ports_rebind(struct gate_engine *e, struct vm *vm,
			      const struct gate_vm_spec *spec);
void gate_engine_ports_adopt(struct gate_engine *e);
void gate_engine_ports_tick(struct gate_engine *e);
void gate_engine_ports_close(struct gate_engine *e);
/* An unregistered port's VM, made if need be; NULL: no slot left. */
struct vm *gate_engine_loner(struct gate_engine *e, const char *port);
void gate_engine_loner_remove(struct gate_engine *e, struct vm *vm);
/* The loner follows its netdev to another name, with what it has of its own. */
struct vm *gate_engine_loner_rename(struct gate_engine *e, struct vm *vm, const char *name);

/* ---- load and recovery (engine_load.c, engine_recover.c) ---- */

int gate_engine_load(struct gate_engine *e, struct gate_error *err);
void gate_engine_recover(struct gate_engine *e);
void gate_engine_model_clear(struct gate_engine *e);
/* Brings every map to the model and takes out what nobody stands for. */
void gate_engine_sync_all(struct gate_engine *e);

/* ---- audit, notices (engine_audit.c, engine_events.c) ---- */

extern const struct gate_actor gate_engine_self;

struct audit_note {
	struct gate_audit_row row;
	char subject[GATE_SUBJECT_LEN + 4];
	char *detail;
};
void gate_engine_audit_change(struct audit_note *n, const struct gate_actor *who,
			      const struct gate_subject *subject, const struct gate_change *c);
void gate_engine_audit_vm(struct audit_note *n, const struct gate_actor *who, const char *action,
			  const struct gate_vm_spec *vm, const char *reason);
void gate_engine_audit_plain(struct audit_note *n, const struct gate_actor *who,
			     const struct gate_subject *subject, const char *action,
			     const char *reason);
/* How things stood before a change: what undo puts back. */
struct audit_before {
	bool with_vm;		       /* a registration was changed, made or dropped */
	const struct gate_vm_spec *vm; /* NULL = there was none */
	struct gate_subject own[16];   /* whose records are changed, empty ones too */
	unsigned nown;
};
void gate_engine_audit_before(struct gate_engine *e, struct audit_note *n,
			      const struct audit_before *b);
/* The same for one subject, of which `rec` is the record; NULL = it has none. */
void gate_engine_audit_before_own(struct gate_engine *e, struct audit_note *n,
				  const struct gate_subject *s, const struct rec *rec);
/* The change takes back another. */
struct audit_undo {
	const struct gate_actor *who;
	int64_t id;
	const char *reason;
	const struct gate_own *own; /* put back together with a registration */
	unsigned nown;
};
void gate_engine_audit_undo(struct audit_note *n, const struct gate_subject *subject,
			    const struct audit_undo *undo);
void gate_engine_audit_clear(struct audit_note *n);
int gate_engine_save_audit(struct gate_engine *e, const struct audit_note *n,
			   struct gate_error *err);
void gate_engine_tell(struct gate_engine *e, enum gate_notice_kind kind,
		      const struct gate_subject *s, const struct gate_event *ev, const char *fmt,
		      ...) __attribute__((format(printf, 5, 6)));
/* A table in the kernel is full: said, and tried again later. */
void gate_engine_map_full(struct gate_engine *e, const char *map, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Tells what somebody did, with name and reason. */
void gate_engine_tell_audit(struct gate_engine *e, enum gate_notice_kind kind,
			    const struct gate_subject *s, const struct gate_audit_row *row);
void gate_engine_problems_close(struct gate_engine *e);

/* ---- the store as the engine uses it (engine_store.c) ---- */

int gate_engine_save_begin(struct gate_engine *e, struct gate_error *err);
/* Commits, or rolls back when r is an error already. A failure makes the store unusable. */
int gate_engine_save_end(struct gate_engine *e, int r, struct gate_error *err);
int gate_engine_save_own(struct gate_engine *e, const struct gate_own *own, struct gate_error *err);
/* The same where the subject's record says what has been saved of it, NULL = nothing. */
int gate_engine_save_own_over(struct gate_engine *e, const struct gate_own *own,
			      const struct rec *rec, struct gate_error *err);
int gate_engine_save_rec(struct gate_engine *e, const struct rec *rec, struct gate_error *err);
/*
 * A closing that is in force already: made durable, or else kept for later and
 * an error that says so.
 */
int gate_engine_save_closed(struct gate_engine *e, const struct gate_own *own,
			    const struct audit_note *note, struct gate_error *err);
int gate_engine_save_vm(struct gate_engine *e, const struct gate_vm_spec *spec,
			struct gate_error *err);
/* Counters that have moved since they were last saved, and the totals of what is gone. */
void gate_engine_save_counters(struct gate_engine *e);
void gate_engine_save_gone(struct gate_engine *e);
void gate_engine_store_open(struct gate_engine *e);
void gate_engine_store_tick(struct gate_engine *e, int64_t now);
/* Staff have read that the store was lost. */
void gate_engine_store_acknowledge(struct gate_engine *e);
void gate_engine_store_close(struct gate_engine *e);

/* ---- changes while there is no store (engine_later.c) ---- */

/* What is in force but could not be saved: kept for the store to come. */
void gate_engine_save_later(struct gate_engine *e, const struct gate_audit_row *row);
/* The same of what nobody asked for, so that there is no row of it. */
void gate_engine_subject_later(struct gate_engine *e, const struct gate_subject *s);
void gate_engine_own_now_or_later(struct gate_engine *e, const struct gate_own *own);
/* Within a transaction: the trail gets what it lacks. */
int gate_engine_later_save(struct gate_engine *e, struct gate_error *err);
void gate_engine_later_forget(struct gate_engine *e);

/* ---- undo: the same changes under its name ---- */

int gate_engine_put_own_as(struct gate_engine *e, const struct gate_own *own,
			   const struct audit_undo *undo, struct gate_error *err);
int gate_engine_vm_put_as(struct gate_engine *e, const struct gate_vm_spec *vm,
			  const struct audit_undo *undo, struct gate_error *err);
int gate_engine_vm_del_as(struct gate_engine *e, const char *name, const struct audit_undo *undo,
			  struct gate_error *err);

/* ---- what VMs tried (engine_report.c) ---- */

void gate_engine_reports_open(struct gate_engine *e);
void gate_engine_reports_close(struct gate_engine *e);
/* The store is there: what it knows of last refusals. */
void gate_engine_reports_load(struct gate_engine *e);
/* The slot's counts up to these are in its hours already. */
void gate_engine_reports_base(struct gate_engine *e, uint32_t slot, const struct gate_counters *c);
/* Before the counts of one slot are moved to another. */
void gate_engine_reports_move(struct gate_engine *e, uint32_t from, uint32_t to);
/* What a port did is now the VM's. */
void gate_engine_reports_rename(struct gate_engine *e, const char *port, const char *vm);
/* The slot's VM goes; its last counts are kept for the next save. */
void gate_engine_reports_end(struct gate_engine *e, uint32_t slot);
/* A record of the ring. True: the VM's first refusal for 24 hours. */
bool gate_engine_reports_event(struct gate_engine *e, const struct gate_subject *s,
			       const struct gate_event *ev, int64_t time_ms);
/* Within a transaction: what the slot did since, and all that waits; `end` when it is over. */
void gate_engine_reports_begin(struct gate_engine *e);
int gate_engine_reports_save_slot(struct gate_engine *e, uint32_t slot, const char *subject,
				  const struct gate_counters *now);
int gate_engine_reports_save(struct gate_engine *e);
void gate_engine_reports_end_save(struct gate_engine *e, bool saved);
/* Has an hour ended since its counts were saved? */
bool gate_engine_reports_due(const struct gate_engine *e, int64_t now);

/* ---- sources under binding `learn` (engine_learned.c) ---- */

/* GATE_E_NEW_SOURCE: records and tells what is neither registered nor recorded. */
void gate_engine_learn(struct gate_engine *e, struct vm *vm, const struct gate_subject *s,
		       const struct gate_event *ev);
/* To be saved, such as under another name. */
void gate_engine_learned_changed(struct gate_engine *e, struct vm *vm);
/* Another guest. */
void gate_engine_learned_forget(struct gate_engine *e, struct vm *vm);
/* Within a transaction. */
int gate_engine_learned_save(struct gate_engine *e, bool all);
void gate_engine_learned_tick(struct gate_engine *e, int64_t now);
void gate_engine_learned_load(struct gate_engine *e);

/* ---- what is in force (engine_effective.c) ---- */

/* As gate_engine_effective() if the subject's own record were `own` (NULL = none). */
void gate_engine_effective_if(struct gate_engine *e, const struct gate_subject *s, uint16_t on,
			      const struct gate_own *own, struct gate_effective *out);
/* Is anything laxer with `after` than with `before`? (SEMANTICS Precedence 8) */
bool gate_engine_opens(struct gate_engine *e, const struct gate_subject *s,
		       const struct gate_own *before, const struct gate_own *after);
/* Takes out what is laxer than the default; true if anything was (Identity 1). */
bool gate_engine_drop_laxer(struct gate_engine *e, struct gate_own *own);
void gate_engine_expire(struct gate_engine *e, int64_t now);

#endif
