/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The little of rtnetlink that links.c and attach_tc.c need: one request and its
 * answer at a time over a socket of its own. Messages are built and read with
 * libnl's nlmsg and nla functions; the socket is plain, so that an overrun, an
 * interrupted dump and an error of the kernel stay three different things.
 */
#ifndef GATE25_RTNL_H
#define GATE25_RTNL_H

#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stddef.h>
#include <stdint.h>

/* Room for the largest message the kernel puts into one datagram of a dump. */
#define GATE_RTNL_BUFFER 65536

struct gate_rtnl {
	int fd;
	uint32_t seq;
	char *buf; /* GATE_RTNL_BUFFER bytes */
};

/* Sees each message of an answer; not 0 ends the reading and is returned. */
typedef int (*gate_rtnl_cb)(void *arg, struct nlmsghdr *h);

/**
 * gate_rtnl_open() - open a request socket in the current network namespace.
 * @r: filled on success; close with gate_rtnl_close().
 * Return: 0 or -errno.
 */
int gate_rtnl_open(struct gate_rtnl *r);
void gate_rtnl_close(struct gate_rtnl *r);

/**
 * gate_rtnl_talk() - send one request and read its answer to the end.
 * @r: the socket.
 * @m: the request, freed in any case; NULL counts as out of memory.
 * @cb: called for each message of the answer, may be NULL.
 * @arg: handed to @cb.
 * Return: 0, the kernel's -errno, what @cb returned, or -EINTR when a dump was
 * interrupted by a change (what @cb saw may then be incomplete: ask again).
 */
int gate_rtnl_talk(struct gate_rtnl *r, struct nl_msg *m, gate_rtnl_cb cb, void *arg);

#endif
