// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * How many instructions the kernel's verifier walked to prove each program: what
 * grows without bound when the programs do, whatever the machine is doing.
 *
 * insns --config FILE
 */
#include "lib/bench.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <stdio.h>

static unsigned verified(int fd)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		bench_die("cannot ask for a program: %m");
	if (!info.verified_insns)
		bench_die("this kernel does not tell verified_insns");
	return info.verified_insns;
}

int main(int argc, char **argv)
{
	struct bench_gate g;

	bench_gate_open(&g, bench_option_text(argc, argv, "--config", "gate25.conf"), 1, 1);
	printf("{\"from_vm\":%u,\"to_vm\":%u,\"uplink_out\":%u}\n", verified(g.bpf->from_vm),
	       verified(g.bpf->to_vm), verified(g.bpf->uplink_out));
	bench_gate_close(&g);
	return 0;
}
