// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Lists: VMs, streamed a few at a time so that others are answered between, and policies. */
#include "control_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCK_SIZE (64 * 1024)
/* Slots looked at in one turn, though none of them may match. */
#define SLOTS_PER_TURN 512

struct vm_list {
	struct gate_show show;
	struct gate_buf ready;
	size_t sent;
	uint32_t slot;
	bool any, ended;
	/* filters */
	char tenant[GATE_NAME_LEN], state[16];
	uint64_t expiring_s; /* 0 = any */
	uint64_t brief;
};

/* Does anything that is in force for the VM, on whichever port, end within the time? */
static bool is_expiring(const struct vm_list *l, const struct gate_subject *s)
{
	const struct gate_conf *conf = l->show.maps->conf;
	int64_t until = time(NULL) + (int64_t)l->expiring_s;
	struct gate_effective eff;

	for (unsigned i = 0; i <= conf->nports; i++) {
		if (gate_engine_effective(l->show.engine, s, i ? conf->ports[i - 1] : 0, &eff,
					  NULL))
			return false;
		if (eff.expires && eff.expires <= until)
			return true;
	}
	return false;
}

static bool matches(const struct vm_list *l, const struct gate_vm_spec *vm)
{
	struct gate_effective eff;
	struct gate_subject s;
	const char *state;

	if (l->tenant[0] && strcmp(l->tenant, vm->tenant) != 0)
		return false;
	if (!l->state[0] && !l->expiring_s)
		return true;
	gate_engine_slot_subject(l->show.engine, l->slot, &s);
	if (gate_engine_effective(l->show.engine, &s, 0, &eff, NULL))
		return false;
	state = eff.quarantined ? "quarantine" : gate_state_name(eff.state);
	if (l->state[0] && strcmp(l->state, state) != 0)
		return false;
	return !l->expiring_s || is_expiring(l, &s);
}

/* One more VM into `ready`, or the end of the list. */
static void step(struct vm_list *l)
{
	const struct gate_vm_spec *vm;

	if (l->slot >= l->show.maps->conf->max_vms) {
		gate_buf_puts(&l->ready, "]}\n");
		l->ended = true;
		return;
	}
	vm = gate_engine_vm(l->show.engine, l->slot);
	if (vm && matches(l, vm)) {
		/* written before the brace: the writer of members puts its own commas */
		gate_buf_puts(&l->ready, l->any ? ",{" : "{");
		(l->brief ? gate_show_brief : gate_show_vm)(&l->show, &l->ready, l->slot);
		gate_buf_putc(&l->ready, '}');
		l->any = true;
	}
	l->slot++;
}

static ssize_t read_list(void *arg, uint64_t pos, char *to, size_t max)
{
	struct vm_list *l = arg;
	size_t n = 0, part;
	unsigned turn;

	for (turn = 0; n < max && turn < SLOTS_PER_TURN; turn++) {
		if (l->sent == l->ready.len) {
			if (l->ended)
				break;
			l->sent = l->ready.len = 0;
			step(l);
		}
		if (l->ready.failed)
			return MHD_CONTENT_READER_END_WITH_ERROR;
		part = l->ready.len - l->sent;
		if (part > max - n)
			part = max - n;
		if (part)
			memcpy(to + n, l->ready.data + l->sent, part);
		l->sent += part;
		n += part;
	}
	if (!n && l->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	return (ssize_t)n;
}

static void free_list(void *arg)
{
	struct vm_list *l = arg;

	gate_show_end(&l->show);
	gate_buf_free(&l->ready);
	free(l);
}

static int read_filters(struct request *r, struct vm_list *l, struct gate_error *err)
{
	const char *tenant = gate_control_query(r, "tenant");
	const char *state = gate_control_query(r, "state");
	enum gate_state known;

	if (tenant && !gate_name_valid(tenant))
		return gate_error_set(err, GATE_ERR_USAGE, "\"%.80s\" is no tenant's name", tenant);
	if (state && strcmp(state, "quarantine") != 0 &&
	    (gate_parse_state(state, &known) || known == GATE_INHERIT))
		return gate_error_set(
			err, GATE_ERR_USAGE,
			"the query's state must be allow, limit, block or quarantine");
	strcpy(l->tenant, tenant ? tenant : "");
	strcpy(l->state, state ? state : "");
	if (gate_control_query_uint(r, "brief", 1, &l->brief, err))
		return -EINVAL;
	return gate_control_query_uint(r, "expiring", INT32_MAX, &l->expiring_s, err);
}

int gate_control_vms(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	struct vm_list *l = calloc(1, sizeof(*l));
	struct MHD_Response *response;
	int ret;

	if (!l)
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	ret = read_filters(r, l, err);
	if (ret) {
		free(l);
		return ret;
	}
	gate_show_begin(&l->show, r->ctl->setup.engine, r->ctl->setup.maps);
	l->slot = 1; /* slot 0 stands for those that are no VM's */
	gate_buf_puts(&l->ready, "{\"version\":1,\"vms\":[");
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_SIZE, read_list, l,
						     free_list);
	if (!response)
		free_list(l);
	gate_control_send(r, MHD_HTTP_OK, "application/json", response);
	return 0;
}

/* ---- policies ---- */

struct policies {
	struct gate_show show;
	struct gate_buf *out;
};

static int write_policy(void *arg, const struct gate_set_item *it)
{
	struct policies *p = arg;
	size_t before = p->out->len;
	struct gate_error err;

	if (it->is_vm)
		return 0;
	gate_json_open(p->out, NULL, '{');
	if (gate_show_subject(&p->show, p->out, &it->subject, &err))
		p->out->len = before; /* the VM is gone, its policy waits for it */
	else
		gate_json_close(p->out, '}');
	return p->out->failed ? -ENOMEM : 0;
}

int gate_control_policies(struct request *r, struct gate_buf *out, struct gate_error *err)
{
	struct policies p = { .out = out };
	int ret;

	gate_show_begin(&p.show, r->ctl->setup.engine, r->ctl->setup.maps);
	gate_json_open(out, NULL, '{');
	gate_json_version(out);
	gate_json_open(out, "policies", '[');
	ret = gate_engine_export(r->ctl->setup.engine, write_policy, &p);
	gate_json_close(out, ']');
	gate_json_close(out, '}');
	gate_show_end(&p.show);
	return ret ? gate_error_set(err, GATE_ERR_FAILED, "cannot list the policies") : 0;
}
