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

/* What to do about that which the daemon says to be wrong, and whether it keeps it from gating. */
static const struct {
	const char *code;
	enum finding finding;
	const char *remedy;
} remedies[] = {
	{ "port_unattached", FINDING_FAILED,
	  "make way on that device, it is tried again by itself: tc qdisc show dev DEVICE" },
	{ "backstop_unattached", FINDING_FAILED,
	  "make way on that device, it is tried again by itself: tc qdisc show dev DEVICE" },
	{ "to_vm_unattached", FINDING_WARNING,
	  "make way on that device, or do without replies: [gate] to_vm = no" },
	{ "early_drop_unattached", FINDING_WARNING,
	  "nothing is lost, the gate at TC judges; [gate] early_drop = off ends the message" },
	{ "from_vm_not_first", FINDING_WARNING,
	  "take the other program off and attach it again, behind the gate's" },
	{ "uplink_out_not_first", FINDING_WARNING,
	  "take the other program off and attach it again, behind the gate's" },
	{ "to_vm_off", FINDING_WARNING,
	  "[gate] to_vm = yes where nobody else needs the qdisc, or Linux 6.6" },
	{ "no_uplink", FINDING_FAILED, "name them: [gate] uplinks" },
	{ "links", FINDING_FAILED, "see the journal: journalctl -u gate25d" },
	{ "map_full", FINDING_FAILED,
	  "raise max_vms, max_tenants or max_overrides, then: systemctl restart gate25d" },
	{ "store", FINDING_FAILED, "make room or give it a disk that works; it heals by itself" },
	{ "store_rebuilt", FINDING_WARNING,
	  "gate25 apply your last export, then: systemctl reload gate25d" },
	{ "audit", FINDING_WARNING, "the same; the trail will say how many changes it lacks" },
	{ "metrics", FINDING_WARNING, "free the address, or another [metrics] listen" },
	{ "control_group", FINDING_WARNING, "make the group, then: systemctl reload gate25d" },
	{ "config", FINDING_FAILED, "correct it, then: systemctl reload gate25d" },
};

static void say_problem(struct doctor *d, const char *code, const char *message)
{
	for (size_t i = 0; i < sizeof(remedies) / sizeof(remedies[0]); i++) {
		if (strcmp(remedies[i].code, code) == 0) {
			doctor_say(d, remedies[i].finding, code, remedies[i].remedy, "%s", message);
			return;
		}
	}
	/* names that are missing are looked for here too, with the daemon or without */
	if (strcmp(code, "bridge_missing") != 0 && strcmp(code, "uplink_missing") != 0)
		doctor_say(d, FINDING_FAILED, code, "see the journal: journalctl -u gate25d", "%s",
			   message);
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

		say_problem(d, code ? code : "problem", message ? message : "?");
	}
	say_ports(d, status);
	json_decref(status);
	return true;
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
