// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The whole policy as JSON Lines: out as one text, in line by line while the
 * body arrives. Nothing is applied before the last line has been read.
 */
#include "control_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A line of more than this is no record of ours. */
#define LINE_MAX_BYTES CONTROL_BODY_MAX
#define ITEMS_FIRST    64

struct set_upload {
	struct gate_set_item *items;
	size_t n, size, most;
	struct gate_buf line; /* the beginning of a line whose end has not come */
	unsigned long number;
	struct gate_error err; /* of the first wrong line */
};

int gate_control_upload_open(struct request *r)
{
	const struct gate_conf *conf = r->ctl->setup.maps->conf;
	struct set_upload *u = calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	/* each VM as a record and as a subject, and what else can have a policy */
	u->most = 2 * (size_t)conf->max_vms + conf->max_tenants + conf->max_overrides + 1;
	r->upload = u;
	return 0;
}

void gate_control_upload_free(struct set_upload *u)
{
	size_t i;

	if (!u)
		return;
	for (i = 0; i < u->n; i++)
		gate_set_item_clear(&u->items[i]);
	free(u->items);
	gate_buf_free(&u->line);
	free(u);
}

static int make_room(struct set_upload *u)
{
	struct gate_set_item *more;

	if (u->n == u->most)
		return gate_error_set(&u->err, GATE_ERR_USAGE,
				      "more than the %zu records that this gate can hold", u->most);
	if (u->n < u->size)
		return 0;
	u->size = u->size ? u->size * 2 : ITEMS_FIRST;
	more = realloc(u->items, u->size * sizeof(*more));
	if (!more)
		return gate_error_set(&u->err, GATE_ERR_FAILED, "out of memory");
	u->items = more;
	return 0;
}

static bool blank(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (s[i] != ' ' && s[i] != '\t' && s[i] != '\r')
			return false;
	return true;
}

static void take_line(struct set_upload *u, const struct gate_conf *conf, const char *s, size_t len)
{
	struct gate_error err;

	u->number++;
	if (blank(s, len) || make_room(u))
		return;
	if (!gate_json_read_item(s, len, conf->ports, conf->nports, &u->items[u->n], &err))
		u->n++;
	else
		gate_error_set(&u->err, err.code, "line %lu: %.400s", u->number, err.message);
}

void gate_control_upload_data(struct request *r, const char *data, size_t len)
{
	const struct gate_conf *conf = r->ctl->setup.maps->conf;
	struct set_upload *u = r->upload;
	const char *end = data + len, *nl;

	for (; u->err.code == GATE_OK && data < end; data = nl + 1) {
		nl = memchr(data, '\n', (size_t)(end - data));
		if (nl && !u->line.len) {
			take_line(u, conf, data, (size_t)(nl - data));
			continue;
		}
		gate_buf_add(&u->line, data, (size_t)((nl ? nl : end) - data));
		if (u->line.failed || u->line.len > LINE_MAX_BYTES)
			gate_error_set(&u->err, GATE_ERR_USAGE, "line %lu is longer than %d bytes",
				       u->number + 1, LINE_MAX_BYTES);
		if (!nl)
			return;
		take_line(u, conf, u->line.data, u->line.len);
		u->line.len = 0;
	}
}

static void write_change(void *arg, const char *line)
{
	gate_json_string(arg, NULL, line);
}

/* The records become the candidate's. */
static int put_shadow(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	struct set_upload *u = r->upload;
	int ret = gate_candidate_put(r->ctl->setup.candidate, &r->actor, u->items, u->n, err);

	if (ret)
		return ret;
	u->items = NULL;
	u->n = u->size = 0;
	gate_candidate_show(r->ctl->setup.candidate, out);
	return 0;
}

int gate_control_policy_set_put(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	struct set_upload *u = r->upload;
	uint64_t dry_run = 0, shadow = 0;
	int ret;

	ret = gate_control_query_uint(r, "dry_run", 1, &dry_run, err);
	if (!ret)
		ret = gate_control_query_uint(r, "shadow", 1, &shadow, err);
	if (ret)
		return ret;
	if (u->err.code == GATE_OK && u->line.len)
		take_line(u, r->ctl->setup.maps->conf, u->line.data, u->line.len);
	if (u->err.code != GATE_OK)
		return gate_error_set(err, u->err.code, "%s", u->err.message);
	if (shadow)
		return put_shadow(r, out, err);
	gate_json_open(out, NULL, '{');
	gate_json_version(out);
	gate_json_bool(out, "applied", !dry_run);
	gate_json_open(out, "changes", '[');
	ret = gate_engine_apply_set(r->ctl->setup.engine, &r->actor, u->items, u->n, dry_run,
				    write_change, out, err);
	gate_json_close(out, ']');
	gate_json_close(out, '}');
	return ret;
}

struct export
{
	struct gate_buf text;
	const uint16_t *ports;
};

static int write_item(void *arg, const struct gate_set_item *it)
{
	struct export *x = arg;

	gate_json_item(&x->text, it, x->ports);
	return x->text.failed ? -ENOMEM : 0;
}

int gate_control_policy_set_get(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	struct export x = { .ports = r->ctl->setup.maps->conf->ports };
	struct MHD_Response *response;
	size_t len;
	char *text;

	if (gate_engine_export(r->ctl->setup.engine, write_item, &x)) {
		gate_buf_free(&x.text);
		return gate_error_set(err, GATE_ERR_FAILED, "cannot write out the policy");
	}
	if (gate_control_hold(r, x.text.len, err)) {
		gate_buf_free(&x.text);
		return -EBUSY;
	}
	text = gate_buf_steal(&x.text, &len);
	response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	if (!response)
		free(text);
	gate_control_send(r, MHD_HTTP_OK, "application/x-ndjson", response);
	return 0;
}
