// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "reload.h"
#include "control.h"
#include "exporter.h"
#include "log.h"
#include "notify.h"
#include "ports.h"

#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

static bool same(const char *a, const char *b)
{
	return !strcmp(a ? a : "", b ? b : "");
}

/* Names what cannot change while the daemon runs, NULL = nothing of it did. */
static const char *needs_restart(const struct gate_config *a, const struct gate_config *b)
{
	if (a->nports != b->nports || memcmp(a->ports, b->ports, sizeof(a->ports)) != 0)
		return "ports";
	if (a->max_vms != b->max_vms || a->max_tenants != b->max_tenants ||
	    a->max_overrides != b->max_overrides || a->flows_per_vm != b->flows_per_vm)
		return "max_vms, max_tenants, max_overrides and flows_per_vm";
	if (a->hook != b->hook || a->uplink_mode != b->uplink_mode || a->stamp != b->stamp ||
	    a->stamp_mask != b->stamp_mask || a->to_vm != b->to_vm ||
	    a->early_drop != b->early_drop)
		return "hook, mode, stamp, to_vm and early_drop";
	if (!same(a->pin, b->pin) || !same(a->store_path, b->store_path) ||
	    !same(a->socket, b->socket))
		return "the paths of socket, store and pin";
	return NULL;
}

/* All parts take over the new configuration or all keep the old. */
static int take_over(struct gate_daemon *d, const struct gate_config *c, struct gate_error *err)
{
	struct gate_error ignored;
	int r;

	r = gate_engine_reconfigure(d->engine, c, err);
	if (r)
		return r;
	r = gate_ports_reconfigure(d->ports, c, err);
	if (!r)
		r = gate_control_reconfigure(d->control, c, err);
	if (r) {
		gate_engine_reconfigure(d->engine, d->config, &ignored);
		gate_ports_reconfigure(d->ports, d->config, &ignored);
		gate_control_reconfigure(d->control, d->config, &ignored);
		return r;
	}
	if (gate_notify_set_command(d->notify, c->notify_command) ||
	    gate_exporter_reconfigure(d->exporter, c))
		log_warning("reload: out of memory, notifications and metrics stay as they were");
	return 0;
}

static int reload(struct gate_daemon *d, struct gate_error *err)
{
	struct gate_config *c = NULL;
	const char *fixed;
	int r;

	r = gate_config_load(d->options.config, d->options.config_required, &c, err);
	if (r)
		return r;
	fixed = needs_restart(d->first_config, c);
	if (fixed) {
		gate_config_free(c);
		return gate_error_set(err, GATE_ERR_USAGE,
				      "a change of %s needs a restart of gate25d", fixed);
	}
	r = take_over(d, c, err);
	if (r) {
		gate_config_free(c);
		return r;
	}
	if (d->config != d->first_config)
		gate_config_free(d->config);
	d->config = c;
	return 0;
}

void gate_reload(struct gate_daemon *d)
{
	struct gate_error err;
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
		   (unsigned long long)t.tv_sec * 1000000ULL +
			   (unsigned long long)t.tv_nsec / 1000ULL);
	if (reload(d, &err)) { /* goes to the log as well */
		gate_engine_problem_set(d->engine, "config", "reload",
					"the old configuration stays in force: %s", err.message);
	} else {
		log_info("the configuration was read again");
		gate_engine_problem_clear(d->engine, "config", "reload");
	}
	sd_notify(0, "READY=1");
}
