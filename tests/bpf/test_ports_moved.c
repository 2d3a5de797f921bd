// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A device that is moved to another namespace keeps number and programs. One of the same
 * number may take its place here: the link of the one is no proof of the other.
 */
#include "ports_lab.h"
#include "ports_priv.h"

#include <fcntl.h>
#include <sched.h>

#define TCX_INGRESS 46

static int enter_elsewhere(int *back)
{
	char path[64];

	snprintf(path, sizeof(path), "/run/netns/gt25-%d", getpid());
	const int there = open(path, O_RDONLY | O_CLOEXEC);
	*back = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(there >= 0 && *back >= 0);
	assert_int_equal(setns(there, CLONE_NEWNET), 0);
	close(there);
	return 0;
}

static unsigned programs(uint32_t ifindex)
{
	uint32_t ids[8], count = 8;

	assert_int_equal(bpf_prog_query((int)ifindex, TCX_INGRESS, 0, NULL, ids, &count), 0);
	return count;
}

static unsigned programs_elsewhere(uint32_t ifindex)
{
	int back;

	enter_elsewhere(&back);
	const unsigned n = programs(ifindex);
	assert_int_equal(setns(back, CLONE_NEWNET), 0);
	close(back);
	return n;
}

static void move_away(const char *name)
{
	nsbox_run("mkdir -p /run/netns && ip netns add gt25-%d && ip link set %s netns gt25-%d",
		  getpid(), name, getpid());
}

static void add_with_number(const char *name, uint32_t ifindex)
{
	nsbox_run("ip link add %s index %u type veth peer name %s_p && ip link set %s master br0",
		  name, ifindex, name, name);
}

/* A daemon and its port g0, the number of which is returned. */
static uint32_t begin(struct daemon *d)
{
	if (!nsbox_has_tcx())
		skip();
	host(1);
	configure(d, GATE_HOOK_TCX);
	start(d);
	return if_nametoindex("g0");
}

/* While no daemon ran. */
static void test_found_at_start(void **state)
{
	struct daemon d;
	const uint32_t g0 = begin(&d);

	stop(&d);
	move_away("g0");
	assert_int_equal(programs_elsewhere(g0), 1);
	add_with_number("g1", g0);

	configure(&d, GATE_HOOK_TCX);
	start(&d);
	assert_int_equal(programs(g0), 1);
	assert_true(note_of(g0)->from_vm);
	assert_int_equal(programs_elsewhere(g0), 0);
	stop(&d);
}

/* Where the events were lost. */
static void test_found_by_looking(void **state)
{
	struct daemon d;
	const uint32_t g0 = begin(&d);

	move_away("g0");
	add_with_number("g1", g0);
	for (const struct gate_link_hint *hint; true;) { /* as if they had been */
		size_t count;
		assert_int_equal(gate_links_read(d.p->links, &hint, &count), 0);
		if (!count)
			break;
	}
	gate_ports_resync(d.p);
	assert_true(WAIT_FOR(&d, programs(g0) == 1 && note_of(g0)->from_vm));
	/* to unpin it takes effect in a while */
	assert_true(WAIT_FOR(&d, programs_elsewhere(g0) == 0));
	stop(&d);
}

/* Nothing of ours stays on what is no port here any more. */
static void test_taken_off_what_has_moved(void **state)
{
	struct daemon d;
	const uint32_t g0 = begin(&d);

	stop(&d);
	move_away("g0");
	assert_int_equal(programs_elsewhere(g0), 1);

	configure(&d, GATE_HOOK_TCX);
	start(&d);
	assert_int_equal(programs_elsewhere(g0), 0);
	stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_found_at_start, clean),
		cmocka_unit_test_teardown(test_found_by_looking, clean),
		cmocka_unit_test_teardown(test_taken_off_what_has_moved, clean),
	};

	nsbox_enter();
	return cmocka_run_group_tests_name("ports_moved", tests, NULL, NULL);
}
