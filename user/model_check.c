// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What can be in force at all, and one sentence about what cannot. */
#include "mem.h"
#include "model.h"

#define USAGE GATE_ERR_USAGE

static bool per_known(uint32_t per_s)
{
	return per_s == 1 || per_s == 60 || per_s == 3600 || per_s == 86400;
}

int gate_rates_check(const struct gate_rate_spec *rates, unsigned n, struct gate_error *err)
{
	char text[40];

	if (n > GATE_MAX_RATES)
		return gate_error_set(err, USAGE, "at most %d rates can be given", GATE_MAX_RATES);
	for (unsigned i = 0; i < n; i++) {
		const struct gate_rate_spec *r = &rates[i];

		if (!r->count)
			return gate_error_set(err, USAGE,
					      "a rate of 0 is no limit: use `block` instead");
		if (!per_known(r->per_s))
			return gate_error_set(err, USAGE, "a rate is per 1s, 1min, 1h or 1d");
		if (r->count > (uint64_t)GATE_RATE_MAX_PER_S * r->per_s)
			return gate_error_set(err, USAGE, "rate %s is above %d a second",
					      gate_format_rate(r, text, sizeof(text)),
					      GATE_RATE_MAX_PER_S);
		if (r->burst > GATE_BURST_MAX)
			return gate_error_set(err, USAGE, "burst %u is above %d", r->burst,
					      GATE_BURST_MAX);
	}
	return 0;
}

static int check_words(const char *reason, size_t size, int64_t expires, int64_t now,
		       struct gate_error *err)
{
	if (strnlen(reason, size) >= size)
		return gate_error_set(err, USAGE, "reason is longer than 255 bytes");
	if (expires < 0 || (expires && expires <= now))
		return gate_error_set(err, USAGE, "the time of expiry has passed already");
	return 0;
}

int gate_policy_check(const struct gate_policy_spec *p, uint32_t concurrent_max, int64_t now,
		      struct gate_error *err)
{
	const struct gate_limits *l = &p->limits;
	int r;

	if (p->state >= GATE_STATE_MAX)
		return gate_error_set(err, USAGE, "state must be allow, limit, block or inherit");
	if (p->refuse != GATE_REFUSE_UNSET && (p->refuse < 0 || p->refuse >= GATE_REFUSE_MAX))
		return gate_error_set(err, USAGE, "refuse must be drop, reset or icmp");
	r = gate_rates_check(l->rates, l->nrates, err);
	if (r)
		return r;
	if (l->destinations.count || l->destinations.per_s) {
		r = gate_rates_check(&l->destinations, 1, err);
		if (r)
			return r;
	}
	if (l->burst > GATE_BURST_MAX)
		return gate_error_set(err, USAGE, "burst %u is above %d", l->burst, GATE_BURST_MAX);
	if (l->concurrent > concurrent_max)
		return gate_error_set(err, USAGE,
				      "concurrent %u is more than the flow table can hold: at most "
				      "%u, half of flows_per_vm",
				      l->concurrent, concurrent_max);
	return check_words(p->reason, sizeof(p->reason), p->expires, now, err);
}

/*
 * In the tries IPv4 lives as ::ffff:0:0/96, so an IPv6 prefix that holds that
 * would silently be about IPv4 too.
 */
int gate_prefix_check(const struct gate_prefix *p, struct gate_error *err)
{
	static const struct gate_prefix v4_in_v6 = {
		.addr = { [10] = 0xff, [11] = 0xff },
		.len = 96,
	};
	char text[64];

	if (p->len > 128 || (p->v4 && p->len < 96))
		return gate_error_set(err, USAGE, "a prefix is longer than its address");
	if (!p->v4 && gate_prefix_contains(p, &v4_in_v6))
		return gate_error_set(err, USAGE,
				      "%s would hold IPv4 as well (::ffff:0:0/96): write 2000::/3 "
				      "for all of global IPv6",
				      gate_format_prefix(p, text, sizeof(text)));
	return 0;
}

static int check_mac(const uint8_t mac[6], struct gate_error *err)
{
	static const uint8_t zero[6];
	char text[20];

	if ((mac[0] & 1) || memcmp(mac, zero, 6) == 0)
		return gate_error_set(err, USAGE, "%s is no MAC of one machine",
				      gate_format_mac(mac, text, sizeof(text)));
	return 0;
}

int gate_vm_spec_check(const struct gate_vm_spec *vm, struct gate_error *err)
{
	int r = 0;

	if (!gate_name_valid(vm->name))
		return gate_error_set(err, USAGE, "not a name for a VM");
	if (vm->tenant[0] && !gate_name_valid(vm->tenant))
		return gate_error_set(err, USAGE, "vm:%s: not a name for a tenant", vm->name);
	if (vm->binding < -1 || vm->binding >= GATE_BINDING_MAX)
		return gate_error_set(err, USAGE, "binding must be off, learn or strict");
	for (unsigned i = 0; i < vm->nports; i++)
		if (!gate_name_valid(vm->ports[i]))
			return gate_error_set(err, USAGE, "vm:%s: not a name for a port", vm->name);
	for (unsigned i = 0; i < vm->nmacs && !r; i++)
		r = check_mac(vm->macs[i], err);
	for (unsigned i = 0; i < vm->nips && !r; i++)
		r = gate_prefix_check(&vm->ips[i], err);
	for (unsigned i = 0; i < vm->npairs && !r; i++) {
		/* A virtual router's MAC may be any, its group address too (RFC 5798). */
		r = gate_prefix_check(&vm->pairs[i].ip, err);
	}
	return r;
}
