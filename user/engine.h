/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The engine: every change of policy or identity goes through here, from the
 * control API, the configuration, or a port that comes and goes. It holds the
 * model, puts it into the maps (sync.c) and keeps it (store.c), in the order of
 * SEMANTICS "Precedence" 8: closing takes effect before it is durable, opening
 * after. A failed step leaves neither half done.
 */
#ifndef GATE25_ENGINE_H
#define GATE25_ENGINE_H

#include "config.h"
#include "maps.h"
#include "model.h"

struct gate_engine;

/* Who asks. `name` is the login name of uid, or what a front end passed on. */
struct gate_actor {
	uint32_t uid;
	char name[64];
};

/* ---- life ---- */

/*
 * Opens the store, reads it, adopts slots, buckets and counters that the maps
 * already hold (an earlier daemon's), and brings the maps to the model. A store
 * that cannot be used is no failure: the last policy stays in the kernel and
 * gate_engine_problems() says so; writes are refused until it heals.
 */
int gate_engine_open(struct gate_engine **out, const struct gate_config *c, struct gate_maps *m,
		     struct gate_error *err);
void gate_engine_close(struct gate_engine *e);
/* A new configuration (SIGHUP): default policy, exempt, refuse, binding, enforce. */
int gate_engine_reconfigure(struct gate_engine *e, const struct gate_config *c,
			    struct gate_error *err);
/* Once a second: expiries, dead flows (connects_timed_out), counters of record to the store. */
void gate_engine_tick(struct gate_engine *e, int64_t now_unix_s);
/* The wall clock jumped: deadlines in the maps are set anew. */
void gate_engine_clock_changed(struct gate_engine *e);

/* ---- changes ---- */

/*
 * What PUT /v1/policies/{subject} carries: the parts that are set are changed,
 * the others stay. All of one request or nothing.
 */
struct gate_change {
	struct gate_subject subject;
	bool set_policy; /* replaces scope `on` by `policy`; state INHERIT drops it */
	uint16_t on;	 /* gated TCP port, 0 = all of them */
	struct gate_policy_spec policy;
	bool set_quarantine;
	struct gate_quarantine quarantine; /* on false = release */
	bool set_observe, observe;
	bool set_budget; /* nbudget 0 = none */
	struct gate_rate_spec budget[GATE_MAX_RATES];
	unsigned nbudget;
	struct gate_prefix *exempt_add, *exempt_del;
	unsigned nexempt_add, nexempt_del;
	bool drop_all;	    /* DELETE: all own policy, as `inherit` */
	const char *reason; /* "" = none */
};

int gate_engine_change(struct gate_engine *e, const struct gate_actor *who,
		       const struct gate_change *c, struct gate_error *err);

/* PUT /v1/vms/{name}: creates or replaces the registration. `create` refuses an existing one,
 * `must_exist` a missing one. Registering a port moves its unregistered VM's policy and counters.
 */
int gate_engine_vm_put(struct gate_engine *e, const struct gate_actor *who,
		       const struct gate_vm_spec *vm, bool create, bool must_exist,
		       const char *reason, struct gate_error *err);
int gate_engine_vm_del(struct gate_engine *e, const struct gate_actor *who, const char *name,
		       const char *reason, struct gate_error *err);

/* ---- whole policy (export/apply) ---- */

/* Streams VMs (registered only), then subjects, sorted. cb != 0 stops. */
int gate_engine_export(struct gate_engine *e, int (*cb)(void *, const struct gate_set_item *),
		       void *arg);
/* All or nothing; `diff` is called with "+ vm:web1", "- tenant:x", "~ mac:…" lines. */
int gate_engine_apply_set(struct gate_engine *e, const struct gate_actor *who,
			  const struct gate_set_item *items, size_t n, bool dry_run,
			  void (*diff)(void *, const char *line), void *arg,
			  struct gate_error *err);

/* ---- a candidate policy in the packet path (candidate.c keeps it) ---- */

struct gate_shadow_result {
	size_t subjects; /* whose policy is judged */
	size_t unknown;	 /* records of subjects that the gate does not know (yet) */
};
/* The candidate is exactly this. begin: counts are set to zero. */
int gate_engine_shadow_set(struct gate_engine *e, const struct gate_set_item *items, size_t n,
			   bool begin, struct gate_shadow_result *out, struct gate_error *err);
void gate_engine_shadow_end(struct gate_engine *e);

/* ---- ports, called by the port manager ---- */

/* A VM port is there: gives it its slot and writes `ports`. Returns the slot or -errno
 * (-ENOSPC: no slot left; the port is then mapped to slot 0). A registered name is found
 * by the VM's ports; others become unregistered VMs. flags: GATE_PORT_*. */
int gate_engine_port_up(struct gate_engine *e, uint32_t ifindex, const char *name, uint32_t flags);
/* A link that is no VM's port (uplinks, bridges, the host's): known to the backstop. */
int gate_engine_port_other(struct gate_engine *e, uint32_t ifindex, const char *name,
			   uint32_t flags);
void gate_engine_port_renamed(struct gate_engine *e, uint32_t ifindex, const char *name);
void gate_engine_port_down(struct gate_engine *e, uint32_t ifindex);
/* An earlier daemon's entry in `ports` that stays as it is and is not the engine's to keep. */
void gate_engine_port_forget(struct gate_engine *e, uint32_t ifindex);
/* Attachment as it is now, for status and show. hook: "tcx", "tc" or "none". */
void gate_engine_port_attached(struct gate_engine *e, uint32_t ifindex, const char *hook,
			       bool from_vm, bool to_vm);

/* ---- reading ---- */

struct gate_port_info {
	char name[GATE_NAME_LEN];
	uint32_t ifindex; /* 0 = not there now */
	const char *hook;
	bool from_vm, to_vm, uplink;
	uint32_t slot; /* of a VM port */
};

/* What is in force for a subject in one scope and why. */
struct gate_effective {
	enum gate_state state;
	bool quarantined;
	bool observed; /* observe anywhere on the chain */
	bool enforce;  /* host enforces and not observed */
	enum gate_refuse refuse;
	bool drain;
	struct gate_limits limits;	   /* completed from [default] */
	int64_t expires;		   /* of what decides, 0 = never */
	char source[GATE_SUBJECT_LEN + 4]; /* subject whose policy decides, "default" … */
	char reason[256], by[64];
};

/* Resolves a WORD or PORT to its canonical subject (vm:, port:, …). -ENOENT with a sentence. */
int gate_engine_resolve(struct gate_engine *e, const struct gate_subject *in,
			struct gate_subject *out, struct gate_error *err);
/* Own policy of a canonical subject, NULL when it has none. Valid until the next change, or until
 * three more have been asked for. */
const struct gate_own *gate_engine_own(struct gate_engine *e, const struct gate_subject *s);
/* What is in force for a VM/port/tenant/default/mac/ip subject on gated port `on` (0 = scope all).
 */
int gate_engine_effective(struct gate_engine *e, const struct gate_subject *s, uint16_t on,
			  struct gate_effective *out, struct gate_error *err);
/* The same for the VM on a slot at a time (Unix s), by the shortest way; a free one has the
 * default's. */
void gate_engine_slot_effective(struct gate_engine *e, uint32_t slot, uint16_t on, int64_t now,
				struct gate_effective *out);
/* The VM on a slot, NULL = free. For lists: slots 0 .. max_vms - 1; slot 0 is "unknown". */
const struct gate_vm_spec *gate_engine_vm(struct gate_engine *e, uint32_t slot);
/* Slot of a vm:/port: subject or of the VM that registered a mac:/ip:, -ENOENT. */
int gate_engine_slot(struct gate_engine *e, const struct gate_subject *s);
/* Canonical subject of a slot. */
void gate_engine_slot_subject(struct gate_engine *e, uint32_t slot, struct gate_subject *out);
/* Calls cb for each VM port and uplink known. */
void gate_engine_ports(struct gate_engine *e, void (*cb)(void *, const struct gate_port_info *),
		       void *arg);
/* Counters now. flows_active = sum of the slot's bucket sets. */
void gate_engine_counters(struct gate_engine *e, uint32_t slot, struct gate_counters *out,
			  uint32_t *flows_active);
/* Sums over all VMs, gone ones included. */
void gate_engine_totals(struct gate_engine *e, struct gate_counters *out, uint32_t *flows_active);
/* Whose handles a base (abi.h) stands for; -ENOENT: nobody's now. */
int gate_engine_base_subject(struct gate_engine *e, uint32_t base, struct gate_subject *out);
/* Why a destination needs no leave. */
struct gate_exemption {
	struct gate_subject list; /* whose exempt destinations it is among */
	struct gate_prefix entry;
	bool configured; /* the configuration's, not staff's */
};
/* Is an address exempt for the VM on a slot? */
bool gate_engine_exempt(struct gate_engine *e, uint32_t slot, const struct gate_prefix *dest,
			struct gate_exemption *out);
/* The most specific prefix around an address that has a budget. */
bool gate_engine_prefix_budget(struct gate_engine *e, const struct gate_prefix *addr,
			       struct gate_subject *out);
/* What a VM was seen to use though nobody registered it (binding `learn`): the first few. */
#define GATE_LEARNED_MACS 4
#define GATE_LEARNED_IPS  8
struct gate_learned {
	uint8_t macs[GATE_LEARNED_MACS][6];
	struct gate_prefix ips[GATE_LEARNED_IPS];
	unsigned nmacs, nips;
};
/* false: nothing; out is empty then */
bool gate_engine_learned(struct gate_engine *e, uint32_t slot, struct gate_learned *out);
/* Addresses that the VM used when it was last heard of, since the daemon's start. */
struct gate_engine_seen {
	bool any, has4, has6;
	uint8_t mac[6];
	uint8_t addr4[16], addr6[16];
};
void gate_engine_last_source(struct gate_engine *e, const struct gate_subject *s,
			     struct gate_engine_seen *out);
/* Remarks on a change, e.g. a VM's own policy hides the tenant's: one sentence each. */
void gate_engine_notes(struct gate_engine *e, const struct gate_subject *s,
		       void (*cb)(void *, const char *), void *arg);

struct gate_audit_row {
	int64_t id, time; /* Unix s */
	uint32_t uid;
	const char *actor, *subject, *action, *detail, *reason; /* detail: JSON of the change */
};
/* Newest first; subject NULL = all; limit 0 = 1000. */
int gate_engine_audit(struct gate_engine *e, const struct gate_subject *s, unsigned limit,
		      int (*cb)(void *, const struct gate_audit_row *), void *arg,
		      struct gate_error *err);

/* A change that was taken back. */
struct gate_undone {
	int64_t id;
	char action[32], actor[64];
	struct gate_subject subject;
};
/*
 * Puts things as they stood before a change of the audit trail; id 0 = the last one
 * that this actor made. Itself audited. -EEXIST with a sentence: changed since.
 */
int gate_engine_undo(struct gate_engine *e, const struct gate_actor *who, int64_t id,
		     const char *reason, struct gate_undone *out, struct gate_error *err);

/* ---- what VMs tried ---- */

#define GATE_REPORT_DAYS     30 /* hours and refusals are kept so long */
#define GATE_REPORT_REFUSALS 50 /* the last ones of each VM */

/* Counters kept hour by hour: X(name), as in GATE_COUNTERS. */
#define GATE_HOURLY(X)                                                                             \
	X(flows_admitted)                                                                          \
	X(flows_limited)                                                                           \
	X(flows_blocked)                                                                           \
	X(flows_would_refuse)                                                                      \
	X(new_destinations)                                                                        \
	X(connects_established)                                                                    \
	X(connects_refused)                                                                        \
	X(connects_timed_out)                                                                      \
	X(replies_2xx)                                                                             \
	X(replies_4xx)                                                                             \
	X(replies_5xx)                                                                             \
	X(banners_refused)                                                                         \
	X(spoofed)

struct gate_hour {
	int64_t start; /* Unix s */
#define X(name) uint64_t name;
	GATE_HOURLY(X)
#undef X
};

struct gate_refusal {
	int64_t time_ms; /* Unix ms */
	bool enforced;
	enum gate_reason reason;
	struct gate_prefix src, dst; /* len 0: the frame had no address */
	uint16_t sport, dport;
	uint8_t mac[6];
};

struct gate_report {
	struct gate_hour *hours; /* those in which something was tried, oldest first */
	unsigned nhours;
	struct gate_refusal refusals[GATE_REPORT_REFUSALS]; /* newest first */
	unsigned nrefusals;
};

/*
 * What a VM, a port or all VMs of a tenant tried since a time (Unix s), this moment
 * included. A VM that is gone can be asked for as long as its rows are kept. `out` is
 * cleared by gate_report_clear().
 */
int gate_engine_report(struct gate_engine *e, const struct gate_subject *s, int64_t since,
		       struct gate_report *out, struct gate_error *err);
void gate_report_clear(struct gate_report *r);

struct gate_problem {
	char code[32]; /* "store", "port_unattached", "map_full", … */
	char message[256];
};
void gate_engine_problems(struct gate_engine *e, void (*cb)(void *, const struct gate_problem *),
			  void *arg);
/* Others (attach, links, bpf) report and withdraw theirs here; key = code + detail. */
void gate_engine_problem_set(struct gate_engine *e, const char *code, const char *key,
			     const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void gate_engine_problem_clear(struct gate_engine *e, const char *code, const char *key);

/* What the ring buffer or the engine itself tells: state changes, identity, ports. */
enum gate_notice_kind {
	GATE_N_REFUSED,
	GATE_N_WOULD_REFUSE,
	GATE_N_IDENTITY,
	GATE_N_POLICY,
	GATE_N_EXPIRED,
	GATE_N_PORT_UP,
	GATE_N_PORT_DOWN,
	GATE_N_GAP,
	GATE_N_PROBLEM,
	GATE_N_LOST, /* events that nobody was told of */
	GATE_N_MAX
};
struct gate_notice {
	enum gate_notice_kind kind;
	int64_t time_ms; /* Unix ms */
	char subject[GATE_SUBJECT_LEN + 4];
	char text[400];			/* one sentence */
	const struct gate_event *event; /* REFUSED, WOULD_REFUSE, IDENTITY; else NULL */
	bool first;			/* REFUSED: the VM's first for 24 hours */
	const char *actor, *action;	/* POLICY, IDENTITY: who did it, the verb; else NULL */
	const char *reason;		/* theirs, NULL = none */
	uint64_t count;			/* LOST: how many */
};
/* events.c listens; NULL to stop. */
void gate_engine_listen(struct gate_engine *e, void (*cb)(void *, const struct gate_notice *),
			void *arg);
/* A record from the ring: turns it into a notice, acts on GATE_E_NEW_MAC (SEMANTICS Identity 1). */
void gate_engine_event(struct gate_engine *e, const struct gate_event *ev);
/* For attach.c/ports.c to pass on their own. */
void gate_engine_notice(struct gate_engine *e, const struct gate_notice *n);

#endif
