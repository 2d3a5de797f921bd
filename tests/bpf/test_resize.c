// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Maps of other sizes: what was in the old ones is found in the new ones, whatever happens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/bpfbox.h"
#include "attach.h"
#include "bpf_maps.h"
#include "clock.h"
#include "pins.h"
#include "usage.h"

#include <bpf/bpf.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
		bpfbox_remove(NULL);
		nsbox_config(&small, "gate");
		struct gate_bpf *b = bpfbox_open(&small);
		populate(b);
		uint64_t seed = b->maps.conf->seed[0];
		gate_bpf_close(b);

		resized_config(&c, t);
		b = bpfbox_open(&c);
		assert_true(b->adopted);
		assert_int_equal(b->maps.conf->seed[0], seed);
		assert_int_equal(b->maps.conf->max_vms, t->max_vms);
		assert_populated(b, 100, t->flows);
		/* what could not be brought over, or began meanwhile, is adopted free of charge */
		assert_true(b->maps.vms[SLOT].grace_until > 0);
		assert_true(bpfbox_exists(&c, NSBOX_ABI "/maps-old"));

		/* the old programs, not swapped yet, go on counting */
		assert_int_equal(gate_pins_path(dir, "%s/" NSBOX_ABI "/maps-old", c.pin), 0);
		assert_int_equal(gate_maps_open(dir, &old, &sizes), 0);
		assert_int_equal(old.counters[SLOT].flows_admitted, 0);
		old.counters[SLOT].flows_admitted = 7;
		b->maps.counters[SLOT].flows_admitted += 3;
		gate_bpf_settle(b);
		gate_maps_close(&old, &sizes);
		assert_populated(b, 110, t->flows);
		assert_false(bpfbox_exists(&c, NSBOX_ABI "/maps-old"));
		gate_bpf_close(b);

		/* and back: nothing gets lost on the way */
		if (t->flows) {
			b = bpfbox_open(&small);
			gate_bpf_settle(b);
			assert_populated(b, 110, true);
			gate_bpf_close(b);
		}
	}
}

/* A gate with something in it, opened anew for more VMs: its old maps are still there. */
static struct gate_bpf *open_grown(struct gate_config *c, struct gate_maps *old,
				   struct gate_sizes *sizes)
{
	char dir[GATE_PIN_PATH];
	struct gate_bpf *b;

	nsbox_config(c, "gate");
	b = bpfbox_open(c);
	populate(b);
	gate_bpf_close(b);
	c->max_vms = 128;
	b = bpfbox_open(c);
	assert_int_equal(gate_pins_path(dir, "%s/" NSBOX_ABI "/maps-old", c->pin), 0);
	assert_int_equal(gate_maps_open(dir, old, sizes), 0);
	return b;
}

/* A flow that ends in the old maps between the copies ends in the new ones too. */
static void test_resize_flow_ends_meanwhile(void **state)
{
	struct gate_config c;
	struct gate_maps old;
	struct gate_sizes sizes;
	struct gate_bpf *b = open_grown(&c, &old, &sizes);

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
	struct gate_bpf *b = open_grown(&c, &old, &sizes);

	gate_bpf_close(b);
	old.counters[SLOT].flows_admitted = 5;
	gate_maps_close(&old, &sizes);

	b = bpfbox_open(&c);
	assert_populated(b, 105, true);
	gate_bpf_settle(b);
	assert_populated(b, 105, true);
	assert_false(bpfbox_exists(&c, NSBOX_ABI "/maps-old"));
	gate_bpf_close(b);
}

/* Policy that does not fit is not thrown away: the start fails, the maps stay. */
static void test_resize_too_small(void **state)
{
	struct gate_config c;
	struct gate_bpf *b;
	struct gate_error err = { 0 };

	nsbox_config(&c, "gate");
	b = bpfbox_open(&c);
	populate(b);
	gate_bpf_close(b);
	c.max_tenants = TENANT;
	assert_true(gate_bpf_open(&b, &c, &err) < 0);
	assert_non_null(strstr(err.message, "max_tenants"));
	c.max_tenants = 8;
	b = bpfbox_open(&c);
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
	struct gate_bpf *b = bpfbox_open(&c);
	populate(b);
	assert_int_equal(gate_pins_path(path, "%s/" NSBOX_ABI "/maps/macs", c.pin), 0);
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

	b = bpfbox_open(&c);
	assert_true(b->adopted);
	gate_bpf_settle(b);
	assert_populated(b, 100, true);
	assert_int_equal(bpf_map_lookup_elem(b->maps.macs, &key, &value), 0);
	assert_false(bpfbox_exists(&c, NSBOX_ABI "/maps-old"));
	gate_bpf_close(b);
}

static void test_resize_words_of_each_cpu(void **state)
{
	struct gate_config c;
	uint32_t key = GATE_R_BLOCKED, lost = GATE_UNTOLD_LOST;

	nsbox_config(&c, "gate");
	struct gate_bpf *b = bpfbox_open(&c);
	int n = b->maps.ncpus;
	uint64_t *v = calloc((size_t)n, sizeof(*v));
	assert_non_null(v);
	v[0] = 42;
	assert_int_equal(bpf_map_update_elem(b->maps.reasons, &key, v, BPF_ANY), 0);
	assert_int_equal(bpf_map_update_elem(b->maps.untold, &lost, v, BPF_ANY), 0);
	gate_bpf_close(b);
	for (uint32_t max_vms = 128; max_vms <= 256; max_vms *= 2) {
		struct gate_reason_sums sums;
		struct gate_untold_sums untold;

		c.max_vms = max_vms;
		b = bpfbox_open(&c);
		/* the new programs, swapped already, count */
		v[0] = 8;
		assert_int_equal(bpf_map_update_elem(b->maps.reasons, &key, v, BPF_ANY), 0);
		assert_int_equal(bpf_map_update_elem(b->maps.untold, &lost, v, BPF_ANY), 0);
		gate_bpf_settle(b);
		/* and nobody but them writes where they do */
		assert_int_equal(bpf_map_lookup_elem(b->maps.reasons, &key, v), 0);
		assert_int_equal(v[0], 8);
		gate_usage_reasons(&b->maps, &sums);
		assert_int_equal(sums.taken[GATE_R_BLOCKED], max_vms == 128 ? 50 : 58);
		assert_int_equal(sums.would[GATE_R_BLOCKED], 0);
		gate_usage_untold(&b->maps, &untold);
		assert_int_equal(untold.lost, max_vms == 128 ? 50 : 58);
		assert_int_equal(untold.rationed, 0);
		gate_bpf_close(b);
	}
	free(v);
}

/* What a VM spends on the old maps after they were copied is spent on the new ones too. */
static void test_resize_carries_one_vm(void **state)
{
	struct gate_config c;
	struct gate_maps old;
	struct gate_sizes sizes;
	struct gate_bpf *b = open_grown(&c, &old, &sizes);

	assert_true(gate_bpf_upgrades(b));
	old.buckets[gate_bucket_index(&old, SLOT, 0)].tat[0] = 9000;
	old.buckets[gate_bucket_index(&old, SLOT + 1, 0)].tat[0] = 7000;
	old.flows[SLOT * old.conf->flow_sets + 5].way[0] =
		(struct gate_flow){ .fingerprint = 0x55, .state = GATE_FLOW_SYN_SENT };
	gate_bpf_carry(b, SLOT);
	assert_int_equal(b->maps.buckets[gate_bucket_index(&b->maps, SLOT, 0)].tat[0], 9000);
	assert_int_equal(b->maps.buckets[gate_bucket_index(&b->maps, SLOT + 1, 0)].tat[0], 0);
	assert_int_equal(b->maps.flows[SLOT * b->maps.conf->flow_sets + 5].way[0].fingerprint,
			 0x55);
	assert_int_equal(b->maps.buckets[gate_bucket_index(&b->maps, SLOT, 0)].active, 2);
	gate_bpf_carry(b, GATE_SLOT_ANY);
	assert_int_equal(b->maps.buckets[gate_bucket_index(&b->maps, SLOT + 1, 0)].tat[0], 7000);
	assert_int_equal(b->maps.buckets[gate_bucket_index(&b->maps, SLOT, 0)].active, 2);
	gate_maps_close(&old, &sizes);
	gate_bpf_settle(b);
	assert_false(gate_bpf_upgrades(b));
	gate_bpf_close(b);
}

/* One that is neither finished nor called off: an old program counts on, its VM has gone. */
static void test_resize_stays_open(void **state)
{
	struct gate_config c;
	struct gate_maps old;
	struct gate_sizes sizes;
	struct gate_bpf *b = open_grown(&c, &old, &sizes);
	const uint32_t set = gate_bucket_index(&b->maps, SLOT, 0);

	strcpy(b->maps.names[SLOT], "web2"); /* the slot's next VM */
	memset(&b->maps.counters[SLOT], 0, sizeof(b->maps.counters[SLOT]));
	memset(&b->maps.buckets[set], 0, sizeof(b->maps.buckets[set]));
	old.counters[SLOT].flows_admitted = 5;
	old.buckets[gate_bucket_index(&old, SLOT, 0)].tat[0] = 9000;
	old.flows[SLOT * old.conf->flow_sets + 5].way[0] =
		(struct gate_flow){ .fingerprint = 0x55, .state = GATE_FLOW_OPEN };
	old.counters[SLOT + 1].flows_admitted = 6;
	gate_bpf_carry(b, SLOT);
	gate_bpf_carry(b, GATE_SLOT_ANY);
	assert_int_equal(b->maps.counters[SLOT].flows_admitted, 0);
	assert_int_equal(b->maps.counters[GATE_SLOT_UNKNOWN].flows_admitted, 5);
	assert_int_equal(b->maps.counters[SLOT + 1].flows_admitted, 6);
	assert_int_equal(b->maps.buckets[set].tat[0], 0);
	assert_int_equal(b->maps.buckets[set].active, 0);
	gate_maps_close(&old, &sizes);
	gate_bpf_settle(b);
	gate_bpf_close(b);
}

/* An upgrade that is called off: the maps and programs of before are found in their place. */
static void test_resize_rolled_back(void **state)
{
	struct gate_config c, small;
	char maps[GATE_PIN_PATH];
	struct gate_conf conf;

	nsbox_config(&small, "gate");
	struct gate_bpf *b = bpfbox_open(&small);
	const uint32_t from_vm = b->id[GATE_FROM_VM];
	assert_false(gate_bpf_can_roll_back(b));
	populate(b);
	b->maps.conf->revision = 7;
	gate_bpf_close(b);

	c = small;
	c.max_vms = 128;
	/* whoever starts it tries again: the sets of all tries lie beside the one in force */
	for (unsigned tries = 1; tries <= 3; tries++) {
		struct bpf_prog_info info = { 0 };
		uint32_t len = sizeof(info);

		b = bpfbox_open(&c);
		gate_bpf_close(b); /* killed; and a directory may list them in any order */
		nsbox_run("cd %s/" NSBOX_ABI " && mv maps-old ../aside && mv ../aside maps-old",
			  c.pin);
		b = bpfbox_open(&c);
		assert_true(gate_bpf_can_roll_back(b));
		assert_int_equal(bpf_obj_get_info_by_fd(b->before[GATE_FROM_VM], &info, &len), 0);
		assert_int_equal(info.id, from_vm);
		b->maps.counters[SLOT].flows_admitted += 1;
		b->maps.conf->revision++; /* as the engine does at its start */
		gate_bpf_call_off(b, 60);
		assert_int_equal(gate_bpf_roll_back(b), 0);
		gate_bpf_close(b);
		assert_int_equal(gate_pins_path(maps, "%s/" NSBOX_ABI "/maps", c.pin), 0);
		assert_int_equal(gate_maps_read_conf(maps, &conf), 0);
		assert_int_equal(conf.max_vms, 64);
		assert_int_equal(conf.revision, 7);
	}

	/* what the new ones have counted meanwhile comes back, and their flows may go on */
	b = bpfbox_open(&small);
	assert_true(b->maps.vms[SLOT].grace_until > gate_clock_mono_ns() + 50 * GATE_NSEC_PER_SEC);
	gate_bpf_settle(b);
	assert_populated(b, 103, true);
	assert_false(bpfbox_exists(&c, NSBOX_ABI "/maps-old"));
	gate_bpf_close(b);
}

/* On either hook the old program takes its place back, alone. */
static void test_programs_go_back(void **state)
{
	static const enum gate_hook hooks[] = { GATE_HOOK_TC, GATE_HOOK_TCX };

	for (size_t i = 0; i < 2 && (hooks[i] == GATE_HOOK_TC || nsbox_has_tcx()); i++) {
		struct gate_attacher *a;
		struct gate_config c;
		struct gate_error err = { 0 };

		bpfbox_remove(NULL);
		nsbox_run("ip link add v0 type veth peer name v0_p && ip link set v0 up");
		const uint32_t v0 = if_nametoindex("v0");
		nsbox_config(&c, "gate");
		c.hook = hooks[i];
		for (c.max_vms = 64; c.max_vms <= 128; c.max_vms *= 2) {
			struct gate_bpf *b = bpfbox_open(&c);
			const bool again = c.max_vms == 128;
			assert_int_equal(gate_attach_open(&a, b, &c, &err), 0);
			assert_int_equal(gate_attach_earlier(a, v0, GATE_FROM_VM), again);
			assert_int_equal(gate_attach_put(a, v0, "v0", GATE_FROM_VM, false, &err),
					 0);
			assert_int_equal(gate_attach_check(a, v0, GATE_FROM_VM), 1);
			if (again) {
				assert_int_equal(gate_attach_put_back(a, v0, GATE_FROM_VM, false),
						 0);
				assert_int_equal(gate_attach_check(a, v0, GATE_FROM_VM), 0);
				assert_true(gate_attach_earlier(a, v0, GATE_FROM_VM));
				assert_int_equal(gate_bpf_roll_back(b), 0);
			}
			gate_attach_close(a);
			gate_bpf_close(b);
		}
		/* which is what the next daemon of the old sizes finds there */
		assert_int_equal(nsbox_try("tc filter show dev v0 ingress | grep -c gate25_from_vm "
					   "| grep -q %d",
					   hooks[i] == GATE_HOOK_TC),
				 0);
		nsbox_run("ip link del v0");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_resize, bpfbox_remove),
		cmocka_unit_test_teardown(test_resize_flow_ends_meanwhile, bpfbox_remove),
		cmocka_unit_test_teardown(test_resize_cut_short, bpfbox_remove),
		cmocka_unit_test_teardown(test_resize_too_small, bpfbox_remove),
		cmocka_unit_test_teardown(test_resize_one_map, bpfbox_remove),
		cmocka_unit_test_teardown(test_resize_words_of_each_cpu, bpfbox_remove),
		cmocka_unit_test_teardown(test_resize_carries_one_vm, bpfbox_remove),
		cmocka_unit_test_teardown(test_resize_stays_open, bpfbox_remove),
		cmocka_unit_test_teardown(test_resize_rolled_back, bpfbox_remove),
		cmocka_unit_test_teardown(test_programs_go_back, bpfbox_remove),
	};

	nsbox_enter();
	return cmocka_run_group_tests_name("resize", tests, NULL, NULL);
}
