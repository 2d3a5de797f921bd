/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Why would a VM's connection pass or be refused? The loaded from_vm itself is
 * asked: a made SYN, marked as a dry run, is run through it and spends nothing.
 * What it found is told step by step (docs/control-api.md, POST /v1/why).
 */
#ifndef GATE25_WHY_H
#define GATE25_WHY_H

#include "json.h"

struct gate_why {
	struct gate_engine *engine;
	const struct gate_maps *maps;
	int from_vm;	       /* program */
	uint32_t dry_run_mark; /* as in struct gate_params */
};

/**
 * gate_why_answer() - run the made packet and write the answer's object
 * @arg: the struct gate_why; a gate_why_fn, see control.h
 * @q: the question, its subject canonical.
 *
 * Return: 0 or -errno with err filled: a subject that stands for no VM, a
 * destination of no use, or a kernel that does not run the program.
 */
int gate_why_answer(void *arg, const struct gate_json_why *q, struct gate_buf *out,
		    struct gate_error *err);

#endif
