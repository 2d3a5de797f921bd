/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Follows rtnetlink: which links there are and what changes. Everything is asked
 * of netlink in the namespace of the caller, never of /sys/class/net, which may
 * show another namespace.
 *
 * Events are hints and nothing more: what an event is about is asked again, so
 * that a lost, late or merged event changes nothing. An overrun of the socket
 * says so, and the caller lists everything anew.
 */
#ifndef GATE25_LINKS_H
#define GATE25_LINKS_H

#include "classify.h"
#include <stdbool.h>

struct gate_links;

/* What a batch of events was about, one entry for each link. */
struct gate_link_hint {
	uint32_t ifindex;
	bool link;		    /* the link itself appeared, changed or went */
	bool deleted;		    /* it went; one of the same number may be there again */
	bool qdisc_new, qdisc_gone; /* at the ingress */
	bool filter_gone;
	bool tc_other; /* somebody is at work there with other parts of tc */
};

/* Receive buffer of the event socket: some 10,000 events. */
#define GATE_LINKS_RCVBUF (8 << 20)

/**
 * gate_links_open() - subscribe to link events.
 * @out: set on success.
 * @tc: to those of qdiscs and filters too (legacy hook).
 * @rcvbuf: bytes of the event socket's receive buffer, 0 = GATE_LINKS_RCVBUF.
 * Return: 0 or -errno.
 */
int gate_links_open(struct gate_links **out, bool tc, int rcvbuf);
void gate_links_close(struct gate_links *l);

/* The event socket, to poll for reading. */
int gate_links_fd(const struct gate_links *l);

/**
 * gate_links_read() - take the events that wait, without blocking.
 * @hints: set to an array that stays valid until the next call.
 * @count: set to its length.
 *
 * Call until *count is 0. Return: 0, -ENOBUFS when events were lost (the hints
 * are then void: list everything), or -errno.
 */
int gate_links_read(struct gate_links *l, const struct gate_link_hint **hints, size_t *count);

/**
 * gate_links_get() - ask for one link. Return: 0, -ENODEV or -errno.
 */
int gate_links_get(struct gate_links *l, uint32_t ifindex, struct gate_link *out);

/**
 * gate_links_list() - list all links by ascending ifindex.
 * @out: set to an array to free().
 *
 * A dump that a change has interrupted is asked again.
 * Return: 0 or -errno, -EINTR when it never came through undisturbed.
 */
int gate_links_list(struct gate_links *l, struct gate_link **out, size_t *count);

#endif
