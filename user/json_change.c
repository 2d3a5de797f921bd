// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The bodies of requests: a change, a question. */
#include "json_priv.h"

#include <errno.h>
#include <stdlib.h>

#define usage(err, ...) gate_error_set(err, GATE_ERR_USAGE, __VA_ARGS__)

/* The longest time an expiry may lie ahead: a century, far below any overflow. */
#define FOR_MAX_S (100LL * 366 * 86400)

void gate_json_change_clear(struct gate_json_change *c)
{
	free(c->change.exempt_add);
	free(c->change.exempt_del);
	*c = (struct gate_json_change){ 0 };
}

static int read_expiry(const json_t *o, int64_t now, int64_t *out, struct gate_error *err)
{
	int64_t expires = 0;
	uint64_t seconds = 0;
	int r;

	r = gate_jr_time(o, "expires", &expires, err);
	if (!r)
		r = gate_jr_uint(o, "for", 1, FOR_MAX_S, &seconds, err);
	if (r)
		return r;
	if (expires && seconds)
		return usage(err, "\"expires\" and \"for\" exclude each other");
	if (expires && expires <= now)
		return usage(err, "\"expires\" lies in the past");
	if (expires > now + FOR_MAX_S)
		return usage(err, "\"expires\" lies more than a century ahead");
	*out = seconds ? now + (int64_t)seconds : expires;
	return 0;
}

/* Policy keys without "state" would do nothing. */
static int needs_state(const json_t *o, struct gate_error *err)
{
	static const char *const keys[] = { "on",	    "rates",  "burst", "concurrent",
					    "destinations", "refuse", "drain", NULL };
	unsigned i;

	for (i = 0; keys[i]; i++)
		if (gate_jr_has(o, keys[i]))
			return usage(err, "\"%s\" needs \"state\"", keys[i]);
	return 0;
}

static int read_state(const json_t *o, int64_t expires, const char *reason, struct gate_change *c,
		      struct gate_error *err)
{
	int r;

	if (!gate_jr_has(o, "state"))
		return needs_state(o, err);
	r = gate_jr_policy(o, &c->policy, err);
	if (!r)
		r = gate_jr_on(o, &c->on, err);
	if (r)
		return r;
	if (expires && c->policy.state == GATE_INHERIT)
		return usage(err, "an expiry does not go with state \"inherit\"");
	c->set_policy = true;
	c->policy.expires = expires;
	strcpy(c->policy.reason, reason);
	return 0;
}

static int read_quarantine(const json_t *o, int64_t expires, const char *reason,
			   struct gate_change *c, struct gate_error *err)
{
	int r;

	if (!gate_jr_has(o, "quarantine"))
		return 0;
	r = gate_jr_bool(o, "quarantine", &c->quarantine.on, err);
	if (r)
		return r;
	c->set_quarantine = true;
	c->quarantine.until = c->quarantine.on ? expires : 0;
	strcpy(c->quarantine.reason, reason);
	return 0;
}

static int read_exempt(const json_t *o, struct gate_change *c, struct gate_error *err)
{
	static const char *const keys[] = { "add", "del", NULL };
	const json_t *e = json_object_get(o, "exempt");
	int r;

	if (!e || json_is_null(e))
		return 0;
	if (!json_is_object(e))
		return usage(err, "\"exempt\" must be an object with \"add\" and \"del\"");
	r = gate_jr_keys(e, keys, "exempt", err);
	if (!r)
		r = gate_jr_prefixes(e, "add", GATE_EXEMPT_MAX, &c->exempt_add, &c->nexempt_add,
				     err);
	if (!r)
		r = gate_jr_prefixes(e, "del", GATE_EXEMPT_MAX, &c->exempt_del, &c->nexempt_del,
				     err);
	return r;
}

static int read_parts(const json_t *o, int64_t now, struct gate_json_change *out,
		      struct gate_error *err)
{
	struct gate_change *c = &out->change;
	int64_t expires = 0;
	int r;

	r = gate_jr_reason(o, out->reason, err);
	if (!r)
		r = read_expiry(o, now, &expires, err);
	if (!r)
		r = read_state(o, expires, out->reason, c, err);
	if (!r)
		r = read_quarantine(o, expires, out->reason, c, err);
	if (!r)
		r = gate_jr_bool(o, "observe", &c->observe, err);
	if (!r)
		r = gate_jr_rates(o, "budget", c->budget, &c->nbudget, err);
	if (!r)
		r = read_exempt(o, c, err);
	if (r)
		return r;
	c->set_observe = gate_jr_has(o, "observe");
	c->set_budget = json_object_get(o, "budget") != NULL;
	if (expires && !c->set_policy && !(c->set_quarantine && c->quarantine.on))
		return usage(err, "an expiry needs \"state\" or \"quarantine\":true");
	if (!c->set_policy && !c->set_quarantine && !c->set_observe && !c->set_budget &&
	    !c->nexempt_add && !c->nexempt_del)
		return usage(err, "the request changes nothing");
	return 0;
}

int gate_json_read_change(const char *text, size_t len, int64_t now, struct gate_json_change *out,
			  struct gate_error *err)
{
	static const char *const keys[] = { "state",	  "on",		  "rates",  "burst",
					    "concurrent", "destinations", "refuse", "drain",
					    "expires",	  "for",	  "reason", "quarantine",
					    "observe",	  "budget",	  "exempt", NULL };
	struct gate_json_change c = { .change.policy.refuse = GATE_REFUSE_UNSET };
	_cleanup_json_ json_t *o = NULL;
	int r;

	r = gate_jr_object(text, len, keys, &o, err);
	if (!r)
		r = read_parts(o, now, &c, err);
	if (r) {
		gate_json_change_clear(&c);
		return r;
	}
	*out = c;
	out->change.reason = out->reason;
	return 0;
}

int gate_json_read_why(const char *text, size_t len, struct gate_json_why *out,
		       struct gate_error *err)
{
	static const char *const keys[] = { "subject", "destination", "port", NULL };
	const char *subject = NULL, *destination = NULL;
	_cleanup_json_ json_t *o = NULL;
	struct gate_json_why w = { 0 };
	uint64_t port = 0;
	int r;

	r = gate_jr_object(text, len, keys, &o, err);
	if (!r)
		r = gate_jr_string(o, "subject", &subject, err);
	if (!r)
		r = gate_jr_string(o, "destination", &destination, err);
	if (!r)
		r = gate_jr_uint(o, "port", 1, 65535, &port, err);
	if (r)
		return r;
	if (!subject || gate_parse_subject(subject, &w.subject))
		return usage(err, "\"subject\" is missing or is no subject");
	if (destination &&
	    (gate_parse_prefix(destination, &w.destination) || w.destination.len != 128))
		return usage(err, "\"destination\" is no address: \"%.60s\"", destination);
	w.has_destination = destination;
	w.port = (uint16_t)port;
	*out = w;
	return 0;
}

int gate_json_read_undo(const char *text, size_t len, int64_t *id, char *reason,
			struct gate_error *err)
{
	static const char *const keys[] = { "id", "reason", NULL };
	_cleanup_json_ json_t *o = NULL;
	uint64_t n = 0;
	int r;

	reason[0] = '\0';
	r = gate_jr_object(text, len, keys, &o, err);
	if (!r)
		r = gate_jr_uint(o, "id", 1, INT64_MAX, &n, err);
	if (!r)
		r = gate_jr_reason(o, reason, err);
	if (!r)
		*id = (int64_t)n;
	return r;
}
