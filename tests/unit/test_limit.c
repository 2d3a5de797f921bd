// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The rate arithmetic as a property: whatever the pattern of arrivals, in no
 * stretch of time more than burst + rate x time + 1 are admitted, and never less
 * than 99 % of what a bucket without rounding would have admitted. By one CPU with
 * a clock of the test's own, and by two at once on the same words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../../bpf/limit.h"

#define SEC	 1000000000ULL
#define PATTERNS 400
#define ARRIVALS 4000
#define START	 (1000 * SEC) /* CLOCK_MONOTONIC is never near 0 in use */

/* xorshift64*: the same patterns in every run. */
static __u64 random_next(__u64 *s)
{
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * 0x2545f4914f6cdd1dULL;
}

static struct gate_rate rate_of(__u64 count, __u64 per_s, __u64 burst)
{
	struct gate_rate r = { .interval_ns = per_s * SEC / count };

	r.tolerance_ns = (burst - 1) * r.interval_ns;
	return r;
}

static __u64 burst_of(const struct gate_rate *r)
{
	return r->tolerance_ns / r->interval_ns + 1;
}

static const struct {
	__u64 count, per_s, burst;
} rates[] = {
	{ 1, 1, 1 },	    { 5, 1, 10 },	 { 7, 1, 3 },
	{ 200, 3600, 200 }, { 1000, 86400, 50 }, { 1000000, 1, 1 },
	{ 333333, 1, 64 },  { 60, 60, 100 },	 { 1, 86400, 1 },
};
#define NRATES (sizeof(rates) / sizeof(rates[0]))

/* Gaps between arrivals around the rate's interval: bursts, silence, just in time. */
static __u64 gap(__u64 *seed, __u64 interval)
{
	__u64 r = random_next(seed);

	switch (r % 8) {
	case 0:
	case 1:
	case 2:
		return 0;
	case 3:
		return interval;
	case 4:
		return interval - 1;
	case 5:
		return random_next(seed) % (interval + 1);
	case 6:
		return random_next(seed) % (interval * 4 + 1);
	default:
		return r % 64 ? random_next(seed) % (interval / 16 + 1) : interval * 200;
	}
}

/* A bucket in tokens, without rounding of its level: what would be possible. */
struct bucket {
	double level, burst, interval;
	__u64 last;
};

static void bucket_init(struct bucket *b, const struct gate_rate *r, __u64 now)
{
	b->burst = b->level = (double)burst_of(r);
	b->interval = (double)r->interval_ns;
	b->last = now;
}

static bool bucket_has(struct bucket *b, __u64 now)
{
	b->level += (double)(now - b->last) / b->interval;
	if (b->level > b->burst)
		b->level = b->burst;
	b->last = now;
	return b->level >= 1.0;
}

/*
 * Admissions by time, to hold every stretch of a run to its bound. The excess of
 * the stretch that ends now is the greatest over its possible beginnings.
 */
struct ledger {
	double worst, lowest;
	__u64 admitted;
};

static void ledger_admit(struct ledger *l, const struct gate_rate *r, __u64 since_start)
{
	double due = (double)since_start / (double)r->interval_ns;

	/* n(t) - rate x t: a stretch's excess is this now less this at its beginning. */
	if (!l->admitted || (double)l->admitted - due < l->lowest)
		l->lowest = (double)l->admitted - due;
	l->admitted++;
	if ((double)l->admitted - due - l->lowest > l->worst)
		l->worst = (double)l->admitted - due - l->lowest;
}

static void run_single(const struct gate_rate *r, __u64 seed)
{
	__u64 tat = 0, now = START, possible = 0;
	struct ledger l = { 0 };
	struct bucket b;

	bucket_init(&b, r, now);
	for (int i = 0; i < ARRIVALS; i++) {
		__u64 before = tat;

		now += gap(&seed, r->interval_ns);
		if (bucket_has(&b, now)) {
			b.level -= 1.0;
			possible++;
		}
		if (limit_conforms(tat, r, now) != limit_take(&tat, r, now))
			fail_msg("to look and to take differ at arrival %d", i);
		if (tat == before)
			continue; /* a refusal writes nothing */
		ledger_admit(&l, r, now - START);
	}
	if (l.worst > (double)burst_of(r) + 1)
		fail_msg("%.2f in a stretch, burst %lu", l.worst, (unsigned long)burst_of(r));
	if ((double)l.admitted < 0.99 * (double)possible)
		fail_msg("%lu admitted of %lu", (unsigned long)l.admitted, (unsigned long)possible);
}

static void test_one_rate(void **state)
{
	for (size_t k = 0; k < NRATES; k++) {
		struct gate_rate r = rate_of(rates[k].count, rates[k].per_s, rates[k].burst);

		for (__u64 n = 1; n <= PATTERNS; n++)
			run_single(&r, n * 0x9e3779b97f4a7c15ULL);
	}
}

/* A guest that asks all the time gets its due, no more and no less. */
static void test_pressure(void **state)
{
	for (size_t k = 0; k < NRATES; k++) {
		struct gate_rate r = rate_of(rates[k].count, rates[k].per_s, rates[k].burst);
		__u64 tat = 0, admitted = 0, step = r.interval_ns / 100 + 1, i, due;

		for (i = 0; i < 50000; i++)
			admitted += limit_take(&tat, &r, START + i * step);
		due = burst_of(&r) + (i - 1) * step / r.interval_ns;
		assert_in_range(admitted, due * 99 / 100, due + 1);
	}
}

/* What is given back can be had again, once, and never adds to the burst. */
static void test_give_back(void **state)
{
	struct gate_rate r = rate_of(5, 1, 10);
	__u64 tat = 0, now = START, seed = 1, got;

	for (int round = 0; round < 50; round++) {
		for (got = 0; limit_take(&tat, &r, now); got++)
			;
		assert_int_equal(got, 10);
		for (__u64 i = 0; i < got; i++)
			limit_give_back(&tat, &r);
		now += random_next(&seed) % SEC;
	}
}

/* ---- several rates together: look at all, take from all, as admit.h does ---- */

static bool take_all(__u64 *tat, const struct gate_rate *r, int n, __u64 now)
{
	for (int i = 0; i < n; i++)
		if (!limit_conforms(tat[i], &r[i], now))
			return false;
	for (int i = 0; i < n; i++) {
		if (limit_take(&tat[i], &r[i], now))
			continue;
		while (i-- > 0)
			limit_give_back(&tat[i], &r[i]);
		return false;
	}
	return true;
}

static void run_several(const struct gate_rate *r, int n, __u64 seed)
{
	__u64 tat[GATE_MAX_RATES] = { 0 }, now = START, possible = 0, admitted = 0;
	struct ledger l[GATE_MAX_RATES] = { 0 };
	struct bucket b[GATE_MAX_RATES];

	for (int k = 0; k < n; k++)
		bucket_init(&b[k], &r[k], now);
	for (int i = 0; i < ARRIVALS; i++) {
		bool has = true;

		now += gap(&seed, r[(seed >> 8) % n].interval_ns);
		for (int k = 0; k < n; k++)
			has &= bucket_has(&b[k], now);
		for (int k = 0; has && k < n; k++)
			b[k].level -= 1.0;
		possible += has;
		if (!take_all(tat, r, n, now))
			continue;
		admitted++;
		for (int k = 0; k < n; k++)
			ledger_admit(&l[k], &r[k], now - START);
	}
	for (int k = 0; k < n; k++)
		if (l[k].worst > (double)burst_of(&r[k]) + 1)
			fail_msg("rate %d: %.2f in a stretch, burst %lu", k, l[k].worst,
				 (unsigned long)burst_of(&r[k]));
	if ((double)admitted < 0.99 * (double)possible)
		fail_msg("%lu admitted of %lu", (unsigned long)admitted, (unsigned long)possible);
}

static void test_several_rates(void **state)
{
	const struct gate_rate two[] = { rate_of(5, 1, 10), rate_of(200, 3600, 200) };
	const struct gate_rate four[] = { rate_of(20, 1, 20), rate_of(300, 60, 60),
					  rate_of(5000, 3600, 500), rate_of(20000, 86400, 3000) };

	for (__u64 n = 1; n <= PATTERNS; n++) {
		run_several(two, 2, n * 0x9e3779b97f4a7c15ULL);
		run_several(four, 4, n * 0xbf58476d1ce4e5b9ULL);
	}
}

/* ---- two CPUs on the same words ---- */

/*
 * The clock is the number of draws so far: both threads advance it by their own
 * arrivals, so however they interleave there is always one more taker than time
 * for tokens, and every compare-and-swap is contended.
 */
struct arena {
	__u64 clock, tat[2];
	struct gate_rate rate[2];
	__u64 step;
	int rounds, rates;
};

struct taker {
	pthread_t thread;
	struct arena *arena;
	__u64 admitted;
};

static void *take_many(void *arg)
{
	struct taker *t = arg;
	struct arena *a = t->arena;

	for (int i = 0; i < a->rounds; i++) {
		__u64 now = __sync_add_and_fetch(&a->clock, a->step);

		t->admitted += take_all(a->tat, a->rate, a->rates, now);
	}
	return NULL;
}

static void run_two(struct arena *a)
{
	struct taker t[2] = { { .arena = a }, { .arena = a } };
	__u64 begin = a->clock, admitted;
	double most = 1e18;

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i].thread, NULL, take_many, &t[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i].thread, NULL);
	admitted = t[0].admitted + t[1].admitted;
	for (int k = 0; k < a->rates; k++) {
		double due = (double)burst_of(&a->rate[k]) +
			     (double)(a->clock - begin) / (double)a->rate[k].interval_ns;

		if (due < most)
			most = due;
	}
	if ((double)admitted > most + 1)
		fail_msg("%lu admitted, %.1f is the most", (unsigned long)admitted, most + 1);
	/* of a burst of one what comes late is lost: there is nowhere to keep it */
	if (burst_of(&a->rate[0]) > 1 && (double)admitted < 0.99 * most - 1)
		fail_msg("%lu admitted of %.1f", (unsigned long)admitted, most);
}

static void test_two_cpus_on_one_word(void **state)
{
	struct arena a = { .clock = START, .step = 100, .rounds = 300000, .rates = 1 };

	a.rate[0] = rate_of(1000000, 1, 1); /* a token each tenth draw */
	run_two(&a);
	a.rate[0] = rate_of(1000000, 1, 100);
	a.clock += SEC;
	run_two(&a);
	a.step = 900; /* nearly every draw conforms: all contend */
	a.clock += SEC;
	run_two(&a);
}

static void test_two_cpus_on_two_words(void **state)
{
	struct arena a = { .clock = START, .step = 100, .rounds = 300000, .rates = 2 };

	a.rate[0] = rate_of(1000000, 1, 10);
	a.rate[1] = rate_of(700000, 1, 200);
	run_two(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_rate),
		cmocka_unit_test(test_pressure),
		cmocka_unit_test(test_give_back),
		cmocka_unit_test(test_several_rates),
		cmocka_unit_test(test_two_cpus_on_one_word),
		cmocka_unit_test(test_two_cpus_on_two_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
