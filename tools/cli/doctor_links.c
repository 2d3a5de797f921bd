// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The links as the kernel has them, for a host whose daemon is dead too: are those that the
 * configuration names there, who else sits on the gate's hooks, and does hardware pass them by?
 */
#include "doctor.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
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
	unsigned ours, others;
	char first[BPF_OBJ_NAME_LEN]; /* name of the first that is not ours */
};

static void add_program(struct hook *h, __u32 id)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);

	if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size) &&
	    !strncmp(info.name, OUR_PREFIX, strlen(OUR_PREFIX))) {
		h->ours++;
	} else if (h->others++ == 0) {
		snprintf(h->first, sizeof(h->first), "%s", info.name[0] ? info.name : "?");
	}
	if (fd >= 0)
		close(fd);
}

static void query(int ifindex, int type, struct hook *h)
{
	__u32 ids[PROGS_MAX], n = PROGS_MAX, flags;

	if (bpf_prog_query(ifindex, (enum bpf_attach_type)type, 0, &flags, ids, &n))
		return;
	for (__u32 i = 0; i < n; i++)
		add_program(h, ids[i]);
}

/* True if a program of the gate sits there. */
static bool check_hooks(struct doctor *d, const struct if_nameindex *link)
{
	struct hook h = { 0 };

	query((int)link->if_index, TCX_INGRESS, &h);
	query((int)link->if_index, TCX_EGRESS, &h);
	if (h.ours && h.others)
		doctor_say(d, FINDING_WARNING, "shared_hook",
			   "make sure that it passes packets on with TC_ACT_UNSPEC (-1) and leaves "
			   "their marks alone",
			   "%u other program%s on the hooks of %s (%s): what it passes with OK or "
			   "drops first the gate does not see",
			   h.others, h.others == 1 ? " sits" : "s sit", link->if_name, h.first);
	return h.ours != 0;
}

/* ---- offload ---- */

static int ethtool(int fd, const char *name, void *command)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ifr.ifr_data = command;
	return ioctl(fd, SIOCETHTOOL, &ifr);
}

static __u32 count_features(int fd, const char *name)
{
	/* one number follows the fixed part */
	union {
		struct ethtool_sset_info info;
		unsigned char room[sizeof(struct ethtool_sset_info) + sizeof(__u32)];
	} sset = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES } };

	if (ethtool(fd, name, &sset) || !sset.info.sset_mask)
		return 0;
	return sset.info.data[0];
}

/* The number of the feature, which is the same for all devices of a kernel; -1: unknown. */
static int find_feature(int fd, const char *name, __u32 n, const char *feature)
{
	struct ethtool_gstrings *strings =
		calloc(1, sizeof(*strings) + (size_t)n * ETH_GSTRING_LEN);
	int found = -1;

	if (!strings)
		return -1;
	strings->cmd = ETHTOOL_GSTRINGS;
	strings->string_set = ETH_SS_FEATURES;
	strings->len = n;
	if (!ethtool(fd, name, strings))
		for (__u32 i = 0; i < n && found < 0; i++)
			if (!strncmp((char *)strings->data + (size_t)i * ETH_GSTRING_LEN, feature,
				     ETH_GSTRING_LEN))
				found = (int)i;
	free(strings);
	return found;
}

static bool feature_is_on(int fd, const char *name, const char *feature)
{
	__u32 n = count_features(fd, name), blocks = (n + 31) / 32;
	int at = n ? find_feature(fd, name, n, feature) : -1;
	struct ethtool_gfeatures *f;
	bool on = false;

	if (at < 0)
		return false;
	f = calloc(1, sizeof(*f) + blocks * sizeof(f->features[0]));
	if (!f)
		return false;
	f->cmd = ETHTOOL_GFEATURES;
	f->size = blocks;
	if (!ethtool(fd, name, f))
		on = f->features[at / 32].active & (1U << (at % 32));
	free(f);
	return on;
}

static void check_offload(struct doctor *d, int fd, const char *name)
{
	if (feature_is_on(fd, name, "hw-tc-offload"))
		doctor_say(
			d, FINDING_WARNING, "hw_offload",
			"ethtool -K DEVICE hw-tc-offload off, unless nothing of guests is "
			"offloaded",
			"%s may forward in hardware (hw-tc-offload): no program sees such packets",
			name);
}

void doctor_links(struct doctor *d)
{
	struct if_nameindex *links = if_nameindex();
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned gated = 0;

	check_names(d, &d->conf->bridges, "bridge_missing", "bridge");
	check_names(d, &d->conf->uplinks, "uplink_missing", "uplink");
	for (const struct if_nameindex *l = links; l && l->if_index; l++) {
		gated += check_hooks(d, l);
		if (fd >= 0)
			check_offload(d, fd, l->if_name);
	}
	if (gated)
		doctor_say(d, FINDING_OK, "links", NULL,
			   "programs of the gate sit on %u device%s of this host", gated,
			   gated == 1 ? "" : "s");
	if (links)
		if_freenameindex(links);
	if (fd >= 0)
		close(fd);
}
