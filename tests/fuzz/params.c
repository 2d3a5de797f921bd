// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * `params` is const for the programs and written by the loader before they are
 * loaded. A unit of its own, where it is not const, does the same on the host.
 */
#include "params.h"

#include <gate25/abi.h>

extern struct gate_params params;
struct gate_params params;

void fuzz_params_set(unsigned nports, bool esp_unreadable)
{
	static const __u16 port[GATE_MAX_PORTS] = { 25, 465, 587, 25 };

	params.nports = nports;
	params.scopes = gate_scopes(nports);
	params.esp_unreadable = esp_unreadable;
	for (unsigned i = 0; i < GATE_MAX_PORTS; i++)
		params.ports[i] = i < nports ? port[i] : port[0];
}
