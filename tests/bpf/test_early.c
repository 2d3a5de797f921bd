// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Early drop at XDP: what it drops from_vm would have dropped, and counted the
 * same; what it passes it has not touched.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>

#include "../../bpf/frame.h"
#include "../lib/testgate.h"
#include "../lib/tricks.h"
#include "early.skel.h"
#include "gate25.skel.h"

static struct testgate gate;
static struct early_bpf *early;

static void share_maps(void)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, early->obj)
	{
		struct bpf_map *first =
			bpf_object__find_map_by_name(gate.skel->obj, bpf_map__name(map));

		if (first && !strstr(bpf_map__name(map), "rodata") &&
		    bpf_map__reuse_fd(map, bpf_map__fd(first)))
			abort();
	}
}

static int open_gate(void **state)
{
	testgate_open(&gate, 1);
	early = early_bpf__open();
	if (!early)
		return -1;
	memcpy((void *)&early->rodata->params, (void *)&gate.skel->rodata->params,
	       sizeof(struct gate_params));
	share_maps();
	return early_bpf__load(early);
}

static int close_gate(void **state)
{
	early_bpf__destroy(early);
	testgate_close(&gate);
	return 0;
}

static int run(const char *words, uint16_t dport)
{
	struct frame_spec spec = { .dport = dport };
	uint8_t frame[FRAME_MAX], out[FRAME_MAX];
	int len = frame_build(words, &spec, frame);
	struct xdp_md ctx = { .data_end = len, .ingress_ifindex = TEST_IFINDEX };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len, .data_out = out,
		    .data_size_out = sizeof(out), .ctx_in = &ctx, .ctx_size_in = sizeof(ctx),
		    .repeat = 1);

	assert_int_equal(
		bpf_prog_test_run_opts(bpf_program__fd(early->progs.g25_early_drop), &opts), 0);
	return (int)opts.retval;
}

static void begin(enum gate_state s, enum gate_refuse refuse, uint64_t quarantine, uint8_t flags)
{
	struct gate_node n = testgate_limit(1, 5);

	testgate_reset(&gate);
	n.state = s;
	n.refuse = refuse;
	n.quarantine_until = quarantine;
	n.flags = flags;
	testgate_policy(&gate, gate_base_vm(TEST_SLOT), 0, &n);
}

/* Each row, each state: XDP drops what TC drops from a closed VM, with equal counters. */
static void test_drops_what_from_vm_drops(void **state)
{
	struct gate_counters at_xdp, at_tc;

	for (size_t i = 0; i < NTRICKS; i++) {
		struct frame_spec spec = { .dport = tricks[i].dport };
		uint8_t frame[FRAME_MAX];
		int len = frame_build(tricks[i].words, &spec, frame);

		if (len < ETH_LEN + IPV4_LEN)
			continue;
		for (int quarantine = 0; quarantine < 2; quarantine++) {
			int want = tricks[i].kind == FRAME_OTHER ? XDP_PASS : XDP_DROP;

			begin(GATE_BLOCK, GATE_REFUSE_DROP, quarantine ? GATE_FOREVER : 0, 0);
			if (run(tricks[i].words, tricks[i].dport) != want)
				fail_msg("%s: not %d at XDP", tricks[i].words, want);
			at_xdp = gate.m.counters[TEST_SLOT];
			begin(GATE_BLOCK, GATE_REFUSE_DROP, quarantine ? GATE_FOREVER : 0, 0);
			testgate_run(&gate, TEST_FROM_VM, frame, len, 0);
			at_tc = gate.m.counters[TEST_SLOT];
			assert_memory_equal(&at_xdp, &at_tc, sizeof(at_tc));
		}
	}
}

static void test_leaves_the_rest_untouched(void **state)
{
	static const struct gate_counters none;
	static const struct {
		enum gate_state state;
		enum gate_refuse refuse;
		uint8_t flags;
	} rows[] = {
		{ GATE_ALLOW, GATE_REFUSE_DROP, 0 },
		{ GATE_LIMIT, GATE_REFUSE_DROP, 0 },
		{ GATE_BLOCK, GATE_REFUSE_RESET, 0 }, /* from_vm answers */
		{ GATE_BLOCK, GATE_REFUSE_DROP, GATE_NODE_OBSERVE },
		{ GATE_BLOCK, GATE_REFUSE_DROP, GATE_NODE_DRAIN },
	};

	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		for (size_t i = 0; i < NTRICKS; i++) {
			/* Unreadable frames are never answered: they die early all the same. */
			if (rows[r].refuse == GATE_REFUSE_RESET && tricks[i].kind != FRAME_GATED)
				continue;
			begin(rows[r].state, rows[r].refuse, 0, rows[r].flags);
			assert_int_equal(run(tricks[i].words, tricks[i].dport), XDP_PASS);
			assert_memory_equal(&gate.m.counters[TEST_SLOT], &none, sizeof(none));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drops_what_from_vm_drops),
		cmocka_unit_test(test_leaves_the_rest_untouched),
	};

	return cmocka_run_group_tests(tests, open_gate, close_gate);
}
