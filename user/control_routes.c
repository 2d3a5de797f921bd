// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The routes, and those that fit in a few lines. */
#include "control_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define AUDIT_MAX 100000

static int get_status(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	struct gate_show show;

	gate_show_begin(&show, r->ctl->setup.engine, r->ctl->setup.maps);
	gate_show_status(&show, out, &r->ctl->host);
	gate_show_end(&show);
	return 0;
}

/* The canonical subject that a path or query names. */
static int resolve(struct request *r, const char *text, struct gate_subject *out,
		   struct gate_error *err)
{
	struct gate_subject s;

	if (gate_parse_subject(text, &s))
		return gate_error_set(err, GATE_ERR_USAGE, "\"%.80s\" is no subject", text);
	return gate_engine_resolve(r->ctl->setup.engine, &s, out, err);
}

static void write_note(void *arg, const char *note)
{
	gate_json_string(arg, NULL, note);
}

/* A subject without anything of its own that nobody knows (any more). */
static void write_unknown(const struct gate_show *show, struct gate_buf *out,
			  const struct gate_subject *s)
{
	static const struct gate_subject fallback = { .kind = GATE_S_DEFAULT };
	char text[GATE_SUBJECT_LEN + 4];
	struct gate_effective eff;

	gate_json_version(out);
	gate_json_string(out, "subject", gate_format_subject(s, text, sizeof(text)));
	if (!gate_engine_effective(show->engine, &fallback, 0, &eff, NULL))
		gate_json_effective(out, "effective", 0, &eff);
	gate_json_open(out, "own", '{');
	gate_json_own(out, NULL, NULL);
	gate_json_close(out, '}');
}

static int show_subject(struct request *r, const struct gate_subject *s, bool changed,
			struct gate_buf *out, struct gate_error *err)
{
	struct gate_show show;
	int ret;

	gate_show_begin(&show, r->ctl->setup.engine, r->ctl->setup.maps);
	gate_json_open(out, NULL, '{');
	ret = gate_show_subject(&show, out, s, err);
	if (ret && changed) { /* a tenant whose last own policy went */
		write_unknown(&show, out, s);
		ret = 0;
	}
	gate_show_end(&show);
	if (ret)
		return ret;
	if (changed) {
		gate_json_open(out, "notes", '[');
		gate_engine_notes(r->ctl->setup.engine, s, write_note, out);
		gate_json_close(out, ']');
	}
	gate_json_close(out, '}');
	return 0;
}

static int get_policy(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	struct gate_subject s;
	int ret;

	ret = resolve(r, r->rest, &s, err);
	return ret ? ret : show_subject(r, &s, false, out, err);
}

static int put_policy(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	struct gate_json_change c;
	struct gate_subject s;
	int ret;

	ret = resolve(r, r->rest, &s, err);
	if (!ret)
		ret = gate_json_read_change(r->body.data, r->body.len, time(NULL), &c, err);
	if (ret)
		return ret;
	c.change.subject = s;
	ret = gate_engine_change(r->ctl->setup.engine, &r->actor, &c.change, err);
	gate_json_change_clear(&c);
	return ret ? ret : show_subject(r, &s, true, out, err);
}

static int query_reason(struct request *r, char reason[256], struct gate_error *err)
{
	const char *text = gate_control_query(r, "reason");

	reason[0] = '\0';
	return text ? gate_json_check_reason(text, reason, err) : 0;
}

static int delete_policy(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	struct gate_change c = { .policy.refuse = GATE_REFUSE_UNSET };
	char reason[256];
	uint64_t on = 0;
	int ret;

	ret = resolve(r, r->rest, &c.subject, err);
	if (!ret)
		ret = query_reason(r, reason, err);
	if (!ret)
		ret = gate_control_query_uint(r, "on", 65535, &on, err);
	if (ret)
		return ret;
	c.reason = reason;
	c.on = (uint16_t)on;
	c.set_policy = on != 0;
	c.drop_all = on == 0;
	strcpy(c.policy.reason, reason);
	ret = gate_engine_change(r->ctl->setup.engine, &r->actor, &c, err);
	return ret ? ret : show_subject(r, &c.subject, true, out, err);
}

/* ---- VMs ---- */

static int vm_subject(struct request *r, struct gate_subject *s, struct gate_error *err)
{
	if (!gate_name_valid(r->rest))
		return gate_error_set(err, GATE_ERR_USAGE, "\"%.80s\" is no name for a VM",
				      r->rest);
	*s = (struct gate_subject){ .kind = GATE_S_VM };
	strcpy(s->name, r->rest);
	return 0;
}

static int get_vm(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	struct gate_subject s;
	int ret;

	ret = vm_subject(r, &s, err);
	return ret ? ret : show_subject(r, &s, false, out, err);
}

static int query_mode(struct request *r, bool *create, bool *update, struct gate_error *err)
{
	const char *mode = gate_control_query(r, "mode");

	*create = mode && !strcmp(mode, "create");
	*update = mode && !strcmp(mode, "update");
	if (mode && !*create && !*update)
		return gate_error_set(err, GATE_ERR_USAGE,
				      "the query's mode must be create or update");
	return 0;
}

/* What the body is laid over: for an update the VM as it is. */
static int vm_base(struct request *r, const struct gate_subject *s, bool update,
		   struct gate_vm_spec *vm, struct gate_error *err)
{
	struct gate_engine *e = r->ctl->setup.engine;
	int slot = update ? gate_engine_slot(e, s) : -ENOENT;

	*vm = (struct gate_vm_spec){ .binding = -1 };
	if (slot >= 0 && gate_json_vm_copy(vm, gate_engine_vm(e, (uint32_t)slot)))
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	vm->registered = true;
	strcpy(vm->name, s->name);
	return 0;
}

static int put_vm(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	struct gate_vm_spec vm = { .binding = -1 };
	char reason[256] = "";
	struct gate_subject s;
	bool create, update;
	int ret;

	ret = vm_subject(r, &s, err);
	if (!ret)
		ret = query_mode(r, &create, &update, err);
	if (!ret)
		ret = vm_base(r, &s, update, &vm, err);
	if (!ret)
		ret = gate_json_read_vm(r->body.data, r->body.len, &vm, reason, err);
	if (!ret)
		ret = gate_engine_vm_put(r->ctl->setup.engine, &r->actor, &vm, create, update,
					 reason, err);
	gate_json_vm_clear(&vm);
	return ret ? ret : show_subject(r, &s, true, out, err);
}

static int delete_vm(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	char reason[256], text[GATE_SUBJECT_LEN + 4];
	struct gate_subject s;
	int ret;

	ret = vm_subject(r, &s, err);
	if (!ret)
		ret = query_reason(r, reason, err);
	if (!ret)
		ret = gate_engine_vm_del(r->ctl->setup.engine, &r->actor, s.name, reason, err);
	if (ret)
		return ret;
	gate_json_open(out, NULL, '{');
	gate_json_version(out);
	gate_json_string(out, "deleted", gate_format_subject(&s, text, sizeof(text)));
	gate_json_close(out, '}');
	return 0;
}

/* ---- audit, why ---- */

static int write_audit_row(void *arg, const struct gate_audit_row *row)
{
	struct gate_buf *b = arg;

	gate_json_open(b, NULL, '{');
	gate_json_uint(b, "id", (uint64_t)row->id);
	gate_json_time(b, "time", row->time);
	gate_json_uint(b, "uid", row->uid);
	gate_json_string(b, "actor", row->actor);
	gate_json_string(b, "subject", row->subject);
	gate_json_string(b, "action", row->action);
	gate_json_raw(b, "detail", row->detail && *row->detail ? row->detail : "null");
	gate_json_string(b, "reason", gate_json_or_null(row->reason));
	gate_json_close(b, '}');
	return b->failed ? -ENOMEM : 0;
}

static int get_audit(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	const char *text = gate_control_query(r, "subject");
	struct gate_subject s;
	uint64_t limit = 0;
	int ret;

	ret = gate_control_query_uint(r, "limit", AUDIT_MAX, &limit, err);
	if (ret)
		return ret;
	/* the trail outlives its subjects: only a bare word must be known to somebody */
	if (text && gate_parse_subject(text, &s))
		return gate_error_set(err, GATE_ERR_USAGE, "\"%.80s\" is no subject", text);
	if (text && s.kind == GATE_S_WORD) {
		ret = resolve(r, text, &s, err);
		if (ret)
			return ret;
	}
	gate_json_open(out, NULL, '{');
	gate_json_version(out);
	gate_json_open(out, "audit", '[');
	ret = gate_engine_audit(r->ctl->setup.engine, text ? &s : NULL, (unsigned)limit,
				write_audit_row, out, err);
	gate_json_close(out, ']');
	gate_json_close(out, '}');
	return ret;
}

static int post_why(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	struct gate_json_why question;
	struct gate_subject s;
	int ret;

	ret = gate_json_read_why(r->body.data, r->body.len, &question, err);
	if (!ret)
		ret = gate_engine_resolve(r->ctl->setup.engine, &question.subject, &s, err);
	if (ret)
		return ret;
	if (!r->ctl->why)
		return gate_control_fail(r, MHD_HTTP_NOT_IMPLEMENTED, err, GATE_ERR_FAILED,
					 "this daemon cannot explain verdicts");
	question.subject = s;
	return r->ctl->why(r->ctl->why_arg, &question, out, err);
}

static const struct route routes[] = {
	{ "GET", "/v1/status", GATE_RIGHT_READ, .handle = get_status },
	{ "GET", "/v1/vms", GATE_RIGHT_READ, .query = { "tenant", "state", "expiring", "brief" },
	  .handle = gate_control_vms },
	{ "GET", "/v1/vms/", GATE_RIGHT_READ, .handle = get_vm },
	{ "PUT", "/v1/vms/", GATE_RIGHT_WRITE, .query = { "mode" }, .handle = put_vm },
	{ "DELETE", "/v1/vms/", GATE_RIGHT_WRITE, .query = { "reason" }, .handle = delete_vm },
	{ "GET", "/v1/policies", GATE_RIGHT_READ, .handle = gate_control_policies },
	{ "GET", "/v1/policies/", GATE_RIGHT_READ, .handle = get_policy },
	{ "PUT", "/v1/policies/", GATE_RIGHT_WRITE, .handle = put_policy },
	{ "DELETE", "/v1/policies/", GATE_RIGHT_WRITE, .query = { "on", "reason" },
	  .handle = delete_policy },
	{ "GET", "/v1/events", GATE_RIGHT_READ, .query = { "follow", "subject" },
	  .handle = gate_control_events },
	{ "GET", "/v1/audit", GATE_RIGHT_READ, .query = { "subject", "limit" },
	  .handle = get_audit },
	{ "POST", "/v1/why", GATE_RIGHT_READ, .handle = post_why },
	{ "GET", "/v1/reports/", GATE_RIGHT_READ, .query = { "since" },
	  .handle = gate_control_report },
	{ "POST", "/v1/undo", GATE_RIGHT_WRITE, .handle = gate_control_undo },
	{ "GET", "/v1/policy-set", GATE_RIGHT_READ, .handle = gate_control_policy_set_get },
	{ "PUT", "/v1/policy-set", GATE_RIGHT_WRITE, .stream = true,
	  .query = { "dry_run", "shadow" }, .handle = gate_control_policy_set_put },
	{ "GET", "/v1/shadow", GATE_RIGHT_READ, .handle = gate_control_shadow_get },
	{ "POST", "/v1/shadow", GATE_RIGHT_WRITE, .handle = gate_control_shadow_promote },
	{ "DELETE", "/v1/shadow", GATE_RIGHT_WRITE, .handle = gate_control_shadow_drop },
};

const struct route *gate_control_routes(size_t *n)
{
	*n = sizeof(routes) / sizeof(routes[0]);
	return routes;
}
