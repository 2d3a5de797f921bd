// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The links as the kernel has them, for a host whose daemon is dead too: are those that the
 * configuration names there, who else sees frames before the gate, does hardware pass it by?
 */
#include "doctor.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TCX_INGRESS 46 /* enum bpf_attach_type, newer than our headers */
#define TCX_EGRESS  47
#define PROGS_MAX   64
#define OUR_PREFIX  "g25_"

/* ---- names of the configuration ---- */

static void check_names(struct doctor *d, const struct gate_globs *g, const char *code,
			const char *what)
{
	for (unsigned i = 0; i < g->count; i++) {
		const char *name = g->pattern[i];

		if (!strpbrk(name, "*?[") && strcmp(name, "auto") && !if_nametoindex(name))
			doctor_say(d, FINDING_WARNING, code,
				   "correct [gate] if it is not to come later: ip -br link",
				   "%s %s is configured and is not there", what, name);
	}
}

/* ---- other programs on the gate's hooks ---- */

struct hook {
	bool ours;
	unsigned before;	      /* others that come before ours */
	char first[BPF_OBJ_NAME_LEN]; /* name of the first of them */
};

/* True if the program is the gate's; its name goes to `name` in any case. */
static bool is_ours(__u32 id, char name[BPF_OBJ_NAME_LEN])
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd >= 0) {
		bpf_obj_get_info_by_fd(fd, &info, &size);
		close(fd);
	}
	snprintf(name, BPF_OBJ_NAME_LEN, "%s", info.name[0] ? info.name : "?");
	return !strncmp(info.name, OUR_PREFIX, strlen(OUR_PREFIX));
}

/* Programs are listed in the order in which they run; what comes after ours takes nothing. */
static struct hook query(int ifindex, int type)
{
	__u32 ids[PROGS_MAX], n = PROGS_MAX, flags;
	char name[BPF_OBJ_NAME_LEN];
	struct hook h = { 0 };

	if (bpf_prog_query(ifindex, (enum bpf_attach_type)type, 0, &flags, ids, &n))
		return h;
	for (__u32 i = 0; i < n && !h.ours; i++) {
		h.ours = is_ours(ids[i], name);
		if (!h.ours && h.before++ == 0)
			memcpy(h.first, name, sizeof(name));
	}
	return h;
}

/* True if a program of the gate sits there. */
static bool check_tcx(struct doctor *d, const struct if_nameindex *link, int type, const char *side)
{
	const struct hook h = query((int)link->if_index, type);

	if (h.ours && h.before)
		doctor_say(d, FINDING_WARNING, "shared_hook",
			   "make sure that it passes packets on with TC_ACT_UNSPEC (-1), or have "
			   "it attached after the gate's",
			   "%u other program%s (%s) of %s before the gate at the %s: what it "
			   "accepts, redirects or drops the gate does not see",
			   h.before, h.before == 1 ? " sees frames" : "s see frames", h.first,
			   link->if_name, side);
	return h.ours;
}

/* XDP comes before everything else, so also before the gate at TC. */
static void check_xdp(struct doctor *d, const struct if_nameindex *link)
{
	char name[BPF_OBJ_NAME_LEN];
	__u32 id = 0;

	if (bpf_xdp_query_id((int)link->if_index, 0, &id) || !id || is_ours(id, name))
		return;
	doctor_say(d, FINDING_WARNING, "shared_hook",
		   "make sure that it passes (XDP_PASS) what guests send: ip link show dev DEVICE",
		   "an XDP program (%s) sees frames of %s before the gate: what it redirects or "
		   "drops the gate does not see",
		   name, link->if_name);
}

static bool check_hooks(struct doctor *d, struct gate_rtnl *rtnl, const struct if_nameindex *link)
{
	bool ours = check_tcx(d, link, TCX_INGRESS, "ingress");

	ours |= check_tcx(d, link, TCX_EGRESS, "egress");
	if (rtnl->fd >= 0)
		ours |= doctor_filters(d, rtnl, link->if_index, link->if_name);
	if (ours)
		check_xdp(d, link);
	return ours;
}

static bool remember(struct doctor *d, unsigned ifindex)
{
	unsigned *grown = reallocarray(d->gated, d->ngated + 1, sizeof(*grown));

	if (!grown)
		return false;
	d->gated = grown;
	d->gated[d->ngated++] = ifindex;
	return true;
}

void doctor_links(struct doctor *d)
{
	struct if_nameindex *links = if_nameindex();
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct gate_rtnl rtnl = { .fd = -1 };

	check_names(d, &d->conf->bridges, "bridge_missing", "bridge");
	check_names(d, &d->conf->uplinks, "uplink_missing", "uplink");
	if (gate_rtnl_open(&rtnl))
		rtnl = (struct gate_rtnl){ .fd = -1 };
	for (const struct if_nameindex *l = links; l && l->if_index; l++) {
		if (check_hooks(d, &rtnl, l) && !remember(d, l->if_index))
			d->c->short_of_memory = true;
		if (fd >= 0)
			doctor_offload(d, fd, l->if_name);
	}
	if (d->ngated)
		doctor_say(d, FINDING_OK, "links", NULL,
			   "programs of the gate sit on %u device%s of this host", d->ngated,
			   d->ngated == 1 ? "" : "s");
	if (links)
		if_freenameindex(links);
	gate_rtnl_close(&rtnl);
	if (fd >= 0)
		close(fd);
}
