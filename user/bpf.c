// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Loads the programs on new or adopted maps; see bpf.h. */
#include "bpf.h"
#include "attach_priv.h"
#include "bpf_priv.h"
#include "layout.h"
#include "log.h"
#include "pins.h"

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

int gate_bpf_load_failed(const struct gate_sizes *s, int r, struct gate_error *err)
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

int gate_bpf_pin_maps(struct gate_bpf *b, const char *dir)
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
	return err ? err : gate_layout_pin(dir);
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

void gate_bpf_fill_conf(struct gate_bpf *b, const struct gate_config *c, const struct gate_sizes *s)
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

/* A program is replaced by a rename. */
int gate_bpf_pin_programs(struct gate_bpf *b)
{
	const int prog[] = { b->from_vm, b->to_vm, b->uplink_out };
	char path[GATE_PIN_PATH], fresh[GATE_PIN_PATH];
	int err = 0;

	for (int i = 0; i < GATE_NBEFORE && !err; i++) {
		err = abi_path(b, "maps/", path);
		strncat(path, gate_attach_where(i), sizeof(path) - strlen(path) - 1);
		err = err ? err : gate_pins_path(fresh, "%s-new", path);
		if (err)
			break;
		unlink(fresh);
		if (bpf_obj_pin(prog[i], fresh) < 0 || rename(fresh, path) < 0)
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
int gate_bpf_load_early(struct gate_bpf *b, const struct gate_config *c)
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

/* ---- all of it ---- */

/*
 * A kernel function that this kernel does not have (bpf/csum.h) libbpf looks for in the
 * modules as well. To list these takes CAP_SYS_ADMIN, and before 1.2 it gives up where
 * that is missing, though the function may be. It lists them once for each object: here,
 * for a name that nobody has, where nothing hangs on it.
 */
static void have_modules_listed(struct gate25_bpf *skel)
{
	libbpf_print_fn_t print = libbpf_set_print(NULL);

	bpf_program__set_attach_target(skel->progs.g25_from_vm, 0, "gate25:none");
	libbpf_set_print(print);
}

int gate_bpf_load(struct gate_bpf *b, const struct gate_config *c, const struct gate_sizes *s,
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
	have_modules_listed(b->skel);
	if (!err)
		err = gate25_bpf__load(b->skel);
	if (!err)
		err = take_programs(b);
	return err ? err : map_maps(b, s);
}

void gate_bpf_hear_libbpf(void)
{
	libbpf_set_print(print_libbpf);
}

void gate_bpf_unload(struct gate_bpf *b)
{
	early_bpf__destroy(b->early);
	gate25_bpf__destroy(b->skel);
}
