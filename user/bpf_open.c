// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Which maps the programs get: new ones, the pinned ones, or copies of those; see bpf.h. */
#include "attach_priv.h"
#include "bpf_priv.h"
#include "log.h"
#include "mem.h"
#include "pins.h"
#include "quiesce.h"
#include "upgrade.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAPS "maps"

/* ---- paths ---- */

static int abi_path(const struct gate_bpf *b, const char *rest, char *out)
{
	return gate_pins_path(out, "%s/abi%d/%s", b->pin, GATE_ABI, rest);
}

/* A directory that is not there yet, for maps that are not in force: not yet, or no longer. */
static int spare_path(const struct gate_bpf *b, char *out)
{
	int err = abi_path(b, MAPS "-old", out);

	for (unsigned i = 1; !err && access(out, F_OK) == 0; i++)
		err = gate_pins_path(out, "%s/abi%d/" MAPS "-old-%u", b->pin, GATE_ABI, i);
	return err;
}

static int make_abi(const struct gate_bpf *b)
{
	char abi[GATE_PIN_PATH];
	int err = gate_pins_path(abi, "%s/abi%d", b->pin, GATE_ABI);

	return err ? err : gate_pins_mkdir(abi);
}

/*
 * New maps take their place by one rename, and those that were there take theirs: a
 * crash leaves either the old or the new in force, and what is spare is known by name.
 */
static int install_maps(struct gate_bpf *b)
{
	char spare[GATE_PIN_PATH], maps[GATE_PIN_PATH];
	int err = make_abi(b);

	err = err ? err : spare_path(b, spare);
	err = err ? err : abi_path(b, MAPS, maps);
	err = err ? err : gate_bpf_pin_maps(b, spare);
	return err ? err : gate_pins_swap(spare, maps);
}

/* ---- every set that is pinned, of whatever ABI ---- */

struct sets {
	struct gate_bpf *b;
	char abi[GATE_PIN_PATH]; /* the directory being looked through */
	int (*each)(struct gate_bpf *b, const char *dir, bool spare, void *arg);
	void *arg;
};

static int visit_set(void *arg, const char *name)
{
	struct sets *s = arg;
	char dir[GATE_PIN_PATH];
	const bool spare = strcmp(name, MAPS) != 0;

	if (strncmp(name, MAPS, strlen(MAPS)) != 0)
		return 0;
	int err = gate_pins_path(dir, "%s/%s", s->abi, name);
	return err ? err : s->each(s->b, dir, spare, s->arg);
}

static int visit_abi(void *arg, const char *name)
{
	struct sets *s = arg;

	if (strncmp(name, "abi", 3) != 0)
		return 0;
	int err = gate_pins_path(s->abi, "%s/%s", s->b->pin, name);
	return err ? err : gate_pins_list(s->abi, visit_set, s);
}

/* Calls `each` for all sets but the one in our own place; spare: not in anybody's place. */
static int each_set(struct gate_bpf *b, int (*each)(struct gate_bpf *, const char *, bool, void *),
		    void *arg)
{
	struct sets s = { .b = b, .each = each, .arg = arg };

	return gate_pins_list(b->pin, visit_abi, &s);
}

static bool is_ours(const struct gate_bpf *b, const char *dir)
{
	char maps[GATE_PIN_PATH];

	return !abi_path(b, MAPS, maps) && !strcmp(dir, maps);
}

/* ---- what is still to be brought over ---- */

static uint64_t revision_of(const struct gate_upgrade *u)
{
	return gate_upgrade_conf(u)->revision;
}

/* The first one has the latest policy: that is what was in force before. */
static void add_source(struct gate_bpf *b, struct gate_upgrade *u)
{
	b->source = gate_realloc(b->source, b->nsources + 1, sizeof(struct gate_upgrade *));
	b->source[b->nsources++] = u;
	if (revision_of(u) <= revision_of(b->source[0]))
		return;
	b->source[b->nsources - 1] = b->source[0];
	b->source[0] = u;
}

/* Takes up one set that is not in force (any more) as a source. */
static int take_source(struct gate_bpf *b, const char *dir, bool spare, void *arg)
{
	struct gate_upgrade *u;

	if (is_ours(b, dir))
		return 0;
	int err = gate_upgrade_open(&u, dir);
	if (err == -EPROTO && spare)
		return gate_pins_remove(dir); /* cut short before it was whole */
	if (err == -EPROTO) {
		log_warning("the maps in %s are not understood and left where they are", dir);
		return 0;
	}
	if (err)
		return err;
	gate_upgrade_carry(u, &b->maps);
	add_source(b, u);
	return 0;
}

/* The programs on the maps of before lie beside them. */
static void take_programs_before(struct gate_bpf *b)
{
	char path[GATE_PIN_PATH];

	for (int i = 0; i < GATE_NBEFORE && b->nsources; i++)
		if (!gate_pins_path(path, "%s/%s", gate_upgrade_dir(b->source[0]),
				    gate_attach_where(i)))
			b->before[i] = bpf_obj_get(path);
}

/* ---- opening ---- */

static bool same_sizes(const struct gate_sizes *a, const struct gate_sizes *b)
{
	return !memcmp(a, b, sizeof(*a)); /* 32-bit words only, no padding */
}

static int fresh(struct gate_bpf *b, const struct gate_config *c, const struct gate_sizes *s)
{
	int err = gate_bpf_load(b, c, s, NULL, false);

	if (err)
		return err;
	gate_bpf_fill_conf(b, c, s);
	return install_maps(b);
}

/* Same sizes: new programs on the pinned maps. */
static int adopt(struct gate_bpf *b, const struct gate_config *c, const struct gate_sizes *s,
		 const struct gate_conf *conf)
{
	char dir[GATE_PIN_PATH];
	int err = gate_bpf_load(b, c, s, conf, true);

	if (!err)
		err = abi_path(b, MAPS, dir);
	if (!err)
		err = gate_bpf_pin_maps(b, dir);
	if (!err)
		gate_bpf_fill_conf(b, c, s);
	return err;
}

/* Other sizes or another layout: new maps with the content of the old. */
static int convert(struct gate_bpf *b, const struct gate_config *c, const struct gate_sizes *s,
		   const char *from)
{
	struct gate_upgrade *u;
	int err = gate_upgrade_open(&u, from);

	if (err)
		return err;
	err = gate_bpf_load(b, c, s, gate_upgrade_conf(u), false);
	if (!err) {
		gate_bpf_fill_conf(b, c, s);
		err = gate_upgrade_begin(u, &b->maps, c->grace_s);
	}
	gate_upgrade_close(u);
	if (!err)
		err = install_maps(b);
	if (!err)
		log_info("the maps are new: policy, identities and counters come from %s", from);
	return err;
}

/* Among the sets of other ABIs the one whose policy is the latest. */
struct search {
	char dir[GATE_PIN_PATH];
	uint64_t revision;
	int err;
};

static int compare_set(struct gate_bpf *b, const char *dir, bool spare, void *arg)
{
	struct search *found = arg;
	struct gate_upgrade *u;

	if (spare)
		return 0;
	int err = gate_upgrade_open(&u, dir);
	if (err) {
		found->err = err;
		return 0;
	}
	const uint64_t revision = revision_of(u);
	if (!*found->dir || revision > found->revision) {
		snprintf(found->dir, sizeof(found->dir), "%s", dir);
		found->revision = revision;
	}
	gate_upgrade_close(u);
	return 0;
}

static int fresh_or_convert(struct gate_bpf *b, const struct gate_config *c,
			    const struct gate_sizes *s)
{
	struct search found = { 0 };
	int err = each_set(b, compare_set, &found);

	if (!err && !*found.dir && found.err)
		err = found.err; /* a gate is there that this version does not understand */
	if (err)
		return err;
	b->adopted = *found.dir != '\0';
	return b->adopted ? convert(b, c, s, found.dir) : fresh(b, c, s);
}

static int open_maps(struct gate_bpf *b, const struct gate_config *c, const struct gate_sizes *s)
{
	char dir[GATE_PIN_PATH];
	struct gate_conf conf;
	struct gate_sizes have;
	int err = abi_path(b, MAPS, dir);

	if (!err)
		err = gate_maps_read_conf(dir, &conf);
	if (err == -ENOENT) {
		err = fresh_or_convert(b, c, s);
	} else if (!err) {
		b->adopted = true;
		gate_sizes_from_conf(&conf, &have);
		err = same_sizes(&have, s) ? adopt(b, c, s, &conf) : -EPROTO;
		if (err == -EPROTO) /* they differ, or one of the maps is made otherwise */
			err = convert(b, c, s, dir);
	}
	return err ? err : each_set(b, take_source, NULL);
}

static int open_failed(const struct gate_bpf *b, const struct gate_sizes *s, int r,
		       struct gate_error *err)
{
	switch (r) {
	case -EPROTO:
		return gate_error_set(err, GATE_ERR_FAILED,
				      "this version (ABI %d) cannot take over the maps pinned in "
				      "%s; the gate stays as it is: run the version that made it, "
				      "or take it off with `gate25 detach --yes`",
				      GATE_ABI, b->pin);
	case -ENOSPC:
		return gate_error_set(err, GATE_ERR_FAILED,
				      "the policy in force does not fit into the new sizes: raise "
				      "max_vms, max_tenants or max_overrides");
	case -EROFS:
		return gate_error_set(
			err, GATE_ERR_FAILED,
			"the BPF file system of the pin directory %s is read-only; the "
			"gate stays as it is",
			b->pin);
	default:
		return gate_bpf_load_failed(s, r, err);
	}
}

int gate_bpf_open(struct gate_bpf **out, const struct gate_config *c, struct gate_error *err)
{
	struct gate_sizes s;

	gate_bpf_hear_libbpf();
	gate_sizes_from_config(c, &s);
	if (gate_sizes_check(&s) < 0)
		return gate_bpf_load_failed(&s, -E2BIG, err);
	struct gate_bpf *b = calloc(1, sizeof(*b));
	if (!b)
		return gate_error_set(err, GATE_ERR_FAILED, "out of memory");
	gate_maps_init(&b->maps);
	b->from_vm = b->to_vm = b->uplink_out = b->early_drop = b->lock = -1;
	memset(b->before, 0xff, sizeof(b->before));
	int r = gate_pins_open(c->pin, &b->lock, err);
	if (r)
		goto fail;
	snprintf(b->pin, sizeof(b->pin), "%s", c->pin);
	r = gate_attach_choose(c, &b->tcx, err);
	if (r)
		goto fail;

	r = open_maps(b, c, &s);
	r = r ? r : gate_bpf_load_early(b, c);
	r = r ? r : gate_bpf_pin_programs(b);
	take_programs_before(b);
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

/* ---- the end of an upgrade ---- */

static int note_set(void *arg, const char *name)
{
	return strncmp(name, MAPS, strlen(MAPS)) == 0; /* one is enough */
}

/* The directory of another ABI without maps holds at most programs, which are off. */
static int drop_abi(void *arg, const char *name)
{
	const struct gate_bpf *b = arg;
	char abi[GATE_PIN_PATH], ours[16];

	snprintf(ours, sizeof(ours), "abi%d", GATE_ABI);
	if (strncmp(name, "abi", 3) != 0 || !strcmp(name, ours))
		return 0;
	int err = gate_pins_path(abi, "%s/%s", b->pin, name);
	if (err || gate_pins_list(abi, note_set, NULL))
		return err;
	return gate_pins_remove(abi);
}

bool gate_bpf_upgrades(const struct gate_bpf *b)
{
	return b->nsources > 0;
}

void gate_bpf_carry(struct gate_bpf *b, uint32_t slot)
{
	for (unsigned i = 0; i < b->nsources; i++) {
		if (slot == GATE_SLOT_ANY)
			gate_upgrade_carry(b->source[i], &b->maps);
		else
			gate_upgrade_carry_vm(b->source[i], &b->maps, slot);
	}
}

bool gate_bpf_can_roll_back(const struct gate_bpf *b)
{
	bool all = b->nsources > 0;

	for (int i = 0; i < GATE_NBEFORE; i++)
		all &= b->before[i] >= 0;
	return all;
}

void gate_bpf_call_off(struct gate_bpf *b, uint32_t grace_s)
{
	for (unsigned i = 0; i < b->nsources; i++)
		gate_upgrade_call_off(b->source[i], grace_s);
}

int gate_bpf_roll_back(struct gate_bpf *b)
{
	const char *dir = gate_upgrade_dir(b->source[0]);
	char maps[GATE_PIN_PATH], spare[GATE_PIN_PATH];
	int err = abi_path(b, MAPS, maps);

	err = err ? err : gate_pins_path(spare, "%s-", maps);
	/* those of another ABI have never left their place */
	if (err || strncmp(dir, spare, strlen(spare)) != 0)
		return err;
	err = gate_pins_swap(dir, maps);
	if (!err)
		b->maps.conf->revision = 0; /* only counts and flows are to be had from it */
	return err;
}

void gate_bpf_settle(struct gate_bpf *b)
{
	int err = 0;

	if (!b->nsources)
		return;
	gate_quiesce(); /* a program that was swapped may still be at work on a frame */
	for (unsigned i = 0; i < b->nsources; i++) {
		gate_upgrade_finish(b->source[i], &b->maps);
		int r = gate_pins_remove(gate_upgrade_dir(b->source[i]));
		err = err ? err : r;
		gate_upgrade_close(b->source[i]);
	}
	b->nsources = 0;
	int r = gate_pins_list(b->pin, drop_abi, b);
	err = err ? err : r;
	if (err)
		log_error("cannot remove the maps of before the upgrade in %s: %s", b->pin,
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
	for (unsigned i = 0; i < b->nsources; i++)
		gate_upgrade_close(b->source[i]);
	free(b->source);
	for (int i = 0; i < GATE_NBEFORE; i++)
		if (b->before[i] >= 0)
			close(b->before[i]);
	gate_bpf_unload(b);
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
