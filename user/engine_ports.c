// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Ports: which netdev is whose. The port's name leads to the VM that registered
 * it, else the port is a VM of its own (a *loner*), whose slot stays for a minute
 * after the port has gone, since a VM that restarts comes back under its name.
 */
#include "engine_priv.h"

#include <errno.h>

struct port *gate_engine_port(const struct gate_engine *e, uint32_t ifindex)
{
	return gate_table_get(&e->ports, &ifindex, sizeof(ifindex));
}

static void name_port(struct gate_engine *e, struct port *p, const char *name)
{
	if (gate_table_get(&e->port_names, p->name, strlen(p->name)) == p) {
		gate_table_del(&e->port_names, p->name, strlen(p->name));
		gate_engine_problem_clear(e, "map_full", p->name);
	}
	copy_name(p->name, name);
	if (*name)
		gate_table_put(&e->port_names, p->name, strlen(p->name), p);
}

struct port *gate_engine_port_make(struct gate_engine *e, uint32_t ifindex, const char *name)
{
	struct port *p = gate_alloc(1, sizeof(*p));

	p->ifindex = ifindex;
	p->hook = "none";
	gate_table_put(&e->ports, &ifindex, sizeof(ifindex), p);
	name_port(e, p, name);
	return p;
}

/* ---- port and VM ---- */

static void update_to_vm(struct gate_engine *e, const struct vm *vm)
{
	bool all = vm->ports;

	for (const struct port *p = vm->ports; p; p = p->vm_next)
		all &= p->to_vm;
	if (vm->slot)
		gate_sync_vm_flag(e->sync, vm->slot, GATE_VM_TO_VM, all);
}

static void leave_vm(struct gate_engine *e, struct port *p)
{
	struct vm *vm = p->vm;
	struct port **at;

	if (!vm)
		return;
	for (at = &vm->ports; *at != p; at = &(*at)->vm_next)
		;
	*at = p->vm_next;
	p->vm = NULL;
	update_to_vm(e, vm);
	if (!vm->ports && !vm->spec.registered)
		vm->gone_ns = gate_clock_mono_ns();
}

/* adopted: the slot that an earlier daemon gave the netdev; then it is no return. */
static void join_vm(struct gate_engine *e, struct port *p, struct vm *vm, uint32_t adopted)
{
	struct gate_vm *slot = &e->m->vms[vm->slot];

	p->vm = vm;
	p->vm_next = vm->ports;
	vm->ports = p;
	vm->returned |= vm->gone_ns && vm->slot != adopted;
	vm->gone_ns = 0;
	update_to_vm(e, vm);
	if (vm->slot)
		__atomic_store_n(&slot->grace_until,
				 gate_clock_mono_ns() + e->c->grace_s * GATE_NSEC_PER_SEC,
				 __ATOMIC_RELEASE);
}

struct vm *gate_engine_loner(struct gate_engine *e, const char *port)
{
	struct vm *vm = gate_table_get(&e->loners, port, strlen(port));
	struct gate_vm_spec spec = { .binding = -1, .nports = 1 };
	char ports[1][GATE_NAME_LEN] = { "" };
	struct gate_subject s;
	struct rec *rec;
	uint32_t slot;

	if (vm)
		return vm;
	slot = gate_engine_slot_take(e);
	if (!slot)
		return NULL;
	copy_name(spec.name, port);
	memcpy(ports[0], spec.name, sizeof(spec.name));
	spec.ports = ports;
	vm = gate_engine_vm_make(e, &spec, slot);
	gate_engine_vm_subject(vm, &s);
	rec = gate_engine_rec(e, &s);
	if (rec) {
		e->m->vms[slot].first_mac = rec->first_mac;
		gate_engine_sync_rec(e, rec);
	}
	gate_engine_vm_identity(e, vm);
	return vm;
}

void gate_engine_loner_remove(struct gate_engine *e, struct vm *vm)
{
	while (vm->ports)
		leave_vm(e, vm->ports);
	gate_engine_slot_retire(e, vm->slot);
	gate_engine_vm_free(e, vm);
}

/*
 * The port stays away. Its own policy waits for the guest with the same MAC; where
 * no MAC was ever seen nobody could be told from another guest, so nothing that is
 * laxer than the default may wait.
 */
static void loner_is_gone(struct gate_engine *e, struct vm *vm)
{
	struct gate_subject s;
	struct rec *rec;

	gate_engine_vm_subject(vm, &s);
	rec = gate_engine_rec(e, &s);
	if (rec) {
		struct gate_own own;

		rec->first_mac = vm->slot ? e->m->vms[vm->slot].first_mac : 0;
		gate_engine_rec_copy(rec, &own);
		if (!rec->first_mac && gate_engine_drop_laxer(e, &own))
			gate_engine_install(e, &own);
		gate_engine_own_now_or_later(e, &own);
		gate_own_clear(&own);
	}
	gate_engine_loner_remove(e, vm);
}

/* ---- binding ---- */

static bool in_list(uint8_t (*list)[6], unsigned n, const uint8_t mac[6])
{
	for (unsigned i = 0; i < n; i++)
		if (memcmp(list[i], mac, 6) == 0)
			return true;
	return false;
}

/* The MACs of all VMs behind a trunk lead to their slots; claims NULL: no trunk (any more). */
static void sync_trunk(struct gate_engine *e, struct port *p, const struct claim *claims)
{
	uint8_t(*macs)[6] = NULL;
	unsigned n = 0;

	for (const struct claim *c = claims; c; c = c->next) {
		macs = gate_realloc(macs, n + c->vm->spec.nmacs, sizeof(*macs));
		for (unsigned i = 0; i < c->vm->spec.nmacs; i++) {
			memcpy(macs[n++], c->vm->spec.macs[i], 6);
			gate_sync_mac_owner(e->sync, p->ifindex, c->vm->spec.macs[i], c->vm->slot);
		}
	}
	for (unsigned i = 0; i < p->ntrunk; i++)
		if (!in_list(macs, n, p->trunk[i]))
			gate_sync_mac_owner(e->sync, p->ifindex, p->trunk[i], GATE_NO_SLOT);
	free(p->trunk);
	p->trunk = macs;
	p->ntrunk = n;
}

/* Whose is a port that nobody has registered by its name? */
static struct vm *unclaimed(struct gate_engine *e, struct port *p)
{
	struct vm *before = p->vm;

	if (!before && p->adopted)
		before = e->by_slot[p->adopted];
	p->adopted = 0;
	if (before && before->spec.registered && (p->kept || !p->vm)) {
		p->kept = true; /* it was the VM's under another name */
		return before;
	}
	if (before && !before->spec.registered && (before == p->vm || !before->ports))
		return gate_engine_loner_rename(e, before, p->name);
	return gate_engine_loner(e, p->name);
}

static struct vm *owner_of(struct gate_engine *e, struct port *p, struct claim **trunk)
{
	struct claim *claims = gate_table_get(&e->claims, p->name, strlen(p->name));

	*trunk = claims && claims->next ? claims : NULL;
	if (*trunk)
		return NULL;
	if (!claims)
		return unclaimed(e, p);
	p->kept = false;
	return claims->vm;
}

void gate_engine_port_bind(struct gate_engine *e, struct port *p)
{
	uint32_t flags = p->flags, adopted = p->adopted;
	struct claim *trunk = NULL;
	struct vm *vm = NULL;

	if (flags & GATE_PORT_VM)
		vm = owner_of(e, p, &trunk);
	if (trunk)
		flags |= GATE_PORT_TRUNK;
	if (trunk || p->ntrunk)
		sync_trunk(e, p, trunk);
	if (vm != p->vm) {
		leave_vm(e, p);
		if (vm)
			join_vm(e, p, vm, adopted);
	}
	if (gate_sync_port(e->sync, p->ifindex, vm ? vm->slot : GATE_SLOT_UNKNOWN, flags))
		gate_engine_map_full(e, "ports",
				     "there is no room for port %s: the default policy holds",
				     p->name);
}

void gate_engine_ports_rebind(struct gate_engine *e, struct vm *vm, const struct gate_vm_spec *spec)
{
	unsigned n = 0;
	struct port **list, *p;

	for (p = vm->ports; p; p = p->vm_next)
		n++;
	list = gate_alloc(n + spec->nports, sizeof(struct port *));
	n = 0;
	for (p = vm->ports; p; p = p->vm_next)
		list[n++] = p;
	for (unsigned i = 0; i < spec->nports; i++) {
		p = gate_table_get(&e->port_names, spec->ports[i], strlen(spec->ports[i]));
		if (p && p->vm != vm)
			list[n++] = p;
	}
	for (unsigned i = 0; i < n; i++)
		gate_engine_port_bind(e, list[i]);
	free(list);
}

/* ---- what the port manager tells ---- */

static void rename_port(struct gate_engine *e, struct port *p, const char *name)
{
	if (strcmp(p->name, name) == 0)
		return;
	p->kept = p->vm && p->vm->spec.registered;
	name_port(e, p, name);
}

static struct port *see_port(struct gate_engine *e, uint32_t ifindex, const char *name,
			     uint32_t flags, bool *is_new)
{
	struct port *p = gate_engine_port(e, ifindex);

	if (!p)
		p = gate_engine_port_make(e, ifindex, name);
	*is_new = !p->confirmed || ((p->flags ^ flags) & GATE_PORT_VM);
	if (p->confirmed)
		rename_port(e, p, name);
	else
		name_port(e, p, name);
	p->confirmed = true;
	p->flags = flags;
	gate_engine_port_bind(e, p);
	return p;
}

static void port_subject(const struct port *p, struct gate_subject *out)
{
	*out = (struct gate_subject){ .kind = GATE_S_PORT };
	if (p->vm)
		gate_engine_vm_subject(p->vm, out);
	else
		memcpy(out->name, p->name, sizeof(out->name));
}

static void tell_no_slot(struct gate_engine *e, const struct port *p)
{
	gate_engine_problem_set(e, "map_full", p->name,
				"no slot left for port %s (max_vms = %u): it shares the default "
				"policy with all such ports",
				p->name, e->m->conf->max_vms);
}

int gate_engine_port_up(struct gate_engine *e, uint32_t ifindex, const char *name, uint32_t flags)
{
	struct gate_subject s;
	struct port *p;
	bool is_new;

	p = see_port(e, ifindex, name, flags | GATE_PORT_VM, &is_new);
	port_subject(p, &s);
	if (is_new)
		gate_engine_tell(e, GATE_N_PORT_UP, &s, NULL, "port %s is there (ifindex %u)",
				 p->name, ifindex);
	if (p->vm && p->vm->slot)
		return (int)p->vm->slot;
	if (p->ntrunk)
		return GATE_SLOT_UNKNOWN;
	tell_no_slot(e, p);
	return -ENOSPC;
}

int gate_engine_port_other(struct gate_engine *e, uint32_t ifindex, const char *name,
			   uint32_t flags)
{
	bool is_new;

	see_port(e, ifindex, name, flags & ~GATE_PORT_VM, &is_new);
	return 0;
}

void gate_engine_port_renamed(struct gate_engine *e, uint32_t ifindex, const char *name)
{
	struct port *p = gate_engine_port(e, ifindex);

	if (!p || strcmp(p->name, name) == 0)
		return;
	rename_port(e, p, name);
	gate_engine_port_bind(e, p);
	if (p->flags & GATE_PORT_VM && !p->vm && !p->ntrunk)
		tell_no_slot(e, p);
}

static void drop_port(struct gate_engine *e, struct port *p)
{
	gate_sync_port(e->sync, p->ifindex, GATE_NO_SLOT, 0);
	sync_trunk(e, p, NULL);
	leave_vm(e, p);
	name_port(e, p, "");
	gate_table_del(&e->ports, &p->ifindex, sizeof(p->ifindex));
	free(p);
}

void gate_engine_port_down(struct gate_engine *e, uint32_t ifindex)
{
	struct port *p = gate_engine_port(e, ifindex);
	struct gate_subject s;

	if (!p)
		return;
	port_subject(p, &s);
	if (p->flags & GATE_PORT_VM)
		gate_engine_tell(e, GATE_N_PORT_DOWN, &s, NULL, "port %s has gone", p->name);
	drop_port(e, p);
}

void gate_engine_port_attached(struct gate_engine *e, uint32_t ifindex, const char *hook,
			       bool from_vm, bool to_vm)
{
	static const char *const hooks[] = { "tcx", "tc", "none" };
	struct port *p = gate_engine_port(e, ifindex);

	if (!p)
		return;
	for (unsigned i = 0; i < sizeof(hooks) / sizeof(hooks[0]); i++)
		if (hook && strcmp(hook, hooks[i]) == 0)
			p->hook = hooks[i];
	p->from_vm = from_vm;
	p->to_vm = to_vm;
	if (p->vm)
		update_to_vm(e, p->vm);
}

void gate_engine_ports(struct gate_engine *e, void (*cb)(void *, const struct gate_port_info *),
		       void *arg)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&e->ports, &it))) {
		const struct port *p = at->value;
		struct gate_port_info info = {
			.ifindex = p->ifindex,
			.hook = p->hook,
			.from_vm = p->from_vm,
			.to_vm = p->to_vm,
			.uplink = p->flags & GATE_PORT_UPLINK,
			.slot = p->vm ? p->vm->slot : GATE_SLOT_UNKNOWN,
		};

		if (!p->confirmed || !(p->flags & (GATE_PORT_VM | GATE_PORT_UPLINK)))
			continue;
		memcpy(info.name, p->name, sizeof(info.name));
		cb(arg, &info);
	}
}

/* ---- life ---- */

static void retire_loners(struct gate_engine *e, uint64_t now)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&e->loners, &it))) {
		struct vm *vm = at->value;

		if (vm->gone_ns && now - vm->gone_ns >= SLOT_LINGER_NS)
			loner_is_gone(e, vm);
	}
}

/* Ports for which there was no slot get one when there is. */
static void retry_port(struct gate_engine *e, struct port *p)
{
	if (!(p->flags & GATE_PORT_VM) || p->vm || p->ntrunk || !gate_pool_left(&e->slots))
		return;
	gate_engine_port_bind(e, p);
	if (p->vm)
		gate_engine_problem_clear(e, "map_full", p->name);
}

void gate_engine_ports_tick(struct gate_engine *e)
{
	uint64_t now = gate_clock_mono_ns();
	bool stale = now - e->opened_ns >= STALE_PORT_NS;
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	retire_loners(e, now);
	while ((at = gate_table_next(&e->ports, &it))) {
		struct port *p = at->value;

		if (p->confirmed)
			retry_port(e, p);
		else if (stale)
			drop_port(e, p);
	}
}

void gate_engine_ports_close(struct gate_engine *e)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&e->ports, &it))) {
		struct port *p = at->value;

		free(p->trunk);
		free(p);
	}
	gate_table_clear(&e->ports);
	gate_table_clear(&e->port_names);
}
