// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What VMs tried: counts by hour and the last refusals. Hours come first in their
 * key, so that pruning takes off one end; a subject's rows are looked up hour by
 * hour. Refusals lie in a ring of numbered places for each subject.
 */
#include "store_priv.h"

#include <errno.h>
#include <stdio.h>

#define HOUR_S 3600

#define X(name) ", " #name " INTEGER NOT NULL DEFAULT 0"
const char gate_store_report_schema[] =
	"CREATE TABLE IF NOT EXISTS hours(hour INTEGER NOT NULL, subject TEXT NOT NULL" GATE_HOURLY(
		X) ", PRIMARY KEY(hour, subject)) WITHOUT ROWID;"
		   "CREATE TABLE IF NOT EXISTS refusals(subject TEXT NOT NULL, place INTEGER NOT "
		   "NULL,"
		   " time INTEGER NOT NULL, enforced INTEGER NOT NULL, reason TEXT NOT NULL,"
		   " src TEXT, sport INTEGER NOT NULL, dst TEXT, dport INTEGER NOT NULL,"
		   " mac TEXT NOT NULL, PRIMARY KEY(subject, place)) WITHOUT ROWID;"
		   "CREATE INDEX IF NOT EXISTS refusals_time ON refusals(time);"
		   "CREATE TABLE IF NOT EXISTS learned(subject TEXT PRIMARY KEY,"
		   " macs TEXT NOT NULL, ips TEXT NOT NULL) WITHOUT ROWID;";
#undef X

#define NAMES(name) ", " #name
#define MARKS(name) ", ?"
#define SUMS(name)  ", " #name " = " #name " + excluded." #name
/* "hour" once more is the first of the assignments, so that each sum may begin with a comma */
#define ADD " ON CONFLICT(hour, subject) DO UPDATE SET hour = hour" GATE_HOURLY(SUMS)

const char *gate_store_report_sql(enum store_statement which)
{
	switch (which) {
	case ST_ADD_HOUR:
		return "INSERT INTO hours(hour, subject" GATE_HOURLY(
			NAMES) ") VALUES(?, ?" GATE_HOURLY(MARKS) ")" ADD;
	case ST_READ_HOUR:
		return "SELECT hour" GATE_HOURLY(
			NAMES) " FROM hours WHERE hour = ? AND subject = ?";
	case ST_FIND_HOUR:
		/* from one hour that anybody has to the next: the others cost nothing */
		return "WITH RECURSIVE h(hour) AS (SELECT min(hour) FROM hours WHERE hour >= ?1"
		       " UNION ALL SELECT (SELECT min(hour) FROM hours WHERE hours.hour > h.hour)"
		       " FROM h WHERE h.hour IS NOT NULL)"
		       " SELECT hour FROM h WHERE EXISTS"
		       " (SELECT 1 FROM hours WHERE hours.hour = h.hour AND subject = ?2) LIMIT 1";
	case ST_MOVE_HOUR:
		return "INSERT INTO hours(hour, subject" GATE_HOURLY(
			NAMES) ") SELECT hour, ?3" GATE_HOURLY(NAMES) " FROM hours WHERE hour = ?1 "
								      "AND subject = ?2" ADD;
	case ST_DEL_HOUR:
		return "DELETE FROM hours WHERE hour = ? AND subject = ?";
	case ST_PUT_REFUSAL:
		return "INSERT OR REPLACE INTO refusals VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
	case ST_MOVE_REFUSALS:
		return "UPDATE OR IGNORE refusals SET subject = ?2 WHERE subject = ?1";
	case ST_DEL_REFUSALS:
		return "DELETE FROM refusals WHERE subject = ?";
	case ST_PRUNE_HOURS:
		return "DELETE FROM hours WHERE hour < ?";
	case ST_PRUNE_REFUSALS:
		return "DELETE FROM refusals WHERE time < ?";
	case ST_PUT_LEARNED:
		return "INSERT OR REPLACE INTO learned VALUES(?, ?, ?)";
	case ST_DEL_LEARNED:
		return "DELETE FROM learned WHERE subject = ?";
	default:
		return NULL;
	}
}

static void bind_text(sqlite3_stmt *q, int at, const char *text)
{
	sqlite3_bind_text(q, at, text, -1, SQLITE_TRANSIENT);
}

/* ---- hours ---- */

int gate_store_add_hour(struct gate_store *st, const char *subject, const struct gate_hour *h,
			struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, ST_ADD_HOUR, err);
	int at = 3;

	if (!q)
		return -EIO;
	sqlite3_bind_int64(q, 1, h->start);
	bind_text(q, 2, subject);
#define X(name) sqlite3_bind_int64(q, at++, (int64_t)h->name);
	GATE_HOURLY(X)
#undef X
	return gate_store_run(st, q, err);
}

int gate_store_read_hour(struct gate_store *st, const char *subject, struct gate_hour *h,
			 struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, ST_READ_HOUR, err);
	int step, at = 1;

	if (!q)
		return -EIO;
	sqlite3_bind_int64(q, 1, h->start);
	bind_text(q, 2, subject);
	step = sqlite3_step(q);
	if (step == SQLITE_ROW) {
#define X(name) h->name += (uint64_t)sqlite3_column_int64(q, at++);
		GATE_HOURLY(X)
#undef X
	}
	sqlite3_reset(q);
	return step == SQLITE_ROW || step == SQLITE_DONE ? 0 : gate_store_failed(st, err);
}

/* ---- refusals ---- */

static void bind_address(sqlite3_stmt *q, int at, const struct gate_prefix *p)
{
	char text[64];

	if (p->len)
		bind_text(q, at, gate_format_prefix(p, text, sizeof(text)));
	else
		sqlite3_bind_null(q, at);
}

int gate_store_put_refusal(struct gate_store *st, const char *subject, unsigned place,
			   const struct gate_refusal *f, struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, ST_PUT_REFUSAL, err);
	char mac[24];

	if (!q)
		return -EIO;
	bind_text(q, 1, subject);
	sqlite3_bind_int64(q, 2, place);
	sqlite3_bind_int64(q, 3, f->time_ms);
	sqlite3_bind_int(q, 4, f->enforced);
	bind_text(q, 5, gate_reason_name(f->reason));
	bind_address(q, 6, &f->src);
	sqlite3_bind_int(q, 7, f->sport);
	bind_address(q, 8, &f->dst);
	sqlite3_bind_int(q, 9, f->dport);
	bind_text(q, 10, gate_format_mac(f->mac, mac, sizeof(mac)));
	return gate_store_run(st, q, err);
}

static const char *text_of(sqlite3_stmt *q, int column)
{
	const char *text = (const char *)sqlite3_column_text(q, column);

	return text ? text : "";
}

static enum gate_reason reason_named(const char *name)
{
	unsigned r = 0;

	while (r < GATE_R_MAX && strcmp(gate_reason_name((enum gate_reason)r), name) != 0)
		r++;
	return (enum gate_reason)r;
}

/* Of a reason that this version does not know, or damaged: false. */
static bool read_refusal(sqlite3_stmt *q, struct gate_refusal *out)
{
	struct gate_refusal f = {
		.time_ms = sqlite3_column_int64(q, 0),
		.enforced = sqlite3_column_int(q, 1),
		.reason = reason_named(text_of(q, 2)),
		.sport = (uint16_t)sqlite3_column_int(q, 4),
		.dport = (uint16_t)sqlite3_column_int(q, 6),
	};

	if (f.reason == GATE_R_MAX)
		return false;
	gate_parse_prefix(text_of(q, 3), &f.src);
	gate_parse_prefix(text_of(q, 5), &f.dst);
	sscanf(text_of(q, 7), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &f.mac[0], &f.mac[1],
	       &f.mac[2], &f.mac[3], &f.mac[4], &f.mac[5]);
	*out = f;
	return true;
}

int gate_store_read_refusals(struct gate_store *st, const char *subject, int64_t since_ms,
			     void (*cb)(void *, const struct gate_refusal *), void *arg,
			     struct gate_error *err)
{
	struct gate_refusal f;
	sqlite3_stmt *q = NULL;
	int step = SQLITE_DONE;

	if (sqlite3_prepare_v2(st->db,
			       "SELECT time, enforced, reason, src, sport, dst, dport, mac"
			       " FROM refusals WHERE subject = ? AND time >= ? ORDER BY time DESC",
			       -1, &q, NULL))
		return gate_store_failed(st, err);
	bind_text(q, 1, subject);
	sqlite3_bind_int64(q, 2, since_ms);
	while ((step = sqlite3_step(q)) == SQLITE_ROW)
		if (read_refusal(q, &f))
			cb(arg, &f);
	sqlite3_finalize(q);
	return step == SQLITE_DONE ? 0 : gate_store_failed(st, err);
}

int gate_store_last_refusals(struct gate_store *st,
			     void (*cb)(void *, const char *subject, unsigned place,
					int64_t time_ms),
			     void *arg, struct gate_error *err)
{
	sqlite3_stmt *q = NULL;
	int step;

	/* with max() the other columns are those of the row that has it */
	if (sqlite3_prepare_v2(st->db,
			       "SELECT subject, place, max(time) FROM refusals GROUP BY subject",
			       -1, &q, NULL))
		return gate_store_failed(st, err);
	while ((step = sqlite3_step(q)) == SQLITE_ROW)
		cb(arg, text_of(q, 0), (unsigned)sqlite3_column_int(q, 1),
		   sqlite3_column_int64(q, 2));
	sqlite3_finalize(q);
	return step == SQLITE_DONE ? 0 : gate_store_failed(st, err);
}

/* ---- both ---- */

static int run_hour(struct gate_store *st, enum store_statement which, int64_t hour,
		    const char *from, const char *to, struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, which, err);

	if (!q)
		return -EIO;
	sqlite3_bind_int64(q, 1, hour);
	bind_text(q, 2, from);
	if (to)
		bind_text(q, 3, to);
	return gate_store_run(st, q, err);
}

static int run_refusals(struct gate_store *st, enum store_statement which, const char *from,
			const char *to, struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, which, err);

	if (!q)
		return -EIO;
	bind_text(q, 1, from);
	if (to)
		bind_text(q, 2, to);
	return gate_store_run(st, q, err);
}

/* The first hour from *hour on that a subject has: 1, 0 where there is none, or -errno. */
static int find_hour(struct gate_store *st, const char *subject, int64_t *hour,
		     struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, ST_FIND_HOUR, err);
	int step;

	if (!q)
		return -EIO;
	sqlite3_bind_int64(q, 1, *hour);
	bind_text(q, 2, subject);
	step = sqlite3_step(q);
	if (step == SQLITE_ROW)
		*hour = sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		return gate_store_failed(st, err);
	return step == SQLITE_ROW;
}

int gate_store_move_reports(struct gate_store *st, const char *from, const char *to, int64_t since,
			    struct gate_error *err)
{
	int64_t hour = since - since % HOUR_S;
	int r;

	for (; (r = find_hour(st, from, &hour, err)) > 0; hour += HOUR_S) {
		r = run_hour(st, ST_MOVE_HOUR, hour, from, to, err);
		if (!r)
			r = run_hour(st, ST_DEL_HOUR, hour, from, NULL, err);
		if (r)
			break;
	}
	/* a place that the other has filled too stays the other's */
	if (!r)
		r = run_refusals(st, ST_MOVE_REFUSALS, from, to, err);
	return r ? r : run_refusals(st, ST_DEL_REFUSALS, from, NULL, err);
}

static int prune(struct gate_store *st, enum store_statement which, int64_t before,
		 struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, which, err);

	if (!q)
		return -EIO;
	sqlite3_bind_int64(q, 1, before);
	return gate_store_run(st, q, err);
}

int gate_store_prune_reports(struct gate_store *st, int64_t before, struct gate_error *err)
{
	int r = prune(st, ST_PRUNE_HOURS, before, err);

	return r ? r : prune(st, ST_PRUNE_REFUSALS, before * 1000, err);
}
