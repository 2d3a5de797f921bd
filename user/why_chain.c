// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The chain of policies as the program walks it (bpf/policy.h), read from the
 * maps it reads, and whose they are.
 */
#include "why_priv.h"

#include <bpf/bpf.h>

bool why_source_entry(const struct why_case *w, struct gate_address *out)
{
	struct gate_ip_key key = { .prefixlen = 32 + 128, .slot = w->slot };

	if (!(w->m->vms[w->slot].flags & GATE_VM_IPS))
		return false;
	memcpy(key.addr, w->src.addr, sizeof(key.addr));
	return bpf_map_lookup_elem(w->m->ips, &key, out) == 0;
}

static bool mac_entry(const struct why_case *w, struct gate_address *out)
{
	struct gate_mac_key key = { .slot = w->slot };

	if (!(w->m->vms[w->slot].flags & GATE_VM_MACS))
		return false;
	memcpy(key.mac, w->mac, sizeof(key.mac));
	return bpf_map_lookup_elem(w->m->macs, &key, out) == 0;
}

const struct gate_policy_spec *why_spec(const struct why_case *w, const struct why_link *l)
{
	const struct gate_own *own = gate_engine_own(w->engine, &l->subject);
	uint32_t scope = l->handle % w->m->scopes;

	if (!own || l->configured)
		return NULL;
	/* with one gated port there is one scope, and either place may hold the policy */
	if (w->m->scopes == 1 && own->scope[0].state == GATE_INHERIT)
		scope = 1;
	return own->scope[scope].state == GATE_INHERIT ? NULL : &own->scope[scope];
}

bool why_link_at(const struct why_case *w, uint32_t handle, uint32_t node, struct why_link *out)
{
	uint32_t base = handle / w->m->scopes, scope = handle % w->m->scopes;

	*out = (struct why_link){ .handle = handle, .node = node };
	out->on = scope ? w->m->conf->ports[scope - 1] : 0;
	if (gate_engine_base_subject(w->engine, base ? base : gate_base_default(), &out->subject))
		return false;
	out->configured = base == 0 || (base == gate_base_default() && !why_spec(w, out));
	return true;
}

struct walk {
	const struct why_case *w;
	struct why_link *out;
	unsigned n;
	bool configured;
};

static void take(struct walk *k, uint32_t handle)
{
	const struct gate_maps *m = k->w->m;
	uint64_t node = handle < m->nheads ? m->heads[handle] : 0;

	if (node && node < m->nnodes && k->n < WHY_CHAIN_MAX &&
	    why_link_at(k->w, handle, (uint32_t)node, &k->out[k->n]) &&
	    !(k->configured && k->out[k->n].configured && !k->out[k->n].on)) {
		/* the configuration's lies beneath all as well as in the default's place */
		k->configured |= k->out[k->n].configured && !k->out[k->n].on;
		k->n++;
	}
}

static void take_base(struct walk *k, uint32_t base)
{
	if (!base)
		return;
	if (k->w->m->scopes > 1 && k->w->port >= 0)
		take(k, base * k->w->m->scopes + 1 + (uint32_t)k->w->port);
	take(k, base * k->w->m->scopes);
}

unsigned why_chain(const struct why_case *w, struct why_link out[WHY_CHAIN_MAX])
{
	struct walk k = { .w = w, .out = out };
	struct gate_address a;
	uint32_t tenant = w->m->vms[w->slot].tenant;

	if (why_source_entry(w, &a)) {
		take_base(&k, a.base[0]);
		take_base(&k, a.base[1]);
	}
	if (mac_entry(w, &a)) {
		take_base(&k, a.base[0]);
		take_base(&k, a.base[1]);
	}
	take_base(&k, gate_base_vm(w->slot));
	if (tenant)
		take_base(&k, gate_base_tenant(w->m, tenant));
	take_base(&k, gate_base_default());
	take(&k, 0); /* what the configuration says */
	return k.n;
}
