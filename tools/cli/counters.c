// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Counters as lines that people read: zeros that say nothing are left out. */
#include "cli.h"

struct part {
	const char *key, *label;
	bool bytes;
};

/* One line: "flows      12 admitted, 3 limited"; a line of zeros is left out. */
static void print_parts(struct cli *c, const char *title, const json_t *counters,
			const struct part *parts, bool even_zero)
{
	bool any = false;
	char buf[16];

	for (const struct part *p = parts; p->key; p++)
		any = any || cli_uint(counters, p->key);
	if (!any && !even_zero)
		return;
	cli_print(c, STYLE_PLAIN, "  %-9s", title);
	for (const struct part *p = parts; p->key; p++) {
		uint64_t n = cli_uint(counters, p->key);

		cli_print(c, STYLE_PLAIN, "%s %s %s", p == parts ? "" : ",",
			  p->bytes ? cli_bytes(n, buf) : cli_count(n, buf), p->label);
	}
	cli_end_line();
}

void cli_print_counters(struct cli *c, const json_t *counters, const json_t *last_reply)
{
	static const struct part flows[] = { { "flows_admitted", "admitted", false },
					     { "flows_limited", "limited", false },
					     { "flows_blocked", "blocked", false },
					     { "flows_would_refuse", "would be refused", false },
					     { "flows_active", "open now", false },
					     { "new_destinations", "new destinations", false },
					     { "exempt", "exempt", false },
					     { NULL, NULL, false } };
	static const struct part connects[] = { { "connects_established", "established", false },
						{ "connects_refused", "refused by the peer",
						  false },
						{ "connects_timed_out", "timed out", false },
						{ "tls_flows", "with TLS", false },
						{ NULL, NULL, false } };
	static const struct part replies[] = { { "replies_2xx", "2xx", false },
					       { "replies_3xx", "3xx", false },
					       { "replies_4xx", "4xx", false },
					       { "replies_5xx", "5xx", false },
					       { "banners_refused", "refused banners", false },
					       { NULL, NULL, false } };
	static const struct part traffic[] = { { "packets_from_vm", "packets", false },
					       { "bytes_from_vm", "from the VM", true },
					       { "packets_to_vm", "packets", false },
					       { "bytes_to_vm", "to the VM", true },
					       { NULL, NULL, false } };
	static const struct part refused[] = { { "packets_dropped", "packets dropped", false },
					       { "resets_sent", "resets sent", false },
					       { "fragments_dropped", "fragments dropped", false },
					       { "spoofed", "spoofed", false },
					       { "unsolicited", "unsolicited", false },
					       { "unclassifiable", "unclassifiable", false },
					       { NULL, NULL, false } };

	print_parts(c, "flows", counters, flows, true);
	print_parts(c, "connects", counters, connects, false);
	print_parts(c, "replies", counters, replies, false);
	if (json_is_integer(last_reply)) {
		cli_print(c, STYLE_PLAIN, "  %-9s %d was the last reply code", "",
			  (int)json_integer_value(last_reply));
		cli_end_line();
	}
	print_parts(c, "traffic", counters, traffic, false);
	print_parts(c, "refused", counters, refused, false);
}
