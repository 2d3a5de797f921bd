// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Link events and link state from rtnetlink; see links.h. */
#include "links.h"
#include "rtnl.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Events of one read: more wait for the next, so that attaching gets its turn. */
#define HINTS_MAX 256
/* A dump is interrupted by any change of any link; churn does not last. */
#define DUMP_TRIES 50

struct gate_links {
	struct gate_rtnl rtnl;
	int events; /* subscribed socket */
	char *buf;
	size_t nhints;
	struct gate_link_hint hint[HINTS_MAX];
};

static int subscribe(bool tc, int rcvbuf, int *out)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };

	addr.nl_groups = RTMGRP_LINK | (tc ? RTMGRP_TC : 0);
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	/* FORCE goes beyond net.core.rmem_max and needs CAP_NET_ADMIN */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &rcvbuf, sizeof(rcvbuf)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		int err = -errno;
		close(fd);
		return err;
	}
	*out = fd;
	return 0;
}

int gate_links_open(struct gate_links **out, bool tc, int rcvbuf)
{
	struct gate_links *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->events = -1;
	l->rtnl.fd = -1;
	l->buf = malloc(GATE_RTNL_BUFFER);
	int err = l->buf ? gate_rtnl_open(&l->rtnl) : -ENOMEM;
	if (!err)
		err = subscribe(tc, rcvbuf ? rcvbuf : GATE_LINKS_RCVBUF, &l->events);
	if (err) {
		gate_links_close(l);
		return err;
	}
	*out = l;
	return 0;
}

void gate_links_close(struct gate_links *l)
{
	if (!l)
		return;
	if (l->events >= 0)
		close(l->events);
	gate_rtnl_close(&l->rtnl);
	free(l->buf);
	free(l);
}

int gate_links_fd(const struct gate_links *l)
{
	return l->events;
}

/* ---- events ---- */

static struct gate_link_hint *hint_for(struct gate_links *l, uint32_t ifindex)
{
	for (size_t i = 0; i < l->nhints; i++)
		if (l->hint[i].ifindex == ifindex)
			return &l->hint[i];
	if (l->nhints == HINTS_MAX)
		return NULL;
	l->hint[l->nhints] = (struct gate_link_hint){ .ifindex = ifindex };
	return &l->hint[l->nhints++];
}

static int note_link(struct gate_links *l, struct nlmsghdr *h)
{
	const struct ifinfomsg *ifi = nlmsg_data(h);

	if (nlmsg_datalen(h) < (int)sizeof(*ifi))
		return 0;
	struct gate_link_hint *hint = hint_for(l, (uint32_t)ifi->ifi_index);
	if (!hint)
		return -ENOBUFS;
	hint->link = true;
	/* in the bridge family it has only left its bridge */
	if (h->nlmsg_type == RTM_DELLINK && ifi->ifi_family == AF_UNSPEC)
		hint->deleted = true;
	return 0;
}

static int note_tc(struct gate_links *l, struct nlmsghdr *h)
{
	const struct tcmsg *tc = nlmsg_data(h);

	/* ifindex -1: a filter of a block that several qdiscs share */
	if (nlmsg_datalen(h) < (int)sizeof(*tc) || tc->tcm_ifindex <= 0)
		return 0;
	struct gate_link_hint *hint = hint_for(l, (uint32_t)tc->tcm_ifindex);
	if (!hint)
		return -ENOBUFS;
	const bool at_ingress = tc->tcm_parent == TC_H_INGRESS;
	if (h->nlmsg_type == RTM_NEWQDISC && at_ingress)
		hint->qdisc_new = true;
	else if (h->nlmsg_type == RTM_DELQDISC && at_ingress)
		hint->qdisc_gone = true;
	else if (h->nlmsg_type == RTM_DELTFILTER || h->nlmsg_type == RTM_DELCHAIN)
		hint->filter_gone = true;
	else
		hint->tc_other = true;
	return 0;
}

static int note_message(struct gate_links *l, struct nlmsghdr *h)
{
	switch (h->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return note_link(l, h);
	default:
		return note_tc(l, h);
	}
}

/* Reads one datagram. 1 = read, 0 = nothing waits, -ENOBUFS = lost some. */
static int read_events(struct gate_links *l)
{
	struct iovec iov = { .iov_base = l->buf, .iov_len = GATE_RTNL_BUFFER };
	struct sockaddr_nl from = { 0 };
	struct msghdr msg = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1
	};

	ssize_t got = recvmsg(l->events, &msg, 0);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (msg.msg_flags & MSG_TRUNC)
		return -ENOBUFS;
	if (from.nl_pid != 0)
		return 1; /* not from the kernel */

	int left = (int)got, err = 0;
	for (struct nlmsghdr *h = (void *)l->buf; nlmsg_ok(h, left) && !err;
	     h = nlmsg_next(h, &left))
		err = note_message(l, h);
	return err ? err : 1;
}

int gate_links_read(struct gate_links *l, const struct gate_link_hint **hints, size_t *count)
{
	int err = 1;

	l->nhints = 0;
	/* half full is enough: a datagram carries several messages and must fit whole */
	while (err == 1 && l->nhints < HINTS_MAX / 2)
		err = read_events(l);
	if (err < 0)
		return err;
	*hints = l->hint;
	*count = l->nhints;
	return 0;
}

/* ---- state ---- */

static void copy_text(char *out, size_t size, struct nlattr *from)
{
	if (from)
		nla_strlcpy(out, from, size);
}

static int parse_link(struct nlmsghdr *h, struct gate_link *out)
{
	static struct nla_policy info_policy[IFLA_INFO_MAX + 1] = {
		[IFLA_INFO_KIND] = { .type = NLA_STRING },
	};
	struct nlattr *at[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1] = { 0 };
	const struct ifinfomsg *ifi = nlmsg_data(h);

	if (nlmsg_parse(h, sizeof(*ifi), at, IFLA_MAX, NULL) < 0 || !at[IFLA_IFNAME])
		return -EBADMSG;
	if (at[IFLA_LINKINFO])
		nla_parse_nested(info, IFLA_INFO_MAX, at[IFLA_LINKINFO], info_policy);

	struct gate_link l = {
		.ifindex = (uint32_t)ifi->ifi_index,
		.type = ifi->ifi_type,
		.flags = ifi->ifi_flags,
		.master = at[IFLA_MASTER] ? nla_get_u32(at[IFLA_MASTER]) : 0,
	};
	/* the number of a peer or parent in another namespace means nothing here */
	if (at[IFLA_LINK])
		*(at[IFLA_LINK_NETNSID] ? &l.far : &l.lower) = nla_get_u32(at[IFLA_LINK]);
	copy_text(l.name, sizeof(l.name), at[IFLA_IFNAME]);
	copy_text(l.kind, sizeof(l.kind), info[IFLA_INFO_KIND]);
	copy_text(l.bus, sizeof(l.bus), at[IFLA_PARENT_DEV_BUS_NAME]);
	*out = l;
	return 0;
}

static struct nl_msg *get_link_message(uint32_t ifindex)
{
	struct ifinfomsg ifi = { .ifi_family = AF_UNSPEC, .ifi_index = (int)ifindex };
	struct nl_msg *m = nlmsg_alloc_simple(RTM_GETLINK, ifindex ? 0 : NLM_F_DUMP);

	if (!m)
		return NULL;
	/* without statistics an answer is half as long */
	if (nlmsg_append(m, &ifi, sizeof(ifi), NLMSG_ALIGNTO) < 0 ||
	    nla_put_u32(m, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS) < 0) {
		nlmsg_free(m);
		return NULL;
	}
	return m;
}

static int take_link(void *arg, struct nlmsghdr *h)
{
	return h->nlmsg_type == RTM_NEWLINK ? parse_link(h, arg) : 0;
}

int gate_links_get(struct gate_links *l, uint32_t ifindex, struct gate_link *out)
{
	struct gate_link got = { 0 };
	int err = gate_rtnl_talk(&l->rtnl, get_link_message(ifindex), take_link, &got);

	if (err)
		return err;
	if (got.ifindex != ifindex)
		return -ENODEV;
	*out = got;
	return 0;
}

struct link_list {
	struct gate_link *link;
	size_t count, room;
};

static int append_link(void *arg, struct nlmsghdr *h)
{
	struct link_list *list = arg;

	if (h->nlmsg_type != RTM_NEWLINK)
		return 0;
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 64;
		void *more = realloc(list->link, room * sizeof(*list->link));
		if (!more)
			return -ENOMEM;
		list->link = more;
		list->room = room;
	}
	int err = parse_link(h, &list->link[list->count]);
	if (!err)
		list->count++;
	return err;
}

static int by_ifindex(const void *a, const void *b)
{
	const struct gate_link *x = a, *y = b;

	return (x->ifindex > y->ifindex) - (x->ifindex < y->ifindex);
}

int gate_links_list(struct gate_links *l, struct gate_link **out, size_t *count)
{
	struct link_list list = { 0 };
	int err = -EINTR;

	for (int i = 0; i < DUMP_TRIES && err == -EINTR; i++) {
		list.count = 0;
		err = gate_rtnl_talk(&l->rtnl, get_link_message(0), append_link, &list);
	}
	if (err) {
		free(list.link);
		return err;
	}
	/* the kernel lists by hash, and a link may be listed twice */
	qsort(list.link, list.count, sizeof(*list.link), by_ifindex);
	size_t n = 0;
	for (size_t i = 0; i < list.count; i++)
		if (!n || list.link[n - 1].ifindex != list.link[i].ifindex)
			list.link[n++] = list.link[i];
	*out = list.link;
	*count = n;
	return 0;
}
