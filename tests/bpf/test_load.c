// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Loading, pinning, adopting and resizing, and what can go wrong with each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/nsbox.h"
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

static struct gate_bpf *open_ok(const struct gate_config *c)
{
	struct gate_bpf *b = NULL;
	struct gate_error err = { 0 };
	int r = gate_bpf_open(&b, c, &err);

	if (r)
		print_error("gate_bpf_open: %d: %s\n", r, err.message);
	assert_int_equal(r, 0);
	return b;
}

static bool exists(const struct gate_config *c, const char *rest)
{
	char path[GATE_PIN_PATH];

	assert_int_equal(gate_pins_path(path, "%s/%s", c->pin, rest), 0);
	return access(path, F_OK) == 0;
}

static int remove_pins(void **state)
{
	char pin[GATE_PIN_PATH];

	snprintf(pin, sizeof(pin), "%s/gate", nsbox_bpffs());
	return gate_bpf_unpin_all(pin, NULL);
}

static void test_fresh(void **state)
{
	struct gate_config c;

	nsbox_config(&c, "gate");
	struct gate_bpf *b = open_ok(&c);
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
		snprintf(name, sizeof(name), "abi1/maps/%s", gate_map_desc[i].name);
		assert_true(exists(&c, name));
	}
	assert_true(exists(&c, "abi1/progs/from_vm"));
	assert_false(exists(&c, "abi1/maps-new"));
	assert_false(exists(&c, "abi1/maps-old"));
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
	struct gate_bpf *b = open_ok(&c);
	b->maps.counters[3].flows_admitted = 41;
	b->maps.heads[gate_base_vm(3)] = 5;
	b->maps.conf->flags = GATE_CONF_ENFORCE;
	memcpy(seed, b->maps.conf->seed, sizeof(seed));
	assert_int_equal(bpf_map_update_elem(b->maps.ports, &ifindex, &port, BPF_ANY), 0);
	gate_bpf_close(b);

	b = open_ok(&c);
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
	struct gate_bpf *b = open_ok(&c);
	b->maps.counters[3].flows_admitted = 41;
	gate_bpf_close(b);
	c.ports[0] = 587;
	b = open_ok(&c);
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
	struct gate_bpf *b = open_ok(&c);
	b->maps.counters[3].flows_admitted = 41;
	gate_bpf_close(b);
	assert_int_equal(gate_pins_path(path, "%s/abi1/maps/events", c.pin), 0);
	assert_int_equal(unlink(path), 0);
	b = open_ok(&c);
	assert_int_equal(b->maps.counters[3].flows_admitted, 41);
	assert_int_equal(access(path, F_OK), 0);
	gate_bpf_close(b);
}

/* ---- resizing ---- */

#define SLOT	 3
#define TENANT	 5
#define OVERRIDE 2

static const struct gate_mac_key mac_key = { .slot = SLOT, .mac = { 2, 0, 0, 0, 0, 1 } };

/* Something of each kind, at places that depend on the sizes. */
static void populate(struct gate_bpf *b)
{
	struct gate_maps *m = &b->maps;
	struct gate_address a = { .base = { gate_base_override(m, OVERRIDE), gate_base_vm(SLOT) },
				  .bucket = m->scopes + 1 + OVERRIDE * m->scopes };

	m->nodes[1] = (struct gate_node){ .state = GATE_BLOCK, .concurrent = 11 };
	m->nodes[2] = (struct gate_node){ .state = GATE_LIMIT, .concurrent = 22 };
	m->nodes[9] = (struct gate_node){ .state = GATE_ALLOW, .concurrent = 99 };
	m->heads[gate_base_vm(SLOT) * m->scopes] = 9;
	m->heads[gate_base_tenant(m, TENANT) * m->scopes] = 2;
	m->heads[gate_base_override(m, OVERRIDE) * m->scopes] = 1;
	m->vms[SLOT] = (struct gate_vm){
		.flags = GATE_VM_USED | GATE_VM_REGISTERED,
		.tenant = TENANT,
		.budget = 4,
		.override_base = m->conf->max_vms * (m->scopes + 1),
	};
	strcpy(m->names[SLOT], "web1");
	m->counters[SLOT].flows_admitted = 100;
	m->counters[SLOT].last_reply = 550;
	m->budgets[4].tat[0] = 77;
	m->buckets[gate_bucket_index(m, SLOT, 0)].tat[0] = 1000;
	m->buckets[gate_bucket_index(m, SLOT, 0)].active = 1;
	m->buckets[gate_bucket_index(m, SLOT, m->scopes)].tat[0] = 2000;
	m->buckets[gate_bucket_index(m, SLOT, a.bucket)].tat[0] = 3000;
	m->flows[SLOT * m->conf->flow_sets + 1].way[2] =
		(struct gate_flow){ .fingerprint = 0xabcd, .state = GATE_FLOW_OPEN, .seen = 12 };
	m->dests[SLOT * m->conf->dest_sets].way[0] = 0x1234;
	assert_int_equal(bpf_map_update_elem(m->macs, &mac_key, &a, BPF_ANY), 0);
}

static const struct gate_node *node_of(const struct gate_maps *m, uint32_t base)
{
	return &m->nodes[m->heads[base * m->scopes]];
}

/* Everything that populate() has put is found at its place in maps of any size. */
static void assert_populated(struct gate_bpf *b, uint64_t admitted, bool flows)
{
	struct gate_maps *m = &b->maps;
	struct gate_address a;

	assert_int_equal(node_of(m, gate_base_vm(SLOT))->concurrent, 99);
	assert_int_equal(node_of(m, gate_base_tenant(m, TENANT))->concurrent, 22);
	assert_int_equal(node_of(m, gate_base_override(m, OVERRIDE))->concurrent, 11);
	assert_int_equal(m->vms[SLOT].tenant, TENANT);
	assert_string_equal(m->names[SLOT], "web1");
	assert_int_equal(m->counters[SLOT].flows_admitted, admitted);
	assert_int_equal(m->counters[SLOT].last_reply, 550);
	assert_int_equal(m->budgets[4].tat[0], 77);
	assert_int_equal(bpf_map_lookup_elem(m->macs, &mac_key, &a), 0);
	assert_int_equal(a.base[0], gate_base_override(m, OVERRIDE));
	assert_int_equal(a.base[1], gate_base_vm(SLOT));
	assert_int_equal(a.bucket, m->scopes + 1 + OVERRIDE * m->scopes);
	assert_int_equal(m->buckets[gate_bucket_index(m, SLOT, 0)].tat[0], 1000);
	assert_int_equal(m->buckets[gate_bucket_index(m, SLOT, 0)].active, flows ? 1 : 0);
	assert_int_equal(m->buckets[gate_bucket_index(m, SLOT, m->scopes)].tat[0], 2000);
	assert_int_equal(m->buckets[gate_bucket_index(m, SLOT, a.bucket)].tat[0], 3000);
	assert_int_equal(m->flows[SLOT * m->conf->flow_sets + 1].way[2].fingerprint == 0xabcd ||
				 m->flows[SLOT * m->conf->flow_sets + 1].way[0].fingerprint ==
					 0xabcd,
			 flows);
	if (!flows) /* what ran is adopted free of charge for a while */
		assert_true(m->vms[SLOT].grace_until > 0);
}

struct resize_case {
	const char *what;
	uint32_t max_vms, max_tenants, max_overrides, flows_per_vm;
	unsigned nports;
	bool flows; /* kept */
};

static const struct resize_case resize_cases[] = {
	{ "more VMs", 128, 8, 16, 64, 1, true },
	{ "fewer VMs", 16, 8, 16, 64, 1, true },
	{ "more tenants", 64, 32, 16, 64, 1, true },
	{ "more overrides", 64, 8, 64, 64, 1, true },
	{ "fewer overrides", 64, 8, 4, 64, 1, true },
	{ "more flows for each VM", 64, 8, 16, 256, 1, false },
	{ "several ports", 64, 8, 16, 64, 3, true },
	{ "all of it", 128, 16, 32, 128, 2, false },
};

static void resized_config(struct gate_config *c, const struct resize_case *t)
{
	nsbox_config(c, "gate");
	c->max_vms = t->max_vms;
	c->max_tenants = t->max_tenants;
	c->max_overrides = t->max_overrides;
	c->flows_per_vm = t->flows_per_vm;
	c->nports = t->nports;
	c->ports[1] = 465;
	c->ports[2] = 587;
}

static void test_resize(void **state)
{
	for (size_t i = 0; i < sizeof(resize_cases) / sizeof(resize_cases[0]); i++) {
		const struct resize_case *t = &resize_cases[i];
		struct gate_config c, small;
		struct gate_maps old;
		struct gate_sizes sizes;
		char dir[GATE_PIN_PATH];

		print_message("resize: %s\n", t->what);
		remove_pins(NULL);
		nsbox_config(&small, "gate");
		struct gate_bpf *b = open_ok(&small);
		populate(b);
		uint64_t seed = b->maps.conf->seed[0];
		gate_bpf_close(b);

		resized_config(&c, t);
		b = open_ok(&c);
		assert_true(b->adopted);
		assert_int_equal(b->maps.conf->seed[0], seed);
		assert_int_equal(b->maps.conf->max_vms, t->max_vms);
		assert_populated(b, 100, t->flows);
		assert_true(exists(&c, "abi1/maps-old"));

		/* the old programs, not swapped yet, go on counting */
		assert_int_equal(gate_pins_path(dir, "%s/abi1/maps-old", c.pin), 0);
		assert_int_equal(gate_maps_open(dir, &old, &sizes), 0);
		assert_int_equal(old.counters[SLOT].flows_admitted, 0);
		old.counters[SLOT].flows_admitted = 7;
		b->maps.counters[SLOT].flows_admitted += 3;
		gate_bpf_settle(b);
		gate_maps_close(&old, &sizes);
		assert_populated(b, 110, t->flows);
		assert_false(exists(&c, "abi1/maps-old"));
		gate_bpf_close(b);

		/* and back: nothing gets lost on the way */
		if (t->flows) {
			b = open_ok(&small);
			gate_bpf_settle(b);
			assert_populated(b, 110, true);
			gate_bpf_close(b);
		}
	}
}

/* A flow that ends in the old maps between the copies ends in the new ones too. */
static void test_resize_flow_ends_meanwhile(void **state)
{
	struct gate_config c;
	struct gate_maps old;
	struct gate_sizes sizes;
	char dir[GATE_PIN_PATH];

	nsbox_config(&c, "gate");
	struct gate_bpf *b = open_ok(&c);
	populate(b);
	gate_bpf_close(b);
	c.max_vms = 128;
	b = open_ok(&c);
	assert_int_equal(gate_pins_path(dir, "%s/abi1/maps-old", c.pin), 0);
	assert_int_equal(gate_maps_open(dir, &old, &sizes), 0);
	old.flows[SLOT * old.conf->flow_sets + 1].way[2].state = GATE_FLOW_CLOSED;
	old.flows[SLOT * old.conf->flow_sets + 5].way[0] =
		(struct gate_flow){ .fingerprint = 0x55, .state = GATE_FLOW_SYN_SENT };
	gate_bpf_settle(b);
	gate_maps_close(&old, &sizes);
	const struct gate_flow_set *set = &b->maps.flows[SLOT * b->maps.conf->flow_sets];
	assert_int_equal(set[1].way[0].state, GATE_FLOW_CLOSED);
	assert_int_equal(set[5].way[0].fingerprint, 0x55);
	/* one ended, one began */
	assert_int_equal(b->maps.buckets[gate_bucket_index(&b->maps, SLOT, 0)].active, 1);
	gate_bpf_close(b);
}

/* Killed between the two copies: the next start brings over the rest, once. */
static void test_resize_cut_short(void **state)
{
	struct gate_config c;
	struct gate_maps old;
	struct gate_sizes sizes;
	char dir[GATE_PIN_PATH];

	nsbox_config(&c, "gate");
	struct gate_bpf *b = open_ok(&c);
	populate(b);
	gate_bpf_close(b);
	c.max_vms = 128;
	gate_bpf_close(open_ok(&c));

	assert_int_equal(gate_pins_path(dir, "%s/abi1/maps-old", c.pin), 0);
	assert_int_equal(gate_maps_open(dir, &old, &sizes), 0);
	old.counters[SLOT].flows_admitted = 5;
	gate_maps_close(&old, &sizes);

	b = open_ok(&c);
	assert_populated(b, 105, true);
	gate_bpf_settle(b);
	assert_populated(b, 105, true);
	assert_false(exists(&c, "abi1/maps-old"));
	gate_bpf_close(b);
}

/* Policy that does not fit is not thrown away: the start fails, the maps stay. */
static void test_resize_too_small(void **state)
{
	struct gate_config c;
	struct gate_bpf *b;
	struct gate_error err = { 0 };

	nsbox_config(&c, "gate");
	b = open_ok(&c);
	populate(b);
	gate_bpf_close(b);
	c.max_tenants = TENANT;
	assert_true(gate_bpf_open(&b, &c, &err) < 0);
	assert_non_null(strstr(err.message, "max_tenants"));
	c.max_tenants = 8;
	b = open_ok(&c);
	assert_populated(b, 100, true);
	gate_bpf_close(b);
}

/* An earlier build made one of the maps otherwise, though the sizes are the same. */
static void test_resize_one_map(void **state)
{
	LIBBPF_OPTS(bpf_map_create_opts, no_flags);
	struct gate_config c;
	char path[GATE_PIN_PATH];

	nsbox_config(&c, "gate");
	struct gate_bpf *b = open_ok(&c);
	populate(b);
	assert_int_equal(gate_pins_path(path, "%s/abi1/maps/macs", c.pin), 0);
	int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "macs", sizeof(struct gate_mac_key),
				sizeof(struct gate_address), 1000, &no_flags);
	struct gate_mac_key key;
	struct gate_address value;

	assert_true(fd >= 0);
	assert_int_equal(bpf_map_get_next_key(b->maps.macs, NULL, &key), 0);
	assert_int_equal(bpf_map_lookup_elem(b->maps.macs, &key, &value), 0);
	assert_int_equal(bpf_map_update_elem(fd, &key, &value, BPF_ANY), 0);
	gate_bpf_close(b);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(bpf_obj_pin(fd, path), 0);
	close(fd);

	b = open_ok(&c);
	assert_true(b->adopted);
	gate_bpf_settle(b);
	assert_populated(b, 100, true);
	assert_int_equal(bpf_map_lookup_elem(b->maps.macs, &key, &value), 0);
	assert_false(exists(&c, "abi1/maps-old"));
	gate_bpf_close(b);
}

static void test_resize_reasons(void **state)
{
	struct gate_config c;
	uint32_t key = GATE_R_BLOCKED;

	nsbox_config(&c, "gate");
	struct gate_bpf *b = open_ok(&c);
	int n = b->maps.ncpus;
	uint64_t *v = calloc((size_t)n, sizeof(*v));
	assert_non_null(v);
	v[0] = 42;
	assert_int_equal(bpf_map_update_elem(b->maps.reasons, &key, v, BPF_ANY), 0);
	gate_bpf_close(b);
	c.max_vms = 128;
	b = open_ok(&c);
	gate_bpf_settle(b);
	assert_int_equal(bpf_map_lookup_elem(b->maps.reasons, &key, v), 0);
	assert_int_equal(v[0], 42);
	gate_bpf_close(b);
	free(v);
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
		remove_pins(NULL);
	}
}

static void test_second_daemon(void **state)
{
	struct gate_config c;
	struct gate_bpf *second = NULL;
	struct gate_error err = { 0 };

	nsbox_config(&c, "gate");
	struct gate_bpf *b = open_ok(&c);
	assert_true(gate_bpf_open(&second, &c, &err) < 0);
	assert_non_null(strstr(err.message, "another gate25d"));
	gate_bpf_close(b);
	gate_bpf_close(open_ok(&c));
}

/* Maps of another layout are neither misread nor thrown away. */
static void test_foreign_layout(void **state)
{
	struct gate_config c;
	struct gate_bpf *b = NULL;
	struct gate_error err = { 0 };
	char path[GATE_PIN_PATH];

	nsbox_config(&c, "gate");
	gate_bpf_close(open_ok(&c));
	assert_int_equal(gate_pins_path(path, "%s/abi1/maps/counters", c.pin), 0);
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
	gate_bpf_close(open_ok(&c));
	assert_true(exists(&c, "abi1"));
	assert_int_equal(gate_bpf_unpin_all(c.pin, NULL), 0);
	assert_false(exists(&c, "abi1"));
	/* again, with nothing there */
	assert_int_equal(gate_bpf_unpin_all(c.pin, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_fresh, remove_pins),
		cmocka_unit_test_teardown(test_adopt, remove_pins),
		cmocka_unit_test_teardown(test_adopt_other_port, remove_pins),
		cmocka_unit_test_teardown(test_adopt_with_one_missing, remove_pins),
		cmocka_unit_test_teardown(test_resize, remove_pins),
		cmocka_unit_test_teardown(test_resize_flow_ends_meanwhile, remove_pins),
		cmocka_unit_test_teardown(test_resize_cut_short, remove_pins),
		cmocka_unit_test_teardown(test_resize_too_small, remove_pins),
		cmocka_unit_test_teardown(test_resize_one_map, remove_pins),
		cmocka_unit_test_teardown(test_resize_reasons, remove_pins),
		cmocka_unit_test_teardown(test_errors, remove_pins),
		cmocka_unit_test_teardown(test_second_daemon, remove_pins),
		cmocka_unit_test_teardown(test_foreign_layout, remove_pins),
		cmocka_unit_test_teardown(test_unpin_all, remove_pins),
	};

	nsbox_enter();
	return cmocka_run_group_tests_name("load", tests, NULL, NULL);
}
