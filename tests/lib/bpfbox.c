// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "bpfbox.h"
#include "pins.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

struct gate_bpf *bpfbox_open(const struct gate_config *c)
{
	struct gate_bpf *b = NULL;
	struct gate_error err = { 0 };
	int r = gate_bpf_open(&b, c, &err);

	if (r)
		print_error("gate_bpf_open: %d: %s\n", r, err.message);
	assert_int_equal(r, 0);
	return b;
}

bool bpfbox_exists(const struct gate_config *c, const char *rest)
{
	char path[GATE_PIN_PATH];

	assert_int_equal(gate_pins_path(path, "%s/%s", c->pin, rest), 0);
	return access(path, F_OK) == 0;
}

int bpfbox_remove(void **state)
{
	char pin[GATE_PIN_PATH];

	snprintf(pin, sizeof(pin), "%s/gate", nsbox_bpffs());
	return gate_bpf_unpin_all(pin, NULL);
}
