// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What a daemon of a user of its own can still do, and cannot do any more, once it runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/frames.h"
#include "../lib/nsbox.h"
#include "attach.h"
#include "rights.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define USER 6425 /* nobody has this number */

static struct gate_config config;
static struct gate_bpf *gate;
static struct gate_attacher *attacher;
static uint32_t here, later;

/* ---- as the unit starts it */

static void become_user(void)
{
	static const cap_value_t given[] = { CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON };
	cap_t caps = cap_init();

	assert_int_equal(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), 0);
	assert_int_equal(setresgid(USER, USER, USER), 0);
	assert_int_equal(setresuid(USER, USER, USER), 0);
	assert_int_equal(cap_set_flag(caps, CAP_PERMITTED, 3, given, CAP_SET), 0);
	assert_int_equal(cap_set_flag(caps, CAP_EFFECTIVE, 3, given, CAP_SET), 0);
	assert_int_equal(cap_set_proc(caps), 0);
	cap_free(caps);
}

static int start(void **state)
{
	struct gate_error err = { 0 };

	nsbox_run("ip link add v0 type veth peer name v0_p && ip link set v0 up");
	nsbox_run("ip link add v1 type veth peer name v1_p && ip link set v1 up");
	here = if_nametoindex("v0");
	later = if_nametoindex("v1");
	become_user();
	nsbox_config(&config, "gate");
	if (gate_bpf_open(&gate, &config, &err) ||
	    gate_attach_open(&attacher, gate, &config, &err) ||
	    gate_attach_put(attacher, here, "v0", GATE_FROM_VM, false, &err))
		fail_msg("%s", err.message);
	gate_rights_drop(gate->maps.ports);
	return 0;
}

/* ---- what is left */

static void test_one_capability_is_left(void **state)
{
	static const cap_flag_t flags[] = { CAP_EFFECTIVE, CAP_PERMITTED, CAP_INHERITABLE };
	cap_t have = cap_get_proc();

	for (unsigned i = 0; i < 3; i++) {
		for (int cap = 0; cap <= CAP_LAST_CAP; cap++) {
			cap_flag_value_t set = CAP_CLEAR;
			cap_get_flag(have, cap, flags[i], &set);
			assert_int_equal(set, cap == CAP_NET_ADMIN && flags[i] != CAP_INHERITABLE);
		}
	}
	cap_free(have);
}

/* A port that comes later, the next daemon's swap in place, and a port that goes. */
static void test_attaches_and_takes_off(void **state)
{
	static const enum gate_where all[] = { GATE_FROM_VM, GATE_TO_VM, GATE_UPLINK_OUT };
	struct gate_error err = { 0 };

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i] != GATE_FROM_VM && !gate->tcx)
			continue; /* the qdisc on this hook has no egress */
		if (gate_attach_put(attacher, later, "v1", all[i], false, &err))
			fail_msg("%s", err.message);
		assert_int_equal(gate_attach_check(attacher, later, all[i]), 1);
		assert_int_equal(gate_attach_put(attacher, later, "v1", all[i], false, &err), 0);
		assert_int_equal(gate_attach_remove(attacher, later, all[i]), 0);
		assert_int_equal(gate_attach_present(attacher, later, all[i]), 0);
	}
	assert_true(gate_attach_is_first(attacher, here, GATE_FROM_VM, false));
	assert_int_equal(gate_attach_check(attacher, here, GATE_FROM_VM), 1);
	assert_int_equal(gate_attach_collect(attacher), 0);
}

static void test_reads_and_writes_maps(void **state)
{
	const int fd = gate->maps.ports;
	struct gate_port port = { .slot = 3 }, have, batch[8];
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info), next, position, keys[8], n = 8;

	assert_int_equal(bpf_map_update_elem(fd, &later, &port, BPF_ANY), 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &later, &have), 0);
	assert_int_equal(have.slot, 3);
	assert_int_equal(bpf_map_get_next_key(fd, NULL, &next), 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	const int r = bpf_map_lookup_batch(fd, NULL, &position, keys, batch, &n, NULL);
	assert_true(!r || r == -ENOENT);
	assert_int_equal(n, 1);
	assert_int_equal(bpf_map_delete_elem(fd, &later), 0);
}

/* As for `gate25 why`. */
static void test_runs_the_program_on_a_made_frame(void **state)
{
	const struct frame_spec spec = { 0 };
	uint8_t frame[FRAME_MAX], out[FRAME_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_out = out,
		    .data_size_out = sizeof(out), .repeat = 1);

	opts.data_size_in = (uint32_t)frame_build("eth ip4 tcp", &spec, frame);
	assert_int_equal(bpf_prog_test_run_opts(gate->from_vm, &opts), 0);
}

/* ---- what is gone */

static long bpf_command(uint64_t command)
{
	union bpf_attr attr = { 0 };

	return syscall(SYS_bpf, command, &attr, sizeof(attr));
}

static void refused(const char *call, long result)
{
	if (result != -1 || errno != EPERM)
		fail_msg("%s: %ld, %s", call, result, strerror(errno));
}

/* Without the filter each ends otherwise, but for those that take CAP_BPF as well. */
static void test_calls_are_refused(void **state)
{
	const uint64_t above = 1ULL << 32; /* the kernel looks at the low 32 bits */

	refused("map create", bpf_command(BPF_MAP_CREATE));
	refused("program load", bpf_command(BPF_PROG_LOAD));
	refused("BTF load", bpf_command(BPF_BTF_LOAD));
	refused("tracepoint", bpf_command(BPF_RAW_TRACEPOINT_OPEN));
	refused("tracepoint", bpf_command(above | BPF_RAW_TRACEPOINT_OPEN));
	refused("unshare", unshare(0));
	refused("setns", setns(-1, 0));
	refused("personality", syscall(SYS_personality, 0xffffffff));
	refused("keyctl", syscall(SYS_keyctl, -1));
	refused("ptrace", syscall(SYS_ptrace, -1, 0, 0, 0));
	refused("io_uring", syscall(SYS_io_uring_setup, 0, NULL));
	/* the rest of bpf(2) is not: this one only lacks a descriptor */
	assert_int_equal(bpf_command(BPF_MAP_GET_NEXT_KEY), -1);
	assert_int_not_equal(errno, EPERM);
}

static int confined(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_capability_is_left),
		cmocka_unit_test(test_attaches_and_takes_off),
		cmocka_unit_test(test_reads_and_writes_maps),
		cmocka_unit_test(test_runs_the_program_on_a_made_frame),
		cmocka_unit_test(test_calls_are_refused),
	};

	return cmocka_run_group_tests_name("rights", tests, start, NULL);
}

int main(void)
{
	int status;

	nsbox_enter();
	nsbox_run("chown %d:%d %s", USER, USER, nsbox_bpffs());
	/* a child, so that somebody with rights is left to clean up */
	const pid_t child = fork();
	if (!child)
		_exit(confined());
	return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
