// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Each trick and each innocent frame over a real veth and real taps: from VMs of
 * each state, handed over in each way that a virtio guest has, judged at the port
 * and at the backstop. Only real devices show accelerated tags, frames that are
 * not linear, and frames so short that BPF_PROG_TEST_RUN refuses them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "../lib/wirerows.h"

static struct testgate gate;
static struct wire wire;

/* All rows that can be handed over so, without a gate: what of them comes out. */
static void run_ungated(enum wire_device device, enum wire_dress dress, uint64_t came_out[NTRICKS])
{
	wire_open(&wire, &gate, device, WIRE_UNGATED, true);
	for (size_t i = 0; i < NTRICKS; i++)
		if (wire_row_wears(&tricks[i], dress))
			came_out[i] = wire_row_ungated(&wire, &tricks[i], dress);
	wire_close(&wire);
}

/* The same from all VMs, judged. */
static void test_over(enum wire_device device, enum wire_hook hook, enum wire_dress dress)
{
	struct wire_tally tally = { 0 };
	uint64_t ungated[NTRICKS];

	run_ungated(device, dress, ungated);
	wire_open(&wire, &gate, device, hook, true);
	for (size_t i = 0; i < NTRICKS; i++) {
		if (!wire_row_wears(&tricks[i], dress))
			continue;
		for (enum vm_state vm = 0; vm < VM_STATES; vm++)
			wire_check_row(&wire, &tricks[i], vm, dress, ungated[i], &tally);
	}
	wire_close(&wire);
	print_message("# %s, %s: %d checked, %d of them refused by the device\n",
		      wire_device_name[device], wire_dress_name[dress], tally.checked,
		      tally.refused);
	assert_int_equal(tally.bad, 0);
	assert_true(tally.checked > 0 && tally.refused < tally.checked);
}

#define ROWS(name, device, hook, dress)                                                            \
	static void test_##name(void **state)                                                      \
	{                                                                                          \
		test_over(device, hook, dress);                                                    \
	}

ROWS(veth, WIRE_VETH, WIRE_FROM_VM, DRESS_PLAIN)
ROWS(tap, WIRE_TAP, WIRE_FROM_VM, DRESS_PLAIN)
ROWS(tap_in_pieces, WIRE_TAP_FRAGS, WIRE_FROM_VM, DRESS_PLAIN)
ROWS(veth_padded, WIRE_VETH, WIRE_FROM_VM, DRESS_PADDED)
ROWS(tap_padded, WIRE_TAP, WIRE_FROM_VM, DRESS_PADDED)
ROWS(veth_checksum_left, WIRE_VETH, WIRE_FROM_VM, DRESS_CSUM)
ROWS(tap_checksum_left, WIRE_TAP, WIRE_FROM_VM, DRESS_CSUM)
ROWS(tap_in_pieces_checksum_left, WIRE_TAP_FRAGS, WIRE_FROM_VM, DRESS_CSUM)
ROWS(veth_gso, WIRE_VETH, WIRE_FROM_VM, DRESS_GSO)
ROWS(tap_gso, WIRE_TAP, WIRE_FROM_VM, DRESS_GSO)
ROWS(tap_in_pieces_gso, WIRE_TAP_FRAGS, WIRE_FROM_VM, DRESS_GSO)
ROWS(veth_gso_checksum_left, WIRE_VETH, WIRE_FROM_VM, DRESS_GSO_CSUM)
ROWS(tap_gso_checksum_left, WIRE_TAP, WIRE_FROM_VM, DRESS_GSO_CSUM)
ROWS(tap_in_pieces_gso_checksum_left, WIRE_TAP_FRAGS, WIRE_FROM_VM, DRESS_GSO_CSUM)
ROWS(backstop_veth, WIRE_VETH, WIRE_BACKSTOP, DRESS_PLAIN)
ROWS(backstop_tap_in_pieces, WIRE_TAP_FRAGS, WIRE_BACKSTOP, DRESS_PLAIN)
ROWS(backstop_tap_gso, WIRE_TAP, WIRE_BACKSTOP, DRESS_GSO_CSUM)
ROWS(backstop_unknown_port, WIRE_TAP, WIRE_UNKNOWN, DRESS_PLAIN)

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
		cmocka_unit_test(test_veth),
		cmocka_unit_test(test_tap),
		cmocka_unit_test(test_tap_in_pieces),
		cmocka_unit_test(test_veth_padded),
		cmocka_unit_test(test_tap_padded),
		cmocka_unit_test(test_veth_checksum_left),
		cmocka_unit_test(test_tap_checksum_left),
		cmocka_unit_test(test_tap_in_pieces_checksum_left),
		cmocka_unit_test(test_veth_gso),
		cmocka_unit_test(test_tap_gso),
		cmocka_unit_test(test_tap_in_pieces_gso),
		cmocka_unit_test(test_veth_gso_checksum_left),
		cmocka_unit_test(test_tap_gso_checksum_left),
		cmocka_unit_test(test_tap_in_pieces_gso_checksum_left),
		cmocka_unit_test(test_backstop_veth),
		cmocka_unit_test(test_backstop_tap_in_pieces),
		cmocka_unit_test(test_backstop_tap_gso),
		cmocka_unit_test(test_backstop_unknown_port),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
