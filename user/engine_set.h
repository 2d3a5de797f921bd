/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* A policy set on its way: checks (engine_set_check.c) and the rest (engine_set.c). */
#ifndef GATE25_ENGINE_SET_H
#define GATE25_ENGINE_SET_H

#include "engine_priv.h"

struct set_change {
	char op; /* '+', '~', '-' */
	struct gate_subject subject;
	const struct gate_set_item *item; /* NULL: it goes */
	const struct rec *rec;		  /* what the subject has until then, NULL = nothing */
	struct vm *vm;			  /* that is registered, NULL = none */
	struct gate_vm_spec was;	  /* its registration until then */
};

struct set_plan {
	struct gate_engine *e;
	const struct gate_actor *who;
	const struct gate_set_item *items;
	size_t n;
	int64_t now;
	size_t budgets; /* how many subjects of the set have one */
	/* the set by name, for checks against itself */
	struct gate_table vms, owns, macs, ports; /* -> struct gate_set_item */
	/* what differs: VMs first, then subjects */
	struct set_change *changes;
	size_t nchanges, nvm_changes;
};

/* Fills the tables; 0 or an error with one sentence about the first thing that is wrong. */
int gate_engine_set_check(struct set_plan *p, struct gate_error *err);
void gate_engine_set_clear(struct set_plan *p);
/* Is there anything in it that has not expired? */
bool gate_engine_set_lives(const struct set_plan *p, const struct gate_set_item *item);
/* The same registration, whatever the file says about `registered`. */
bool gate_engine_set_vm_equal(const struct gate_vm_spec *vm, const struct gate_vm_spec *item);

#endif
