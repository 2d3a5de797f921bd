// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The legacy hook: cls_bpf, direct action, below the `ingress` or clsact qdisc.
 *
 * Kind `ingress` where only ingress is needed: Proxmox, libvirt and OVS delete
 * and add a qdisc of this kind around a plug, and fail where clsact is in the
 * way. What others have made is used and left alone; a directory beside the
 * links notes which qdiscs are ours.
 *
 * Our filters are known by name, over all priorities: a changed priority or a
 * second daemon leaves no duplicate behind.
 */
#include "attach_priv.h"
#include "pins.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PARENT_INGRESS TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)
#define PARENT_EGRESS  TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)

#define NAME_PREFIX "gate25_"
/* The gate comes first where it can: prio 1, or the first that nobody has. */
#define FIRST_PRIO 1
#define LAST_PRIO  63
/* More of ours than this on one hook are taken off in several rounds. */
#define MAX_OURS 8
/* Somebody may take the priority between our look and our request. */
#define PUT_TRIES 5

/* ---- messages ---- */

static struct nl_msg *tc_message(int type, int flags, const struct tcmsg *tc, const char *kind)
{
	struct nl_msg *m = nlmsg_alloc_simple(type, flags);

	if (!m)
		return NULL;
	if (nlmsg_append(m, (void *)tc, sizeof(*tc), NLMSG_ALIGNTO) < 0 ||
	    (kind && nla_put_string(m, TCA_KIND, kind) < 0)) {
		nlmsg_free(m);
		return NULL;
	}
	return m;
}

/* ---- the qdisc ---- */

struct qdisc_scan {
	uint32_t ifindex;
	char kind[16];
};

static int take_qdisc(void *arg, struct nlmsghdr *h)
{
	struct qdisc_scan *s = arg;
	struct nlattr *at[TCA_MAX + 1];
	const struct tcmsg *tc = nlmsg_data(h);

	if (h->nlmsg_type != RTM_NEWQDISC || nlmsg_parse(h, sizeof(*tc), at, TCA_MAX, NULL) < 0)
		return 0;
	if ((uint32_t)tc->tcm_ifindex == s->ifindex && tc->tcm_parent == TC_H_INGRESS &&
	    at[TCA_KIND])
		nla_strlcpy(s->kind, at[TCA_KIND], sizeof(s->kind));
	return 0;
}

/*
 * Kind of the qdisc at the ingress, "" = none. A dump, of all links' qdiscs: to ask
 * for one would tell all subscribers of RTNLGRP_TC, and our own events be among them.
 */
static int get_qdisc(struct gate_tc *t, uint32_t ifindex, char kind[16])
{
	struct tcmsg tc = { .tcm_ifindex = (int)ifindex };
	struct qdisc_scan s = { .ifindex = ifindex };
	int err;

	do {
		err = gate_rtnl_talk(&t->rtnl, tc_message(RTM_GETQDISC, NLM_F_DUMP, &tc, NULL),
				     take_qdisc, &s);
	} while (err == -EINTR);
	if (!err)
		memcpy(kind, s.kind, sizeof(s.kind));
	return err;
}

static int note_path(const struct gate_tc *t, uint32_t ifindex, char *out)
{
	return gate_pins_path(out, "%s/links/%u-qdisc", t->pin, ifindex);
}

static void drop_note(const struct gate_tc *t, uint32_t ifindex)
{
	char note[GATE_PIN_PATH];

	if (!note_path(t, ifindex, note))
		rmdir(note);
}

/* -EEXIST: there is one. */
static int make_qdisc(struct gate_tc *t, uint32_t ifindex, const char *kind)
{
	struct tcmsg tc = {
		.tcm_ifindex = (int)ifindex,
		.tcm_parent = TC_H_INGRESS,
		.tcm_handle = TC_H_MAKE(TC_H_INGRESS, 0),
	};
	char note[GATE_PIN_PATH];
	int err = note_path(t, ifindex, note);

	err = err ? err
		  : gate_rtnl_talk(&t->rtnl,
				   tc_message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &tc, kind),
				   NULL, NULL);
	return err ? err : gate_pins_mkdir(note);
}

bool gate_tc_has_qdisc(struct gate_tc *t, uint32_t ifindex)
{
	char kind[16] = "";

	return get_qdisc(t, ifindex, kind) || *kind; /* what cannot be asked counts as yes */
}

bool gate_tc_made_qdisc(const struct gate_tc *t, uint32_t ifindex)
{
	char note[GATE_PIN_PATH];

	return !note_path(t, ifindex, note) && access(note, F_OK) == 0;
}

/* Makes sure of a qdisc that has the hook; *made tells whether it is new. */
static int need_qdisc(struct gate_tc *t, uint32_t ifindex, bool egress, bool *made)
{
	int err = make_qdisc(t, ifindex, egress || t->clsact ? "clsact" : "ingress");
	char kind[16];

	*made = !err;
	if (err != -EEXIST || !egress)
		return err == -EEXIST ? 0 : err;
	/* an `ingress` qdisc takes filters for egress without a word and runs them on ingress */
	err = get_qdisc(t, ifindex, kind);
	return err || !strcmp(kind, "clsact") ? err : -EADDRINUSE;
}

/* ---- filters ---- */

struct tc_filter {
	uint32_t info; /* priority and protocol */
	uint32_t handle, prog_id;
};

struct filter_scan {
	char name[32];	/* of ours */
	uint64_t prios; /* bit n: priority n is taken, by whomever */
	unsigned others;
	bool ours_any; /* one of ours of any hook */
	unsigned nours;
	struct tc_filter ours[MAX_OURS];
};

static void filter_name(char *out, size_t size, enum gate_where where)
{
	snprintf(out, size, NAME_PREFIX "%s", gate_attach_where(where));
}

static int take_filter(void *arg, struct nlmsghdr *h)
{
	struct filter_scan *s = arg;
	struct nlattr *at[TCA_MAX + 1], *opt[TCA_BPF_MAX + 1] = { 0 };
	const struct tcmsg *tc = nlmsg_data(h);

	if (h->nlmsg_type != RTM_NEWTFILTER || nlmsg_parse(h, sizeof(*tc), at, TCA_MAX, NULL) < 0)
		return 0;
	uint32_t prio = TC_H_MAJ(tc->tcm_info) >> 16;
	if (prio <= LAST_PRIO)
		s->prios |= 1ULL << prio;
	/* a classifier is listed once without a handle, then each of its filters */
	if (!tc->tcm_handle)
		return 0;
	if (at[TCA_KIND] && !strcmp(nla_get_string(at[TCA_KIND]), "bpf") && at[TCA_OPTIONS])
		nla_parse_nested(opt, TCA_BPF_MAX, at[TCA_OPTIONS], NULL);
	const char *name = opt[TCA_BPF_NAME] ? nla_get_string(opt[TCA_BPF_NAME]) : "";
	s->ours_any |= !strncmp(name, NAME_PREFIX, strlen(NAME_PREFIX));
	if (strcmp(name, s->name) != 0) {
		s->others++;
		return 0;
	}
	if (s->nours < MAX_OURS)
		s->ours[s->nours++] = (struct tc_filter){
			.info = tc->tcm_info,
			.handle = tc->tcm_handle,
			.prog_id = opt[TCA_BPF_ID] ? nla_get_u32(opt[TCA_BPF_ID]) : 0,
		};
	return 0;
}

static int scan_filters(struct gate_tc *t, uint32_t ifindex, bool egress, enum gate_where where,
			struct filter_scan *s)
{
	struct tcmsg tc = {
		.tcm_ifindex = (int)ifindex,
		.tcm_parent = egress ? PARENT_EGRESS : PARENT_INGRESS,
	};
	int err;

	do {
		*s = (struct filter_scan){ 0 };
		filter_name(s->name, sizeof(s->name), where);
		err = gate_rtnl_talk(&t->rtnl, tc_message(RTM_GETTFILTER, NLM_F_DUMP, &tc, NULL),
				     take_filter, s);
	} while (err == -EINTR);
	/* no qdisc, no filters */
	return err == -EINVAL || err == -ENOENT ? 0 : err;
}

static int put_filter(struct gate_tc *t, uint32_t ifindex, bool egress, enum gate_where where,
		      const struct tc_filter *f, int flags, int prog)
{
	struct tcmsg tc = {
		.tcm_ifindex = (int)ifindex,
		.tcm_parent = egress ? PARENT_EGRESS : PARENT_INGRESS,
		.tcm_info = f->info,
		.tcm_handle = f->handle,
	};
	struct nl_msg *m = tc_message(RTM_NEWTFILTER, NLM_F_CREATE | flags, &tc, "bpf");
	char name[32];

	if (!m)
		return -ENOMEM;
	filter_name(name, sizeof(name), where);
	struct nlattr *opt = nla_nest_start(m, TCA_OPTIONS);
	if (!opt || nla_put_u32(m, TCA_BPF_FD, (uint32_t)prog) < 0 ||
	    nla_put_string(m, TCA_BPF_NAME, name) < 0 ||
	    nla_put_u32(m, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT) < 0) {
		nlmsg_free(m);
		return -ENOMEM;
	}
	nla_nest_end(m, opt);
	return gate_rtnl_talk(&t->rtnl, m, NULL, NULL);
}

static int delete_filter(struct gate_tc *t, uint32_t ifindex, bool egress,
			 const struct tc_filter *f)
{
	struct tcmsg tc = {
		.tcm_ifindex = (int)ifindex,
		.tcm_parent = egress ? PARENT_EGRESS : PARENT_INGRESS,
		.tcm_info = f->info,
		.tcm_handle = f->handle,
	};
	int err = gate_rtnl_talk(&t->rtnl, tc_message(RTM_DELTFILTER, 0, &tc, "bpf"), NULL, NULL);

	return err == -ENOENT ? 0 : err;
}

/* A new filter at the first priority that nobody has. */
static int add_filter(struct gate_tc *t, uint32_t ifindex, bool egress, enum gate_where where,
		      const struct filter_scan *s, int prog)
{
	uint32_t prio = FIRST_PRIO;

	while (prio <= LAST_PRIO && s->prios >> prio & 1)
		prio++;
	if (prio > LAST_PRIO)
		return -EBUSY;
	const struct tc_filter f = { .info = TC_H_MAKE(prio << 16, htons(ETH_P_ALL)), .handle = 1 };
	return put_filter(t, ifindex, egress, where, &f, NLM_F_EXCL, prog);
}

/* Deletes all filters of ours on a hook but the first `keep`. Returns their number. */
static int delete_ours(struct gate_tc *t, uint32_t ifindex, bool egress, enum gate_where where,
		       unsigned keep)
{
	struct filter_scan s;
	int deleted = 0;

	do {
		int err = scan_filters(t, ifindex, egress, where, &s);
		for (unsigned i = keep; i < s.nours && !err; i++, deleted++)
			err = delete_filter(t, ifindex, egress, &s.ours[i]);
		if (err)
			return err;
	} while (s.nours == MAX_OURS);
	return deleted;
}

static bool has_ours(struct gate_tc *t, uint32_t ifindex, bool egress)
{
	struct filter_scan s;

	return !scan_filters(t, ifindex, egress, GATE_FROM_VM, &s) && s.ours_any;
}

int gate_tc_put(struct gate_tc *t, uint32_t ifindex, enum gate_where where, bool egress, int prog)
{
	struct filter_scan s = { 0 };
	int err = -EEXIST;
	bool made;

	for (int i = 0; i < PUT_TRIES && err == -EEXIST; i++) {
		err = need_qdisc(t, ifindex, egress, &made);
		err = err ? err : scan_filters(t, ifindex, egress, where, &s);
		if (err)
			return err;
		/* without our filter it is not the qdisc that we once made */
		if (!made && !s.ours_any && !has_ours(t, ifindex, !egress))
			drop_note(t, ifindex);
		err = s.nours ? put_filter(t, ifindex, egress, where, &s.ours[0], 0, prog)
			      : add_filter(t, ifindex, egress, where, &s, prog);
	}
	if (err || s.nours <= 1)
		return err;
	err = delete_ours(t, ifindex, egress, where, 1);
	return err < 0 ? err : 0;
}

int gate_tc_check(struct gate_tc *t, uint32_t ifindex, enum gate_where where, uint32_t prog_id)
{
	struct filter_scan s;

	for (int egress = 0; egress < 2; egress++) {
		int err = scan_filters(t, ifindex, egress, where, &s);
		if (err)
			return err;
		for (unsigned i = 0; i < s.nours; i++)
			if (!prog_id || s.ours[i].prog_id == prog_id)
				return 1;
	}
	return 0;
}

int gate_tc_remove(struct gate_tc *t, uint32_t ifindex, enum gate_where where)
{
	int removed = 0;

	for (int egress = 0; egress < 2; egress++) {
		int n = delete_ours(t, ifindex, egress, where, 0);
		if (n < 0)
			return n;
		removed += n;
	}
	return removed > 0;
}

int gate_tc_remove_qdisc(struct gate_tc *t, uint32_t ifindex)
{
	struct tcmsg tc = { .tcm_ifindex = (int)ifindex, .tcm_parent = TC_H_INGRESS };
	char note[GATE_PIN_PATH];
	struct filter_scan s;
	int err = note_path(t, ifindex, note);

	if (err)
		return err;
	if (access(note, F_OK) < 0)
		return 0;
	for (int egress = 0; egress < 2; egress++) {
		err = scan_filters(t, ifindex, egress, GATE_FROM_VM, &s);
		if (!err && s.others + s.nours)
			return 0; /* somebody uses it */
	}
	err = gate_rtnl_talk(&t->rtnl, tc_message(RTM_DELQDISC, 0, &tc, NULL), NULL, NULL);
	if (err && err != -ENODEV && err != -ENOENT && err != -EINVAL)
		return err;
	rmdir(note);
	return !err;
}

static int collect_note(void *arg, const char *name)
{
	struct gate_tc *t = arg;
	char rest[32], dev[IF_NAMESIZE];
	uint32_t ifindex;

	if (sscanf(name, "%u-%31s", &ifindex, rest) != 2 || strcmp(rest, "qdisc") != 0)
		return 0;
	if (!if_indextoname(ifindex, dev))
		drop_note(t, ifindex);
	return 0;
}

void gate_tc_collect(struct gate_tc *t)
{
	char path[GATE_PIN_PATH];

	if (!gate_pins_path(path, "%s/links", t->pin))
		gate_pins_list(path, collect_note, t);
}
