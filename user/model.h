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
#define GATE_EXEMPT_MAX	  1024 /* destinations of one subject, and of one request */

/* One own policy of a subject in one scope. */
struct gate_policy_spec {
	enum gate_state state; /* GATE_INHERIT = none */
	int refuse;	       /* enum gate_refuse or GATE_REFUSE_UNSET */
	bool drain;
	struct gate_limits limits;
	int64_t expires;  /* Unix s, 0 = never */
	int64_t since;	  /* Unix s */
	char reason[256]; /* "" = none; longer than 255 bytes is refused */
	char by[64];	  /* actor, "" = configuration */
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
	char tenant[GATE_NAME_LEN];   /* "" = none */
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
	} * pairs;
	unsigned npairs;
	int binding; /* enum gate_binding, -1 = the configuration's */
};

/** gate_own_init() - nothing of its own; the refusal of each scope unset */
void gate_own_init(struct gate_own *own, const struct gate_subject *s);
/** gate_own_copy() - deep copy into raw memory */
void gate_own_copy(struct gate_own *to, const struct gate_own *from);
void gate_own_clear(struct gate_own *own);
/** gate_own_is_empty() - such a record need not be kept */
bool gate_own_is_empty(const struct gate_own *own);
/** gate_own_equal() - the same decisions; who made them and when does not matter */
bool gate_own_equal(const struct gate_own *a, const struct gate_own *b);
/** gate_own_due() - the first deadline in it, Unix s, 0 = none */
int64_t gate_own_due(const struct gate_own *own);
/** gate_own_drop_expired() - takes out what has run out; true if there was any */
bool gate_own_drop_expired(struct gate_own *own, int64_t now);

/** gate_own_pack() - a record in as little memory as it takes; the caller frees it */
struct gate_packed *gate_own_pack(const struct gate_own *own);
/**
 * gate_own_unpack() - a view: what it points to is the packed record's, it is not to be cleared
 * @p: NULL = nothing of its own
 */
void gate_own_unpack(const struct gate_packed *p, const struct gate_subject *s,
		     struct gate_own *own);
/** gate_packed_due() - as gate_own_due() */
int64_t gate_packed_due(const struct gate_packed *p);
/** gate_packed_is_empty() - as gate_own_is_empty() */
bool gate_packed_is_empty(const struct gate_packed *p);

/* One record of a policy set: a registration, or what a subject has of its own. */
struct gate_set_item {
	bool is_vm;
	union {
		struct gate_vm_spec vm;
		struct {
			struct gate_subject subject;
			struct gate_packed *own; /* NULL = nothing */
		};
	};
};
/** gate_set_item_clear() - frees what an item owns */
void gate_set_item_clear(struct gate_set_item *it);

void gate_vm_spec_copy(struct gate_vm_spec *to, const struct gate_vm_spec *from);
void gate_vm_spec_clear(struct gate_vm_spec *vm);
/** gate_vm_spec_equal() - the same registration; order does not matter */
bool gate_vm_spec_equal(const struct gate_vm_spec *a, const struct gate_vm_spec *b);
/** gate_vm_spec_has_mac() - is it one of the VM's own? */
bool gate_vm_spec_has_mac(const struct gate_vm_spec *vm, const uint8_t mac[6]);

/** gate_limits_complete() - fills in the keys that are missing (SEMANTICS Precedence 2) */
void gate_limits_complete(struct gate_limits *l, const struct gate_limits *defaults);
/** gate_limits_strict_as() - no key of `a` admits more than `b` does; both completed */
bool gate_limits_strict_as(const struct gate_limits *a, const struct gate_limits *b);

#define GATE_SUBJECT_KEY 72
/** gate_subject_key() - the subject as bytes for a table; returns how many */
size_t gate_subject_key(const struct gate_subject *s, unsigned char key[GATE_SUBJECT_KEY]);
/** gate_subject_compare() - an order for listings: by kind, then name or address */
int gate_subject_compare(const struct gate_subject *a, const struct gate_subject *b);

/*
 * Whether something can be in force at all. They fill err with one sentence and
 * return 0 or -EINVAL. `concurrent_max`: what the flow table of one VM can hold.
 */
int gate_policy_check(const struct gate_policy_spec *p, uint32_t concurrent_max, int64_t now,
		      struct gate_error *err);
int gate_rates_check(const struct gate_rate_spec *rates, unsigned n, struct gate_error *err);
int gate_prefix_check(const struct gate_prefix *p, struct gate_error *err);
int gate_vm_spec_check(const struct gate_vm_spec *vm, struct gate_error *err);

#endif
