/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Programs and the attacher, and what is seen of them on a link from outside. */
#ifndef GATE25_TESTS_ATTACH_LAB_H
#define GATE25_TESTS_ATTACH_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/nsbox.h"
#include "attach.h"
#include "attach_priv.h"
#include "links.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TCX_INGRESS 46
#define TCX_EGRESS  47

/* A daemon of these tests: programs loaded and the attacher. */
struct daemon {
	struct gate_config c;
	struct gate_bpf *b;
	struct gate_attacher *a;
};

static void start(struct daemon *d, enum gate_hook hook)
{
	struct gate_error err = { 0 };

	if (hook == GATE_HOOK_TCX && !nsbox_has_tcx())
		skip();
	nsbox_config(&d->c, "gate");
	d->c.hook = hook;
	if (gate_bpf_open(&d->b, &d->c, &err) || gate_attach_open(&d->a, d->b, &d->c, &err))
		fail_msg("%s", err.message);
}

static void stop(struct daemon *d)
{
	gate_attach_close(d->a);
	gate_bpf_close(d->b);
}

static int put(struct daemon *d, uint32_t ifindex, enum gate_where where)
{
	struct gate_error err = { 0 };
	char name[IF_NAMESIZE] = "?";

	if_indextoname(ifindex, name);
	int r = gate_attach_put(d->a, ifindex, name, where, false, &err);
	if (r)
		print_message("  (%s)\n", err.message);
	return r;
}

static uint32_t add_link(const char *name)
{
	nsbox_run("ip link add %s type veth peer name %s_p && ip link set %s up", name, name, name);
	return if_nametoindex(name);
}

/* Programs on a tcx hook. */
static uint32_t tcx_programs(uint32_t ifindex, enum bpf_attach_type type, uint32_t ids[8])
{
	uint32_t count = 8;

	assert_int_equal(bpf_prog_query((int)ifindex, type, 0, NULL, ids, &count), 0);
	return count;
}

/* Lines of `tc filter show` with a word in them. */
static int tc_lines(const char *dev, const char *hook, const char *word)
{
	char line[512];
	int n = 0;

	snprintf(line, sizeof(line), "tc filter show dev %s %s", dev, hook);
	FILE *f = popen(line, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, word) != NULL;
	pclose(f);
	return n;
}

static int clean(void **state)
{
	char pin[GATE_PIN_PATH];

	snprintf(pin, sizeof(pin), "%s/gate", nsbox_bpffs());
	nsbox_try("ip link del v0 2>/dev/null");
	nsbox_try("ip link del v1 2>/dev/null");
	return gate_bpf_unpin_all(pin, NULL);
}

#endif
