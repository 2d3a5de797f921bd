// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Loading, pinning and adopting, and what can go wrong with each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/bpfbox.h"
#include "bpf.h"
#include "bpf_maps.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_fresh(void **state)
{
	struct gate_config c;

	nsbox_config(&c, "gate");
	struct gate_bpf *b = bpfbox_open(&c);
	assert_false(b->adopted);
	assert_true(b->from_vm >= 0 && b->to_vm >= 0 && b->uplink_out >= 0);
	assert_int_equal(b->maps.conf->abi, GATE_ABI);
	assert_int_equal(b->maps.conf->max_vms, 64);
	assert_int_equal(b->maps.conf->flow_sets, 64 / GATE_FLOW_WAYS);
	assert_int_equal(b->maps.conf->ports[0], 25);
	assert_int_equal(b->maps.nheads, 2 + 64 + 8 + 16);
	assert_int_equal(b->maps.nbuckets, 64 * 2 + 16);
	assert_true(b->maps.ncpus > 0);
	for (size_t i = 0; i < GATE_NMAPS; i++) {
		char name[64];
		snprintf(name, sizeof(name), NSBOX_ABI "/maps/%s", gate_map_desc[i].name);
		assert_true(bpfbox_exists(&c, name));
	}
	assert_true(bpfbox_exists(&c, NSBOX_ABI "/maps/from_vm"));
	assert_false(bpfbox_exists(&c, NSBOX_ABI "/maps-new"));
	assert_false(bpfbox_exists(&c, NSBOX_ABI "/maps-old"));
	gate_bpf_close(b);
}

/* A daemon that is killed leaves its maps; the next one loses no count and no seed. */
static void test_adopt(void **state)
{
	struct gate_config c;
	uint64_t seed[10];
	uint32_t ifindex = 7;
	struct gate_port port = { .slot = 3, .flags = GATE_PORT_VM }, got = { 0 };

	nsbox_config(&c, "gate");
	struct gate_bpf *b = bpfbox_open(&c);
	b->maps.counters[3].flows_admitted = 41;
	b->maps.heads[gate_base_vm(3)] = 5;
	b->maps.conf->flags = GATE_CONF_ENFORCE;
	memcpy(seed, b->maps.conf->seed, sizeof(seed));
	assert_int_equal(bpf_map_update_elem(b->maps.ports, &ifindex, &port, BPF_ANY), 0);
	gate_bpf_close(b);

	b = bpfbox_open(&c);
	assert_true(b->adopted);
	assert_int_equal(b->maps.counters[3].flows_admitted, 41);
	assert_int_equal(b->maps.heads[gate_base_vm(3)], 5);
	assert_int_equal(b->maps.conf->flags, GATE_CONF_ENFORCE);
	assert_memory_equal(seed, b->maps.conf->seed, sizeof(seed));
	assert_int_equal(bpf_map_lookup_elem(b->maps.ports, &ifindex, &got), 0);
	assert_int_equal(got.slot, 3);
	gate_bpf_close(b);
}

/* A gated port that changes its number keeps its scope; the maps stay. */
static void test_adopt_other_port(void **state)
{
	struct gate_config c;

	nsbox_config(&c, "gate");
	struct gate_bpf *b = bpfbox_open(&c);
	b->maps.counters[3].flows_admitted = 41;
	gate_bpf_close(b);
	c.ports[0] = 587;
	b = bpfbox_open(&c);
	assert_int_equal(b->maps.conf->ports[0], 587);
	assert_int_equal(b->maps.counters[3].flows_admitted, 41);
	gate_bpf_close(b);
}

/* A map that somebody has unpinned is made anew; the others are kept. */
static void test_adopt_with_one_missing(void **state)
{
	struct gate_config c;
	char path[GATE_PIN_PATH];

	nsbox_config(&c, "gate");
	struct gate_bpf *b = bpfbox_open(&c);
	b->maps.counters[3].flows_admitted = 41;
	gate_bpf_close(b);
	assert_int_equal(gate_pins_path(path, "%s/" NSBOX_ABI "/maps/events", c.pin), 0);
	assert_int_equal(unlink(path), 0);
	b = bpfbox_open(&c);
	assert_int_equal(b->maps.counters[3].flows_admitted, 41);
	assert_int_equal(access(path, F_OK), 0);
	gate_bpf_close(b);
}

/* ---- what can go wrong ---- */

struct bad_case {
	const char *what;
	const char *pin; /* printf with the BPF file system's path */
	uint32_t max_vms, flows_per_vm;
	bool unprivileged;
	const char *says;
};

static const struct bad_case bad_cases[] = {
	{ "no BPF file system", "/tmp", 64, 64, false, "mount -t bpf bpf /tmp" },
	{ "below no BPF file system", "/tmp/gate25-none/gate", 64, 64, false, "mount -t bpf bpf" },
	{ "a relative path", "pins", 64, 64, false, "absolute path" },
	{ "more entries than a map has", "%s/gate", 1U << 24, 1U << 16, false, "no memory" },
	{ "more memory than there is", "%s/gate", 1U << 20, 1U << 13, false, "no memory" },
	{ "no capability", "%s/gate", 64, 64, true, "CAP_BPF" },
};

static void test_errors(void **state)
{
	for (size_t i = 0; i < sizeof(bad_cases) / sizeof(bad_cases[0]); i++) {
		const struct bad_case *t = &bad_cases[i];
		char pin[128];

		print_message("error: %s\n", t->what);
		snprintf(pin, sizeof(pin), t->pin, nsbox_bpffs());
		fflush(NULL);
		pid_t pid = fork();
		if (!pid) {
			struct gate_config c;
			struct gate_bpf *b = NULL;
			struct gate_error err = { 0 };
			nsbox_config(&c, "gate");
			c.pin = pin;
			c.max_vms = t->max_vms;
			c.flows_per_vm = t->flows_per_vm;
			if (t->unprivileged && (chmod(nsbox_bpffs(), 0777) || setuid(65534)))
				_exit(3);
			int r = gate_bpf_open(&b, &c, &err);
			if (r < 0 && !b && strstr(err.message, t->says) &&
			    !strchr(err.message, '\n'))
				_exit(0);
			fprintf(stderr, "got %d: %s\n", r, err.message);
			_exit(1);
		}
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		bpfbox_remove(NULL);
	}
}

static void test_second_daemon(void **state)
{
	struct gate_config c;
	struct gate_bpf *second = NULL;
	struct gate_error err = { 0 };

	nsbox_config(&c, "gate");
	struct gate_bpf *b = bpfbox_open(&c);
	assert_true(gate_bpf_open(&second, &c, &err) < 0);
	assert_non_null(strstr(err.message, "another gate25d"));
	gate_bpf_close(b);
	gate_bpf_close(bpfbox_open(&c));
}

/* Maps of another layout are neither misread nor thrown away. */
static void test_foreign_layout(void **state)
{
	struct gate_config c;
	struct gate_bpf *b = NULL;
	struct gate_error err = { 0 };
	char path[GATE_PIN_PATH];

	nsbox_config(&c, "gate");
	gate_bpf_close(bpfbox_open(&c));
	assert_int_equal(gate_pins_path(path, "%s/" NSBOX_ABI "/maps/counters", c.pin), 0);
	assert_int_equal(unlink(path), 0);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "counters", 4, 16, 64, NULL);
	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_pin(fd, path), 0);
	close(fd);
	assert_true(gate_bpf_open(&b, &c, &err) < 0);
	assert_non_null(strstr(err.message, "detach"));
	assert_int_equal(access(path, F_OK), 0);
}

static void test_unpin_all(void **state)
{
	struct gate_config c;

	nsbox_config(&c, "gate");
	gate_bpf_close(bpfbox_open(&c));
	assert_true(bpfbox_exists(&c, NSBOX_ABI));
	assert_int_equal(gate_bpf_unpin_all(c.pin, NULL), 0);
	assert_false(bpfbox_exists(&c, NSBOX_ABI));
	/* again, with nothing there */
	assert_int_equal(gate_bpf_unpin_all(c.pin, NULL), 0);
}

/* It is not the kernel that refuses the programs. */
static void test_read_only(void **state)
{
	struct gate_error err = { 0 };
	struct gate_config c;
	struct gate_bpf *b;

	nsbox_config(&c, "gate");
	gate_bpf_close(bpfbox_open(&c));
	nsbox_run("mount -o remount,ro %s", nsbox_bpffs());
	const int r = gate_bpf_open(&b, &c, &err);
	nsbox_run("mount -o remount,rw %s", nsbox_bpffs());
	assert_true(r < 0);
	assert_non_null(strstr(err.message, "read-only"));
	gate_bpf_close(bpfbox_open(&c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_fresh, bpfbox_remove),
		cmocka_unit_test_teardown(test_adopt, bpfbox_remove),
		cmocka_unit_test_teardown(test_adopt_other_port, bpfbox_remove),
		cmocka_unit_test_teardown(test_adopt_with_one_missing, bpfbox_remove),
		cmocka_unit_test_teardown(test_errors, bpfbox_remove),
		cmocka_unit_test_teardown(test_second_daemon, bpfbox_remove),
		cmocka_unit_test_teardown(test_foreign_layout, bpfbox_remove),
		cmocka_unit_test_teardown(test_read_only, bpfbox_remove),
		cmocka_unit_test_teardown(test_unpin_all, bpfbox_remove),
	};

	nsbox_enter();
	return cmocka_run_group_tests_name("load", tests, NULL, NULL);
}
