// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* gate25 help, version and __complete: the tables, told to people and shells. */
#include "cli.h"

#include <gate25/abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cmd_version(struct cli *c)
{
	if (c->json)
		printf("{\"version\":1,\"release\":\"%s\",\"abi\":%d}\n", GATE_VERSION, GATE_ABI);
	else
		printf("gate25 %s (ABI %d)\n", GATE_VERSION, GATE_ABI);
	return 0;
}

/* ---- help ---- */

static void print_options(uint64_t mask)
{
	for (int i = 0; i < OPT_MAX; i++) {
		const struct cli_option *o = &cli_options[i];
		char form[64], letter[8] = "";

		if (!(mask & (1ULL << i)))
			continue;
		if (o->letter)
			snprintf(letter, sizeof(letter), "-%c, ", o->letter);
		snprintf(form, sizeof(form), "%s--%s%s%s", letter, o->name, o->arg ? " " : "",
			 o->arg ? o->arg : "");
		if (strlen(form) > 20)
			printf("  %s\n  %-20s  %s\n", form, "", o->help);
		else
			printf("  %-20s  %s\n", form, o->help);
	}
}

#define OF_ALL (O(SOCKET) | O(JSON) | O(HELP) | O(VERSION))

static void print_overview(void)
{
	printf("Usage: gate25 [--socket PATH] [--json] [COMMAND] [ARGUMENT...]\n\n"
	       "Rules over which VMs may open SMTP connections, and how many.\n\nCommands:\n");
	for (const struct cli_command *cmd = cli_commands; cmd->name; cmd++) {
		char form[64];

		if (!cmd->summary)
			continue;
		snprintf(form, sizeof(form), "%s %s", cmd->name, cmd->args ? cmd->args : "");
		if (strlen(form) > 22)
			printf("  %s\n  %-22s  %s\n", form, "", cmd->summary);
		else
			printf("  %-22s  %s\n", form, cmd->summary);
	}
	printf("\nOptions:\n");
	print_options(OF_ALL);
	printf("\nSubjects: default, tenant:NAME, vm:NAME, port:NAME, mac:MAC, ip:ADDRESS[/BITS], "
	       "or a\n"
	       "bare MAC, address, VM or port name. Several may be given; - reads them from "
	       "stdin.\n"
	       "\nExit codes: 0 done, 1 failed, 2 usage, 3 no such subject, 4 daemon not "
	       "reachable,\n"
	       "5 applied in part, 6 not permitted. See gate25 help COMMAND and gate25(1).\n");
}

static void print_command(const struct cli_command *cmd)
{
	printf("Usage: gate25 %s%s%s%s\n\n%c%s.\n", cmd->name, cmd->args ? " " : "",
	       cmd->args ? cmd->args : "", cmd->options ? " [OPTION...]" : "",
	       cmd->summary[0] >= 'a' && cmd->summary[0] <= 'z' ? cmd->summary[0] - 32
								: cmd->summary[0],
	       cmd->summary + 1);
	if (cmd->more)
		printf("%s\n", cmd->more);
	if (cmd->options) {
		printf("\nOptions:\n");
		print_options(cmd->options);
	}
}

int cli_help(struct cli *c, const struct cli_command *cmd)
{
	if (cmd && cmd->summary)
		print_command(cmd);
	else
		print_overview();
	return 0;
}

int cmd_help(struct cli *c)
{
	const struct cli_command *cmd;
	bool any = false;
	int used;

	if (c->args.n == 0)
		return cli_help(c, NULL);
	cmd = cli_find_command((int)c->args.n, (char *const *)c->args.v, &used);
	if (cmd && (unsigned)used == c->args.n)
		return cli_help(c, cmd);
	/* "help vm": all of its verbs */
	for (cmd = cli_commands; c->args.n == 1 && cmd->name; cmd++) {
		size_t len = strlen(c->args.v[0]);

		if (strncmp(cmd->name, c->args.v[0], len) != 0 || cmd->name[len] != ' ')
			continue;
		printf("%s", any ? "\n" : "");
		print_command(cmd);
		any = true;
	}
	if (any)
		return 0;
	return cli_usage(c, "unknown command \"%.40s%s%.40s\"", c->args.v[0],
			 c->args.n > 1 ? " " : "", c->args.n > 1 ? c->args.v[1] : "");
}

/* ---- completion ---- */

static bool begins(const char *word, const char *start)
{
	return strncmp(word, start, strlen(start)) == 0;
}

static void offer(const char *word, const char *start)
{
	if (begins(word, start))
		printf("%s\n", word);
}

static void offer_list(const char *words, const char *start)
{
	char word[32];

	while (*words) {
		size_t len = strcspn(words, " ");

		snprintf(word, sizeof(word), "%.*s", (int)len, words);
		offer(word, start);
		words += len + (words[len] == ' ');
	}
}

/* Each once, though a tenant has many VMs. */
static void offer_tenant(const json_t *vm, json_t *seen, bool bare, const char *start)
{
	const char *tenant = cli_str(vm, "tenant");
	char subject[GATE_SUBJECT_LEN + 8];

	if (!tenant || json_object_get(seen, tenant))
		return;
	json_object_set_new(seen, tenant, json_true());
	snprintf(subject, sizeof(subject), "tenant:%s", tenant);
	offer(bare ? tenant : subject, start);
}

static void offer_vm(const json_t *vm, enum cli_words kind, const char *start)
{
	const char *subject = cli_str(vm, "subject");
	const char *bare = subject ? strchr(subject, ':') : NULL;

	if (!bare || (kind == WORDS_VM && !cli_bool(vm, "registered")))
		return;
	if (kind == WORDS_SUBJECT)
		offer(subject, start);
	/* bare names are offered once something is typed, else all would come twice */
	if (kind == WORDS_VM || *start)
		offer(bare + 1, start);
}

/* Names from the daemon; without one there is nothing to offer, and no error. */
static void offer_names(struct cli *c, enum cli_words kind, const char *start)
{
	json_t *answer = NULL, *tenants;
	struct gate_error err;
	const json_t *vm;
	size_t i;

	if (cli_call(c, "GET", "/v1/vms?brief=1", NULL, &answer, &err))
		return;
	tenants = json_object();
	json_array_foreach (json_object_get(answer, "vms"), i, vm) {
		if (kind != WORDS_VM)
			offer_tenant(vm, tenants, kind == WORDS_TENANT, start);
		if (kind != WORDS_TENANT)
			offer_vm(vm, kind, start);
	}
	json_decref(tenants);
	json_decref(answer);
}

static void offer_kind(struct cli *c, enum cli_words kind, const char *start)
{
	switch (kind) {
	case WORDS_SUBJECT:
		offer_list("default tenant: vm: port: mac: ip:", start);
		offer_names(c, kind, start);
		break;
	case WORDS_VM:
	case WORDS_TENANT:
		offer_names(c, kind, start);
		break;
	case WORDS_STATE:
		offer_list("allow limit block quarantine", start);
		break;
	case WORDS_SORT:
		offer_list(
			"name state tenant admitted refused active 5xx destinations bytes expires",
			start);
		break;
	case WORDS_REFUSE:
		offer_list("reset icmp drop", start);
		break;
	case WORDS_BINDING:
		offer_list("strict learn off none", start);
		break;
	case WORDS_ON_OFF:
		offer_list("on off", start);
		break;
	case WORDS_ADD_DEL:
		offer_list("add del", start);
		break;
	case WORDS_NONE_WORD:
		offer_list("none", start);
		break;
	case WORDS_IMPORT:
		offer_list("libvirt proxmox", start);
		break;
	case WORDS_FILE:
		/* the shell knows its files better */
		printf(":file\n");
		break;
	case WORDS_COMMAND:
	case WORDS_NONE:
		break;
	}
}

/* The word of each command name that comes after `n` words, each once. */
static void offer_commands(const char *const *words, unsigned n, const char *start)
{
	const char *last = "";
	size_t last_len = 0;

	for (const struct cli_command *cmd = cli_commands; cmd->name; cmd++) {
		const char *at = cmd->name;
		unsigned i = 0;
		size_t len;

		for (; i < n && begins(at, words[i]) && at[strlen(words[i])] == ' '; i++)
			at += strlen(words[i]) + 1;
		len = strcspn(at, " ");
		if (i < n || !cmd->summary || (len == last_len && memcmp(at, last, len) == 0))
			continue;
		last = at;
		last_len = len;
		if (begins(at, start) || strncmp(at, start, strlen(start)) == 0)
			printf("%.*s\n", (int)len, at);
	}
}

static enum cli_opt option_named(const char *word)
{
	for (int i = 0; i < OPT_MAX; i++) {
		if (begins(word, "--") && strcmp(cli_options[i].name, word + 2) == 0)
			return (enum cli_opt)i;
	}
	return OPT_MAX;
}

static void offer_options(uint64_t mask, const char *start)
{
	for (int i = 0; i < OPT_MAX; i++) {
		char form[40];

		snprintf(form, sizeof(form), "--%s", cli_options[i].name);
		if (mask & (1ULL << i))
			offer(form, start);
	}
}

/*
 * gate25 __complete WORD... START: the words after "gate25" up to the cursor,
 * the last of which is to be completed. One candidate a line; ":file" = a path.
 */
int cmd_complete(struct cli *c)
{
	const char *start = c->args.v[c->args.n - 1];
	struct cli_values words = { 0 };
	const struct cli_command *cmd;
	enum cli_opt pending = OPT_MAX;
	int used = 0;

	for (unsigned i = 0; i + 1 < c->args.n; i++) {
		const char *word = c->args.v[i];

		if (pending != OPT_MAX) {
			if (pending == OPT_SOCKET)
				c->socket = word;
			pending = OPT_MAX;
			continue;
		}
		pending = option_named(word);
		if (pending != OPT_MAX && !cli_options[pending].arg)
			pending = OPT_MAX;
		else if (pending == OPT_MAX && word[0] != '-' && cli_values_add(&words, word))
			return cli_no_memory(c);
	}
	cmd = cli_find_command((int)words.n, (char *const *)words.v, &used);
	if (pending != OPT_MAX)
		offer_kind(c, cli_options[pending].words, start);
	else if (*start == '-')
		offer_options(OF_ALL | (cmd ? cmd->options : 0), start);
	else if (!cmd)
		offer_commands(words.v, words.n, start);
	else if (cmd->words[0] == WORDS_COMMAND)
		offer_commands(words.v + used, words.n - (unsigned)used, start);
	else
		offer_kind(c, cmd->words[words.n > (unsigned)used], start);
	free(words.v);
	return 0;
}
