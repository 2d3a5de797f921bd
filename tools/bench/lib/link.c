// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "link.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int bench_link(int prog, unsigned ifindex, enum bench_side side)
{
	int fd = bpf_link_create(prog, (int)ifindex, (enum bpf_attach_type)side, NULL);

	if (fd < 0)
		bench_die("cannot attach a program: %s",
			  errno == EINVAL ? "this kernel has no tcx" : strerror(errno));
	return fd;
}

void bench_link_drop(int *link)
{
	if (*link >= 0)
		close(*link);
	*link = -1;
}

int bench_tap(const char *name)
{
	struct ifreq req = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		bench_die("no taps here: %m");
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &req))
		bench_die("cannot open the tap %s: %m", name);
	return fd;
}

uint32_t bench_frames_taken(const char *device)
{
	const struct rtnl_link_stats *stats;
	struct ifaddrs *all, *i;
	uint32_t n = 0;
	bool found = false;

	if (getifaddrs(&all))
		bench_die("cannot list the interfaces: %m");
	for (i = all; i; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_PACKET ||
		    strcmp(i->ifa_name, device) != 0)
			continue;
		stats = i->ifa_data;
		n = stats->tx_packets + stats->rx_packets;
		found = true;
	}
	freeifaddrs(all);
	if (!found)
		bench_die("no interface %s", device);
	return n;
}
