// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Guests of Proxmox VE, from the files below /etc/pve: qemu-server/VMID.conf and
 * lxc/VMID.conf. Their devices have fixed names, tapVMIDiN and vethVMIDiN, so a
 * guest can be registered before it runs. It is registered under its VMID: names
 * there may be given twice and change.
 */
#include "guests.h"
#include "parse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_DIR "/etc/pve"

struct kind {
	const char *dir, *device; /* prefix of the device's name */
};

static const struct kind kinds[] = { { "qemu-server", "tap" }, { "lxc", "veth" } };

/* ---- one value, "virtio=BC:24:11:…,bridge=vmbr0,ip=192.0.2.5/24" ---- */

struct net {
	bool bridged;
	char mac[24];
};

/* Static addresses come with the length of their network, which is not the VM's. */
static void add_address(json_t *guest, const char *word)
{
	struct gate_prefix p;
	char addr[64], text[64];

	snprintf(addr, sizeof(addr), "%s", word);
	addr[strcspn(addr, "/")] = '\0';
	if (gate_parse_prefix(addr, &p) == 0 && p.len == 128)
		guest_add(guest, "ips", gate_format_prefix(&p, text, sizeof(text)));
}

static void take_part(json_t *guest, const char *part, struct net *net)
{
	const char *value = strchr(part, '=');
	uint8_t mac[6];

	if (!value)
		return;
	value++;
	if (strncmp(part, "bridge=", 7) == 0)
		net->bridged = true;
	else if (strncmp(part, "ip=", 3) == 0 || strncmp(part, "ip6=", 4) == 0)
		add_address(guest, value);
	else if (gate_parse_mac(value, mac) == 0) /* MODEL=MAC, macaddr=MAC, hwaddr=MAC */
		gate_format_mac(mac, net->mac, sizeof(net->mac));
}

static void take_parts(json_t *guest, char *value, struct net *net)
{
	char *part;

	while ((part = strsep(&value, ",")))
		take_part(guest, part + strspn(part, " \t"), net);
}

/* ---- one file ---- */

/* "net0" with this prefix and a number behind it. */
static bool numbered(const char *key, const char *prefix, uint32_t *n)
{
	size_t len = strlen(prefix);

	return strncmp(key, prefix, len) == 0 && gate_parse_u32(key + len, 0, 31, n) == 0;
}

static void take_net(json_t *guest, const struct kind *k, const char *id, uint32_t n, char *value)
{
	struct net net = { 0 };
	char device[64];

	take_parts(guest, value, &net);
	if (!net.bridged) {
		guest_remark(guest, "net%u has no bridge: it is none of the gate's", n);
		return;
	}
	snprintf(device, sizeof(device), "%s%si%u", k->device, id, n);
	guest_add(guest, "ports", device);
	if (net.mac[0])
		guest_add(guest, "macs", net.mac);
}

static void take_line(json_t *guest, const struct kind *k, const char *id, char *line)
{
	char *value = strchr(line, ':');
	struct net unused;
	uint32_t n;

	if (!value || *line == '#')
		return;
	*value++ = '\0';
	value += strspn(value, " \t");
	if (numbered(line, "net", &n))
		take_net(guest, k, id, n, value);
	else if (numbered(line, "ipconfig", &n))
		take_parts(guest, value, &unused);
	else if (strcmp(line, "template") == 0 && *value == '1')
		json_object_set_new(guest, "template", json_true());
}

/* What stands behind the first "[…]" are snapshots and pending changes. */
static json_t *read_conf(const struct kind *k, const char *id, char *text)
{
	json_t *guest = guest_new(id);
	char *line;

	while (guest && (line = strsep(&text, "\n")) && *line != '[') {
		line[strcspn(line, "\r")] = '\0';
		take_line(guest, k, id, line);
	}
	return guest;
}

/* ---- directories ---- */

static int take_file(int dir, const struct kind *k, const char *file,
		     const struct guest_names *names, json_t *guests, struct gate_error *err)
{
	uint32_t number;
	char id[32], *text;
	json_t *guest;
	size_t len;
	int ret;

	snprintf(id, sizeof(id), "%.*s", (int)(strlen(file) - strlen(".conf")), file);
	if (gate_parse_u32(id, 1, 999999999, &number) || !guest_wanted(names, id))
		return 0;
	ret = guest_read_file(dir, file, &text, &len, err);
	if (ret)
		return ret;
	guest = read_conf(k, id, text);
	free(text);
	if (!guest)
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	if (!cli_bool(guest, "template"))
		return json_array_append_new(guests, guest);
	json_decref(guest); /* never runs */
	return 0;
}

static int take_directory(const char *path, const struct kind *k, const struct guest_names *names,
			  json_t *guests, struct gate_error *err)
{
	char **files = NULL;
	size_t n = 0;
	int dir, ret = guest_list_files(path, ".conf", &files, &n, err);

	if (ret)
		return ret;
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < n && !ret; i++)
		ret = take_file(dir, k, files[i], names, guests, err);
	if (dir >= 0)
		close(dir);
	guest_free_files(files, n);
	return ret;
}

int guests_proxmox(const char *from, const struct guest_names *names, json_t *guests,
		   struct gate_error *err)
{
	unsigned found = 0;
	char path[4096];
	int ret = 0;

	from = from ? from : DEFAULT_DIR;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && !ret; i++) {
		snprintf(path, sizeof(path), "%s/%s", from, kinds[i].dir);
		if (access(path, F_OK) < 0)
			continue;
		found++;
		ret = take_directory(path, &kinds[i], names, guests, err);
	}
	if (!ret && !found)
		ret = gate_error_set(err, GATE_ERR_FAILED,
				     "%.200s holds neither qemu-server nor lxc: no Proxmox VE here",
				     from);
	return ret;
}
