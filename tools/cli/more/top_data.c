// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "top.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void copy(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from ? from : "");
	cli_clean(to);
}

static void read_sample(const json_t *vm, struct top_sample *s)
{
	const json_t *c = json_object_get(vm, "counters");

	s->v[TOP_NEW] = cli_uint(c, "flows_admitted") + cli_uint(c, "flows_limited") +
			cli_uint(c, "flows_blocked");
	s->v[TOP_REFUSED] = cli_uint(c, "flows_limited") + cli_uint(c, "flows_blocked") +
			    cli_uint(c, "flows_would_refuse");
	s->v[TOP_DESTINATIONS] = cli_uint(c, "new_destinations");
	s->v[TOP_5XX] = cli_uint(c, "replies_5xx");
	s->v[TOP_REPLIES] = cli_uint(c, "replies_2xx") + cli_uint(c, "replies_3xx") +
			    cli_uint(c, "replies_4xx") + s->v[TOP_5XX];
}

/* A VM that was not there before counts from now on. */
static struct top_vm *find_or_make(struct top_data *d, const char *subject,
				   const struct top_sample *now)
{
	struct top_vm *vm = gate_table_get(&d->by_subject, subject, strlen(subject));
	struct top_vm **grown;

	if (vm)
		return vm;
	vm = calloc(1, sizeof(*vm));
	grown = vm ? reallocarray(d->vms, d->n + 1, sizeof(*grown)) : NULL;
	if (!grown) {
		free(vm);
		return NULL;
	}
	d->vms = grown;
	d->vms[d->n++] = vm;
	strcpy(vm->subject, subject);
	for (unsigned i = 0; i < TOP_SAMPLES; i++)
		vm->ring[i] = *now;
	gate_table_put(&d->by_subject, subject, strlen(subject), vm);
	return vm;
}

static int take_one(struct top_data *d, const json_t *o)
{
	char subject[sizeof(((struct top_vm *)NULL)->subject)];
	struct top_sample now;
	struct top_vm *vm;

	if (!cli_str(o, "subject"))
		return 0;
	/* known by what is shown of it, by which it is looked for when it goes */
	copy(subject, sizeof(subject), cli_str(o, "subject"));
	read_sample(o, &now);
	vm = find_or_make(d, subject, &now);
	if (!vm)
		return -ENOMEM;
	copy(vm->tenant, sizeof(vm->tenant), cli_str(o, "tenant"));
	copy(vm->state, sizeof(vm->state), cli_str(o, "state"));
	vm->enforce = cli_bool(o, "enforce");
	vm->open = cli_uint(json_object_get(o, "counters"), "flows_active");
	vm->now = now;
	vm->seen = d->poll;
	return 0;
}

/* VMs that have gone go from the list, too. */
static void drop_gone(struct top_data *d)
{
	size_t kept = 0;

	for (size_t i = 0; i < d->n; i++) {
		struct top_vm *vm = d->vms[i];

		if (vm->seen == d->poll) {
			d->vms[kept++] = vm;
			continue;
		}
		gate_table_del(&d->by_subject, vm->subject, strlen(vm->subject));
		free(vm);
	}
	d->n = kept;
}

/* Counters go back only when a VM was made anew: then it counts from now on. */
static uint64_t since(uint64_t now, uint64_t then)
{
	return now > then ? now - then : 0;
}

static void compute(struct top_data *d, struct top_vm *vm, unsigned oldest, unsigned slot,
		    double minutes)
{
	const struct top_sample *then = &vm->ring[oldest];
	uint64_t replies = since(vm->now.v[TOP_REPLIES], then->v[TOP_REPLIES]);
	uint64_t bad = since(vm->now.v[TOP_5XX], then->v[TOP_5XX]);

	for (unsigned f = 0; f < TOP_FIELD_MAX; f++) {
		vm->per_min[f] = minutes > 0 ? since(vm->now.v[f], then->v[f]) / minutes : 0;
		d->total_per_min[f] += vm->per_min[f];
	}
	if (!replies) { /* a quiet minute says nothing: then all that it ever had */
		replies = vm->now.v[TOP_REPLIES];
		bad = vm->now.v[TOP_5XX];
	}
	vm->share_5xx = replies ? 100.0 * (double)bad / (double)replies : -1;
	vm->ring[slot] = vm->now;
}

int top_data_take(struct top_data *d, const json_t *vms, int64_t now_ms)
{
	unsigned slot = (unsigned)(d->poll % TOP_SAMPLES), oldest = slot;
	const json_t *o;
	double minutes;
	size_t i;

	/* the slot to be filled holds the oldest sample, once all were filled */
	if (d->poll < TOP_SAMPLES)
		oldest = 0;
	while (oldest != slot && now_ms - d->at_ms[oldest] > TOP_WINDOW_MS + 1000)
		oldest = (oldest + 1) % TOP_SAMPLES;
	minutes = d->poll ? (double)(now_ms - d->at_ms[oldest]) / 60000 : 0;
	d->poll++;
	json_array_foreach (vms, i, o) {
		if (take_one(d, o))
			return -ENOMEM;
	}
	drop_gone(d);
	memset(d->total_per_min, 0, sizeof(d->total_per_min));
	for (i = 0; i < d->n; i++)
		compute(d, d->vms[i], oldest, slot, minutes);
	d->at_ms[slot] = now_ms;
	return 0;
}

/* ---- order ---- */

static double key_of(const struct top_vm *vm, enum top_sort by)
{
	switch (by) {
	case SORT_NEW:
		return vm->per_min[TOP_NEW];
	case SORT_REFUSED:
		return vm->per_min[TOP_REFUSED];
	case SORT_5XX:
		return vm->share_5xx;
	case SORT_DESTINATIONS:
		return vm->per_min[TOP_DESTINATIONS];
	case SORT_OPEN:
		return (double)vm->open;
	default:
		return 0;
	}
}

static uint64_t total_of(const struct top_vm *vm, enum top_sort by)
{
	switch (by) {
	case SORT_REFUSED:
		return vm->now.v[TOP_REFUSED];
	case SORT_5XX:
		return vm->now.v[TOP_5XX];
	case SORT_DESTINATIONS:
		return vm->now.v[TOP_DESTINATIONS];
	case SORT_NAME:
		return 0;
	default:
		return vm->now.v[TOP_NEW];
	}
}

static bool matches(const struct top_vm *vm, const char *filter)
{
	return !*filter || strcasestr(vm->subject, filter) || strcasestr(vm->tenant, filter) ||
	       strcasestr(vm->state, filter);
}

struct order {
	enum top_sort by;
	const char *filter;
};

static int compare(const void *a, const void *b, void *arg)
{
	const struct top_vm *x = *(struct top_vm *const *)a, *y = *(struct top_vm *const *)b;
	const struct order *o = arg;
	double kx = key_of(x, o->by), ky = key_of(y, o->by);
	uint64_t tx = total_of(x, o->by), ty = total_of(y, o->by);

	if (matches(x, o->filter) != matches(y, o->filter))
		return matches(x, o->filter) ? -1 : 1;
	if (kx < ky || kx > ky)
		return kx < ky ? 1 : -1;
	if (tx != ty)
		return tx < ty ? 1 : -1;
	return strverscmp(x->subject, y->subject);
}

void top_data_sort(struct top_data *d, enum top_sort by, const char *filter)
{
	struct order o = { by, filter };

	if (d->n)
		qsort_r(d->vms, d->n, sizeof(struct top_vm *), compare, &o);
	d->shown = 0;
	while (d->shown < d->n && matches(d->vms[d->shown], filter))
		d->shown++;
}

void top_data_clear(struct top_data *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->vms[i]);
	free(d->vms);
	gate_table_clear(&d->by_subject);
	*d = (struct top_data){ 0 };
}
