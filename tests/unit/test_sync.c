// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* MACs and addresses: which entries the program finds and which policies they bring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../lib/enginebox.h"
#include "../lib/fakeclock.h"
#include "sync.h"

#include <bpf/bpf.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct enginebox box;

static int open_box(void **state)
{
	box_open(&box, 0, NULL);
	return 0;
}

static int open_three(void **state)
{
	static const uint16_t ports[] = { 25, 465, 587, 0 };

	box_open(&box, 0, ports);
	return 0;
}

static int close_box(void **state)
{
	box_close(&box);
	return 0;
}

#define change(subject, words) box_change(&box, fake_now(), subject, words)

/* "limit+quarantine" of the node that a base leads to; "" = none. */
static const char *state_at(uint32_t base)
{
	static char text[2][40];
	static int which;
	const struct gate_node *n = base ? fake_gate_node(&box.g, base, 0) : NULL;

	which = !which;
	snprintf(text[which], sizeof(text[which]), "%s%s", n ? gate_state_name(n->state) : "",
		 n && n->quarantine_until ? "+quarantine" : "");
	return text[which];
}

struct expectation {
	uint32_t slot;
	const char *address;
	bool there;
	uint32_t flags;
	const char *first, *second;
	bool own_bucket;
};

static void check(const struct expectation *x)
{
	struct gate_address a = { 0 };
	uint8_t mac[6];
	bool there = gate_parse_mac(x->address, mac) == 0
			     ? fake_gate_mac(&box.g, x->slot, x->address, &a)
			     : fake_gate_ip(&box.g, x->slot, x->address, &a);

	assert_int_equal(there, x->there);
	if (!there)
		return;
	assert_int_equal(a.flags, x->flags);
	assert_string_equal(state_at(a.base[0]), x->first);
	assert_string_equal(state_at(a.base[1]), x->second);
	assert_int_equal(a.bucket > box.g.m.scopes, x->own_bucket);
}

#define REG   GATE_ADDR_REGISTERED
#define ALLOW GATE_ADDR_ALLOWED
#define ANY   GATE_SLOT_ANY

static void test_identity_3_a_policy_on_an_address_is_the_registered_vms(void **state)
{
	static const struct expectation table[] = {
		{ 1, "52:54:00:00:00:01", true, REG, "block", "", true },
		{ 1, "52:54:00:00:00:02", true, REG, "", "", false },
		{ 1, "192.0.2.7", true, REG, "allow", "", true },
		{ 1, "192.0.2.8", true, REG, "", "", false },
		{ 1, "198.51.100.1", true, REG, "limit", "", true },
		{ 1, "2001:db8::1", true, REG, "limit", "block", true },
		{ 1, "2001:db8:0:0:1::1", true, REG, "block", "", true },
		{ 2, "192.0.2.7", false, 0, "", "", false },
		{ ANY, "52:54:00:00:00:01", true, 0, "block", "", false },
		{ ANY, "192.0.2.7", true, 0, "allow", "", false },
		{ ANY, "192.0.2.8", false, 0, "", "", false },
		{ ANY, "198.51.100.9", true, 0, "limit", "", false },
		{ ANY, "2001:db8::1", true, 0, "limit", "block", false },
		{ ANY, "2001:db8:0:0:1::1", true, 0, "block", "", false },
	};

	box_vm(&box, "web1",
	       "mac=52:54:00:00:00:01 mac=52:54:00:00:00:02 ip=192.0.2.0/24 ip=198.51.100.1 "
	       "ip=2001:db8::/64");
	box_vm(&box, "web2", "ip=203.0.113.1");
	assert_false(box.g.conf.flags & (GATE_CONF_ANY_IPS | GATE_CONF_ANY_MACS));
	assert_int_equal(change("mac:52:54:00:00:00:01", "block"), 0);
	assert_int_equal(change("ip:192.0.2.7", "allow"), 0); /* within what is registered */
	assert_int_equal(change("ip:198.51.100.0/24", "limit 1/s"), 0); /* around it */
	assert_int_equal(change("ip:2001:db8::/64", "block"), 0);
	assert_int_equal(change("ip:2001:db8::1", "limit 2/s"), 0);
	assert_true(box.g.conf.flags & GATE_CONF_ANY_IPS);
	assert_true(box.g.conf.flags & GATE_CONF_ANY_MACS);
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		check(&table[i]);
	/* The same after a restart and after a reboot. */
	for (int reboot = 0; reboot < 2; reboot++) {
		box_restart(&box, reboot);
		for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++)
			check(&table[i]);
	}
}

static void test_entries_follow_policy_and_registration(void **state)
{
	change("ip:192.0.2.0/24", "block");
	box_vm(&box, "web1", "ip=192.0.2.1");
	check(&(struct expectation){ 1, "192.0.2.1", true, REG, "block", "", true });
	box_vm(&box, "web1", "ip=192.0.2.2");
	check(&(struct expectation){ 1, "192.0.2.1", .there = false });
	check(&(struct expectation){ 1, "192.0.2.2", true, REG, "block", "", true });
	change("ip:192.0.2.0/24", "drop");
	check(&(struct expectation){ 1, "192.0.2.2", true, REG, "", "", false });
	check(&(struct expectation){ ANY, "192.0.2.2", .there = false });
	assert_false(box.g.conf.flags & GATE_CONF_ANY_IPS);
	fake_pass(2);
	gate_engine_tick(box.e, fake_now());
	assert_int_equal(box.g.m.vms[1].override_base, 0);
	assert_true(box.g.m.vms[1].flags & GATE_VM_IPS);
	box_vm(&box, "web1", "");
	assert_false(box.g.m.vms[1].flags & GATE_VM_IPS);
}

static bool observed(const char *address)
{
	struct gate_address a = { 0 };
	const struct gate_node *n;

	assert_true(fake_gate_ip(&box.g, 1, address, &a));
	n = a.base[0] ? fake_gate_node(&box.g, a.base[0], 0) : NULL;
	return n && n->flags & GATE_NODE_OBSERVE;
}

static void test_of_many_covering_policies_a_quarantine_is_never_left_out(void **state)
{
	static const struct {
		const char *subject, *words, *first, *second;
		bool observed;
	} table[] = {
		{ "ip:192.0.2.0/24", "limit 1/s", "allow", "limit", false },
		{ "ip:192.0.0.0/16", "quarantine", "allow+quarantine", "limit+quarantine", false },
		{ "ip:192.0.2.0/28", "observe=on", "allow+quarantine", "limit+quarantine", true },
		{ "ip:192.0.0.0/12", "block", "allow+quarantine", "limit+quarantine", true },
		{ "ip:192.0.0.0/16", "release", "allow", "limit", true },
		{ "ip:192.0.2.0/28", "observe=off", "allow", "limit", false },
		{ "ip:192.0.0.0/12", "observe=on", "allow", "limit", true },
		{ "ip:192.0.2.1", "drop", "limit", "block", true },
		{ "ip:192.0.2.1", "observe=on", "inherit", "limit", true },
		{ "ip:192.0.0.0/12", "quarantine for=600", "inherit+quarantine", "limit+quarantine",
		  true },
		{ "ip:192.0.2.1", "allow", "allow+quarantine", "limit+quarantine", true },
	};
	struct gate_subject s = box_subject("ip:192.0.2.0/24");

	box_vm(&box, "web1", "ip=192.0.2.1");
	change("ip:192.0.2.1", "allow");
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(change(table[i].subject, table[i].words), 0);
		check(&(struct expectation){ 1, "192.0.2.1", true, REG, table[i].first,
					     table[i].second, true });
		check(&(struct expectation){ ANY, "192.0.2.1", true, 0, table[i].first,
					     table[i].second, false });
		assert_int_equal(observed("192.0.2.1"), table[i].observed);
	}
	/* Whose it is is known even when only the kernel is left to ask. */
	gate_engine_close(box.e);
	unlink(box.g.store);
	assert_int_equal(gate_engine_open(&box.e, &box.g.c, &box.g.m, &box.err), 0);
	assert_false(gate_engine_own(box.e, &s)->quarantine.on);
	assert_string_equal(box_effective(&box, "ip:192.0.2.1", 0), "quarantine ip:192.0.0.0/12");
	change("ip:192.0.0.0/12", "release");
	assert_string_equal(box_effective(&box, "ip:192.0.2.1", 0), "allow ip:192.0.2.1");
}

static void test_pairs_may_be_used_and_grant_nothing(void **state)
{
	box_vm(&box, "web1", "mac=52:54:00:00:00:01 pair=02:00:5e:00:01:07,192.0.2.100");
	box_vm(&box, "web2", "mac=52:54:00:00:00:02 pair=02:00:5e:00:01:07,192.0.2.100");
	change("ip:192.0.2.100", "allow");
	for (uint32_t slot = 1; slot <= 2; slot++) {
		check(&(struct expectation){ slot, "02:00:5e:00:01:07", true, ALLOW, "", "",
					     false });
		check(&(struct expectation){ slot, "192.0.2.100", true, ALLOW, "", "", false });
	}
}

static void test_precedence_5_a_prefix_budget_is_shared_by_whoever_registered_within(void **state)
{
	struct gate_address a, b;

	box_vm(&box, "web1", "ip=192.0.2.1");
	box_vm(&box, "web2", "ip=192.0.2.2");
	box_vm(&box, "web3", "ip=198.51.100.3");
	assert_int_equal(change("ip:192.0.2.0/24", "budget 50/h"), 0);
	assert_true(fake_gate_ip(&box.g, 1, "192.0.2.1", &a));
	assert_true(fake_gate_ip(&box.g, 2, "192.0.2.2", &b));
	assert_int_not_equal(a.budget, 0);
	assert_int_equal(a.budget, b.budget);
	assert_int_equal(a.base[0], 0);
	assert_true(fake_gate_ip(&box.g, 3, "198.51.100.3", &b));
	assert_int_equal(b.budget, 0);
	box.g.m.budgets[a.budget].tat[0] = 9;
	box_restart(&box, false);
	assert_true(fake_gate_ip(&box.g, 2, "192.0.2.2", &b));
	assert_int_equal(a.budget, b.budget);
	assert_int_equal(box.g.m.budgets[b.budget].tat[0], 9);
}

/* ---- bucket sets of overrides ---- */

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

/* ---- full ---- */

static void test_a_full_table_is_said_and_tried_again(void **state)
{
	struct gate_prefix ips[500];
	struct gate_vm_spec vm = { .name = "big", .binding = -1, .ips = ips, .nips = 500 };
	struct gate_actor who = { .name = "alice" };

	for (unsigned i = 0; i < vm.nips; i++)
		ips[i] = (struct gate_prefix){
			.len = 128, .addr = { 0x20, 1, [14] = (uint8_t)(i >> 8), [15] = (uint8_t)i }
		};
	assert_int_equal(gate_engine_vm_put(box.e, &who, &vm, true, false, "", &box.err), 0);
	box_vm(&box, "web1", "ip=192.0.2.1");
	assert_string_equal(box_problems(&box), "map_full: there is no room for all MACs and "
						"addresses of the VMs\n");
	check(&(struct expectation){ 2, "192.0.2.1", .there = false });
	assert_int_equal(box_del(&box, "big"), 0);
	fake_pass(61);
	gate_engine_tick(box.e, fake_now());
	assert_string_equal(box_problems(&box), "");
	check(&(struct expectation){ 2, "192.0.2.1", true, REG, "", "", false });
}

/* ---- the next VM of a slot ---- */

static sigjmp_buf cut;

static void cut_short(int signal)
{
	siglongjmp(cut, 1);
}

/* Whoever dies while a slot is wiped leaves it known as one that is yet to be wiped, or clean. */
static void test_a_slot_that_is_half_wiped_is_not_taken_for_clean(void **state)
{
	const struct sigaction act = { .sa_handler = cut_short, .sa_flags = SA_NODEFER };
	static const struct gate_bucket_set no_bucket;
	static const struct gate_flow no_flow;
	struct gate_maps *m = &box.g.m;
	struct gate_counters *was = m->counters;
	struct sigaction before;
	struct gate_sync *s;
	size_t size = 1 << 16;

	assert_int_equal(gate_sync_open(&s, m, &box.g.c, &box.err), 0);
	m->counters = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(m->counters, MAP_FAILED);
	m->counters[1].packets_from_vm = 1;
	m->vms[1].first_mac = m->dests[box.g.conf.dest_sets].way[0] = 7;
	m->buckets[gate_bucket_index(m, 1, 0)].active = 7;
	m->flows[box.g.conf.flow_sets].way[0].fingerprint = 7;
	assert_int_equal(mprotect(m->counters, size, PROT_READ), 0);
	assert_int_equal(sigaction(SIGSEGV, &act, &before), 0);
	if (!sigsetjmp(cut, 1)) {
		gate_sync_vm_wipe(s, 1);
		fail_msg("counters were not wiped");
	}
	assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
	assert_int_equal(m->vms[1].first_mac, 0);
	assert_int_equal(m->dests[box.g.conf.dest_sets].way[0], 0);
	assert_memory_equal(&m->buckets[gate_bucket_index(m, 1, 0)], &no_bucket, sizeof(no_bucket));
	assert_memory_equal(&m->flows[box.g.conf.flow_sets], &no_flow, sizeof(no_flow));
	munmap(m->counters, size);
	m->counters = was;
	gate_sync_close(s);
}

/* ---- uplink mode ---- */

static void test_in_uplink_mode_sources_lead_to_vms(void **state)
{
	struct gate_mac_owner_key mac = { .mac = { 0x52, 0x54, 0, 0, 0, 1 } };
	struct gate_ip_key ip = { .prefixlen = 160,
				  .addr = { [10] = 0xff, [11] = 0xff, 192, 0, 2, 1 } };
	uint32_t slot = 0;

	box.g.c.uplink_mode = true;
	box_vm(&box, "web1", "mac=52:54:00:00:00:01 ip=192.0.2.1");
	assert_int_equal(bpf_map_lookup_elem(box.g.m.mac_owner, &mac, &slot), 0);
	assert_int_equal(slot, 1);
	assert_int_equal(bpf_map_lookup_elem(box.g.m.ip_owner, &ip, &slot), 0);
	box_restart(&box, false);
	assert_int_equal(bpf_map_lookup_elem(box.g.m.ip_owner, &ip, &slot), 0);
	box_vm(&box, "web1", "ip=192.0.2.1");
	assert_int_not_equal(bpf_map_lookup_elem(box.g.m.mac_owner, &mac, &slot), 0);
	assert_int_equal(bpf_map_lookup_elem(box.g.m.ip_owner, &ip, &slot), 0);
	box_vm(&box, "web1", "mac=52:54:00:00:00:01 ip=192.0.2.0/24");
	assert_int_equal(bpf_map_lookup_elem(box.g.m.mac_owner, &mac, &slot), 0);
	assert_int_equal(bpf_map_lookup_elem(box.g.m.ip_owner, &ip, &slot), 0); /* within */
	box_vm(&box, "web1", "");
	assert_int_not_equal(bpf_map_lookup_elem(box.g.m.mac_owner, &mac, &slot), 0);
	assert_int_not_equal(bpf_map_lookup_elem(box.g.m.ip_owner, &ip, &slot), 0);
}

int main(void)
{
#define BOX(f)	 cmocka_unit_test_setup_teardown(f, open_box, close_box)
#define THREE(f) cmocka_unit_test_setup_teardown(f, open_three, close_box)
	const struct CMUnitTest tests[] = {
		BOX(test_identity_3_a_policy_on_an_address_is_the_registered_vms),
		BOX(test_entries_follow_policy_and_registration),
		BOX(test_of_many_covering_policies_a_quarantine_is_never_left_out),
		BOX(test_pairs_may_be_used_and_grant_nothing),
		BOX(test_precedence_5_a_prefix_budget_is_shared_by_whoever_registered_within),
		BOX(test_an_override_keeps_its_bucket_while_others_come_and_go),
		BOX(test_flows_of_an_override_that_goes_count_against_the_vm),
		BOX(test_a_flow_counted_while_sets_are_copied_counts_in_the_copy),
		BOX(test_a_flow_entered_while_its_override_goes_counts_against_the_vm),
		BOX(test_flows_of_an_override_that_has_gone_are_moved_at_the_next_start),
		BOX(test_overrides_without_room_for_a_bucket_spend_the_tight_one),
		THREE(test_an_override_has_a_set_for_each_scope),
		BOX(test_a_full_table_is_said_and_tried_again),
		BOX(test_a_slot_that_is_half_wiped_is_not_taken_for_clean),
		BOX(test_in_uplink_mode_sources_lead_to_vms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
