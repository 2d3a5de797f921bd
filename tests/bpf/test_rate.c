// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The rates of the loaded program over real time, from two CPUs at once: several
 * rates, a limit of concurrent flows and a tenant's budget together admit never
 * more than burst + rate x time + 1 and never less than 99 % of it; a refusal
 * takes nothing; `active` ends at the number of flows that live.
 */
#include <linux/bpf.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../../bpf/frame.h"
#include "gate_lab.h"

#define NSEC   1000000000ULL
#define RUN_NS (3 * NSEC / 2)
/* The programs ask the coarse clock once a tick, so they may be one behind it. */
#define TICK_NS	 10000000ULL
#define SHORT_NS (NSEC / 5)
#define CPUS	 2
#define BUDGET	 1
#define SPORT	 (ETH_LEN + IPV4_LEN)
#define FLAGS	 (SPORT + 13)
#define DST	 (ETH_LEN + 16)

/* One CPU's worth of connection attempts, each from a port and to an address drawn. */
struct sender {
	pthread_t thread;
	int cpu;
	bool closing; /* ends each admitted flow with a reset at once */
	uint64_t seed, until, first, last, admitted, refused, odd;
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NSEC + (uint64_t)ts.tv_nsec;
}

static uint64_t random_next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static void *send_all(void *arg)
{
	struct sender *s = arg;
	struct testgate mine = gate; /* a buffer of its own for what comes out */
	uint8_t frame[FRAME_MAX];
	int len = frame_build("eth ip4 tcp", NULL, frame), action;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(s->cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
	for (uint64_t coarse; testgate_now() < s->until; s->last = coarse) {
		uint64_t r = random_next(&s->seed);

		coarse = clock_ns(CLOCK_MONOTONIC_COARSE);
		memcpy(frame + SPORT, &r, 2);
		memcpy(frame + DST + 1, (uint8_t *)&r + 2, 3);
		frame[FLAGS] = TCP_SYN;
		action = testgate_run(&mine, TEST_FROM_VM, frame, len, 0);
		if (s->first == UINT64_MAX)
			s->first = testgate_now();
		s->admitted += action == ACT_UNSPEC;
		s->refused += action == ACT_SHOT;
		if (action != ACT_UNSPEC || !s->closing)
			continue;
		frame[FLAGS] = TCP_RST;
		s->odd += testgate_run(&mine, TEST_FROM_VM, frame, len, 0) != ACT_UNSPEC;
	}
	return NULL;
}

/*
 * The time from the first to the last attempt: the programs, who may ask the
 * coarse clock, saw something between these. It can be far behind where CPUs are
 * scarce.
 */
struct span {
	uint64_t shortest, longest;
};

/* The n-th CPU that this process may use, the first again where there are fewer. */
static int nth_cpu(int n)
{
	cpu_set_t set;
	int first = -1;

	sched_getaffinity(0, sizeof(set), &set);
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &set))
			continue;
		if (first < 0)
			first = i;
		if (n-- == 0)
			return i;
	}
	return first;
}

static struct span run_all(struct sender s[CPUS], bool closing, uint64_t ns)
{
	static uint64_t runs; /* no run draws the 5-tuples of another */
	uint64_t coarse = clock_ns(CLOCK_MONOTONIC_COARSE), fine = testgate_now();
	struct span span;

	for (int i = 0; i < CPUS; i++) {
		s[i] = (struct sender){ .cpu = nth_cpu(i),
					.closing = closing,
					.until = fine + ns,
					.first = UINT64_MAX };
		s[i].seed = 0x9e3779b97f4a7c15ULL * ++runs;
		assert_int_equal(pthread_create(&s[i].thread, NULL, send_all, &s[i]), 0);
	}
	for (int i = 0; i < CPUS; i++)
		pthread_join(s[i].thread, NULL);
	span.shortest = (s[0].last > s[1].last ? s[0].last : s[1].last) -
			(s[0].first < s[1].first ? s[0].first : s[1].first);
	span.longest = testgate_now() - coarse;
	for (int i = 0; i < CPUS; i++)
		assert_int_equal(s[i].odd, 0);
	return span;
}

static struct gate_rate rate_of(uint64_t per_s, uint64_t burst)
{
	struct gate_rate r = { .interval_ns = NSEC / per_s };

	r.tolerance_ns = (burst - 1) * r.interval_ns;
	return r;
}

static double due(const struct gate_rate *r, uint64_t ns)
{
	return (double)(r->tolerance_ns / r->interval_ns + 1) + (double)ns / (double)r->interval_ns;
}

/* Flows of the VM that count: entered and not closed. */
static int live_flows(uint32_t slot)
{
	uint32_t sets = gate.m.conf->flow_sets;
	int n = 0;

	for (uint32_t i = 0; i < sets * GATE_FLOW_WAYS; i++) {
		const struct gate_flow *f =
			&gate.m.flows[slot * sets + i / GATE_FLOW_WAYS].way[i % GATE_FLOW_WAYS];

		n += f->fingerprint && f->state != GATE_FLOW_CLOSED;
	}
	return n;
}

static struct gate_bucket_set *bucket(void)
{
	return &gate.m.buckets[TEST_SLOT * (gate.m.scopes + 1)];
}

struct row {
	const char *what;
	struct gate_rate rate[GATE_MAX_RATES];
	int nrates;
	struct gate_rate budget; /* interval 0 = none */
	uint32_t concurrent;
	bool closing;
};

static void set_up(const struct row *row)
{
	struct gate_node n = { .state = GATE_LIMIT,
			       .nrates = (uint8_t)row->nrates,
			       .concurrent = row->concurrent };

	testgate_reset(&gate);
	memcpy(n.rates, row->rate, sizeof(n.rates));
	testgate_policy(&gate, gate_base_vm(TEST_SLOT), 0, &n);
	if (!row->budget.interval_ns)
		return;
	gate.m.budgets[BUDGET].rates[0] = row->budget;
	gate.m.budgets[BUDGET].nrates = 1;
	gate.m.vms[TEST_SLOT].budget = BUDGET;
}

static double least_due(const struct row *row, uint64_t ns)
{
	double least = row->budget.interval_ns ? due(&row->budget, ns) : 1e18;

	for (int i = 0; i < row->nrates; i++)
		if (due(&row->rate[i], ns) < least)
			least = due(&row->rate[i], ns);
	return least;
}

static void check_row(const struct row *row)
{
	const struct gate_counters *c = &gate.m.counters[TEST_SLOT];
	struct sender s[CPUS];
	struct span span;
	double most, least;

	set_up(row);
	span = run_all(s, row->closing, RUN_NS);
	most = least_due(row, span.longest) + 1;
	least = 0.99 * least_due(row, span.shortest - TICK_NS) - 1;
	print_message("  %s: %lu admitted (%.0f to %.0f), %lu refused\n", row->what,
		      (unsigned long)c->flows_admitted, least, most,
		      (unsigned long)c->flows_limited);
	assert_int_equal(s[0].admitted + s[1].admitted, c->flows_admitted);
	assert_int_equal(s[0].refused + s[1].refused, c->flows_limited);
	assert_int_equal(c->flows_limited, c->packets_dropped);
	assert_true((double)c->flows_admitted <= most);
	assert_true((double)c->flows_admitted >= least);
	assert_true(c->flows_limited > 0);
	assert_int_equal(bucket()->active, live_flows(TEST_SLOT));
	if (row->concurrent)
		assert_in_range(live_flows(TEST_SLOT), 0, row->concurrent);
	if (row->closing)
		assert_int_equal(live_flows(TEST_SLOT), 0);
}

/*
 * Bursts of half a second, so that two senders who wait for a CPU lose no token.
 * Rates close to each other: one that lost a token by another's refusal would be
 * the narrowest at once.
 */
static void test_bounds_hold_on_two_cpus(void **state)
{
	const struct row rows[] = {
		{ "one rate", { rate_of(500, 250) }, 1, { 0 }, 0, false },
		{ "small burst", { rate_of(50, 25) }, 1, { 0 }, 0, true },
		{ "three rates",
		  { rate_of(520, 240), rate_of(500, 270), rate_of(510, 260) },
		  3,
		  { 0 },
		  0,
		  true },
		{ "a budget", { rate_of(800, 400) }, 1, rate_of(500, 250), 0, true },
		{ "all together",
		  { rate_of(520, 250), rate_of(505, 260), rate_of(510, 255), rate_of(800, 400) },
		  4,
		  rate_of(500, 250),
		  CPUS,
		  true },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_row(&rows[i]);
}

/* Where the concurrent flows are used up, no rate and no budget moves. */
static void test_refusal_takes_nothing(void **state)
{
	const struct row row = { "full", { rate_of(1000, 500), rate_of(100, 100) },
				 2,	 rate_of(500, 250),
				 10,	 false };
	struct gate_bucket_set before;
	struct gate_budget budget;
	struct sender s[CPUS];

	set_up(&row);
	run_all(s, false, SHORT_NS);
	assert_int_equal(s[0].admitted + s[1].admitted, row.concurrent);
	assert_int_equal(live_flows(TEST_SLOT), row.concurrent);
	before = *bucket();
	budget = gate.m.budgets[BUDGET];
	run_all(s, false, SHORT_NS);
	assert_int_equal(s[0].admitted + s[1].admitted, 0);
	assert_true(s[0].refused && s[1].refused);
	assert_int_equal(bucket()->active, before.active);
	assert_memory_equal(bucket()->tat, before.tat, sizeof(before.tat));
	assert_int_equal(bucket()->destinations_tat, before.destinations_tat);
	assert_memory_equal(&gate.m.budgets[BUDGET], &budget, sizeof(budget));
}

/*
 * The word was written by a CPU whose clock is a tick ahead: the last token of a burst
 * is there all the same, of a rate, of a budget and of new destinations.
 */
static void test_the_last_of_a_burst_is_not_lost_to_the_clock(void **state)
{
	for (int i = 0; i < 60; i++) {
		const struct gate_rate two = rate_of(1, 2);
		struct gate_node n = { .state = GATE_LIMIT };
		struct frame_spec spec = { .sport = 1000 + i };
		uint64_t ahead;

		testgate_reset(&gate);
		if (i % 3 == 0) {
			n.nrates = 1;
			n.rates[0] = two;
		} else if (i % 3 == 1) {
			n.destinations = two;
		} else {
			gate.m.vms[TEST_SLOT].budget = BUDGET;
			gate.m.budgets[BUDGET].nrates = 1;
			gate.m.budgets[BUDGET].rates[0] = two;
		}
		testgate_policy(&gate, gate_base_vm(TEST_SLOT), 0, &n);
		ahead = testgate_now() + two.interval_ns;
		bucket()->tat[0] = bucket()->destinations_tat = ahead;
		gate.m.budgets[BUDGET].tat[0] = ahead;
		assert_int_equal(testgate_send(&gate, TEST_FROM_VM, "eth ip4 tcp", &spec),
				 ACT_UNSPEC);
		spec.sport += 1000;
		spec.dst = 9;
		assert_int_equal(testgate_send(&gate, TEST_FROM_VM, "eth ip4 tcp", &spec),
				 ACT_SHOT);
	}
}

/*
 * Two CPUs that enter and end flows as fast as they can, 20 for each place in the
 * table: none is counted twice or left behind, whoever takes whose place.
 */
static void test_flows_are_counted_once_on_two_cpus(void **state)
{
	const struct gate_counters *c = &gate.m.counters[TEST_SLOT];
	struct gate_node allow = { .state = GATE_ALLOW };
	struct sender s[CPUS];

	for (int closing = 0; closing <= 1; closing++) {
		testgate_reset(&gate);
		testgate_policy(&gate, gate_base_vm(TEST_SLOT), 0, &allow);
		run_all(s, closing, NSEC);
		assert_true(c->flows_admitted > 20 * gate.m.conf->flow_sets * GATE_FLOW_WAYS);
		assert_int_equal(s[0].refused + s[1].refused, 0);
		assert_int_equal(s[0].admitted + s[1].admitted, c->flows_admitted);
		assert_int_equal(bucket()->active, live_flows(TEST_SLOT));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounds_hold_on_two_cpus),
		cmocka_unit_test(test_refusal_takes_nothing),
		cmocka_unit_test(test_the_last_of_a_burst_is_not_lost_to_the_clock),
		cmocka_unit_test(test_flows_are_counted_once_on_two_cpus),
	};

	return cmocka_run_group_tests(tests, open_gate, close_gate);
}
