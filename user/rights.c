// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Capabilities and system calls that a running daemon does without; see rights.h. */
#include "rights.h"
#include "log.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- capabilities ---- */

static int keep_in(const cap_value_t *keep, int n, cap_flag_t flag)
{
	cap_t caps = cap_get_proc();
	int err = 0;

	if (!caps)
		return -errno;
	if (cap_clear_flag(caps, flag) < 0 || cap_set_flag(caps, flag, n, keep, CAP_SET) < 0 ||
	    cap_clear_flag(caps, CAP_INHERITABLE) < 0 || cap_set_proc(caps) < 0)
		err = -errno;
	cap_free(caps);
	return err;
}

static bool may_call_bpf(int map)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	return !bpf_obj_get_info_by_fd(map, &info, &len);
}

static int drop_capabilities(int map)
{
	static const cap_value_t keep[] = { CAP_NET_ADMIN, CAP_BPF };
	int n = 1;

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	/* the effective ones first: these can be taken back */
	int err = keep_in(keep, n, CAP_EFFECTIVE);
	if (!err && !may_call_bpf(map))
		err = keep_in(keep, ++n, CAP_EFFECTIVE);
	return err ? err : keep_in(keep, n, CAP_PERMITTED);
}

/* ---- system calls ---- */

/* What no part of a running daemon, nor a [notify] command, has a reason to ask for. */
static const int refused[] = {
	SCMP_SYS(acct),
	SCMP_SYS(add_key),
	SCMP_SYS(adjtimex),
	SCMP_SYS(chroot),
	SCMP_SYS(clock_adjtime),
	SCMP_SYS(clock_settime),
	SCMP_SYS(delete_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(fsmount),
	SCMP_SYS(fsopen),
	SCMP_SYS(init_module),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(io_uring_register),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(kcmp),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(kexec_load),
	SCMP_SYS(keyctl),
	SCMP_SYS(mount),
	SCMP_SYS(move_mount),
	SCMP_SYS(name_to_handle_at),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(open_tree),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(personality),
	SCMP_SYS(pivot_root),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(ptrace),
	SCMP_SYS(quotactl),
	SCMP_SYS(reboot),
	SCMP_SYS(request_key),
	SCMP_SYS(setns),
	SCMP_SYS(settimeofday),
	SCMP_SYS(swapoff),
	SCMP_SYS(swapon),
	SCMP_SYS(syslog),
	SCMP_SYS(umount2),
	SCMP_SYS(unshare),
	SCMP_SYS(userfaultfd),
};

/* Commands of bpf(2) that make something new. */
static const unsigned refused_bpf[] = { BPF_MAP_CREATE, BPF_PROG_LOAD, BPF_BTF_LOAD,
					BPF_RAW_TRACEPOINT_OPEN };

static int add_rules(scmp_filter_ctx filter)
{
	const uint32_t deny = SCMP_ACT_ERRNO(EPERM);
	int err = 0;

	for (size_t i = 0; i < COUNT(refused) && !err; i++)
		err = seccomp_rule_add(filter, deny, refused[i], 0);
	for (size_t i = 0; i < COUNT(refused_bpf) && !err; i++) {
		/* the kernel takes an int: what stands above it must not hide the command */
		const struct scmp_arg_cmp command =
			SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, refused_bpf[i]);
		err = seccomp_rule_add_array(filter, deny, SCMP_SYS(bpf), 1, &command);
	}
	return err;
}

static int filter_calls(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	if (!filter)
		return -ENOMEM;
	int err = add_rules(filter);
	err = err ? err : seccomp_load(filter);
	seccomp_release(filter);
	return err;
}

void gate_rights_drop(int probe)
{
	if (!geteuid())
		return;
	int err = drop_capabilities(probe);
	if (err)
		log_warning("the capabilities that loading took are kept: %s", strerror(-err));
	err = filter_calls();
	if (err)
		log_warning("system calls are not filtered: %s", strerror(-err));
}
