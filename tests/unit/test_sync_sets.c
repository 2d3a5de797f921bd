// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Bucket sets of overrides: whose flows and tokens they count while overrides come and go. */
#include "sync_lab.h"

#include <bpf/bpf.h>
#include <stdio.h>
#include <string.h>

static int open_three(void **state)
{
	static const uint16_t ports[] = { 25, 465, 587, 0 };

	box_open(&box, 0, ports);
	return 0;
}

static uint32_t bucket_of(uint32_t slot, const char *ip)
{
	struct gate_address a = { 0 };

	assert_true(fake_gate_ip(&box.g, slot, ip, &a));
	return a.bucket;
}

static struct gate_bucket_set *set_of(uint32_t slot, const char *ip)
{
	return &box.g.m.buckets[gate_bucket_index(&box.g.m, slot, bucket_of(slot, ip))];
}

static void test_an_override_keeps_its_bucket_while_others_come_and_go(void **state)
{
	char subject[40];

	box_vm(&box, "web1", "ip=192.0.2.0/24");
	change("ip:192.0.2.1", "limit 1/s");
	set_of(1, "192.0.2.1")->tat[0] = 111;
	for (int i = 2; i < 12; i++) {
		snprintf(subject, sizeof(subject), "ip:192.0.2.%d", i);
		assert_int_equal(change(subject, "limit 1/s"), 0);
		set_of(1, subject + 3)->tat[0] = (uint64_t)i * 111;
	}
	for (int i = 2; i < 12; i += 2) {
		snprintf(subject, sizeof(subject), "ip:192.0.2.%d", i);
		change(subject, "drop");
	}
	assert_int_equal(set_of(1, "192.0.2.1")->tat[0], 111);
	assert_int_equal(set_of(1, "192.0.2.11")->tat[0], 1221);
	change("ip:192.0.2.2", "limit 1/s");
	assert_int_equal(set_of(1, "192.0.2.2")->tat[0], 0);
	box_restart(&box, false);
	assert_int_equal(set_of(1, "192.0.2.1")->tat[0], 111);
	assert_int_equal(set_of(1, "192.0.2.11")->tat[0], 1221);
	change("ip:192.0.2.20", "limit 1/s");
	assert_int_equal(set_of(1, "192.0.2.20")->tat[0], 0);
	assert_int_equal(set_of(1, "192.0.2.1")->tat[0], 111);
}

static void test_flows_of_an_override_that_goes_count_against_the_vm(void **state)
{
	struct gate_flow *flow = &box.g.m.flows[4].way[1]; /* slot 1 */
	uint32_t active;

	box_vm(&box, "web1", "ip=192.0.2.1");
	change("ip:192.0.2.1", "limit 1/s");
	*flow = (struct gate_flow){ .fingerprint = 7,
				    .state = GATE_FLOW_OPEN,
				    .bucket = (uint8_t)bucket_of(1, "192.0.2.1") };
	set_of(1, "192.0.2.1")->active = 1;
	change("ip:192.0.2.1", "drop");
	assert_int_equal(flow->bucket, 0);
	assert_int_equal(box.g.m.buckets[gate_bucket_index(&box.g.m, 1, 0)].active, 1);
	gate_engine_counters(box.e, 1, &(struct gate_counters){ 0 }, &active);
	assert_int_equal(active, 1);
}

/* A program may be at work on a frame while sets are copied: what it counts is not lost. */
static void test_a_flow_counted_while_sets_are_copied_counts_in_the_copy(void **state)
{
	struct gate_bucket_set *first, *second;

	box_vm(&box, "web1", "ip=192.0.2.0/24");
	change("ip:192.0.2.1", "limit 1/s");
	first = set_of(1, "192.0.2.1");
	first->active = 5;
	change("ip:192.0.2.2", "limit 1/s");
	second = set_of(1, "192.0.2.1");
	assert_ptr_not_equal(first, second);
	assert_int_equal(second->active, 5);
	second->active += 1;
	change("ip:192.0.2.3", "limit 1/s");
	first->active -= 2; /* they have looked up the VM before it had another run */
	second->active -= 1;
	fake_pass(2);
	gate_engine_tick(box.e, fake_now());
	assert_int_equal(set_of(1, "192.0.2.1")->active, 3);
	fake_pass(2);
	gate_engine_tick(box.e, fake_now());
	assert_int_equal(set_of(1, "192.0.2.1")->active, 3);
}

static void test_a_flow_entered_while_its_override_goes_counts_against_the_vm(void **state)
{
	struct gate_flow *flow = &box.g.m.flows[box.g.conf.flow_sets].way[0]; /* slot 1 */
	struct gate_bucket_set *own = &box.g.m.buckets[gate_bucket_index(&box.g.m, 1, 0)];
	uint32_t bucket;

	for (int others = 0; others < 2; others++) { /* does the VM have another override? */
		box_vm(&box, "web1", "ip=192.0.2.0/24");
		if (others)
			change("ip:192.0.2.9", "limit 1/s");
		for (int again = 0; again < 2; again++) { /* do the numbers get another owner? */
			change("ip:192.0.2.1", "limit 1/s");
			bucket = bucket_of(1, "192.0.2.1");
			change("ip:192.0.2.1", "drop");
			*flow = (struct gate_flow){ .fingerprint = 7,
						    .state = GATE_FLOW_OPEN,
						    .bucket = (uint8_t)bucket };
			own->active = 0;
			if (again) {
				change("ip:192.0.2.2", "limit 1/s");
				assert_int_equal(bucket_of(1, "192.0.2.2"), bucket);
			} else {
				/* should it end now, that is no other VM's business */
				assert_true(gate_bucket_index(&box.g.m, 1, bucket) >=
					    box.g.conf.max_vms * (box.g.m.scopes + 1));
				fake_pass(2);
				gate_engine_tick(box.e, fake_now());
			}
			assert_int_equal(flow->bucket, 0);
			assert_int_equal(own->active, 1);
		}
		change("ip:192.0.2.2", "drop");
		fake_pass(2);
	}
}

/* Killed when the entry was written anew and the flows were yet to be moved. */
static void test_flows_of_an_override_that_has_gone_are_moved_at_the_next_start(void **state)
{
	struct gate_mac_key key = { .slot = 1, .mac = { 0x52, 0x54, 0, 0, 0, 1 } };
	struct gate_address a, bare = { .flags = REG };
	struct gate_maps *m = &box.g.m;
	struct gate_flow *f = &m->flows[box.g.conf.flow_sets].way[0];
	struct gate_sync *s;

	for (int others = 0; others < 2; others++) { /* does the VM have another override? */
		box_vm(&box, "web1", "mac=52:54:00:00:00:01 mac=52:54:00:00:00:02");
		change("mac:52:54:00:00:00:01", "limit 1/s");
		if (others)
			change("mac:52:54:00:00:00:02", "limit 1/s");
		assert_true(fake_gate_mac(&box.g, 1, "52:54:00:00:00:01", &a));
		assert_int_equal(a.bucket, m->scopes + 1);
		*f = (struct gate_flow){ .fingerprint = 7,
					 .state = GATE_FLOW_OPEN,
					 .bucket = (uint8_t)a.bucket };
		m->buckets[gate_bucket_index(m, 1, a.bucket)].active = 1;
		m->buckets[gate_bucket_index(m, 1, 0)].active = 0;
		assert_int_equal(bpf_map_update_elem(m->macs, &key, &bare, BPF_ANY), 0);
		gate_engine_close(box.e);
		assert_int_equal(gate_sync_open(&s, m, &box.g.c, &box.err), 0);
		assert_int_equal(f->bucket, 0);
		assert_int_equal(m->buckets[gate_bucket_index(m, 1, 0)].active, 1);
		gate_sync_close(s);
		assert_int_equal(gate_engine_open(&box.e, &box.g.c, m, &box.err), 0);
		change("mac:52:54:00:00:00:01", "drop");
		fake_pass(2);
	}
}

static void test_overrides_without_room_for_a_bucket_spend_the_tight_one(void **state)
{
	char words[200] = "", subject[40];

	/* 64 overrides have room for 64 blocks; a policy on a /16 wants one for each VM. */
	for (int i = 1; i < 15; i++) {
		snprintf(subject, sizeof(subject), "web%d", i);
		snprintf(words, sizeof(words), "ip=192.0.%d.0/24", i);
		box_vm(&box, subject, words);
	}
	for (int net = 16; net <= 24; net++) {
		snprintf(subject, sizeof(subject), "ip:192.0.0.0/%d", net);
		assert_int_equal(change(subject, "limit 1/s"), 0);
	}
	for (int i = 1; i < 60; i++) {
		snprintf(subject, sizeof(subject), "ip:192.0.1.%d", i);
		if (change(subject, "limit 1/s"))
			break;
		fake_pass(2);
		assert_int_not_equal(bucket_of(1, subject + 3), 0);
	}
	assert_int_equal(box.err.code, GATE_ERR_FAILED);
	assert_string_equal(box.err.message,
			    "no room for another policy of a MAC or address (max_overrides = 64)");
	assert_int_equal(bucket_of(1, "192.0.1.55"), box.g.m.scopes);
	/* A number just given back is had at once by the next who needs it. */
	assert_int_equal(change("ip:192.0.1.1", "drop"), 0);
	assert_int_equal(change("ip:192.0.1.200", "block"), 0);
	check(&(struct expectation){ ANY, "192.0.1.200", true, 0, "block", "limit", false });
}

static void test_an_override_has_a_set_for_each_scope(void **state)
{
	uint32_t first, second;

	box_vm(&box, "web1", "ip=192.0.2.1 ip=192.0.2.2");
	change("ip:192.0.2.1", "limit 1/s on=25");
	change("ip:192.0.2.2", "limit 1/s");
	first = bucket_of(1, "192.0.2.1");
	second = bucket_of(1, "192.0.2.2");
	assert_int_equal(first, box.g.m.scopes + 1);
	assert_int_equal(second, 2 * box.g.m.scopes + 1);
}

int main(void)
{
#define BOX(f)	 cmocka_unit_test_setup_teardown(f, open_box, close_box)
#define THREE(f) cmocka_unit_test_setup_teardown(f, open_three, close_box)
	const struct CMUnitTest tests[] = {
		BOX(test_an_override_keeps_its_bucket_while_others_come_and_go),
		BOX(test_flows_of_an_override_that_goes_count_against_the_vm),
		BOX(test_a_flow_counted_while_sets_are_copied_counts_in_the_copy),
		BOX(test_a_flow_entered_while_its_override_goes_counts_against_the_vm),
		BOX(test_flows_of_an_override_that_has_gone_are_moved_at_the_next_start),
		BOX(test_overrides_without_room_for_a_bucket_spend_the_tight_one),
		THREE(test_an_override_has_a_set_for_each_scope),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
