// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* What the kernel can do and lets us do. */
#include "doctor.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#define BPFFS_MAGIC 0xcafe4a11
#define LOOPBACK    1  /* ifindex of lo in each network namespace */
#define TCX_INGRESS 46 /* enum bpf_attach_type, newer than our headers */

static bool read_line(const char *path, char *buf, int size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(buf, size, f);

	if (f)
		fclose(f);
	return ok;
}

void doctor_kernel(struct doctor *d)
{
	unsigned major = 0, minor = 0;
	struct utsname u;
	char line[128];

	uname(&u);
	if (sscanf(u.release, "%u.%u", &major, &minor) != 2)
		doctor_say(d, FINDING_UNKNOWN, "kernel", NULL, "kernel %s", u.release);
	else if (major < 6 || (major == 6 && minor < 1))
		doctor_say(d, FINDING_FAILED, "kernel", "use Linux 6.1 or later",
			   "kernel %s is too old", u.release);
	else
		doctor_say(d, FINDING_OK, "kernel", NULL, "kernel %s", u.release);
	if (access("/sys/kernel/btf/vmlinux", R_OK) < 0)
		doctor_say(d, FINDING_WARNING, "btf", "use a kernel with CONFIG_DEBUG_INFO_BTF",
			   "the kernel has no BTF: the gate needs none, but bpftool shows less");
	if (read_line("/sys/kernel/security/lockdown", line, sizeof(line)) &&
	    strstr(line, "[confidentiality]"))
		doctor_say(d, FINDING_FAILED, "lockdown",
			   "boot with lockdown=integrity or without lockdown",
			   "the kernel is locked down for confidentiality and may refuse programs");
}

/* ---- bpffs ---- */

/* The path itself, or the nearest directory above it that exists. */
static int nearest(const char *path, struct statfs *fs, char *found, size_t size)
{
	char *slash;

	snprintf(found, size, "%s", path);
	while (statfs(found, fs) < 0) {
		if (errno != ENOENT)
			return -errno;
		slash = strrchr(found, '/');
		if (!slash || slash == found)
			return -ENOENT;
		*slash = '\0';
	}
	return 0;
}

void doctor_bpffs(struct doctor *d)
{
	static const char remedy[] = "systemctl start sys-fs-bpf-gate25.mount, or as root: "
				     "mount -t bpf bpf /sys/fs/bpf";
	char found[256];
	struct statfs fs;
	int err = nearest(d->conf->pin, &fs, found, sizeof(found));

	if (err == -EACCES)
		doctor_say(d, FINDING_UNKNOWN, "bpffs", "run gate25 doctor as root",
			   "%s cannot be looked at: %s", d->conf->pin, strerror(-err));
	else if (err || fs.f_type != BPFFS_MAGIC)
		doctor_say(d, FINDING_FAILED, "bpffs", remedy,
			   "%s does not lie on a bpffs: maps and links cannot be kept there",
			   d->conf->pin);
	else if (strcmp(found, d->conf->pin) != 0)
		doctor_say(d, FINDING_OK, "bpffs", NULL, "%s will be made on the bpffs of %s",
			   d->conf->pin, found);
	else
		doctor_say(d, FINDING_OK, "bpffs", NULL, "%s lies on a bpffs", d->conf->pin);
}

/* ---- capabilities ---- */

static const struct {
	int cap;
	const char *name;
} needed[] = {
	{ CAP_NET_ADMIN, "CAP_NET_ADMIN" },
	{ CAP_BPF, "CAP_BPF" },
	{ CAP_PERFMON, "CAP_PERFMON" },
};

static bool own_capabilities(unsigned long long *effective)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "CapEff: %llx", effective) == 1;
	if (f)
		fclose(f);
	return found;
}

/* A running daemon has shown what it may; otherwise ours tell what root has here. */
void doctor_rights(struct doctor *d, bool daemon_runs)
{
	unsigned long long effective;
	char missing[64] = "";

	if (daemon_runs || !own_capabilities(&effective))
		return;
	if (geteuid() != 0) {
		doctor_say(d, FINDING_UNKNOWN, "capabilities", "run gate25 doctor as root",
			   "whether programs may be loaded here cannot be told");
		return;
	}
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		/* CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON too */
		bool has = effective & (1ULL << needed[i].cap) ||
			   (i > 0 && effective & (1ULL << CAP_SYS_ADMIN));

		if (!has) {
			strcat(missing, " ");
			strcat(missing, needed[i].name);
		}
	}
	if (*missing)
		doctor_say(d, FINDING_FAILED, "capabilities",
			   "is this a container? the gate belongs on the hypervisor itself",
			   "root lacks%s here", missing);
	else
		doctor_say(d, FINDING_OK, "capabilities", NULL, "root may load programs");
}

/* ---- hooks ---- */

/* A program that passes everything on, to try things out with. */
static int load_empty(void)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "gate25_probe", "GPL", insns, 2, NULL);
}

/* Told by doing: a link on the loopback for an instant, which passes everything on. */
void doctor_hooks(struct doctor *d)
{
	int prog = load_empty(), link;

	d->stamped = d->conf->stamp_mask && d->conf->hook == GATE_HOOK_TC;
	if (prog == -EPERM || prog == -EACCES) {
		if (geteuid() != 0)
			doctor_say(d, FINDING_UNKNOWN, "hook", "run gate25 doctor as root",
				   "whether programs can be loaded and attached cannot be told");
		else
			doctor_say(d, FINDING_FAILED, "hook", "see capabilities below",
				   "the kernel refuses to load programs: %s", strerror(-prog));
		return;
	}
	if (prog < 0) {
		doctor_say(d, FINDING_FAILED, "hook",
			   "use a kernel with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF",
			   "the kernel cannot load programs: %s", strerror(-prog));
		return;
	}
	link = bpf_link_create(prog, LOOPBACK, (enum bpf_attach_type)TCX_INGRESS, NULL);
	d->stamped |= d->conf->stamp_mask && link < 0;
	if (link >= 0)
		doctor_say(d, FINDING_OK, "hook", NULL,
			   "tcx is there: deleting a qdisc cannot take the gate off");
	else
		doctor_say(d, FINDING_WARNING, "hook",
			   "Linux 6.6 or later; until then keep [gate] backstop = yes",
			   "no tcx (%s): the gate sits on qdiscs, which others may delete",
			   strerror(-link));
	if (link >= 0)
		close(link);
	close(prog);
}
