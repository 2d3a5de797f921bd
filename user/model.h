/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The policy model: what staff have decided, in memory. Pure: no kernel, no
 * file, no clock but the `now` that is handed in. sync.c puts it into the maps,
 * store.c keeps it, engine.c joins the three.
 */
#ifndef GATE25_MODEL_H
#define GATE25_MODEL_H

#include "error.h"
#include "parse.h"

/* Keys of a limit; what is 0 comes from [default] and means "no such limit" there. */
struct gate_limits {
	struct gate_rate_spec rates[GATE_MAX_RATES];
	unsigned nrates;
	uint32_t burst;
	uint32_t concurrent;
	struct gate_rate_spec destinations;
};

#define GATE_REFUSE_UNSET (-1)

/* One own policy of a subject in one scope. */
struct gate_policy_spec {
	enum gate_state state; /* GATE_INHERIT = none */
	int refuse; /* enum gate_refuse or GATE_REFUSE_UNSET */
	bool drain;
	struct gate_limits limits;
	int64_t expires; /* Unix s, 0 = never */
	int64_t since; /* Unix s */
	char reason[256]; /* "" = none; longer than 255 bytes is refused */
	char by[64]; /* actor, "" = configuration */
};

struct gate_quarantine {
	bool on;
	int64_t until; /* Unix s, 0 = until released */
	int64_t since;
	char reason[256];
	char by[64];
};

/* All that a subject has of its own. */
struct gate_own {
	struct gate_subject subject;
	struct gate_policy_spec scope[GATE_MAX_SCOPES]; /* 0 = all ports, 1 + p */
	struct gate_quarantine quarantine;
	bool observe;
	struct gate_rate_spec budget[GATE_MAX_RATES];
	unsigned nbudget;
	struct gate_prefix *exempt;
	unsigned nexempt;
};

/* A registered VM, or (registered false) the VM of a port nobody registered. */
struct gate_vm_spec {
	char name[GATE_NAME_LEN]; /* VM name, or the port's name when not registered */
	bool registered;
	char tenant[GATE_NAME_LEN]; /* "" = none */
	char (*ports)[GATE_NAME_LEN]; /* netdev names, may not exist (yet) */
	unsigned nports;
	uint8_t (*macs)[6];
	unsigned nmacs;
	struct gate_prefix *ips;
	unsigned nips;
	/* MAC,IP pairs the VM may use though they are not its own (VRRP, floating). */
	struct gate_pair {
		uint8_t mac[6];
		struct gate_prefix ip;
	} *pairs;
	unsigned npairs;
	int binding; /* enum gate_binding, -1 = the configuration's */
};

#endif
