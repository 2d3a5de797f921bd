/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Ports followed by the real code, told to an engine that only takes notes. */
#ifndef GATE25_TESTS_PORTS_LAB_H
#define GATE25_TESTS_PORTS_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/nsbox.h"
#include "clock.h"
#include "pins.h"
#include "ports.h"

#include <bpf/bpf.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <string.h>

/* How long an expected state may take to come about. */
#define PATIENCE_NS (10 * GATE_NSEC_PER_SEC)

/* ---- the engine ---- */

#define MAX_PORTS    512
#define MAX_PROBLEMS 32

struct note {
	uint32_t ifindex;
	char name[GATE_NAME_LEN], hook[8];
	uint32_t flags;
	bool from_vm, to_vm;
	unsigned ups, downs, forgotten;
	bool unjudged; /* was told without JUDGED after it had been told with it */
};

static struct note notes[MAX_PORTS];
static unsigned nnotes, ngaps;
static struct {
	char code[32], key[64], message[256];
} problems[MAX_PROBLEMS];
static int ports_map = -1;

static struct note *note_of(uint32_t ifindex)
{
	for (unsigned i = 0; i < nnotes; i++)
		if (notes[i].ifindex == ifindex)
			return &notes[i];
	assert_true(nnotes < MAX_PORTS);
	notes[nnotes] = (struct note){ .ifindex = ifindex };
	return &notes[nnotes++];
}

static void write_port(uint32_t ifindex, uint32_t flags)
{
	struct gate_port p = { .slot = flags & GATE_PORT_VM ? ifindex : 0, .flags = flags };

	assert_int_equal(bpf_map_update_elem(ports_map, &ifindex, &p, BPF_ANY), 0);
}

int gate_engine_port_up(struct gate_engine *e, uint32_t ifindex, const char *name, uint32_t flags)
{
	struct note *n = note_of(ifindex);

	if (n->flags & ~flags & GATE_PORT_JUDGED)
		n->unjudged = true;
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->flags = flags;
	n->ups++;
	write_port(ifindex, flags);
	return 1;
}

int gate_engine_port_other(struct gate_engine *e, uint32_t ifindex, const char *name,
			   uint32_t flags)
{
	struct note *n = note_of(ifindex);

	snprintf(n->name, sizeof(n->name), "%s", name);
	n->flags = flags;
	n->ups++;
	write_port(ifindex, flags);
	return 0;
}

void gate_engine_port_renamed(struct gate_engine *e, uint32_t ifindex, const char *name)
{
	snprintf(note_of(ifindex)->name, GATE_NAME_LEN, "%s", name);
}

void gate_engine_port_down(struct gate_engine *e, uint32_t ifindex)
{
	struct note *n = note_of(ifindex);

	n->downs++;
	n->flags = 0;
	n->from_vm = n->to_vm = false;
	bpf_map_delete_elem(ports_map, &ifindex);
}

void gate_engine_port_forget(struct gate_engine *e, uint32_t ifindex)
{
	note_of(ifindex)->forgotten++;
}

void gate_engine_port_attached(struct gate_engine *e, uint32_t ifindex, const char *hook,
			       bool from_vm, bool to_vm)
{
	struct note *n = note_of(ifindex);

	snprintf(n->hook, sizeof(n->hook), "%s", hook);
	n->from_vm = from_vm;
	n->to_vm = to_vm;
}

static int find_problem(const char *code, const char *key)
{
	for (int i = 0; i < MAX_PROBLEMS; i++)
		if (!strcmp(problems[i].code, code) && (!key || !strcmp(problems[i].key, key)))
			return i;
	return -1;
}

void gate_engine_problem_set(struct gate_engine *e, const char *code, const char *key,
			     const char *fmt, ...)
{
	int i = find_problem(code, key);
	va_list ap;

	if (i < 0)
		i = find_problem("", NULL);
	assert_true(i >= 0);
	snprintf(problems[i].code, sizeof(problems[i].code), "%s", code);
	snprintf(problems[i].key, sizeof(problems[i].key), "%s", key);
	va_start(ap, fmt);
	vsnprintf(problems[i].message, sizeof(problems[i].message), fmt, ap);
	va_end(ap);
}

void gate_engine_problem_clear(struct gate_engine *e, const char *code, const char *key)
{
	int i = find_problem(code, key);

	if (i >= 0)
		problems[i].code[0] = '\0';
}

void gate_engine_notice(struct gate_engine *e, const struct gate_notice *n)
{
	ngaps += n->kind == GATE_N_GAP;
}

/* ---- a daemon of the tests ---- */

struct daemon {
	struct gate_config c;
	struct gate_bpf *b;
	struct gate_attacher *a;
	struct gate_ports *p;
	sd_event *ev;
};

static char up0[] = "up0", *uplink_globs[] = { up0 };

static void configure(struct daemon *d, enum gate_hook hook)
{
	*d = (struct daemon){ 0 };
	nsbox_config(&d->c, "gate");
	d->c.hook = hook;
	/* Where there is no tcx the legacy hook does, with to_vm as tcx has it. */
	if (hook == GATE_HOOK_TCX && !nsbox_has_tcx()) {
		d->c.hook = GATE_HOOK_TC;
		d->c.to_vm_set = true;
	}
	d->c.uplinks = (struct gate_globs){ .pattern = uplink_globs, .count = 1 };
}

static void start(struct daemon *d)
{
	struct gate_error err = { 0 };

	gate_ports_linger_s = 30;
	nnotes = ngaps = 0;
	memset(problems, 0, sizeof(problems));
	if (gate_bpf_open(&d->b, &d->c, &err) || gate_attach_open(&d->a, d->b, &d->c, &err))
		fail_msg("%s", err.message);
	ports_map = d->b->maps.ports;
	assert_true(sd_event_new(&d->ev) >= 0);
	if (gate_ports_open(&d->p, d->ev, d->a, NULL, &d->c, &err))
		fail_msg("%s", err.message);
}

static void stop(struct daemon *d)
{
	gate_ports_close(d->p);
	gate_attach_close(d->a);
	gate_bpf_close(d->b);
	sd_event_unref(d->ev);
	ports_map = -1;
}

/* Runs the loop until `condition`; false when it did not come true in time. */
#define WAIT_FOR(d, condition)                                                                     \
	({                                                                                         \
		const uint64_t until_ = gate_clock_mono_ns() + PATIENCE_NS;                        \
		while (!(condition) && gate_clock_mono_ns() < until_)                              \
			assert_true(sd_event_run((d)->ev, 100000) >= 0);                           \
		(condition);                                                                       \
	})

/* The loop runs for a while to show that something does not happen. */
static inline void run_for(struct daemon *d, uint64_t ms)
{
	const uint64_t until = gate_clock_mono_ns() + ms * 1000000;

	while (gate_clock_mono_ns() < until)
		assert_true(sd_event_run(d->ev, 10000) >= 0);
}

static inline const struct note *port(const char *name)
{
	return note_of(if_nametoindex(name));
}

static inline unsigned from_vms(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < nnotes; i++)
		n += notes[i].from_vm;
	return n;
}

/* Pins below links. */
static int count_name(void *arg, const char *name)
{
	(*(unsigned *)arg)++;
	return 0;
}

static inline unsigned pins(const struct daemon *d)
{
	char path[GATE_PIN_PATH];
	unsigned n = 0;

	gate_pins_path(path, "%s/links", d->c.pin);
	assert_int_equal(gate_pins_list(path, count_name, &n), 0);
	return n;
}

/* A bridge with an uplink and `guests` ports g0, g1, … */
static void host(unsigned guests)
{
	nsbox_run("ip link add br0 type bridge && ip link set br0 up && "
		  "ip link add up0 type veth peer name up0_p && ip link set up0 master br0");
	for (unsigned i = 0; i < guests; i++)
		nsbox_run("ip link add g%u type veth peer name g%u_p && ip link set g%u master br0",
			  i, i, i);
}

static inline void plug(const char *name, const char *bridge)
{
	nsbox_run("ip link add %s type veth peer name %s_p && ip link set %s master %s", name, name,
		  name, bridge);
}

static int clean(void **state)
{
	char pin[GATE_PIN_PATH];

	nsbox_try("ip netns del gt25-%d 2>/dev/null", getpid());
	/* all links but lo, in one go */
	nsbox_run("ip -o link | sed -n 's/^[0-9]*: \\([^@:]*\\).*/\\1/p' | grep -vx lo | "
		  "while read l; do ip link del $l 2>/dev/null; done; true");
	snprintf(pin, sizeof(pin), "%s/gate", nsbox_bpffs());
	gate_ports_rcvbuf = 0;
	return gate_bpf_unpin_all(pin, NULL);
}

#endif
