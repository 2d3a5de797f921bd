// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * tcx links (Linux 6.6+), and XDP links for early_drop (5.9+). A pinned link keeps
 * the program on its device without the daemon, is not touched by anybody's qdisc
 * commands, and changes its program in place.
 */
#include "attach_priv.h"
#include "pins.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of Linux 6.6's <linux/bpf.h>; Debian 12's is older. */
#define TCX_INGRESS   46
#define TCX_EGRESS    47
#define LINK_TYPE_TCX 11
#define LINK_TYPE_XDP 6
#define F_BEFORE      (1U << 3)

struct tcx_link_info {
	uint32_t type, id, prog_id, pad;
	uint32_t ifindex;     /* 0 once the device is gone or the link was detached */
	uint32_t attach_type; /* tcx only */
};

struct tcx_link_create {
	uint32_t prog_fd, ifindex, attach_type, flags;
	uint32_t relative_fd, pad;
	uint64_t expected_revision;
};

bool gate_tcx_available(void)
{
	uint32_t count = 0;

	/* an older kernel does not know the attach type: EINVAL */
	return bpf_prog_query((int)if_nametoindex("lo"), TCX_INGRESS, 0, NULL, NULL, &count) == 0;
}

static int link_path(char *out, const char *pin, uint32_t ifindex, enum gate_where where)
{
	return gate_pins_path(out, "%s/links/%u-%s", pin, ifindex, gate_attach_where(where));
}

static int link_info(int fd, struct tcx_link_info *out)
{
	uint32_t len = sizeof(*out);

	memset(out, 0, sizeof(*out));
	if (bpf_obj_get_info_by_fd(fd, out, &len) < 0)
		return -errno;
	return out->type == LINK_TYPE_TCX || out->type == LINK_TYPE_XDP ? 0 : -EINVAL;
}

/* Programs on a hook in their order; the kernel has room for as many. */
struct programs {
	uint32_t id[64], count;
};

static int list_programs(uint32_t ifindex, bool egress, struct programs *out)
{
	const enum bpf_attach_type hook = egress ? TCX_EGRESS : TCX_INGRESS;

	*out = (struct programs){ .count = sizeof(out->id) / sizeof(out->id[0]) };
	return bpf_prog_query((int)ifindex, hook, 0, NULL, out->id, &out->count) < 0 ? -errno : 0;
}

/*
 * Is the link on this device? A device takes number and programs along to another
 * namespace, and one of the same number may be here now: so the device is asked too. What
 * cannot be asked counts as yes.
 */
static bool is_on(const struct tcx_link_info *info, uint32_t ifindex)
{
	struct programs p;
	uint32_t id = 0;

	if (info->ifindex != ifindex)
		return false;
	if (info->type == LINK_TYPE_XDP)
		return bpf_xdp_query_id((int)ifindex, XDP_FLAGS_DRV_MODE, &id) ||
		       id == info->prog_id;
	int err = list_programs(ifindex, info->attach_type == TCX_EGRESS, &p);
	if (err)
		return err != -ENODEV;
	for (uint32_t i = 0; i < p.count; i++)
		if (p.id[i] == info->prog_id)
			return true;
	return false;
}

/*
 * Native XDP only: the generic kind runs when the skb exists already, which is
 * where from_vm does the same for less.
 */
static int create_xdp_link(int prog, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	int fd = bpf_link_create(prog, (int)ifindex, BPF_XDP, &opts);

	return fd < 0 ? -errno : fd;
}

/*
 * At the head of the hook: a gate behind a program that answers "accept" would be
 * none. Its own pass is TC_ACT_UNSPEC, so whoever follows sees every frame still.
 * libbpf 1.1 cannot say this, hence the system call.
 */
static int create_link(int prog, uint32_t ifindex, bool egress)
{
	struct tcx_link_create attr = {
		.prog_fd = (uint32_t)prog,
		.ifindex = ifindex,
		.attach_type = egress ? TCX_EGRESS : TCX_INGRESS,
		.flags = F_BEFORE,
	};
	int fd = (int)syscall(__NR_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));

	return fd < 0 ? -errno : fd;
}

/* Swaps the program of a pinned link. -ENOENT or -ENOLINK: there is none on this device. */
static int update_link(const char *path, uint32_t ifindex, bool egress, int prog)
{
	struct tcx_link_info info;
	int fd = bpf_obj_get(path), err;

	if (fd < 0)
		return -errno;
	err = link_info(fd, &info);
	if (!err && !is_on(&info, ifindex))
		err = -ENOLINK;
	if (!err && info.type == LINK_TYPE_TCX &&
	    info.attach_type != (egress ? TCX_EGRESS : TCX_INGRESS))
		err = -ENOLINK;
	if (!err && bpf_link_update(fd, prog, NULL) < 0)
		err = -errno;
	close(fd);
	return err;
}

int gate_tcx_put(const char *pin, uint32_t ifindex, enum gate_where where, bool egress, int prog)
{
	char path[GATE_PIN_PATH], fresh[GATE_PIN_PATH];
	int err = link_path(path, pin, ifindex, where);

	err = err ? err : gate_pins_path(fresh, "%s-new", path);
	if (err)
		return err;
	if (update_link(path, ifindex, egress, prog) == 0)
		return 0;

	int fd = where == GATE_EARLY_DROP ? create_xdp_link(prog, ifindex)
					  : create_link(prog, ifindex, egress);
	if (fd < 0)
		return fd;
	/* the rename takes a stale link's place in one step */
	unlink(fresh);
	if (bpf_obj_pin(fd, fresh) < 0 || rename(fresh, path) < 0)
		err = -errno;
	close(fd);
	return err;
}

int gate_tcx_check(const char *pin, uint32_t ifindex, enum gate_where where, uint32_t prog_id)
{
	char path[GATE_PIN_PATH];
	struct tcx_link_info info;
	int err = link_path(path, pin, ifindex, where);

	if (err)
		return err;
	int fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	err = link_info(fd, &info);
	close(fd);
	if (err)
		return err == -EINVAL ? 0 : err;
	return (!prog_id || info.prog_id == prog_id) && is_on(&info, ifindex);
}

bool gate_tcx_is_first(uint32_t ifindex, bool egress, uint32_t prog_id)
{
	struct programs p;

	return list_programs(ifindex, egress, &p) || !p.count || p.id[0] == prog_id;
}

int gate_tcx_remove(const char *pin, uint32_t ifindex, enum gate_where where)
{
	char path[GATE_PIN_PATH];
	int err = link_path(path, pin, ifindex, where);

	if (err)
		return err;
	int fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	/* who else holds the link must not keep it on the device; ENOLINK: it is off already */
	if (bpf_link_detach(fd) < 0 && errno != ENOLINK)
		err = -errno;
	close(fd);
	if (!err && unlink(path) < 0 && errno != ENOENT)
		err = -errno;
	return err ? err : 1;
}

/*
 * Attaching to a hook waits for a grace period of RCU, 10 ms of the kernel's time
 * that no thread of ours could share: it holds the RTNL. Expedited it takes 50 us.
 */
#define RCU_EXPEDITED "/sys/kernel/rcu_expedited"

static int set_expedited(char value)
{
	int fd = open(RCU_EXPEDITED, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int err = write(fd, &value, 1) == 1 ? 0 : -errno;
	close(fd);
	return err;
}

static bool is_expedited(void)
{
	char value = '0';
	int fd = open(RCU_EXPEDITED, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, &value, 1) != 1)
		value = '0';
	if (fd >= 0)
		close(fd);
	return value != '0';
}

void gate_tcx_hurry(const char *pin, bool on)
{
	char note[GATE_PIN_PATH];

	if (access(RCU_EXPEDITED, W_OK) < 0 || gate_pins_path(note, "%s/rcu-expedited", pin) < 0)
		return;
	if (!on) {
		if (access(note, F_OK) == 0 && !set_expedited('0'))
			rmdir(note);
	} else if (!is_expedited() && !gate_pins_mkdir(note) && set_expedited('1')) {
		rmdir(note);
	}
}

struct collect {
	const char *pin;
	int removed;
};

static int collect_link(void *arg, const char *name)
{
	struct collect *c = arg;
	char path[GATE_PIN_PATH], rest[32], dev[IF_NAMESIZE];
	struct tcx_link_info info;
	uint32_t ifindex;

	if (sscanf(name, "%u-%31s", &ifindex, rest) != 2 || !strcmp(rest, "qdisc") ||
	    gate_pins_path(path, "%s/links/%s", c->pin, name) < 0)
		return 0;
	int fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	/* "-new": a put that was cut short before its rename */
	const bool good = !link_info(fd, &info) && if_indextoname(ifindex, dev) &&
			  is_on(&info, ifindex) && !strstr(rest, "-new");
	if (!good) /* at once: to unpin it takes effect later */
		bpf_link_detach(fd);
	close(fd);
	if (good || unlink(path) < 0)
		return 0;
	c->removed++;
	return 0;
}

int gate_tcx_collect(const char *pin)
{
	struct collect c = { .pin = pin };
	char path[GATE_PIN_PATH];
	int err = gate_pins_path(path, "%s/links", pin);

	err = err ? err : gate_pins_list(path, collect_link, &c);
	return err ? err : c.removed;
}
