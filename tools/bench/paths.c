// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Ways through user space that grow with the number of VMs, one at a time, for a
 * count of their instructions (valgrind --tool=callgrind --toggle-collect=measured):
 * the engine is the real one, on maps in memory.
 *
 * paths WHAT [--vms N]
 *   parse      words: rates, durations, MACs, prefixes, subjects
 *   set_read   a policy set from JSON Lines
 *   apply      the set into model, store and maps
 *   set_write  the set as JSON Lines
 *   list       GET /v1/vms
 *   metrics    a whole exposition, every VM counting
 *   tick       the engine's second at rest
 */
#include "../../tests/lib/fakemaps.h"
#include "json.h"
#include "lib/bench.h"
#include "metrics.h"
#include "ports.h"
#include "show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct paths {
	unsigned vms;
	struct fake_gate g;
	struct gate_engine *e;
	struct gate_set_item *items;
	size_t nitems;
	struct gate_error err;
};

static const uint16_t ports[] = { 25, 0 };

/* ---- what is measured ---- */

static void parse(struct paths *p)
{
	struct gate_rate_spec rate;
	struct gate_prefix prefix;
	struct gate_subject subject;
	uint8_t mac[6];
	int64_t seconds;
	int bad = 0;

	for (unsigned i = 0; i < p->vms; i++) {
		bad |= gate_parse_rate("200/h:50", &rate);
		bad |= gate_parse_duration("30d", &seconds);
		bad |= gate_parse_time("2026-12-24T00:00:00Z", &seconds);
		bad |= gate_parse_mac("52:54:00:12:34:56", mac);
		bad |= gate_parse_prefix("203.0.113.0/24", &prefix);
		bad |= gate_parse_prefix("2001:db8:1::/64", &prefix);
		bad |= gate_parse_subject("ip:2001:db8:1::/64", &subject);
		bad |= gate_parse_subject("vm:web1", &subject);
	}
	if (bad)
		bench_die("a word was not understood");
}

static size_t set_line(char *line, size_t size, unsigned i, unsigned vms)
{
	unsigned vm = i % vms;

	if (i < vms)
		return snprintf(line, size,
				"{\"kind\":\"vm\",\"name\":\"v%u\",\"tenant\":\"t%u\",\"ports\":["
				"\"tap%u\"],"
				"\"macs\":[\"02:00:00:%02x:%02x:%02x\"],\"ips\":[\"10.%u.%u.%u\"],"
				"\"pairs\":[],\"binding\":null}",
				vm, vm % 10, vm, vm >> 16 & 255, vm >> 8 & 255, vm & 255,
				vm >> 16 & 255, vm >> 8 & 255, vm & 255);
	return snprintf(
		line, size,
		"{\"kind\":\"subject\",\"subject\":\"vm:v%u\",\"policies\":[{\"on\":null,"
		"\"state\":\"limit\",\"rates\":[{\"count\":5,\"per\":\"1s\"},{\"count\":200,"
		"\"per\":\"1h\"}],\"burst\":10,\"reason\":\"ticket %u\"}],\"quarantine\":null,"
		"\"observe\":false,\"budget\":null,\"exempt\":[]}",
		vm, vm);
}

static void set_read(struct paths *p)
{
	char line[512];

	for (unsigned i = 0; i < 2 * p->vms; i++) {
		size_t len = set_line(line, sizeof(line), i, p->vms);

		if (gate_json_read_item(line, len, ports, 1, &p->items[i], &p->err))
			bench_die("line %u: %s", i + 1, p->err.message);
		p->nitems++;
	}
}

static void ignore(void *arg, const char *line)
{
}

static void apply(struct paths *p)
{
	const struct gate_actor who = { .name = "bench" };

	if (gate_engine_apply_set(p->e, &who, p->items, p->nitems, false, ignore, NULL, &p->err))
		bench_die("%s", p->err.message);
}

static void set_write(struct paths *p)
{
	_cleanup_buf_ struct gate_buf b = { 0 };

	for (size_t i = 0; i < p->nitems; i++)
		gate_json_item(&b, &p->items[i], ports);
	if (b.failed)
		bench_die("out of memory");
}

static void list(struct paths *p)
{
	_cleanup_buf_ struct gate_buf b = { 0 };
	struct gate_show show;

	gate_show_begin(&show, p->e, &p->g.m);
	for (uint32_t slot = 1; slot < p->g.conf.max_vms; slot++) {
		if (!gate_engine_vm(p->e, slot))
			continue;
		gate_json_open(&b, NULL, '{');
		gate_show_vm(&show, &b, slot);
		gate_json_close(&b, '}');
	}
	gate_show_end(&show);
	if (b.failed)
		bench_die("out of memory");
}

static void metrics(struct paths *p)
{
	_cleanup_buf_ struct gate_buf b = { 0 };
	const struct gate_ports_stats stats = { 0 };
	const struct gate_metrics_source source = {
		.engine = p->e, .maps = &p->g.m, .ports = &stats, .hook = "tcx"
	};

	if (gate_metrics_build(&source, false, &b))
		bench_die("no metrics");
}

static void tick(struct paths *p)
{
	gate_engine_tick(p->e, time(NULL));
}

/* ---- what goes before it ---- */

static void fill_counters(struct paths *p)
{
	for (uint32_t slot = 1; slot < p->g.conf.max_vms; slot++) {
		uint64_t *counter = (uint64_t *)&p->g.m.counters[slot];

		for (size_t i = 0; i < sizeof(*p->g.m.counters) / sizeof(*counter); i++)
			counter[i] = 1000 * slot + i;
	}
}

static void prepare(struct paths *p, int steps)
{
	fake_gate_make(&p->g, p->vms + 64, ports);
	p->items = calloc(2 * (size_t)p->vms, sizeof(*p->items));
	if (!p->items)
		bench_die("out of memory");
	if (gate_engine_open(&p->e, &p->g.c, &p->g.m, &p->err))
		bench_die("%s", p->err.message);
	if (steps > 0)
		set_read(p);
	if (steps > 1)
		apply(p);
	if (steps > 1)
		fill_counters(p);
}

/* Its name is what the counting starts and stops by. */
__attribute__((noinline)) static void measured(void (*path)(struct paths *), struct paths *p)
{
	path(p);
	__asm__ volatile("" ::: "memory");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*path)(struct paths *);
		int steps; /* 1: the set was read, 2: and applied */
	} all[] = {
		{ "parse", parse, 0 }, { "set_read", set_read, 0 },
		{ "apply", apply, 1 }, { "set_write", set_write, 1 },
		{ "list", list, 2 },   { "metrics", metrics, 2 },
		{ "tick", tick, 2 },
	};
	struct paths p = { .vms = bench_option(argc, argv, "--vms", 1000) };

	for (size_t i = 0; argc > 1 && i < sizeof(all) / sizeof(all[0]); i++) {
		if (strcmp(argv[1], all[i].name) != 0)
			continue;
		prepare(&p, all[i].steps);
		measured(all[i].path, &p);
		for (size_t k = 0; k < p.nitems; k++)
			gate_set_item_clear(&p.items[k]);
		free(p.items);
		gate_engine_close(p.e);
		fake_gate_free(&p.g);
		return 0;
	}
	bench_die("paths wants one of parse, set_read, apply, set_write, list, metrics, tick");
}
