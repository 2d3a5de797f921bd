/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The ABI that the packet programs and user space share, and nothing else:
 * map names, keys, values, enums. Written once; both compilers see this file.
 *
 * Theory of operation
 *
 *   A VM owns a dense *slot*; arrays indexed by slot hold its identity
 *   (struct gate_vm), buckets and counters. A *subject* (default, tenant, VM,
 *   MAC, IP) owns *handles*: places in the `heads` array. heads[handle] is the
 *   number of an immutable struct gate_node with the subject's own policy, or 0
 *   for none. To change a policy user space fills a free node and stores its
 *   number: one store is the whole toggle, nothing is ever seen half written.
 *
 *   The program walks the chain ip, mac, vm, tenant, default and takes the first
 *   node that has a state and has not expired. So precedence and expiry hold
 *   without the daemon.
 *
 * Scopes: with one gated port a subject has one handle (scope 0, "all ports").
 * With several it has 1 + nports: scope 0 for all ports, 1 + p for gated port p
 * only, the specific before the general. gate_scopes() says how many.
 *
 *   handle(subject, scope) = base(subject) * scopes + scope
 *   base: 0 = the configuration's default, which never expires, 1 = default,
 *         2 + slot = VM,
 *         2 + max_vms + tenant = tenant, 2 + max_vms + max_tenants + n = override
 *
 * Bucket sets have a small id within their slot: 0 .. scopes - 1 by scope; id
 * `scopes` is the *tight* set that unregistered users of a MAC/IP policy spend
 * from; from scopes + 1 on the sets of overrides (registered MACs/IPs with a
 * policy of their own). Their place in `buckets`:
 *
 *   id <= scopes: slot * (scopes + 1) + id
 *   else:         gate_vm.override_base + id - (scopes + 1)
 */
#ifndef GATE25_ABI_H
#define GATE25_ABI_H

#include <linux/types.h>

#define GATE_ABI 3

#define GATE_MAX_PORTS	 4 /* gated TCP ports */
#define GATE_MAX_SCOPES	 (1 + GATE_MAX_PORTS)
#define GATE_MAX_RATES	 4  /* rates of one policy, all of which must hold */
#define GATE_NAME_LEN	 64 /* VM and tenant names with their NUL */
#define GATE_SUBJECT_LEN 80

#define GATE_FLOW_WAYS 4 /* entries of 16 bytes in one cache line */
#define GATE_DEST_WAYS 8 /* entries of 8 bytes in one cache line */

/* Slot 0 stands for all sources that no VM answers for. */
#define GATE_SLOT_UNKNOWN 0
/* As a key's slot: whatever the VM. */
#define GATE_SLOT_ANY 0xffffffffU

#define GATE_FOREVER (~0ULL)

/* Seconds; SEMANTICS "Flows and limits". */
#define GATE_SYN_RETRANSMIT_S 60
#define GATE_SYN_SENT_S	      75
#define GATE_LINGER_S	      60
#define GATE_CLOSED_DATA_S    2 /* data under way when a flow was closed */
#define GATE_HALF_CLOSED_S    120
#define GATE_IDLE_S	      1800
#define GATE_GRACE_S	      60

/* Also the order of strictness. INHERIT: the node has no state of its own. */
enum gate_state { GATE_INHERIT, GATE_ALLOW, GATE_LIMIT, GATE_BLOCK, GATE_STATE_MAX };

enum gate_refuse { GATE_REFUSE_DROP, GATE_REFUSE_RESET, GATE_REFUSE_ICMP, GATE_REFUSE_MAX };

enum gate_binding { GATE_BINDING_OFF, GATE_BINDING_LEARN, GATE_BINDING_STRICT, GATE_BINDING_MAX };

/* What a verdict means to the one who reads it. */
enum gate_verdict {
	GATE_V_PASS,
	GATE_V_LIMITED,
	GATE_V_BLOCKED,
	GATE_V_SPOOFED,
	GATE_V_UNSOLICITED,
	GATE_V_UNCLASSIFIABLE,
	GATE_V_FRAGMENT,
	GATE_V_MAX
};

/*
 * Why a frame passed or was refused: X(NAME, "name", verdict). Every frame that
 * was looked at beyond the glance gets exactly one.
 */
#define GATE_REASONS(X)                                                                            \
	X(NOT_GATED, "not_gated", PASS) /* read closely, not a gated port */                       \
	X(KNOWN_FLOW, "known_flow", PASS)                                                          \
	X(NEW_FLOW, "new_flow", PASS)                                                              \
	X(ADOPTED, "adopted", PASS) /* mid-stream, within the grace */                             \
	X(EXEMPT, "exempt", PASS)                                                                  \
	X(DRAINING, "draining", PASS)	      /* running flow of a blocked VM */                   \
	X(LATE_SEGMENT, "late_segment", PASS) /* of a flow just closed */                          \
	X(HOST, "host", PASS)		      /* the host's own */                                 \
	X(JUDGED, "judged", PASS)	      /* from_vm has judged it */                          \
	X(FORWARDED, "forwarded", PASS)	      /* from a port that is no VM's */                    \
	X(OWN_ANSWER, "own_answer", PASS)     /* a reset of the gate's own */                      \
	X(REPLY, "reply", PASS)		      /* to the VM, of a known flow */                     \
	X(STRAY_REPLY, "stray_reply", PASS)   /* to the VM, of no known flow */                    \
	X(FRAGMENT, "fragment", PASS)	      /* later fragment, VM not closed */                  \
	X(UNREADABLE, "unreadable", PASS)     /* unclassifiable, VM not closed */                  \
	X(LIMIT_RATE, "limit_rate", LIMITED)                                                       \
	X(LIMIT_CONCURRENT, "limit_concurrent", LIMITED)                                           \
	X(LIMIT_DESTINATIONS, "limit_destinations", LIMITED)                                       \
	X(LIMIT_BUDGET, "limit_budget", LIMITED)                                                   \
	X(BLOCKED, "blocked", BLOCKED)                                                             \
	X(BLOCKED_FLOW, "blocked_flow", BLOCKED) /* a running flow was cut */                      \
	X(QUARANTINED, "quarantined", BLOCKED)                                                     \
	X(SPOOFED_MAC, "spoofed_mac", SPOOFED)                                                     \
	X(SPOOFED_IP, "spoofed_ip", SPOOFED)                                                       \
	X(UNSOLICITED, "unsolicited", UNSOLICITED) /* SYN-ACK of no flow */                        \
	X(MALFORMED, "malformed", UNCLASSIFIABLE)                                                  \
	X(TOO_DEEP, "too_deep", UNCLASSIFIABLE)	  /* more headers than walked */                   \
	X(HIDDEN, "hidden", UNCLASSIFIABLE)	  /* a tunnel that may hide IP */                  \
	X(REWRITTEN, "rewritten", UNCLASSIFIABLE) /* by a misplaced checksum */                    \
	X(FRAGMENT_TINY, "fragment_tiny", FRAGMENT)                                                \
	X(FRAGMENT_CHAIN, "fragment_chain", FRAGMENT) /* RFC 7112 */                               \
	X(FRAGMENT_LATER, "fragment_later", FRAGMENT) /* VM closed */

enum gate_reason {
#define X(name, text, verdict) GATE_R_##name,
	GATE_REASONS(X)
#undef X
		GATE_R_MAX
};

/*
 * Counters of one VM: X(name). The names are those of the JSON output.
 * flows_active is a gauge and is kept in struct gate_bucket_set.
 */
#define GATE_COUNTERS(X)                                                                           \
	X(flows_admitted)                                                                          \
	X(flows_limited)                                                                           \
	X(flows_blocked)                                                                           \
	X(flows_would_refuse)                                                                      \
	X(packets_from_vm)                                                                         \
	X(bytes_from_vm)                                                                           \
	X(packets_to_vm)                                                                           \
	X(bytes_to_vm)                                                                             \
	X(packets_dropped)                                                                         \
	X(resets_sent)                                                                             \
	X(connects_established)                                                                    \
	X(connects_refused)                                                                        \
	X(connects_timed_out)                                                                      \
	X(new_destinations)                                                                        \
	X(replies_2xx)                                                                             \
	X(replies_3xx)                                                                             \
	X(replies_4xx)                                                                             \
	X(replies_5xx)                                                                             \
	X(banners_refused)                                                                         \
	X(tls_flows)                                                                               \
	X(spoofed)                                                                                 \
	X(unsolicited)                                                                             \
	X(unclassifiable)                                                                          \
	X(fragments_dropped)                                                                       \
	X(exempt)

struct gate_counters {
#define X(name) __u64 name;
	GATE_COUNTERS(X)
#undef X
	__u64 last_reply; /* last reply code read, 0 = none yet */
};

/* Per slot and gated port; used only where several ports are gated. */
struct gate_port_counters {
	__u64 flows_admitted;
	__u64 flows_limited;
	__u64 flows_blocked;
	__u64 flows_would_refuse;
};

/* gate_vm.flags */
#define GATE_VM_USED	      (1U << 0)
#define GATE_VM_REGISTERED    (1U << 1) /* else: an unregistered port's own VM */
#define GATE_VM_MACS	      (1U << 2) /* `macs` holds entries of this slot */
#define GATE_VM_IPS	      (1U << 3) /* `ips` holds entries of this slot */
#define GATE_VM_EXEMPT	      (1U << 4) /* `exempt` holds destinations of the VM */
#define GATE_VM_TENANT_EXEMPT (1U << 5) /* or of its tenant */
#define GATE_VM_TO_VM	      (1U << 6) /* to_vm sits on every port of the VM */

#define GATE_MAC_SEEN (1ULL << 63) /* gate_vm.first_mac holds one */

/* Identity of one VM, written by the daemon but for first_mac and event_tat. */
struct gate_vm {
	__u16 flags;
	__u16 binding;	     /* enum gate_binding */
	__u32 override_base; /* this slot's override bucket sets: index into `buckets` */
	__u32 tenant;	     /* 0 = none */
	__u32 budget;	     /* of the tenant; index into `budgets`, 0 = none */
	__u64 first_mac;     /* unregistered: GATE_MAC_SEEN | first source MAC, 1st byte lowest */
	__u64 grace_until;   /* CLOCK_MONOTONIC ns: mid-stream packets are adopted */
	__u64 event_tat;     /* ration of events, a GCRA of its own */
};

/* gate_node.flags */
#define GATE_NODE_OBSERVE (1U << 0)
#define GATE_NODE_DRAIN	  (1U << 1)

/* One token each interval_ns, at most burst at once. interval 0 = no limit. */
struct gate_rate {
	__u64 interval_ns;
	__u64 tolerance_ns; /* (burst - 1) * interval_ns */
};

/* One subject's own policy in one scope. Never changed while a head shows it. */
struct gate_node {
	__u8 state;  /* enum gate_state */
	__u8 refuse; /* enum gate_refuse for this state */
	__u8 flags;
	__u8 nrates;
	__u32 concurrent;	 /* 0 = no limit */
	__u64 expires;		 /* CLOCK_MONOTONIC ns after which there is no state; 0 = never */
	__u64 quarantine_until;	 /* CLOCK_MONOTONIC ns; 0 = none, GATE_FOREVER */
	__u64 quarantine_refuse; /* enum gate_refuse */
	struct gate_rate rates[GATE_MAX_RATES];
	struct gate_rate destinations;
};

/* Theoretical arrival times (GCRA, ITU-T I.371): one word for each rate. */
struct gate_bucket_set {
	__u64 tat[GATE_MAX_RATES];
	__u64 destinations_tat;
	__u32 active; /* flows that count against `concurrent` */
	__u32 sweep;  /* next flow set to look through for dead flows */
};

/* A bucket that several VMs share, spent in addition to their own. */
struct gate_budget {
	__u32 nrates; /* 0 = not in force */
	__u32 pad;
	struct gate_rate rates[GATE_MAX_RATES];
	__u64 tat[GATE_MAX_RATES];
};

/*
 * What a candidate policy would have done, by slot. It is judged for each new flow
 * beside the live policy, from heads of its own (`shadow_heads`), and decides nothing.
 */
struct gate_shadow {
	__u64 tat[GATE_MAX_RATES];
	__u64 destinations_tat;
	__u32 admitted;
	__u32 limited;
	__u32 blocked;
	__u32 pad;
};

enum gate_flow_state {
	GATE_FLOW_FREE,
	GATE_FLOW_SYN_SENT, /* `seen` stays at the first SYN */
	GATE_FLOW_OPEN,
	GATE_FLOW_HALF,	  /* one side has sent FIN */
	GATE_FLOW_CLOSED, /* lingers */
	GATE_FLOW_STATE_MAX
};

/* gate_flow.flags */
#define GATE_FLOW_PORT	   0x03 /* index of the gated port */
#define GATE_FLOW_GREETED  0x04 /* the server's banner was read */
#define GATE_FLOW_FIN_VM   0x08
#define GATE_FLOW_FIN_PEER 0x10
#define GATE_FLOW_MUTE	   0x20 /* replies are no longer read (TLS, lost track) */
#define GATE_FLOW_SYNCED   0x40 /* peer_seq is valid */
#define GATE_FLOW_EXPECTED 0x80 /* adopted: its beginning was not seen */

/*
 * One flow of one VM: 16 bytes, found by a fingerprint from a keyed hash. The
 * first word is taken by compare-and-swap; fingerprint 0 = free.
 */
struct gate_flow {
	__u32 fingerprint;
	__u32 seen; /* CLOCK_MONOTONIC seconds */
	__u8 state; /* enum gate_flow_state */
	__u8 flags;
	__u8 bucket;	/* id of the bucket set whose `active` counts it */
	__u8 reply;	/* reader state of the peer's replies */
	__u32 peer_seq; /* next sequence number of the peer; in SYN_SENT what it must acknowledge */
};
struct gate_flow_set {
	struct gate_flow way[GATE_FLOW_WAYS];
};

/* Destinations a VM has been to: (fingerprint << 32) | CLOCK_MONOTONIC seconds. */
struct gate_dest_set {
	__u64 way[GATE_DEST_WAYS];
};

/* gate_port.flags */
#define GATE_PORT_VM	  (1U << 0) /* a VM port; else known and not a VM's */
#define GATE_PORT_JUDGED  (1U << 1) /* from_vm surely sits there (pinned tcx link) */
#define GATE_PORT_STAMPED (1U << 2) /* judged if the stamp is on the frame */
#define GATE_PORT_TRUNK	  (1U << 3) /* several VMs, told apart by `mac_owner` */
#define GATE_PORT_UPLINK  (1U << 4)

/* `ports`: ifindex -> */
struct gate_port {
	__u32 slot;
	__u32 flags;
};

/* `mac_owner`: which VM behind a trunk port, or (ifindex 0) in uplink mode -> slot */
struct gate_mac_owner_key {
	__u32 ifindex;
	__u8 mac[6];
	__u8 pad[2];
};

/* gate_address.flags */
#define GATE_ADDR_REGISTERED (1U << 0) /* the VM's own: a policy on it may be laxer */
#define GATE_ADDR_ALLOWED    (1U << 1) /* may be used (VRRP, floating), no policy right */

/*
 * A MAC or address of a VM (key slot) or, with GATE_SLOT_ANY, of whoever uses
 * it: what is allowed and which policy it brings. ANY entries only tighten.
 */
struct gate_address {
	__u32 flags;
	__u32 base[2]; /* handle bases of its policies, most specific first, 0 = none */
	__u32 bucket;  /* bucket set id of its scope 0 in the slot, 0 = none of its own */
	__u32 budget;  /* shared budget of the prefix, 0 = none */
};

struct gate_mac_key {
	__u32 slot;
	__u8 mac[6];
	__u8 pad[2];
};

/* LPM key: prefixlen counts from slot, so 32 + 96 + n for IPv4 (v4-mapped). */
struct gate_ip_key {
	__u32 prefixlen;
	__u32 slot;
	__u8 addr[16];
};

/* `exempt`: LPM, scope 0 = all, GATE_EXEMPT_TENANT | tenant, GATE_EXEMPT_VM | slot */
#define GATE_EXEMPT_ALL	   0U
#define GATE_EXEMPT_TENANT 0x40000000U
#define GATE_EXEMPT_VM	   0x80000000U
struct gate_exempt_key {
	__u32 prefixlen;
	__u32 scope;
	__u8 addr[16];
};

/* gate_conf.flags: what may change while the programs run */
#define GATE_CONF_ENFORCE      (1ULL << 0)
#define GATE_CONF_ANY_MACS     (1ULL << 1) /* `macs` holds entries for GATE_SLOT_ANY */
#define GATE_CONF_ANY_IPS      (1ULL << 2)
#define GATE_CONF_EXEMPT       (1ULL << 3) /* `exempt` holds global destinations */
#define GATE_CONF_FORWARD_DROP (1ULL << 4) /* forwarded, from no VM: default policy */
#define GATE_CONF_SHADOW       (1ULL << 6) /* a candidate policy is judged beside the live one */
#define GATE_CONF_BACKSTOP     (1ULL << 5)

/* Runtime configuration, one element. */
struct gate_conf {
	__u64 flags;
	__u32 ports_edition; /* counted up behind each change of the map `ports` */
	__u32 pad;
	__u64 revision; /* counts policy changes */
	__u64 seed[10]; /* of the flow hash; an upgrade must keep it */
	/* sizes, frozen when the maps are made */
	__u32 abi;
	__u32 max_vms;
	__u32 max_tenants;
	__u32 max_overrides;
	__u32 max_budgets;
	__u32 flow_sets; /* per slot, a power of two */
	__u32 dest_sets; /* per slot, a power of two */
	__u32 nports;
	__u16 ports[GATE_MAX_PORTS];
};

/* Read-only data of the programs, set between open and load. */
struct gate_params {
	__u32 nports;
	__u16 ports[GATE_MAX_PORTS]; /* host byte order; unused ones repeat the first */
	__u32 scopes;
	__u32 max_vms;
	__u32 max_tenants;
	__u32 flow_sets;
	__u32 dest_sets;
	__u32 seed[10];
	__u32 stamp; /* skb->mark value and mask, mask 0 = no stamp */
	__u32 stamp_mask;
	__u32 uplink_mode;    /* uplink_out is the gate itself */
	__u32 esp_unreadable; /* ESP counts as unclassifiable */
	__u32 dry_run_mark;   /* random; a TEST_RUN frame with it spends nothing; 0 = none */
	__u32 pad;
};

enum gate_event_type {
	GATE_E_REFUSED, /* reason says why */
	GATE_E_WOULD_REFUSE,
	GATE_E_NEW_MAC,	   /* another source MAC on an unregistered port */
	GATE_E_NEW_SOURCE, /* binding learn: a source not seen before */
	GATE_E_MAX
};

/* One record of the `events` ring buffer. */
struct gate_event {
	__u64 time; /* CLOCK_MONOTONIC ns */
	__u32 slot;
	__u32 ifindex;
	__u8 type;   /* enum gate_event_type */
	__u8 reason; /* enum gate_reason */
	__u8 family; /* 4 or 6 */
	__u8 port;   /* index of the gated port */
	__u16 sport; /* host byte order */
	__u16 dport;
	__u8 src[16]; /* IPv4 as ::ffff:a.b.c.d */
	__u8 dst[16];
	__u8 mac[6];
	__u16 vlan;
};

/*
 * What a dry run found. A frame run by BPF_PROG_TEST_RUN through from_vm with
 * skb->mark = gate_params.dry_run_mark and skb->priority = the VM's slot is
 * judged as a new flow, spends and counts nothing, and leaves this.
 */
struct gate_trace {
	__u64 runs; /* counts them */
	__u64 now;  /* CLOCK_MONOTONIC ns */
	__u32 slot;
	__u32 own, tight; /* handles whose policies decide, 0 = none */
	__u32 own_node, tight_node;
	__u32 own_bucket;		    /* id of the bucket set in the slot */
	__u32 quarantine;		    /* handle that quarantines, 0 = none */
	__u8 reason, enforce, refuse, kind; /* kind: enum frame_kind */
	__u8 observed, stranger, pad[2];
	__u32 pad2;
};

/* Events that nobody was told of, and why: places in `untold`. */
enum gate_untold {
	GATE_UNTOLD_RATIONED, /* the VM's ration was spent */
	GATE_UNTOLD_LOST,     /* the ring was full */
	GATE_UNTOLD_MAX
};

/*
 * gate_global: one element, host-wide words. The sums are of before an upgrade, beside
 * what the maps of each CPU count.
 */
struct gate_global {
	__u64 events_lost;
	__u64 events_rationed;
	__u64 reasons[2 * GATE_R_MAX];
	struct gate_trace trace;
};

/*
 * Map names, as pinned below the pin directory. All ARRAYs are mmap-able.
 *   conf       ARRAY[1] gate_conf          global   ARRAY[1] gate_global
 *   ports      HASH ifindex -> gate_port   mac_owner HASH gate_mac_owner_key -> u32 slot
 *   ip_owner   LPM gate_ip_key (slot 0) -> u32 slot      (uplink mode)
 *   macs       HASH gate_mac_key -> gate_address         ips LPM gate_ip_key -> gate_address
 *   near_macs  ARRAY[gate_near_sets()] gate_near_set, see near.h
 *   exempt     LPM gate_exempt_key -> u32 1
 *   vms        ARRAY[max_vms] gate_vm      names    ARRAY[max_vms] char[GATE_NAME_LEN]
 *   heads      ARRAY[gate_handles()] u64 node            nodes ARRAY[...] gate_node (0 unused)
 *   buckets    ARRAY[max_vms * (scopes + 1) + max_overrides * scopes] gate_bucket_set
 *   shadow_heads as heads                  shadow   ARRAY[max_vms] gate_shadow
 *   budgets    ARRAY[max_budgets] gate_budget (0 unused)
 *   counters   ARRAY[max_vms] gate_counters
 *   port_counters ARRAY[max_vms * nports, or 1] gate_port_counters
 *   flows      ARRAY[max_vms * flow_sets] gate_flow_set
 *   dests      ARRAY[max_vms * dest_sets] gate_dest_set
 *   reasons    PERCPU_ARRAY[2 * GATE_R_MAX] u64: taken, then would (not enforced)
 *   untold     PERCPU_ARRAY[GATE_UNTOLD_MAX] u64
 *   events     RINGBUF gate_event
 */

static inline __u32 gate_scopes(__u32 nports)
{
	return nports > 1 ? 1 + nports : 1;
}

#ifndef __bpf__
_Static_assert(sizeof(struct gate_counters) == 26 * 8, "gate_counters");
_Static_assert(sizeof(struct gate_vm) == 40, "gate_vm");
_Static_assert(sizeof(struct gate_node) == 112, "gate_node");
_Static_assert(sizeof(struct gate_bucket_set) == 48, "gate_bucket_set");
_Static_assert(sizeof(struct gate_flow) == 16, "gate_flow");
_Static_assert(sizeof(struct gate_flow_set) == 64, "a flow set is one cache line");
_Static_assert(sizeof(struct gate_dest_set) == 64, "a destination set is one cache line");
_Static_assert(sizeof(struct gate_budget) == 104, "gate_budget");
_Static_assert(sizeof(struct gate_shadow) == 56, "gate_shadow");
_Static_assert(sizeof(struct gate_event) == 64, "gate_event");
#endif

#endif
