/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the files of the store share. */
#ifndef GATE25_STORE_PRIV_H
#define GATE25_STORE_PRIV_H

#include "mem.h"
#include "store.h"

#include <sqlite3.h>
#include <sys/types.h>

/* Statements, prepared at first use and kept. */
enum store_statement {
	ST_BEGIN,
	ST_COMMIT,
	ST_PUT_VM,
	ST_DEL_VM,
	ST_PUT_SUBJECT,
	ST_DEL_SUBJECT,
	ST_PUT_POLICY,
	ST_DEL_POLICY,
	ST_DEL_POLICIES,
	ST_PUT_TENANT,
	ST_DEL_TENANT,
	ST_PUT_COUNTERS,
	ST_DEL_COUNTERS,
	ST_ADD_AUDIT,
	ST_ADD_AUDITS,
	ST_ADD_HOUR,
	ST_READ_HOUR,
	ST_FIND_HOUR,
	ST_MOVE_HOUR,
	ST_DEL_HOUR,
	ST_PUT_REFUSAL,
	ST_MOVE_REFUSALS,
	ST_DEL_REFUSALS,
	ST_PRUNE_HOURS,
	ST_PRUNE_REFUSALS,
	ST_PUT_LEARNED,
	ST_DEL_LEARNED,
	ST_MAX
};

struct gate_store {
	sqlite3 *db;
	char *path;
	dev_t dev;
	ino_t ino;
	int wal_pages; /* in the log since it began anew */
	sqlite3_stmt *statement[ST_MAX];
};

/* One sentence about what SQLite last said; -EIO. */
int gate_store_failed(struct gate_store *st, struct gate_error *err);
/* A statement ready to be bound, NULL with err filled. */
sqlite3_stmt *gate_store_statement(struct gate_store *st, enum store_statement which,
				   struct gate_error *err);
/* Runs a bound statement that returns no rows. */
int gate_store_run(struct gate_store *st, sqlite3_stmt *q, struct gate_error *err);

/* Tables that came after the first release; made where they are missing. */
extern const char gate_store_report_schema[];
/* The text of a statement from ST_ADD_HOUR on. */
const char *gate_store_report_sql(enum store_statement which);

/* Lists as text: "5/s,200/h:50", prefixes, MACs. The caller frees. */
char *gate_store_rates_text(const struct gate_rate_spec *rates, unsigned n);
char *gate_store_prefixes_text(const struct gate_prefix *list, unsigned n);

#endif
