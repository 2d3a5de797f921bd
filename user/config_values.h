/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* How the value of each kind of option is read; private to config*.c. */
#ifndef GATE25_CONFIG_VALUES_H
#define GATE25_CONFIG_VALUES_H

#include "config.h"

struct config_option {
	const char *section, *key;
	/* 0, -EINVAL (the reader then says what `expects` holds) or -ENOMEM. */
	int (*set)(const struct config_option *o, struct gate_config *c, const char *value,
		   bool more);
	size_t at;	     /* offset in struct gate_config */
	uint32_t min, max;   /* of numbers; bytes of strings */
	bool list;	     /* may go on in indented lines: `more` is then true */
	const char *words;   /* "auto tcx tc": value = place in the list */
	const char *expects; /* "must be …" */
};

int config_set_word(const struct config_option *o, struct gate_config *c, const char *value,
		    bool more);
int config_set_bool(const struct config_option *o, struct gate_config *c, const char *value,
		    bool more);
int config_set_number(const struct config_option *o, struct gate_config *c, const char *value,
		      bool more);
int config_set_power(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more);
int config_set_ports(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more);
int config_set_globs(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more);
int config_set_binding(const struct config_option *o, struct gate_config *c, const char *value,
		       bool more);
int config_set_refuse(const struct config_option *o, struct gate_config *c, const char *value,
		      bool more);
int config_set_to_vm(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more);
int config_set_grace(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more);
int config_set_stamp(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more);
int config_set_state(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more);
int config_set_rates(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more);
int config_set_destinations(const struct config_option *o, struct gate_config *c, const char *value,
			    bool more);
int config_set_prefixes(const struct config_option *o, struct gate_config *c, const char *value,
			bool more);
int config_set_listen(const struct config_option *o, struct gate_config *c, const char *value,
		      bool more);
int config_set_string(const struct config_option *o, struct gate_config *c, const char *value,
		      bool more);
int config_set_path(const struct config_option *o, struct gate_config *c, const char *value,
		    bool more);
int config_set_group(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more);

void config_globs_clear(struct gate_globs *g);

#endif
