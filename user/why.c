// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The question, the run of the program, the verdict. */
#include "why_priv.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>

static const char default_destination[] = "192.0.2.1"; /* RFC 5737 */

#define usage(err, ...) gate_error_set(err, GATE_ERR_USAGE, __VA_ARGS__)

/* ---- the question ---- */

/* A subject without a slot of its own is judged as a source that no VM answers for. */
static int find_slot(struct why_case *w, const struct gate_subject *s, struct gate_error *err)
{
	char text[GATE_SUBJECT_LEN + 4];
	int slot = gate_engine_slot(w->engine, s);

	if (slot < 0 && (s->kind == GATE_S_VM || s->kind == GATE_S_PORT))
		return gate_error_set(err, GATE_ERR_NO_SUBJECT,
				      "%s has no place in the maps, so nothing can be tried for it",
				      gate_format_subject(s, text, sizeof(text)));
	if (s->kind == GATE_S_TENANT)
		return usage(err, "%s is no sender: name one of its VMs",
			     gate_format_subject(s, text, sizeof(text)));
	w->slot = slot < 0 ? GATE_SLOT_UNKNOWN : (uint32_t)slot;
	w->vm = gate_engine_vm(w->engine, w->slot);
	gate_engine_slot_subject(w->engine, w->slot, &w->who);
	return 0;
}

static int find_destination(struct why_case *w, const struct gate_json_why *q,
			    struct gate_error *err)
{
	const struct gate_conf *conf = w->m->conf;

	if (q->has_destination)
		w->dst = q->destination;
	else if (q->subject.kind == GATE_S_IP && !q->subject.ip.v4)
		gate_parse_prefix("2001:db8::1", &w->dst);
	else
		gate_parse_prefix(default_destination, &w->dst);
	if (q->subject.kind == GATE_S_IP && q->subject.ip.v4 != w->dst.v4)
		return usage(err, "source and destination must both be IPv4 or both IPv6");
	w->dport = q->port ? q->port : conf->ports[0];
	w->port = -1;
	for (unsigned i = 0; i < conf->nports; i++)
		if (conf->ports[i] == w->dport)
			w->port = (int)i;
	return 0;
}

/* ---- the run ---- */

static int run(struct why_case *w, const struct gate_why *y, struct gate_error *err)
{
	uint64_t before = w->m->global->trace.runs;
	uint8_t frame[WHY_FRAME_MAX], out[WHY_FRAME_MAX];
	struct __sk_buff ctx = { .mark = y->dry_run_mark, .priority = w->slot };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_out = out,
		    .data_size_out = sizeof(out), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx),
		    .repeat = 1);
	int r;

	opts.data_size_in = why_make_frame(w, frame);
	r = bpf_prog_test_run_opts(y->from_vm, &opts);
	if (r)
		return gate_error_set(err, GATE_ERR_FAILED,
				      "the kernel does not run the program on a made packet: %s",
				      strerror(-r));
	w->t = w->m->global->trace;
	w->judged = w->t.runs != before;
	if (w->judged && w->t.slot != w->slot)
		return gate_error_set(err, GATE_ERR_FAILED,
				      "the program judged another VM than was asked for");
	return 0;
}

/* ---- the answer ---- */

static const char *verdict_of(const struct why_case *w)
{
	return gate_verdict_name(w->judged ? gate_reason_verdict((enum gate_reason)w->t.reason)
					   : GATE_V_PASS);
}

static bool refuses(const struct why_case *w)
{
	return w->judged && gate_reason_verdict((enum gate_reason)w->t.reason) != GATE_V_PASS;
}

static const char *refusal_text(uint8_t refuse)
{
	if (refuse == GATE_REFUSE_RESET)
		return "by a TCP reset";
	return refuse == GATE_REFUSE_ICMP ? "by ICMP" : "silently";
}

static void verdict_text(const struct why_case *w, uint64_t next_ms, char *buf, size_t size)
{
	const char *reason = gate_reason_name((enum gate_reason)w->t.reason);
	char wait[64], text[40];

	if (!w->judged) {
		snprintf(buf, size, "passes: port %u is not gated", w->dport);
	} else if (!refuses(w)) {
		snprintf(buf, size, "passes (%s)", reason);
	} else if (!w->t.enforce) {
		snprintf(buf, size,
			 "passes, though %s speaks against it: refusals are only counted", reason);
	} else {
		wait[0] = '\0';
		if (next_ms && next_ms != UINT64_MAX)
			snprintf(wait, sizeof(wait), "; the next one passes in %s",
				 next_ms < 1000
					 ? "less than 1s"
					 : gate_format_duration((int64_t)(next_ms + 999) / 1000,
								text, sizeof(text)));
		snprintf(buf, size, "refused (%s), %s%s", reason, refusal_text(w->t.refuse), wait);
	}
}

/* When a flow would pass: null where no wait helps, or nobody can tell how long. */
static void write_next(const struct why_case *w, struct gate_buf *b, uint64_t next_ms)
{
	bool waits = refuses(w) && w->t.enforce &&
		     gate_reason_verdict((enum gate_reason)w->t.reason) == GATE_V_LIMITED;

	if (!refuses(w) || !w->t.enforce)
		gate_json_uint(b, "next_ms", 0);
	else if (waits && next_ms != UINT64_MAX)
		gate_json_uint(b, "next_ms", next_ms);
	else
		gate_json_null(b, "next_ms");
}

static void write_answer(const struct why_case *w, struct gate_buf *b)
{
	char subject[GATE_SUBJECT_LEN + 4], dest[64], text[200];
	_cleanup_buf_ struct gate_buf steps = { 0 };
	uint64_t next_ms = 0;

	why_write_steps(w, &steps, &next_ms);
	if (!refuses(w) || gate_reason_verdict((enum gate_reason)w->t.reason) != GATE_V_LIMITED)
		next_ms = 0;
	verdict_text(w, next_ms, text, sizeof(text));
	gate_json_open(b, NULL, '{');
	gate_json_version(b);
	gate_json_string(b, "subject", gate_format_subject(&w->who, subject, sizeof(subject)));
	gate_json_string(b, "destination", gate_format_prefix(&w->dst, dest, sizeof(dest)));
	gate_json_uint(b, "port", w->dport);
	gate_json_string(b, "verdict", verdict_of(w));
	gate_json_string(
		b, "reason",
		gate_reason_name(w->judged ? (enum gate_reason)w->t.reason : GATE_R_NOT_GATED));
	gate_json_bool(b, "passes", !refuses(w) || !w->t.enforce);
	gate_json_bool(b, "enforced", w->judged && w->t.enforce);
	gate_json_bool(b, "observed", w->judged && w->t.observed);
	gate_json_string(b, "refuse",
			 refuses(w) ? gate_refuse_name((enum gate_refuse)w->t.refuse) : NULL);
	write_next(w, b, refuses(w) && next_ms != UINT64_MAX ? next_ms : UINT64_MAX);
	gate_json_string(b, "text", text);
	gate_json_raw(b, "steps", steps.data ? steps.data : "[]");
	gate_json_close(b, '}');
	b->failed |= steps.failed;
}

int gate_why_answer(void *arg, const struct gate_json_why *q, struct gate_buf *out,
		    struct gate_error *err)
{
	const struct gate_why *y = arg;
	struct why_case w = { .engine = y->engine, .m = y->maps };
	int r = find_slot(&w, &q->subject, err);

	if (!r)
		r = find_destination(&w, q, err);
	if (r)
		return r;
	why_choose_source(&w, &q->subject);
	r = run(&w, y, err);
	if (r)
		return r;
	write_answer(&w, out);
	return out->failed ? gate_error_set(err, GATE_ERR_FAILED, "out of memory") : 0;
}
