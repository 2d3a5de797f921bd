// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Binding `learn` (SEMANTICS Identity 4): the first few sources of a VM that nobody
 * registered are recorded, every other one is told. It is for staff to see: a
 * recorded source gains a VM nothing.
 */
#include "engine_priv.h"

#include <stdio.h>

#define SAVE_LEARNED_S 5 /* a forger must not have the disk synced for each frame */

static bool has_ip(const struct gate_prefix *list, unsigned n, const struct gate_prefix *p)
{
	for (unsigned i = 0; i < n; i++)
		if (gate_prefix_contains(&list[i], p))
			return true;
	return false;
}

static bool registered_mac(const struct gate_vm_spec *spec, const uint8_t mac[6])
{
	for (unsigned i = 0; i < spec->npairs; i++)
		if (memcmp(spec->pairs[i].mac, mac, 6) == 0)
			return true;
	return gate_vm_spec_has_mac(spec, mac);
}

static bool registered_ip(const struct gate_vm_spec *spec, const struct gate_prefix *p)
{
	for (unsigned i = 0; i < spec->npairs; i++)
		if (has_ip(&spec->pairs[i].ip, 1, p))
			return true;
	return has_ip(spec->ips, spec->nips, p);
}

static bool learned_mac(const struct gate_learned *l, const uint8_t mac[6])
{
	for (unsigned i = 0; i < l->nmacs; i++)
		if (memcmp(l->macs[i], mac, 6) == 0)
			return true;
	return false;
}

/* The ring may still hold what the slot's last VM did. */
static bool from_its_port(const struct vm *vm, const struct gate_event *ev)
{
	const struct port *p = vm->ports;

	while (p && p->ifindex != ev->ifindex)
		p = p->vm_next;
	return p || !vm->ports;
}

static struct gate_learned *list_of(struct vm *vm)
{
	if (!vm->learned)
		vm->learned = gate_alloc(1, sizeof(*vm->learned));
	return vm->learned;
}

/* ---- addresses that are seen on two ports (Identity 3) ---- */

/* Somebody else who has registered the MAC or the address, whichever is given. */
static const struct vm *registered_by(const struct gate_engine *e, const struct vm *vm,
				      const uint8_t *mac, const struct gate_prefix *ip)
{
	const struct vm *owner = mac ? gate_table_get(&e->macs, mac, 6) : NULL;

	if (!owner || owner == vm)
		owner = ip ? gate_engine_ip_owner(e, ip, vm) : NULL;
	return owner;
}

/* Somebody else who was seen to use it. All are looked through: not for each frame of a forger. */
static const struct vm *used_by(const struct gate_engine *e, const struct vm *vm,
				const uint8_t *mac, const struct gate_prefix *ip)
{
	for (uint32_t slot = 1; slot < e->m->conf->max_vms; slot++) {
		const struct vm *other = e->by_slot[slot];
		const struct gate_learned *l = other ? other->learned : NULL;

		if (l && other != vm &&
		    ((mac && learned_mac(l, mac)) || (ip && has_ip(l->ips, l->nips, ip))))
			return other;
	}
	return NULL;
}

static void name_other(const struct vm *other, const char *what, char *out, size_t size)
{
	char name[GATE_SUBJECT_LEN + 4];
	struct gate_subject s;

	gate_engine_vm_subject(other, &s);
	snprintf(out, size, "; %s %s", gate_format_subject(&s, name, sizeof(name)), what);
}

/* ---- what is seen ---- */

/* True: recorded; false: there is no room for it. */
static bool record(struct vm *vm, const uint8_t *mac, const struct gate_prefix *ip)
{
	struct gate_learned *l = list_of(vm);

	if ((mac && l->nmacs == GATE_LEARNED_MACS) || (ip && l->nips == GATE_LEARNED_IPS))
		return false;
	if (mac)
		memcpy(l->macs[l->nmacs++], mac, 6);
	if (ip)
		l->ips[l->nips++] = *ip;
	return true;
}

void gate_engine_learn(struct gate_engine *e, struct vm *vm, const struct gate_subject *s,
		       const struct gate_event *ev)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct gate_prefix ip = { .len = 128, .v4 = memcmp(ev->src, mapped, 12) == 0 };
	const struct gate_learned none = { 0 }, *l = vm->learned ? vm->learned : &none;
	const struct vm *owner, *user = NULL;
	char mac[20], addr[64], also[GATE_SUBJECT_LEN + 40] = "";
	bool new_mac, new_ip, kept;

	memcpy(ip.addr, ev->src, 16);
	new_mac = !registered_mac(&vm->spec, ev->mac) && !learned_mac(l, ev->mac);
	new_ip = !registered_ip(&vm->spec, &ip) && !has_ip(l->ips, l->nips, &ip);
	if ((!new_mac && !new_ip) || !from_its_port(vm, ev))
		return;
	owner = registered_by(e, vm, new_mac ? ev->mac : NULL, new_ip ? &ip : NULL);
	kept = record(vm, new_mac ? ev->mac : NULL, new_ip ? &ip : NULL);
	if (kept) {
		gate_engine_learned_changed(e, vm);
		user = used_by(e, vm, new_mac ? ev->mac : NULL, new_ip ? &ip : NULL);
	}
	if (owner)
		name_other(owner, "has registered it", also, sizeof(also));
	else if (user)
		name_other(user, "was seen to use it too", also, sizeof(also));
	gate_engine_tell(e, GATE_N_IDENTITY, s, ev, "a source not seen before: %s, %s%s%s",
			 gate_format_mac(ev->mac, mac, sizeof(mac)),
			 gate_format_prefix(&ip, addr, sizeof(addr)),
			 kept ? "" : "; it is one of too many to be recorded", also);
}

void gate_engine_learned_changed(struct gate_engine *e, struct vm *vm)
{
	if (!vm->learned)
		return;
	vm->learned_unsaved = true;
	e->learned_unsaved = true;
}

void gate_engine_learned_forget(struct gate_engine *e, struct vm *vm)
{
	if (!vm->learned)
		return;
	memset(vm->learned, 0, sizeof(*vm->learned));
	gate_engine_learned_changed(e, vm);
}

bool gate_engine_learned(struct gate_engine *e, uint32_t slot, struct gate_learned *out)
{
	const struct vm *vm = slot && slot < e->m->conf->max_vms ? e->by_slot[slot] : NULL;
	const struct gate_learned *l = vm ? vm->learned : NULL;

	*out = (struct gate_learned){ 0 };
	/* What was registered since is no longer merely learned. */
	for (unsigned i = 0; l && i < l->nmacs; i++)
		if (!registered_mac(&vm->spec, l->macs[i]))
			memcpy(out->macs[out->nmacs++], l->macs[i], 6);
	for (unsigned i = 0; l && i < l->nips; i++)
		if (!registered_ip(&vm->spec, &l->ips[i]))
			out->ips[out->nips++] = l->ips[i];
	return out->nmacs || out->nips;
}

/* ---- over restarts ---- */

static int save_one(struct gate_engine *e, struct vm *vm)
{
	char text[GATE_SUBJECT_LEN + 4];
	struct gate_subject s;
	int r;

	gate_engine_vm_subject(vm, &s);
	gate_format_subject(&s, text, sizeof(text));
	r = gate_store_put_learned(e->store, text, vm->learned, NULL);
	if (!r)
		vm->learned_unsaved = false;
	return r;
}

int gate_engine_learned_save(struct gate_engine *e, bool all)
{
	int r = 0;

	for (uint32_t slot = 1; slot < e->m->conf->max_vms && !r; slot++) {
		struct vm *vm = e->by_slot[slot];

		if (vm && vm->learned && (all || vm->learned_unsaved))
			r = save_one(e, vm);
	}
	if (!r)
		e->learned_unsaved = false;
	return r;
}

static void forget_saved(struct gate_engine *e)
{
	e->learned_unsaved = true;
	for (uint32_t slot = 1; slot < e->m->conf->max_vms; slot++)
		if (e->by_slot[slot])
			e->by_slot[slot]->learned_unsaved = true;
}

void gate_engine_learned_tick(struct gate_engine *e, int64_t now)
{
	if (!e->learned_unsaved || !e->store ||
	    (now - e->learned_s < SAVE_LEARNED_S && now >= e->learned_s))
		return;
	e->learned_s = now;
	if (gate_engine_save_begin(e, NULL))
		return;
	/* what fails takes back those that were written before it */
	if (gate_engine_save_end(e, gate_engine_learned_save(e, false), NULL))
		forget_saved(e);
}

static void load_one(void *arg, const char *subject, const struct gate_learned *l)
{
	struct gate_engine *e = arg;
	struct gate_subject s;
	struct vm *vm = gate_parse_subject(subject, &s) ? NULL : gate_engine_vm_find(e, &s);

	if (vm)
		*list_of(vm) = *l;
}

void gate_engine_learned_load(struct gate_engine *e)
{
	struct gate_error err;

	if (gate_store_read_learned(e->store, load_one, e, &err))
		log_warning("%s", err.message);
}
