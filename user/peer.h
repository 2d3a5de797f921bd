/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Who is at the other end of the control socket, and what they may do. The
 * kernel vouches for both: SO_PEERCRED and SO_PEERGROUPS (staff have the
 * group as a supplementary one).
 */
#ifndef GATE25_PEER_H
#define GATE25_PEER_H

#include "engine.h"
#include "error.h"

#include <stdbool.h>
#include <sys/types.h>

#define GATE_NO_GROUP ((gid_t)-1)

enum gate_right { GATE_RIGHT_NONE, GATE_RIGHT_READ, GATE_RIGHT_WRITE };

/* The groups of [control], resolved. */
struct gate_peer_policy {
	gid_t group, readers; /* GATE_NO_GROUP = none */
};

struct gate_peer {
	uid_t uid;
	enum gate_right right;
};

/*
 * Name or number of a group -> gid. "" gives GATE_NO_GROUP. -ENOENT when there
 * is no such group.
 */
int gate_peer_group(const char *name, gid_t *out);

/* Asks the kernel about the socket's peer. 0 or -errno, with *out untouched. */
int gate_peer_get(int fd, const struct gate_peer_policy *policy, struct gate_peer *out);

/*
 * Who goes into the audit trail: the name a front end passed on (NULL = none),
 * else the login name, else "uid 1234". A passed name that is longer than 63
 * bytes or holds control characters is refused.
 */
int gate_peer_actor(const struct gate_peer *p, const char *passed, struct gate_actor *out,
		    struct gate_error *err);

#endif
