// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The file itself: open, schema, transactions. */
#include "store_priv.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#define SCHEMA	       1
#define BUSY_MS	       250  /* the daemon has other things to do than to wait for a lock */
#define WAL_PAGES      1000 /* of the write-ahead log, above which it is taken into the file */
#define APPLICATION_ID 0x67323521 /* "g25!" in the file's header: file(1) tells what it is */

#define COLUMN(name) ", " #name " INTEGER NOT NULL DEFAULT 0"
#define X(name)	     COLUMN(name)
static const char schema[] =
	"CREATE TABLE tenants(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
	"CREATE TABLE vms(name TEXT PRIMARY KEY, tenant TEXT NOT NULL, ports TEXT NOT NULL,"
	" macs TEXT NOT NULL, ips TEXT NOT NULL, pairs TEXT NOT NULL, binding TEXT)"
	" WITHOUT ROWID;"
	"CREATE TABLE subjects(subject TEXT PRIMARY KEY, quarantine INTEGER NOT NULL,"
	" quarantine_until INTEGER, quarantine_since INTEGER, quarantine_reason TEXT,"
	" quarantine_by TEXT, observe INTEGER NOT NULL, budget TEXT NOT NULL,"
	" exempt TEXT NOT NULL, first_mac INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE policies(subject TEXT NOT NULL, port INTEGER NOT NULL, state TEXT NOT NULL,"
	" refuse TEXT, drain INTEGER NOT NULL, rates TEXT NOT NULL, burst INTEGER NOT NULL,"
	" concurrent INTEGER NOT NULL, destinations TEXT NOT NULL, expires INTEGER NOT NULL,"
	" since INTEGER NOT NULL, reason TEXT NOT NULL, actor TEXT NOT NULL,"
	" PRIMARY KEY(subject, port)) WITHOUT ROWID;"
	"CREATE TABLE counters(subject TEXT PRIMARY KEY" GATE_COUNTERS(X) COLUMN(
		last_reply) ") WITHOUT ROWID;"
			    "CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER "
			    "NOT NULL,"
			    " uid INTEGER NOT NULL, actor TEXT NOT NULL, subject TEXT NOT NULL,"
			    " action TEXT NOT NULL, detail TEXT NOT NULL, reason TEXT NOT NULL);"
			    "CREATE INDEX audit_subject ON audit(subject, id);";
#undef X

#define NAME(name) ", " #name
#define MARK(name) ", ?"
#define SET(name)  #name " = excluded." #name ", "
#define AUDIT	   "(NULL, ?, ?, ?, ?, ?, ?, ?)"
#define AUDITS_4   AUDIT ", " AUDIT ", " AUDIT ", " AUDIT
static const char *const sql[] = {
	[ST_BEGIN] = "BEGIN IMMEDIATE",
	[ST_COMMIT] = "COMMIT",
	[ST_PUT_VM] = "INSERT OR REPLACE INTO vms VALUES(?, ?, ?, ?, ?, ?, ?)",
	[ST_DEL_VM] = "DELETE FROM vms WHERE name = ?",
	[ST_PUT_SUBJECT] = "INSERT OR REPLACE INTO subjects VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[ST_DEL_SUBJECT] = "DELETE FROM subjects WHERE subject = ?",
	[ST_PUT_POLICY] =
		"INSERT OR REPLACE INTO policies VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[ST_DEL_POLICY] = "DELETE FROM policies WHERE subject = ? AND port = ?",
	[ST_DEL_POLICIES] = "DELETE FROM policies WHERE subject = ?",
	[ST_PUT_TENANT] = "INSERT OR REPLACE INTO tenants VALUES(?, ?)",
	[ST_DEL_TENANT] = "DELETE FROM tenants WHERE id = ?",
	/* by name: an older version's file, or a newer's, has its columns in another order */
	[ST_PUT_COUNTERS] = "INSERT INTO counters(subject" GATE_COUNTERS(
		NAME) ", last_reply) VALUES(?" GATE_COUNTERS(MARK) ", ?)"
								   " ON CONFLICT(subject) DO "
								   "UPDATE SET " GATE_COUNTERS(
									   SET) "last_reply = "
										"excluded.last_"
										"reply",
	[ST_DEL_COUNTERS] = "DELETE FROM counters WHERE subject = ?",
	[ST_ADD_AUDIT] = "INSERT INTO audit VALUES" AUDIT,
	/* OR ROLLBACK: else each page would be kept aside, for taking back a part of the rows */
	[ST_ADD_AUDITS] = "INSERT OR ROLLBACK INTO audit VALUES" AUDITS_4 ", " AUDITS_4
			  ", " AUDITS_4 ", " AUDITS_4,
};
_Static_assert(GATE_STORE_AUDITS == 16, "as many rows as ST_ADD_AUDITS has");
#undef AUDITS_4
#undef AUDIT
#undef SET
#undef MARK
#undef NAME
_Static_assert(sizeof(sql) / sizeof(sql[0]) == ST_ADD_HOUR, "a text for each statement");

int gate_store_failed(struct gate_store *st, struct gate_error *err)
{
	return gate_error_set(err, GATE_ERR_FAILED, "store %.200s: %s", st->path,
			      st->db ? sqlite3_errmsg(st->db) : "out of memory");
}

sqlite3_stmt *gate_store_statement(struct gate_store *st, enum store_statement which,
				   struct gate_error *err)
{
	const char *text = which < ST_ADD_HOUR ? sql[which] : gate_store_report_sql(which);
	sqlite3_stmt **q = &st->statement[which];

	if (!*q && sqlite3_prepare_v3(st->db, text, -1, SQLITE_PREPARE_PERSISTENT, q, NULL))
		gate_store_failed(st, err);
	return *q;
}

int gate_store_run(struct gate_store *st, sqlite3_stmt *q, struct gate_error *err)
{
	int r = sqlite3_step(q) == SQLITE_DONE ? 0 : gate_store_failed(st, err);

	sqlite3_reset(q);
	return r;
}

static int run(struct gate_store *st, enum store_statement which, struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(st, which, err);

	return q ? gate_store_run(st, q, err) : -EIO;
}

int gate_store_begin(struct gate_store *st, struct gate_error *err)
{
	return run(st, ST_BEGIN, err);
}

int gate_store_commit(struct gate_store *st, struct gate_error *err)
{
	return run(st, ST_COMMIT, err);
}

void gate_store_rollback(struct gate_store *st)
{
	if (!sqlite3_get_autocommit(st->db))
		sqlite3_exec(st->db, "ROLLBACK", NULL, NULL, NULL);
}

static int read_number(struct gate_store *st, const char *query, int64_t *out,
		       struct gate_error *err)
{
	sqlite3_stmt *q = NULL;
	int r = 0;

	if (sqlite3_prepare_v2(st->db, query, -1, &q, NULL) || sqlite3_step(q) != SQLITE_ROW)
		r = gate_store_failed(st, err);
	else
		*out = sqlite3_column_int64(q, 0);
	sqlite3_finalize(q);
	return r;
}

static int make_schema(struct gate_store *st, struct gate_error *err)
{
	char tail[80];

	snprintf(tail, sizeof(tail), "PRAGMA application_id=%d; PRAGMA user_version=%d;",
		 APPLICATION_ID, SCHEMA);
	if (sqlite3_exec(st->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) ||
	    sqlite3_exec(st->db, schema, NULL, NULL, NULL) ||
	    sqlite3_exec(st->db, tail, NULL, NULL, NULL) ||
	    sqlite3_exec(st->db, "COMMIT", NULL, NULL, NULL)) {
		int r = gate_store_failed(st, err);

		gate_store_rollback(st);
		return r;
	}
	return 0;
}

/* A counter that came after the file was made. */
static int add_column(struct gate_store *st, const char *name, struct gate_error *err)
{
	char query[160];
	int64_t there;

	snprintf(query, sizeof(query),
		 "SELECT count(*) FROM pragma_table_info('counters') WHERE name = '%s'", name);
	int r = read_number(st, query, &there, err);
	if (r || there)
		return r;
	snprintf(query, sizeof(query),
		 "ALTER TABLE counters ADD COLUMN %s INTEGER NOT NULL DEFAULT 0", name);
	return sqlite3_exec(st->db, query, NULL, NULL, NULL) ? gate_store_failed(st, err) : 0;
}

static int add_columns(struct gate_store *st, struct gate_error *err)
{
#define X(name) #name,
	static const char *const names[] = { GATE_COUNTERS(X) };
#undef X
	int r = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !r; i++)
		r = add_column(st, names[i], err);
	return r;
}

static int check_schema(struct gate_store *st, struct gate_error *err)
{
	int64_t version, tables;
	int r = read_number(st, "PRAGMA user_version", &version, err);

	if (!r && !version)
		r = read_number(st, "SELECT count(*) FROM sqlite_master", &tables, err);
	if (r)
		return r;
	if (version > SCHEMA)
		return gate_error_set(err, GATE_ERR_FAILED,
				      "store %.200s: written by a newer version (schema %lld, this "
				      "is %d)",
				      st->path, (long long)version, SCHEMA);
	if (version)
		return add_columns(st, err);
	if (tables)
		return gate_error_set(err, GATE_ERR_FAILED, "store %.200s: not a store of gate25",
				      st->path);
	return make_schema(st, err);
}

/* In the place of SQLite's own hook, by which a commit would wait for the file as well. */
static int on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
	((struct gate_store *)arg)->wal_pages = pages;
	return SQLITE_OK;
}

/* What is committed is safe in the log: if this fails it is tried again later. */
void gate_store_tidy(struct gate_store *st)
{
	if (st->wal_pages >= WAL_PAGES &&
	    !sqlite3_wal_checkpoint_v2(st->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL))
		st->wal_pages = 0;
}

static int set_up(struct gate_store *st, struct gate_error *err)
{
	struct stat sb;
	int64_t ignored;
	int r;

	sqlite3_busy_timeout(st->db, BUSY_MS);
	sqlite3_extended_result_codes(st->db, 1);
	/* The schema is read first: a newer file must not even be switched to WAL. */
	r = read_number(st, "PRAGMA user_version", &ignored, err);
	if (!r)
		r = check_schema(st, err);
	if (!r && sqlite3_exec(st->db,
			       "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
			       "PRAGMA foreign_keys=OFF; PRAGMA journal_size_limit=16777216;",
			       NULL, NULL, NULL))
		r = gate_store_failed(st, err);
	sqlite3_wal_hook(st->db, on_commit, st);
	/* An older version reads such a file too: it does not look at tables it does not know. */
	if (!r && sqlite3_exec(st->db, gate_store_report_schema, NULL, NULL, NULL))
		r = gate_store_failed(st, err);
	/* A trial write: a read-only file or a full disk is better known now. */
	if (!r)
		r = gate_store_begin(st, err);
	if (!r && stat(st->path, &sb) == 0) {
		st->dev = sb.st_dev;
		st->ino = sb.st_ino;
	}
	gate_store_rollback(st);
	return r;
}

int gate_store_open(struct gate_store **out, const char *path, struct gate_error *err)
{
	struct gate_store *st = gate_alloc(1, sizeof(*st));
	int r;

	/* One thread, so no locks, and nobody asks how much it has allocated. Once is enough. */
	sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	st->path = gate_strdup(path);
	if (sqlite3_open_v2(path, &st->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL))
		r = gate_store_failed(st, err);
	else
		r = set_up(st, err);
	if (r) {
		gate_store_close(st);
		return r;
	}
	*out = st;
	return 0;
}

void gate_store_close(struct gate_store *st)
{
	if (!st)
		return;
	for (unsigned i = 0; i < ST_MAX; i++)
		sqlite3_finalize(st->statement[i]);
	sqlite3_close(st->db);
	free(st->path);
	free(st);
}

bool gate_store_intact(const struct gate_store *st)
{
	struct stat sb;

	return stat(st->path, &sb) == 0 && sb.st_dev == st->dev && sb.st_ino == st->ino;
}

bool gate_store_fresh(struct gate_store *st)
{
	int64_t rows = 0;
	int r = read_number(st,
			    "SELECT (SELECT count(*) FROM vms) + (SELECT count(*) FROM subjects) +"
			    " (SELECT count(*) FROM audit) + (SELECT count(*) FROM counters)",
			    &rows, NULL);

	return !r && rows == 0;
}
