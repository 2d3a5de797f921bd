// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The exposition: names, labels, which zeros are left out, both formats. The
 * engine is played here; promtool has the last word on the format.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "exporter.h"
#include "metrics_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_VMS	 600 /* more than one piece of a family */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- the engine, played ---- */

static struct gate_vm_spec specs[MAX_VMS];
static struct gate_counters counters[MAX_VMS];
static uint32_t active[MAX_VMS];
static struct gate_effective effective[MAX_VMS];

const struct gate_vm_spec *gate_engine_vm(struct gate_engine *e, uint32_t slot)
{
	return slot < MAX_VMS && specs[slot].name[0] ? &specs[slot] : NULL;
}

void gate_engine_counters(struct gate_engine *e, uint32_t slot, struct gate_counters *out,
			  uint32_t *flows_active)
{
	*out = counters[slot];
	*flows_active = active[slot];
}

void gate_engine_slot_effective(struct gate_engine *e, uint32_t slot, uint16_t on, int64_t now,
				struct gate_effective *out)
{
	*out = effective[slot];
}

void gate_engine_totals(struct gate_engine *e, struct gate_counters *out, uint32_t *flows_active)
{
	*out = (struct gate_counters){ .flows_admitted = 1000, .bytes_from_vm = 77 };
	*flows_active = 3;
}

void gate_engine_ports(struct gate_engine *e, void (*cb)(void *, const struct gate_port_info *),
		       void *arg)
{
	static const struct gate_port_info ports[] = {
		{ .name = "vnet3", .ifindex = 7, .hook = "tcx", .from_vm = true, .slot = 1 },
		{ .name = "vnet4", .ifindex = 8, .hook = "none", .slot = 2 },
		{ .name = "gone0", .ifindex = 0, .hook = "none", .slot = 3 },
		{ .name = "eth0", .ifindex = 2, .hook = "tcx", .uplink = true },
	};
	unsigned i;

	for (i = 0; i < COUNT(ports); i++)
		cb(arg, &ports[i]);
}

void gate_engine_problem_set(struct gate_engine *e, const char *code, const char *key,
			     const char *fmt, ...)
{
}

void gate_engine_problem_clear(struct gate_engine *e, const char *code, const char *key)
{
}

void gate_engine_problems(struct gate_engine *e, void (*cb)(void *, const struct gate_problem *),
			  void *arg)
{
	static const struct gate_problem problems[] = {
		{ .code = "store", .message = "full" },
		{ .code = "port_unattached", .message = "vnet4" },
		{ .code = "port_unattached", .message = "vnet5" },
	};

	for (unsigned i = 0; i < COUNT(problems); i++)
		cb(arg, &problems[i]);
}

/* ---- the lab ---- */

static struct gate_conf conf;
static struct gate_global global;
static struct gate_vm vms[MAX_VMS];
static uint64_t heads[32], shadow_heads[32];
static struct gate_bucket_set buckets[64];
static struct gate_budget budgets[4];
static struct gate_port_counters port_counters[MAX_VMS * 2];
static struct gate_maps maps;
static struct gate_ports_stats ports_stats;
static struct gate_metrics_source source;
static char names[1][GATE_NAME_LEN] = { "vnet4" };

static int setup(void **state)
{
	memset(specs, 0, sizeof(specs));
	memset(counters, 0, sizeof(counters));
	memset(port_counters, 0, sizeof(port_counters));
	conf = (struct gate_conf){
		.max_vms = MAX_VMS, .nports = 1, .ports = { 25 }, .flow_sets = 16, .revision = 42
	};
	global = (struct gate_global){ .events_lost = 5 };
	maps = (struct gate_maps){ .ports = -1,
				   .mac_owner = -1,
				   .ip_owner = -1,
				   .macs = -1,
				   .ips = -1,
				   .exempt = -1,
				   .reasons = -1,
				   .untold = -1,
				   .events = -1,
				   .conf = &conf,
				   .global = &global,
				   .vms = vms,
				   .heads = heads,
				   .shadow_heads = shadow_heads,
				   .buckets = buckets,
				   .budgets = budgets,
				   .port_counters = port_counters,
				   .nheads = COUNT(heads),
				   .nnodes = 64,
				   .nbuckets = COUNT(buckets),
				   .nbudgets = COUNT(budgets),
				   .scopes = 1,
				   .ncpus = 1 };
	ports_stats = (struct gate_ports_stats){ .attached = 3,
						 .reattached = 2,
						 .unattached_ns = 1500000000ULL,
						 .attach_bucket = { 1, 0, 2, 0, 0, 0, 0, 0, 0, 1 },
						 .attach_sum_s = 1.25 };
	source = (struct gate_metrics_source){
		.maps = &maps, .ports = &ports_stats, .hook = "tcx", .per_vm = GATE_PER_VM_NONZERO
	};

	strcpy(specs[1].name, "web1");
	strcpy(specs[1].tenant, "acme");
	specs[1].registered = true;
	effective[1] = (struct gate_effective){ .state = GATE_LIMIT,
						.expires = 2208988800LL,
						.source = "tenant:acme" };
	counters[1] = (struct gate_counters){ .flows_admitted = 12, .replies_5xx = 3 };
	active[1] = 2;

	strcpy(specs[2].name, "vnet4");
	specs[2].ports = names;
	specs[2].nports = 1;
	vms[2].first_mac = GATE_MAC_SEEN | 0x563412005452ULL;
	effective[2] = (struct gate_effective){ .state = GATE_BLOCK,
						.quarantined = true,
						.source = "default" };
	return 0;
}

static char *build(bool openmetrics)
{
	struct gate_buf b = { 0 };

	assert_int_equal(gate_metrics_build(&source, openmetrics, &b), 0);
	gate_buf_putc(&b, '\0');
	return b.data;
}

static void check(const char *text, const char *const *wanted, const char *const *unwanted)
{
	char line[300];

	for (; *wanted; wanted++) {
		snprintf(line, sizeof(line), "\n%s\n", *wanted);
		if (!strstr(text, line))
			fail_msg("missing: %s", *wanted);
	}
	for (; *unwanted; unwanted++)
		if (strstr(text, *unwanted))
			fail_msg("not wanted: %s", *unwanted);
}

static void test_text_format(void **state)
{
	static const char *const wanted[] = {
		"# TYPE gate25_flows_total counter",
		"gate25_flows_total{vm=\"web1\",tenant=\"acme\",verdict=\"admitted\"} 12",
		/* there from first sight though zero */
		"gate25_flows_total{vm=\"web1\",tenant=\"acme\",verdict=\"blocked\"} 0",
		"gate25_flows_total{vm=\"port:vnet4\",tenant=\"\",verdict=\"would_refuse\"} 0",
		"gate25_replies_total{vm=\"web1\",tenant=\"acme\",class=\"5xx\"} 3",
		"gate25_flows_active{vm=\"web1\",tenant=\"acme\"} 2",
		"# TYPE gate25_vm_info gauge",
		"gate25_vm_info{vm=\"web1\",tenant=\"acme\",state=\"limit\",source=\"tenant:acme\","
		"port=\"\",mac=\"\"} 1",
		"gate25_vm_info{vm=\"port:vnet4\",tenant=\"\",state=\"quarantine\","
		"source=\"default\",port=\"vnet4\",mac=\"52:54:00:12:34:56\"} 1",
		"gate25_policy_expires_seconds{vm=\"web1\",tenant=\"acme\"} 2208988800",
		"gate25_host_flows_total{verdict=\"admitted\"} 1000",
		"gate25_host_flows_active 3",
		"gate25_host_bytes_total{direction=\"from_vm\"} 77",
		"gate25_port_attached{port=\"vnet3\",hook=\"tcx\"} 1",
		"gate25_port_attached{port=\"vnet4\",hook=\"tcx\"} 0",
		"gate25_port_attached{port=\"eth0\",hook=\"tcx\"} 1",
		"gate25_problems{code=\"store\"} 1",
		"gate25_problems{code=\"port_unattached\"} 2",
		"# TYPE gate25_attach_seconds histogram",
		"gate25_attach_seconds_bucket{le=\"0.0005\"} 1",
		"gate25_attach_seconds_bucket{le=\"0.0025\"} 3",
		"gate25_attach_seconds_bucket{le=\"1.0\"} 3",
		"gate25_attach_seconds_bucket{le=\"+Inf\"} 4",
		"gate25_attach_seconds_count 4",
		"gate25_unattached_seconds_total 1.500000000",
		"gate25_reattach_total 2",
		"gate25_map_capacity{map=\"flows\"} 38400",
		"gate25_events_lost_total 5",
		"gate25_policy_revision 42",
		"gate25_build_info{version=\"" GATE_VERSION "\",abi=\"3\"} 1",
		"gate25_dropped_packets_total{reason=\"blocked\"} 0",
		NULL,
	};
	static const char *const unwanted[] = {
		"class=\"2xx\"} 0\ngate25_replies_total{vm=\"web1\"", /* zero: left out */
		"gone0",
		"known_flow",
		"# EOF",
		"gate25_vm info",
		NULL,
	};
	char *text = build(false);

	check(text, wanted, unwanted);
	free(text);
}

static void test_per_vm_all(void **state)
{
	static const char *const wanted[] = {
		"gate25_replies_total{vm=\"web1\",tenant=\"acme\",class=\"2xx\"} 0",
		"gate25_flows_active{vm=\"port:vnet4\",tenant=\"\"} 0", NULL
	};
	static const char *const unwanted[] = { NULL };
	char *text;

	source.per_vm = GATE_PER_VM_ALL;
	text = build(false);
	check(text, wanted, unwanted);
	free(text);
}

static void test_per_vm_off(void **state)
{
	static const char *const wanted[] = { "gate25_host_flows_total{verdict=\"admitted\"} 1000",
					      NULL };
	static const char *const unwanted[] = { "vm=\"", NULL };
	char *text;

	source.per_vm = GATE_PER_VM_OFF;
	text = build(false);
	check(text, wanted, unwanted);
	free(text);
}

static void test_openmetrics(void **state)
{
	static const char *const wanted[] = {
		"# TYPE gate25_flows counter",
		"gate25_flows_total{vm=\"web1\",tenant=\"acme\",verdict=\"admitted\"} 12",
		"# TYPE gate25_vm info",
		"# TYPE gate25_unattached_seconds counter",
		"# TYPE gate25_build info",
		"# EOF",
		NULL,
	};
	static const char *const unwanted[] = { "# TYPE gate25_flows_total", "# EOF\n#", NULL };
	char *text = build(true);

	check(text, wanted, unwanted);
	assert_string_equal(text + strlen(text) - 6, "# EOF\n");
	free(text);
}

static void test_several_ports_carry_dport(void **state)
{
	static const char *const wanted[] = {
		"gate25_flows_total{vm=\"web1\",tenant=\"acme\",verdict=\"admitted\",dport=\"25\"} "
		"4",
		"gate25_flows_total{vm=\"web1\",tenant=\"acme\",verdict=\"admitted\",dport=\"587\"}"
		" 8",
		"gate25_flows_total{vm=\"web1\",tenant=\"acme\",verdict=\"limited\",dport=\"587\"} "
		"0",
		NULL,
	};
	static const char *const unwanted[] = { "verdict=\"admitted\"} 12", NULL };
	char *text;

	conf.nports = 2;
	conf.ports[1] = 587;
	port_counters[2].flows_admitted = 4;
	port_counters[3].flows_admitted = 8;
	text = build(false);
	check(text, wanted, unwanted);
	free(text);
}

static void test_labels_are_escaped(void **state)
{
	static const char *const wanted[] = {
		"gate25_flows_active{vm=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\",tenant=\"acme\"} 2", NULL
	};
	static const char *const unwanted[] = { NULL };
	char *text;

	strcpy(specs[1].name, "a\"b\\c\nd\xff");
	text = build(false);
	check(text, wanted, unwanted);
	free(text);
}

/* However slowly a page is taken, all of it is of the moment at which it was asked for. */
static void test_pieces_are_of_one_moment(void **state)
{
	struct gate_metrics_page *page;
	struct gate_buf b = { 0 };
	unsigned pieces = 0;
	char *whole, last[100];

	conf.nports = 2;
	conf.ports[1] = 587;
	for (unsigned i = 1; i < MAX_VMS; i++) {
		snprintf(specs[i].name, sizeof(specs[i].name), "n%u", i);
		port_counters[2 * i].flows_admitted = counters[i].replies_4xx = i;
	}
	whole = build(false);
	snprintf(last, sizeof(last),
		 "gate25_replies_total{vm=\"port:n%d\",tenant=\"\",class=\"4xx\"} %d", MAX_VMS - 1,
		 MAX_VMS - 1);
	check(whole, (const char *const[]){ last, NULL }, (const char *const[]){ NULL });

	assert_int_equal(gate_metrics_open(&page, &source, false), 0);
	memset(counters, 0, sizeof(counters));
	memset(port_counters, 0, sizeof(port_counters));
	memset(specs, 0, sizeof(specs));
	while (gate_metrics_next(page, &b))
		pieces++;
	gate_metrics_close(page);
	gate_buf_putc(&b, '\0');
	assert_string_equal(b.data, whole);
	assert_true(pieces > 2 * gate_metric_nfamilies);
	gate_buf_free(&b);
	free(whole);
}

static void test_accept(void **state)
{
	static const struct {
		const char *accept;
		bool openmetrics;
	} table[] = {
		{ NULL, false },
		{ "*/*", false },
		{ "text/plain;version=0.0.4", false },
		{ "application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
		  "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		  true },
		{ "application/openmetrics-text; version=1.0.0; q=0.5", true },
		{ "application/openmetrics-text;q=0, text/plain", false },
		{ "application/openmetrics-text;q=0.0", false },
		{ "application/openmetrics-text, text/plain;q=0", true },
	};
	unsigned i;

	for (i = 0; i < COUNT(table); i++)
		if (gate_metrics_accepts_openmetrics(table[i].accept) != table[i].openmetrics)
			fail_msg("%s", table[i].accept);
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void test_promtool_takes_it(void **state)
{
	char path[] = "/tmp/test_metrics.XXXXXX", command[128];
	char *text = build(false);
	int fd, r;

	if (system("command -v promtool >/dev/null") != 0) {
		free(text);
		skip();
	}
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	write_text(path, text);
	free(text);
	snprintf(command, sizeof(command), "promtool check metrics <%s >&2", path);
	r = system(command);
	unlink(path);
	assert_int_equal(r, 0);
}

static void test_textfile(void **state)
{
	char dir[] = "/tmp/test_metrics.XXXXXX", path[64], command[96];
	struct stat st;
	mode_t mask;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/gate25.prom", dir);
	write_text(path, "old\n");
	mask = umask(027); /* as the unit has it */
	assert_int_equal(gate_exporter_write_file(&source, path), 0);
	umask(mask);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size > 1000);
	assert_int_equal(st.st_mode & 0777, 0644);
	/* nothing else is left behind */
	snprintf(command, sizeof(command), "test \"$(ls %s)\" = gate25.prom", dir);
	assert_int_equal(system(command), 0);
	unlink(path);
	rmdir(dir);
	assert_int_equal(gate_exporter_write_file(&source, path), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_text_format, setup),
		cmocka_unit_test_setup(test_per_vm_all, setup),
		cmocka_unit_test_setup(test_per_vm_off, setup),
		cmocka_unit_test_setup(test_openmetrics, setup),
		cmocka_unit_test_setup(test_several_ports_carry_dport, setup),
		cmocka_unit_test_setup(test_labels_are_escaped, setup),
		cmocka_unit_test_setup(test_pieces_are_of_one_moment, setup),
		cmocka_unit_test(test_accept),
		cmocka_unit_test_setup(test_promtool_takes_it, setup),
		cmocka_unit_test_setup(test_textfile, setup),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
