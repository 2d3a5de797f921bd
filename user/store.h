/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What must outlive the host's boot: policy, registrations, tenants, totals and
 * the audit trail, in one SQLite file (WAL, synchronous=FULL: what was committed
 * survives a power cut). No policy logic here.
 *
 * All functions return 0 or -EIO with one sentence in err; after a failure inside
 * a transaction gate_store_rollback() is due.
 */
#ifndef GATE25_STORE_H
#define GATE25_STORE_H

#include "engine.h"

struct gate_store;

/** gate_store_open() - opens or creates; refuses a schema newer than its own untouched */
int gate_store_open(struct gate_store **out, const char *path, struct gate_error *err);
void gate_store_close(struct gate_store *st);
/** gate_store_intact() - is the open file still the one at the path? */
bool gate_store_intact(const struct gate_store *st);
/**
 * gate_store_tidy() - takes the write-ahead log into the file when it has grown; what was
 * committed is durable without it, so no change has to wait for this
 */
void gate_store_tidy(struct gate_store *st);
/** gate_store_fresh() - has nothing ever been saved in it? */
bool gate_store_fresh(struct gate_store *st);

/* What the caller of gate_store_load() gets, in this order. Strings are its own only during the
 * call. */
struct gate_store_reader {
	void *arg;
	void (*tenant)(void *arg, uint32_t id, const char *name);
	void (*vm)(void *arg, struct gate_vm_spec *vm); /* takes over what vm owns */
	/* `port` policies come by gated port number; first_mac of a port subject or 0 */
	void (*own)(void *arg, struct gate_own *own, uint64_t first_mac); /* takes over */
	/* subject as text; "" = the totals of what is gone */
	void (*counters)(void *arg, const char *subject, const struct gate_counters *c);
};
/**
 * gate_store_load() - reads everything
 * @ports: the gated ports, for the scopes of policies; others stay in the store unread
 */
int gate_store_load(struct gate_store *st, const uint16_t *ports, unsigned nports,
		    const struct gate_store_reader *to, struct gate_error *err);

int gate_store_begin(struct gate_store *st, struct gate_error *err);
int gate_store_commit(struct gate_store *st, struct gate_error *err);
void gate_store_rollback(struct gate_store *st);

int gate_store_put_vm(struct gate_store *st, const struct gate_vm_spec *vm, struct gate_error *err);
int gate_store_del_vm(struct gate_store *st, const char *name, struct gate_error *err);
/**
 * gate_store_put_own() - replaces; an empty record is deleted
 * @was: what the store has of this subject, empty when that is nothing, so that only what
 * differs is written; NULL when it is not known
 */
int gate_store_put_own(struct gate_store *st, const struct gate_own *own, uint64_t first_mac,
		       const struct gate_own *was, const uint16_t *ports, unsigned nports,
		       struct gate_error *err);
int gate_store_del_own(struct gate_store *st, const struct gate_subject *s, struct gate_error *err);
int gate_store_put_tenant(struct gate_store *st, uint32_t id, const char *name,
			  struct gate_error *err);
int gate_store_del_tenant(struct gate_store *st, uint32_t id, struct gate_error *err);
int gate_store_put_counters(struct gate_store *st, const char *subject,
			    const struct gate_counters *c, struct gate_error *err);
int gate_store_del_counters(struct gate_store *st, const char *subject, struct gate_error *err);
/** gate_store_wipe() - everything but the audit trail, before all is written anew */
int gate_store_wipe(struct gate_store *st, struct gate_error *err);

int gate_store_add_audit(struct gate_store *st, const struct gate_audit_row *row,
			 struct gate_error *err);
#define GATE_STORE_AUDITS 16
/** gate_store_add_audits() - so many rows at once, which costs less than one after the other */
int gate_store_add_audits(struct gate_store *st,
			  const struct gate_audit_row *const rows[GATE_STORE_AUDITS],
			  struct gate_error *err);
int gate_store_read_audit(struct gate_store *st, const char *subject, unsigned limit,
			  int (*cb)(void *, const struct gate_audit_row *), void *arg,
			  struct gate_error *err);
/** gate_store_find_audit() - the row of a number; cb is not called when there is none */
int gate_store_find_audit(struct gate_store *st, int64_t id,
			  int (*cb)(void *, const struct gate_audit_row *), void *arg,
			  struct gate_error *err);
/** gate_store_last_audit() - the newest row of an actor */
int gate_store_last_audit(struct gate_store *st, uint32_t uid, const char *actor,
			  int (*cb)(void *, const struct gate_audit_row *), void *arg,
			  struct gate_error *err);

/* ---- what VMs were seen to use (store_learned.c) ---- */

/** gate_store_put_learned() - replaces; empty lists delete */
int gate_store_put_learned(struct gate_store *st, const char *subject, const struct gate_learned *l,
			   struct gate_error *err);
int gate_store_del_learned(struct gate_store *st, const char *subject, struct gate_error *err);
int gate_store_read_learned(struct gate_store *st,
			    void (*cb)(void *, const char *, const struct gate_learned *),
			    void *arg, struct gate_error *err);

/* ---- what VMs tried (store_report.c) ---- */

/** gate_store_add_hour() - adds to the subject's row of the hour */
int gate_store_add_hour(struct gate_store *st, const char *subject, const struct gate_hour *h,
			struct gate_error *err);
/** gate_store_read_hour() - adds the subject's row of h->start to h */
int gate_store_read_hour(struct gate_store *st, const char *subject, struct gate_hour *h,
			 struct gate_error *err);
/** gate_store_put_refusal() - replaces what was in that place of the subject's ring */
int gate_store_put_refusal(struct gate_store *st, const char *subject, unsigned place,
			   const struct gate_refusal *f, struct gate_error *err);
/** gate_store_read_refusals() - those of a subject since a time (Unix ms), newest first */
int gate_store_read_refusals(struct gate_store *st, const char *subject, int64_t since_ms,
			     void (*cb)(void *, const struct gate_refusal *), void *arg,
			     struct gate_error *err);
/** gate_store_last_refusals() - when each subject was last refused, and in which place that is */
int gate_store_last_refusals(struct gate_store *st,
			     void (*cb)(void *, const char *subject, unsigned place,
					int64_t time_ms),
			     void *arg, struct gate_error *err);
/** gate_store_move_reports() - hours since a time and refusals become another subject's */
int gate_store_move_reports(struct gate_store *st, const char *from, const char *to, int64_t since,
			    struct gate_error *err);
/** gate_store_prune_reports() - forgets what is older than this (Unix s) */
int gate_store_prune_reports(struct gate_store *st, int64_t before, struct gate_error *err);

#endif
