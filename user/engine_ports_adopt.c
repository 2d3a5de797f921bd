// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Ports as an earlier daemon has left them in the maps, until they are asked for. */
#include "engine_priv.h"

static void adopt_port(void *arg, uint32_t ifindex, const struct gate_port *entry)
{
	struct gate_engine *e = arg;
	struct port *p = gate_engine_port(e, ifindex);

	if (p)
		return;
	p = gate_engine_port_make(e, ifindex, "");
	p->flags = entry->flags;
	p->adopted = entry->slot < e->m->conf->max_vms ? entry->slot : 0;
}

static void adopt_trunk(void *arg, uint32_t ifindex, const uint8_t mac[6], uint32_t slot)
{
	struct gate_engine *e = arg;
	struct port *p = gate_engine_port(e, ifindex);

	if (!p || !(p->flags & GATE_PORT_TRUNK))
		return;
	p->trunk = gate_realloc(p->trunk, p->ntrunk + 1, sizeof(*p->trunk));
	memcpy(p->trunk[p->ntrunk++], mac, 6);
}

void gate_engine_ports_adopt(struct gate_engine *e)
{
	gate_sync_ports(e->sync, adopt_port, e);
	gate_sync_mac_owners(e->sync, adopt_trunk, e);
}

/*
 * What its frames are judged by until the port is asked for, which takes a while: those
 * behind the trunk are who they were, or the default policy would have them.
 */
void gate_engine_port_keep(struct gate_engine *e, struct port *p)
{
	for (unsigned i = 0; i < p->ntrunk; i++) {
		const struct vm *vm = gate_table_get(&e->macs, p->trunk[i], 6);

		gate_sync_mac_owner(e->sync, p->ifindex, p->trunk[i],
				    vm && vm->slot ? vm->slot : GATE_NO_SLOT);
	}
}

void gate_engine_port_forget(struct gate_engine *e, uint32_t ifindex)
{
	struct port *p = gate_engine_port(e, ifindex);

	if (!p || p->confirmed)
		return;
	gate_sync_port_forget(e->sync, ifindex);
	gate_table_del(&e->ports, &ifindex, sizeof(ifindex));
	free(p->trunk);
	free(p);
}
