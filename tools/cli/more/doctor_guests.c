// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Guests whose traffic no program of the host sees, or sees as the host's own. */
#include "doctor.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Not /sys/class/net: that shows the devices of one namespace, and maybe another than ours. */
#define PCI_DEVICES "/sys/bus/pci/devices"
#define PCI_VFIO    "/sys/bus/pci/drivers/vfio-pci"
#define PCI_NETWORK "0x02" /* class of network controllers */

#define COMMAND_MAX 131072 /* of a QEMU's command line; they are long */

static const char on_nic[] = "filter those guests on the NIC or the switch";

static bool read_file(const char *dir, const char *entry, const char *leaf, char *buf, size_t size,
		      size_t *len)
{
	char path[600];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s/%s", dir, entry, leaf);
	f = fopen(path, "re");
	*len = f ? fread(buf, 1, size - 1, f) : 0;
	buf[*len] = '\0';
	if (f)
		fclose(f);
	return *len > 0;
}

/* Network controllers in `dir`; with `leaf` only those where it holds another number than 0. */
static unsigned count_network(const char *dir, const char *leaf)
{
	char class[16], number[16];
	struct dirent *e;
	unsigned n = 0;
	size_t len;
	DIR *d = opendir(dir);

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.' ||
		    !read_file(dir, e->d_name, "class", class, sizeof(class), &len) ||
		    strncmp(class, PCI_NETWORK, strlen(PCI_NETWORK)) != 0)
			continue;
		if (!leaf || (read_file(dir, e->d_name, leaf, number, sizeof(number), &len) &&
			      atoi(number) > 0))
			n++;
	}
	if (d)
		closedir(d);
	return n;
}

/* ---- processes ---- */

struct guests {
	unsigned vhost_user; /* QEMUs with such a device, or one of vDPA */
	unsigned user_net;   /* QEMUs whose traffic is the host's own: slirp, passt */
};

/* The arguments of a command line, one after another; each ends in '\0'. */
static const char *next_argument(const char *at, const char *end)
{
	at += strlen(at) + 1;
	return at < end ? at : NULL;
}

/* "-netdev user,id=n0" or "-netdev {"type":"user",...}" */
static bool is_netdev(const char *value, const char *type)
{
	char json[32];

	snprintf(json, sizeof(json), "\"type\":\"%s\"", type);
	return (!strncmp(value, type, strlen(type)) && strchr(",", value[strlen(type)])) ||
	       (*value == '{' && strstr(value, json));
}

static void read_qemu(const char *command, const char *end, struct guests *g)
{
	bool vhost_user = false, user_net = false;

	for (const char *at = command, *value; at; at = next_argument(at, end)) {
		if (strcmp(at, "-netdev") != 0 && strcmp(at, "-nic") != 0)
			continue;
		value = next_argument(at, end);
		if (!value)
			break;
		vhost_user |= is_netdev(value, "vhost-user") || is_netdev(value, "vhost-vdpa");
		/* passt is given to QEMU as a stream to a socket of its own */
		user_net |= is_netdev(value, "user") || strstr(value, "passt");
	}
	g->vhost_user += vhost_user;
	g->user_net += user_net;
}

static void read_processes(struct guests *g)
{
	char *command = malloc(COMMAND_MAX), name[32];
	struct dirent *e;
	size_t len;
	DIR *dir = opendir("/proc");

	while (command && dir && (e = readdir(dir))) {
		if (!strchr("123456789", e->d_name[0]) ||
		    !read_file("/proc", e->d_name, "comm", name, sizeof(name), &len) ||
		    (strncmp(name, "qemu", 4) != 0 && strncmp(name, "kvm", 3) != 0))
			continue;
		if (read_file("/proc", e->d_name, "cmdline", command, COMMAND_MAX, &len))
			read_qemu(command, command + len, g);
	}
	if (dir)
		closedir(dir);
	free(command);
}

/* Sockets by the names that Open vSwitch and QEMU's manual give them. */
static bool vhost_user_sockets(void)
{
	static const char *const names[] = { "/vhost-user", "/vhostuser", "/dpdkvhostuser",
					     "/vhu" };
	FILE *f = fopen("/proc/net/unix", "re");
	char line[512];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			found |= strstr(line, names[i]) != NULL;
	if (f)
		fclose(f);
	return found;
}

void doctor_pass_through(struct doctor *d)
{
	unsigned vfio = count_network(PCI_VFIO, NULL);
	unsigned sriov = count_network(PCI_DEVICES, "sriov_numvfs");
	struct guests g = { 0 };

	read_processes(&g);
	if (vfio)
		doctor_say(
			d, FINDING_WARNING, "vfio", on_nic,
			"%u network device%s handed to guests (vfio): no gate sees their traffic",
			vfio, vfio == 1 ? " is" : "s are");
	if (sriov)
		doctor_say(d, FINDING_WARNING, "sriov", on_nic,
			   "%u device%s SR-IOV functions, which pass the host by", sriov,
			   sriov == 1 ? " has" : "s have");
	if (g.vhost_user || vhost_user_sockets())
		doctor_say(d, FINDING_WARNING, "vhost_user", on_nic,
			   "guests are connected by vhost-user or vDPA, which pass the kernel by");
	if (g.user_net)
		doctor_say(d, FINDING_WARNING, "user_net", "give them a tap in a gated bridge",
			   "%u guest%s QEMU's user network or passt: what %s is the host's own "
			   "traffic, which passes",
			   g.user_net, g.user_net == 1 ? " uses" : "s use",
			   g.user_net == 1 ? "it sends" : "they send");
	if (!vfio && !sriov && !g.vhost_user && !g.user_net && !vhost_user_sockets())
		doctor_say(d, FINDING_OK, "pass_through", NULL,
			   "no network device is passed through to guests");
}
