// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Values of options: pure functions from text to a field, which stays as it was on failure. */
#include "config_values.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#define SEPARATORS  ", \t"
#define MAX_LIST    4096 /* prefixes or globs in one list */
#define GRACE_MAX_S 3600
#define GROUP_MAX   32 /* of a group's name, groupadd(8) */

#define FIELD(o, c, type) ((type *)(void *)((char *)(c) + (o)->at))

/* Calls `item` for each word of a list. */
static int for_each_item(const char *value, int (*item)(void *, const char *), void *arg)
{
	char word[128];

	while (*(value += strspn(value, SEPARATORS))) {
		size_t len = strcspn(value, SEPARATORS);
		int err;

		if (len >= sizeof(word))
			return -EINVAL;
		memcpy(word, value, len);
		word[len] = '\0';
		err = item(arg, word);
		if (err)
			return err;
		value += len;
	}
	return 0;
}

static int find_in(const char *words, const char *value)
{
	size_t len = strlen(value);
	int i = 0;

	for (; *words; words += *words == ' ', i++) {
		size_t n = strcspn(words, " ");

		if (n == len && memcmp(words, value, n) == 0)
			return i;
		words += n;
	}
	return -EINVAL;
}

int config_set_word(const struct config_option *o, struct gate_config *c, const char *value,
		    bool more)
{
	int i = find_in(o->words, value);

	if (i < 0)
		return i;
	*FIELD(o, c, int) = i;
	return 0;
}

/* `words` gives two words of its own; without it the usual ones of INI files. */
int config_set_bool(const struct config_option *o, struct gate_config *c, const char *value,
		    bool more)
{
	int i = find_in(o->words ? o->words : "no yes off on false true 0 1", value);

	if (i < 0)
		return i;
	*FIELD(o, c, bool) = i & 1;
	return 0;
}

int config_set_number(const struct config_option *o, struct gate_config *c, const char *value,
		      bool more)
{
	return gate_parse_u32(value, o->min, o->max, FIELD(o, c, uint32_t)) ? -EINVAL : 0;
}

/* Rounded up: the flow table is indexed by bits of a hash. */
int config_set_power(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more)
{
	uint32_t v, power = 1;

	if (gate_parse_u32(value, o->min, o->max, &v))
		return -EINVAL;
	while (power < v)
		power <<= 1;
	*FIELD(o, c, uint32_t) = power;
	return 0;
}

struct port_list {
	uint16_t port[GATE_MAX_PORTS];
	unsigned count;
};

static int add_port(void *arg, const char *word)
{
	struct port_list *l = arg;
	uint32_t v;

	if (l->count == GATE_MAX_PORTS || gate_parse_u32(word, 1, UINT16_MAX, &v))
		return -EINVAL;
	for (unsigned i = 0; i < l->count; i++) {
		if (l->port[i] == v)
			return -EINVAL;
	}
	l->port[l->count++] = (uint16_t)v;
	return 0;
}

int config_set_ports(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more)
{
	struct port_list l = { 0 };
	int err = for_each_item(value, add_port, &l);

	if (err || l.count == 0)
		return -EINVAL;
	memcpy(c->ports, l.port, sizeof(c->ports));
	c->nports = l.count;
	return 0;
}

void config_globs_clear(struct gate_globs *g)
{
	for (unsigned i = 0; i < g->count; i++)
		free(g->pattern[i]);
	free(g->pattern);
	*g = (struct gate_globs){ 0 };
}

static int add_glob(void *arg, const char *word)
{
	struct gate_globs *g = arg;
	char **grown;

	/* A name that no device can have would silently gate nothing. */
	if (strchr(word, '/') ||
	    (!strpbrk(word, "*?[") && (strlen(word) >= IFNAMSIZ || !gate_name_valid(word))) ||
	    g->count == MAX_LIST)
		return -EINVAL;
	grown = reallocarray(g->pattern, g->count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	g->pattern = grown;
	grown[g->count] = strdup(word);
	if (!grown[g->count])
		return -ENOMEM;
	g->count++;
	return 0;
}

/* "auto", where `words` has it, is the empty list. */
int config_set_globs(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more)
{
	struct gate_globs *field = FIELD(o, c, struct gate_globs), g = { 0 };
	int err;

	if (o->words && strcmp(value, o->words) == 0)
		value = "";
	for (unsigned i = 0; more && i < field->count; i++) {
		err = add_glob(&g, field->pattern[i]);
		if (err)
			goto fail;
	}
	err = for_each_item(value, add_glob, &g);
	if (err)
		goto fail;
	config_globs_clear(field);
	*field = g;
	return 0;
fail:
	config_globs_clear(&g);
	return err;
}

int config_set_binding(const struct config_option *o, struct gate_config *c, const char *value,
		       bool more)
{
	return gate_parse_binding(value, FIELD(o, c, enum gate_binding));
}

int config_set_refuse(const struct config_option *o, struct gate_config *c, const char *value,
		      bool more)
{
	return gate_parse_refuse(value, FIELD(o, c, enum gate_refuse));
}

int config_set_to_vm(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more)
{
	int i = find_in("auto no yes", value);

	if (i < 0)
		return i;
	c->to_vm_set = i > 0;
	c->to_vm = i != 1;
	return 0;
}

int config_set_grace(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more)
{
	int64_t seconds = 0;

	if (strcmp(value, "0") != 0 &&
	    (gate_parse_duration(value, &seconds) || seconds > GRACE_MAX_S))
		return -EINVAL;
	c->grace_s = (uint32_t)seconds;
	return 0;
}

/* "0x25" or "37" up to `end`; strtoul alone would take signs and blanks. */
static int parse_mark(const char *s, char end, uint32_t *out, const char **rest)
{
	unsigned long long v;
	char *stop;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	errno = 0;
	v = strtoull(s, &stop, 0);
	if (errno || v == 0 || v > UINT32_MAX || *stop != end)
		return -EINVAL;
	*out = (uint32_t)v;
	*rest = stop + 1;
	return 0;
}

int config_set_stamp(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more)
{
	static const char prefix[] = "mark:";
	uint32_t stamp = 0, mask = 0;

	if (*value && strcmp(value, "none") != 0) {
		if (strncmp(value, prefix, sizeof(prefix) - 1) != 0)
			return -EINVAL;
		value += sizeof(prefix) - 1;
		if (parse_mark(value, '/', &stamp, &value) ||
		    parse_mark(value, '\0', &mask, &value) || (stamp & ~mask))
			return -EINVAL;
	}
	c->stamp = stamp;
	c->stamp_mask = mask;
	return 0;
}

int config_set_state(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more)
{
	enum gate_state s;

	if (gate_parse_state(value, &s) || s == GATE_INHERIT)
		return -EINVAL;
	c->policy.state = s;
	return 0;
}

static int add_rate(void *arg, const char *word)
{
	struct gate_limits *l = arg;

	if (l->nrates == GATE_MAX_RATES || gate_parse_rate(word, &l->rates[l->nrates]))
		return -EINVAL;
	l->nrates++;
	return 0;
}

int config_set_rates(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more)
{
	struct gate_limits l = c->policy.limits;
	int err;

	if (!more) {
		memset(l.rates, 0, sizeof(l.rates));
		l.nrates = 0;
	}
	err = for_each_item(value, add_rate, &l);
	if (err)
		return err;
	c->policy.limits = l;
	return 0;
}

int config_set_destinations(const struct config_option *o, struct gate_config *c, const char *value,
			    bool more)
{
	struct gate_rate_spec r = { 0 };

	if (*value && gate_parse_rate(value, &r))
		return -EINVAL;
	c->policy.limits.destinations = r;
	return 0;
}

struct prefix_list {
	struct gate_prefix *p;
	unsigned n;
};

static int add_prefix(void *arg, const char *word)
{
	struct prefix_list *l = arg;
	struct gate_prefix p, *grown;

	if (l->n == MAX_LIST || gate_parse_prefix(word, &p))
		return -EINVAL;
	grown = reallocarray(l->p, l->n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	l->p = grown;
	grown[l->n++] = p;
	return 0;
}

int config_set_prefixes(const struct config_option *o, struct gate_config *c, const char *value,
			bool more)
{
	struct prefix_list l = { 0 };
	int err;

	if (more && c->nexempt) {
		l.p = reallocarray(NULL, c->nexempt, sizeof(*l.p));
		if (!l.p)
			return -ENOMEM;
		memcpy(l.p, c->exempt, c->nexempt * sizeof(*l.p));
		l.n = c->nexempt;
	}
	err = for_each_item(value, add_prefix, &l);
	if (err) {
		free(l.p);
		return err;
	}
	free(c->exempt);
	c->exempt = l.p;
	c->nexempt = l.n;
	return 0;
}

static int replace_string(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

/* "127.0.0.1:9625", "[::1]:9625" or nothing; names would need a resolver at start. */
int config_set_listen(const struct config_option *o, struct gate_config *c, const char *value,
		      bool more)
{
	const char *colon = strrchr(value, ':');
	uint8_t addr[sizeof(struct in6_addr)];
	char host[INET6_ADDRSTRLEN + 2];
	size_t len;
	uint32_t port;

	if (!*value)
		return replace_string(FIELD(o, c, char *), value);
	if (!colon || gate_parse_u32(colon + 1, 1, UINT16_MAX, &port))
		return -EINVAL;
	len = (size_t)(colon - value);
	if (len == 0 || len >= sizeof(host))
		return -EINVAL;
	memcpy(host, value, len);
	host[len] = '\0';
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, addr) != 1)
			return -EINVAL;
	} else if (inet_pton(AF_INET, host, addr) != 1) {
		return -EINVAL;
	}
	return replace_string(FIELD(o, c, char *), value);
}

int config_set_string(const struct config_option *o, struct gate_config *c, const char *value,
		      bool more)
{
	if (strlen(value) > o->max)
		return -EINVAL;
	return replace_string(FIELD(o, c, char *), value);
}

/* min 0: may be empty. */
int config_set_path(const struct config_option *o, struct gate_config *c, const char *value,
		    bool more)
{
	if (!*value && o->min == 0)
		return replace_string(FIELD(o, c, char *), value);
	if (value[0] != '/' || strstr(value, "/../"))
		return -EINVAL;
	return config_set_string(o, c, value, more);
}

/* Whether the group exists is for the daemon to say: --check-config may run elsewhere. */
int config_set_group(const struct config_option *o, struct gate_config *c, const char *value,
		     bool more)
{
	if (*value && (!gate_name_valid(value) || strlen(value) > GROUP_MAX))
		return -EINVAL;
	return replace_string(FIELD(o, c, char *), value);
}
