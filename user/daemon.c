// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
#include "daemon.h"
#include "attach.h"
#include "bpf.h"
#include "control.h"
#include "exporter.h"
#include "log.h"
#include "notify.h"
#include "ports.h"
#include "reload.h"
#include "rights.h"
#include "tick.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

enum { EXIT_FAILED = 1, EXIT_CONFIG = 2 };

/* On stderr for whoever started it, and in the journal by the same way. */
static int give_up(const struct gate_error *err)
{
	log_error("%s", err->message);
	sd_notifyf(0, "STATUS=%s", err->message);
	return err->code == GATE_ERR_USAGE ? EXIT_CONFIG : EXIT_FAILED;
}

static int on_stop(sd_event_source *s, const struct signalfd_siginfo *si, void *arg)
{
	log_info("stopping; the gate stays in place");
	sd_notify(0, "STOPPING=1");
	return sd_event_exit(sd_event_source_get_event(s), 0);
}

static int on_hangup(sd_event_source *s, const struct signalfd_siginfo *si, void *arg)
{
	gate_reload(arg);
	return 0;
}

static int prepare_signals(struct gate_daemon *d)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	sigset_t set;
	unsigned i;
	int r;

	sigemptyset(&set);
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		sigaddset(&set, numbers[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	r = sd_event_add_signal(d->loop, NULL, SIGTERM, on_stop, d);
	if (r >= 0)
		r = sd_event_add_signal(d->loop, NULL, SIGINT, on_stop, d);
	if (r >= 0)
		r = sd_event_add_signal(d->loop, NULL, SIGHUP, on_hangup, d);
	return r;
}

static int open_loop(struct gate_daemon *d, struct gate_error *err)
{
	int r;

	r = sd_event_default(&d->loop);
	if (r >= 0)
		r = prepare_signals(d);
	if (r >= 0)
		r = sd_event_set_watchdog(d->loop, true);
	if (r < 0)
		return gate_error_set(err, GATE_ERR_FAILED, "no event loop: %s", strerror(-r));
	return 0;
}

/* The gate: from here on ports are judged. */
static int open_gate(struct gate_daemon *d, struct gate_error *err)
{
	int r;

	r = gate_bpf_open(&d->bpf, d->config, err);
	if (!r)
		r = gate_engine_open(&d->engine, d->config, &d->bpf->maps, err);
	if (!r)
		r = gate_events_open(&d->events, d->loop, d->engine, &d->bpf->maps, err);
	if (!r)
		r = gate_attach_open(&d->attacher, d->bpf, d->config, err);
	if (!r)
		r = gate_ports_open(&d->ports, d->loop, d->attacher, d->engine, d->config, err);
	if (!r)
		r = gate_candidate_open(&d->candidate, d->engine, &d->bpf->maps,
					d->config->store_path, err);
	return r;
}

/* What people and machines see of it; answers only now that ports are attached. */
static int open_interfaces(struct gate_daemon *d, struct gate_error *err)
{
	struct gate_control_setup control = {
		.ev = d->loop,
		.engine = d->engine,
		.maps = &d->bpf->maps,
		.events = d->events,
		.candidate = d->candidate,
		.hook = gate_attach_hook(d->attacher),
	};
	struct gate_metrics_source metrics = {
		.engine = d->engine,
		.maps = &d->bpf->maps,
		.ports = gate_ports_stats(d->ports),
		.hook = gate_attach_hook(d->attacher),
	};
	int r;

	r = gate_notify_open(&d->notify, d->loop, d->events, d->config->notify_command, err);
	if (!r)
		r = gate_exporter_open(&d->exporter, d->loop, &metrics, d->config, err);
	if (!r)
		r = gate_tick_open(&d->tick, d->loop, d->engine, d->candidate, err);
	if (!r)
		r = gate_control_open(&d->control, &control, d->config, err);
	if (!r) {
		d->why = (struct gate_why){ .engine = d->engine,
					    .maps = &d->bpf->maps,
					    .from_vm = d->bpf->from_vm,
					    .dry_run_mark = d->bpf->dry_run_mark };
		gate_control_set_why(d->control, gate_why_answer, &d->why);
	}
	return r;
}

static void close_all(struct gate_daemon *d)
{
	gate_control_close(d->control);
	gate_tick_close(d->tick);
	gate_exporter_close(d->exporter);
	gate_notify_close(d->notify);
	gate_candidate_close(d->candidate);
	if (d->ports)
		gate_ports_close(d->ports);
	if (d->attacher)
		gate_attach_close(d->attacher);
	gate_events_close(d->events);
	if (d->engine)
		gate_engine_close(d->engine);
	if (d->bpf)
		gate_bpf_close(d->bpf);
	sd_event_unref(d->loop);
	if (d->config != d->first_config)
		gate_config_free(d->config);
	gate_config_free(d->first_config);
}

static int start(struct gate_daemon *d, struct gate_error *err)
{
	int r;

	r = gate_config_load(d->options.config, d->options.config_required, &d->config, err);
	if (r) {
		err->code = GATE_ERR_USAGE; /* unreadable or wrong: the same to whoever starts it */
		return r;
	}
	d->first_config = d->config;
	r = gate_control_probe(d->config->socket, err);
	if (!r)
		r = open_loop(d, err);
	if (!r)
		r = open_gate(d, err);
	if (!r)
		r = open_interfaces(d, err);
	if (!r)
		gate_rights_drop(d->bpf->maps.ports);
	return r;
}

int gate_daemon_run(const struct gate_daemon_options *o)
{
	struct gate_daemon d = { .options = *o };
	struct gate_error err = { 0 };
	int r;

	if (start(&d, &err)) {
		r = give_up(&err);
	} else {
		log_info("gate25d %s: the gate is in place (%s)", GATE_VERSION,
			 gate_attach_hook(d.attacher));
		sd_notify(0, "READY=1\nSTATUS=The gate is in place");
		r = sd_event_loop(d.loop) < 0 ? EXIT_FAILED : 0;
	}
	close_all(&d);
	return r;
}
