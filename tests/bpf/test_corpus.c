// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What the fuzzer found worth keeping, through the loaded programs: they read each
 * frame as the readers on the host do. From a blocked VM a reason stands for each
 * kind of frame, and what is not ours is counted by none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>

#include "../../bpf/read.h"
#include "../fuzz/input.h"
#include "../lib/testgate.h"
#include "parse.h"

#define CORPUS "tests/fuzz/corpus/readers"
#define FEWEST 100 /* files, else the corpus was not found whole */

const volatile struct gate_params params = { .nports = 3,
					     .ports = { 25, 465, 587, 25 },
					     .scopes = 4 };

static struct testgate gate;

static const enum gate_reason reason_of[] = {
	[FRAME_OTHER] = GATE_R_NOT_GATED,      [FRAME_GATED] = GATE_R_BLOCKED,
	[FRAME_LATER] = GATE_R_FRAGMENT_LATER, [FRAME_TINY] = GATE_R_FRAGMENT_TINY,
	[FRAME_CHAIN] = GATE_R_FRAGMENT_CHAIN, [FRAME_MALFORMED] = GATE_R_MALFORMED,
	[FRAME_TOO_DEEP] = GATE_R_TOO_DEEP,    [FRAME_HIDDEN] = GATE_R_HIDDEN,
};

static enum frame_kind read_on_host(const struct input *in, bool reply, struct frame *f)
{
	struct host_ctx ctx = { .data = in->frame, .len = in->len, .linear = in->len };
	uint32_t seen = glance(&ctx, reply, &params);

	memset(f, 0, sizeof(*f));
	if (seen != FRAME_OTHER)
		read_frame(&ctx, f, seen, reply);
	return f->kind;
}

/* TEST_RUN refuses frames that end within the IP header that their type announces. */
static bool test_run_takes(const struct input *in)
{
	if (in->len < ETH_LEN + IPV4_LEN)
		return false;
	return get16(in->frame + 12) != TYPE_IPV6 || in->len >= ETH_LEN + IPV6_LEN;
}

/* All that was counted is `want`, once; GATE_R_NOT_GATED may be counted or not. */
static bool counted_only(enum gate_reason want)
{
	for (enum gate_reason r = 0; r < GATE_R_MAX; r++) {
		uint64_t n = testgate_reason(&gate, r, false);

		if (testgate_reason(&gate, r, true))
			return false;
		if (r == want ? n != 1 && !(r == GATE_R_NOT_GATED && n == 0) : n != 0)
			return false;
	}
	return true;
}

static bool from_vm_agrees(const struct input *in)
{
	struct gate_node block = { .state = GATE_BLOCK };
	struct frame f;
	enum frame_kind kind = read_on_host(in, false, &f);
	const struct gate_counters *c = &gate.m.counters[TEST_SLOT];
	int action;

	testgate_reset(&gate);
	testgate_policy(&gate, gate_base_vm(TEST_SLOT), 0, &block);
	action = testgate_run(&gate, TEST_FROM_VM, in->frame, (int)in->len, 0);
	return action == (kind == FRAME_OTHER ? ACT_UNSPEC : ACT_SHOT) &&
	       counted_only(reason_of[kind]) && c->packets_from_vm == (kind == FRAME_GATED) &&
	       c->packets_dropped == (kind != FRAME_OTHER);
}

/* No flow is known, so that of what is SMTP a SYN-ACK is unsolicited, the rest stray. */
static bool to_vm_agrees(const struct input *in)
{
	struct frame f;
	bool gated = read_on_host(in, true, &f) == FRAME_GATED;
	bool synack = gated && (f.flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK);
	int action;

	testgate_reset(&gate);
	action = testgate_run(&gate, TEST_TO_VM, in->frame, (int)in->len, 0);
	return action == (synack ? ACT_SHOT : ACT_UNSPEC) &&
	       counted_only(synack  ? GATE_R_UNSOLICITED
			    : gated ? GATE_R_STRAY_REPLY
				    : GATE_R_NOT_GATED) &&
	       gate.m.counters[TEST_SLOT].packets_to_vm == gated;
}

struct run {
	int files, small, bad, kinds[FRAME_HIDDEN + 1];
};

static void run_file(const char *name, struct run *run)
{
	uint8_t bytes[INPUT_HEADER + FRAME_MAX];
	char path[512];
	struct input in;
	struct frame f;
	size_t n;

	snprintf(path, sizeof(path), CORPUS "/%s", name);
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	n = fread(bytes, 1, sizeof(bytes), file);
	fclose(file);
	run->files++;
	if (!input_decode(&in, bytes, n) || !test_run_takes(&in)) {
		run->small++;
		return;
	}
	run->kinds[read_on_host(&in, false, &f)]++;
	if (from_vm_agrees(&in) && to_vm_agrees(&in))
		return;
	print_error("%s: the programs and the host read it differently\n", name);
	run->bad++;
}

static void test_programs_and_host_agree(void **state)
{
	struct run run = { 0 };
	struct dirent *entry;
	DIR *dir = opendir(CORPUS);

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			run_file(entry->d_name, &run);
	closedir(dir);
	print_message("  (%d frames, %d more too short for TEST_RUN)\n", run.files - run.small,
		      run.small);
	assert_in_range(run.files, FEWEST, 100000);
	for (int k = 0; k <= FRAME_HIDDEN; k++)
		if (k != FRAME_CLOSER && !run.kinds[k])
			fail_msg("no frame of kind %d in the corpus", k);
	assert_int_equal(run.bad, 0);
}

static int open_gate(void **state)
{
	testgate_open(&gate, 3);
	return 0;
}

static int close_gate(void **state)
{
	testgate_close(&gate);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_programs_and_host_agree),
	};

	return cmocka_run_group_tests(tests, open_gate, close_gate);
}
