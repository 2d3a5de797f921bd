/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Policy sets made, exported and applied, as `gate25 export` and `gate25 apply` have it done. */
#ifndef GATE25_TESTS_SET_LAB_H
#define GATE25_TESTS_SET_LAB_H

#include "box_lab.h"
#include "../lib/fakeclock.h"
#include "mem.h"

#include <stdio.h>
#include <string.h>

static const struct gate_actor bob = { .uid = 7, .name = "bob" };
#define change(subject, words) box_change(&box, fake_now(), subject, words)

struct item_list {
	struct gate_set_item *items;
	size_t n;
};

static inline void add_item(struct item_list *l, const struct gate_set_item *item)
{
	l->items = gate_realloc(l->items, l->n + 1, sizeof(*l->items));
	l->items[l->n++] = *item;
}

static inline int keep(void *arg, const struct gate_set_item *item)
{
	struct gate_set_item copy = *item;
	struct gate_own own;

	if (item->is_vm) {
		gate_vm_spec_copy(&copy.vm, &item->vm);
	} else {
		gate_own_unpack(item->own, &item->subject, &own);
		copy.own = gate_own_pack(&own);
	}
	add_item(arg, &copy);
	return 0;
}

static inline struct item_list export(void)
{
	struct item_list l = { 0 };

	assert_int_equal(gate_engine_export(box.e, keep, &l), 0);
	return l;
}

static inline void clear(struct item_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		gate_set_item_clear(&l->items[i]);
	free(l->items);
	*l = (struct item_list){ 0 };
}

static inline void add_line(void *arg, const char *line)
{
	size_t n = strlen(box.text);

	snprintf(box.text + n, sizeof(box.text) - n, "%s\n", line);
}

static inline int apply(const struct item_list *l, bool dry_run)
{
	int r;

	box.text[0] = '\0';
	r = gate_engine_apply_set(box.e, &bob, l->items, l->n, dry_run, add_line, NULL, &box.err);
	return r ? (int)box.err.code : 0;
}

static inline struct gate_set_item *add_vm(struct item_list *l, const char *name)
{
	struct gate_set_item item = { .is_vm = true, .vm = { .binding = -1 } };

	strcpy(item.vm.name, name);
	add_item(l, &item);
	return &l->items[l->n - 1];
}

static inline void add_record(struct item_list *l, const struct gate_own *own)
{
	add_item(l, &(struct gate_set_item){ .subject = own->subject, .own = gate_own_pack(own) });
}

static inline struct gate_own own_of(const char *subject, enum gate_state state)
{
	struct gate_subject s = box_subject(subject);
	struct gate_own own;

	gate_own_init(&own, &s);
	own.scope[0].state = state;
	return own;
}

static inline void add_own(struct item_list *l, const char *subject, enum gate_state state)
{
	struct gate_own own = own_of(subject, state);

	add_record(l, &own);
}

static inline void give_mac(struct gate_set_item *item, uint8_t last)
{
	static const uint8_t mac[6] = { 0x52, 0x54 };

	item->vm.macs = gate_realloc(item->vm.macs, item->vm.nmacs + 1, sizeof(*item->vm.macs));
	memcpy(item->vm.macs[item->vm.nmacs], mac, 6);
	item->vm.macs[item->vm.nmacs++][5] = last;
}

static inline void give_ip(struct gate_set_item *item, const char *ip)
{
	item->vm.ips = gate_realloc(item->vm.ips, item->vm.nips + 1, sizeof(*item->vm.ips));
	assert_int_equal(gate_parse_prefix(ip, &item->vm.ips[item->vm.nips++]), 0);
}

#endif
