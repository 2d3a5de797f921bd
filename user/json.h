/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Model <-> JSON, as docs/control-api.md has it. Writing appends text to a
 * buffer (json_write.c); reading is strict (json_read.c): unknown keys, wrong
 * types and values out of range are refused with a sentence that names the key.
 */
#ifndef GATE25_JSON_H
#define GATE25_JSON_H

#include "buf.h"
#include "engine.h"

/* ---- writing: members of an object or, with key NULL, elements of an array ---- */

/* Opens '{' or '['; commas come by themselves. */
void gate_json_open(struct gate_buf *b, const char *key, char bracket);
void gate_json_close(struct gate_buf *b, char bracket);			       /* '}' or ']' */
void gate_json_string(struct gate_buf *b, const char *key, const char *value); /* NULL = null */
void gate_json_uint(struct gate_buf *b, const char *key, uint64_t value);
void gate_json_bool(struct gate_buf *b, const char *key, bool value);
void gate_json_null(struct gate_buf *b, const char *key);
void gate_json_time(struct gate_buf *b, const char *key, int64_t unix_s); /* 0 = null */
/* With milliseconds: what happens within one second has an order too. */
void gate_json_time_ms(struct gate_buf *b, const char *key, int64_t unix_ms);
/* Text that is JSON already. */
void gate_json_raw(struct gate_buf *b, const char *key, const char *json);
/* "version":1, which every answer begins with. */
void gate_json_version(struct gate_buf *b);
/* NULL for an empty string. */
static inline const char *gate_json_or_null(const char *s)
{
	return s && *s ? s : NULL;
}

/* Array of rates; with `burst` the bursts of their own too. */
void gate_json_rates(struct gate_buf *b, const char *key, const struct gate_rate_spec *rates,
		     unsigned n, bool burst);
/* One own policy; on 0 = all gated ports. */
void gate_json_policy(struct gate_buf *b, const char *key, uint16_t on,
		      const struct gate_policy_spec *p);
/* policies, quarantine, observe, budget, exempt. NULL = nothing of its own. */
void gate_json_own(struct gate_buf *b, const struct gate_own *own, const uint16_t *ports);
/* macs, ips, pairs, binding. */
void gate_json_vm(struct gate_buf *b, const struct gate_vm_spec *vm);
/* port 0 leaves out "port". */
void gate_json_effective(struct gate_buf *b, const char *key, uint16_t port,
			 const struct gate_effective *e);
void gate_json_counters(struct gate_buf *b, const char *key, const struct gate_counters *c,
			uint32_t active);
/* A record of a policy set, one line with its newline. */
void gate_json_item(struct gate_buf *b, const struct gate_set_item *it, const uint16_t *ports);

/* ---- reading ---- */

/* A change and what it points to; cleared by gate_json_change_clear(). */
struct gate_json_change {
	struct gate_change change;
	char reason[256];
};
void gate_json_change_clear(struct gate_json_change *c);

/* Body of PUT /v1/policies/{subject}; the subject is left alone. now: Unix s. */
int gate_json_read_change(const char *text, size_t len, int64_t now, struct gate_json_change *out,
			  struct gate_error *err);

/*
 * Body of PUT /v1/vms/{name}. *vm holds the name and, for an update, the present
 * registration; keys of the body replace what is there. `reason` has 256 bytes.
 */
int gate_json_read_vm(const char *text, size_t len, struct gate_vm_spec *vm, char *reason,
		      struct gate_error *err);
/* Deep copy for an update; -ENOMEM leaves *to empty. */
int gate_json_vm_copy(struct gate_vm_spec *to, const struct gate_vm_spec *from);
void gate_json_vm_clear(struct gate_vm_spec *vm);

/* One line of a policy set; cleared by gate_set_item_clear(). */
int gate_json_read_item(const char *text, size_t len, const uint16_t *ports, unsigned nports,
			struct gate_set_item *out, struct gate_error *err);

/* Body of POST /v1/why. */
struct gate_json_why {
	struct gate_subject subject;
	bool has_destination;
	struct gate_prefix destination; /* one address */
	uint16_t port;			/* 0 = the first gated port */
};
int gate_json_read_why(const char *text, size_t len, struct gate_json_why *out,
		       struct gate_error *err);

/* Body of POST /v1/undo; *id 0 = none was named. `reason` has 256 bytes. */
int gate_json_read_undo(const char *text, size_t len, int64_t *id, char *reason,
			struct gate_error *err);

/* A reason given by staff: at most 255 bytes, no control characters. */
int gate_json_check_reason(const char *s, char out[256], struct gate_error *err);

#endif
