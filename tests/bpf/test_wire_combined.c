// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Tricks combined: each way to wrap a packet on the link around each way to twist
 * the packet itself, over real devices.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "../lib/wirerows.h"

static const char *const links[] = {
	"",
	"t8100",
	"t88a8",
	"t9100",
	"t88a8 t8100",
	"t8100 t8100 t8100 t8100",
	"t9100 t8100 t88a8",
	"snap",
	"t8100 snap",
	"t88a8 t8100 snap",
	"snap t8100",
	"t8100 snap t8100 snap",
	"snap snap snap",
	"llc06", /* IPv4 only */
	"pppoe",
	"t8100 pppoe",
	"t88a8 t8100 pppoec",
	"mpls",
	"t8100 mpls3",
	"snap mpls3",
	"t8100 snap pppoe",
	"pppoe mpls",
};

static const struct trick tails[] = {
	{ "ip4 tcp", FRAME_GATED, 0 },
	{ "ip4:o=40 tcp", FRAME_GATED, 0 },
	{ "ip4:o=40,mf ah tcp", FRAME_GATED, 0 },
	{ "ip4:mf tcp:8", FRAME_GATED, 0 },
	{ "ip4 ah ah ah tcp", FRAME_GATED, 0 },
	{ "ip4:o=4,mf tcp:2", FRAME_TINY, 0 },
	{ "ip4:o=40,f=1 tcp", FRAME_TINY, 0 },
	{ "ip4:o=40,f=2,mf tcp", FRAME_LATER, 0 },
	{ "ip4:ihl=3 tcp", FRAME_MALFORMED, 0 },
	{ "ip4:o=8,short tcp", FRAME_MALFORMED, 0 },
	{ "ip6 tcp", FRAME_GATED, 0 },
	{ "ip6 hbh dst rt frag0 dst tcp", FRAME_GATED, 0 },
	{ "ip6 hbh mob hip shim ah dst24 fraga tcp", FRAME_GATED, 0 },
	{ "ip6 hbh dst frag0 tcp:2", FRAME_CHAIN, 0 },
	{ "ip6 dst frag0 dst frag0 tcp", FRAME_CHAIN, 0 },
	{ "ip6 hbh rt frag3 dst", FRAME_LATER, 0 },
	{ "ip6 rt dst dst dst dst dst dst dst dst tcp", FRAME_TOO_DEEP, 0 },
	{ "ip6 dst tcp", FRAME_OTHER, 443 },
	{ "ip6 hbh dst frag0 udp", FRAME_OTHER, 0 },
	{ "ip4:o=40 tcp", FRAME_OTHER, 443 },
	{ "ip4:mf,f=100 udp", FRAME_OTHER, 0 },
};

static struct testgate gate;
static struct wire wire;

static int combine(char words[256], const char *link, const char *tail)
{
	if (!strcmp(link, "llc06") && !strncmp(tail, "ip6", 3))
		return 0;
	return snprintf(words, 256, "eth %s%s%s", link, *link ? " " : "", tail);
}

static void check_combinations(enum wire_device device, enum wire_hook hook)
{
	static uint64_t ungated[sizeof(links) / sizeof(*links)][sizeof(tails) / sizeof(*tails)];
	struct wire_tally tally = { 0 };
	char words[256];
	struct trick t;

	for (int pass = 0; pass < 2; pass++) {
		wire_open(&wire, &gate, device, pass ? hook : WIRE_UNGATED, true);
		for (size_t l = 0; l < sizeof(links) / sizeof(*links); l++) {
			for (size_t i = 0; i < sizeof(tails) / sizeof(*tails); i++) {
				t = tails[i];
				t.words = words;
				if (!combine(words, links[l], tails[i].words))
					continue;
				if (!pass)
					ungated[l][i] = wire_row_ungated(&wire, &t, DRESS_PLAIN);
				for (enum vm_state vm = 0; pass && vm < VM_STATES; vm++)
					wire_check_row(&wire, &t, vm, DRESS_PLAIN, ungated[l][i],
						       &tally);
			}
		}
		wire_close(&wire);
	}
	print_message("# %s: %d checked\n", wire_device_name[device], tally.checked);
	assert_int_equal(tally.bad, 0);
	assert_int_equal(tally.refused, 0);
	assert_true(tally.checked > 2000);
}

static void test_combined_over_a_veth(void **state)
{
	check_combinations(WIRE_VETH, WIRE_FROM_VM);
}

static void test_combined_over_a_tap_in_pieces(void **state)
{
	check_combinations(WIRE_TAP_FRAGS, WIRE_FROM_VM);
}

static void test_combined_at_the_backstop(void **state)
{
	check_combinations(WIRE_TAP, WIRE_BACKSTOP);
}

static int enter(void **state)
{
	wirelab_enter();
	testgate_open(&gate, 1);
	return 0;
}

static int leave(void **state)
{
	testgate_close(&gate);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_combined_over_a_veth),
		cmocka_unit_test(test_combined_over_a_tap_in_pieces),
		cmocka_unit_test(test_combined_at_the_backstop),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
