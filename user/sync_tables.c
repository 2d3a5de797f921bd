// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The hashes and tries that say whose a port, MAC or address is, and what is exempt. */
#include "sync_priv.h"

struct gate_mac_key gate_sync_mac_key(uint32_t slot, const uint8_t mac[6])
{
	struct gate_mac_key key = { .slot = slot };

	memcpy(key.mac, mac, 6);
	return key;
}

struct gate_ip_key gate_sync_ip_key(uint32_t slot, const uint8_t addr[16], uint8_t len)
{
	struct gate_ip_key key = { .prefixlen = 32U + len, .slot = slot };

	memcpy(key.addr, addr, 16);
	return key;
}

int gate_sync_compare(const struct gate_sync_address *a, const struct gate_sync_address *b)
{
	int order = memcmp(a->addr, b->addr, sizeof(a->addr));

	return order ? order : a->len - b->len;
}

static int compare(const void *a, const void *b)
{
	return gate_sync_compare(a, b);
}

void gate_sync_sort(struct gate_sync_address *list, unsigned n)
{
	if (n > 1)
		qsort(list, n, sizeof(*list), compare);
}

static struct key_list *exempt_list(struct gate_sync *s, uint32_t scope)
{
	struct key_list *l = gate_table_get(&s->exempt_lists, &scope, sizeof(scope));

	if (!l) {
		l = gate_alloc(1, sizeof(*l));
		gate_table_put(&s->exempt_lists, &scope, sizeof(scope), l);
	}
	return l;
}

static void adopt_exempt(struct gate_sync *s)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&s->exempt.entries, &it))) {
		const struct gate_exempt_key *key = (const void *)at->key;
		struct key_list *l = exempt_list(s, key->scope);

		l->list = gate_realloc(l->list, l->n + 1, sizeof(*l->list));
		l->list[l->n] = (struct gate_sync_address){ .len = (uint8_t)(key->prefixlen - 32) };
		memcpy(l->list[l->n++].addr, key->addr, 16);
	}
	it = (struct gate_table_iter){ 0 };
	while ((at = gate_table_next(&s->exempt_lists, &it))) {
		struct key_list *l = at->value;

		gate_sync_sort(l->list, l->n);
	}
}

/* ---- what of the MACs is near at hand ---- */

static bool near_owner(const void *key, const void *value, struct gate_near_entry *out)
{
	const struct gate_mac_owner_key *k = key;

	*out = (struct gate_near_entry){ .kind = GATE_NEAR_OWNER,
					 .scope = k->ifindex,
					 .value = *(const uint32_t *)value,
					 .mac = k->mac };
	return true;
}

/* A VM's own MAC; with a policy to it only the hash tells the whole. */
static bool near_mac(const void *key, const void *value, struct gate_near_entry *out)
{
	const struct gate_mac_key *k = key;
	const struct gate_address *a = value;
	const bool plain = !a->base[0] && !a->base[1] && !a->bucket && !a->budget;

	*out = (struct gate_near_entry){
		.kind = GATE_NEAR_VM, .scope = k->slot, .value = plain ? a->flags : 0, .mac = k->mac
	};
	return k->slot != GATE_SLOT_ANY;
}

static bool still_near(void *arg, const struct gate_near_entry *e)
{
	const struct gate_sync *s = arg;
	const bool owner = e->kind == GATE_NEAR_OWNER;
	const struct mirror *m = owner ? &s->mac_owner : &s->macs;
	const struct gate_mac_key mac = gate_sync_mac_key(e->scope, e->mac);
	struct gate_mac_owner_key trunk = { .ifindex = e->scope };
	struct gate_near_entry now;

	memcpy(trunk.mac, e->mac, 6);
	const void *key = owner ? (const void *)&trunk : &mac, *value = gate_mirror_get(m, key);
	return value && m->near_entry(key, value, &now) && now.value == e->value;
}

static void open_near(struct gate_sync *s)
{
	s->mac_owner.near = s->macs.near = &s->near;
	s->mac_owner.near_entry = near_owner;
	s->macs.near_entry = near_mac;
	gate_near_open(&s->near, s->m);
	gate_near_keep(&s->near, still_near, s);
	gate_mirror_bring_near(&s->mac_owner);
	gate_mirror_bring_near(&s->macs);
}

int gate_sync_tables_open(struct gate_sync *s)
{
	const struct {
		struct mirror *mirror;
		int fd;
		uint32_t key, value;
	} tables[] = {
		{ &s->ports, s->m->ports, sizeof(uint32_t), sizeof(struct gate_port) },
		{ &s->mac_owner, s->m->mac_owner, sizeof(struct gate_mac_owner_key),
		  sizeof(uint32_t) },
		{ &s->ip_owner, s->m->ip_owner, sizeof(struct gate_ip_key), sizeof(uint32_t) },
		{ &s->macs, s->m->macs, sizeof(struct gate_mac_key), sizeof(struct gate_address) },
		{ &s->ips, s->m->ips, sizeof(struct gate_ip_key), sizeof(struct gate_address) },
		{ &s->exempt, s->m->exempt, sizeof(struct gate_exempt_key), sizeof(uint32_t) },
	};

	for (unsigned i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		int r = gate_mirror_open(tables[i].mirror, tables[i].fd, tables[i].key,
					 tables[i].value);

		if (r)
			return r;
	}
	open_near(s);
	s->ports.ports = s->m;
	gate_maps_ports_changed(s->m); /* whoever was here before may not have come to it */
	adopt_exempt(s);
	return 0;
}

void gate_sync_tables_close(struct gate_sync *s)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&s->exempt_lists, &it))) {
		struct key_list *l = at->value;

		free(l->list);
		free(l);
	}
	gate_table_clear(&s->exempt_lists);
	gate_mirror_close(&s->ports);
	gate_mirror_close(&s->mac_owner);
	gate_mirror_close(&s->ip_owner);
	gate_mirror_close(&s->macs);
	gate_mirror_close(&s->ips);
	gate_mirror_close(&s->exempt);
	gate_near_close(&s->near);
}

/* ---- ports and owners ---- */

int gate_sync_port(struct gate_sync *s, uint32_t ifindex, uint32_t slot, uint32_t flags)
{
	struct gate_port port = { .slot = slot, .flags = flags };

	if (slot != GATE_NO_SLOT)
		return gate_mirror_put(&s->ports, &ifindex, &port);
	gate_mirror_del(&s->ports, &ifindex);
	return 0;
}

void gate_sync_port_forget(struct gate_sync *s, uint32_t ifindex)
{
	gate_mirror_forget(&s->ports, &ifindex);
}

bool gate_sync_port_get(struct gate_sync *s, uint32_t ifindex, struct gate_port *out)
{
	const struct gate_port *port = gate_mirror_get(&s->ports, &ifindex);

	if (port)
		*out = *port;
	return port;
}

void gate_sync_ports(struct gate_sync *s,
		     void (*cb)(void *, uint32_t ifindex, const struct gate_port *), void *arg)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&s->ports.entries, &it))) {
		const struct mirror_entry *entry = at->value;
		struct gate_port port;
		uint32_t ifindex;

		memcpy(&ifindex, at->key, sizeof(ifindex));
		memcpy(&port, entry->value, sizeof(port));
		cb(arg, ifindex, &port);
	}
}

static int put_owner(struct mirror *m, const void *key, uint32_t slot)
{
	if (slot != GATE_NO_SLOT)
		return gate_mirror_put(m, key, &slot);
	gate_mirror_del(m, key);
	return 0;
}

int gate_sync_mac_owner(struct gate_sync *s, uint32_t ifindex, const uint8_t mac[6], uint32_t slot)
{
	struct gate_mac_owner_key key = { .ifindex = ifindex };

	memcpy(key.mac, mac, 6);
	return put_owner(&s->mac_owner, &key, slot);
}

void gate_sync_mac_owners(struct gate_sync *s,
			  void (*cb)(void *, uint32_t ifindex, const uint8_t mac[6], uint32_t slot),
			  void *arg)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&s->mac_owner.entries, &it))) {
		const struct mirror_entry *entry = at->value;
		struct gate_mac_owner_key key;
		uint32_t slot;

		memcpy(&key, at->key, sizeof(key));
		memcpy(&slot, entry->value, sizeof(slot));
		if (key.ifindex) /* else it is of the uplink mode */
			cb(arg, key.ifindex, key.mac, slot);
	}
}

int gate_sync_ip_owner(struct gate_sync *s, const struct gate_prefix *p, uint32_t slot)
{
	struct gate_ip_key key = gate_sync_ip_key(0, p->addr, p->len);

	return put_owner(&s->ip_owner, &key, slot);
}

/* ---- exempt destinations ---- */

static struct gate_exempt_key exempt_key(uint32_t scope, const struct gate_sync_address *a)
{
	struct gate_exempt_key key = { .prefixlen = 32U + a->len, .scope = scope };

	memcpy(key.addr, a->addr, 16);
	return key;
}

static bool listed(const struct key_list *l, const struct gate_sync_address *a)
{
	return bsearch(a, l->list, l->n, sizeof(*a), compare);
}

int gate_sync_exempt(struct gate_sync *s, uint32_t scope, const struct gate_prefix *list,
		     unsigned n)
{
	struct key_list *have, want = { .n = n };
	uint32_t one = 1;
	int r = 0;

	if (!n && !gate_table_get(&s->exempt_lists, &scope, sizeof(scope)))
		return 0; /* most have none and had none */
	have = exempt_list(s, scope);
	want.list = gate_alloc(n, sizeof(*want.list));
	for (unsigned i = 0; i < n; i++) {
		memcpy(want.list[i].addr, list[i].addr, 16);
		want.list[i].len = list[i].len;
	}
	gate_sync_sort(want.list, want.n);
	for (unsigned i = 0; i < want.n && !r; i++) {
		struct gate_exempt_key key = exempt_key(scope, &want.list[i]);

		r = gate_mirror_put(&s->exempt, &key, &one);
	}
	for (unsigned i = 0; i < have->n; i++) {
		struct gate_exempt_key key = exempt_key(scope, &have->list[i]);

		if (!want.n || !listed(&want, &have->list[i]))
			gate_mirror_del(&s->exempt, &key);
	}
	free(have->list);
	*have = want;
	if (scope == GATE_EXEMPT_ALL)
		gate_sync_conf_flag(s, GATE_CONF_EXEMPT, n);
	return r;
}

static bool is_v4(const struct gate_prefix *p)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return p->len >= 96 && memcmp(p->addr, mapped, sizeof(mapped)) == 0;
}

struct gate_prefix *gate_sync_exempt_get(struct gate_sync *s, uint32_t scope, unsigned *n)
{
	const struct key_list *l = gate_table_get(&s->exempt_lists, &scope, sizeof(scope));
	struct gate_prefix *out;

	*n = l ? l->n : 0;
	if (!*n)
		return NULL;
	out = gate_alloc(*n, sizeof(*out));
	for (unsigned i = 0; i < *n; i++) {
		memcpy(out[i].addr, l->list[i].addr, 16);
		out[i].len = l->list[i].len;
		out[i].v4 = is_v4(&out[i]);
	}
	return out;
}

/* ---- policies on what nobody registered ---- */

static void count_any(struct gate_sync *s)
{
	gate_sync_conf_flag(s, GATE_CONF_ANY_MACS, s->any_macs);
	gate_sync_conf_flag(s, GATE_CONF_ANY_IPS, s->any_ips);
}

static int put_any(struct gate_sync *s, struct mirror *m, const void *key, uint32_t *count,
		   const uint32_t base[2])
{
	struct gate_address value = { .base = { base[0], base[1] } };
	bool had = gate_mirror_get(m, key);
	int r = 0;

	if (base[0])
		r = gate_mirror_put(m, key, &value);
	else
		gate_mirror_del(m, key);
	*count += (uint32_t)(gate_mirror_get(m, key) != NULL) - (uint32_t)had;
	count_any(s);
	return r;
}

int gate_sync_any_mac(struct gate_sync *s, const uint8_t mac[6], uint32_t base)
{
	struct gate_mac_key key = gate_sync_mac_key(GATE_SLOT_ANY, mac);

	return put_any(s, &s->macs, &key, &s->any_macs, (uint32_t[2]){ base });
}

int gate_sync_any_ip(struct gate_sync *s, const struct gate_prefix *p, const uint32_t base[2])
{
	struct gate_ip_key key = gate_sync_ip_key(GATE_SLOT_ANY, p->addr, p->len);

	return put_any(s, &s->ips, &key, &s->any_ips, base);
}

void gate_sync_any_bases(struct gate_sync *s,
			 void (*cb)(void *, const struct gate_subject *, uint32_t base), void *arg)
{
	struct gate_table_iter it = { 0 };
	struct gate_table_entry *at;

	while ((at = gate_table_next(&s->macs.entries, &it))) {
		const struct gate_mac_key *key = (const void *)at->key;
		const struct gate_address *a =
			(const void *)((const struct mirror_entry *)at->value)->value;
		struct gate_subject subject = { .kind = GATE_S_MAC };

		memcpy(subject.mac, key->mac, 6);
		if (key->slot == GATE_SLOT_ANY)
			cb(arg, &subject, a->base[0]);
	}
	it = (struct gate_table_iter){ 0 };
	while ((at = gate_table_next(&s->ips.entries, &it))) {
		const struct gate_ip_key *key = (const void *)at->key;
		const struct gate_address *a =
			(const void *)((const struct mirror_entry *)at->value)->value;
		struct gate_subject subject = { .kind = GATE_S_IP };

		memcpy(subject.ip.addr, key->addr, 16);
		subject.ip.len = (uint8_t)(key->prefixlen - 32);
		subject.ip.v4 = is_v4(&subject.ip);
		if (key->slot == GATE_SLOT_ANY)
			cb(arg, &subject, a->base[0]);
	}
}

static void sweep_mirror(struct mirror *m, uint32_t *count, size_t slot_at)
{
	gate_mirror_sweep(m);
	if (count) {
		struct gate_table_iter it = { 0 };
		struct gate_table_entry *at;

		*count = 0;
		while ((at = gate_table_next(&m->entries, &it))) {
			uint32_t slot;

			memcpy(&slot, at->key + slot_at, sizeof(slot));
			*count += slot == GATE_SLOT_ANY;
		}
	}
}

void gate_sync_sweep(struct gate_sync *s)
{
	sweep_mirror(&s->mac_owner, NULL, 0);
	sweep_mirror(&s->ip_owner, NULL, 0);
	sweep_mirror(&s->exempt, NULL, 0);
	sweep_mirror(&s->macs, &s->any_macs, offsetof(struct gate_mac_key, slot));
	sweep_mirror(&s->ips, &s->any_ips, offsetof(struct gate_ip_key, slot));
	count_any(s);
}
