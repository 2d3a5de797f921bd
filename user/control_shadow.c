// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* /v1/shadow: the candidate policy. It comes in by PUT /v1/policy-set?shadow=1. */
#include "control_priv.h"

int gate_control_shadow_get(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	gate_candidate_show(r->ctl->setup.candidate, out);
	return 0;
}

static void write_change(void *arg, const char *line)
{
	gate_json_string(arg, NULL, line);
}

/* POST: makes it live. */
int gate_control_shadow_promote(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	int ret;

	gate_json_open(out, NULL, '{');
	gate_json_version(out);
	gate_json_bool(out, "applied", true);
	gate_json_open(out, "changes", '[');
	ret = gate_candidate_promote(r->ctl->setup.candidate, &r->actor, write_change, out, err);
	gate_json_close(out, ']');
	gate_json_close(out, '}');
	return ret;
}

int gate_control_shadow_drop(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	int ret = gate_candidate_drop(r->ctl->setup.candidate, &r->actor, err);

	if (!ret)
		gate_candidate_show(r->ctl->setup.candidate, out);
	return ret;
}
