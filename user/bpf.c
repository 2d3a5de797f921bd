// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Loads the programs on new or adopted maps; see bpf.h. */
#include "bpf.h"
#include "attach_priv.h"
#include "bpf_maps.h"
#include "log.h"
#include "pins.h"
#include "upgrade.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "early.skel.h"
#include "gate25.skel.h"

/* One level down: what libbpf warns of is told again by us where it matters. */
static int print_libbpf(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[1024];

	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	gate_log(level == LIBBPF_WARN ? LOG_INFO : LOG_DEBUG, "%s", line);
	return 0;
}

/* ---- paths ---- */

static int abi_path(const struct gate_bpf *b, const char *rest, char *out)
{
	return gate_pins_path(out, "%s/abi%d/%s", b->pin, GATE_ABI, rest);
}

/* ---- errors ---- */

static int load_failed(const struct gate_sizes *s, int r, struct gate_error *err)
{
	struct utsname un;

	switch (-r) {
	case EPERM:
	case EACCES:
		return gate_error_set(
			err, GATE_ERR_DENIED,
			"not permitted to load BPF programs: gate25d needs the "
			"capabilities CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN (or root)");
	case ENOMEM:
	case E2BIG:
		return gate_error_set(
			err, GATE_ERR_FAILED,
			"no memory for the maps: max_vms = %u with flows_per_vm = %u, max_tenants "
			"= %u and max_overrides = %u take about %llu MB of kernel memory",
			s->max_vms, s->flow_sets * GATE_FLOW_WAYS, s->max_tenants, s->max_overrides,
			(unsigned long long)(gate_sizes_bytes(s) >> 20));
	default:
		uname(&un);
		return gate_error_set(err, GATE_ERR_FAILED,
				      "the kernel (%s) refuses the BPF programs: %s; gate25 needs "
				      "Linux 5.15 or later with CONFIG_BPF_SYSCALL and "
				      "CONFIG_NET_CLS_BPF",
				      un.release, strerror(-r));
	}
}

/* ---- maps ---- */

static int set_sizes(struct gate25_bpf *skel, const struct gate_sizes *s)
{
	for (size_t i = 0; i < GATE_NMAPS; i++) {
		const struct gate_map_desc *d = &gate_map_desc[i];
		struct bpf_map *map = bpf_object__find_map_by_name(skel->obj, d->name);
		if (!map)
			return -ENOENT;
		int err = d->entries ? bpf_map__set_max_entries(map, d->entries(s)) : 0;
		if (err)
			return err;
	}
	return 0;
}

static bool same_layout(const struct bpf_map *map, int fd)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	return !bpf_obj_get_info_by_fd(fd, &info, &len) && info.type == bpf_map__type(map) &&
	       info.key_size == bpf_map__key_size(map) &&
	       info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map) &&
	       info.map_flags == bpf_map__map_flags(map);
}

/*
 * Hands the pinned maps to libbpf. A map that is missing (a newer version has
 * one more) will be made and pinned. -EPROTO: one of them has another layout.
 */
static int reuse_maps(struct gate_bpf *b)
{
	char path[GATE_PIN_PATH];
	int err = 0;

	for (size_t i = 0; i < GATE_NMAPS && !err; i++) {
		const char *name = gate_map_desc[i].name;
		struct bpf_map *map = bpf_object__find_map_by_name(b->skel->obj, name);
		err = gate_pins_path(path, "%s/abi%d/maps/%s", b->pin, GATE_ABI, name);
		if (err)
			break;
		int fd = bpf_obj_get(path);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			return -errno;
		err = same_layout(map, fd) ? bpf_map__reuse_fd(map, fd) : -EPROTO;
		close(fd);
	}
	return err;
}

/* Pins the maps that have no pin yet below `dir`, which may be new. */
static int pin_maps(struct gate_bpf *b, const char *dir)
{
	char path[GATE_PIN_PATH];
	int err = gate_pins_mkdir(dir);

	for (size_t i = 0; i < GATE_NMAPS && !err; i++) {
		const char *name = gate_map_desc[i].name;
		struct bpf_map *map = bpf_object__find_map_by_name(b->skel->obj, name);
		err = gate_pins_path(path, "%s/%s", dir, name);
		if (!err && bpf_obj_pin(bpf_map__fd(map), path) < 0 && errno != EEXIST)
			err = -errno;
	}
	return err;
}

static int map_maps(struct gate_bpf *b, const struct gate_sizes *s)
{
	int err = 0;

	for (size_t i = 0; i < GATE_NMAPS && !err; i++) {
		const struct gate_map_desc *d = &gate_map_desc[i];
		struct bpf_map *map = bpf_object__find_map_by_name(b->skel->obj, d->name);
		err = gate_maps_add(&b->maps, d, bpf_map__fd(map), d->array ? s : NULL);
	}
	if (err)
		return err;
	gate_maps_count(&b->maps, s);
	b->maps.ncpus = libbpf_num_possible_cpus();
	return b->maps.ncpus < 0 ? b->maps.ncpus : 0;
}

/* ---- programs ---- */

static int fill_params(struct gate_bpf *b, const struct gate_config *c, const struct gate_sizes *s,
		       const struct gate_conf *seeds)
{
	struct gate_params p = {
		.nports = c->nports,
		.scopes = s->scopes,
		.max_vms = s->max_vms,
		.max_tenants = s->max_tenants,
		.flow_sets = s->flow_sets,
		.dest_sets = s->dest_sets,
		/* tcx links are proof enough; the mark stays the operator's there */
		.stamp = b->tcx ? 0 : c->stamp,
		.stamp_mask = b->tcx ? 0 : c->stamp_mask,
		.uplink_mode = c->uplink_mode,
	};

	for (unsigned i = 0; i < GATE_MAX_PORTS; i++)
		p.ports[i] = c->ports[i < c->nports ? i : 0];
	if (getrandom(p.seed, sizeof(p.seed), 0) != sizeof(p.seed) ||
	    getrandom(&p.dry_run_mark, sizeof(p.dry_run_mark), 0) != sizeof(p.dry_run_mark))
		return -EIO;
	p.dry_run_mark |= 1;
	for (unsigned i = 0; seeds && i < sizeof(p.seed) / sizeof(p.seed[0]); i++)
		p.seed[i] = (uint32_t)seeds->seed[i];

	memcpy((void *)&b->skel->rodata->params, &p, sizeof(p));
	b->dry_run_mark = p.dry_run_mark;
	b->stamped = p.stamp_mask != 0;
	return 0;
}

/* What the sizes and ports are, for whoever adopts the maps. Flags are the engine's. */
static void fill_conf(struct gate_bpf *b, const struct gate_config *c, const struct gate_sizes *s)
{
	struct gate_conf *conf = b->maps.conf;

	conf->abi = GATE_ABI;
	conf->max_vms = s->max_vms;
	conf->max_tenants = s->max_tenants;
	conf->max_overrides = s->max_overrides;
	conf->max_budgets = s->max_budgets;
	conf->flow_sets = s->flow_sets;
	conf->dest_sets = s->dest_sets;
	conf->nports = s->nports;
	memset(conf->ports, 0, sizeof(conf->ports));
	memcpy(conf->ports, c->ports, c->nports * sizeof(c->ports[0]));
	for (size_t i = 0; i < sizeof(conf->seed) / sizeof(conf->seed[0]); i++)
		conf->seed[i] = b->skel->rodata->params.seed[i];
}

/* Pins the programs, so that who looks finds them; a program is replaced by a rename. */
static int pin_programs(struct gate_bpf *b)
{
	const struct {
		const char *name;
		int fd;
	} prog[] = { { "from_vm", b->from_vm },
		     { "to_vm", b->to_vm },
		     { "uplink_out", b->uplink_out } };
	char path[GATE_PIN_PATH], fresh[GATE_PIN_PATH];
	int err = abi_path(b, "progs", path);

	err = err ? err : gate_pins_mkdir(path);
	for (int i = 0; i < 3 && !err; i++) {
		err = gate_pins_path(path, "%s/abi%d/progs/%s", b->pin, GATE_ABI, prog[i].name);
		err = err ? err
			  : gate_pins_path(fresh, "%s/abi%d/progs/%s-new", b->pin, GATE_ABI,
					   prog[i].name);
		if (err)
			break;
		unlink(fresh);
		if (bpf_obj_pin(prog[i].fd, fresh) < 0 || rename(fresh, path) < 0)
			err = -errno;
	}
	return err;
}

static int take_program(struct gate_bpf *b, const struct bpf_program *prog, int i, int *fd)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	*fd = bpf_program__fd(prog);
	if (bpf_obj_get_info_by_fd(*fd, &info, &len) < 0)
		return -errno;
	memcpy(b->tag[i], info.tag, sizeof(b->tag[i]));
	b->id[i] = info.id;
	return 0;
}

static int take_programs(struct gate_bpf *b)
{
	const struct bpf_program *prog[] = { b->skel->progs.g25_from_vm, b->skel->progs.g25_to_vm,
					     b->skel->progs.g25_uplink_out };
	int *const fd[] = { &b->from_vm, &b->to_vm, &b->uplink_out };

	int err = 0;

	for (int i = 0; i < 3 && !err; i++)
		err = take_program(b, prog[i], i, fd[i]);
	return err;
}

/*
 * Early drop runs on the same maps. It is an economy, not the gate: where it does
 * not load the gate goes on without it, and says so.
 */
static int load_early(struct gate_bpf *b, const struct gate_config *c)
{
	struct bpf_map *map;
	int err = 0;

	if (c->early_drop == GATE_EARLY_OFF)
		return 0;
	b->early = early_bpf__open();
	if (!b->early)
		return -errno;
	memcpy((void *)&b->early->rodata->params, (const void *)&b->skel->rodata->params,
	       sizeof(b->early->rodata->params));
	bpf_object__for_each_map(map, b->early->obj)
	{
		struct bpf_map *shared =
			bpf_object__find_map_by_name(b->skel->obj, bpf_map__name(map));
		if (shared && !bpf_map__is_internal(map) && !err)
			err = bpf_map__reuse_fd(map, bpf_map__fd(shared));
	}
	err = err ? err : early_bpf__load(b->early);
	if (err) {
		log_warning("early_drop is left out: the kernel refuses the program: %s",
			    strerror(-err));
		return 0;
	}
	return take_program(b, b->early->progs.g25_early_drop, GATE_EARLY_DROP, &b->early_drop);
}

/* ---- opening ---- */

static bool same_sizes(const struct gate_sizes *a, const struct gate_sizes *b)
{
	return !memcmp(a, b, sizeof(*a)); /* 32-bit words only, no padding */
}

/* Opens and loads the skeleton, on the pinned maps when `reuse`. */
static int load(struct gate_bpf *b, const struct gate_config *c, const struct gate_sizes *s,
		const struct gate_conf *seeds, bool reuse)
{
	gate25_bpf__destroy(b->skel);
	b->skel = gate25_bpf__open();
	if (!b->skel)
		return -errno;
	int err = set_sizes(b->skel, s);
	if (!err && reuse)
		err = reuse_maps(b);
	if (!err)
		err = fill_params(b, c, s, seeds);
	if (!err)
		err = gate25_bpf__load(b->skel);
	if (!err)
		err = take_programs(b);
	return err ? err : map_maps(b, s);
}

/* New maps go in by one rename: a crash leaves either none of them or all. */
static int install_maps(struct gate_bpf *b)
{
	char fresh[GATE_PIN_PATH], maps[GATE_PIN_PATH], old[GATE_PIN_PATH];
	int err = abi_path(b, "maps-new", fresh);

	err = err ? err : abi_path(b, "maps", maps);
	err = err ? err : abi_path(b, "maps-old", old);
	err = err ? err : gate_pins_remove(fresh);
	err = err ? err : pin_maps(b, fresh);
	err = err ? err : gate_pins_remove(old);
	err = err ? err : gate_pins_swap(fresh, maps);
	if (!err && b->upgrade && rename(fresh, old) < 0)
		err = -errno;
	return err;
}

/* Other sizes: new maps with the content of the old. */
static int resize(struct gate_bpf *b, const struct gate_config *c, const struct gate_sizes *s)
{
	int err = load(b, c, s, gate_upgrade_conf(b->upgrade), false);

	if (err)
		return err;
	fill_conf(b, c, s);
	err = gate_upgrade_begin(b->upgrade, &b->maps, c->grace_s);
	if (!err)
		err = install_maps(b);
	if (!err)
		log_info("the maps have new sizes: policy, identities and counters were copied");
	return err;
}

static int fresh(struct gate_bpf *b, const struct gate_config *c, const struct gate_sizes *s)
{
	int err = load(b, c, s, NULL, false);

	if (err)
		return err;
	fill_conf(b, c, s);
	return install_maps(b);
}

/* Same sizes: new programs on the pinned maps. */
static int adopt(struct gate_bpf *b, const struct gate_config *c, const struct gate_sizes *s,
		 const struct gate_conf *conf)
{
	char dir[GATE_PIN_PATH];
	int err = load(b, c, s, conf, true);

	if (!err)
		err = abi_path(b, "maps", dir);
	if (!err)
		err = pin_maps(b, dir);
	if (!err)
		fill_conf(b, c, s);
	return err;
}

/* Takes up an earlier upgrade that was cut short: brings its rest over to `to`. */
static int resume_upgrade(struct gate_bpf *b, struct gate_maps *to, struct gate_upgrade **out)
{
	char old[GATE_PIN_PATH];
	struct gate_upgrade *u;
	int err = abi_path(b, "maps-old", old);

	if (!err)
		err = gate_upgrade_open(&u, old);
	if (err)
		return err == -ENOENT ? 0 : err;
	gate_upgrade_finish(u, to);
	*out = u;
	return 0;
}

static int adopt_or_resize(struct gate_bpf *b, const struct gate_config *c,
			   const struct gate_sizes *s, const struct gate_conf *conf)
{
	struct gate_upgrade *earlier = NULL;
	char dir[GATE_PIN_PATH];
	struct gate_sizes have;

	b->adopted = true;
	gate_sizes_from_conf(conf, &have);
	if (same_sizes(&have, s)) {
		int err = adopt(b, c, s, conf);
		return err ? err : resume_upgrade(b, &b->maps, &b->upgrade);
	}
	int err = abi_path(b, "maps", dir);
	err = err ? err : gate_upgrade_open(&b->upgrade, dir);
	err = err ? err : resume_upgrade(b, gate_upgrade_maps(b->upgrade), &earlier);
	gate_upgrade_close(earlier);
	return err ? err : resize(b, c, s);
}

static int open_maps(struct gate_bpf *b, const struct gate_config *c, const struct gate_sizes *s)
{
	char dir[GATE_PIN_PATH];
	struct gate_conf conf;
	int err = abi_path(b, "maps", dir);

	if (!err)
		err = gate_maps_read_conf(dir, &conf);
	if (err)
		return err == -ENOENT ? fresh(b, c, s) : err;
	return adopt_or_resize(b, c, s, &conf);
}

static int open_failed(const struct gate_bpf *b, const struct gate_sizes *s, int r,
		       struct gate_error *err)
{
	switch (r) {
	case -EPROTO:
		return gate_error_set(err, GATE_ERR_FAILED,
				      "the maps pinned in %s/abi%d are not this version's: `gate25 "
				      "detach --yes` removes them, and the gate with them",
				      b->pin, GATE_ABI);
	case -ENOSPC:
		return gate_error_set(err, GATE_ERR_FAILED,
				      "the policy in force does not fit into the new sizes: raise "
				      "max_vms, max_tenants or max_overrides");
	default:
		return load_failed(s, r, err);
	}
}

int gate_bpf_open(struct gate_bpf **out, const struct gate_config *c, struct gate_error *err)
{
	char abi[GATE_PIN_PATH];
	struct gate_sizes s;

	libbpf_set_print(print_libbpf);
	gate_sizes_from_config(c, &s);
	if (gate_sizes_check(&s) < 0)
		return load_failed(&s, -E2BIG, err);
	struct gate_bpf *b = calloc(1, sizeof(*b));
	if (!b)
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	gate_maps_init(&b->maps);
	b->from_vm = b->to_vm = b->uplink_out = b->early_drop = b->lock = -1;
	int r = gate_pins_open(c->pin, &b->lock, err);
	if (r)
		goto fail;
	snprintf(b->pin, sizeof(b->pin), "%s", c->pin);
	r = gate_attach_choose(c, &b->tcx, err);
	if (r)
		goto fail;

	r = gate_pins_path(abi, "%s/abi%d", b->pin, GATE_ABI);
	r = r ? r : gate_pins_mkdir(abi);
	r = r ? r : open_maps(b, c, &s);
	r = r ? r : load_early(b, c);
	r = r ? r : pin_programs(b);
	if (r) {
		r = open_failed(b, &s, r, err);
		goto fail;
	}
	*out = b;
	return 0;
fail:
	gate_bpf_close(b);
	return r;
}

void gate_bpf_settle(struct gate_bpf *b)
{
	char old[GATE_PIN_PATH];

	if (!b->upgrade)
		return;
	gate_upgrade_finish(b->upgrade, &b->maps);
	gate_upgrade_close(b->upgrade);
	b->upgrade = NULL;
	int err = abi_path(b, "maps-old", old);
	err = err ? err : gate_pins_remove(old);
	if (err)
		log_warning("cannot remove the maps of before the upgrade in %s: %s", b->pin,
			    strerror(-err));
}

void gate_bpf_close(struct gate_bpf *b)
{
	struct gate_sizes s = { 0 };

	if (!b)
		return;
	if (b->maps.conf)
		gate_sizes_from_conf(b->maps.conf, &s);
	gate_maps_close(&b->maps, &s);
	gate_upgrade_close(b->upgrade);
	early_bpf__destroy(b->early);
	gate25_bpf__destroy(b->skel);
	if (b->lock >= 0)
		close(b->lock);
	free(b);
}

static int unpin_entry(void *arg, const char *name)
{
	char path[GATE_PIN_PATH];

	if (strncmp(name, "abi", 3) && strcmp(name, "links") && strcmp(name, "rcu-expedited"))
		return 0;
	int err = gate_pins_path(path, "%s/%s", (const char *)arg, name);
	return err ? err : gate_pins_remove(path);
}

int gate_bpf_unpin_all(const char *pin, struct gate_error *err)
{
	int r = gate_pins_list(pin, unpin_entry, (void *)pin);

	if (r)
		return gate_error_set(err, GATE_ERR_FAILED, "cannot remove the pins in %s: %s", pin,
				      strerror(-r));
	/* the mount point of a BPF file system of its own stays */
	rmdir(pin);
	return 0;
}
