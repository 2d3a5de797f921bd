/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the readers of JSON share: typed members of an object. Each returns 0 or
 * -errno with a sentence that names the key; what is absent or null leaves the
 * output alone.
 */
#ifndef GATE25_JSON_PRIV_H
#define GATE25_JSON_PRIV_H

#include "json.h"
#include <jansson.h>

#define _cleanup_json_ __attribute__((cleanup(json_decrefp)))

/* Parses one object whose keys are all among `keys` (NULL-terminated). */
int gate_jr_object(const char *text, size_t len, const char *const *keys, json_t **out,
		   struct gate_error *err);
/* Refuses keys that are not among `keys`; `what` names the object in the sentence. */
int gate_jr_keys(const json_t *o, const char *const *keys, const char *what,
		 struct gate_error *err);
/* Is the key there and not null? */
bool gate_jr_has(const json_t *o, const char *key);

int gate_jr_string(const json_t *o, const char *key, const char **out, struct gate_error *err);
int gate_jr_bool(const json_t *o, const char *key, bool *out, struct gate_error *err);
int gate_jr_uint(const json_t *o, const char *key, uint64_t min, uint64_t max, uint64_t *out,
		 struct gate_error *err);
/* *out is NULL when absent or null. */
int gate_jr_array(const json_t *o, const char *key, size_t max, const json_t **out,
		  struct gate_error *err);
int gate_jr_time(const json_t *o, const char *key, int64_t *out, struct gate_error *err);
int gate_jr_reason(const json_t *o, char out[256], struct gate_error *err);
int gate_jr_prefixes(const json_t *o, const char *key, size_t max, struct gate_prefix **out,
		     unsigned *n, struct gate_error *err);
int gate_jr_rates(const json_t *o, const char *key, struct gate_rate_spec *out, unsigned *n,
		  struct gate_error *err);

/* The keys of one own policy: state, rates, burst, concurrent, destinations, refuse, drain. */
int gate_jr_policy(const json_t *o, struct gate_policy_spec *out, struct gate_error *err);
/* A name of a gated port: [control] refuses others later. */
int gate_jr_on(const json_t *o, uint16_t *out, struct gate_error *err);

/* The keys of a registration but its name. */
int gate_jr_vm(const json_t *o, struct gate_vm_spec *vm, struct gate_error *err);

#endif
