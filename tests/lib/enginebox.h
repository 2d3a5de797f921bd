/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The engine upon a fake gate, driven by words, for table tests. */
#ifndef GATE25_TESTS_ENGINEBOX_H
#define GATE25_TESTS_ENGINEBOX_H

#include "engine.h"
#include "fakemaps.h"

#define BOX_NOTICES 64

struct enginebox {
	struct fake_gate g;
	struct gate_engine *e;
	struct gate_error err;			 /* of the last call */
	struct gate_notice notices[BOX_NOTICES]; /* the latest */
	unsigned nnotices;
	char text[2048]; /* of notes, diffs, problems: one a line */
};

/* ports ends with a 0, NULL: 25 alone. max_vms 0: 16. */
void box_open(struct enginebox *b, uint32_t max_vms, const uint16_t *ports);
void box_close(struct enginebox *b);
/* A new daemon on the same maps, or (reboot) on new ones. */
void box_restart(struct enginebox *b, bool reboot);

/*
 * One change: "allow", "limit 5/s 200/h burst=10 concurrent=3 destinations=50/h",
 * "block drain refuse=icmp", "inherit", "drop", "quarantine", "release",
 * "observe=on", "budget 500/h", "exempt +ADDR -ADDR"; with on=PORT, for=SECONDS,
 * reason=WORD. Returns the gate_error_code.
 */
int box_change(struct enginebox *b, int64_t now, const char *subject, const char *words);
/* "port=tap1 mac=… ip=… pair=MAC,IP tenant=acme binding=strict" */
int box_vm(struct enginebox *b, const char *name, const char *words);
int box_del(struct enginebox *b, const char *name);

struct gate_subject box_subject(const char *text);
/* "limit default", "quarantine tenant:acme", "?" for no such subject. */
const char *box_effective(struct enginebox *b, const char *subject, uint16_t on);
/* Slot of a subject, -1 = none. */
int box_slot(struct enginebox *b, const char *subject);
const char *box_notes(struct enginebox *b, const char *subject);
const char *box_problems(struct enginebox *b);
/* The newest audit rows, newest first: "actor action subject reason|…" */
const char *box_audit(struct enginebox *b, const char *subject, unsigned limit);
/* The latest notice of a kind, NULL = none. */
const struct gate_notice *box_notice(const struct enginebox *b, enum gate_notice_kind kind);

#endif
