// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The table of options, and the reading of argv by it and the table of commands. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

const struct cli_option cli_options[OPT_MAX] = {
	[OPT_SOCKET] = { .name = "socket",
			 .arg = "PATH",
			 .help = "control socket of the daemon (" CLI_DEFAULT_SOCKET ")",
			 .words = WORDS_FILE },
	[OPT_JSON] = { .name = "json", .help = "print JSON" },
	[OPT_HELP] = { .name = "help", .letter = 'h', .help = "print help and exit" },
	[OPT_VERSION] = { .name = "version", .letter = 'V', .help = "print the version and exit" },
	[OPT_FOR] = { .name = "for", .arg = "TIME", .help = "for so long: 90s, 15m, 24h, 30d, 2w" },
	[OPT_UNTIL] = { .name = "until",
			.arg = "WHEN",
			.help = "until then: 2026-12-24T10:00:00Z" },
	[OPT_REASON] = { .name = "reason",
			 .arg = "TEXT",
			 .help = "why, for the history; at most 255 bytes" },
	[OPT_ON] = { .name = "on",
		     .arg = "PORT",
		     .help = "on this gated port only, else on all of them" },
	[OPT_RATE] = { .name = "rate",
		       .many = true,
		       .arg = "N/TIME[:BURST]",
		       .help = "new connections: 5/s, 60/min, 200/h, 1000/d; up to four, all must "
			       "hold" },
	[OPT_BURST] = { .name = "burst",
			.arg = "N",
			.help = "connections at once before a rate holds" },
	[OPT_CONCURRENT] = { .name = "concurrent",
			     .arg = "N",
			     .help = "connections open at the same time" },
	[OPT_DESTINATIONS] = { .name = "destinations",
			       .arg = "N/TIME",
			       .help = "new destination addresses" },
	[OPT_REFUSE] = { .name = "refuse",
			 .arg = "HOW",
			 .help = "reset, icmp or drop",
			 .words = WORDS_REFUSE },
	[OPT_DRAIN] = { .name = "drain", .help = "let running connections finish" },
	[OPT_PORT] = { .name = "port",
		       .many = true,
		       .arg = "NAME",
		       .help = "network device of the host that the VM is on" },
	[OPT_MAC] = { .name = "mac", .many = true, .arg = "MAC", .help = "MAC address of the VM" },
	[OPT_IP] = { .name = "ip",
		     .many = true,
		     .arg = "ADDRESS",
		     .help = "address or prefix of the VM" },
	[OPT_PAIR] = { .name = "pair",
		       .many = true,
		       .arg = "MAC,ADDRESS",
		       .help = "may be used though not the VM's own (VRRP, floating addresses)" },
	[OPT_TENANT] = { .name = "tenant",
			 .arg = "NAME",
			 .help = "the customer who owns the VM",
			 .words = WORDS_TENANT },
	[OPT_BINDING] = { .name = "binding",
			  .arg = "HOW",
			  .help = "strict, learn or off instead of the host's setting",
			  .words = WORDS_BINDING },
	[OPT_STATE] = { .name = "state",
			.arg = "STATE",
			.help = "only VMs in this state: allow, limit, block, quarantine",
			.words = WORDS_STATE },
	[OPT_EXPIRING] = { .name = "expiring",
			   .arg = "TIME",
			   .help = "only policies that end within TIME" },
	[OPT_SORT] = { .name = "sort",
		       .arg = "FIELD",
		       .help = "name, state, tenant, admitted, refused, active, 5xx, destinations, "
			       "bytes or expires",
		       .words = WORDS_SORT },
	[OPT_LIMIT] = { .name = "limit",
			.arg = "N",
			.help = "at most N entries, the newest first" },
	[OPT_SINCE] = { .name = "since",
			.arg = "TIME",
			.help = "so long ago, at most 30d: 24h unless given" },
	[OPT_CUSTOMER] = { .name = "customer",
			   .help = "a short text for the customer, who knows nothing of the gate" },
	[OPT_FOLLOW] = { .name = "follow",
			 .letter = 'f',
			 .help = "go on with what happens from now on" },
	[OPT_SUBJECT] = { .name = "subject",
			  .arg = "SUBJECT",
			  .help = "only this subject",
			  .words = WORDS_SUBJECT },
	[OPT_FROM] = { .name = "from",
		       .arg = "DIR|-",
		       .help = "read the definitions of guests there, or one from stdin",
		       .words = WORDS_FILE },
	[OPT_DRY_RUN] = { .name = "dry-run",
			  .letter = 'n',
			  .help = "print the differences, change nothing" },
	[OPT_YES] = { .name = "yes", .help = "really do it" },
	[OPT_PURGE] = { .name = "purge", .help = "drop counters and policy from the kernel too" },
	[OPT_CONFIG] = { .name = "config",
			 .arg = "FILE",
			 .help = "configuration of the daemon (/etc/gate25/gate25.conf)",
			 .words = WORDS_FILE },
	[OPT_SHADOW] = { .name = "shadow",
			 .help = "judge it beside the live policy; it decides nothing" },
	[OPT_PROMOTE] = { .name = "promote", .help = "make the shadow policy the live one" },
	[OPT_DROP] = { .name = "drop", .help = "end the shadow policy" },
};

static const uint64_t options_of_all = O(SOCKET) | O(JSON) | O(HELP) | O(VERSION);

int cli_values_add(struct cli_values *l, const char *v)
{
	const char **grown;

	/* Powers of two from 8 on: thousands of subjects may come in on stdin. */
	if (l->n == 0 || (l->n >= 8 && (l->n & (l->n - 1)) == 0)) {
		grown = reallocarray(l->v, l->n ? 2 * l->n : 8, sizeof(*grown));
		if (!grown)
			return -1;
		l->v = grown;
	}
	l->v[l->n++] = v;
	return 0;
}

void cli_clear(struct cli *c)
{
	for (int i = 0; i < OPT_MAX; i++)
		free(c->opt[i].v);
	free(c->args.v);
	free(c->owned);
}

const char *cli_value(const struct cli *c, enum cli_opt o)
{
	return c->opt[o].n ? c->opt[o].v[c->opt[o].n - 1] : NULL;
}

/* How many words of argv the name is made of; 0 = it is not that command. */
static int match_name(const char *name, int argc, char *const *argv)
{
	int words = 0;

	while (*name) {
		size_t len = strcspn(name, " ");

		if (words == argc || strlen(argv[words]) != len ||
		    memcmp(argv[words], name, len) != 0)
			return 0;
		words++;
		name += len + (name[len] == ' ');
	}
	return words;
}

const struct cli_command *cli_find_command(int argc, char *const *argv, int *used)
{
	for (const struct cli_command *cmd = cli_commands; cmd->name; cmd++) {
		*used = match_name(cmd->name, argc, argv);
		if (*used)
			return cmd;
	}
	return NULL;
}

/* ---- options ---- */

/* "--name", "--name=value" or "-f" in `arg`; OPT_MAX = none. */
static enum cli_opt find_option(const char *arg, uint64_t allowed)
{
	const char *name = arg + 2;
	size_t len = arg[1] == '-' ? strcspn(name, "=") : 0;

	for (int i = 0; i < OPT_MAX; i++) {
		const struct cli_option *o = &cli_options[i];

		if (!(allowed & (1ULL << i)))
			continue;
		if (len ? strlen(o->name) == len && memcmp(o->name, name, len) == 0
			: arg[1] != '-' && o->letter == arg[1] && !arg[2])
			return (enum cli_opt)i;
	}
	return OPT_MAX;
}

static int take_option(struct cli *c, int argc, char **argv, int *i, uint64_t allowed)
{
	const char *arg = argv[*i], *value = "";
	enum cli_opt which = find_option(arg, allowed);
	const struct cli_option *o = &cli_options[which];
	const char *equals = strchr(arg, '=');

	if (which == OPT_MAX)
		return cli_usage(c, "unknown option %.40s", arg);
	if (!o->arg && equals)
		return cli_usage(c, "--%s takes no value", o->name);
	if (o->arg) {
		if (!equals && *i + 1 == argc)
			return cli_usage(c, "--%s needs a value: %s", o->name, o->arg);
		value = equals ? equals + 1 : argv[++*i];
	}
	if (c->opt[which].n && !o->many)
		return cli_usage(c, "--%s is given twice", o->name);
	if (cli_values_add(&c->opt[which], value))
		return cli_no_memory(c);
	return 0;
}

/* Errors of the rest are already said in the form that was asked for. */
static void look_for_json(struct cli *c, int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--json") == 0)
			c->json = true;
	}
}

static int take_words(struct cli *c, int argc, char **argv, int i, bool options, uint64_t allowed)
{
	int ret;

	for (; i < argc; i++) {
		if (options && strcmp(argv[i], "--") == 0) {
			options = false;
			continue;
		}
		if (options && argv[i][0] == '-' && argv[i][1]) {
			ret = take_option(c, argc, argv, &i, allowed);
			if (ret)
				return ret;
			continue;
		}
		if (cli_values_add(&c->args, argv[i]))
			return cli_no_memory(c);
	}
	return 0;
}

/* "vm" alone, or "vm frob": says which words would go on. */
static int unknown_command(struct cli *c, const char *word)
{
	char words[128] = "";
	size_t len = strlen(word);

	for (const struct cli_command *cmd = cli_commands; cmd->name; cmd++) {
		if (strncmp(cmd->name, word, len) == 0 && cmd->name[len] == ' ' &&
		    strlen(words) + strlen(cmd->name + len) + 2 < sizeof(words)) {
			strcat(words, *words ? ", " : "");
			strcat(words, cmd->name + len + 1);
		}
	}
	if (*words)
		return cli_usage(c, "%.40s: one of these must follow: %s", word, words);
	return cli_usage(c, "unknown command \"%.40s\"", word);
}

static int check_count(struct cli *c)
{
	const struct cli_command *cmd = c->command;
	bool any = cmd->min_args > 0 && cmd->max_args == 0;

	if (c->args.n < cmd->min_args)
		return cli_usage(c, "an argument is missing: %s", cmd->args);
	if (!any && c->args.n > cmd->max_args)
		return cli_usage(c, "too many arguments at \"%.60s\"", c->args.v[cmd->max_args]);
	return 0;
}

int cli_parse(struct cli *c, int argc, char **argv)
{
	int i = 1, used = 0, ret;

	look_for_json(c, argc, argv);
	while (i < argc && argv[i][0] == '-' && argv[i][1]) {
		ret = take_option(c, argc, argv, &i, options_of_all);
		if (ret)
			return ret;
		i++;
	}
	if (i < argc) {
		c->command = cli_find_command(argc - i, argv + i, &used);
		if (!c->command)
			return unknown_command(c, argv[i]);
		c->named = true;
	} else {
		c->command = cli_commands; /* status */
	}
	/* what is to be completed is no option of ours */
	ret = take_words(c, argc, argv, i + used, c->command->run != cmd_complete,
			 c->command->options | options_of_all);
	if (ret)
		return ret;
	c->help = cli_has(c, OPT_HELP);
	c->version = cli_has(c, OPT_VERSION);
	c->socket = cli_has(c, OPT_SOCKET) ? cli_value(c, OPT_SOCKET) : CLI_DEFAULT_SOCKET;
	return c->help || c->version ? 0 : check_count(c);
}
