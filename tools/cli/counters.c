// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Counters as lines that people read: zeros that say nothing are left out. */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>

struct part {
	const char *key, *label;
};

#define LABEL 12 /* columns of a line's title, with the gap behind it */

/* Prints and frees. */
static void print_line(struct cli *c, const char *title, char *text)
{
	if (!text) {
		c->short_of_memory = true;
		return;
	}
	cli_print(c, STYLE_PLAIN, "  %-*s", LABEL - 2, title);
	cli_print_wrapped(c, LABEL, text);
	free(text);
}

/* One line: "flows      12 admitted, 3 limited"; a line of zeros is left out. */
static void print_parts(struct cli *c, const char *title, const json_t *counters,
			const struct part *parts, bool even_zero)
{
	char *text = NULL, buf[16];
	bool any = false;
	size_t size;
	FILE *f;

	for (const struct part *p = parts; p->key; p++)
		any = any || cli_uint(counters, p->key);
	if (!any && !even_zero)
		return;
	f = open_memstream(&text, &size);
	for (const struct part *p = parts; f && p->key; p++)
		fprintf(f, "%s%s %s", p == parts ? "" : ", ",
			cli_count(cli_uint(counters, p->key), buf), p->label);
	if (f && fclose(f)) {
		free(text);
		text = NULL;
	}
	print_line(c, title, text);
}

/* Frames of gated ports only. */
static void print_traffic(struct cli *c, const json_t *counters)
{
	uint64_t out = cli_uint(counters, "packets_from_vm");
	uint64_t in = cli_uint(counters, "packets_to_vm");
	char buf[4][16];

	if (!out && !in)
		return;
	print_line(c, "traffic",
		   cli_format("%s in %s packet%s from the VM, %s in %s packet%s to it",
			      cli_bytes(cli_uint(counters, "bytes_from_vm"), buf[0]),
			      cli_count(out, buf[1]), out == 1 ? "" : "s",
			      cli_bytes(cli_uint(counters, "bytes_to_vm"), buf[2]),
			      cli_count(in, buf[3]), in == 1 ? "" : "s"));
}

void cli_print_counters(struct cli *c, const json_t *counters, const json_t *last_reply)
{
	static const struct part flows[] = {
		{ "flows_admitted", "admitted" }, { "flows_limited", "limited" },
		{ "flows_blocked", "blocked" },	  { "flows_would_refuse", "would be refused" },
		{ "flows_active", "open now" },	  { "new_destinations", "new destinations" },
		{ "exempt", "exempt" },		  { NULL, NULL }
	};
	static const struct part connects[] = { { "connects_established", "established" },
						{ "connects_refused", "refused by the peer" },
						{ "connects_timed_out", "timed out" },
						{ "tls_flows", "with TLS" },
						{ NULL, NULL } };
	static const struct part replies[] = { { "replies_2xx", "2xx" },
					       { "replies_3xx", "3xx" },
					       { "replies_4xx", "4xx" },
					       { "replies_5xx", "5xx" },
					       { "banners_refused", "refused banners" },
					       { NULL, NULL } };
	static const struct part refused[] = { { "packets_dropped", "packets dropped" },
					       { "resets_sent", "resets sent" },
					       { "fragments_dropped", "fragments dropped" },
					       { "spoofed", "spoofed" },
					       { "unsolicited", "unsolicited" },
					       { "unclassifiable", "unclassifiable" },
					       { NULL, NULL } };

	print_parts(c, "flows", counters, flows, true);
	print_parts(c, "connects", counters, connects, false);
	print_parts(c, "replies", counters, replies, false);
	if (json_is_integer(last_reply))
		print_line(c, "",
			   cli_format("%d was the last reply code",
				      (int)json_integer_value(last_reply)));
	print_traffic(c, counters);
	print_parts(c, "refused", counters, refused, false);
}
