// SPDX-License-Identifier: GPL-2.0-only
#include "maps.h"
const volatile struct gate_params params;

#define TOUCH(m) bpf_map_lookup_elem(&m, &key)
SEC("tc")
int g25_from_vm(struct __sk_buff *skb)
{
	__u32 key = params.nports;
	TOUCH(conf); TOUCH(global); TOUCH(vms); TOUCH(names); TOUCH(heads); TOUCH(nodes); TOUCH(buckets);
	TOUCH(budgets); TOUCH(counters); TOUCH(port_counters); TOUCH(flows); TOUCH(dests); TOUCH(ports); TOUCH(reasons);
	return -1;
}
SEC("tc")
int g25_to_vm(struct __sk_buff *skb)
{
	return -1;
}
SEC("tc")
int g25_uplink_out(struct __sk_buff *skb)
{
	return -1;
}
char LICENSE[] SEC("license") = "GPL";
