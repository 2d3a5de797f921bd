// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The daemon as it says itself, and what on this host no gate can see. */
#include "doctor.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>

/* ---- the daemon ---- */

/* Links keep gating without the daemon: how many lie in the pin directory? */
static void say_left_behind(struct doctor *d)
{
	char path[300];
	struct dirent *e;
	int links = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/links", d->conf->pin);
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		links += e->d_name[0] != '.';
	if (links)
		doctor_say(d, FINDING_OK, "left_in_place", NULL,
			   "%d program%s of the gate work%s on without the daemon", links,
			   links == 1 ? "" : "s", links == 1 ? "s" : "");
	if (dir)
		closedir(dir);
}

static void say_unreachable(struct doctor *d, const struct gate_error *err)
{
	if (err->code == GATE_ERR_DENIED) {
		doctor_say(d, FINDING_UNKNOWN, "daemon",
			   "run gate25 doctor as root or as a member of the gate's group", "%s",
			   err->message);
		return;
	}
	doctor_say(d, FINDING_FAILED, "daemon",
		   "systemctl start gate25d; what it says: journalctl -u gate25d", "%s",
		   err->message);
	say_left_behind(d);
}

static void say_ports(struct doctor *d, const json_t *status)
{
	const json_t *ports = json_object_get(status, "ports"), *p;
	unsigned vms = 0, gated = 0;
	size_t i;

	json_array_foreach (ports, i, p) {
		const char *role = cli_str(p, "role"), *name = cli_str(p, "name");

		/* the daemon itself tells of uplinks that are missing */
		if (role && strcmp(role, "uplink") == 0)
			continue;
		vms++;
		gated += cli_bool(p, "from_vm");
		if (!cli_bool(p, "from_vm"))
			doctor_say(d, FINDING_FAILED, "port_ungated",
				   "see the journal: journalctl -u gate25d",
				   "VM port %s is not gated", name ? name : "?");
	}
	if (vms == 0)
		doctor_say(d, FINDING_WARNING, "ports",
			   "if there are VMs, check [gate] bridges and vm_ports",
			   "no VM port was found");
	else
		doctor_say(d, FINDING_OK, "ports", NULL, "%u of %u VM ports are gated", gated, vms);
}

bool doctor_daemon(struct doctor *d)
{
	const json_t *problems, *p;
	json_t *status = NULL;
	struct gate_error err;
	size_t i;

	if (cli_call(d->c, "GET", "/v1/status", NULL, &status, &err)) {
		say_unreachable(d, &err);
		return false;
	}
	doctor_say(d, FINDING_OK, "daemon", NULL, "gate25d runs");
	if (!cli_bool(status, "enforce"))
		doctor_say(d, FINDING_WARNING, "enforce", "when ready: [gate] enforce = yes",
			   "nothing is refused on this host, refusals are only counted");
	problems = json_object_get(status, "problems");
	json_array_foreach (problems, i, p) {
		const char *code = cli_str(p, "code"), *message = cli_str(p, "message");

		doctor_say(d, FINDING_FAILED, code ? code : "problem", NULL, "%s",
			   message ? message : "?");
	}
	say_ports(d, status);
	json_decref(status);
	return true;
}

/* ---- traffic that passes the host by ---- */

static bool file_begins(const char *path, const char *text)
{
	FILE *f = fopen(path, "re");
	char line[64] = "";
	bool ok = f && fgets(line, sizeof(line), f) && strncmp(line, text, strlen(text)) == 0;

	if (f)
		fclose(f);
	return ok;
}

/* Entries of `dir` whose file `leaf` begins with `text` (or, negated, does not). */
static unsigned count_entries(const char *dir, const char *leaf, const char *text, bool negate)
{
	char path[600];
	unsigned n = 0;
	struct dirent *e;
	DIR *d = opendir(dir);

	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s/%s", dir, e->d_name, leaf);
		if (negate)
			n += file_begins(path, "") && !file_begins(path, text);
		else
			n += file_begins(path, text);
	}
	if (d)
		closedir(d);
	return n;
}

static bool vhost_user_sockets(void)
{
	FILE *f = fopen("/proc/net/unix", "re");
	char line[512];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, "/vhost-user") || strstr(line, "/vhu");
	if (f)
		fclose(f);
	return found;
}

void doctor_pass_through(struct doctor *d)
{
	static const char remedy[] = "filter those guests on the NIC or the switch";
	/* PCI class 0x02: network controllers */
	unsigned vfio = count_entries("/sys/bus/pci/drivers/vfio-pci", "class", "0x02", false);
	unsigned sriov = count_entries("/sys/class/net", "device/sriov_numvfs", "0", true);

	if (vfio)
		doctor_say(
			d, FINDING_WARNING, "vfio", remedy,
			"%u network device%s handed to guests (vfio): no gate sees their traffic",
			vfio, vfio == 1 ? " is" : "s are");
	if (sriov)
		doctor_say(d, FINDING_WARNING, "sriov", remedy,
			   "%u device%s SR-IOV functions, which pass the host by", sriov,
			   sriov == 1 ? " has" : "s have");
	if (vhost_user_sockets())
		doctor_say(d, FINDING_WARNING, "vhost_user", remedy,
			   "guests are connected by vhost-user, which passes the kernel by");
	if (!vfio && !sriov && !vhost_user_sockets())
		doctor_say(d, FINDING_OK, "pass_through", NULL,
			   "no network device is passed through to guests");
}

/* Expiries are wall-clock times. */
void doctor_clock(struct doctor *d)
{
	struct timex t = { 0 };

	if (adjtimex(&t) < 0)
		return;
	if (t.status & STA_UNSYNC)
		doctor_say(d, FINDING_WARNING, "clock", "run systemd-timesyncd, chrony or ntpd",
			   "the clock is not synchronized: policies may expire early or late");
	else
		doctor_say(d, FINDING_OK, "clock", NULL, "the clock is synchronized");
}
