// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* One rtnetlink request and its answer at a time; see rtnl.h. */
#include "rtnl.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* The kernel answers at once or never: a lost answer must not hang the daemon. */
#define ANSWER_TIMEOUT_S 10

int gate_rtnl_open(struct gate_rtnl *r)
{
	const struct timeval patience = { .tv_sec = ANSWER_TIMEOUT_S };
	int err;

	char *buf = malloc(GATE_RTNL_BUFFER);
	if (!buf)
		return -ENOMEM;

	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0) {
		err = -errno;
		free(buf);
		return err;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0) {
		err = -errno;
		close(fd);
		free(buf);
		return err;
	}
	*r = (struct gate_rtnl){ .fd = fd, .buf = buf };
	return 0;
}

void gate_rtnl_close(struct gate_rtnl *r)
{
	if (!r->buf)
		return;
	close(r->fd);
	free(r->buf);
	*r = (struct gate_rtnl){ .fd = -1 };
}

/* Reads one datagram of the answer. 1 = more to come, 0 = done, or -errno. */
static int read_answer(struct gate_rtnl *r, gate_rtnl_cb cb, void *arg, int *interrupted)
{
	ssize_t got;

	do {
		got = recv(r->fd, r->buf, GATE_RTNL_BUFFER, 0);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;

	int left = (int)got;
	for (struct nlmsghdr *h = (void *)r->buf; nlmsg_ok(h, left); h = nlmsg_next(h, &left)) {
		if (h->nlmsg_seq != r->seq)
			continue; /* left over from a request that was given up */
		if (h->nlmsg_flags & NLM_F_DUMP_INTR)
			*interrupted = 1;
		if (h->nlmsg_type == NLMSG_ERROR)
			return ((struct nlmsgerr *)nlmsg_data(h))->error;
		if (h->nlmsg_type == NLMSG_DONE)
			return nlmsg_datalen(h) >= (int)sizeof(int) ? *(int *)nlmsg_data(h) : 0;
		int err = cb ? cb(arg, h) : 0;
		if (err)
			return err < 0 ? err : -ECANCELED;
	}
	return 1;
}

int gate_rtnl_talk(struct gate_rtnl *r, struct nl_msg *m, gate_rtnl_cb cb, void *arg)
{
	int interrupted = 0, err;

	if (!m)
		return -ENOMEM;
	struct nlmsghdr *h = nlmsg_hdr(m);
	h->nlmsg_seq = ++r->seq;
	h->nlmsg_flags |= NLM_F_REQUEST;
	if ((h->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
		h->nlmsg_flags |= NLM_F_ACK;

	err = send(r->fd, h, h->nlmsg_len, 0) < 0 ? -errno : 0;
	nlmsg_free(m);
	if (err)
		return err;
	do {
		err = read_answer(r, cb, arg, &interrupted);
	} while (err == 1);
	if (!err && interrupted)
		return -EINTR;
	return err;
}
