// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What is read from the maps: how full they are, sums over CPUs, tokens left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "buckets.h"
#include "usage.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* buckets.c asks for a tenant's budget; these tests have none. */
const struct gate_own *gate_engine_own(struct gate_engine *e, const struct gate_subject *s)
{
	return NULL;
}

const struct gate_vm_spec *gate_engine_vm(struct gate_engine *e, uint32_t slot)
{
	return NULL;
}

static struct gate_conf conf;
static struct gate_global global;
static struct gate_vm vms[8];
static uint64_t heads[32], shadow_heads[32];
static struct gate_bucket_set buckets[16];
static struct gate_budget budgets[4];
static struct gate_maps maps;

static int setup(void **state)
{
	conf = (struct gate_conf){ .max_vms = COUNT(vms), .nports = 1, .flow_sets = 16 };
	maps = (struct gate_maps){ .ports = -1,
				   .mac_owner = -1,
				   .ip_owner = -1,
				   .macs = -1,
				   .ips = -1,
				   .exempt = -1,
				   .reasons = -1,
				   .untold = -1,
				   .events = -1,
				   .conf = &conf,
				   .global = &global,
				   .vms = vms,
				   .heads = heads,
				   .shadow_heads = shadow_heads,
				   .buckets = buckets,
				   .budgets = budgets,
				   .nheads = COUNT(heads),
				   .nnodes = 64,
				   .nbuckets = COUNT(buckets),
				   .nbudgets = COUNT(budgets),
				   .scopes = 1,
				   .ncpus = 1 };
	return 0;
}

static void test_usage_counts_arrays(void **state)
{
	static const struct gate_usage wanted[] = {
		{ "vms", 3, 8 }, { "flows", 5, 512 }, { "nodes", 3, 63 }, { "budgets", 1, 3 }
	};
	struct gate_usage usage[GATE_USAGE_MAPS];
	unsigned i;

	vms[1].flags = vms[7].flags = GATE_VM_USED;
	buckets[gate_bucket_index(&maps, 1, 0)].active = 2;
	buckets[gate_bucket_index(&maps, 7, 1)].active = 3;
	buckets[gate_bucket_index(&maps, 3, 0)].active = 100; /* a slot that is free */
	vms[2].flags = GATE_VM_USED;
	buckets[gate_bucket_index(&maps, 2, 0)].active = -1U; /* left of a race: none */
	heads[1] = heads[5] = heads[31] = 9; /* three equal policies show one node */
	heads[2] = 10;
	shadow_heads[1] = 9;
	shadow_heads[3] = 63;
	heads[4] = 64; /* no node at all */
	budgets[2].nrates = 1;
	gate_usage_read(&maps, usage);
	for (i = 0; i < COUNT(wanted); i++) {
		assert_string_equal(usage[i].map, wanted[i].map);
		assert_int_equal(usage[i].entries, wanted[i].entries);
		assert_int_equal(usage[i].capacity, wanted[i].capacity);
	}
}

static void test_usage_counts_tables(void **state)
{
	LIBBPF_OPTS(bpf_map_create_opts, trie, .map_flags = BPF_F_NO_PREALLOC);
	struct gate_usage usage[GATE_USAGE_MAPS];
	struct gate_port port = { .slot = 1 };
	struct gate_address address = { 0 };
	struct gate_ip_key ip = { .prefixlen = 160 };
	uint32_t i;
	size_t n;

	maps.ports = bpf_map_create(BPF_MAP_TYPE_HASH, "t_ports", 4, sizeof(port), 5000, NULL);
	if (maps.ports < 0)
		skip();
	maps.ips = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "t_ips", sizeof(ip), sizeof(address), 100,
				  &trie);
	assert_true(maps.ips >= 0);
	for (i = 1; i <= 3000; i++)
		assert_int_equal(bpf_map_update_elem(maps.ports, &i, &port, BPF_ANY), 0);
	for (i = 0; i < 17; i++) {
		ip.addr[15] = (uint8_t)i;
		assert_int_equal(bpf_map_update_elem(maps.ips, &ip, &address, BPF_ANY), 0);
	}
	n = gate_usage_read(&maps, usage);
	assert_int_equal(n, GATE_USAGE_MAPS);
	for (i = 0; i < n; i++) {
		if (!strcmp(usage[i].map, "ports")) {
			assert_int_equal(usage[i].entries, 3000);
			assert_int_equal(usage[i].capacity, 5000);
		} else if (!strcmp(usage[i].map, "ips")) {
			assert_int_equal(usage[i].entries, 17);
		}
	}
	close(maps.ports);
	close(maps.ips);
}

static void test_reasons_are_summed_over_cpus(void **state)
{
	struct gate_reason_sums sums;
	uint32_t key;
	uint64_t *values;
	int i;

	maps.ncpus = libbpf_num_possible_cpus();
	maps.reasons =
		bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "t_reasons", 4, 8, 2 * GATE_R_MAX, NULL);
	if (maps.reasons < 0)
		skip();
	values = calloc((size_t)maps.ncpus, sizeof(*values));
	for (i = 0; i < maps.ncpus; i++)
		values[i] = 10 + (uint64_t)i;
	key = GATE_R_BLOCKED;
	assert_int_equal(bpf_map_update_elem(maps.reasons, &key, values, BPF_ANY), 0);
	values[0] = 1000;
	key = GATE_R_MAX + GATE_R_LIMIT_RATE;
	assert_int_equal(bpf_map_update_elem(maps.reasons, &key, values, BPF_ANY), 0);
	global.reasons[GATE_R_BLOCKED] = 5; /* of before an upgrade */
	gate_usage_reasons(&maps, &sums);
	assert_int_equal(sums.taken[GATE_R_BLOCKED],
			 5 + 10 * maps.ncpus + maps.ncpus * (maps.ncpus - 1) / 2);
	assert_int_equal(sums.would[GATE_R_LIMIT_RATE], sums.taken[GATE_R_BLOCKED] - 5 + 990);
	assert_int_equal(sums.taken[GATE_R_LIMIT_RATE], 0);
	free(values);
	close(maps.reasons);
}

static void test_untold_events_are_summed_over_cpus(void **state)
{
	struct gate_untold_sums sums;
	uint32_t key = GATE_UNTOLD_LOST;
	uint64_t *values;

	maps.ncpus = libbpf_num_possible_cpus();
	maps.untold =
		bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "t_untold", 4, 8, GATE_UNTOLD_MAX, NULL);
	if (maps.untold < 0)
		skip();
	values = calloc((size_t)maps.ncpus, sizeof(*values));
	for (int i = 0; i < maps.ncpus; i++)
		values[i] = 3;
	assert_int_equal(bpf_map_update_elem(maps.untold, &key, values, BPF_ANY), 0);
	global.events_lost = 7; /* of before an upgrade */
	global.events_rationed = 1;
	gate_usage_untold(&maps, &sums);
	assert_int_equal(sums.lost, 7 + 3 * maps.ncpus);
	assert_int_equal(sums.rationed, 1);
	free(values);
	close(maps.untold);
}

/* ---- what is left in a bucket ---- */

static void test_bucket_left(void **state)
{
#define S 1000000000ULL
	static const struct {
		const char *what;
		struct gate_rate_spec rate;
		uint32_t burst;
		uint64_t tat, now, tenths, next_ms;
	} table[] = {
		{ "untouched", { 5, 1, 0 }, 10, 0, 100 * S, 100, 0 },
		{ "untouched, no burst: the count", { 5, 1, 0 }, 0, 0, 100 * S, 50, 0 },
		{ "own burst before the policy's", { 200, 3600, 50 }, 10, 0, 100 * S, 500, 0 },
		{ "one taken just now", { 5, 1, 0 }, 10, 100 * S + S / 5, 100 * S, 90, 0 },
		{ "half a token back", { 5, 1, 0 }, 10, 100 * S + S / 10, 100 * S, 95, 0 },
		{ "empty", { 5, 1, 0 }, 10, 102 * S, 100 * S, 0, 200 },
		{ "half a token there", { 5, 1, 0 }, 10, 102 * S - S / 10, 100 * S, 5, 100 },
		{ "just a token", { 5, 1, 0 }, 10, 102 * S - S / 5, 100 * S, 10, 0 },
		{ "a clock behind", { 5, 1, 0 }, 10, 900 * S, 100 * S, 0, 200 },
		{ "one a day", { 1, 86400, 0 }, 1, 100 * S + 86400 * S, 100 * S, 0, 86400000 },
	};
#undef S
	struct gate_bucket_left left;
	unsigned i;

	for (i = 0; i < COUNT(table); i++) {
		gate_bucket_left(&table[i].rate, table[i].burst, table[i].tat, table[i].now, &left);
		if (left.left_tenths != table[i].tenths || left.next_ms != table[i].next_ms)
			fail_msg("%s: %llu tenths, %llu ms", table[i].what,
				 (unsigned long long)left.left_tenths,
				 (unsigned long long)left.next_ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* first: the tables are counted anew only now and then */
		cmocka_unit_test_setup(test_usage_counts_tables, setup),
		cmocka_unit_test_setup(test_usage_counts_arrays, setup),
		cmocka_unit_test_setup(test_reasons_are_summed_over_cpus, setup),
		cmocka_unit_test_setup(test_untold_events_are_summed_over_cpus, setup),
		cmocka_unit_test(test_bucket_left),
	};

	return cmocka_run_group_tests_name("usage", tests, NULL, NULL);
}
