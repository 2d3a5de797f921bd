// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Filters of tc. On the legacy hook the gate is one filter of several, and the kernel asks them
 * by priority: what one before it accepts, redirects or steals the gate never sees. With tcx the
 * gate comes before all of them.
 */
#include "doctor.h"

#include <limits.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <linux/tc_act/tc_skbedit.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#define OUR_PREFIX "gate25_"

/* Where each kind of filter keeps its actions. */
static const struct {
	const char *kind;
	int actions;
} kinds[] = {
	{ "u32", TCA_U32_ACT },	      { "basic", TCA_BASIC_ACT }, { "matchall", TCA_MATCHALL_ACT },
	{ "flower", TCA_FLOWER_ACT }, { "bpf", TCA_BPF_ACT },	  { "fw", TCA_FW_ACT },
};

static void read_action(struct nlattr *action, struct doctor_filter *f)
{
	struct nlattr *at[TCA_ACT_MAX + 1] = { 0 }, *opt[TCA_SKBEDIT_MAX + 1] = { 0 };
	const struct tc_mirred *m;
	const char *kind;

	if (nla_parse_nested(at, TCA_ACT_MAX, action, NULL) < 0 || !at[TCA_ACT_KIND] ||
	    !at[TCA_ACT_OPTIONS])
		return;
	kind = nla_get_string(at[TCA_ACT_KIND]);
	if (nla_parse_nested(opt, TCA_SKBEDIT_MAX, at[TCA_ACT_OPTIONS], NULL) < 0)
		return;
	if (!strcmp(kind, "skbedit"))
		f->marks |= opt[TCA_SKBEDIT_MARK] != NULL;
	if (strcmp(kind, "mirred") != 0 || !opt[TCA_MIRRED_PARMS] ||
	    nla_len(opt[TCA_MIRRED_PARMS]) < (int)sizeof(*m))
		return;
	m = nla_data(opt[TCA_MIRRED_PARMS]);
	f->redirects |= m->eaction == TCA_EGRESS_REDIR || m->eaction == TCA_INGRESS_REDIR;
	f->mirrors |= m->eaction == TCA_EGRESS_MIRROR || m->eaction == TCA_INGRESS_MIRROR;
	f->target = (unsigned)m->ifindex;
}

static void read_actions(struct nlattr *options, int where, struct doctor_filter *f)
{
	struct nlattr *list = nla_find(nla_data(options), nla_len(options), where), *action;
	int left;

	if (list)
		nla_for_each_nested(action, list, left) read_action(action, f);
}

static unsigned program_of(struct nlattr *options)
{
	struct nlattr *id = nla_find(nla_data(options), nla_len(options), TCA_BPF_ID);

	return id ? nla_get_u32(id) : UINT_MAX;
}

bool doctor_filter_read(struct nlmsghdr *h, struct doctor_filter *f)
{
	struct nlattr *at[TCA_MAX + 1], *name = NULL;
	const struct tcmsg *tc = nlmsg_data(h);

	*f = (struct doctor_filter){ 0 };
	/* a classifier is listed once without a handle, then each of its filters */
	if (h->nlmsg_type != RTM_NEWTFILTER || nlmsg_parse(h, sizeof(*tc), at, TCA_MAX, NULL) < 0 ||
	    !tc->tcm_handle || !at[TCA_KIND] || !at[TCA_OPTIONS])
		return false;
	f->prio = TC_H_MAJ(tc->tcm_info) >> 16;
	nla_strlcpy(f->kind, at[TCA_KIND], sizeof(f->kind));
	/* tables of u32 are listed as filters of their own, which match nothing */
	if (!strcmp(f->kind, "u32") && !(tc->tcm_handle & 0xfff))
		return false;
	if (!strcmp(f->kind, "bpf"))
		name = nla_find(nla_data(at[TCA_OPTIONS]), nla_len(at[TCA_OPTIONS]), TCA_BPF_NAME);
	if (name && !strncmp(nla_get_string(name), OUR_PREFIX, strlen(OUR_PREFIX)))
		f->ours = program_of(at[TCA_OPTIONS]);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(f->kind, kinds[i].kind))
			read_actions(at[TCA_OPTIONS], kinds[i].actions, f);
	return true;
}

/* ---- one side of one device ---- */

struct side {
	const char *name;
	unsigned ours;		    /* program of the gate's filter, 0 = not met yet */
	unsigned before;	    /* filters of others before it */
	struct doctor_filter first; /* the one of them that matters most */
	bool marks;		    /* one of others, anywhere, writes marks */
};

static unsigned weight(const struct doctor_filter *f)
{
	return f->redirects ? 2 : f->mirrors;
}

/* The kernel lists filters in the order in which it asks them. */
static int take(void *arg, struct nlmsghdr *h)
{
	struct doctor_filter f;
	struct side *s = arg;

	if (!doctor_filter_read(h, &f))
		return 0;
	if (f.ours && !s->ours)
		s->ours = f.ours;
	s->marks |= f.marks;
	if (!s->ours && (s->before++ == 0 || weight(&f) > weight(&s->first)))
		s->first = f;
	return 0;
}

static void say_before(struct doctor *d, const struct side *s, const char *link)
{
	static const char remedy[] = "add it again with a priority above 63, behind the gate: "
				     "tc filter show dev DEVICE ingress";
	const struct doctor_filter *f = &s->first;
	char target[IF_NAMESIZE] = "?";

	if_indextoname(f->target, target);
	if (f->redirects)
		doctor_say(d, FINDING_FAILED, "redirect", remedy,
			   "a filter (%s, priority %u) redirects frames of %s to %s before the "
			   "gate has seen them",
			   f->kind, f->prio, link, target);
	else if (f->mirrors)
		doctor_say(d, FINDING_WARNING, "mirror", remedy,
			   "a filter (%s, priority %u) copies frames of %s to %s before the gate "
			   "has seen them",
			   f->kind, f->prio, link, target);
	else
		doctor_say(d, FINDING_WARNING, "shared_hook", remedy,
			   "%u other filter%s (%s, priority %u) of %s before the gate at the %s: "
			   "what it accepts or drops the gate does not see",
			   s->before, s->before == 1 ? " sees frames" : "s see frames", f->kind,
			   f->prio, link, s->name);
}

static struct side look_at(struct gate_rtnl *rtnl, unsigned ifindex, unsigned parent,
			   const char *name)
{
	struct tcmsg tc = { .tcm_ifindex = (int)ifindex, .tcm_parent = parent };
	struct nl_msg *m = nlmsg_alloc_simple(RTM_GETTFILTER, NLM_F_DUMP);
	struct side s = { .name = name };

	if (m && nlmsg_append(m, &tc, sizeof(tc), NLMSG_ALIGNTO) < 0) {
		nlmsg_free(m);
		m = NULL;
	}
	/* no qdisc, no filters: that is an error to the kernel */
	gate_rtnl_talk(rtnl, m, take, &s);
	return s;
}

bool doctor_filters(struct doctor *d, struct gate_rtnl *rtnl, unsigned ifindex, const char *link)
{
	const struct side sides[] = {
		look_at(rtnl, ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), "ingress"),
		look_at(rtnl, ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS), "egress"),
	};
	/* an `ingress` qdisc shows the filters of the one side as those of the other too */
	size_t n = sides[0].ours && sides[0].ours == sides[1].ours ? 1 : 2;

	for (size_t i = 0; i < n; i++)
		if (sides[i].ours && sides[i].before)
			say_before(d, &sides[i], link);
	if (d->stamped && (sides[0].marks || sides[1].marks))
		doctor_say_marks(d, "a tc filter", link);
	return sides[0].ours || sides[1].ours;
}
