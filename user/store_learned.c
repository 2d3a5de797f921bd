// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Sources that VMs were seen to use under binding `learn`: a row for each VM, lists as text. */
#include "store_priv.h"

#include <errno.h>
#include <stdio.h>

#define LIST_MAX 512

static void macs_text(const struct gate_learned *l, char out[LIST_MAX])
{
	size_t n = 0;
	char mac[20];

	out[0] = '\0';
	for (unsigned i = 0; i < l->nmacs; i++)
		n += (size_t)snprintf(out + n, LIST_MAX - n, "%s%s", i ? "," : "",
				      gate_format_mac(l->macs[i], mac, sizeof(mac)));
}

int gate_store_put_learned(struct gate_store *st, const char *subject, const struct gate_learned *l,
			   struct gate_error *err)
{
	sqlite3_stmt *q = gate_store_statement(
		st, l->nmacs || l->nips ? ST_PUT_LEARNED : ST_DEL_LEARNED, err);
	char macs[LIST_MAX];

	if (!q)
		return -EIO;
	sqlite3_bind_text(q, 1, subject, -1, SQLITE_TRANSIENT);
	if (l->nmacs || l->nips) {
		macs_text(l, macs);
		sqlite3_bind_text(q, 2, macs, -1, SQLITE_TRANSIENT);
		sqlite3_bind_text(q, 3, gate_store_prefixes_text(l->ips, l->nips), -1, free);
	}
	return gate_store_run(st, q, err);
}

int gate_store_del_learned(struct gate_store *st, const char *subject, struct gate_error *err)
{
	return gate_store_put_learned(st, subject, &(struct gate_learned){ 0 }, err);
}

/* Calls take() for each part between commas; what makes no sense is left out. */
static void split(const char *text, struct gate_learned *l,
		  void (*take)(struct gate_learned *, const char *))
{
	while (*text) {
		size_t len = strcspn(text, ",");
		char part[64];

		snprintf(part, sizeof(part), "%.*s", (int)(len < 63 ? len : 63), text);
		take(l, part);
		text += len + (text[len] == ',');
	}
}

static void take_mac(struct gate_learned *l, const char *part)
{
	if (l->nmacs < GATE_LEARNED_MACS && !gate_parse_mac(part, l->macs[l->nmacs]))
		l->nmacs++;
}

static void take_ip(struct gate_learned *l, const char *part)
{
	if (l->nips < GATE_LEARNED_IPS && !gate_parse_prefix(part, &l->ips[l->nips]))
		l->nips++;
}

int gate_store_read_learned(struct gate_store *st,
			    void (*cb)(void *, const char *, const struct gate_learned *),
			    void *arg, struct gate_error *err)
{
	sqlite3_stmt *q = NULL;
	int step, r = 0;

	if (sqlite3_prepare_v2(st->db, "SELECT subject, macs, ips FROM learned", -1, &q, NULL))
		return gate_store_failed(st, err);
	while ((step = sqlite3_step(q)) == SQLITE_ROW) {
		struct gate_learned l = { 0 };

		split((const char *)sqlite3_column_text(q, 1), &l, take_mac);
		split((const char *)sqlite3_column_text(q, 2), &l, take_ip);
		cb(arg, (const char *)sqlite3_column_text(q, 0), &l);
	}
	if (step != SQLITE_DONE)
		r = gate_store_failed(st, err);
	sqlite3_finalize(q);
	return r;
}
