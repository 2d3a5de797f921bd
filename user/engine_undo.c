// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Taking back a change: the audit trail keeps with each change how things stood
 * before it (engine_audit.c), and that is put again, by the same ways as any other
 * change. Refused when the subject has been changed since: what came later was
 * decided by somebody who saw what is to be taken back.
 */
#include "engine_priv.h"
#include "json.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

/* The row that is to be taken back, copied out of the store. */
struct row {
	int64_t id;
	char actor[64], subject[GATE_SUBJECT_LEN + 4], action[32];
	json_t *before;
};

/* How things stood before, as records. */
struct standing {
	bool with_vm, had_vm;
	struct gate_set_item vm;
	struct gate_set_item *own;
	unsigned nown;
};

static int copy_row(void *arg, const struct gate_audit_row *r)
{
	struct row *row = arg;
	json_t *detail = json_loads(r->detail, 0, NULL);

	row->id = r->id;
	snprintf(row->actor, sizeof(row->actor), "%s", r->actor);
	snprintf(row->subject, sizeof(row->subject), "%s", r->subject);
	snprintf(row->action, sizeof(row->action), "%s", r->action);
	json_decref(row->before);
	row->before = json_incref(json_object_get(detail, "before"));
	json_decref(detail);
	return 1;
}

/* ---- which ---- */

static int find_row(struct gate_engine *e, const struct gate_actor *who, int64_t id,
		    struct row *row, struct gate_error *err)
{
	int r = id ? gate_store_find_audit(e->store, id, copy_row, row, err)
		   : gate_store_last_audit(e->store, who->uid, who->name, copy_row, row, err);

	if (r)
		return r;
	if (!row->id && id)
		return gate_error_set(err, GATE_ERR_NO_SUBJECT, "there is no change %lld",
				      (long long)id);
	if (!row->id)
		return gate_error_set(err, GATE_ERR_NO_SUBJECT, "%s has changed nothing yet",
				      who->name);
	if (!id && !strcmp(row->action, "undo"))
		return gate_error_set(err, GATE_ERR_CONFLICT,
				      "your last change, %lld, was an undo: name the number of "
				      "the change that is to be taken back",
				      (long long)row->id);
	if (!json_is_object(row->before))
		return gate_error_set(err, GATE_ERR_USAGE,
				      "change %lld (%s %s) is none that can be taken back",
				      (long long)row->id, row->action, row->subject);
	return 0;
}

static int check_untouched(struct gate_engine *e, const struct row *row, struct gate_error *err)
{
	struct row last = { 0 };
	int r = gate_store_read_audit(e->store, row->subject, 1, copy_row, &last, err);

	json_decref(last.before);
	if (r || last.id == row->id)
		return r;
	return gate_error_set(
		err, GATE_ERR_CONFLICT, "%s was changed since change %lld: %s by %s (change %lld)",
		row->subject, (long long)row->id, last.action, last.actor, (long long)last.id);
}

/* ---- what ---- */

static void clear(struct standing *s)
{
	for (unsigned i = 0; i < s->nown; i++)
		gate_set_item_clear(&s->own[i]);
	free(s->own);
	if (s->had_vm)
		gate_set_item_clear(&s->vm);
}

static int read_item(struct gate_engine *e, const json_t *o, bool is_vm, struct gate_set_item *out,
		     struct gate_error *err)
{
	char *text = json_dumps(o, JSON_COMPACT);
	struct gate_set_item it;
	int r;

	if (!text)
		return gate_error_set(err, GATE_ERR_FAILED, "the change's record is damaged");
	r = gate_json_read_item(text, strlen(text), e->m->conf->ports, e->m->conf->nports, &it,
				err);
	free(text);
	if (r)
		return r;
	if (it.is_vm != is_vm) {
		gate_set_item_clear(&it);
		return gate_error_set(err, GATE_ERR_FAILED, "the change's record is damaged");
	}
	*out = it;
	return 0;
}

static int read_standing(struct gate_engine *e, const json_t *before, struct standing *s,
			 struct gate_error *err)
{
	const json_t *vm = json_object_get(before, "vm"), *list = json_object_get(before, "own");
	const json_t *o;
	size_t i;
	int r = 0;

	s->with_vm = vm;
	if (json_is_object(vm)) {
		r = read_item(e, vm, true, &s->vm, err);
		s->had_vm = !r;
	}
	s->own = gate_alloc(json_array_size(list), sizeof(*s->own));
	json_array_foreach (list, i, o) {
		if (r)
			break;
		r = read_item(e, o, false, &s->own[s->nown], err);
		s->nown += r ? 0 : 1;
	}
	return r;
}

/* ---- doing it ---- */

/* All in one transaction: half of it could not be taken back any more. */
static int put_back(struct gate_engine *e, const struct gate_actor *who, const struct row *row,
		    const struct standing *s, const char *reason, struct gate_error *err)
{
	struct gate_own *own = gate_alloc(s->nown, sizeof(*own));
	const struct audit_undo undo = {
		.who = who, .id = row->id, .reason = reason, .own = own, .nown = s->nown
	};
	int r;

	for (unsigned i = 0; i < s->nown; i++) {
		gate_own_unpack(s->own[i].own, &s->own[i].subject, &own[i]);
		gate_own_drop_expired(&own[i], engine_now_s());
	}
	if (s->had_vm)
		r = gate_engine_vm_put_as(e, &s->vm.vm, &undo, err);
	else if (s->with_vm)
		r = gate_engine_vm_del_as(e, strchr(row->subject, ':') + 1, &undo, err);
	else
		r = s->nown ? gate_engine_put_own_as(e, own, &undo, err) : 0;
	free(own);
	return r;
}

int gate_engine_undo(struct gate_engine *e, const struct gate_actor *who, int64_t id,
		     const char *reason, struct gate_undone *out, struct gate_error *err)
{
	struct standing s = { 0 };
	struct row row = { 0 };
	int r;

	if (!e->store)
		return gate_error_set(err, GATE_ERR_FAILED,
				      "nothing can be taken back: the store is not usable");
	r = find_row(e, who, id, &row, err);
	if (!r)
		r = check_untouched(e, &row, err);
	if (!r)
		r = read_standing(e, row.before, &s, err);
	if (!r)
		r = put_back(e, who, &row, &s, reason, err);
	if (!r) {
		out->id = row.id;
		snprintf(out->action, sizeof(out->action), "%s", row.action);
		snprintf(out->actor, sizeof(out->actor), "%s", row.actor);
		gate_parse_subject(row.subject, &out->subject);
	}
	json_decref(row.before);
	clear(&s);
	return r;
}
