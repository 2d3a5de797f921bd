// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "bench.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void bench_die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("bench: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

uint64_t bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

uint64_t bench_cpu_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* The mask of before any pinning, so that a second one still sees all CPUs. */
static const cpu_set_t *allowed(void)
{
	static cpu_set_t set;
	static bool known;

	if (!known && sched_getaffinity(0, sizeof(set), &set))
		bench_die("cannot ask for the CPUs: %m");
	known = true;
	return &set;
}

unsigned bench_cpus(void)
{
	return CPU_COUNT(allowed());
}

unsigned bench_pin(unsigned nth)
{
	const cpu_set_t *may = allowed();
	cpu_set_t one;

	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, may) || nth--)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one))
			bench_die("cannot stay on CPU %u: %m", cpu);
		return cpu;
	}
	bench_die("not that many CPUs here");
}

void bench_check_kernel(void)
{
	FILE *f = fopen("/proc/sys/kernel/bpf_stats_enabled", "re");
	int on = 0;

	if (!f)
		return;
	if (fscanf(f, "%d", &on) == 1 && on)
		bench_die("kernel.bpf_stats_enabled is on: it would be measured too");
	fclose(f);
}

double bench_min(const double *v, size_t n)
{
	double min = v[0];

	for (size_t i = 1; i < n; i++)
		if (v[i] < min)
			min = v[i];
	return min;
}

void bench_print_samples(const char *name, const double *v, size_t n)
{
	printf("\"%s\":[", name);
	for (size_t i = 0; i < n; i++)
		printf("%s%.3f", i ? "," : "", v[i]);
	printf("]");
}

const char *bench_option_text(int argc, char **argv, const char *name, const char *otherwise)
{
	for (int i = 1; i < argc - 1; i++)
		if (!strcmp(argv[i], name))
			return argv[i + 1];
	return otherwise;
}

long bench_option(int argc, char **argv, const char *name, long otherwise)
{
	const char *text = bench_option_text(argc, argv, name, NULL);
	char *end;
	long n;

	if (!text)
		return otherwise;
	n = strtol(text, &end, 10);
	if (!*text || *end || n <= 0)
		bench_die("%s wants a positive number, not '%s'", name, text);
	return n;
}
