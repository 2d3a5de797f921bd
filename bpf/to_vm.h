/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a VM is answered: outcomes of its connects, reply classes, and SYN-ACKs
 * it never asked for (triangular spam, Qian et al. 2010). Part of gate25.bpf.c.
 */
#ifndef GATE25_BPF_TO_VM_H
#define GATE25_BPF_TO_VM_H

static __always_inline void count_replies(struct gate_flow *fl, struct gate_counters *c,
					  const struct reply_reader *r)
{
	if (r->tls) {
		count(c, tls_flows);
		flow_mark(fl, 0, GATE_FLOW_MUTE);
	}
	if (r->code)
		c->last_reply = r->code;
	if (r->first && !(fl->flags & GATE_FLOW_GREETED)) {
		flow_mark(fl, 0, GATE_FLOW_GREETED);
		if (r->first == 421 || r->first == 554)
			count(c, banners_refused);
	}
	if (r->replies[0])
		count_add(c, replies_2xx, r->replies[0]);
	if (r->replies[1])
		count_add(c, replies_3xx, r->replies[1]);
	if (r->replies[2])
		count_add(c, replies_4xx, r->replies[2]);
	if (r->replies[3])
		count_add(c, replies_5xx, r->replies[3]);
}

/*
 * Does a segment lie where the peer's next can be? Whoever cannot see the flow, a
 * neighbour on the bridge say, must not be able to end it or to speak in it (RFC
 * 5961 has the reasons). SMTP servers say little: 64 KiB back, 128 KiB ahead.
 */
#define WINDOW_BACK  0x10000U
#define WINDOW_AHEAD 0x20000U

static __always_inline bool in_window(const struct gate_flow *fl, const struct frame *f)
{
	return !(fl->flags & GATE_FLOW_SYNCED) ||
	       f->seq - fl->peer_seq + WINDOW_BACK < WINDOW_BACK + WINDOW_AHEAD;
}

/* An answer to a SYN acknowledges it, and at most what came with it (TCP Fast Open). */
static __always_inline bool answers_syn(const struct gate_flow *fl, const struct frame *f)
{
	return f->flags & TCP_ACK && f->ack - fl->peer_seq < WINDOW_BACK;
}

/*
 * Where in the segment the unread bytes begin: 0 in order, > 0 where it repeats
 * some. A gap loses the place in the line. < 0: nothing new.
 */
static __always_inline int find_place(const struct gate_flow *fl, const struct frame *f,
				      struct reply_reader *r)
{
	__s32 behind = fl->peer_seq - f->seq;

	r->state = fl->reply;
	if (!(fl->flags & GATE_FLOW_SYNCED))
		return 0;
	if (behind < 0) {
		r->state = REPLY_SKIP;
		return 0;
	}
	return behind < (__s32)f->payload ? behind : -1;
}

static __noinline int read_replies(struct __sk_buff *skb, struct gate_flow *fl,
				   struct gate_counters *c, const struct frame *f)
{
	struct reply_reader r = {};
	__u32 off, left;
	int skip = find_place(fl, f, &r);

	if (skip < 0)
		return 0;
	off = f->l4 + f->header + skip;
	left = f->payload - skip;
	for (int i = 0; i < REPLY_CHUNKS && left && !r.tls; i++) {
		__u32 last = left < REPLY_CHUNK ? left - 1 : REPLY_CHUNK - 1, n;

		/* Nothing new, but in a form from which Linux 6.1 sees that 1 <= n. */
		barrier_var(last);
		n = (last & (REPLY_CHUNK - 1)) + 1;
		r.n = n;
		if (bpf_skb_load_bytes(skb, off, r.bytes, n) < 0)
			break;
		reply_chunk(&r);
		off += r.n;
		left -= r.n;
	}
	if (left) /* beyond REPLY_SPAN */
		r.state = REPLY_SKIP;
	fl->reply = r.state;
	fl->peer_seq = f->seq + f->payload;
	flow_mark(fl, 0, GATE_FLOW_SYNCED);
	count_replies(fl, c, &r);
	return 0;
}

/* The server's answer to the SYN: it accepts or refuses. */
static __always_inline void follow_syn_sent(struct gate_flow *fl, struct gate_counters *c,
					    const struct who *w, const struct frame *f, __u32 now_s)
{
	if (!answers_syn(fl, f))
		return;
	if (f->flags & TCP_RST) {
		if (flow_close(fl, w->slot, w->override_base, now_s))
			count(c, connects_refused);
	} else if (f->flags & TCP_SYN) {
		fl->peer_seq = f->seq + 1;
		fl->seen = now_s;
		flow_mark(fl, GATE_FLOW_OPEN, GATE_FLOW_SYNCED);
		count(c, connects_established);
	}
}

static __always_inline void follow_reply(struct __sk_buff *skb, struct gate_flow *fl,
					 const struct who *w, const struct frame *f, __u32 now_s)
{
	struct gate_counters *c = counters_of(w->slot);

	if (!c || fl->state == GATE_FLOW_CLOSED)
		return;
	if (fl->state == GATE_FLOW_SYN_SENT) {
		follow_syn_sent(fl, c, w, f, now_s);
		return;
	}
	if (f->flags & TCP_SYN || !in_window(fl, f))
		return;
	if (f->flags & TCP_RST) {
		flow_close(fl, w->slot, w->override_base, now_s);
		return;
	}
	if (fl->seen != now_s)
		fl->seen = now_s;
	if (f->payload && !(fl->flags & GATE_FLOW_MUTE))
		read_replies(skb, fl, c, f);
	else if (f->payload && (__s32)(f->seq + f->payload - fl->peer_seq) > 0)
		fl->peer_seq = f->seq + f->payload;
	if (f->flags & TCP_FIN &&
	    flow_mark(fl, GATE_FLOW_HALF, GATE_FLOW_FIN_PEER) & GATE_FLOW_FIN_VM)
		flow_close(fl, w->slot, w->override_base, now_s);
}

/* A SYN-ACK of no flow: was it asked for in a way that leaves no flow behind? */
PROVEN_ONCE int judge_unsolicited(struct ruling *r, const struct who *w, const struct frame *f,
				  __u64 conf_flags, __u64 now)
{
	struct policy p = { .now = now };

	if (!r || !w || !f)
		return 0;
	if (is_exempt(w, (const struct address *)f->src, conf_flags)) {
		r->reason = GATE_R_EXEMPT;
		return 0;
	}
	if (w->grace_until > now)
		return 0;
	p.port = f->port;
	find_policy(&p, w);
	r->enforce = conf_flags & GATE_CONF_ENFORCE && (p.quarantined || !p.observed);
	r->reason = GATE_R_UNSOLICITED;
	return 0;
}

static __always_inline int settle_reply(struct __sk_buff *skb, const struct ruling *r,
					struct who *w, const struct frame *f, __u64 now)
{
	struct gate_counters *c = counters_of(w->slot);
	bool refused = r->reason == GATE_R_UNSOLICITED;

	count_reason(r->reason, refused && !r->enforce);
	count_add(c, packets_to_vm, f->segments);
	count_add(c, bytes_to_vm, f->bytes);
	if (!refused)
		return ACT_PASS;
	count(c, unsolicited);
	tell(w->slot, w->ifindex, f,
	     TELL(r->enforce ? GATE_E_REFUSED : GATE_E_WOULD_REFUSE, r->reason), now);
	if (!r->enforce)
		return ACT_PASS;
	count_add(c, packets_dropped, f->segments);
	return ACT_DROP;
}

/* The flow that a frame to the VM belongs to, or what to make of one that has none. */
static __always_inline void judge_reply(struct __sk_buff *skb, struct work *k, __u64 conf_flags,
					__u64 now)
{
	__u64 key = flow_key(&k->f, 1);
	struct gate_flow_set *set = flow_set(k->w.slot, key_set(key));
	struct gate_flow *fl;

	k->r.reason = GATE_R_STRAY_REPLY;
	if (!set)
		return;
	fl = flow_find(set, key_fingerprint(key));
	if (fl && !flow_is_dead(fl, now / NSEC_PER_SEC)) {
		k->r.reason = GATE_R_REPLY;
		follow_reply(skb, fl, &k->w, &k->f, now / NSEC_PER_SEC);
	} else if ((k->f.flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK)) {
		judge_unsolicited(&k->r, &k->w, &k->f, conf_flags, now);
	}
}

static __noinline int to_vm(struct __sk_buff *skb, __u32 seen)
{
	struct gate_conf *c = conf_get();
	struct work *k = work_begin();
	struct gate_port *port;

	if (!c || !k)
		return ACT_PASS;
	read_skb(skb, &k->f, seen, true);
	if (k->f.kind != FRAME_GATED)
		return pass_as(GATE_R_NOT_GATED);
	/* Sent back out of the port it came from: the gate's own answer. */
	if (skb->ingress_ifindex == skb->ifindex && k->f.flags & TCP_RST)
		return pass_as(GATE_R_OWN_ANSWER);
	k->w.ifindex = skb->ifindex;
	port = find_port(c, k->w.ifindex);
	if (!port || !(port->flags & GATE_PORT_VM))
		return pass_as(GATE_R_STRAY_REPLY);
	k->w.slot = slot_of_port(port, k->w.ifindex, &k->f);
	if (!find_vm(&k->w))
		return pass_as(GATE_R_STRAY_REPLY);
	judge_reply(skb, k, c->flags, k->p.now);
	return settle_reply(skb, &k->r, &k->w, &k->f, k->p.now);
}

SEC("tc")
int g25_to_vm(struct __sk_buff *skb)
{
	__u32 seen = glance(skb, true, &params);

	return seen == FRAME_OTHER ? ACT_PASS : to_vm(skb, seen);
}

#endif
