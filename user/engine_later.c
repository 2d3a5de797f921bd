// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Changes that are in force while there is no store: which subjects they were about,
 * and what the audit trail is to have of them once it is back.
 */
#include "engine_priv.h"

#include <stdio.h>

/* Of the rows there may be too many to keep, of the subjects not. */
void gate_engine_subject_later(struct gate_engine *e, const struct gate_subject *s)
{
	unsigned char key[GATE_SUBJECT_KEY];
	size_t len = gate_subject_key(s, key);
	struct gate_subject *kept;

	e->unsaved = true;
	if (gate_table_get(&e->unsaved_subjects, key, len))
		return;
	kept = gate_alloc(1, sizeof(*kept));
	*kept = *s;
	gate_table_put(&e->unsaved_subjects, key, len, kept);
}

/* In memory they end some time; that they do is said now, and in the trail later. */
static void lose(struct gate_engine *e)
{
	if (e->nlost_audit++ == 0)
		gate_engine_problem_set(e, "audit", "",
					"more than %d changes wait for the store: those that come "
					"now will be missing in the audit trail",
					UNSAVED_AUDIT_MAX);
}

void gate_engine_own_now_or_later(struct gate_engine *e, const struct gate_own *own)
{
	int r = gate_engine_save_begin(e, NULL);

	if (!r)
		r = gate_engine_save_end(e, gate_engine_save_own(e, own, NULL), NULL);
	if (r)
		gate_engine_subject_later(e, &own->subject);
}

void gate_engine_save_later(struct gate_engine *e, const struct gate_audit_row *row)
{
	struct gate_audit_row *kept;
	struct gate_subject s;

	e->unsaved = true;
	if (!gate_parse_subject(row->subject, &s))
		gate_engine_subject_later(e, &s);
	if (e->nunsaved_audit >= UNSAVED_AUDIT_MAX) {
		lose(e);
		return;
	}
	e->unsaved_audit =
		gate_realloc(e->unsaved_audit, e->nunsaved_audit + 1, sizeof(*e->unsaved_audit));
	kept = &e->unsaved_audit[e->nunsaved_audit++];
	*kept = *row;
	kept->actor = gate_strdup(row->actor);
	kept->subject = gate_strdup(row->subject);
	kept->action = gate_strdup(row->action);
	kept->detail = gate_strdup(row->detail);
	kept->reason = gate_strdup(row->reason);
}

/* It is about no subject: an undo of what is in the trail is none the worse for it. */
static int save_lost(struct gate_engine *e, struct gate_error *err)
{
	struct audit_note note;
	char text[80];

	snprintf(text, sizeof(text), "%llu changes before this one are not in the trail",
		 (unsigned long long)e->nlost_audit);
	gate_engine_audit_plain(&note, &gate_engine_self, NULL, "lost", text);
	log_warning("%s", text);
	return gate_engine_save_audit(e, &note, err);
}

int gate_engine_later_save(struct gate_engine *e, struct gate_error *err)
{
	int r = 0;

	for (unsigned i = 0; i < e->nunsaved_audit && !r; i++)
		r = gate_store_add_audit(e->store, &e->unsaved_audit[i], err);
	return r || !e->nlost_audit ? r : save_lost(e, err);
}

void gate_engine_later_forget(struct gate_engine *e)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&e->unsaved_subjects, &it)))
		free(at->value);
	gate_table_clear(&e->unsaved_subjects);
	for (unsigned i = 0; i < e->nunsaved_audit; i++) {
		struct gate_audit_row *row = &e->unsaved_audit[i];

		free((char *)row->actor);
		free((char *)row->subject);
		free((char *)row->action);
		free((char *)row->detail);
		free((char *)row->reason);
	}
	free(e->unsaved_audit);
	e->unsaved_audit = NULL;
	e->nunsaved_audit = 0;
	e->nlost_audit = 0;
	gate_engine_problem_clear(e, "audit", "");
	e->unsaved = false;
}
