// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Guests in other network namespaces. A daemon sees the links of one namespace: a tap, a macvtap or
 * a bridge in another reaches the Internet without it, unless all that leads out of there is a veth
 * whose end in this namespace the gate sits on.
 */
#include "doctor.h"
#include "links.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/if_arp.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define NAMESPACES_MAX 1024

struct names {
	ino_t seen[NAMESPACES_MAX];
	unsigned n;
};

/* What there is in one namespace that carries guests, or leads out. */
struct census {
	unsigned guests;      /* taps, macvtaps, and macvlans on links of elsewhere */
	char first[IFNAMSIZ]; /* of them */
	bool bridge;	      /* a bridge that the configuration names */
	bool gated;	      /* a veth whose other end the gate sits on */
	bool way_out;	      /* a device that leads out of it past the gate */
};

static bool kind_is(const struct gate_link *l, const char *kind)
{
	return strcmp(l->kind, kind) == 0;
}

static bool is_named(const struct gate_globs *g, const char *name)
{
	for (unsigned i = 0; i < g->count; i++)
		if (!strcmp(g->pattern[i], name))
			return true;
	return false;
}

/* Its index is known from the other side only; a pair knows each other. */
static bool is_gated_end(const struct doctor *d, const struct gate_link *l,
			 const struct gate_link *home, size_t nhome)
{
	for (size_t i = 0; i < nhome; i++) {
		if (!kind_is(&home[i], "veth") || home[i].far != l->ifindex ||
		    l->far != home[i].ifindex)
			continue;
		for (unsigned g = 0; g < d->ngated; g++)
			if (d->gated[g] == home[i].ifindex)
				return true;
	}
	return false;
}

static void count_link(const struct doctor *d, const struct gate_link *l,
		       const struct gate_link *home, size_t nhome, struct census *c)
{
	bool above = l->far && (kind_is(l, "macvlan") || kind_is(l, "ipvlan"));

	if ((kind_is(l, "tun") && l->type == ARPHRD_ETHER) || kind_is(l, "macvtap") || above) {
		if (c->guests++ == 0)
			memcpy(c->first, l->name, sizeof(c->first));
	}
	c->bridge |= kind_is(l, "bridge") && is_named(&d->conf->bridges, l->name);
	if (kind_is(l, "veth") && is_gated_end(d, l, home, nhome))
		c->gated = true;
	else if (l->far || (!*l->kind && l->type == ARPHRD_ETHER))
		c->way_out = true;
}

static void say_elsewhere(struct doctor *d, const struct census *c, const char *where)
{
	static const char remedy[] = "plug those guests in here, or run a gate25d of its own there "
				     "with socket, store and pin of its own";

	if (c->guests)
		doctor_say(d, FINDING_WARNING, "netns", remedy,
			   "%u device%s of guests (%s%s) lie%s in another network namespace (%s), "
			   "where this gate sees nothing",
			   c->guests, c->guests == 1 ? "" : "s", c->first,
			   c->guests == 1 ? "" : ", ...", c->guests == 1 ? "s" : "", where);
	else
		doctor_say(
			d, FINDING_WARNING, "netns", remedy,
			"a bridge that the configuration names lies in another network namespace "
			"(%s), where this gate sees nothing",
			where);
}

/* Looks into the namespace `fd`, and comes back to `home_fd`. */
static void look_into(struct doctor *d, int fd, int home_fd, const struct gate_link *home,
		      size_t nhome, const char *where)
{
	struct gate_link *links = NULL;
	struct gate_links *l = NULL;
	struct census c = { 0 };
	size_t n = 0;

	if (setns(fd, CLONE_NEWNET) < 0)
		return;
	if (!gate_links_open(&l, false, 1))
		gate_links_list(l, &links, &n);
	gate_links_close(l);
	if (setns(home_fd, CLONE_NEWNET) < 0)
		abort(); /* what is looked at from here on would be another's */
	for (size_t i = 0; i < n; i++)
		if (!(links[i].flags & IFF_LOOPBACK))
			count_link(d, &links[i], home, nhome, &c);
	free(links);
	if ((c.guests || c.bridge) && (c.way_out || !c.gated))
		say_elsewhere(d, &c, where);
}

static bool is_new(struct names *names, const struct stat *st)
{
	for (unsigned i = 0; i < names->n; i++)
		if (names->seen[i] == st->st_ino)
			return false;
	if (names->n == NAMESPACES_MAX)
		return false;
	names->seen[names->n++] = st->st_ino;
	return true;
}

struct walk {
	struct doctor *d;
	struct names names;
	int home_fd;
	struct gate_link *home;
	size_t nhome;
};

static void visit(struct walk *w, const char *path, const char *where)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return;
	if (!fstat(fd, &st) && is_new(&w->names, &st))
		look_into(w->d, fd, w->home_fd, w->home, w->nhome, where);
	close(fd);
}

/* Named ones first, for the names say more. */
static void visit_all(struct walk *w)
{
	static const struct {
		const char *dir, *leaf, *what;
	} places[] = { { "/run/netns", "", "" }, { "/proc", "/ns/net", "of process " } };

	for (size_t i = 0; i < 2; i++) {
		DIR *dir = opendir(places[i].dir);
		char path[600], where[300];
		struct dirent *e;

		while (dir && (e = readdir(dir))) {
			if (e->d_name[0] == '.' || (i == 1 && !strchr("123456789", e->d_name[0])))
				continue;
			snprintf(path, sizeof(path), "%s/%s%s", places[i].dir, e->d_name,
				 places[i].leaf);
			snprintf(where, sizeof(where), "%s%s", places[i].what, e->d_name);
			visit(w, path, where);
		}
		if (dir)
			closedir(dir);
	}
}

/* Does the daemon live in the namespace that is looked at here? */
static void check_daemon(struct doctor *d, const struct stat *own)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct ucred peer = { .pid = 0 };
	socklen_t len = sizeof(peer);
	struct stat st;
	char path[64];
	/* one that is stopped, with as many waiting as may, would be waited for without end */
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", d->c->socket);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
	if (fd >= 0)
		close(fd);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", peer.pid);
	if (peer.pid > 0 && !stat(path, &st) && st.st_ino != own->st_ino)
		doctor_say(d, FINDING_FAILED, "netns",
			   "run both in the namespace of the bridges and uplinks",
			   "gate25d (process %d) runs in another network namespace than this "
			   "command: what is said here of links is not what it sees",
			   peer.pid);
}

void doctor_netns(struct doctor *d)
{
	struct walk w = { .d = d, .home_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC) };
	struct gate_links *l = NULL;
	struct stat own;

	if (w.home_fd < 0 || fstat(w.home_fd, &own) < 0)
		return;
	check_daemon(d, &own);
	is_new(&w.names, &own);
	if (geteuid() == 0 && !gate_links_open(&l, false, 1) &&
	    !gate_links_list(l, &w.home, &w.nhome))
		visit_all(&w);
	gate_links_close(l);
	free(w.home);
	close(w.home_fd);
}
