// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* GET /v1/reports/{subject} and POST /v1/undo. */
#include "control_priv.h"

#include <time.h>

#define SINCE_DEFAULT_S (24 * 3600)
#define SINCE_MAX_S	(GATE_REPORT_DAYS * 24 * 3600)

/* ---- reports ---- */

static void write_counts(struct gate_buf *b, const struct gate_hour *h)
{
#define X(name) gate_json_uint(b, #name, h->name);
	GATE_HOURLY(X)
#undef X
}

static void write_hours(struct gate_buf *b, const struct gate_report *rep)
{
	struct gate_hour sum = { 0 };

	gate_json_open(b, "hours", '[');
	for (unsigned i = 0; i < rep->nhours; i++) {
		const struct gate_hour *h = &rep->hours[i];

		gate_json_open(b, NULL, '{');
		gate_json_time(b, "start", h->start);
		write_counts(b, h);
		gate_json_close(b, '}');
#define X(name) sum.name += h->name;
		GATE_HOURLY(X)
#undef X
	}
	gate_json_close(b, ']');
	gate_json_open(b, "totals", '{');
	write_counts(b, &sum);
	gate_json_close(b, '}');
}

static void write_address(struct gate_buf *b, const char *key, const struct gate_prefix *p)
{
	char text[64];

	gate_json_string(b, key, p->len ? gate_format_prefix(p, text, sizeof(text)) : NULL);
}

static void write_refusals(struct gate_buf *b, const struct gate_report *rep)
{
	char mac[24];

	gate_json_open(b, "refusals", '[');
	for (unsigned i = 0; i < rep->nrefusals; i++) {
		const struct gate_refusal *f = &rep->refusals[i];

		gate_json_open(b, NULL, '{');
		gate_json_time_ms(b, "time", f->time_ms);
		gate_json_string(b, "reason", gate_reason_name(f->reason));
		gate_json_bool(b, "enforced", f->enforced);
		gate_json_string(b, "mac", gate_format_mac(f->mac, mac, sizeof(mac)));
		write_address(b, "src", &f->src);
		gate_json_uint(b, "sport", f->sport);
		write_address(b, "dst", &f->dst);
		gate_json_uint(b, "dport", f->dport);
		gate_json_close(b, '}');
	}
	gate_json_close(b, ']');
}

/* What is gone may have left rows: only a bare word must be known to somebody. */
static int find_subject(struct request *r, struct gate_subject *out, struct gate_error *err)
{
	struct gate_subject s;
	int ret;

	if (gate_parse_subject(r->rest, &s))
		return gate_error_set(err, GATE_ERR_USAGE, "\"%.80s\" is no subject", r->rest);
	ret = gate_engine_resolve(r->ctl->setup.engine, &s, out, err);
	if (ret && (s.kind == GATE_S_WORD || err->code != GATE_ERR_NO_SUBJECT))
		return ret;
	if (ret)
		*out = s;
	return 0;
}

int gate_control_report(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	char text[GATE_SUBJECT_LEN + 4];
	uint64_t seconds = SINCE_DEFAULT_S;
	int64_t now = time(NULL);
	struct gate_report rep;
	struct gate_subject s;
	int ret;

	ret = gate_control_query_uint(r, "since", SINCE_MAX_S, &seconds, err);
	if (!ret)
		ret = find_subject(r, &s, err);
	if (!ret)
		ret = gate_engine_report(r->ctl->setup.engine, &s, now - (int64_t)seconds, &rep,
					 err);
	if (ret)
		return ret;
	gate_json_open(out, NULL, '{');
	gate_json_version(out);
	gate_json_string(out, "subject", gate_format_subject(&s, text, sizeof(text)));
	gate_json_time(out, "since", now - (int64_t)seconds);
	gate_json_time(out, "until", now);
	write_hours(out, &rep);
	write_refusals(out, &rep);
	gate_json_close(out, '}');
	gate_report_clear(&rep);
	return 0;
}

/* ---- undo ---- */

static void write_note(void *arg, const char *note)
{
	gate_json_string(arg, NULL, note);
}

int gate_control_undo(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	struct gate_engine *e = r->ctl->setup.engine;
	char text[GATE_SUBJECT_LEN + 4], reason[256];
	struct gate_undone undone;
	struct gate_show show;
	int64_t id = 0;
	int ret;

	ret = gate_json_read_undo(r->body.data, r->body.len, &id, reason, err);
	if (!ret)
		ret = gate_engine_undo(e, &r->actor, id, reason, &undone, err);
	if (ret)
		return ret;
	gate_format_subject(&undone.subject, text, sizeof(text));
	gate_json_open(out, NULL, '{');
	gate_show_begin(&show, e, r->ctl->setup.maps);
	/* a registration that was taken back, or a tenant whose last own policy went */
	if (gate_show_subject(&show, out, &undone.subject, err)) {
		gate_json_version(out);
		gate_json_string(out, "subject", text);
		gate_json_bool(out, "gone", true);
	}
	gate_show_end(&show);
	gate_json_open(out, "undone", '{');
	gate_json_uint(out, "id", (uint64_t)undone.id);
	gate_json_string(out, "action", undone.action);
	gate_json_string(out, "actor", undone.actor);
	gate_json_close(out, '}');
	gate_json_open(out, "notes", '[');
	gate_engine_notes(e, &undone.subject, write_note, out);
	gate_json_close(out, ']');
	gate_json_close(out, '}');
	return 0;
}
