/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Configuration: INI read with inih, one option table drives parsing, --check-config
 * and the man page. Unknown sections and keys are errors with file and line.
 */
#ifndef GATE25_CONFIG_H
#define GATE25_CONFIG_H

#include "error.h"
#include "model.h"

enum gate_hook { GATE_HOOK_AUTO, GATE_HOOK_TCX, GATE_HOOK_TC };
enum gate_early_drop { GATE_EARLY_OFF, GATE_EARLY_ON, GATE_EARLY_AUTO };
enum gate_per_vm { GATE_PER_VM_NONZERO, GATE_PER_VM_ALL, GATE_PER_VM_OFF };

struct gate_globs {
	char **pattern;
	unsigned count;
};

struct gate_config {
	/* [gate] */
	uint16_t ports[GATE_MAX_PORTS];
	unsigned nports;
	struct gate_globs bridges, uplinks, vm_ports; /* uplinks, vm_ports: "auto" = count 0 */
	enum gate_hook hook;
	bool enforce;
	enum gate_binding binding;
	bool backstop;
	bool uplink_mode; /* mode = ports|uplink (our addition) */
	enum gate_early_drop early_drop;
	uint32_t max_vms, max_tenants, max_overrides, flows_per_vm;
	uint32_t stamp, stamp_mask; /* "mark:0x25/0xff", mask 0 = none */
	bool forward_drop;	    /* forwarded = pass|default */
	bool to_vm;		    /* to_vm = yes|no (our addition; legacy hook: off unless yes) */
	bool to_vm_set;
	uint32_t grace_s; /* our addition, default GATE_GRACE_S */
	/* [default] */
	struct gate_policy_spec policy;
	/* [refuse] */
	enum gate_refuse refuse[GATE_STATE_MAX]; /* by state: LIMIT, BLOCK */
	enum gate_refuse refuse_quarantine;
	/* [exempt] */
	struct gate_prefix *exempt;
	unsigned nexempt;
	/* [metrics] */
	char *listen; /* "" = none */
	enum gate_per_vm per_vm;
	char *textfile;
	/* [control] */
	char *socket, *group, *readers, *contact;
	/* [store], [bpf], [notify] */
	char *store_path, *pin, *notify_command;
};

#define GATE_DEFAULT_CONFIG "/etc/gate25/gate25.conf"

/* Row i of the option table, NULL behind the last. Valid until the next call. */
struct gate_config_option {
	const char *section, *key;
	const char *expects; /* what a value must be, in words */
};
const struct gate_config_option *gate_config_option(unsigned i);

/*
 * Reads `path` and conf.d beside it (*.conf, sorted). On failure err holds one
 * sentence with file and line, *out is untouched. A missing default file gives
 * the defaults; a missing file that was asked for is an error.
 */
int gate_config_load(const char *path, bool required, struct gate_config **out,
		     struct gate_error *err);
void gate_config_free(struct gate_config *c);

#endif
