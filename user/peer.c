// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "peer.h"
#include "parse.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define GROUPS_FIRST 64
#define NAME_CACHE   64 /* of those who change something */

int gate_peer_group(const char *name, gid_t *out)
{
	struct group *g;
	char *end;
	unsigned long n;

	if (!name || !*name) {
		*out = GATE_NO_GROUP;
		return 0;
	}
	g = getgrnam(name);
	if (g) {
		*out = g->gr_gid;
		return 0;
	}
	errno = 0;
	n = strtoul(name, &end, 10);
	if (*name < '0' || *name > '9' || *end || errno || n >= GATE_NO_GROUP)
		return -ENOENT;
	*out = (gid_t)n;
	return 0;
}

static enum gate_right right_of(gid_t gid, const struct gate_peer_policy *policy)
{
	if (gid == GATE_NO_GROUP)
		return GATE_RIGHT_NONE;
	if (gid == policy->group)
		return GATE_RIGHT_WRITE;
	return gid == policy->readers ? GATE_RIGHT_READ : GATE_RIGHT_NONE;
}

/* The best right of any supplementary group. */
static int right_of_groups(int fd, const struct gate_peer_policy *policy, enum gate_right *best)
{
	gid_t some[GROUPS_FIRST], *many = NULL, *groups = some;
	socklen_t len = sizeof(some);
	size_t i;
	int r;

	r = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, some, &len);
	if (r < 0 && errno == ERANGE) { /* len tells how many bytes it takes */
		groups = many = malloc(len);
		if (!many)
			return -ENOMEM;
		r = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, many, &len);
	}
	r = r < 0 ? -errno : 0;
	for (i = 0; !r && i < len / sizeof(gid_t); i++) {
		enum gate_right right = right_of(groups[i], policy);

		if (right > *best)
			*best = right;
	}
	free(many);
	return r;
}

int gate_peer_get(int fd, const struct gate_peer_policy *policy, struct gate_peer *out)
{
	enum gate_right best;
	struct ucred cred;
	socklen_t len = sizeof(cred);
	int r;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	best = cred.uid == 0 ? GATE_RIGHT_WRITE : right_of(cred.gid, policy);
	if (best != GATE_RIGHT_WRITE) {
		r = right_of_groups(fd, policy, &best);
		if (r)
			return r;
	}
	*out = (struct gate_peer){ .uid = cred.uid, .right = best };
	return 0;
}

/*
 * Login names are remembered, those that nobody has too: the name service may ask the
 * network, and the event loop waits for it. A renamed login shows after a restart.
 */
static void login_name(uid_t uid, char *out, size_t size)
{
	static struct {
		uid_t uid;
		char name[64];
	} cache[NAME_CACHE], *c;
	static unsigned known, next;
	const struct passwd *pw;

	for (c = cache; c < cache + known && c->uid != uid; c++)
		;
	if (c == cache + known) {
		c = &cache[next];
		next = (next + 1) % NAME_CACHE;
		known += known < NAME_CACHE;
		c->uid = uid;
		pw = getpwuid(uid);
		if (pw)
			snprintf(c->name, sizeof(c->name), "%s", pw->pw_name);
		else
			snprintf(c->name, sizeof(c->name), "uid %u", (unsigned)uid);
	}
	snprintf(out, size, "%s", c->name);
}

int gate_peer_actor(const struct gate_peer *p, const char *passed, struct gate_actor *out,
		    struct gate_error *err)
{
	if (!passed || !*passed) {
		out->uid = p->uid;
		login_name(p->uid, out->name, sizeof(out->name));
		return 0;
	}
	if (strlen(passed) >= sizeof(out->name))
		return gate_error_set(err, GATE_ERR_USAGE,
				      "X-Gate25-Actor is longer than %zu bytes",
				      sizeof(out->name) - 1);
	if (!gate_text_valid(passed))
		return gate_error_set(err, GATE_ERR_USAGE,
				      "X-Gate25-Actor holds a control character");
	out->uid = p->uid;
	strcpy(out->name, passed);
	return 0;
}
