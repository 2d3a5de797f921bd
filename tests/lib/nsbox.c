// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Namespaces and a BPF file system for tests; see nsbox.h. */
#include "nsbox.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

static char bpffs[] = "/tmp/gate25-test-XXXXXX";
static pid_t owner;

static void leave(void)
{
	if (getpid() != owner)
		return;
	umount2(bpffs, MNT_DETACH);
	rmdir(bpffs);
}

static void die(const char *what)
{
	fprintf(stderr, "nsbox: %s: %s\n", what, strerror(errno));
	exit(1);
}

void nsbox_enter(void)
{
	if (geteuid() != 0) {
		printf("1..0 # SKIP needs root\n");
		exit(77);
	}
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		die("unshare");
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		die("private mounts");
	if (!mkdtemp(bpffs) || mount("bpf", bpffs, "bpf", 0, NULL) < 0)
		die("BPF file system");
	owner = getpid();
	atexit(leave);
	nsbox_run("ip link set lo up");
}

const char *nsbox_bpffs(void)
{
	return bpffs;
}

static int run(const char *fmt, va_list ap)
{
	char line[1024];

	vsnprintf(line, sizeof(line), fmt, ap);
	int status = system(line);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int nsbox_try(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int status = run(fmt, ap);
	va_end(ap);
	return status;
}

void nsbox_run(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int status = run(fmt, ap);
	va_end(ap);
	if (status) {
		fprintf(stderr, "nsbox: failed (%d): %s\n", status, fmt);
		exit(1);
	}
}

bool nsbox_has_tcx(void)
{
	uint32_t count = 0;

	return bpf_prog_query(1 /* lo */, 46 /* tcx ingress */, 0, NULL, NULL, &count) == 0;
}

void nsbox_config(struct gate_config *c, const char *pin)
{
	static char path[64], br0[] = "br0";
	static char *bridges[] = { br0 };

	snprintf(path, sizeof(path), "%s/%s", bpffs, pin);
	*c = (struct gate_config){
		.ports = { 25 },
		.nports = 1,
		.bridges = { .pattern = bridges, .count = 1 },
		.enforce = true,
		.backstop = true,
		.max_vms = 64,
		.max_tenants = 8,
		.max_overrides = 16,
		.flows_per_vm = 64,
		.stamp = 0x25,
		.stamp_mask = 0xff,
		.to_vm = true,
		.grace_s = GATE_GRACE_S,
		.pin = path,
	};
}
