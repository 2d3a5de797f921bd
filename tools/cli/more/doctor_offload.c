// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Does hardware forward a device's frames, past every program? */
#include "doctor.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

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

void doctor_offload(struct doctor *d, int fd, const char *name)
{
	if (feature_is_on(fd, name, "hw-tc-offload"))
		doctor_say(
			d, FINDING_WARNING, "hw_offload",
			"ethtool -K DEVICE hw-tc-offload off, unless nothing of guests is "
			"offloaded",
			"%s may forward in hardware (hw-tc-offload): no program sees such packets",
			name);
}
