// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The model as the kernel remembers it, when there is no store to ask: names of
 * VMs, their addresses and policies are in the maps; names of tenants, reasons
 * and who gave them are not.
 */
#include "engine_priv.h"

#include <net/if.h>
#include <stdio.h>

struct port_search {
	uint32_t slot;
	struct gate_vm_spec *spec;
};

static void recover_port_of(const struct port_search *search, uint32_t ifindex, uint32_t slot)
{
	struct gate_vm_spec *spec = search->spec;
	char name[IF_NAMESIZE];

	if (slot != search->slot || !if_indextoname(ifindex, name))
		return;
	/* the host end of a firewall pair: it has its tap's entry, see gate_ports_mirror() */
	if (!strncmp(name, "fwpr", 4))
		return;
	for (unsigned i = 0; i < spec->nports; i++)
		if (!strcmp(spec->ports[i], name)) /* several MACs behind one trunk */
			return;
	spec->ports = gate_realloc(spec->ports, spec->nports + 1, sizeof(*spec->ports));
	memset(spec->ports[spec->nports], 0, GATE_NAME_LEN);
	strcpy(spec->ports[spec->nports++], name);
}

static void recover_port(void *arg, uint32_t ifindex, const struct gate_port *port)
{
	recover_port_of(arg, ifindex, port->slot);
}

/* A trunk is nobody's port: who is behind it is known by MAC. */
static void recover_trunk(void *arg, uint32_t ifindex, const uint8_t mac[6], uint32_t slot)
{
	recover_port_of(arg, ifindex, slot);
}

static void recover_address(void *arg, bool is_mac, const struct gate_sync_address *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct gate_vm_spec *spec = arg;
	struct gate_prefix p = { .len = a->len };

	if (!(a->flags & GATE_ADDR_REGISTERED))
		return;
	if (is_mac) {
		spec->macs = gate_realloc(spec->macs, spec->nmacs + 1, sizeof(*spec->macs));
		memcpy(spec->macs[spec->nmacs++], a->addr, 6);
		return;
	}
	memcpy(p.addr, a->addr, 16);
	p.v4 = p.len >= 96 && memcmp(p.addr, mapped, 12) == 0;
	/* They come sorted: what lies within the one before is there for a policy's sake. */
	if (spec->nips && gate_prefix_contains(&spec->ips[spec->nips - 1], &p))
		return;
	spec->ips = gate_realloc(spec->ips, spec->nips + 1, sizeof(*spec->ips));
	spec->ips[spec->nips++] = p;
}

/* Own policy from the nodes at `base`, exempt destinations from `exempt`. */
static void recover_own(struct gate_engine *e, const struct gate_subject *s, uint32_t base,
			uint32_t exempt)
{
	struct gate_own own;

	gate_own_init(&own, s);
	gate_sync_decompile(e->sync, base, &own);
	if (exempt != GATE_EXEMPT_ALL)
		own.exempt = gate_sync_exempt_get(e->sync, exempt, &own.nexempt);
	gate_own_drop_expired(&own, engine_now_s());
	if (!gate_own_is_empty(&own))
		gate_engine_rec_put(e, &own);
	gate_own_clear(&own);
}

/* The default of the configuration is known; only what staff set instead is a record. */
static void recover_default(struct gate_engine *e)
{
	const struct gate_subject s = { .kind = GATE_S_DEFAULT };
	uint64_t head = e->m->heads[gate_base_default() * e->m->scopes];
	struct gate_node configured;

	gate_sync_compile(e->sync, NULL, 0, true, &configured);
	if (!head || memcmp(&configured, &e->m->nodes[head], sizeof(configured)) != 0 ||
	    e->m->scopes > 1)
		recover_own(e, &s, gate_base_default(), GATE_EXEMPT_ALL);
}

static void recover_override(void *arg, const struct gate_subject *s, uint32_t base)
{
	recover_own(arg, s, base, GATE_EXEMPT_ALL);
}

static void recover_tenant(struct gate_engine *e, uint32_t id, uint32_t budget,
			   struct gate_vm_spec *spec)
{
	struct gate_subject s = { .kind = GATE_S_TENANT };
	const struct rec *rec;
	struct gate_own own;

	snprintf(s.name, sizeof(s.name), "tenant-%u", id);
	memcpy(spec->tenant, s.name, sizeof(spec->tenant));
	if (gate_engine_tenant(e, s.name) || !gate_engine_tenant_make(e, s.name, id))
		return;
	recover_own(e, &s, gate_base_tenant(e->m, id), GATE_EXEMPT_TENANT | id);
	if (!budget || budget >= e->m->nbudgets)
		return;
	rec = gate_engine_rec(e, &s);
	gate_own_init(&own, &s);
	if (rec)
		gate_engine_rec_own(rec, &own);
	own.nbudget = gate_sync_budget_decompile(e->sync, budget, own.budget);
	gate_engine_rec_put(e, &own);
}

static void recover_slot(struct gate_engine *e, uint32_t slot)
{
	const struct gate_vm *v = &e->m->vms[slot];
	struct gate_vm_spec spec = { .binding = -1 };
	struct gate_subject s;
	struct vm *vm;

	memcpy(spec.name, e->m->names[slot], sizeof(spec.name));
	spec.name[sizeof(spec.name) - 1] = '\0';
	gate_pool_claim(&e->slots, slot);
	if (!gate_name_valid(spec.name)) {
		gate_engine_slot_retire(e, slot);
		return;
	}
	spec.registered = v->flags & GATE_VM_REGISTERED;
	if (spec.registered) {
		struct port_search search = { .slot = slot, .spec = &spec };

		spec.binding = v->binding == e->c->binding ? -1 : v->binding;
		gate_sync_ports(e->sync, recover_port, &search);
		gate_sync_mac_owners(e->sync, recover_trunk, &search);
		gate_sync_entries(e->sync, slot, recover_address, &spec);
		if (v->tenant)
			recover_tenant(e, v->tenant, v->budget, &spec);
	} else {
		spec.ports = gate_alloc(1, sizeof(*spec.ports));
		memcpy(spec.ports[0], spec.name, sizeof(spec.name));
		spec.nports = 1;
	}
	vm = gate_engine_vm_make(e, &spec, slot);
	if (!spec.registered)
		vm->gone_ns = gate_clock_mono_ns();
	gate_engine_vm_subject(vm, &s);
	recover_own(e, &s, gate_base_vm(slot), GATE_EXEMPT_VM | slot);
	gate_vm_spec_clear(&spec);
}

/* A node says what the prefixes around it say, too: that is theirs, unless nothing else is left. */
static void drop_covering(struct gate_engine *e, struct rec *rec)
{
	const struct gate_prefix *ip = &rec->subject.ip;
	const struct rec *around;
	struct gate_own own;

	gate_engine_rec_copy(rec, &own);
	for (int len = ip->len - 1; (around = gate_engine_ip_cover(e, ip, len));
	     len = around->subject.ip.len - 1) {
		if (around->quarantine && around->quarantine_until == own.quarantine.until)
			own.quarantine = (struct gate_quarantine){ 0 };
		if (around->observe)
			own.observe = false;
	}
	if (!gate_own_is_empty(&own))
		gate_engine_rec_put(e, &own);
	gate_own_clear(&own);
}

static void drop_all_covering(struct gate_engine *e)
{
	static const unsigned char first[GATE_ORDER_KEY];

	/* In order: the widest, which keeps what it says, comes before what lies in it. */
	for (struct gate_order_node *n = gate_order_from(&e->ip_recs, first); n; n = n->next[0])
		drop_covering(e, n->value);
}

void gate_engine_recover(struct gate_engine *e)
{
	for (uint32_t slot = 1; slot < e->m->conf->max_vms; slot++) {
		if (e->m->vms[slot].flags & GATE_VM_USED) {
			recover_slot(e, slot);
			gate_engine_reports_base(e, slot, &e->m->counters[slot]);
		} else if (gate_engine_slot_has_traces(e, slot) &&
			   gate_pool_claim(&e->slots, slot)) {
			gate_engine_slot_retire(e, slot);
		}
	}
	if (!e->m->conf->revision)
		return; /* new maps: nothing to remember */
	recover_default(e);
	gate_sync_any_bases(e->sync, recover_override, e);
	drop_all_covering(e);
}
