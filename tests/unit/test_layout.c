// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Layouts of map elements: complete, and copied by name from one to another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "layout.h"

#include <errno.h>
#include <gate25/abi.h>
#include <stdio.h>
#include <string.h>

/* ---- this version's layout describes every byte ---- */

struct element {
	const char *map;
	size_t size;
	size_t pad[2]; /* bytes from .. to that mean nothing */
};

static const struct element elements[] = {
	{ "conf",
	  sizeof(struct gate_conf),
	  { offsetof(struct gate_conf, pad), offsetof(struct gate_conf, revision) } },
	{ "vms", sizeof(struct gate_vm), { 0 } },
	{ "names", GATE_NAME_LEN, { 0 } },
	{ "heads", 8, { 0 } },
	{ "nodes", sizeof(struct gate_node), { 0 } },
	{ "buckets", sizeof(struct gate_bucket_set), { 0 } },
	{ "budgets", sizeof(struct gate_budget), { offsetof(struct gate_budget, pad), 8 } },
	{ "counters", sizeof(struct gate_counters), { 0 } },
	{ "port_counters", sizeof(struct gate_port_counters), { 0 } },
	{ "flows", sizeof(struct gate_flow_set), { 0 } },
	{ "dests", sizeof(struct gate_dest_set), { 0 } },
	{ "ports", sizeof(struct gate_port), { 0 } },
	{ "ports.key", 4, { 0 } },
	{ "mac_owner", 4, { 0 } },
	{ "mac_owner.key",
	  sizeof(struct gate_mac_owner_key),
	  { offsetof(struct gate_mac_owner_key, pad), sizeof(struct gate_mac_owner_key) } },
	{ "ip_owner", 4, { 0 } },
	{ "ip_owner.key", sizeof(struct gate_ip_key), { 0 } },
	{ "macs", sizeof(struct gate_address), { 0 } },
	{ "macs.key",
	  sizeof(struct gate_mac_key),
	  { offsetof(struct gate_mac_key, pad), sizeof(struct gate_mac_key) } },
	{ "ips", sizeof(struct gate_address), { 0 } },
	{ "ips.key", sizeof(struct gate_ip_key), { 0 } },
	{ "exempt", 4, { 0 } },
	{ "exempt.key", sizeof(struct gate_exempt_key), { 0 } },
};

static void cover(const struct element *e, const struct gate_layout_field *f, uint8_t *covered)
{
	for (uint32_t i = 0; i < f->count; i++) {
		for (uint32_t b = 0; b < f->size; b++) {
			const size_t at = f->offset + (size_t)i * f->stride + b;
			if (at >= e->size || covered[at]++)
				fail_msg("%s: byte %zu is beyond the end or twice, of %s", e->map,
					 at, f->name);
		}
	}
}

static void test_every_byte_is_described_once(void **state)
{
	for (size_t i = 0; i < sizeof(elements) / sizeof(elements[0]); i++) {
		const struct element *e = &elements[i];
		uint8_t covered[1024] = { 0 };

		assert_true(e->size <= sizeof(covered));
		for (size_t f = 0; f < gate_layout_count; f++)
			if (!strcmp(gate_layout[f].map, e->map))
				cover(e, &gate_layout[f], covered);
		for (size_t b = 0; b < e->size; b++)
			if (!covered[b] && (b < e->pad[0] || b >= e->pad[1]))
				fail_msg("%s: byte %zu belongs to no field", e->map, b);
	}
}

static void test_names_are_unique_and_whole(void **state)
{
	for (size_t i = 0; i < gate_layout_count; i++) {
		const struct gate_layout_field *f = &gate_layout[i];
		assert_true(strnlen(f->map, sizeof(f->map)) < sizeof(f->map));
		assert_true(strnlen(f->name, sizeof(f->name)) < sizeof(f->name));
		for (size_t j = 0; j < i; j++)
			if (!strcmp(gate_layout[j].map, f->map) &&
			    !strcmp(gate_layout[j].name, f->name))
				fail_msg("%s: %s is there twice", f->map, f->name);
	}
}

static void test_reasons_have_their_numbers(void **state)
{
	unsigned n = 0;

	for (size_t i = 0; i < gate_layout_count; i++)
		if (!strcmp(gate_layout[i].map, "reasons"))
			assert_int_equal(gate_layout[i].offset, n++);
	assert_int_equal(n, GATE_R_MAX);
}

/* ---- from one layout to another ---- */

struct copy_case {
	const char *what;
	struct gate_layout_field from[3], to[3];
	const char *source, *target; /* of 16 bytes, in hex; '..' = stays 0xee */
	int err;
	size_t steps; /* neighbours are copied as one */
};

#define F(name, offset, size)                                                                      \
	{                                                                                          \
		"m", name, offset, size, 1, size                                                   \
	}
#define L(name, offset, size, count, stride)                                                       \
	{                                                                                          \
		"m", name, offset, size, count, stride                                             \
	}

static const struct copy_case copy_cases[] = {
	{ "the same",
	  { F("a", 0, 4), F("b", 4, 4), F("c", 8, 8) },
	  { F("a", 0, 4), F("b", 4, 4), F("c", 8, 8) },
	  "000102030405060708090a0b0c0d0e0f",
	  "000102030405060708090a0b0c0d0e0f",
	  0,
	  1 },
	{ "fields that changed places",
	  { F("a", 0, 4), F("b", 4, 4) },
	  { F("b", 0, 4), F("a", 4, 4) },
	  "000102030405060708090a0b0c0d0e0f",
	  "0405060700010203................",
	  0,
	  2 },
	{ "a new field in the middle",
	  { F("a", 0, 4), F("b", 4, 4) },
	  { F("a", 0, 4), F("new", 4, 4), F("b", 8, 4) },
	  "000102030405060708090a0b0c0d0e0f",
	  "00010203........04050607........",
	  0,
	  2 },
	{ "a field that is no more",
	  { F("a", 0, 4), F("old", 4, 4), F("b", 8, 4) },
	  { F("a", 0, 4), F("b", 4, 4) },
	  "000102030405060708090a0b0c0d0e0f",
	  "0001020308090a0b................",
	  0,
	  2 },
	{ "more items",
	  { L("a", 0, 2, 2, 2) },
	  { L("a", 0, 2, 4, 2) },
	  "000102030405060708090a0b0c0d0e0f",
	  "00010203........................",
	  0,
	  1 },
	{ "fewer items, further apart",
	  { L("a", 0, 2, 4, 2) },
	  { L("a", 0, 2, 2, 8) },
	  "000102030405060708090a0b0c0d0e0f",
	  "0001............0203............",
	  0,
	  2 },
	{ "a field that would shrink", { F("a", 0, 8) }, { F("a", 0, 4) }, "", "", -EPROTO, 0 },
	{ "nothing in common", { F("a", 0, 8) }, { F("b", 0, 4) }, "", "", 0, 0 },
};

static void unhex(const char *hex, uint8_t out[16])
{
	memset(out, 0xee, 16);
	for (size_t i = 0; hex[2 * i]; i++)
		if (hex[2 * i] != '.')
			assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &out[i]), 1);
}

static void test_copy(void **state)
{
	for (size_t i = 0; i < sizeof(copy_cases) / sizeof(copy_cases[0]); i++) {
		const struct copy_case *t = &copy_cases[i];
		uint8_t from[16], want[16], got[16];
		struct gate_plan p = { 0 };

		print_message("copy: %s\n", t->what);
		assert_int_equal(gate_plan_make(&p, t->from, 3, t->to, 3, "m"), t->err);
		if (t->err)
			continue;
		assert_int_equal(p.nsteps, t->steps);
		unhex(t->source, from);
		unhex(t->target, want);
		memset(got, 0xee, sizeof(got));
		gate_plan_run(&p, from, got);
		assert_memory_equal(got, want, sizeof(got));
		gate_plan_free(&p);
	}
}

/* A number that has grown keeps its value, whatever the byte order. */
static void test_a_number_grows(void **state)
{
	const struct gate_layout_field from = F("a", 0, 4), to = F("a", 0, 8);
	const uint32_t before = 0xfedcba98;
	uint64_t after = 0;
	struct gate_plan p;

	assert_int_equal(gate_plan_make(&p, &from, 1, &to, 1, "m"), 0);
	gate_plan_run(&p, &before, &after);
	gate_plan_free(&p);
	assert_int_equal(after, 0xfedcba98);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_byte_is_described_once),
		cmocka_unit_test(test_names_are_unique_and_whole),
		cmocka_unit_test(test_reasons_have_their_numbers),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_a_number_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
