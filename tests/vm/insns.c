// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * insns: loads the programs as they are for one and for three gated ports and prints
 * what the verifier had to look at: "program/ports instructions" in lines. Needs
 * nothing but libbpf, so that it says why where a kernel refuses.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <gate25/abi.h>

#include "early.skel.h"
#include "gate25.skel.h"

static int say(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, fmt, ap) : 0;
}

static void set_params(struct gate_params *p, unsigned nports)
{
	static const __u16 port[GATE_MAX_PORTS] = { 25, 465, 587, 25 };

	p->nports = nports;
	p->scopes = gate_scopes(nports);
	p->max_vms = p->max_tenants = p->flow_sets = p->dest_sets = 64;
	p->stamp = 0x25;
	p->stamp_mask = 0xff;
	for (unsigned i = 0; i < GATE_MAX_PORTS; i++)
		p->ports[i] = i < nports ? port[i] : port[0];
}

static int print_programs(struct bpf_object *o, unsigned nports)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, o)
	{
		struct bpf_prog_info info = { 0 };
		__u32 len = sizeof(info);

		if (bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len))
			return 1;
		printf("%s/%u %u\n", bpf_program__name(prog), nports, info.verified_insns);
	}
	return 0;
}

int main(void)
{
	static const unsigned ports[] = { 1, 3 };
	int bad = 0;

	libbpf_set_print(say);
	for (int i = 0; i < 2; i++) {
		struct gate25_bpf *gate = gate25_bpf__open();
		struct early_bpf *early = early_bpf__open();

		if (!gate || !early)
			return 1;
		set_params((struct gate_params *)&gate->rodata->params, ports[i]);
		set_params((struct gate_params *)&early->rodata->params, ports[i]);
		bad |= gate25_bpf__load(gate) || print_programs(gate->obj, ports[i]);
		bad |= early_bpf__load(early) || print_programs(early->obj, ports[i]);
		gate25_bpf__destroy(gate);
		early_bpf__destroy(early);
	}
	return bad;
}
